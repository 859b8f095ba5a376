"""The protocol of leases and attempts as a pure function, small enough to be explored whole.

Two sweeps, `a` and `b`, want one trial. `a` has two owners, of which one may take over from the other; `b` has one. Time is
only whether a lease has run out. What an owner may do is an `Action`; `step` says what follows and what is answered.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Sweep = Literal["a", "b"]
Owner = Literal["a1", "a2", "b1"]
Verb = Literal["acquire", "renew", "release", "reopen", "settle", "begin", "save", "score", "done", "pause", "fail", "tick"]
OWNERS: tuple[Owner, ...] = ("a1", "a2", "b1")
SWEEPS: tuple[Sweep, ...] = ("a", "b")
REPORTS: tuple[Verb, ...] = ("save", "score", "done", "pause")
UNIT = 8
"""Images of one checkpoint more."""
MOST = 960
"""Images of the trial."""


class Action(NamedTuple):
    """What an owner does. `attempt` counts back from the last one; `again`: the report of that attempt that was sent last, or
    what began the last attempt, which is open."""

    verb: Verb
    owner: Owner = "a1"
    attempt: int = 0
    again: bool = False


class LeaseState(NamedTuple):
    """A sweep's lease."""

    epoch: int = 0
    held: bool = False
    """It has not run out."""


class Attempt(NamedTuple):
    """One attempt at the trial."""

    sweep: Sweep
    outcome: str | None = None
    saved: int | None = None
    """Images of its last checkpoint."""
    told: int = 0
    """Reports that are recorded."""


@dataclass(frozen=True)
class State:
    """All that the ledger holds, and which epoch each owner believes to have."""

    leases: tuple[LeaseState, LeaseState] = (LeaseState(), LeaseState())
    epochs: tuple[int, int, int] = (0, 0, 0)
    attempts: tuple[Attempt, ...] = ()
    scored: bool = False
    entries: tuple[str, str] = ("waiting", "waiting")

    def lease(self, sweep: Sweep) -> LeaseState:
        return self.leases[SWEEPS.index(sweep)]

    def epoch(self, owner: Owner) -> int:
        return self.epochs[OWNERS.index(owner)]

    def entry(self, sweep: Sweep) -> str:
        return self.entries[SWEEPS.index(sweep)]

    def fenced(self, owner: Owner) -> bool:
        """Whether another owner has come after this one."""
        return self.epoch(owner) != self.lease(sweep_of(owner)).epoch

    def with_lease(self, sweep: Sweep, lease: LeaseState) -> "State":
        return replace(self, leases=_put(self.leases, SWEEPS.index(sweep), lease))

    def with_entry(self, sweep: Sweep, state: str) -> "State":
        return replace(self, entries=_put(self.entries, SWEEPS.index(sweep), state))

    def with_attempt(self, number: int, attempt: Attempt) -> "State":
        return replace(self, attempts=_put(self.attempts, number, attempt))


class Outcome(NamedTuple):
    """What follows, and what the owner hears."""

    state: State
    answer: str


def sweep_of(owner: Owner) -> Sweep:
    return "b" if owner == "b1" else "a"


def actions(state: State) -> Iterator[Action]:
    """All that can be tried: by owners that were never one too, but for what names an attempt that is not there."""
    yield Action("tick")
    for owner in OWNERS:
        yield Action("acquire", owner)
        if not state.epoch(owner):
            continue
        for verb in ("renew", "release", "reopen", "settle", "begin"):
            yield Action(verb, owner)
        if state.attempts and state.attempts[-1].outcome is None and state.attempts[-1].sweep == sweep_of(owner):
            yield Action("begin", owner, again=True)
        for back in range(min(2, len(state.attempts))):
            yield Action("fail", owner, back)
            for report in REPORTS:
                yield Action(report, owner, back)
            if state.attempts[-1 - back].told:
                yield Action("save", owner, back, again=True)


def step(state: State, action: Action) -> Outcome:
    """The one right thing."""
    owner, sweep = action.owner, sweep_of(action.owner)
    if action.verb == "tick":
        return Outcome(replace(state, leases=(_run_out(state.leases[0]), _run_out(state.leases[1]))), "")
    if action.verb == "acquire":
        return _acquire(state, owner)
    if state.fenced(owner):
        return Outcome(state, "" if action.verb == "release" else "lost")
    match action.verb:
        case "renew":
            return Outcome(state.with_lease(sweep, state.lease(sweep)._replace(held=True)), "")
        case "release":
            return Outcome(state.with_lease(sweep, state.lease(sweep)._replace(held=False)), "")
        case "reopen":
            return Outcome(_reopen(state, sweep), "")
        case "settle":
            return Outcome(_settled(state, sweep) if state.entry(sweep) != "running" else state, "")
        case "begin":
            return _begin(state, sweep, again=action.again)
        case _:
            return _of_attempt(state, action, sweep)


