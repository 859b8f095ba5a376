"""Whatever is done to a sweep, in whatever order: its ledger stays whole, and with faults off it ends."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import SweepMachine

EXAMPLES = 6
SHARE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def test_a_sweep_that_is_edited_killed_cut_off_and_stopped_stays_whole_and_ends() -> None:
    run_state_machine_as_test(SweepMachine, settings=SHARE)
