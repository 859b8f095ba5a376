"""A stage that encodes the images of the next one, played over the real ledger: what is kept, chosen and trained again."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.models.candidate import candidate_of
from jit_sweep.models.retention import needs_of
from jit_sweep.models.retraining import check_same, retraining
from jit_sweep.plan.plan import plan
from jit_sweep.results.leaderboard import read_results
from jit_sweep.spec.sweep import SweepSpec
from tests.support.played import PlayedHome, drawn
from tests.support.sweep_files import tiny_sweep
from trainables.config.space import LatentSpace, TrialEncoder


def score(row: EntryRow, metric: str) -> float:
    """An image of a drawn kind is worse than one that was made again; x is better than v."""
    luck = 0.01 * drawn(row.trial_id, metric, 0)
    if row.trial.method.kind == "autoencoder":
        return 0.5 * (1 + luck)
    return (1.0 if row.trial.diffusion.prediction == "x" else 2.0) * (1 + luck)


def latent(**given: Any) -> dict[str, Any]:
    codes = {"preset": ["autoencoder-tiny"], "code": ["kl", "vq"], "batch_size": [8]}
    denoisers = {"encoder": ["codes code=vq"], "prediction": ["x", "v"]}
    stages = [{"name": "codes", "grid": {"axes": codes}}, {"grid": {"axes": denoisers, "seeds": 3}}]
    baseline = {**tiny_sweep()["baseline"], "preset": "jit-tiny/2"}
    return tiny_sweep(**{"stages": stages, "baseline": baseline, **given})


@pytest.fixture
def home(tmp_path: Path) -> PlayedHome:
    found = PlayedHome(tmp_path, score=score)
    assert found.run(latent()) is SweepState.DONE
    return found


def encoder_of(row: EntryRow) -> TrialEncoder | None:
    space = row.trial.space
    if not isinstance(space, LatentSpace):
        return None
    assert isinstance(space.encoder, TrialEncoder)
    return space.encoder


def test_the_stage_that_encodes_is_trained_before_who_sees_its_codes(home: PlayedHome) -> None:
    order = [trial for trial, _ in home.trained]
    vq = next(row for row in home.rows() if row.trial.model.trunk.model_dump().get("code", {}).get("kind") == "vq")
    seeing = [row for row in home.rows() if encoder_of(row) is not None]
    assert len(seeing) == 6
    assert {encoder.trial for row in seeing if (encoder := encoder_of(row)) is not None} == {vq.trial_id}
    assert all(order.index(vq.trial_id) < order.index(row.trial_id) for row in seeing)


def test_the_checkpoint_that_encodes_is_kept_however_few_a_sweep_keeps(tmp_path: Path) -> None:
    home = PlayedHome(tmp_path, score=score)
    home.run(latent(retention={"best": 1}))
    needs = needs_of(home.reader, (), ended=frozenset({home.name}))
    [(encoder, images)] = {(each.trial, each.images) for row in home.rows() if (each := encoder_of(row)) is not None}
    assert images in needs[encoder]
    others = {row.trial_id for row in home.rows() if row.trial.method.kind == "autoencoder"} - {encoder}
    assert not others & needs.keys()


@pytest.mark.parametrize("encoder", ["codes code=vq", None])
def test_a_winner_of_another_preset_or_of_pixels_is_trained_again_as_it_was(tmp_path: Path, encoder: str | None) -> None:
    home = PlayedHome(tmp_path, score=score)
    codes = {"preset": ["autoencoder-tiny"], "code": ["vq"], "batch_size": [8]}
    denoisers = {"preset": ["jit-tiny/4"], "batch_size": [8], "encoder": [encoder], "prediction": ["x", "v"]}
    stages = [{"name": "codes", "grid": {"axes": codes}}, {"grid": {"axes": denoisers, "seeds": 3}}]
    space = {"kind": "latent", "encoder": {"kind": "stage", "stage": "codes"}}
    home.run(latent(stages=stages, baseline={**tiny_sweep()["baseline"], "space": space}))
    candidate = candidate_of(read_results(home.reader, home.name))
    spec = SweepSpec.model_validate(home.reader.sweep(home.name).spec)
    check_same(plan(retraining(spec, candidate, seeds=(1000, 1001), judged_by=spec, noise=1), source="a test"), candidate)


def test_a_winner_that_sees_codes_is_trained_again_without_the_stage_that_encodes(home: PlayedHome) -> None:
    candidate = candidate_of(read_results(home.reader, home.name))
    assert candidate.values == {"encoder": "codes code=vq", "prediction": "x"}
    spec = SweepSpec.model_validate(home.reader.sweep(home.name).spec)
    again = plan(retraining(spec, candidate, seeds=(1000, 1001, 1002), judged_by=spec, noise=1), source="a test")
    check_same(again, candidate)
    assert len(again.entries) == 3


def test_a_winner_that_takes_its_baseline_s_parent_off_is_trained_again_without_it(tmp_path: Path) -> None:
    def from_the_seed_is_best(row: EntryRow, metric: str) -> float:
        return (1.0 if row.trial.parent is None else 2.0) * (1 + 0.01 * drawn(row.trial_id, metric, 0))

    home = PlayedHome(tmp_path, score=from_the_seed_is_best)
    first = {"name": "first", "grid": {"axes": {"prediction": ["x"]}}}
    baseline = {**tiny_sweep()["baseline"], "parent": {"trial": "0" * 12, "images": 8}}
    home.run(tiny_sweep(stages=[first, {"grid": {"axes": {"parent": [None, "first"]}, "seeds": 3}}], baseline=baseline))
    candidate = candidate_of(read_results(home.reader, home.name))
    assert candidate.values == {"parent": None}
    spec = SweepSpec.model_validate(home.reader.sweep(home.name).spec)
    check_same(plan(retraining(spec, candidate, seeds=(1000, 1001), judged_by=spec, noise=1), source="a test"), candidate)
