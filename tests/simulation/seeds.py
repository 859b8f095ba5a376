"""What is played for a seed, and what is looked at afterwards."""

import atexit
from contextlib import ExitStack
from functools import cache

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.records import SETTLED, SweepState
from tests.simulation.checks import check_answered, check_budget, check_events, check_offers
from tests.simulation.interleaved import interleave
from tests.simulation.judge import check_verdicts
from tests.simulation.lockstep import walk
from tests.simulation.play import Story, memory, play
from tests.simulation.sweeps import drawn
from tests.simulation.world import Faults
from tests.support.postgres import fresh_database, postgres

DISTURBANCES = 8
SLEEPS = 3
STEPS = 60
HUNG_S = 600.0
"""Virtual seconds in which a silent worker is missed and its trial trained by another: several times what it takes."""
CALM = Faults(repeated_messages=0.05)
"""What is no fault: messages may come twice."""
ROUGH = Faults(lost_answers=0.01, repeated_messages=0.05, skew_s=300.0)
CUT = Faults(lost_answers=0.01, repeated_messages=0.05, lost_messages=0.05, skew_s=300.0)


def walked(seed: int) -> None:
    """The real ledger and the model side by side."""
    with memory() as ledger:
        engine = open_engine(ledger)
        walk(engine, seed, steps=STEPS)
        engine.dispose()


def interleaved(seed: int) -> None:
    """Two owners of one sweep whose transactions overlap, in a ledger of its own on PostgreSQL."""
    with fresh_database(_server()) as ledger:
        interleave(ledger, seed)


@cache
def _server() -> str:
    """A PostgreSQL server for as long as this process lives."""
    held = ExitStack()
    atexit.register(held.close)
    return held.enter_context(postgres())


def undisturbed(seed: int) -> Story:
    """A sweep that nothing disturbs, some of whose trials diverge: it ends in one run, and no attempt fails."""
    with memory() as ledger:
        story = play(seed, drawn(seed), ledger=ledger, faults=CALM, diverging=0.1)
    assert len(story.ends) == 1
    failed = [event.data["detail"] for event in story.events if event.kind is EventKind.FAILED]
    assert not failed, f"nothing was disturbed, and yet: {failed}"
    return _checked(story)


def disturbed(seed: int, *, ledger: str = "") -> Story:
    """A sweep that is disturbed again and again, and then is not. `ledger`: where; in memory where none is named."""
    with memory() as in_memory:
        return _checked(play(seed, drawn(seed), ledger=ledger or in_memory, disturbances=DISTURBANCES, faults=ROUGH))


def cut_off(seed: int) -> Story:
    """The same, where answers of the actor are lost, and hosts cannot reach each other for a while."""
    with memory() as ledger:
        return _checked(play(seed, drawn(seed), ledger=ledger, disturbances=DISTURBANCES, faults=CUT, cuts=True))


def hung(seed: int) -> Story:
    """A sweep one of whose workers falls silent, and that nothing else disturbs: nobody comes to its rescue."""
    with memory() as ledger:
        return _checked(play(seed, drawn(seed), ledger=ledger, disturbances=1, only="worker_hangs", longest_s=HUNG_S))


def shown(seed: int) -> Story:
    """The same, shown in an MLflow that goes away too."""
    with memory() as ledger:
        story = _checked(play(seed, drawn(seed), ledger=ledger, disturbances=DISTURBANCES, faults=ROUGH, shown=True))
    return story


def overtaken(seed: int) -> Story:
    """A shown sweep whose command sleeps, now and then for so long that another takes it over, and then wakes up."""
    with memory() as ledger:
        return _checked(
            play(seed, drawn(seed), ledger=ledger, disturbances=SLEEPS, only="driver_freezes", faults=CALM, shown=True)
        )


def _checked(story: Story) -> Story:
    check_events(story.events)
    check_offers(story.events, story.world.offers)
    check_answered(story.events, list(dict.fromkeys(story.world.answered)))
    check_budget(story.events, story.plan)
    check_verdicts(story.events, story.plan.spec.scheduler)
    _check_end(story)
    return story


def _check_end(story: Story) -> None:
    """The last run's word is what its entries say."""
    limited = story.plan.spec.budget.total_images or story.plan.spec.budget.trials
    assert story.end.state is SweepState.DONE or (limited and "`budget." in story.end.reason), f"{story.end}"
    if story.end.state is SweepState.DONE:
        left = [row.key for row in story.rows if row.state not in SETTLED and row.cause is None]
        assert not left, f"done, and yet {left}"
