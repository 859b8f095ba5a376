"""A sweep as data frames."""

from pathlib import Path

import pytest

from jit_sweep import UserError, open_sweep
from tests.support.ledger import LedgerFixture, planned

FD = "fd_efflite0_96"
X, V = {"prediction": "x"}, {"prediction": "v"}


def test_trials_arms_and_verdicts_are_frames(ledger: LedgerFixture, tmp_path: Path) -> None:
    for seed in range(3):
        ledger.train(planned(arm=X, seed=seed, position=seed), {FD: 10.0 + seed})
        ledger.train(planned(arm=V, seed=seed, position=3 + seed), {FD: 40.0 + seed})
    ledger.plan(planned(arm=V, seed=3, position=6))
    sweep = open_sweep("mine", home=tmp_path)
    trials = sweep.trials()
    assert trials.groupby("prediction")[FD].mean().to_dict() == {"x": 11.0, "v": 41.0}
    assert trials["state"].value_counts().to_dict() == {"done": 6, "waiting": 1}
    assert trials.index.name == "trial"
    arms = sweep.arms()
    assert list(arms["prediction"]) == ["x", "v"]
    assert list(arms[f"{FD} n"]) == [3, 3]
    assert set(sweep.verdicts()["n"]) == {3}


def test_a_sweep_without_trials_has_empty_frames(ledger: LedgerFixture, tmp_path: Path) -> None:
    sweep = open_sweep("mine", ledger=f"sqlite:///{tmp_path}/ledger.db")
    assert [len(frame) for frame in (sweep.trials(), sweep.arms(), sweep.verdicts())] == [0, 0, 0]


def test_a_sweep_that_is_not_there_is_named(ledger: LedgerFixture, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the ledger has no sweep 'mina'; did you mean 'mine'"):
        open_sweep("mina", home=tmp_path)
    with pytest.raises(UserError, match="there is no ledger in"):
        open_sweep("mine", home=tmp_path / "nowhere")
