"""A stage that builds on the best of an earlier one's arms, played over the real ledger: what is chosen, and when."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.cli.progress import summary
from jit_sweep.cli.status import status
from jit_sweep.doctor.recorded import of_rows
from jit_sweep.doctor.replay import every_event
from jit_sweep.edits.difference import read_difference
from jit_sweep.executor.opening import end_at_once
from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.models.candidate import candidate_of
from jit_sweep.models.retraining import check_same, retraining
from jit_sweep.plan.foundations import foundations
from jit_sweep.plan.plan import plan
from jit_sweep.report.contents import read_report
from jit_sweep.results.choices import decided, no_choice
from jit_sweep.results.findings import Outcome
from jit_sweep.results.leaderboard import read_results
from jit_sweep.spec.sweep import SweepSpec
from tests.support.played import PlayedHome, drawn, planned_file
from tests.support.sweep_files import tiny_sweep
from trainables.config.recipe import Parent
from trainables.config.space import LatentSpace, TrialEncoder
from trainables.evaluation.metrics.registry import RUNG_METRICS

OWN = RUNG_METRICS["autoencoder"]
KID = "kid_efflite0_96"
ERRORS = {"kl": 0.3, "vq": 0.2}
"""Of each code: vq makes images again best, and all other scores say kl."""


def code_of(row: EntryRow) -> str:
    return str(row.trial.model.trunk.model_dump().get("code", {}).get("kind", ""))


def score(row: EntryRow, metric: str) -> float:
    if code := code_of(row):
        return (ERRORS[code] if metric == OWN else 1 / ERRORS[code]) + 0.01 * row.seed
    luck = 0.01 * drawn(row.trial_id, metric, 0)
    return (1.0 if row.trial.diffusion.prediction == "x" else 2.0) * (1 + luck)


def latent(encoder: Any = ("codes best",), *, seeds: Any = (3, 4), then: Any = (), **given: Any) -> dict[str, Any]:
    codes = {"axes": {"preset": ["autoencoder-tiny"], "code": ["kl", "vq"], "batch_size": [8]}, "seeds": list(seeds)}
    denoisers = {"axes": {"encoder": list(encoder), "prediction": ["x", "v"]}, "seeds": 3}
    stages = [{"name": "codes", "grid": codes}, {"name": "denoisers", "grid": denoisers}, *then]
    return tiny_sweep(**{"stages": stages, "baseline": {**tiny_sweep()["baseline"], "preset": "jit-tiny/2"}, **given})


@pytest.fixture
def home(tmp_path: Path) -> PlayedHome:
    return PlayedHome(tmp_path, score=score)


def encoders(home: PlayedHome) -> dict[str, set[str]]:
    """By the label of an arm that sees codes, the arm and seed whose codes these are."""
    named = {row.trial_id: f"{code_of(row)} {row.seed}" for row in home.rows() if code_of(row)}
    found: dict[str, set[str]] = {}
    for row in home.rows():
        space = row.trial.space
        if isinstance(space, LatentSpace) and isinstance(space.encoder, TrialEncoder):
            found.setdefault(" ".join(f"{axis}={value}" for axis, value in row.arm.items()), set()).add(
                named[space.encoder.trial]
            )
    return found


def test_the_arm_with_the_least_error_of_images_made_again_encodes_by_its_first_seed(home: PlayedHome) -> None:
    assert home.run(latent()) is SweepState.DONE
    assert encoders(home) == {f"encoder=codes best prediction={prediction}": {"vq 3"} for prediction in ("x", "v")}
    assert len(home.rows()) == 4 + 6
    assert [*of_rows(home.reader, home.name, every_event(home.reader, home.name))] == []


def test_nothing_of_a_stage_that_waits_is_planned_before_the_other_has_ended(home: PlayedHome) -> None:
    assert home.run(latent(), most=3) is SweepState.INTERRUPTED
    assert {row.stage for row in home.rows()} == {0}
    assert "6 planned later" in summary(home.rows(), planned_file(latent()), stopping=False)
    home.run(latent())
    assert "planned later" not in summary(home.rows(), planned_file(latent()), stopping=False)


def test_the_mean_over_seeds_decides_and_no_lucky_seed(home: PlayedHome) -> None:
    errors = {("kl", 3): 0.01, ("kl", 4): 1.0, ("vq", 3): 0.2, ("vq", 4): 0.2}
    home.score = lambda row, metric: errors[code_of(row), row.seed] if code_of(row) else score(row, metric)
    home.run(latent())
    assert {who for of in encoders(home).values() for who in of} == {"vq 3"}


def test_an_arm_no_better_than_blank_images_is_never_chosen(home: PlayedHome) -> None:
    home.run(latent(), most=4)
    planned, rows, scores = planned_file(latent()), home.rows(), home.reader.scores(home.name)
    chosen = {
        least: [choice.arm["code"] for choice in decided(planned, rows, scores, marks={KID: least}).choices if choice.made]
        for least in (9.0, 4.0, 1.0)
    }
    assert chosen == {9.0: ["vq"], 4.0: ["kl"], 1.0: []}
    assert "code=vq batch_size=8: 2 of 2 scored, no better than blank images" in no_choice(
        planned, rows, scores, marks={KID: 1.0}
    )


@pytest.mark.parametrize("seed", [3, 4])
def test_an_arm_of_which_a_seed_collapsed_is_never_chosen(home: PlayedHome, seed: int) -> None:
    home.collapsed = lambda row: (code_of(row), row.seed) == ("vq", seed)
    assert home.run(latent()) is SweepState.DONE
    assert {who for of in encoders(home).values() for who in of} == {"kl 3"}


def test_values_narrow_what_is_chosen_from(home: PlayedHome) -> None:
    assert home.run(latent(["codes best code=kl", None])) is SweepState.DONE
    assert {who for of in encoders(home).values() for who in of} == {"kl 3"}
    assert {row.arm["encoder"] for row in home.rows() if row.stage == 1} == {"codes best code=kl", None}


@pytest.mark.parametrize("most", [2, 4, 6])
def test_a_run_that_was_cut_short_goes_on_to_the_same_trials_and_verdicts(home: PlayedHome, tmp_path: Path, most: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = PlayedHome(tmp_path / "whole", score=score)
    whole.run(latent())
    home.run(latent(), most=most, cut=True)
    assert home.run(latent()) is SweepState.DONE
    assert [(row.key, row.position) for row in home.rows()] == [(row.key, row.position) for row in whole.rows()]
    assert [each.line for each in read_results(home.reader, home.name).findings.planned] == [
        each.line for each in read_results(whole.reader, whole.name).findings.planned
    ]
    trained = len(home.trained)
    assert home.run(latent()) is SweepState.DONE
    assert len(home.trained) == trained


def test_what_a_stage_that_waits_will_ask_is_planned_at_launch(home: PlayedHome) -> None:
    home.run(latent())
    found = read_results(home.reader, home.name).findings
    labels = {finding.question.label for finding in found.planned}
    assert any("prediction=v against x" in label for label in labels)
    assert not [finding for finding in found.exploratory if "encoder" in str(finding.question.cells)]


def test_the_file_as_it_ran_differs_in_nothing_and_has_ended(home: PlayedHome) -> None:
    planned = planned_file(latent())
    home.run_plan(planned)
    assert read_difference(home.reader, planned) == []
    with home.writing(planned) as writer:
        ended = end_at_once(planned, writer, home.reader, guard=BudgetGuard(planned.spec, home.reader))
    assert ended is not None
    assert ended.state is SweepState.DONE


def test_where_no_arm_is_sound_the_run_ends_with_the_reason(home: PlayedHome, capsys: pytest.CaptureFixture[str]) -> None:
    home.collapsed = lambda row: bool(code_of(row))
    planned = planned_file(latent(then=[{"grid": {"axes": {"batch_size": [8]}}}]))
    assert home.run_plan(planned) is SweepState.INCOMPLETE
    assert {row.stage for row in home.rows()} == {0, 2}, "what does not build on it is trained"
    with home.writing(planned) as writer:
        ended = end_at_once(planned, writer, home.reader, guard=BudgetGuard(planned.spec, home.reader))
        assert ended is not None
        writer.finish(home.name, ended.state, reason=ended.reason)
    assert ended.state is SweepState.INCOMPLETE
    assert ended.reason.startswith("`codes best` must be an arm whose every seed has heldout_reconstruction_error")
    assert "code=kl batch_size=8: 2 of 2 scored, 2 collapsed" in ended.reason
    assert "so stage `denoisers` trains nothing; train stage `codes` longer" in ended.reason
    assert ("the last run ended", ended.reason) in read_report(home.reader, home.name).provenance.facts
    status(home.name, f"sqlite:///{home.folder}/ledger.db", as_json=False)
    assert ended.reason[:60] in " ".join(capsys.readouterr().out.split())


def test_status_and_report_say_whose_codes_were_chosen_and_what_they_cost(
    home: PlayedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    home.run(latent())
    [vq] = [row for row in home.rows() if (code_of(row), row.seed) == ("vq", 3)]
    [each] = foundations(home.rows())
    assert (each.stage, each.gives, each.trial, each.images, each.arms) == (1, "codes", vq.trial_id, vq.images, 2)
    assert each.training_tflops == pytest.approx(vq.training_flops / 1e12)
    assert ("stage 1", each.line) in read_report(home.reader, home.name).provenance.facts
    status(home.name, f"sqlite:///{home.folder}/ledger.db", as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert f"stage 1: 2 arms have the codes of preset=autoencoder-tiny code=vq batch_size=8 seed=3 ({vq.trial_id})" in said


def test_arms_of_equal_flops_with_those_of_their_codes_compare_and_are_shown_with_them(
    home: PlayedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = {
        "axes": {"preset": ["autoencoder-tiny"], "batch_size": [8]},
        "cells": [{"where": {"preset": "autoencoder-tiny"}, "images_per_trial": 16}],
    }
    denoisers = {"axes": {"encoder": ["codes", None]}, "seeds": 3, "contrasts": [{"axis": "encoder"}]}
    stages = [{"name": "codes", "grid": codes}, {"name": "denoisers", "grid": denoisers}]
    budget = {"images_per_trial": 4000, "matched": "flops", "count_earlier_stages": True}
    home.run(
        tiny_sweep(stages=stages, baseline={**tiny_sweep()["baseline"], "preset": "jit-tiny/2", "batch_size": 8}, budget=budget)
    )
    results = read_results(home.reader, home.name)
    on_codes, on_pixels = (arm for label in ("codes", None) for arm in results.arms if arm.arm.get("encoder", "") == label)
    [autoencoder] = [row for row in home.rows() if code_of(row)]
    assert on_codes.training_flops == autoencoder.training_flops + on_codes.trials[0].entry.training_flops
    assert on_codes.training_flops == pytest.approx(on_pixels.training_flops, rel=0.02)
    assert on_codes.trials[0].entry.training_flops < 0.95 * on_pixels.training_flops, "without its codes it would not compare"
    [finding] = results.findings.planned
    assert finding.outcome is not Outcome.NOT_COMPARABLE, finding.reason
    status(home.name, f"sqlite:///{home.folder}/ledger.db", as_json=False)
    assert "training TFLOPs, counted in their cost" in " ".join(capsys.readouterr().out.split())


def test_an_arm_added_to_the_file_may_become_the_one_that_encodes(home: PlayedHome) -> None:
    one = latent(["codes best code=kl"])
    home.run(one)
    told = read_difference(home.reader, planned_file(latent(["codes best"])))
    assert any("arms added" in line for line in told)
    home.run(latent(["codes best"]))
    assert {who for of in encoders(home).values() for who in of} == {"vq 3"}


def test_more_seeds_of_what_encodes_let_the_others_wait_and_return_where_the_choice_stays(home: PlayedHome) -> None:
    home.run(latent())
    keys = {row.key for row in home.rows() if row.stage == 1}
    more = latent(seeds=[3, 4, 5])
    told = read_difference(home.reader, planned_file(more))
    assert (
        "grid `denoisers` waits until it is known again which arm is codes best: its 6 trials stay as history, and"
        in " ".join(told)
    )
    trained = len(home.trained)
    assert home.run(more) is SweepState.DONE
    assert {row.key for row in home.rows() if row.stage == 1} == keys
    assert len(home.trained) - trained == 2 * 2, "two seeds, of two rungs each"


def test_another_choice_begins_the_others_anew(home: PlayedHome) -> None:
    home.run(latent())
    keys = {row.key for row in home.rows() if row.stage == 1}
    home.score = lambda row, metric: 9.0 if (code_of(row), row.seed) == ("vq", 5) else score(row, metric)
    home.run(latent(seeds=[3, 4, 5]))
    assert {who for of in encoders(home).values() for who in of} == {"kl 3"}
    assert not keys & {row.key for row in home.rows() if row.stage == 1}


def test_a_search_and_the_children_of_children_wait_too(home: PlayedHome) -> None:
    search = {"from": "best_cell", "sampler": "random", "axes": {"learning_rate": [1e-3, 1e-2]}, "trials": 2}
    children = {"grid": {"axes": {"encoder": ["codes best"], "parent": ["denoisers best prediction=x"]}}}
    planned = planned_file(latent(then=[{"search": search}, children]))
    assert {stage: [choice.name for choice in of] for stage, of in planned.waiting.items()} == {
        1: ["codes best"],
        3: ["codes best", "denoisers best prediction=x"],
    }
    assert home.run_plan(planned) is SweepState.DONE
    assert {who for of in encoders(home).values() for who in of} == {"vq 3"}
    [child] = [row for row in home.rows() if row.stage == 3]
    first = next(row for row in home.rows() if row.stage == 1 and row.arm["prediction"] == "x" and row.seed == 0)
    assert child.trial.parent == Parent(trial=first.trial_id, images=first.images)


def test_a_search_may_see_the_best_codes_itself(home: PlayedHome) -> None:
    search = {"sampler": "random", "axes": {"encoder": ["codes best"], "learning_rate": [1e-3, 1e-2]}, "trials": 2}
    planned = planned_file(latent([None], then=[{"search": search}]))
    assert {*planned.waiting} == {2}
    assert home.run_plan(planned) is SweepState.DONE
    assert {who for of in encoders(home).values() for who in of} == {"vq 3"}
    assert sum(row.stage == 2 for row in home.rows()) == 2


def test_a_winner_on_the_best_codes_is_trained_again_on_the_same(home: PlayedHome) -> None:
    home.run(latent())
    candidate = candidate_of(read_results(home.reader, home.name))
    spec = SweepSpec.model_validate(home.reader.sweep(home.name).spec)
    check_same(plan(retraining(spec, candidate, seeds=(1000, 1001), judged_by=spec, noise=1), source="a test"), candidate)


def test_arms_on_the_best_codes_are_tuned_and_raced_as_others(home: PlayedHome) -> None:
    file = latent()
    nuisance = {"axes": {"learning_rate": [1e-3, 1e-2]}, "trials": 2}
    file["stages"][1]["grid"] |= {"nuisance": nuisance, "seeds": 2}
    planned = planned_file(file)
    assert {entry.origin for entry in planned.later} == {"tuning"}
    assert home.run_plan(planned) is SweepState.DONE
    own = [row for row in home.rows() if row.stage == 1]
    assert [sum(row.origin == origin for row in own) for origin in ("tuning", "grid")] == [4, 4]
    assert {who for of in encoders(home).values() for who in of} == {"vq 3"}
