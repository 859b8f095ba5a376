"""An ablation: named changes of the baseline, and what each is worth. Free of torch and Ray."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from jit_sweep.spec.axis_spaces import Choices, refuse_unknown, sound_axes
from jit_sweep.spec.nuisance import Nuisance, check_tuned
from jit_sweep.spec.seeds import PlannedSeeds
from search_spaces.axis import AxisValue
from trainables.config.fields import Frozen

FULL = "full"
"""The arm with every change."""
WITHOUT = "without "
"""Before the name of the change that an arm of `leave_one_out` lacks."""
BASELINE_ARM = "baseline"
"""The arm without a change."""
MOST_CHANGES = 12
"""Of a factorial, whose arms double with each."""
Change = Annotated[dict[str, Any], Field(min_length=1)]
"""Axes, each with one value."""
CHANGE_NAME = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"


def sound_changes(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, AxisValue]]:
    """The changes with their values checked; every fault of every change in one ValueError."""
    sound, faults = dict[str, dict[str, AxisValue]](), list[str]()
    for name, change in changes.items():
        try:
            sound[name] = _sound_change(name, change)
        except ValueError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise ValueError("; ".join(faults))
    return sound


def is_sound_change(name: str, change: Any) -> bool:
    """Whether a change is one."""
    try:
        return isinstance(change, dict) and bool(_sound_change(name, change))
    except ValueError:
        return False


def _sound_change(name: str, change: Mapping[str, Any]) -> dict[str, AxisValue]:
    if not re.fullmatch(CHANGE_NAME, name):
        raise ValueError(f"a change's name must be letters, digits, '_', '.' and '-', at most 63, got {name!r}")
    if name in (BASELINE_ARM, FULL):
        raise ValueError(f"a change must have a name of its own, got {name!r}, which is an arm's; say what it changes")
    if lists := [axis for axis, value in change.items() if isinstance(value, list | tuple | dict)]:
        raise ValueError(f"a change must give an axis one value, got several of {', '.join(lists)}; make each a change")
    return {axis: values[0] for axis, values in sound_axes({axis: (value,) for axis, value in change.items()}).items()}


class ArmContrast(Frozen):
    """Two arms of an ablation that are compared."""

    arm: str
    """The arm that is asked about: a change's name; of `leave_one_out` `full` or `without NAME`, of `factorial` names joined
    by `+`."""
    against: str = BASELINE_ARM
    """The arm that it is compared with."""


class Ablation(Frozen):
    """Changes of the baseline, and the arms that tell what each is worth; no arm is ever stopped early."""

    kind: Literal["one_at_a_time", "ladder", "leave_one_out", "factorial"]
    """The arms: the baseline and each change alone; each change on top of those before it; all changes, and all but each one;
    every combination of changes. The questions follow: each change against the baseline; each step against the one before;
    all against all but each; each change's main effect over the rest, and each pair's interaction."""
    changes: Annotated[dict[str, Change], Field(min_length=1), AfterValidator(sound_changes)]
    """Names, each with what it changes: axes, each with a value. A ladder adds them in this order."""
    seeds: PlannedSeeds = (0,)
    """Of each arm: a count N for the seeds 0 to N - 1, or a list of seeds. `{min: 3, max: 8}`: a race."""
    contrasts: dict[str, ArmContrast] | None = None
    """Pairs of arms that are compared too, each as `NAME: {arm: ARM, against: ARM}`, by a name of your own; null: none."""
    nuisance: Nuisance | None = None
    """Axes that each arm gets its own best value of before it is compared; null: none."""

    @property
    def arms(self) -> dict[str, dict[str, AxisValue]]:
        """Names of the arms, each with what it changes of the baseline, in the order of the plan."""
        return {self._arm_name(made_of): self._changed(made_of) for made_of in self.combinations}

    @property
    def combinations(self) -> tuple[tuple[str, ...], ...]:
        """The changes that each arm is made of, in the order of the plan."""
        names = tuple(self.changes)
        match self.kind:
            case "one_at_a_time":
                return ((), *((name,) for name in names))
            case "ladder":
                return tuple(names[:count] for count in range(len(names) + 1))
            case "leave_one_out":
                return (names, *(tuple(other for other in names if other != name) for name in names))
            case "factorial":
                return tuple(tuple(itertools.compress(names, on)) for on in itertools.product((False, True), repeat=len(names)))

    @property
    def axes(self) -> dict[str, Choices]:
        """The values that the changes give each axis."""
        values: dict[str, dict[AxisValue, None]] = {}
        for axis, value in (item for change in self.changes.values() for item in change.items()):
            values.setdefault(axis, {})[value] = None
        return {axis: tuple(of) for axis, of in values.items()}

    def _arm_name(self, made_of: tuple[str, ...]) -> str:
        match self.kind:
            case "leave_one_out":
                return next((f"{WITHOUT}{name}" for name in self.changes if name not in made_of), FULL)
            case "factorial":
                return "+".join(made_of) or BASELINE_ARM
            case _:
                return made_of[-1] if made_of else BASELINE_ARM

    def _changed(self, made_of: Iterable[str]) -> dict[str, AxisValue]:
        return {axis: value for name in made_of for axis, value in self.changes[name].items()}

    @model_validator(mode="after")
    def a_factorial_has_few_changes(self) -> Self:
        if self.kind == "factorial" and len(self.changes) > MOST_CHANGES:
            rule = f"`changes` of a factorial must be at most {MOST_CHANGES}, whose combinations are its arms"
            raise ValueError(f"{rule}, got {len(self.changes)}; try kind: one_at_a_time")
        return self

    @model_validator(mode="after")
    def arms_differ(self) -> Self:
        first: dict[frozenset[tuple[str, AxisValue]], str] = {}
        for name, arm in self.arms.items():
            known = first.setdefault(frozenset(arm.items()), name)
            if known != name:
                rule = f"`changes` must make arms that differ, got {name} the same as {known}"
                raise ValueError(f"{rule}; leave one of them out")
        return self

    @model_validator(mode="after")
    def arms_can_be_tuned(self) -> Self:
        check_tuned(self.nuisance, axes=self.axes, seeds=self.seeds)
        return self

    @model_validator(mode="after")
    def contrasts_name_its_arms(self) -> Self:
        named = [arm for contrast in (self.contrasts or {}).values() for arm in (contrast.arm, contrast.against)]
        refuse_unknown(named, self.arms, rule="`contrasts` must name arms of this ablation")
        if same := [name for name, contrast in (self.contrasts or {}).items() if contrast.arm == contrast.against]:
            raise ValueError(f"`contrasts` must name two arms each, got one twice in {', '.join(same)}; name another one")
        return self
