"""The sweep file: what a user asks for. Frozen, unknown keys forbidden, free of torch and Ray."""

import difflib
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from jit_sweep.redact import redact
from search_spaces.axes import AXES, AxisValue
from search_spaces.presets import merged, preset
from trainables.assignment import EvaluationConfig, Sampling
from trainables.config import AttentionMode, Parent, Precision, Recipe
from trainables.fields import FiniteFloat, Fraction, Frozen, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from trainables.metrics import METRICS

NAME_RULE = "lower-case letters, digits and hyphens, at most 63, beginning with a letter or digit"


def _sweep_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise ValueError(f"`name` must be {NAME_RULE}, got {name!r}")
    return name


def _without_password(uri: str) -> str:
    if redact(uri) != uri:
        raise ValueError(
            "a URI must not carry a password; put credentials into the environment (PGPASSWORD, AWS_SECRET_ACCESS_KEY)"
        )
    return uri


def _sound_axes(axes: dict[str, Any]) -> dict[str, Any]:
    """The axes with their values checked; every fault of every axis in one ValueError."""
    sound, faults = dict[str, Any](), list[str]()
    for name, values in axes.items():
        try:
            sound[name] = _space(name, values)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("; ".join(faults))
    return sound


def _space(name: str, values: Any) -> Any:
    if name not in AXES:
        near = difflib.get_close_matches(name, AXES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(AXES)}"
        raise ValueError(f"an axis must be a registered one, got {name!r}; {hint}")
    if isinstance(values, Range):
        return values.model_copy(update={end: AXES[name].check(getattr(values, end)) for end in ("low", "high")})
    if not values:
        raise ValueError(f"axis `{name}` must have at least one value, got none")
    checked = tuple(AXES[name].check(value) for value in values)
    if len(set(checked)) < len(checked):
        raise ValueError(f"axis `{name}` must not repeat a value, got {list(values)}")
    return checked


def _seed_list(seeds: Any) -> Any:
    return tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds


def _distinct_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("`seeds` must be a positive count or a list of seeds, got none")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must not repeat, got {list(seeds)}")
    return seeds


def _key_of(*keys: str) -> Discriminator:
    """Tells variants apart by the one key each must have."""

    def which(value: Any) -> str | None:
        for key in keys:
            if (isinstance(value, dict) and key in value) or hasattr(value, key):
                return key
        return None

    return Discriminator(
        which,
        custom_error_type="variant_key",
        custom_error_message="must be a mapping with one of the keys {keys}",
        custom_error_context={"keys": ", ".join(keys)},
    )


