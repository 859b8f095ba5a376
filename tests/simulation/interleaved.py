"""Two owners of one sweep on PostgreSQL, where transactions really overlap: the second takes over amid one of the first's."""

import random
from contextlib import suppress

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import LeaseLost, acquire
from jit_sweep.ledger.records import Owner
from tests.simulation.lockstep import TTL_S, RealLedger
from tests.simulation.model import Action, State, Verb, step

LOCK_TIMEOUT = "options=-c%20lock_timeout%3D100"
"""How long who takes over waits for a transaction that is under way."""
LATEST = 6
"""The takeover comes before this statement at the latest."""
BEFORE: tuple[Verb, ...] = ("acquire", "begin", "save")
AMID: tuple[Verb, ...] = ("renew", "settle", "reopen", "save", "score", "done", "fail")


def interleave(ledger: str, seed: int) -> None:
    """AssertionError: a transaction of an owner went through although another had taken the sweep over meanwhile.

    ledger: of a PostgreSQL server; its sweeps `a` and `b` are made anew.
    """
    rng, engine = random.Random(f"interleaved {seed}"), open_engine(ledger)
    rival = open_engine(f"{ledger}&{LOCK_TIMEOUT}")
    real, state, verb, left = RealLedger(engine), State(), rng.choice(AMID), rng.randrange(1, LATEST)
    for before in BEFORE:
        real.do(Action(before), state)
        state = step(state, Action(before)).state
    taken: list[bool] = []

    def takeover(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            later = lambda connection: real.now + TTL_S + 1.0  # noqa: E731
            with suppress(OperationalError):  # it waits for the transaction, as it must
                acquire(rival, "a", Owner(host="a2", pid=1, user="played", started_at=0.0, boot_id="boot of a2"), clock=later)
                taken.append(True)

    event.listen(engine, "after_cursor_execute", takeover)
    try:
        answer = real.do(Action(verb), state)
    except LeaseLost:
        answer = "lost"
    finally:
        event.remove(engine, "after_cursor_execute", takeover)
        engine.dispose()
        rival.dispose()
    assert not taken or answer == "lost", f"seed {seed}: `{verb}` went through after another owner had taken the sweep over"
