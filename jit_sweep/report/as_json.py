"""A report for programs."""

import math
from dataclasses import asdict
from typing import Any

from jit_sweep.report.contents import Report
from jit_sweep.results import as_json as leaderboard


def contents(report: Report) -> dict[str, Any]:
    """The keys of the report's JSON object but `schema`: those of the leaderboard's (`rows` and the sweep's facts), and the
    answer, cards, curves, time to quality, searches, losses, cost and provenance. What is infinite, or not known, is null."""
    return {
        **leaderboard.contents(report.results, report.front),
        "state": report.standing,
        "written_at": report.written_at,
        "seconds_left": report.seconds_left,
        "answer": asdict(report.answer),
        "cards": [_finite(asdict(card)) for card in report.cards],
        "curves": [
            {"metric": curve.metric, "cell": dict(curve.arm), "points": [point._asdict() for point in curve.points]}
            for curve in report.curves
        ],
        "time_to_quality": [_finite({**asdict(row), "metric": report.quality_metric}) for row in report.quality],
        "searches": [
            {"stage": each.stage, "objectives": each.objectives, "importances": [one._asdict() for one in each.importances]}
            for each in report.searches
        ],
        "tuned_sampling": [_finite({**asdict(each), "arm": dict(each.arm)}) for each in report.tuned],
        "sampling_surfaces": [
            {"label": each.label, "metric": each.metric, "points": [point._asdict() for point in each.points]}
            for each in report.surfaces
        ],
        "losses": [asdict(loss) for loss in report.losses],
        "cost": {
            "unit": f"{report.costs.unit}-hours",
            "by_outcome": {str(outcome): asdict(cost) for outcome, cost in report.costs.by_outcome.items()},
            "saved": asdict(report.costs.saved),
        },
        "provenance": asdict(report.provenance),
    }


def _finite(tree: Any) -> Any:
    """The tree with null for numbers that JSON has no word for."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
