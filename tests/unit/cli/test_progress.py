"""What a run tells while it goes on."""

import io

import pytest
from rich.console import Console, RenderableType

from jit_sweep.cli.progress import PlainLines, drawing, event_line, phase_of, standing, subject, summary
from jit_sweep.cli.silence import Silence, Unchanging, clock
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.plan.plan import plan
from jit_sweep.results.time_left import time_left
from jit_sweep.spec.read import read_spec
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import OBJECTIVE, LedgerFixture, ended, planned, scored
from tests.support.recorded_times import proposed_later, recorded, rows_at
from tests.support.sweep_files import tiny_sweep
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.report import Activity, Committed, Progress, Rung


def test_a_trial_scored_several_ways_is_called_by_what_these_share_and_each_score_by_its_own(ledger: LedgerFixture) -> None:
    entries = [
        planned(arm={"prediction": "x"}, n=n, position=n).model_copy(update={"arm": {"prediction": "x", "guidance": guidance}})
        for n, guidance in ((8, 1.0), (16, 2.0))
    ]
    ledger.plan(*entries)
    attempt = ledger.begin(entries[0])
    ledger.tell(attempt, *(scored(entry, {OBJECTIVE: 1.0}) for entry in entries))
    rows = ledger.reader.entries(ledger.name)
    told = [(event.kind, subject(event, rows)) for event in ledger.events()]
    assert [words for kind, words in told if kind is EventKind.BEGUN] == ["prediction=x seed=0"]
    scores = [words for kind, words in told if kind is EventKind.SCORED]
    assert scores == ["prediction=x guidance=1.0 seed=0", "prediction=x guidance=2.0 seed=0"]


