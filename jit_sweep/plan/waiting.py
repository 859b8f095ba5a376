"""Stages that build on the best of several earlier arms: what holds whichever it will be, and what they train once it is
known."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from jit_sweep.plan.choice import ArmChoice
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.fault import Fault
from jit_sweep.plan.grid import PlannedArms, planned_arms
from jit_sweep.plan.planner import Planner
from jit_sweep.spec.stages import PlannedStage
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.networks.cost import training_flops

MOST_WAYS = 64
"""Combinations of arms that a stage may have to wait for: it is planned with each."""

Arms = Mapping[str, Mapping[str, AxisValue]]
"""Arms by what they are named as."""
WithArms = Callable[[Planner], PlannedArms]
"""Plans a stage."""


@dataclass(frozen=True)
class WaitingStage:
    """A stage that is not known before others have ended."""

    planned: PlannedArms
    """As it would cost most, with all that is wrong whichever arms it will build on."""
    choices: tuple[ArmChoice, ...]
    """None: it waits for nothing."""


def planned_stage(plan_it: WithArms, *, planner: Planner, stage: int) -> WaitingStage:
    """A stage, planned with every arm that may turn out to be the best. ValueError: there are too many."""
    alone = replace(planner)  # it remembers what this stage asks for, and nothing of others
    planned = plan_it(alone)
    choices = {choice.name: choice for choice in alone.earlier.awaited.values()}
    if not choices:
        return WaitingStage(planned, ())
    _check(planner, choices.values())
    names = list(choices)
    combinations = itertools.product(*(choice.arms for choice in choices.values()))
    ways = [dict(zip(names, arms, strict=True)) for arms in combinations]  # first the first of each, as planned already
    found = [planned, *(plan_it(replace(planner, chosen=arms)) for arms in ways[1:])]
    faults = tuple(_faults(zip(ways, found, strict=True)))
    most = max(range(len(found)), key=lambda way: (_flops(found[way].entries), -way))
    stands = tuple(
        choice.model_copy(update={"by": (stage,), "arm": dict(ways[most][name])}) for name, choice in choices.items()
    )
    return WaitingStage(replace(found[most], faults=faults), stands)


def joined(choices: Iterable[ArmChoice]) -> tuple[ArmChoice, ...]:
    """Choices of several stages, each once, those of earlier arms first."""
    found: dict[str, ArmChoice] = {}
    for choice in choices:
        known = found.setdefault(choice.name, choice)
        found[choice.name] = known.model_copy(update={"by": tuple(sorted({*known.by, *choice.by}))})
    return tuple(sorted(found.values(), key=lambda choice: choice.stage))


def with_arms(plan: Plan, arms: Arms) -> Plan:
    """The plan once these arms are known to be the best: what waited for them and for nothing else is among its entries."""
    choices = tuple(_made(choice, arms) for choice in plan.choices)
    known = plan.model_copy(update={"choices": choices})
    planner, waiting = Planner.of(known), known.waiting
    building = sorted({stage for choice in choices for stage in choice.by})
    grids = {stage: each.design for stage in building if isinstance(each := plan.spec.stages[stage], PlannedStage)}
    planned = {stage: planned_arms(design, planner=planner, stage=stage) for stage, design in grids.items()}
    assert not any(stage.faults for stage in planned.values()), planned
    own = [entry for entry in plan.entries if entry.stage not in planned]
    own += [entry for stage, arms in planned.items() if stage not in waiting for entry in arms.entries]
    later = [entry for stage, arms in planned.items() if stage in waiting for entry in arms.entries]
    entries = tuple(sorted(own, key=lambda entry: entry.stage))
    return known.model_copy(update={"entries": entries, "later": tuple(later)})


def waiting_lines(plan: Plan) -> Iterator[tuple[int, str]]:
    """For each stage that waits, what it waits for and what it trains then."""
    for stage, choices in sorted(plan.waiting.items()):
        own = [entry for entry in plan.later if entry.stage == stage]
        told = " and ".join(f"{each.name} (of {len(each.arms)} arms, by {each.metric})" for each in choices)
        most = f", at most {sum(entry.images for entry in own):,} images in {len(own):,} trials" if own else ""
        yield stage, f"planned once it is known which is {told}{most}"


def _made(choice: ArmChoice, arms: Arms) -> ArmChoice:
    known = choice.name in arms
    return choice.model_copy(update={"arm": dict(arms[choice.name]), "made": True}) if known else choice


def _check(planner: Planner, choices: Iterable[ArmChoice]) -> None:
    """ValueError: no plan can be made before the arms are known."""
    names = ", ".join(choice.name for choice in choices)
    if planner.spec.budget.matched == "device_seconds":
        rule = "`budget.matched: device_seconds` needs the speed of every arm at launch"
        raise ValueError(f"{rule}, got {names}, which is known later; name an arm by its values, or match flops or images")
    ways = math.prod(len(choice.arms) for choice in choices)
    if ways > MOST_WAYS:
        rule = f"a stage must wait for at most {MOST_WAYS} combinations of earlier arms"
        raise ValueError(f"{rule}, got {ways} of {names}; name fewer by their values, such as `codes best code=vq`")


def _faults(ways: Iterable[tuple[Arms, PlannedArms]]) -> Iterator[Fault]:
    """All that is wrong in some way; with the arms where it is not wrong in all."""
    of: dict[Fault, list[str]] = {}
    count = 0
    for arms, planned in ways:
        count += 1
        told = " and ".join(f"{name} is {arm_label(arm)}" for name, arm in arms.items())
        for fault in dict.fromkeys(planned.faults):
            of.setdefault(fault, []).append(told)
    for fault, where in of.items():
        yield fault if len(where) == count else replace(fault, reason=f"{fault.reason}; so it is where {where[0]}")


def _flops(entries: Iterable[Entry]) -> int:
    return sum(training_flops(entry.trial, images=entry.images) for entry in entries)
