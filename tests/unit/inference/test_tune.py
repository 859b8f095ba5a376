"""A network's own best setting: chosen on few images, confirmed on fresh ones, kept with what it cost."""

import json
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from jit_sweep.cli import main
from jit_sweep.cli.leaderboard import print_results
from jit_sweep.errors import UserError
from jit_sweep.inference.evaluate import Evaluations
from jit_sweep.inference.trained import Places, find
from jit_sweep.inference.tune import default_metric, tune
from tests.support.trained import EVALUATION, log_of, subject, trained_home
from trainables.config.tuning import CHOOSING, CONFIRMING, Tuning
from trainables.evaluation.metrics.registry import RUNG_METRIC

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
FD = "fd_efflite0_96"
TUNING = Tuning(weights="all", steps=(2, 3), n=8, trials=4)


def test_the_headline_is_confirmed_on_fresh_noise_that_chose_nothing_and_the_ledger_has_both_views(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, entry = trained_home(tmp_path)
    log = log_of(home)
    evaluations = Evaluations(find(entry.trial_id, Places(home, log.reader, "")), log=log)
    found = tune(evaluations, EVALUATION, TUNING, metric=FD)
    record = found.record
    assert {(choice.evaluation.n, choice.evaluation.seed) for choice in found.choices} == {(8, CHOOSING)}
    assert {(view.evaluation["n"], view.evaluation["seed"]) for view in (record.shared, record.best)} == {(16, CONFIRMING)}
    best = min(found.choices, key=lambda choice: choice.value or 0.0).evaluation
    assert (record.best.evaluation["weights"], record.best.evaluation["steps"]) == (best.weights, best.steps)
    assert (record.shared.evaluation["weights"], record.shared.evaluation["steps"]) == ("ema", 2)
    known = {each.evaluation_id: each for each in log.reader.evaluated(entry.trial_id)}
    confirmed = known[EVALUATION.model_copy(update={"seed": CONFIRMING}).id]
    assert record.shared.value == confirmed.values[FD]
    assert record.seconds == pytest.approx(sum(each.seconds for each in known.values()))
    assert log.reader.tuned("mine") == {entry.trial_id: record}
    print_results(log.reader, "mine", as_json=False)
    said = capsys.readouterr().out
    assert "each at its best" in said
    assert f"{record.best.value:.5g}" in said
    print_results(log.reader, "mine", as_json=True)
    assert json.loads(capsys.readouterr().out)["tuned"][0]["best"]["value"] == record.best.value


def test_a_search_that_was_cut_short_draws_nothing_twice(tmp_path: Path) -> None:
    home, entry = trained_home(tmp_path)
    log, trained = log_of(home), find(entry.trial_id, Places(home, log_of(home).reader, ""))
    asked: list[str] = []

    def until_the_third(evaluation: object) -> None:
        asked.append(str(evaluation))
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(Evaluations(trained, log=log), EVALUATION, TUNING, metric=FD, begun=until_the_third)
    assert len(log.reader.evaluated(entry.trial_id)) == 2
    tune(Evaluations(trained, log=log), EVALUATION, TUNING, metric=FD)
    drawn = [each.evaluation_id for each in log.reader.evaluated(entry.trial_id)]
    assert len(drawn) == len(set(drawn))


def test_a_setting_that_cannot_be_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    evaluations = Evaluations(subject(tmp_path))
    with pytest.raises(UserError, match="`weights` must be one of raw, ema"):
        tune(evaluations, EVALUATION, Tuning(weights=("emma",)), metric=FD)
    with pytest.raises(UserError, match="by a score of samples, got heldout_v_error"):
        tune(evaluations, EVALUATION, TUNING, metric=RUNG_METRIC)
    assert evaluations.spent_s == {}


def test_the_objective_tunes_where_it_is_of_samples_and_the_distance_elsewhere() -> None:
    assert default_metric(EVALUATION, "kid_efflite0_96") == "kid_efflite0_96"
    assert default_metric(EVALUATION, RUNG_METRIC) == default_metric(EVALUATION, None) == FD


def test_a_search_over_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="must list values"):
        Tuning(n=8)


def test_the_command_searches_and_prints_both_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home, entry = trained_home(tmp_path)
    words = ["evaluate", entry.trial_id, "--home", str(home.path), "--tune", "steps=[2,3]", "--tune", "n=8", "--json"]
    monkeypatch.setattr(sys, "argv", ["jit-sweep", *words])
    assert main() == 0
    printed = json.loads(capfd.readouterr().out)
    assert [row["steps"] for row in printed["rows"]] == [2, 3]
    assert printed["tuned"]["metric"] == FD
    monkeypatch.setattr(sys, "argv", ["jit-sweep", *words[:-1]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capfd.readouterr().out
    assert all(words in said for words in ("at the shared setting", "at its own best", "steps", "fresh noise (seed 2)"))
