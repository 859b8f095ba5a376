"""Where a race or a search would rank by a metric what its values do not compare."""

from collections.abc import Iterable, Iterator, Mapping

from jit_sweep.plan.entry import Entry, one_a_cell
from jit_sweep.plan.fault import Fault
from jit_sweep.plan.kinds import kind_faults
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import searches
from jit_sweep.spec.schedulers import NoScheduler
from jit_sweep.spec.stages import PlannedStage
from search_spaces.axis import AxisValue
from search_spaces.cells import recipe_values, values_in
from trainables.evaluation.metrics.registry import metric_of, score_names


def blindness_faults(planner: Planner, entries: Iterable[Entry]) -> list[Fault]:
    """A fault where the arms of a race differ along an axis that the rung metric is blind to, where a search varies one that an
    objective is blind to, and where what decides is the error of another kind of trial."""
    found = [*entries]
    return [*_of_races(planner, found), *_of_searches(planner), *_of_tuning(planner), *kind_faults(planner, found)]


def _of_races(planner: Planner, entries: Iterable[Entry]) -> Iterator[Fault]:
    scheduler = planner.spec.scheduler
    if isinstance(scheduler, NoScheduler):
        return
    blind = metric_of(scheduler.metric).blind_to - {*scheduler.compare_within}
    met: dict[tuple[str, str], set[AxisValue]] = {}
    grids = [entry for entry in entries if entry.origin == "grid"]
    decided = {entry.race for entry in grids if not entry.protected}
    for entry in one_a_cell(grids):
        values = values_in(entry.trial, entry.arm) if "preset" in entry.arm else entry.arm
        for axis in blind & values.keys():
            met.setdefault((entry.race, axis), set()).add(values[axis])
    apart = {axis for (race, axis), values in met.items() if race in decided and len(values) > 1}
    for axes in (*(search.axes for search in searches(planner.spec).values()), *_tuned(planner).values()):
        apart |= blind & axes.keys()
    for axis in sorted(apart & recipe_values(planner.baseline).keys()):  # of those that only evaluate, a rung sees one value
        rule = f"must hold {axis}, along which {scheduler.metric} does not compare arms"
        got = ", ".join(scheduler.compare_within) or "none"
        yield Fault("scheduler.compare_within", f"{rule}, got {got}; add it, or name another `scheduler.metric`")


def _of_searches(planner: Planner) -> Iterator[Fault]:
    for stage, search in searches(planner.spec).items():
        objectives = [name for name in search.objectives or (planner.spec.objective,) if name in score_names()]
        for name in objectives:
            for axis in sorted(metric_of(name).blind_to & search.axes.keys()):
                rule = f"`{axis}` must be one that the objective compares, got {name}"
                yield Fault(f"stages[{stage}].search.axes.{axis}", f"{rule}, which says nothing along it; take another one")


def _of_tuning(planner: Planner) -> Iterator[Fault]:
    name = planner.spec.objective
    for stage, axes in _tuned(planner).items():
        for axis in sorted(metric_of(name).blind_to & axes.keys()):
            rule = f"`{axis}` must be one that the objective compares, got {name}"
            key = f"stages[{stage}].{planner.places[stage].word}.nuisance.axes.{axis}"
            yield Fault(key, f"{rule}, which cannot choose along it; take another one")


def _tuned(planner: Planner) -> dict[int, Mapping[str, object]]:
    """The nuisance axes of each stage that has some."""
    designs = {stage: each.design.nuisance for stage, each in enumerate(planner.spec.stages) if isinstance(each, PlannedStage)}
    return {stage: nuisance.axes for stage, nuisance in designs.items() if nuisance is not None}
