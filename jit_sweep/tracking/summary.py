"""A sweep's results as they stand in its own MLflow run: means over seeds, the leaderboard, and a description."""

import json
import re
from collections.abc import Collection

from mlflow.entities import Metric

from jit_sweep.budget.costs import Costs
from jit_sweep.report.contents import Report
from jit_sweep.report.markdown import summary_markdown
from jit_sweep.results.arms import Arm, Spread
from jit_sweep.results.as_json import contents
from jit_sweep.results.leaderboard import Results
from jit_sweep.tracking import translation
from trainables.evaluation.metrics.registry import verdict_metrics

MOST_LETTERS = 7900
"""Of a tag's value, by MLflow's own rule 8000."""


def metrics_shown(results: Results) -> list[str]:
    """The objective first, then the metrics that verdicts rest on."""
    return list(dict.fromkeys((results.objective, *verdict_metrics(results.objective, results.scored))))


def arm_points(results: Results, *, at: float) -> list[Metric]:
    """Mean, standard deviation and n of every arm, grouped by metric, at the arm's image count."""
    return [
        point
        for arm in results.arms
        for name in metrics_shown(results)
        if (spread := arm.metrics.get(name)) is not None
        for point in translation.metrics(_named(name, arm, spread), step=arm.images, at=at)
    ]


def cost_points(costs: Costs, *, at: float) -> list[Metric]:
    """Which share of its trials' time a sweep's rungs and scores took."""
    share = costs.evaluation_share
    return translation.metrics({"evaluation_share": share}, step=0, at=at) if share is not None else []


def as_json(results: Results, front: Collection[str]) -> str:
    """The leaderboard for programs, as `jit-sweep leaderboard --json` prints it."""
    return json.dumps({"schema": "jit-sweep/leaderboard/1", **contents(results, front)}, allow_nan=False, default=str, indent=1)


def description(report: Report) -> str:
    """The answer and the verdicts as Markdown, as much of them as a tag holds."""
    text = summary_markdown(report)
    if len(text) <= MOST_LETTERS:
        return text
    whole_lines = text[:MOST_LETTERS].rpartition("\n")[0]
    return f"{whole_lines}\n\nMore in report.md."


def _named(metric: str, arm: Arm, spread: Spread) -> dict[str, float]:
    # MLflow refuses `=` in a name.
    label = re.sub(r"[^\w.\- ]", "-", arm.label)
    values = {"mean": spread.mean, "sd": spread.sd, "n": spread.n}
    return {f"{metric} {what}/{label}": value for what, value in values.items() if value is not None}