def rendered(table: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(table)
    return out.getvalue()


def progress(images: int, *, speed: float = 48.0) -> Progress:
    return Progress(images=images, step=images // 48, loss=1.0, images_per_second=speed)


def test_a_running_trial_starts_runs_and_evaluates_and_shows_the_images_of_its_checkpoint(
    ledger: LedgerFixture,
) -> None:
    entry = planned()
    ledger.plan(entry)
    assert phase_of(ledger.row(entry)) == "waiting"
    attempt = ledger.begin(entry)
    assert phase_of(ledger.row(entry)) == "starting"
    ledger.tell(attempt, progress(480))
    assert phase_of(ledger.row(entry)) == "running"
    ledger.tell(attempt, progress(960), first=1)
    assert phase_of(ledger.row(entry)) == "evaluating"
    table, _ = drawing([ledger.row(entry)], {}, width=100)
    assert "evaluating" in rendered(table)
    assert "20/20" in rendered(table)
    ledger.tell(attempt, drawing_samples(256), first=2)
    assert "evaluating 256/512" in rendered(drawing([ledger.row(entry)], {}, width=100)[0])
    ledger.tell(attempt, scored(entry, {OBJECTIVE: 1.0}), ended(entry), first=3)
    assert phase_of(ledger.row(entry)) == "done"


def drawing_samples(done: int) -> Activity:
    return Activity(images=960, what="drawing samples", done=done, of=512)


def test_what_takes_long_is_said_in_the_summary_for_as_long_as_it_takes(ledger: LedgerFixture) -> None:
    first, second = planned(), planned(seed=1, position=1)
    ledger.plan(first, second)
    attempts = [ledger.begin(first), ledger.begin(second)]

    def said() -> str:
        return summary(ledger.reader.entries("mine"), plan(read_spec("quickstart"), source="quickstart"), stopping=False)

    ledger.tell(attempts[0], Activity(images=0, what="compiling"))
    assert said().startswith("2 starting (compiling)")
    for attempt in attempts:
        ledger.tell(attempt, progress(960), drawing_samples(128), first=1)
    assert said().startswith("2 evaluating (drawing samples 256/1024)")
    features = Activity(images=960, what="reading the real images' features", done=256, of=800)
    ledger.tell(attempts[0], features, first=3)
    assert said().startswith(f"2 evaluating ({features.what} 256/800, drawing samples 128/512)")
    ledger.tell(attempts[0], progress(960), first=4)
    assert said().startswith("2 evaluating (drawing samples 128/512)")


def test_a_rung_that_draws_samples_is_evaluating_until_it_is_measured(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.tell(attempt, progress(480), Activity(images=480, what="drawing samples", done=8, of=64))
    assert standing(ledger.row(entry)) == "evaluating 8/64"
    ledger.tell(attempt, Rung(images=480, values={RUNG_METRIC: 1.0}), first=2)
    assert standing(ledger.row(entry)) == "running"


def test_without_a_terminal_what_may_be_silent_for_long_has_a_line_as_it_begins(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    told = [
        Activity(images=0, what="compiling"),
        drawing_samples(0),
        Activity(images=960, what="reading the real images' features", of=800),
        Activity(images=960, what="reading the real images' features", done=256, of=800),
    ]
    ledger.tell(ledger.begin(entry), *told)
    lines = [event_line(event, objective=OBJECTIVE) for event in ledger.events() if event.kind is EventKind.ACTIVITY]
    assert lines == ["compiling", "", "reading the real images' features", ""]


def test_the_time_to_go_counts_start_and_evaluation_as_ended_trials_had_them(ledger: LedgerFixture) -> None:
    first, second, third = (planned(seed=seed, position=seed) for seed in range(3))
    ledger.plan(first, second, third)
    attempt = ledger.begin(first)
    ledger.clock.now += 100.0  # of which training took 20 s
    ledger.tell(attempt, progress(960), scored(first, {OBJECTIVE: 1.0}), ended(first))
    running = ledger.begin(second)
    ledger.clock.now += 40.0
    ledger.tell(running, progress(960))
    assert time_left(ledger.reader.entries("mine"), later=0, now=ledger.clock.now) == pytest.approx(60.0 + 100.0)
    assert time_left(ledger.reader.entries("mine"), later=2, now=ledger.clock.now) == pytest.approx(360.0)
    assert time_left(ledger.reader.entries("mine"), later=0, now=ledger.clock.now + 1000) == pytest.approx(100.0)


def test_what_evaluators_score_takes_no_training_any_more(ledger: LedgerFixture) -> None:
    first, second, third = (planned(seed=seed, position=seed) for seed in range(3))
    ledger.plan(first, second, third)
    for entry in (first, second):
        saved = Committed(images=960, uri="memory://end")
        ledger.tell(ledger.begin(entry), progress(960), saved, ended(entry, "trained"))
    assert time_left(ledger.reader.entries("mine"), later=0, now=ledger.clock.now) == pytest.approx(20.0)
    scoring = ledger.begin(first)
    ledger.clock.now += 7.0
    ledger.tell(scoring, scored(first, {OBJECTIVE: 1.0}), ended(first))
    rows = ledger.reader.entries("mine")
    assert time_left(rows, later=0, now=ledger.clock.now) == pytest.approx(27.0)
    said = summary(rows, plan(read_spec("quickstart"), source="quickstart"), stopping=False)
    assert said.startswith("1 trained · 1 waiting for a lane · 1 done")


def test_the_time_to_go_is_right_within_a_quarter_around_half_way(ledger: LedgerFixture) -> None:
    """Four trials, one after the other: each takes 15 s to start, 20 s to train and 25 s to be scored."""
    entries = [planned(seed=seed, position=seed) for seed in range(4)]
    ledger.plan(*entries)
    began = ledger.clock.now
    told = dict[float, float]()
    for number, entry in enumerate(entries):
        attempt = ledger.begin(entry)
        for sequence, (second, images) in enumerate(((25, 480), (35, 960), (50, 960))):
            ledger.clock.now = began + 60 * number + second
            ledger.tell(attempt, progress(images), first=sequence)
            left = time_left(ledger.reader.entries("mine"), later=0, now=ledger.clock.now)
            told[ledger.clock.now - began] = left or 0.0
        ledger.clock.now = began + 60 * (number + 1)
        ledger.tell(attempt, scored(entry, {OBJECTIVE: 1.0}), ended(entry), first=3)
    around_half = {passed: left for passed, left in told.items() if 80 <= passed <= 160}
    assert len(around_half) >= 4
    assert all(left == pytest.approx(240 - passed, rel=0.25) for passed, left in around_half.items())


def test_the_time_to_go_was_right_within_a_quarter_half_way_through_a_recorded_quickstart() -> None:
    """Whose first trials were of another shape than the rest, on a machine that was busy with other things as well."""
    end = recorded()["end"]
    around_half = [share / 100 * end for share in range(49, 58)]
    told = {now: time_left(rows_at(now), later=proposed_later(now), now=now) for now in around_half}
    assert all(left == pytest.approx(end - now, rel=0.25) for now, left in told.items())


def test_nothing_is_foretold_before_a_trial_has_shown_its_speed(ledger: LedgerFixture) -> None:
    ledger.plan(planned())
    ledger.begin(planned())
    assert time_left(ledger.reader.entries("mine"), later=0, now=ledger.clock.now) is None


def test_without_a_terminal_a_long_silence_gets_a_line_that_says_how_things_stand(ledger: LedgerFixture) -> None:
    quickstart = plan(read_spec("quickstart"), source="quickstart")
    named = LedgerFixture(ledger.engine, name="quickstart")
    named.plan(planned(), planned(seed=1, position=1))
    named.begin(planned())
    for silence_s, said in ((0.0, 3), (1e9, 1)):
        out = io.StringIO()
        view = PlainLines(quickstart, out, silence_s=silence_s)
        for _ in range(2):
            view(named.reader, False)
        assert len([line for line in out.getvalue().splitlines() if "1 starting" in line]) == said
        view.say("MLflow gets what it has not got yet")
        assert out.getvalue().endswith("MLflow gets what it has not got yet\n")


def test_what_is_said_again_says_for_how_long_it_has_held_and_less_and_less_often() -> None:
    silence, said = Silence(5.0), dict[int, str]()
    silence.said(0.0, standing="starting Ray")
    for second in range(1, 200):
        if line := silence.breaks("starting Ray", second):
            said[second] = line
    assert said == {second: f"starting Ray (for {clock(second)} now)" for second in (5, 15, 35, 75, 135, 195)}


def test_a_line_that_is_drawn_again_and_again_says_for_how_long_it_has_held() -> None:
    standing = Unchanging()
    drawn = [standing.held("2 waiting for a lane", second) for second in (0.0, 1.0, 40.0)]
    assert drawn == ["2 waiting for a lane", "2 waiting for a lane", "2 waiting for a lane (for 0:40 now)"]
    assert [standing.held("1 running", second) for second in (41.0, 46.0)] == ["1 running", "1 running (for 0:05 now)"]


def test_trials_wait_for_a_lane_while_none_runs(ledger: LedgerFixture) -> None:
    ledger.plan(planned(), planned(seed=1, position=1))
    grid = plan(read_spec("quickstart"), source="quickstart")

    def said(*, stopping: bool = False) -> str:
        return summary(ledger.reader.entries(ledger.name), grid, stopping=stopping)

    assert said().startswith("2 waiting for a lane · ")
    assert said(stopping=True).startswith("2 waiting · ")
    ledger.begin(planned())
    assert said().startswith("1 starting · 1 waiting · ")


def test_a_change_or_another_line_makes_the_next_silence_short_again() -> None:
    silence = Silence(5.0)
    silence.said(0.0, standing="2 waiting")
    assert [second for second in range(1, 40) if silence.breaks("2 waiting", second)] == [5, 15, 35]
    assert silence.breaks("1 running", 100) == "1 running"
    assert silence.breaks("1 running", 105) == "1 running (for 0:05 now)"
    silence.said(106)
    assert [second for second in range(107, 117) if silence.breaks("1 running", second)] == [111]


def test_what_goes_on_before_the_trials_is_told_again_while_nothing_else_is() -> None:
    out = io.StringIO()
    view = PlainLines(plan(read_spec("quickstart"), source="quickstart"), out, silence_s=0.0)
    view.say("starting Ray")
    view.beat()
    view.close()
    view.beat()
    assert [line.partition(" ")[2] for line in out.getvalue().splitlines()] == ["starting Ray", "starting Ray (for 0:00 now)"]


def test_what_an_evaluation_takes_is_not_foretold_before_one_has_ended(ledger: LedgerFixture) -> None:
    grid = plan(SweepSpec.model_validate(tiny_sweep()), source="")
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.tell(attempt, progress(480))
    assert "of training to go" in summary([ledger.row(entry)], grid, stopping=False)
    ledger.tell(attempt, progress(entry.images), first=1)
    assert "to go" not in summary([ledger.row(entry)], grid, stopping=False)
    assert "0:00" not in rendered(drawing([ledger.row(entry)], {}, width=100)[0])
