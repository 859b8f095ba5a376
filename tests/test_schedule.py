"""What a sweep does next follows from its rows alone."""

from collections.abc import Sequence

import pytest

from jit_sweep.executor.schedule import Over, Propose, Start, Wait, Work, next_step
from jit_sweep.ledger.records import EntryRow, EntryState
from search_spaces.presets import preset
from trainables.assignment import EvaluationConfig
from trainables.config import DataConfig, TrialConfig

DATA = DataConfig(digest="0", image_size=32, num_classes=9)


def row(seed: int, state: str = "waiting", *, stage: int = 0, patch_size: int = 16) -> EntryRow:
    trial = TrialConfig.model_validate({**preset(f"jit-tiny/{patch_size}").model_dump(), "data": DATA, "seed": seed})
    return EntryRow(
        sweep="s",
        key=f"{stage}:{trial.id}",
        stage=stage,
        position=seed,
        arm={},
        seed=seed,
        trial_id=trial.id,
        images=320,
        evaluation_id="e",
        rungs=(),
        origin="grid",
        state=EntryState(state),
        cached=False,
        updated_at=0.0,
        attempt=None,
        trial_json=trial.model_dump_json(),
        evaluation_json=EvaluationConfig().model_dump_json(),
    )


def step(rows: Sequence[EntryRow], *, in_flight: Sequence[EntryRow] = (), **proposals: int) -> object:
    flying = {Work(one.trial_id, one.images) for one in in_flight}
    return next_step(rows, stages=2, proposals={int(k[1:]): v for k, v in proposals.items()}, in_flight=flying)


def test_the_longest_trial_goes_first() -> None:
    short, long = row(0), row(1, patch_size=4)
    assert step([short, long]) == Start(Work(long.trial_id, long.images))


def test_what_is_in_flight_is_not_started_again() -> None:
    first, second = row(0), row(1)
    assert step([first, second], in_flight=[first]) == Start(Work(second.trial_id, second.images))


@pytest.mark.parametrize("state", ["running", "waiting"])
def test_a_stage_waits_for_the_one_before(state: str) -> None:
    unfinished, later = row(0, state), row(1, stage=1)
    assert step([unfinished, later], in_flight=[unfinished]) == Wait()


@pytest.mark.parametrize("state", ["done", "diverged", "failed"])
def test_a_stage_starts_once_the_one_before_has_ended_however_it_ended(state: str) -> None:
    assert step([row(0, state)], _1=2) == Propose(1)


def test_a_failed_trial_that_is_being_tried_again_has_not_ended() -> None:
    again = row(0, "failed")
    assert step([again], in_flight=[again], _1=2) == Wait()


def test_a_search_is_over_when_all_its_proposals_have_ended() -> None:
    assert step([row(0, "done"), row(1, "done", stage=1), row(2, "diverged", stage=1)], _1=2) == Over()
