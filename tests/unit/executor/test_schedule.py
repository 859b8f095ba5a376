"""What a sweep does next follows from its rows alone."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jit_sweep.executor.schedule import (
    Align,
    Now,
    OutOfBudget,
    Over,
    Propose,
    Searched,
    Start,
    Wait,
    next_step,
    target_of,
)
from jit_sweep.ledger.records import EntryRow, EntryState
from search_spaces.presets import preset
from tests.support.attempts import attempt
from tests.support.trials import trial_of_recipe
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import DataConfig

DATA = DataConfig(digest="0", image_size=32, num_classes=9)


def row(seed: int, state: str = "waiting", *, stage: int = 0, patch_size: int = 16, **more: Any) -> EntryRow:
    trial = trial_of_recipe(preset(f"jit-tiny/{patch_size}"), data=DATA, seed=seed, compile=True)
    return EntryRow(
        sweep="s",
        key=f"{stage}:{trial.id}",
        stage=stage,
        position=seed,
        arm={"t_mu": float(seed)},
        seed=seed,
        trial_id=trial.id,
        images=320,
        evaluation_id="e",
        rungs=(),
        origin="search" if stage else "grid",
        state=EntryState(state),
        cached=False,
        updated_at=0.0,
        attempt=None,
        trial_json=trial.model_dump_json(),
        evaluation_json=EvaluationConfig().model_dump_json(),
        **more,
    )


def step(rows: Sequence[EntryRow], *, in_flight: Sequence[EntryRow] = (), **proposals: int) -> object:
    return what(rows, now(in_flight={target_of(one) for one in in_flight}), **proposals)


def now(**facts: Any) -> Now:
    """At which earlier proposals have been aligned."""
    return Now(**{"at": 0.0, "aligned": {0, 1}, **facts})


def what(rows: Sequence[EntryRow], at: Now, **proposals: int) -> object:
    found = next_step(rows, stages=2, proposals={int(k[1:]): v for k, v in proposals.items()}, now=at)
    return found.target if isinstance(found, Start) else found


def test_the_longest_trial_goes_first() -> None:
    short, long = row(0), row(1, patch_size=4)
    assert step([short, long]) == target_of(long)


def test_what_has_been_trained_is_given_to_no_lane_where_evaluators_score_it() -> None:
    saved = attempt(trial_id=row(0).trial_id, images=320, checkpoint_images=320, outcome="trained", ended_at=1.0)
    trained, fresh = replace(row(0), attempt=saved), row(1)
    assert what([trained, fresh], now(evaluators=True)) == target_of(fresh)
    assert what([trained], now(evaluators=True)) == Wait()
    assert what([trained, row(1, stage=1)], now(evaluators=True), _1=2) == Wait(), "a stage ends with its scores"
    assert what([trained], now()) == target_of(trained)


def test_what_is_in_flight_is_not_started_again() -> None:
    first, second = row(0), row(1)
    assert step([first, second], in_flight=[first]) == target_of(second)


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


def test_a_search_begins_with_what_it_proposed_before_once_the_stages_before_it_have_ended() -> None:
    rows = [row(0, "done"), row(1, stage=1)]
    assert what(rows, Now(at=0.0), _1=2) == Align(1)
    assert what([row(0, "running"), rows[1]], Now(at=0.0), _1=2) == Wait()


def test_a_search_is_over_when_all_its_proposals_have_ended() -> None:
    rows = [row(0, "done"), row(1, "done", stage=1), row(2, "diverged", stage=1)]
    assert what(rows, now(searched={1}), _1=2) == Over()


def test_a_search_that_has_proposed_all_says_so_while_its_trials_wait_for_a_verdict() -> None:
    rows = [row(0, "done"), row(1, "held", stage=1), row(2, "held", stage=1)]
    assert step(rows, _1=2) == Searched(1)
    assert step(rows, _1=3) == Propose(1)


def test_a_proposal_with_several_seeds_counts_as_that_many_trials() -> None:
    seeds = [replace(row(seed, stage=1), arm={"t_mu": 1.0}, state=EntryState.DONE) for seed in (0, 1)]
    assert step([row(0, "done"), *seeds], _1=4) == Propose(1)
    assert step([row(0, "done"), *seeds], _1=2) == Searched(1)


def test_a_trial_of_the_shape_that_a_lane_stands_ready_for_goes_before_a_longer_one() -> None:
    short, long = row(0), row(1, patch_size=4)
    assert what([short, long], now(shape=row(7).shape)) == target_of(short)
    assert what([short, long], now(shape=row(7, patch_size=8).shape)) == target_of(long)


def test_a_trial_is_not_tried_again_before_its_time() -> None:
    later = row(0, not_before=10.0)
    assert what([later], now(at=9.0)) == Wait()
    assert what([later], now(at=10.0)) == target_of(later)


def test_what_must_run_alone_waits_for_an_empty_cluster_which_then_stays_empty() -> None:
    alone, other, third = row(0, alone=True), row(1), row(2)
    assert step([alone, other], in_flight=[other]) == Wait()
    assert step([alone]) == target_of(alone)
    assert what([alone, third], now(in_flight={target_of(alone)}, alone=True)) == Wait()
    assert what([row(0, "running"), row(1, stage=1)], now(in_flight={target_of(alone)}, alone=True), _1=2) == Wait()


def test_nothing_more_is_proposed_while_what_must_run_alone_waits_for_an_empty_cluster() -> None:
    alone, flying = row(0, alone=True), row(1, "running")
    assert step([alone, flying], in_flight=[flying], _0=5) == Wait()
    assert step([flying], in_flight=[flying], _0=5) == Propose(0)


def test_what_cannot_run_beside_others_does_not_keep_others_from_ending_first() -> None:
    alone, other, flying = row(0, alone=True), row(1), row(2, "running")
    assert step([alone, other, flying], in_flight=[flying]) == target_of(other)


def test_a_stage_with_paused_trials_ends_the_run_and_not_the_stage() -> None:
    assert step([row(0, "paused")], _1=2) == Over()
    assert step([row(0, "paused"), row(1, "running")], in_flight=[row(1)], _1=2) == Wait()


@pytest.mark.parametrize("state", ["pruned", "diverged"])
def test_what_was_stopped_early_has_ended(state: str) -> None:
    assert step([row(0, state), row(1, "done")]) == Over()


def refusing(*refused: EntryRow, in_flight: Sequence[EntryRow] = ()) -> Now:
    """A moment at which the budget does not hold some trials."""
    targets = {target_of(row) for row in refused}
    return Now(
        at=0.0,
        aligned={0, 1},
        in_flight={target_of(one) for one in in_flight},
        refusal=lambda row: "too dear" if target_of(row) in targets else "",
    )


def test_the_next_trial_is_the_first_that_the_budget_holds() -> None:
    short, long = row(0), row(1, patch_size=4)
    assert what([short, long], refusing(long)) == target_of(short)


def test_what_the_budget_does_not_hold_waits_for_what_runs_and_then_its_stage_has_spent_it() -> None:
    first, second = row(0, "running"), row(1)
    assert what([first, second], refusing(second, in_flight=[first])) == Wait()
    over = row(0, "done")
    assert what([over, second], refusing(second)) == OutOfBudget(0, (second.key,), "too dear")


def test_a_stage_whose_budget_ended_proposes_nothing_and_the_next_stage_begins() -> None:
    left, later = row(0, "out_of_budget"), row(1, stage=1)
    assert what([left, later], refusing(left), s0=5) == target_of(later)


def test_what_the_budget_did_not_hold_begins_once_it_does() -> None:
    left, later = row(0, "out_of_budget"), row(1, stage=1)
    assert what([left, later], refusing()) == target_of(left)


def test_an_evaluation_that_was_recorded_before_labels_could_be_exact_drew_them() -> None:
    recorded = EvaluationConfig(labels="drawn").model_dump(mode="json")
    del recorded["labels"]
    old, new = (replace(row(0), evaluation_json=text) for text in (json.dumps(recorded), EvaluationConfig().model_dump_json()))
    assert (old.evaluation.labels, new.evaluation.labels) == ("drawn", "proportional")
    assert old.evaluation.id != new.evaluation.id
