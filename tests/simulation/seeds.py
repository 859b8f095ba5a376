"""What is played for a seed, and what is looked at afterwards."""

from jit_sweep.ledger.records import SETTLED, SweepState
from tests.simulation.checks import check_answered, check_budget, check_events
from tests.simulation.play import Story, play
from tests.simulation.sweeps import drawn
from tests.simulation.world import Faults

DISTURBANCES = 8
FAULTS = Faults(lost_answers=0.01, repeated_messages=0.05, skew_s=300.0)


def calm(seed: int, *, ledger: str) -> Story:
    """A sweep that nothing disturbs, some of whose trials diverge."""
    return play(seed, drawn(seed), ledger=ledger, diverging=0.1)


def rough(seed: int, *, ledger: str) -> Story:
    """A sweep that is disturbed again and again."""
    return play(seed, drawn(seed), ledger=ledger, disturbances=DISTURBANCES, faults=FAULTS)


def check(story: Story) -> None:
    check_events(story.events)
    check_answered(story.events, list(dict.fromkeys(story.world.answered)))
    check_budget(story.events, story.plan)
    check_end(story)


def check_end(story: Story) -> None:
    """The last run's word is what its entries say."""
    limited = story.plan.spec.budget.total_images or story.plan.spec.budget.trials
    assert story.end.state is SweepState.DONE or (limited and "`budget." in story.end.reason), f"{story.end}"
    if story.end.state is SweepState.DONE:
        left = [row for row in story.rows if row.state not in SETTLED and row.cause is None]
        assert not left, f"done, and yet {left}"
