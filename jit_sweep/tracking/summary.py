"""A sweep's results as they stand in its own MLflow run: means over seeds as metrics, and the leaderboard as files."""

import json
import re
from collections.abc import Collection, Iterator

from mlflow.entities import Metric

from jit_sweep.results.arms import Arm, Spread
from jit_sweep.results.as_json import contents
from jit_sweep.results.leaderboard import Results
from jit_sweep.tracking import translation
from search_spaces.axes import arm_label
from trainables.evaluation.metrics.registry import verdict_metrics


def metrics_shown(objective: str) -> list[str]:
    """The objective first, then the metrics that verdicts rest on."""
    return list(dict.fromkeys((objective, *verdict_metrics())))


def arm_points(results: Results, *, at: float) -> list[Metric]:
    """Mean, standard deviation and n of every arm, grouped by metric, at the arm's image count."""
    return [
        point
        for arm in results.arms
        for name in metrics_shown(results.objective)
        if (spread := arm.metrics.get(name)) is not None
        for point in translation.metrics(_named(name, arm, spread), step=arm.images, at=at)
    ]


def as_json(results: Results, front: Collection[str]) -> str:
    """The leaderboard for programs, as `jit-sweep leaderboard --json` prints it."""
    return json.dumps({"schema": "jit-sweep/leaderboard/1", **contents(results, front)}, allow_nan=False, default=str, indent=1)


def as_markdown(results: Results) -> str:
    """The leaderboard for people."""
    names = metrics_shown(results.objective)
    lines = [f"# {results.sweep}", "", f"Best first by {results.objective}; mean ± standard deviation over seeds.", ""]
    lines += [_line(["arm", "seeds scored", *names]), _line(["---"] * (2 + len(names)))]
    lines += [_line([arm.label, f"{arm.scored} of {len(arm.trials)}", *_cells(arm, names)]) for arm in results.arms]
    if results.heldout is not None:
        lines.append(_line(["held-out real images", "", *(_number(results.heldout.values.get(name)) for name in names)]))
    if results.searched:
        lines += ["", "Search trials, one seed each: they show where to look and prove nothing.", ""]
        lines += [_line(["trial", "values", *names]), _line(["---"] * (2 + len(names)))]
        for trial in results.searched:
            values = [_number(trial.value(name)) for name in names]
            lines.append(_line([trial.entry.trial_id, arm_label(trial.entry.arm), *values]))
    if results.retired:
        lines += ["", "Retired, since the file plans them no more: in no mean, no verdict and no choice.", ""]
        lines += [_line(["trial", "values", *names]), _line(["---"] * (2 + len(names)))]
        for trial in results.retired:
            values = [_number(trial.value(name)) for name in names]
            lines.append(_line([trial.entry.trial_id, arm_label({**trial.entry.base, **trial.entry.arm}), *values]))
    return "\n".join([*lines, ""])


def _named(metric: str, arm: Arm, spread: Spread) -> dict[str, float]:
    # MLflow refuses `=` in a name.
    label = re.sub(r"[^\w.\- ]", "-", arm.label)
    values = {"mean": spread.mean, "sd": spread.sd, "n": spread.n}
    return {f"{metric} {what}/{label}": value for what, value in values.items() if value is not None}


def _cells(arm: Arm, names: list[str]) -> Iterator[str]:
    for name in names:
        spread = arm.metrics.get(name)
        yield "" if spread is None else f"{spread.mean:.5g}" + (f" ± {spread.sd:.2g}" if spread.sd is not None else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
