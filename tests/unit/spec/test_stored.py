"""A sweep file that an earlier version has stored means what it meant there."""

from jit_sweep.doctor.replay import _EventLog
from jit_sweep.schedulers.decide import Decider
from jit_sweep.spec.schedulers import Median
from jit_sweep.spec.stored import readable, stored_spec
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep

MEDIAN = {"kind": "median", "first_rung": {"images": 8}}


def test_a_scheduler_of_a_version_without_a_sample_draws_none_when_it_is_judged_again() -> None:
    file = tiny_sweep(scheduler=MEDIAN)
    for spec in (readable(file), stored_spec(file, sweep="mine")):
        assert spec is not None
        assert isinstance(spec.scheduler, Median)
        assert spec.scheduler.audit is None
    today = SweepSpec.model_validate(file)
    assert readable(today.model_dump(mode="json", by_alias=True)) == today


def test_a_scheduler_that_was_changed_then_draws_none_either() -> None:
    log = _EventLog(Decider(Median.model_validate(MEDIAN)))
    log.reschedule(MEDIAN)
    assert isinstance(log.decider.scheduler, Median)
    assert log.decider.scheduler.audit is None
