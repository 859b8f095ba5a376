"""The searches of a sweep, a stage each: its proposals with their objectives, and which axes mattered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.ledger.records import SweepRow
from jit_sweep.results.arms import TrialResult
from jit_sweep.results.leaderboard import Results
from jit_sweep.results.objectives import direction_of, objectives_of, values_of
from jit_sweep.search.history import observations_of
from jit_sweep.search.importance import Importance, importances
from jit_sweep.spec.stages import SearchSpec, SearchStage
from jit_sweep.spec.stored import readable
from search_spaces.axis import AxisValue
from trainables.evaluation.metrics.registry import Direction


@dataclass(frozen=True)
class Proposal:
    """A searched trial with a score."""

    number: int
    """From 1, in the order in which they were proposed."""
    values: Mapping[str, AxisValue]
    score: float
    collapsed: bool
    objectives: tuple[float, ...] = ()
    """Its values by the search's own objectives, where it has several; empty where it lacks one."""
    on_front: bool = False


@dataclass(frozen=True)
class SearchedStage:
    """One search."""

    stage: int
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    proposals: tuple[Proposal, ...]
    importances: tuple[Importance, ...]
    """For the first objective; empty of too few proposals."""


def searched_stages(sweep: SweepRow, results: Results, front: frozenset[str]) -> list[SearchedStage]:
    """The stages of which a proposal has a score. `front`: keys of the trials on a Pareto front."""
    spec = readable(sweep.spec)
    searches = {n: stage.search for n, stage in enumerate(spec.stages) if isinstance(stage, SearchStage)} if spec else {}
    found = []
    for number in sorted({trial.entry.stage for trial in results.searched}):
        trials = [trial for trial in results.searched if trial.entry.stage == number]
        names = objectives_of(searches[number], results.objective) if number in searches else (results.objective,)
        proposals = _proposals(trials, names, results.objective, front)
        if proposals:
            mattered = _importances(trials, searches.get(number), results.objective)
            found.append(SearchedStage(number, names, tuple(map(direction_of, names)), tuple(proposals), tuple(mattered)))
    return found


def _proposals(trials: Sequence[TrialResult], names: Sequence[str], objective: str, front: frozenset[str]) -> list[Proposal]:
    return [
        Proposal(
            number,
            trial.entry.arm,
            value,
            trial.collapsed,
            (values_of(names, trial) or ()) if len(names) > 1 else (),
            trial.entry.key in front,
        )
        for number, trial in enumerate(sorted(trials, key=lambda trial: trial.entry.position), start=1)
        if (value := trial.value(objective)) is not None
    ]


def _importances(trials: Sequence[TrialResult], search: SearchSpec | None, objective: str) -> list[Importance]:
    if search is None:
        return []
    observations = observations_of(trials, [], search, objective)
    return importances(search, observations, direction=direction_of(objectives_of(search, objective)[0]))
