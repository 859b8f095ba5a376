"""The real ledger, asked to do what the model does; what both hold is compared after every step."""

import random

from sqlalchemy import Connection, Engine, select

from jit_sweep.ledger import schema
from jit_sweep.ledger.lease import Lease, LeaseHeld, LeaseLost, acquire
from jit_sweep.ledger.records import Cause
from jit_sweep.ledger.records import Owner as LedgerOwner
from jit_sweep.ledger.writer import LedgerWriter, StaleAttempt, TrialBusy
from tests.simulation.model import (
    MOST,
    OWNERS,
    SWEEPS,
    UNIT,
    Action,
    Attempt,
    LeaseState,
    Owner,
    State,
    actions,
    check_state,
    check_step,
    step,
    sweep_of,
)
from tests.support.ledger import FACTS, OBJECTIVE, planned, scored
from tests.support.ledger import ended as ended_report
from trainables.report import ASKED_TO_STOP, Committed, Report

TTL_S = 10.0
ENTRY = planned(arm={"prediction": "x"}, images=MOST)


class RealLedger:
    """A ledger with two sweeps that want one trial, and their owners."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.now = engine, 1000.0
        self.writers: dict[Owner, LedgerWriter] = {}
        self.leases: dict[Owner, Lease] = {}
        for sweep in SWEEPS:
            self._enter(sweep)

    def _enter(self, sweep: str) -> None:
        """Registered and planned, and its lease as if nobody had ever had it."""
        lease = acquire(self.engine, sweep, _person(sweep), clock=self.database_clock)
        writer = LedgerWriter(self.engine, lease, clock=lambda: self.now)
        writer.register(sweep, fingerprint="f", identity=FACTS, spec={"name": sweep})
        writer.add_entries(sweep, [ENTRY])
        lease.release()
        with self.engine.begin() as connection:
            connection.execute(schema.lease.update().where(schema.lease.c.sweep == sweep).values(epoch=0))

    def database_clock(self, connection: Connection) -> float:
        return self.now

    def do(self, action: Action, before: State) -> str:
        """The action by the real code; its answer in the model's words."""
        if action.verb == "tick":
            self.now += TTL_S + 1.0
            return ""
        self.now += 0.001
        try:
            return self._do(action, before) or ""
        except LeaseHeld:
            return "held"
        except LeaseLost:
            return "lost"
        except StaleAttempt:
            return "stale"
        except TrialBusy:
            return "busy"

    def _do(self, action: Action, before: State) -> str | None:
        owner, sweep = action.owner, sweep_of(action.owner)
        if action.verb == "acquire":
            lease = acquire(self.engine, sweep, _person(owner), ttl_s=TTL_S, clock=self.database_clock)
            self.leases[owner], self.writers[owner] = lease, LedgerWriter(self.engine, lease, clock=lambda: self.now)
            return None
        writer = self.writers[owner]
        match action.verb:
            case "renew":
                self.leases[owner].renew()
            case "release":
                self.leases[owner].release()
            case "reopen":
                writer.reopen(sweep)
            case "settle":
                writer.settle(sweep)
            case "begin":
                lane = f"lane-{len(before.attempts) - action.again}"
                opened = writer.begin(sweep, ENTRY.trial_id, MOST, lane=lane, host="host", pid=1)
                return "known" if opened is None else "begun"
            case "fail":
                number = len(before.attempts) - action.attempt
                writer.fail(ENTRY.trial_id, number, cause=Cause.PREEMPTED, detail="its node was taken")
            case _:
                self._report(writer, action, before)
        return None

    def _report(self, writer: LedgerWriter, action: Action, before: State) -> None:
        number = len(before.attempts) - action.attempt
        attempt = before.attempts[number - 1]
        sequence = attempt.told + (0 if action.again else 1)
        writer.report(ENTRY.trial_id, number, sequence, _report(action, attempt))

    def state(self, before: State) -> State:
        """What the ledger holds, as the model has it; which epoch an owner believes in is the owner's to know."""
        with self.engine.connect() as connection:
            leases = {row.sweep: row for row in connection.execute(select(schema.lease))}
            attempts = connection.execute(select(schema.attempt).order_by(schema.attempt.c.number)).all()
            events = connection.execute(select(schema.event.c.attempt).where(schema.event.c.sequence.is_not(None))).all()
            entries = {row.sweep: row.state for row in connection.execute(select(schema.entry))}
            scores = connection.execute(select(schema.score)).all()
        told = [row.attempt for row in events]
        epochs = [self.leases[owner].epoch if owner in self.leases else 0 for owner in OWNERS]
        return State(
            leases=tuple(LeaseState(leases[sweep].epoch, leases[sweep].expires_at > self.now) for sweep in SWEEPS),  # type: ignore[arg-type]
            epochs=tuple(epochs),  # type: ignore[arg-type]
            attempts=tuple(Attempt(row.sweep, row.outcome, row.checkpoint_images, told.count(row.number)) for row in attempts),
            scored=bool(scores),
            entries=tuple(entries[sweep] for sweep in SWEEPS),
        )


def walk(engine: Engine, seed: int, *, steps: int) -> None:
    """A random way through the model, and the real ledger beside it. AssertionError: they part, or an invariant is broken."""
    rng, real, state = random.Random(seed), RealLedger(engine), State()
    way: list[Action] = []
    for _ in range(steps):
        action = _drawn(rng, state)
        way.append(action)
        expected = step(state, action)
        check_step(state, action, expected)
        check_state(expected.state)
        answer = real.do(action, state)
        found = real.state(state)
        assert answer == expected.answer, f"seed {seed}: answered {answer!r}, not {expected.answer!r}, after {way[-6:]}"
        assert found == expected.state, f"seed {seed}: {_difference(found, expected.state)} after {way[-6:]}"
        state = expected.state


def _drawn(rng: random.Random, state: State) -> Action:
    """Every verb as often as any other, however many actions it has; time runs out less often."""
    possible = sorted(actions(state))
    verbs = sorted({action.verb for action in possible})
    verb = rng.choices(verbs, weights=[0.3 if verb == "tick" else 1.0 for verb in verbs])[0]
    return rng.choice([action for action in possible if action.verb == verb])


def _difference(found: State, expected: State) -> str:
    names = [name for name in vars(expected) if getattr(found, name) != getattr(expected, name)]
    return "; ".join(f"{name} is {getattr(found, name)}, not {getattr(expected, name)}" for name in names)


def _report(action: Action, attempt: Attempt) -> Report:
    images = attempt.saved or 0
    match action.verb:
        case "save":
            return Committed(images=images + UNIT, uri=f"played://{images + UNIT}")
        case "score":
            return scored(ENTRY, {OBJECTIVE: 1.0})
        case "done":
            return ended_report(ENTRY)
        case _:
            return ended_report(ENTRY, "paused", images=images).model_copy(update={"cause": ASKED_TO_STOP})


def _person(name: str) -> LedgerOwner:
    return LedgerOwner(host=name, pid=1, user="played", started_at=0.0, boot_id=f"boot of {name}")
