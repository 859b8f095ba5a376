"""What a scheduler can do for a plan, said before anything starts; above all where it can do nothing."""

from collections.abc import Sequence

from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.search import proposals, searches
from jit_sweep.schedulers.race import LEAST_FREEDOM
from jit_sweep.spec.schedulers import Early, Ladder, Median, NoScheduler
from trainables.evaluation.metrics.registry import has_score


def remarks(plan: Plan) -> list[str]:
    """A line for each race of the plan's grids and for each search."""
    scheduler = plan.spec.scheduler
    if isinstance(scheduler, NoScheduler):
        return []
    races: dict[str, list[Entry]] = {}
    for entry in plan.whole:
        races.setdefault(entry.race, []).append(entry)
    grids = [_line(_shown(entries[0]), _gates(entries), _nothing(scheduler, entries), scheduler) for entries in races.values()]
    return grids + [_search_line(plan, scheduler, stage) for stage in searches(plan.spec)]


def _line(what: str, gates: tuple[int, ...], nothing: str, scheduler: Early) -> str:
    if nothing:
        return f"{what}: nothing can be stopped early: {nothing}"
    points = ", ".join(f"{gate:,}" for gate in gates)
    return f"{what}: arms may stop at {points} images, by {_kind(scheduler)} on {scheduler.metric}"


def _shown(entry: Entry) -> str:
    """A race with its stage's place instead of what the stage is known by."""
    return f"stage={entry.stage}{entry.race.removeprefix(f'stage={entry.stage_id}')}"


def _kind(scheduler: Early) -> str:
    mode = getattr(scheduler, "mode", "")
    return f"{mode} {type(scheduler).__name__.lower()}".strip()


def _search_line(plan: Plan, scheduler: Early, stage: int) -> str:
    search = searches(plan.spec)[stage]
    freedom = proposals(plan)[stage] * (search.seeds - 1) // search.seeds
    nothing = _noise_unknown(scheduler, freedom)
    how = (
        f"nothing can be stopped early: {nothing}" if nothing else f"arms may stop, by {_kind(scheduler)} on {scheduler.metric}"
    )
    return f"stage={stage} (search): {how}"


def _gates(entries: Sequence[Entry]) -> tuple[int, ...]:
    return max((entry.gates for entry in entries), key=len)


def _nothing(scheduler: Early, entries: Sequence[Entry]) -> str:
    """Why no arm of a race can be stopped; empty where some can."""
    arms: dict[str, list[Entry]] = {}
    for entry in entries:
        arms.setdefault(entry.racer, []).append(entry)
    if undrawn := {
        entry.trial.error_kind: None for entry in entries if not has_score(entry.trial.error_kind, scheduler.metric)
    }:
        return f"{scheduler.metric} says nothing of {', '.join(undrawn)} trials"
    if not _gates(entries):
        return f"no rung lies between `first_rung` and the end, {max(entry.images for entry in entries):,} images"
    if all(entry.protected for entry in entries):
        return "every arm is part of a planned contrast; name the grid's `contrasts`, or [] for none"
    fewest = scheduler.startup_arms + 1 if isinstance(scheduler, Median) else 2
    if len(arms) < fewest and isinstance(scheduler, Ladder | Median):
        return f"it has {len(arms)} arms, and the first verdict takes {fewest}"
    return _noise_unknown(scheduler, sum(len(seeds) - 1 for seeds in arms.values()))


def _noise_unknown(scheduler: Early, freedom: int) -> str:
    if scheduler.s_train is not None or freedom >= LEAST_FREEDOM:
        return ""
    return "the spread over seeds is not known; declare `s_train`, or give some arms several seeds"
