"""A sweep while it runs: a live table on a terminal, plain lines elsewhere. Both read the ledger and nothing else."""

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TextIO

from rich.console import Group
from rich.live import Live
from rich.text import Text

from jit_sweep.cli.output import console
from jit_sweep.cli.silence import FIRST_S, Heartbeat, Silence, Unchanging, clock
from jit_sweep.cli.tables import Column, cell_column, table_of
from jit_sweep.ledger.event_records import Begun, EventRow, Failed, Waits
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.search import proposals
from jit_sweep.results.time_left import time_left
from jit_sweep.results.words import activities_in_words, state_in_words
from search_spaces.cells import arm_label
from trainables.report import Activity, Ended, Rung, Scored, SetBack

REDRAW_S = 1.0
MOST_ROWS = 12
PAGE = 500
_STYLE = {
    EntryState.RUNNING: "bold cyan",
    EntryState.DONE: "green",
    EntryState.DIVERGED: "yellow",
    EntryState.FAILED: "red",
    EntryState.PAUSED: "yellow",
    EntryState.OUT_OF_BUDGET: "yellow",
}


class View(Protocol):
    """Shows a running sweep."""

    def __call__(self, reader: LedgerReader, stopping: bool) -> None: ...

    def say(self, line: str) -> None:
        """What is done before trials run, or after them; how long it has gone on is told as well."""

    def remark(self, line: str) -> None:
        """What stays to be read; any thread may say it."""

    def close(self) -> None: ...


def view_of(plan: Plan, screen: TextIO) -> View:
    """The view that fits where the output goes."""
    target = console(screen)
    return LiveTable(plan, screen) if target.is_terminal and not target.is_dumb_terminal else PlainLines(plan, screen)


class LiveTable:
    """The trials that run, that ended last and that come next, and when the sweep will be done."""

    def __init__(self, plan: Plan, screen: TextIO) -> None:
        self._plan = plan
        drawing = _Doing("reading the ledger")
        self._live = Live(drawing, console=console(screen), refresh_per_second=1 / REDRAW_S, transient=True)
        self._live.start(refresh=True)
        self._drawn = 0.0
        self._standing = Unchanging()

    def __call__(self, reader: LedgerReader, stopping: bool) -> None:
        if time.monotonic() - self._drawn >= REDRAW_S:
            self._live.update(self._drawing(reader, stopping), refresh=True)
            self._drawn = time.monotonic()

    def say(self, line: str) -> None:
        self._live.update(_Doing(line), refresh=True)

    def remark(self, line: str) -> None:
        self._live.console.print(line)

    def close(self) -> None:
        self._live.stop()

    def _drawing(self, reader: LedgerReader, stopping: bool) -> Group:
        name, objective = self._plan.spec.name, self._plan.spec.objective
        rows = reader.entries(name)
        latest = latest_scores(reader, name, objective=objective)
        drawn, common = drawing(shown(rows), latest, width=self._live.console.width)
        title = [Text(common)] if common else []
        standing = self._standing.held(summary(rows, self._plan, stopping=stopping), time.monotonic())
        return Group(*title, drawn, Text(standing))


class _Doing:
    """What a run is about before or after its trials, and for how long."""

    def __init__(self, line: str) -> None:
        self._line, self._since = line, time.monotonic()

    def __rich__(self) -> Text:
        seconds = time.monotonic() - self._since
        return Text(f"{self._line} ..." + (f" {clock(seconds)}" if seconds >= REDRAW_S else ""))


def drawing(rows: Sequence[EntryRow], latest: Mapping[str, str], *, width: int) -> tuple[Group, str]:
    """The live table of these trials, and what their cells share; `latest`: a value by trial."""
    cells, common = cell_column([row.arm for row in rows])
    running = [_running(row) for row in rows]
    columns = [
        Column("trial", [row.trial_id for row in rows]),
        cells,
        Column("seed", [str(row.seed) for row in rows], right=True),
        Column("state", [_state(row) for row in rows]),
        Column("step", [_step(row) for row in rows], 1, right=True),
        Column("images/s", [f"{each.speed:.0f}" if each.speed else "" for each in running], 4, right=True),
        Column("latest score", [latest.get(row.trial_id, "") for row in rows], 3),
        Column("ETA", [clock(each.left) if each.left is not None else "" for each in running], 2, right=True),
    ]
    styles = {index: style for index, row in enumerate(rows) if (style := _STYLE.get(row.state))}
    return table_of(columns, width=width, styles=styles), common.removeprefix("; ")