def _acquire(state: State, owner: Owner) -> Outcome:
    sweep = sweep_of(owner)
    lease = state.lease(sweep)
    if lease.held:
        return Outcome(state, "held")
    taken = state.with_lease(sweep, LeaseState(lease.epoch + 1, True))
    return Outcome(replace(taken, epochs=_put(state.epochs, OWNERS.index(owner), lease.epoch + 1)), "")


def _begin(state: State, sweep: Sweep, *, again: bool) -> Outcome:
    last = state.attempts[-1] if state.attempts else None
    if again:
        return Outcome(state, "begun")
    if last is not None and last.outcome is None:
        if last.sweep != sweep and state.lease(last.sweep).held:
            return Outcome(state, "busy")
        state = _close(state, len(state.attempts) - 1, "failed", "waiting")
    state = _settled(state, sweep)
    if state.entry(sweep) == "done":
        return Outcome(state, "known")
    opened = Attempt(sweep, saved=last.saved if last is not None else None)
    return Outcome(replace(state, attempts=(*state.attempts, opened)).with_entry(sweep, "running"), "begun")


def _of_attempt(state: State, action: Action, sweep: Sweep) -> Outcome:
    number = len(state.attempts) - 1 - action.attempt
    attempt = state.attempts[number]
    if action.verb != "fail" and action.again:
        return Outcome(state, "")
    if attempt.sweep != sweep:
        return Outcome(state, "stale")
    if attempt.outcome is not None:
        return Outcome(state, "" if action.verb == "fail" else "stale")
    if action.verb == "fail":
        return Outcome(_close(state, number, "failed", "waiting"), "")
    heard = state.with_attempt(number, attempt._replace(told=attempt.told + 1))
    match action.verb:
        case "save":
            saved = heard.attempts[number]._replace(saved=(attempt.saved or 0) + UNIT)
            return Outcome(heard.with_attempt(number, saved), "")
        case "score":
            return Outcome(replace(heard, scored=True), "")
        case "done":
            return Outcome(_close(heard, number, "done", "failed"), "")
        case _:
            return Outcome(_close(heard, number, "paused", "paused"), "")


def _close(state: State, number: int, outcome: str, leaves: str) -> State:
    """End an attempt: its entry is done where there is a score, whoever made it."""
    attempt = state.attempts[number]
    closed = _settled(state.with_attempt(number, attempt._replace(outcome=outcome)), attempt.sweep)
    return closed.with_entry(attempt.sweep, leaves) if closed.entry(attempt.sweep) == "running" else closed


def _reopen(state: State, sweep: Sweep) -> State:
    for number, attempt in enumerate(state.attempts):
        if attempt.sweep == sweep and attempt.outcome is None:
            state = _close(state, number, "driver_lost", "waiting")
    state = _settled(state, sweep)
    return state if state.entry(sweep) == "done" else state.with_entry(sweep, "waiting")


def _settled(state: State, sweep: Sweep) -> State:
    return state.with_entry(sweep, "done") if state.scored else state


def _run_out(lease: LeaseState) -> LeaseState:
    return lease._replace(held=False)


def _put(values: tuple, index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:index], value, *values[index + 1 :])


def check_state(state: State) -> None:
    """AssertionError: two attempts are open at once, or an entry says otherwise than the attempts and the score."""
    is_open = [attempt for attempt in state.attempts if attempt.outcome is None]
    assert len(is_open) <= 1, "two open attempts"
    assert all(attempt is state.attempts[-1] for attempt in is_open), "an open attempt is not the last"
    for sweep in SWEEPS:
        running = any(attempt.sweep == sweep for attempt in is_open)
        assert (state.entry(sweep) == "running") == running, f"the entry of {sweep} is {state.entry(sweep)}"
        assert state.entry(sweep) != "done" or state.scored, f"{sweep} is done without a score"


def check_step(before: State, action: Action, after: Outcome) -> None:
    """AssertionError: a fenced owner has changed something, or what was committed, scored or decided is no more."""
    now = after.state
    if action.verb not in ("tick", "acquire") and before.fenced(action.owner):
        assert now == before, f"{action.owner} was fenced off, and changed something"
    assert now.scored or not before.scored, "a score is gone"
    assert all(new.epoch >= old.epoch for new, old in zip(now.leases, before.leases, strict=True)), "an epoch fell"
    assert _committed(now) >= _committed(before), "committed images fell"
    ended = [(old, new) for old, new in zip(before.attempts, now.attempts, strict=False) if old.outcome is not None]
    assert all(old == new for old, new in ended), "an attempt changed after its end"


def _committed(state: State) -> int:
    return (state.attempts[-1].saved or 0) if state.attempts else 0
