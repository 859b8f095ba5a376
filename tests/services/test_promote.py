"""`promote` over retrainings that were played: the candidate, the gates, the champion before, and what is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from jit_sweep.cli import registered
from jit_sweep.errors import UserError
from jit_sweep.models.model_folder import CARD, LINEAGE, SCORES
from jit_sweep.tracking.client import open_client
from jit_sweep.tracking.registry import ModelStanding, Registry, load
from tests.support.promotions import FD, MODEL, PromotionHome, by_prediction

GOOD = [300.0, 303.0, 309.0]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> PromotionHome:
    """With a sweep whose best arm is of x-prediction."""
    made = PromotionHome.at(tmp_path_factory.mktemp("swept") / "home", empty_mlflow=empty_mlflow)
    made.sweep("first", by_prediction({"x": 280.0, "v": 500.0}), learning_rate=1e-3)
    made.close()
    return made


@pytest.fixture(scope="module")
def promoted(swept: PromotionHome, tmp_path_factory: pytest.TempPathFactory) -> PromotionHome:
    """With the champion that this sweep has made."""
    made = swept.copy(tmp_path_factory.mktemp("promoted") / "home")
    made.retrain("first", GOOD)
    assert made.promote("first") == 0
    made.close()
    return made


@pytest.fixture
def place(swept: PromotionHome, tmp_path: Path) -> PromotionHome:
    """The sweep, and no champion."""
    return swept.copy(tmp_path / "home")


@pytest.fixture
def crowned(promoted: PromotionHome, tmp_path: Path) -> PromotionHome:
    """The sweep and the champion."""
    return promoted.copy(tmp_path / "crowned")


def registry(place: PromotionHome) -> Registry:
    return Registry(place.home.tracking)


def aliases(place: PromotionHome) -> dict[str, int]:
    found = open_client(place.home.tracking).get_registered_model(MODEL).aliases
    return {name: int(version) for name, version in found.items()}


def row_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(capsys.readouterr().out)["rows"][0]
    return row


def failing(row: dict[str, Any]) -> list[str]:
    return [gate["name"] for gate in row["gates"] if not gate["holds"]]


def test_the_fresh_seeds_score_is_advertised_and_their_middle_one_registered(
    place: PromotionHome, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place.retrain("first", GOOD)
    assert place.promote("first", as_json=True) == 0
    row = row_of(capsys)
    assert (row["promoted"], row["version"], row["cell"]["prediction"], failing(row)) == (True, 1, "x", [])
    assert row["score"]["mean"] == pytest.approx((300 * 303 * 309) ** (1 / 3))
    assert row["score"]["by_seed"] == {"1000": 300.0, "1001": 303.0, "1002": 309.0}
    low, high = row["score"]["interval"]
    assert low < 300 < 309 < high
    champion = registry(place).standing(MODEL).champion
    assert champion is not None
    assert (champion.tags["seed"], champion.tags["chosen_in"]) == ("1001", "first")
    folder = load(MODEL, tracking_uri=place.home.tracking, folder=tmp_path / "copy")
    scores, lineage = (json.loads((folder / name).read_text()) for name in (SCORES, LINEAGE))
    assert scores["values"][FD] == 303.0
    assert scores["chosen"]["score_there"]["mean"] == pytest.approx(280 * 1.01)
    assert lineage["data_licence"] == "MIT (Microsoft Fluent Emoji)"
    assert "95 % interval" in (folder / CARD).read_text()


def test_a_dry_run_says_what_it_would_cost_and_starts_nothing(place: PromotionHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.promote("first", dry_run=True) == 0
    said = capsys.readouterr().out
    assert "3 fresh seeds (1000, 1001, 1002) of 16 images, about 0.03 CPU-hours" in said
    assert [sweep.name for sweep in place.reader.sweeps()] == ["first"]


def test_without_a_terminal_a_retraining_needs_a_yes(place: PromotionHome) -> None:
    with pytest.raises(UserError, match="somebody agrees to its cost.*--yes"):
        place.promote("first")


@pytest.mark.parametrize(
    ("values", "more", "gate"),
    [
        ([300.0, None, 309.0], {}, "divergence"),
        ([300.0, 303.0, 309.0], {"collapsed": True}, "collapse"),
        ([1900.0, 1950.0, 1960.0], {}, "blank images"),
        ([50.0, 51.0, 52.0], {}, "memorisation"),
    ],
)
def test_a_gate_that_does_not_hold_is_named_and_the_alias_left_alone(
    place: PromotionHome, capsys: pytest.CaptureFixture[str], values: list[float | None], more: dict[str, Any], gate: str
) -> None:
    place.retrain("first", values, **more)
    assert place.promote("first", yes=True) == 1
    said = capsys.readouterr().out
    assert f"FAILS  {gate}" in said
    assert "not promoted, faces has no champion" in said
    assert registry(place).standing(MODEL).champion is None


@pytest.mark.parametrize(
    ("values", "file", "holds", "verdict"),
    [
        ([301.0, 302.0, 310.0], {}, False, "EQUIVALENT"),
        ([301.0, 302.0, 310.0], {"margin": 0.05}, True, "EQUIVALENT"),
        ([260.0, 330.0, 300.0], {}, False, "INCONCLUSIVE"),
        ([200.0, 203.0, 206.0], {}, True, "REAL"),
        ([400.0, 404.0, 412.0], {"margin": 0.05}, False, "REAL"),
    ],
)
def test_a_candidate_is_really_better_on_the_same_seeds_or_not_worse_by_more_than_was_planned(
    crowned: PromotionHome,
    capsys: pytest.CaptureFixture[str],
    values: list[float | None],
    file: dict[str, Any],
    holds: bool,
    verdict: str,
) -> None:
    crowned.sweep("second", by_prediction({"x": 250.0, "v": 500.0}), **file)
    crowned.retrain("second", values, champion=GOOD)
    assert crowned.promote("second", as_json=True) == (0 if holds else 1)
    row = row_of(capsys)
    assert (failing(row), row["against_champion"]["verdict"]) == ([] if holds else ["champion"], verdict)
    aliases = {"champion": 2, "previous-champion": 1} if holds else {"champion": 1}
    assert registry(crowned).model(MODEL).aliases == aliases


def test_force_makes_it_the_champion_and_its_reason_is_kept(
    place: PromotionHome, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place.retrain("first", GOOD, collapsed=True)
    assert place.promote("first", forced="for the talk") == 0
    assert "forced (for the talk) though it fails: collapse" in capsys.readouterr().out
    folder = load(MODEL, tracking_uri=place.home.tracking, folder=tmp_path / "copy")
    assert json.loads((folder / SCORES).read_text())["forced"] == "for the talk"
    assert "made the champion by hand" in (folder / CARD).read_text()


def test_a_promotion_that_holds_forces_nothing(place: PromotionHome) -> None:
    place.retrain("first", GOOD)
    place.promote("first", forced="to be sure")
    champion = registry(place).standing(MODEL).champion
    assert champion is not None
    assert "forced" not in champion.tags


def test_the_champion_promoted_again_changes_nothing(crowned: PromotionHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert crowned.promote("first") == 0
    assert "it is the champion already" in capsys.readouterr().out
    assert registry(crowned).standing(MODEL).latest == 1


def test_of_two_promotions_at_once_the_second_is_told_and_changes_no_alias(
    crowned: PromotionHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "standing", lambda *_: ModelStanding(None, 0))  # as it was before the first
    with pytest.raises(UserError, match="version 1 was registered before this one, version 2; promote again"):
        crowned.promote("first")
    model = registry(crowned).model(MODEL)
    assert model.aliases == {"champion": 1}
    assert model.versions[0].tags["not_champion"] == "version 1 was registered first"


def test_a_winner_of_one_seed_takes_the_same_way(place: PromotionHome, capsys: pytest.CaptureFixture[str]) -> None:
    place.sweep("alone", by_prediction({"x": 240.0, "v": 500.0}), seeds=1)
    place.retrain("alone", GOOD)
    assert place.promote("alone", as_json=True) == 0
    row = row_of(capsys)
    assert (row["seeds"], row["score"]["by_seed"]["1002"]) == ([1000, 1001, 1002], 309.0)


def test_an_arm_that_lost_a_seed_in_its_sweep_is_a_candidate_by_name_only_and_fails(
    place: PromotionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    place.sweep("lossy", lambda row: None if row.arm["prediction"] == "x" and row.seed == 2 else 300.0 + row.seed)
    assert place.nomination("lossy").candidate.arm.arm == {"prediction": "v"}
    trial = next(row.trial_id for row in place.reader.entries("lossy") if row.arm["prediction"] == "x")
    named = place.nomination("lossy", trial=trial)
    place.train(named.spec, lambda row: GOOD[row.seed - 1000])
    assert place.promote("lossy", trial=trial, as_json=True) == 1
    assert failing(row_of(capsys)) == ["lost seeds"]


def test_seeds_that_the_sweep_has_used_are_not_fresh(place: PromotionHome) -> None:
    place.sweep("greedy", lambda row: 300.0 + row.seed % 7, seeds=[0, 1000, 1002])
    assert place.nomination("greedy").seeds == (1001, 1003, 1004)


def test_the_same_question_finds_the_same_retraining_and_another_champion_other_noise(
    place: PromotionHome, crowned: PromotionHome
) -> None:
    asked = place.nomination("first").spec
    assert (asked, asked.evaluation.seed) == (place.nomination("first").spec, 1000)
    assert crowned.nomination("first").spec.evaluation.seed == 1001


def test_a_champion_whose_sweep_is_elsewhere_keeps_its_place(
    crowned: PromotionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    open_client(crowned.home.tracking).set_model_version_tag(MODEL, "1", "sweep", "elsewhere")
    crowned.sweep("second", by_prediction({"x": 250.0, "v": 500.0}))
    crowned.retrain("second", [200.0, 203.0, 206.0])
    assert crowned.promote("second", as_json=True) == 1
    [gate] = [gate for gate in row_of(capsys)["gates"] if not gate["holds"]]
    assert "is not in this ledger" in gate["words"]


def test_a_model_rolls_back_to_its_previous_champion_and_its_history_says_so(
    crowned: PromotionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    home = crowned.home
    crowned.sweep("second", by_prediction({"x": 250.0, "v": 500.0}))
    crowned.retrain("second", [200.0, 203.0, 206.0], champion=GOOD)
    crowned.promote("second")
    with pytest.raises(UserError, match="version 2 of faces is it already"):
        registered.rollback(MODEL, home, to=2, tracking=None, as_json=False)
    assert registered.rollback(MODEL, home, to=None, tracking=None, as_json=False) == 0
    capsys.readouterr()
    assert registered.history(MODEL, home, tracking=None, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["how"]) for row in told["rows"]] == [(1, "promoted"), (2, "promoted"), (1, "rolled back to")]
    assert told["aliases"] == {"champion": 1, "previous-champion": 2}
    assert registered.models(home, tracking=None, as_json=True) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["number"], row["aliases"]) for row in rows] == [(2, ["previous-champion"]), (1, ["champion"])]
    assert rows[1]["score"] == pytest.approx(304, abs=0.1)
    page = open_client(home.tracking).get_registered_model(MODEL).description
    assert "champion is version 1" in page
    assert "95 % interval" in page
    assert registered.rollback(MODEL, home, to=2, tracking=None, as_json=False) == 0
    assert aliases(crowned) == {"champion": 2, "previous-champion": 1}


def test_the_second_question_of_a_project_must_be_surer_than_the_first_and_asking_again_costs_nothing(
    place: PromotionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, rate in enumerate((2e-3, 3e-3), start=1):
        place.sweep(f"tweak-{number}", by_prediction({"x": 250.0, "v": 500.0}), learning_rate=rate, project="faces")
        for _ in range(2):
            assert (place.nomination(f"tweak-{number}").question) == number
            place.retrain(f"tweak-{number}", GOOD)
    assert place.nomination("tweak-1").asking.alpha == pytest.approx(0.025)
    assert place.nomination("tweak-2").asking.alpha == pytest.approx(0.05 / 6)
    assert place.nomination("first").asking.alpha == 0.05
    place.promote("tweak-2", dry_run=True)
    assert "project: faces, of which this is question 2, so a gain needs p <= 0.0083" in capsys.readouterr().out