class PlainLines:
    """A line for each event of the ledger since the run began, and for each long silence."""

    def __init__(self, plan: Plan, screen: TextIO, *, silence_s: float = FIRST_S) -> None:
        self._plan, self._screen = plan, screen
        self._started = time.time()
        self._seen = 0
        self._start_shown = self._stopping_shown = False
        self._silence, self._doing = Silence(silence_s), ""
        self._speaking = threading.Lock()
        self._heartbeat = Heartbeat(self.beat)

    def __call__(self, reader: LedgerReader, stopping: bool) -> None:
        name, self._doing = self._plan.spec.name, ""
        if not self._start_shown:
            self._start_shown = True
            standing = summary(reader.entries(name), self._plan, stopping=stopping)
            self._say(standing, standing=standing)
        while events := reader.events_since(name, self._seen, limit=PAGE):
            self._seen = events[-1].id
            self._tell(reader, [event for event in events if event.at >= self._started])
        if stopping and not self._stopping_shown:
            self._stopping_shown = True
            self._say("stopping: trials save and pause; interrupt again to end at once")
        if self._silence.is_long(time.monotonic()):
            self._break(summary(reader.entries(name), self._plan, stopping=stopping))

    def say(self, line: str) -> None:
        self._doing = line
        self._say(line, standing=line)

    def beat(self) -> None:
        """Break a silence of what is done before or after the trials."""
        if doing := self._doing:
            self._break(doing)

    def remark(self, line: str) -> None:
        self._say(line)

    def close(self) -> None:
        self._doing = ""
        self._heartbeat.stop()
        self._screen.flush()

    def _break(self, standing: str) -> None:
        if line := self._silence.breaks(standing, time.monotonic()):
            self._write(line)

    def _tell(self, reader: LedgerReader, events: Sequence[EventRow]) -> None:
        rows = reader.entries(self._plan.spec.name)
        for event in events:
            if line := event_line(event, objective=self._plan.spec.objective):
                self._say(f"{event.trial_id} {subject(event, rows)}: {line}", at=event.at)

    def _say(self, line: str, *, at: float | None = None, standing: str = "") -> None:
        self._silence.said(time.monotonic(), standing=standing)
        self._write(line, at=at)

    def _write(self, line: str, *, at: float | None = None) -> None:
        moment = datetime.fromtimestamp(at or time.time()).strftime("%H:%M:%S")
        with self._speaking:
            try:
                self._screen.write(f"{moment} {line}\n")
                self._screen.flush()
            except BrokenPipeError:
                self._screen = open(os.devnull, "w")  # noqa: SIM115 - the sweep goes on though nobody reads


def subject(event: EventRow, rows: Sequence[EntryRow]) -> str:
    """The cell and seed that an event is about: of a trial that is scored several ways, what these have in common."""
    about = [row for row in rows if row.trial_id == event.trial_id]
    if isinstance(event.content, Scored):
        about = [row for row in about if row.evaluation_id == event.content.evaluation]
    if not about:
        return ""
    first, *others = about
    shared = {axis: value for axis, value in first.arm.items() if all(row.arm.get(axis) == value for row in others)}
    return f"{arm_label(shared)} seed={first.seed}"


def event_line(event: EventRow, *, objective: str) -> str:
    """An event in words; empty for the kinds that are not shown."""
    match event.content:
        case Waits(why=why):
            return f"waits: {why}"
        case Begun():
            return f"attempt {event.attempt} begins"
        case SetBack(images=images, had=had, why=why):
            return f"goes on from {images} images and not from {had}: {why}"
        case Activity(what=what, done=0) if what != "drawing samples":
            return what
        case Rung() as rung:
            return f"{rung.images} images, " + ", ".join(f"{name} {value:.4g}" for name, value in rung.by_name.items())
        case Scored() as scored:
            value = scored.by_name.get(objective)
            return f"scored {objective} {value:.4g}" if value is not None else f"no {objective}"
        case Ended(outcome=outcome, cause=cause):
            return f"{outcome}: {cause}" if cause else outcome
        case Failed(cause=cause, detail=detail):
            return f"failed: {cause}: {detail.strip().splitlines()[-1]}"
        case _:
            return ""


def latest_scores(reader: LedgerReader, sweep: str, *, objective: str) -> dict[str, str]:
    """By trial: the objective where it is scored, else the last rung's value."""
    latest = {rung.trial_id: f"{rung.name} {rung.value:.4g}" for rung in reader.rung_values(sweep)}
    values = {score.trial_id: score.value(objective) for score in reader.scores(sweep)}
    return latest | {trial_id: f"{objective} {value:.5g}" for trial_id, value in values.items() if value is not None}


