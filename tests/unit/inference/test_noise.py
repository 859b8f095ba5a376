"""The noise of a sweep: its own scores and further draws, kept in the ledger and read by the next plan."""

import math
from pathlib import Path
from statistics import stdev

import pytest

from jit_sweep.cli.leaderboard import print_results
from jit_sweep.cli.noise import print_noise, rows_of
from jit_sweep.cli.output import console
from jit_sweep.errors import UserError
from jit_sweep.inference.noise import draws_of, measure
from jit_sweep.inference.trained import Places
from jit_sweep.ledger.event_records import MeasuredNoise, NoiseMeasured
from jit_sweep.results.noise import noise_note
from tests.support.trained import EVALUATION, home_of_seeds, log_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
FD = "fd_efflite0_96"


def test_noise_is_of_each_trial_s_own_score_and_of_its_further_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, entries = home_of_seeds(tmp_path, [{FD: 100.0}, {FD: 110.0}])
    log = log_of(home)
    begun: list[str] = []
    found = measure("mine", Places(home, log.reader, ""), log, seeds=None, resamples=1, begun=begun.append)
    assert (found.seeds, found.draws, found.images, len(begun)) == (2, 2, entries[0].images, 2)
    again = [log.reader.evaluated(entry.trial_id)[0] for entry in entries]
    assert [each.evaluation_id for each in again] == [draws_of(EVALUATION, 1)[0].id] * 2
    rows = [[math.log(own), math.log(each.values[FD])] for own, each in zip((100.0, 110.0), again, strict=True)]
    typical = found.typical[FD]
    assert typical.resampling == pytest.approx(math.sqrt(sum(stdev(row) ** 2 for row in rows) / 2))
    print_noise("mine", found, console())
    said = capsys.readouterr().out
    assert "typical" in said
    assert "2 seeds, 2 draws of each" in said
    assert rows_of(found)[0]["retraining"] == typical.retraining
    assert log.reader.noise("mine") == found
    print_results(log.reader, "mine", as_json=False)
    assert noise_note(found, FD) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("retraining", "remedy"),
    [(0.03, "more seeds narrow a gap, more images hardly"), (0.001, "more images a score narrow a gap")],
)
def test_what_narrows_the_gaps_of_verdicts_follows_from_the_larger_noise(retraining: float, remedy: str) -> None:
    noise = MeasuredNoise(retraining=retraining, resampling=0.01)
    known = NoiseMeasured(images=960, seeds=3, draws=5, arms={}, typical={FD: noise}, correlation={})
    assert remedy in noise_note(known, FD)
    assert noise_note(known, "kid_efflite0_96") == noise_note(None, FD) == ""


def test_what_was_drawn_before_is_not_drawn_again(tmp_path: Path) -> None:
    home, entries = home_of_seeds(tmp_path, [{FD: 100.0}, {FD: 110.0}])
    log = log_of(home)
    for _ in range(2):
        measure("mine", Places(home, log.reader, ""), log, seeds=2, resamples=1)
    assert [len(log.reader.evaluated(entry.trial_id)) for entry in entries] == [1, 1]


def test_fewer_seeds_than_asked_for_are_refused_with_what_there_is(tmp_path: Path) -> None:
    home, _ = home_of_seeds(tmp_path, [{FD: 100.0}, {FD: 110.0}])
    log = log_of(home)
    with pytest.raises(UserError, match="an arm with 5 scored seeds, got .*2; run the sweep"):
        measure("mine", Places(home, log.reader, ""), log, seeds=5, resamples=1)


def test_a_checkpoint_that_is_gone_is_named(tmp_path: Path) -> None:
    home, entries = home_of_seeds(tmp_path, [{FD: 100.0}, {FD: 110.0}])
    for file in (home.store / "trials" / entries[1].trial_id).rglob("commits/*"):
        file.unlink()
    log = log_of(home)
    with pytest.raises(UserError, match=f"trial {entries[1].trial_id} must have its checkpoint at {entries[1].images}"):
        measure("mine", Places(home, log.reader, ""), log, seeds=2, resamples=1)
