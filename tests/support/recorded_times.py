"""The quickstart as it once ran on two busy cores: what its ledger said at each moment."""

import json
from functools import cache
from typing import Any

from jit_sweep.ledger.records import EntryRow
from tests.support.attempts import attempt, done, entry
from tests.support.paths import TOP
from trainables.report import Activity


@cache
def recorded() -> dict[str, Any]:
    """`end` in seconds; `trials` with shape, images, begin, end, and now and then seconds, images and images a second."""
    read: dict[str, Any] = json.loads((TOP / "tests" / "golden" / "quickstart_times.json").read_text())
    return read


def rows_at(second: float) -> list[EntryRow]:
    """The entries that were planned by then, as they stood."""
    trials = recorded()["trials"]
    grid_ended = max(trial["ended"] for trial in trials if trial["origin"] == "grid")
    asked = [trial for trial in trials if trial["origin"] == "grid" or (second > grid_ended and trial["begun"] <= second)]
    return [_row(number, trial, second) for number, trial in enumerate(asked)]


def proposed_later(second: float) -> int:
    """Proposals that were still to come."""
    return len(recorded()["trials"]) - len(rows_at(second))


def _row(number: int, trial: dict[str, Any], second: float) -> EntryRow:
    facts = {name: trial[name] for name in ("images", "stage", "origin")}
    facts |= {"key": str(number), "updated_at": trial["ended"]}
    facts["trial_json"] = json.dumps(recorded()["shapes"][trial["shape"]])
    name, begun = str(number), {"started_at": trial["begun"], "target_images": trial["images"]}
    if second < trial["begun"]:
        return entry(name, "waiting", **facts)
    heard = [told for told in trial["progress"] if told[0] <= second] or [(trial["begun"], 0, None)]
    at, images, speed = heard[-1]
    told = {"images": images, "images_per_second": speed, "updated_at": at, **begun}
    if second >= trial["ended"]:
        return entry(name, "done", last=done(name, ended_at=trial["ended"], **{**told, "images": trial["images"]}), **facts)
    scoring = Activity(what="drawing samples", images=trial["images"]) if told["images"] >= 0.99 * trial["images"] else None
    return entry(name, "running", last=attempt(name, activity=scoring, **told), **facts)