def shown(rows: Sequence[EntryRow]) -> list[EntryRow]:
    """What fits a terminal: all that run, the last that ended, the next that wait."""
    running = [row for row in rows if row.state is EntryState.RUNNING]
    ended = sorted(
        (row for row in rows if row.state not in (EntryState.RUNNING, EntryState.WAITING)), key=lambda row: row.updated_at
    )
    waiting = [row for row in rows if row.state is EntryState.WAITING]
    room = max(0, MOST_ROWS - len(running))
    past = ended[-max(1, room - min(len(waiting), 3)) :] if ended and room else []
    return past + running + waiting[: max(0, room - len(past))]


class _Running(NamedTuple):
    """How fast a running trial goes, in images a second, and the seconds to the end of its training; None where that is not
    known, or passed."""

    speed: float | None
    left: float | None


def _running(row: EntryRow) -> _Running:
    attempt = row.attempt
    speed = attempt.images_per_second if attempt and row.state is EntryState.RUNNING else None
    return _Running(speed, (row.images - attempt.images) / speed if attempt and speed and attempt.images < row.images else None)


def phase_of(row: EntryRow) -> str:
    """How an entry stands in a word; of one that runs, which part of it is under way."""
    if row.state is not EntryState.RUNNING:
        return state_in_words(row.state)
    if (attempt := row.attempt) is None:
        return "starting"
    measures = attempt.activity is not None and attempt.activity.what != "compiling"
    if measures or attempt.images >= row.images:
        return "evaluating"
    return "running" if attempt.images_per_second else "starting"


def standing(row: EntryRow) -> str:
    """Its phase, and how many samples of how many an evaluation has drawn."""
    about = row.attempt.activity if row.attempt is not None and row.state is EntryState.RUNNING else None
    drawn = f" {about.done}/{about.of}" if about is not None and about.what == "drawing samples" else ""
    return phase_of(row) + drawn


def _state(row: EntryRow) -> str:
    return f"{row.state}: {row.cause}" if row.cause and row.state is EntryState.FAILED else standing(row)


def _step(row: EntryRow) -> str:
    """Updates so far: a resumed trial's begin at its checkpoint."""
    done = row.images if row.state is EntryState.DONE else row.attempt.images if row.attempt else 0
    return f"{done // row.trial.batch_size}/{row.images // row.trial.batch_size}"


def summary(rows: Sequence[EntryRow], plan: Plan, *, stopping: bool) -> str:
    """Counts, and the time to go: of the training alone until a trial has shown what its evaluation takes."""
    trained = [row for row in rows if row.state is EntryState.WAITING and row.is_trained]
    counts = Counter(row.state for row in rows) - Counter(row.state for row in trained)
    later = sum(max(0, count - sum(row.stage == stage for row in rows)) for stage, count in proposals(plan).items())
    words = _phases([row for row in rows if row.state is EntryState.RUNNING])
    in_words = {state: state_in_words(state) for state in EntryState if counts[state] and state is not EntryState.RUNNING}
    if EntryState.WAITING in in_words and not words and not stopping:
        in_words[EntryState.WAITING] += " for a lane"
    words += [f"{len(trained)} trained"] if trained else []
    words += [f"{counts[state]} {said}" for state, said in in_words.items()]
    if later:
        words.append(f"{later} proposed later")
    known = {row.stage for row in rows}
    waiting = sum(entry.stage not in known for entry in plan.later)
    words += [f"{waiting} planned later"] if waiting else []
    left = time_left(rows, later=later + waiting, now=time.time())
    if stopping:
        words.append("stopping: trials save and pause; interrupt again to end at once")
    elif left:
        scored = any(row.state is EntryState.DONE and not row.cached for row in rows)
        words.append(f"about {clock(left)} {'to go' if scored else 'of training to go'}")
    return " · ".join(words)


def _phases(running: Sequence[EntryRow]) -> list[str]:
    """How many of the trials that run are in which phase, and what they are about in it."""
    words = []
    for phase, count in Counter(map(phase_of, running)).items():
        about = [row.attempt.activity for row in running if phase_of(row) == phase and row.attempt and row.attempt.activity]
        words.append(f"{count} {phase}" + (f" ({activities_in_words(about)})" if about else ""))
    return words
