"""Why a trial stands as it does: one sentence for each state, with the reason that the ledger has."""

from typing import Any, Literal

import pytest

from jit_sweep.errors import UserError
from jit_sweep.ledger.records import Cause, CostRow, EntryRow
from jit_sweep.results.why import Free, RunState, entries_of, history, why
from jit_sweep.spec.sweep import Resources
from tests.support.attempts import attempt, done, entry
from trainables.report import Activity

LOST: dict[str, Any] = {"outcome": "failed", "cause": Cause.WORKER_LOST, "ended_at": 5.0, "images": 480, "host": "node"}
DRAWING = Activity(images=960, what="drawing samples", done=128, of=256)


def plain(trial_id: str = "t", state: str = "waiting", **told: Any) -> EntryRow:
    return entry(trial_id, state, **{"stage": 0, "why": "", "not_before": 0.0, "alone": False, **told})


def asked(row: EntryRow, *others: EntryRow, running: bool = True, free: Free | None = None, **resources: Any) -> str:
    return why(row, [row, *others], RunState(Resources(**resources), running=running, now=100.0, free=free))


def test_a_trial_waits_for_a_lane_and_for_what_the_cluster_lacks() -> None:
    busy = [plain(name, "running", last=attempt(name)) for name in ("u", "v")]
    assert asked(plain(), *busy) == "it waits for a lane: 2 trials run now, and it needs 1 CPU"
    said = asked(plain(), *busy, free=Free(cpus=3, gpus=1), workers=2, cpus=4.0, gpus=1.0)
    assert said == "it waits for a lane: 2 trials run now, and it needs 8 CPU and 2 GPU where 3 CPU and 1 GPU are free"


def test_a_trial_waits_for_the_stage_before() -> None:
    assert asked(plain(stage=1), plain("u", "held")) == "it waits for stage 0 to end, with 1 trial under way"
    assert "stage" not in asked(plain(stage=1), plain("u", "pruned"))


def test_a_trial_waits_for_its_time_and_says_why() -> None:
    said = asked(plain(not_before=112.0, why="worker_lost: goes on from its last checkpoint (try 1 of 3)"))
    assert said == "it is tried again in 12 s (worker_lost: goes on from its last checkpoint (try 1 of 3))"


def test_a_trial_that_must_run_alone_waits_for_the_others_and_they_for_it() -> None:
    alone = plain(alone=True, why="out_of_memory: goes on")
    assert asked(alone).endswith("until nothing else runs")
    flying = plain("u", "running", alone=True, last=attempt("u"))
    assert "u must run alone" in asked(plain(), flying)


def test_nothing_happens_where_nobody_runs_the_sweep() -> None:
    assert "nobody runs the sweep now" in asked(plain(), running=False)
    assert "running its sweep's file again goes on with it" in asked(plain(state="running", last=attempt()), running=False)


def test_what_ended_the_last_run_is_told() -> None:
    spent = "`budget.trials` is 2: 2 have begun"
    said = why(plain(), [plain()], RunState(Resources(), running=False, now=0.0, end_reason=spent))
    assert said == f"it waits: the last run ended, since {spent}"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (plain(state="held", why="waits at 480 images"), "it is held: waits at 480 images"),
        (plain(state="pruned", why="place 3 of 3"), "it was stopped early: place 3 of 3"),
        (plain(state="paused"), "it is paused: the run was asked to stop; running its sweep's file again goes on with it"),
        (plain(state="done", last=done(ended_at=1.0)), "it is done"),
        (plain(state="done", cached=True), "it is done: its score was there before, from another sweep or stage"),
        (
            plain(state="failed", last=attempt(**LOST, detail="a\nthe end"), why="not again"),
            "it failed: worker_lost: the end; not again",
        ),
        (
            plain(state="running", last=attempt(number=2, images=96)),
            "it runs on node as attempt 2: 96 of 960 images",
        ),
        (
            plain(state="running", last=attempt(images=960, activity=DRAWING)),
            "it runs on node: 960 of 960 images, drawing samples 128/256",
        ),
    ],
    ids=lambda value: str(value.state) if isinstance(value, EntryRow) else "",
)
def test_every_state_has_its_sentence(row: EntryRow, said: str) -> None:
    assert asked(row) == said


def test_the_history_has_a_line_for_each_attempt() -> None:
    lines = history([attempt(**LOST), attempt(number=2)], [])
    assert lines[0].startswith("attempt 1 on node: failed, worker_lost at 480 images, 1970-01-01 00:00:00 UTC to ")
    assert lines[1].startswith("attempt 2 on node: runs at 0 images")
    assert "waited for images" not in "".join(lines)


def test_the_history_tells_how_long_training_waited_for_images() -> None:
    ended = done(ended_at=1.0)
    seconds = [CostRow(ended.trial_id, ended.number, "train", 40.0), CostRow(ended.trial_id, ended.number, "data", 5.0)]
    (line,) = history([ended], seconds)
    assert line.endswith("; 12 % of training waited for images")
    assert "waited" not in history([ended], seconds[:1])[0]


def test_the_history_tells_which_share_of_each_attempt_was_evaluation() -> None:
    kinds: list[tuple[Literal["train", "evaluation", "checkpoint", "data"], float]]
    kinds = [("train", 20.0), ("evaluation", 24.0), ("checkpoint", 4.0), ("data", 15.0)]
    spent = [CostRow("t", 2, kind, seconds) for kind, seconds in kinds]
    first, second = history([attempt(**LOST), done(number=2, ended_at=60.0)], spent)
    assert "evaluation" not in first
    assert second.endswith("to 1970-01-01 00:01:00 UTC; 50 % of its work was evaluation; 75 % of training waited for images")


def test_a_trial_is_found_by_the_beginning_of_its_id() -> None:
    rows = [plain("abc1"), plain("abc2"), plain("xyz")]
    assert entries_of(rows, "x") == [rows[2]]
    with pytest.raises(UserError, match="several begin"):
        entries_of(rows, "abc")
    with pytest.raises(UserError, match="must name a trial"):
        entries_of(rows, "q")


def test_nothing_at_all_names_no_trial() -> None:
    with pytest.raises(UserError, match="`--why` must name a trial of the sweep, got ''"):
        entries_of([plain("abc1")], "")