def _shape_of_axis(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "choices"


Number = Annotated[int, Field(strict=True)] | FiniteFloat
Choices = tuple[Any, ...]
"""Values of an axis; `_sound_axes` checks each by the axis's own rule and leaves `AxisValue`s."""
Uri = Annotated[str, Field(min_length=1), AfterValidator(_without_password)]
Seeds = Annotated[tuple[NonNegativeInt, ...], BeforeValidator(_seed_list), AfterValidator(_distinct_seeds)]


class PackagedData(Frozen):
    """A data set that comes with the program."""

    name: Literal["emoji32"]
    flip: bool = True


class FileData(Frozen):
    """An .npz file: `images` [N, S, S, C] uint8, and optionally `labels`, `heldout`, `class_names`."""

    uri: Uri
    holdout: PositiveInt | None = None
    """Images to hold out where the file brings no `heldout` list."""
    flip: bool = True


DataSpec = Annotated[Annotated[PackagedData, Tag("name")] | Annotated[FileData, Tag("uri")], _key_of("name", "uri")]


class Baseline(Frozen):
    """A preset, and what differs from it, written like the sections of a trial's configuration."""

    preset: str
    model: dict[str, Any] = {}
    diffusion: dict[str, Any] = {}
    optimiser: dict[str, Any] = {}
    ema: tuple[dict[str, Any], ...] | None = None
    """All averages anew; an empty list keeps none."""
    batch_size: PositiveInt | None = None
    precision: Precision | None = None
    attention: AttentionMode | None = None
    compile: bool | None = None
    parent: Parent | None = None

    @field_validator("preset")
    @classmethod
    def preset_is_known(cls, name: str) -> str:
        preset(name)
        return name

    def recipe(self) -> Recipe:
        """The preset with its overrides. pydantic.ValidationError: an override does not fit."""
        over = self.model_dump(exclude={"preset"}, exclude_none=True)
        return Recipe.model_validate(merged(preset(self.preset).model_dump(), over))


class CellRule(Frozen):
    """Other seeds or another budget for the cells where the axes have these values."""

    where: Annotated[dict[str, AxisValue], Field(min_length=1)]
    seeds: Seeds | None = None
    images_per_trial: PositiveInt | None = None


class Grid(Frozen):
    """Every combination of the axes' values, each with every seed."""

    axes: Annotated[dict[str, Choices], Field(min_length=1), AfterValidator(_sound_axes)]
    seeds: Seeds = (0,)
    cells: tuple[CellRule, ...] = ()

    @model_validator(mode="after")
    def cells_name_grid_values(self) -> Self:
        for rule in self.cells:
            for axis, value in rule.where.items():
                if axis not in self.axes or value not in self.axes[axis]:
                    given = {name: list(values) for name, values in self.axes.items()}
                    raise ValueError(f"`where` must name a value of this grid's axes {given}, got {axis}={value!r}")
        return self


class Range(Frozen):
    """A continuous or integer interval to search, both ends included."""

    low: Number
    high: Number
    log: bool = False
    """Sample uniformly in the logarithm."""

    @model_validator(mode="after")
    def range_is_ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`low` must be below high, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low` must be positive on a logarithmic range, got low={self.low}")
        return self


AxisSpace = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_shape_of_axis)]


class SearchSpec(Frozen):
    """Trials that a sampler proposes, one after the other, from what it has seen."""

    start: Annotated[Literal["baseline", "best_cell"], Field(alias="from")] = "baseline"
    """What a proposal changes: the sweep's baseline, or the best cell of the stages before."""
    sampler: Literal["tpe", "random", "gp"] = "tpe"
    trials: PositiveInt
    axes: Annotated[dict[str, AxisSpace], Field(min_length=1), AfterValidator(_sound_axes)]
    seed: NonNegativeInt = 0
    """Of the sampler, and of every trial it proposes."""


class GridStage(Frozen):
    grid: Grid


class SearchStage(Frozen):
    search: SearchSpec


Stage = Annotated[Annotated[GridStage, Tag("grid")] | Annotated[SearchStage, Tag("search")], _key_of("grid", "search")]


class EvaluationSpec(Sampling):
    """How every trial's samples are drawn and counted, before its clamp and its weights are known."""

    t_eps_sample: Fraction | None = None
    """None: the trial's own t_eps_train."""
    weights: str | None = None
    """None: the trial's first average, or its raw weights where it keeps none."""

    def resolved(self, **missing: float | str) -> EvaluationConfig:
        """The evaluation with `t_eps_sample` and `weights` where none were given."""
        return EvaluationConfig.model_validate(missing | self.model_dump(exclude_none=True))


class Budget(Frozen):
    """When a trial is done."""

    images_per_trial: PositiveInt
    rungs: PositiveInt = 4
    """Equally spaced points, the last at the end, where the held-out error is measured and the ledger asked."""


class Resources(Frozen):
    """What one trial gets, and how many run at once."""

    workers: PositiveInt = 1
    cpus: PositiveFloat = 1.0
    """CPUs of each worker, and its torch threads."""
    gpus: NonNegativeFloat = 0.0
    """GPUs of each worker."""
    concurrent: PositiveInt | None = None
    """Most trials at once; None: as many as the cluster holds when the sweep starts."""
    memory_gib: PositiveFloat | None = None
    """Memory of each worker, which its micro-batch is chosen by; None: its GPU's own, and no limit on a CPU."""
    micro_batch: PositiveInt | None = None
    """Images a worker holds at once; None: as many of its share as memory holds."""
    activation_checkpointing: bool | None = None
    """Recompute activations in the backward pass; None: only where memory asks for it."""
    checkpoint_interval_s: PositiveFloat = 60.0
    """Most seconds of training that a lost worker costs."""

    @model_validator(mode="after")
    def a_part_of_a_gpu_has_its_memory_named(self) -> Self:
        if 0 < self.gpus < 1 and self.memory_gib is None:
            rule = "`memory_gib` must be given where workers share a GPU"
            raise ValueError(f"{rule}, got gpus={self.gpus}; try its memory times {self.gpus}")
        return self


class SweepSpec(Frozen):
    """A sweep file."""

    name: Annotated[str, AfterValidator(_sweep_name)]
    data: DataSpec
    baseline: Baseline
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    objective: str
    """A registered metric; its direction is the metric's own."""
    evaluation: EvaluationSpec = EvaluationSpec()
    budget: Budget
    resources: Resources = Resources()
    storage: Uri | None = None
    """Checkpoints and sample grids; None: `store/` below the home."""
    tracking: Uri | None = None
    """MLflow tracking URI; None: `mlflow.db` below the home."""
    ledger: Uri | None = None
    """Database URI of the ledger; None: `ledger.db` below the home."""

    @field_validator("objective")
    @classmethod
    def objective_is_registered(cls, name: str) -> str:
        if name not in METRICS:
            raise ValueError(f"`objective` must be a registered metric: {', '.join(METRICS)}, got {name!r}")
        return name

    @model_validator(mode="after")
    def first_search_needs_cells(self) -> Self:
        for index, stage in enumerate(self.stages):
            needs_cells = isinstance(stage, SearchStage) and stage.search.start == "best_cell"
            if needs_cells and not any(isinstance(before, GridStage) for before in self.stages[:index]):
                raise ValueError("`from: best_cell` needs a grid stage before it; write `from: baseline`")
        return self
