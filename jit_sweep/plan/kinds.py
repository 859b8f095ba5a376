"""Where a score would decide among trials of which some do not have it."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from jit_sweep.plan.asked import combinations
from jit_sweep.plan.entry import Entry
from jit_sweep.plan.fault import Fault
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import searches
from jit_sweep.spec.schedulers import NoScheduler
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.spec.stages import PlannedStage, SearchSpec
from search_spaces.axis import AxisValue
from search_spaces.cells import put
from trainables.evaluation.metrics.registry import RUNG_METRICS, UNDRAWN, NetworkAlone, has_score, metric_of, score_names


def kind_faults(planner: Planner, entries: Sequence[Entry]) -> Iterator[Fault]:
    """A fault where the objective, or what the scheduler compares, is of another kind of trial than those that it decides on. A
    trial that draws nothing is no rival of those that do: an objective of samples decides on the others alone."""
    kinds, objective = _kinds(entries), planner.spec.objective
    drawn = any(entry.trial.draws for entry in entries) or bool(searches(planner.spec)) or _others_draw(planner, entries)
    if not drawn:
        yield from _unscored("objective", objective, kinds, of=kinds)
        yield from _untuned(planner, kinds)
    else:
        rivals = _kinds(entry for entry in entries if entry.trial.draws)
        yield from _unscored("objective", objective, rivals, of=kinds)
        yield from _of_the_undrawn(planner, entries)
    if not isinstance(scheduler := planner.spec.scheduler, NoScheduler):
        stopped = _kinds(entry for entry in entries if entry.trial.draws or not entry.protected)
        yield from _unscored("scheduler.metric", scheduler.metric, stopped, of=kinds)


def _untuned(planner: Planner, kinds: Sequence[str]) -> Iterator[Fault]:
    if planner.spec.evaluation.tune is not None and kinds:
        rule = f"it tunes sampling of what draws samples, got method={kinds[0]}"
        yield Fault("evaluation.tune", f"{rule}; leave it out, or add a stage of denoisers")


def _others_draw(planner: Planner, entries: Sequence[Entry]) -> bool:
    """Whether a stage of which nothing could be planned draws: what is wrong there is told of it alone."""
    known = {entry.stage for entry in entries}
    lacking = [each.design for at, each in enumerate(planner.spec.stages) if at not in known and isinstance(each, PlannedStage)]
    firsts = ({axis: values[0] for axis, values in design.axes.items()} for design in lacking)
    return any(_method_of(planner, values) not in UNDRAWN for values in firsts)


def _method_of(planner: Planner, values: Mapping[str, AxisValue]) -> str:
    """The kind of method that a cell trains, as far as its preset and its axes say."""
    named = {axis: value for axis, value in values.items() if axis in ("preset", "method")}
    return put(planner.baseline, named).recipe.method.kind


def _kinds(entries: Iterable[Entry]) -> list[str]:
    return [*{entry.trial.error_kind: None for entry in entries}]


def _unscored(key: str, name: str, kinds: Sequence[str], *, of: Sequence[str]) -> Iterator[Fault]:
    """A fault where trials of some of these kinds do not have a score. `of`: all kinds of the sweep."""
    if not (without := [kind for kind in kinds if not has_score(kind, name)]):
        return
    needs = metric_of(name).needs
    is_of = f"{needs.of} trials and says nothing" if isinstance(needs, NetworkAlone) else "samples and says nothing"
    rule = f"must be a score of every trial, got {name}, which is of {is_of} of {', '.join(without)}"
    yield Fault(key, f"{rule}; try {_remedy(key, [*without], kinds, of)}")


def _remedy(key: str, without: Sequence[str], kinds: Sequence[str], of: Sequence[str]) -> str:
    own = [RUNG_METRICS[without[0]]] if len(of) == 1 else []
    undrawn = UNDRAWN & {*kinds}
    if not own and key != "objective" and undrawn:
        return "kind: none, or a later stage that builds on them"
    some_drawn = len(undrawn) < len(kinds)
    return ", or ".join([*own, *(["a score of samples"] if some_drawn else [])] or ["a sweep for each"])


def _of_the_undrawn(planner: Planner, entries: Sequence[Entry]) -> Iterator[Fault]:
    """Faults where an objective of samples would choose among trials of which none are drawn."""
    name = planner.spec.objective
    for stage, kind in {entry.stage: entry.trial.error_kind for entry in entries if not entry.trial.draws}.items():
        each, key = planner.spec.stages[stage], f"stages[{stage}].{planner.places[stage].word}"
        assert isinstance(each, PlannedStage)
        if each.design.nuisance is not None:
            yield _undecided(f"{key}.nuisance", name, kind, remedy="give the axes one value each")
        if isinstance(each.design.seeds, RacingSeeds):
            yield _undecided(f"{key}.seeds", name, kind, remedy="write a count of seeds")
    for stage, search in searches(planner.spec).items():
        names = [each for each in search.objectives or (name,) if each in score_names()]
        for kind, metric in itertools.product(_undrawn_in(search, planner), names):
            if not has_score(kind, metric):
                yield _undecided(f"stages[{stage}].search", metric, kind, remedy="leave those out of its axes")


def _undecided(key: str, name: str, kind: str, *, remedy: str) -> Fault:
    rule = f"must be decided by a score that its trials have, got the objective {name}, and {kind} trials"
    return Fault(key, f"{rule} have none; {remedy}, or put them in a sweep of their own by {RUNG_METRICS[kind]}")


def _undrawn_in(search: SearchSpec, planner: Planner) -> list[str]:
    """The kinds among the ends of a search's axes of which no samples are drawn; what makes no trial is told elsewhere."""
    given = {name: space for name, space in search.axes.items() if name in ("preset", "method")}
    found: dict[str, None] = {}
    for values in combinations(given):
        try:
            method = _method_of(planner, values)
        except ValueError:
            continue
        found |= {method: None} if method in UNDRAWN else {}
    return [*found]
