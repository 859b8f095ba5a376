"""Arms averaged over an axis."""

import json

import pytest

from jit_sweep.cli.leaderboard import leaderboard
from jit_sweep.errors import UserError
from jit_sweep.results.averaged import averaged
from jit_sweep.results.leaderboard import read_results
from tests.support.ledger import LedgerFixture
from tests.support.scored_arms import FD, collapse_arm, train_arm


def arm(prediction: str, patch: int) -> dict[str, str | int]:
    return {"patch_size": patch, "prediction": prediction}


@pytest.fixture
def ledger(ledger: LedgerFixture) -> LedgerFixture:
    """x and v at two patch sizes, and eps at one; one arm has a seed fewer."""
    train_arm(ledger, arm("x", 16), (10.0, 12.0, 14.0))
    train_arm(ledger, arm("x", 8), (20.0, 26.0))
    train_arm(ledger, arm("v", 16), (30.0, 30.0, 30.0))
    collapse_arm(ledger, arm("v", 8), (1.0, 1.0, 1.0))
    train_arm(ledger, arm("eps", 16), (5.0, 5.0))
    return ledger


def test_each_seed_is_averaged_before_the_seeds_are(ledger: LedgerFixture) -> None:
    rows = {row.cell["prediction"]: row for row in averaged(read_results(ledger.reader, "mine"), ["patch_size"])}
    spread = rows["x"].metrics[FD]
    assert (spread.mean, spread.n) == (17.0, 2)  # (10 + 20) / 2 and (12 + 26) / 2: the third seed is not in both
    assert spread.sd == pytest.approx(2.0 * 2**0.5)


def test_a_mean_of_fewer_arms_or_of_collapsed_ones_says_so_and_collapsed_ones_stand_last(ledger: LedgerFixture) -> None:
    rows = averaged(read_results(ledger.reader, "mine"), ["patch_size"])
    assert [row.cell["prediction"] for row in rows] == ["eps", "x", "v"]
    assert [row.remarks for row in rows] == [["other arms are missing"], [], ["3 collapsed"]]


def test_over_every_axis_there_is_one_mean_and_over_an_unknown_one_a_remedy(ledger: LedgerFixture) -> None:
    results = read_results(ledger.reader, "mine")
    (whole,) = averaged(results, ["patch_size", "prediction"])
    assert (len(whole.arms), dict(whole.cell)) == (5, {})
    with pytest.raises(UserError, match="`--over` must name an axis of the arms, got 'learning_rate'; they have patch"):
        averaged(results, ["learning_rate"])


def test_the_command_prints_means_by_an_axis_and_as_json(ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]) -> None:
    address = ledger.engine.url.render_as_string()
    leaderboard("mine", address, where=[], by=["patch_size"], over=["prediction"], as_json=False)
    shown = capsys.readouterr().out
    assert shown.count("each seed's mean over prediction") == 2
    leaderboard("mine", address, where=["patch_size=8"], by=[], over=["prediction"], as_json=True)
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["kind"], row["cell"], row["over"], len(row["arms"])) == ("mean", {"patch_size": 8}, ["prediction"], 2)
