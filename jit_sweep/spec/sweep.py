"""The sweep file: what a user asks for. Frozen, unknown keys forbidden, free of torch and Ray."""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from jit_sweep.spec.budget import Budget, Matched
from jit_sweep.spec.data import DataSpec
from jit_sweep.spec.explained import broken_at
from jit_sweep.spec.schedulers import NoScheduler, SchedulerSpec
from jit_sweep.spec.stages import FLOPS, LONGEST_NAME, PlannedStage, SearchStage, Stage, word_of
from jit_sweep.spec.uri import LedgerUri, StorageUri, TrackingUri
from search_spaces.presets import merged, preset
from trainables.config.evaluation import EvaluationConfig, Sampling
from trainables.config.fields import Fraction, Frozen, NonNegativeFloat, PositiveFloat, PositiveInt
from trainables.config.network import both_dropouts
from trainables.config.recipe import AnyParent, AttentionMode, Compile, Kernels, Precision, Recipe
from trainables.config.tuning import Tuning
from trainables.evaluation.metrics.registry import RUNG_METRIC, MetricName, check_scored, score_names

NAME_RULE = "lower-case letters, digits and hyphens, at most 63, beginning with a letter or digit"
OWN_KEYS = "x-"
"""How top-level keys begin that are the user's own, such as a place for YAML anchors."""
NAME_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"


def _sweep_name(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(f"`name` must be {NAME_RULE}, got {name!r}")
    return name


def _placed(term: dict[str, Any], located: Callable[[str], str]) -> dict[str, Any]:
    """A term of the loss with its teacher's file where `located` says."""
    teacher = term.get("teacher")
    return term if teacher is None else {**term, "teacher": {**teacher, "weights": located(teacher["weights"])}}


class Baseline(Frozen):
    """A preset, and what differs from it, written like the sections of a trial's configuration."""

    preset: str
    """Where every trial starts from: a preset's name, `NAME/PATCH` for another patch size, or `NAME/PATCH@SIZE` for the
    official run on images of that size."""
    model: dict[str, Any] = {}
    """What differs in the network."""
    method: dict[str, Any] = {}
    """What differs in what the network is trained for."""
    space: dict[str, Any] = {}
    """What differs in what the network's numbers are of: pixels, or an autoencoder's codes."""
    diffusion: dict[str, Any] = {}
    """What differs in prediction, loss and noise."""
    optimiser: dict[str, Any] = {}
    """What differs in the optimiser."""
    ema: tuple[dict[str, Any], ...] | None = None
    """All averages anew; an empty list keeps none."""
    batch_size: PositiveInt | None = None
    """Images of one update, over all workers; null: the preset's."""
    precision: Precision | None = None
    """bf16: autocast around the network; weights and optimiser stay fp32. null: the preset's, else bf16 on a GPU and fp32 on a
    CPU."""
    attention: AttentionMode | None = None
    """torch's choice of a fused kernel; cuDNN's, flash or our own, or an error; or fp32 written out. null: the preset's."""
    residual: Precision | None = None
    """Precision of the residual stream between the blocks; null: the preset's."""
    kernels: Kernels | None = None
    """torch's own kernels, or ours in Triton for what lies between a block's matrix products; null: the preset's."""
    compile: Compile | None = None
    """Compile the step with torch.compile: true as a whole, blocks one by one, which starts sooner; null: the preset's."""
    graphs: bool | None = None
    """Replay an update's kernels as a CUDA graph; null: the preset's."""
    gradient_sum: Precision | None = None
    """Precision in which the gradients of several workers are added up; null: the preset's."""
    parent: AnyParent | None = None
    """The checkpoint that every trial's weights start from; null: they start from the seed."""

    @field_validator("preset")
    @classmethod
    def preset_is_known(cls, name: str) -> str:
        preset(name)
        return name

    @field_validator("model")
    @classmethod
    def dropout_is_both(cls, model: dict[str, Any]) -> dict[str, Any]:
        return both_dropouts(model)

    def placed(self, located: Callable[[str], str]) -> Self:
        """The same with the files of its teachers and its encoder where `located` says that their addresses are."""
        terms, space = [_placed(term, located) for term in self.diffusion.get("terms", ())], self.space
        if weights := (space.get("encoder") or {}).get("weights") if _of_file(space) else None:
            space = {**space, "encoder": {**space["encoder"], "weights": located(weights)}}
        diffusion = {**self.diffusion, **({"terms": terms} if terms else {})}
        method = {key: _placed(value, located) if isinstance(value, dict) else value for key, value in self.method.items()}
        return self.model_copy(update={"diffusion": diffusion, "method": method, "space": space})

    def recipe(self) -> Recipe:
        """The preset with its overrides. pydantic.ValidationError: an override does not fit."""
        over = self.model_dump(exclude={"preset"}, exclude_none=True)
        return Recipe.model_validate(merged(preset(self.preset).model_dump(), over))


def _of_file(space: dict[str, Any]) -> bool:
    """Whether a file holds what encodes."""
    encoder = space.get("encoder")
    return isinstance(encoder, dict) and encoder.get("kind") == "file"


BESIDE_SCORES = {"at", "tune"}
"""Keys of an evaluation that no score depends on."""


class EvaluationSpec(Sampling):
    """How every trial's samples are drawn and counted, before its clamp and its weights are known."""

    t_eps_sample: Fraction | None = None
    """Clamp on 1 - t (and t) while sampling; 0 is off. None: the trial's own t_eps_train."""
    weights: str | None = None
    """What is scored: an average by its name, or `raw`. None: the trial's first average, or `raw` where it keeps none."""

    at: Literal["trial", "separate"] = "trial"
    """Who scores a trial: its own workers, or `separate` evaluators, while the workers train the next one."""
    tune: Tuning | None = None
    """Settings of sampling from which each trained trial takes its own best one; null: all are sampled alike, and no more."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Who scores, and what is tuned once trials have their scores, makes no other sweep."""
        return {key: value for key, value in super().as_hashed(content).items() if key not in BESIDE_SCORES}

    def resolved(self, **missing: float | str) -> EvaluationConfig:
        """The evaluation with `t_eps_sample` and `weights` where none were given, and without its classifier."""
        given = self.model_dump(exclude_none=True, exclude={*BESIDE_SCORES, "classifier"})
        return EvaluationConfig.model_validate(missing | given)


Seconds = Annotated[PositiveFloat, Field(le=1e7)]
"""A third of a year."""


class EvaluatorShare(Frozen):
    """What `separate` evaluators get, and how many there are."""

    count: Annotated[PositiveInt, Field(le=10_000)] = 1
    """Evaluators, each of one trained trial at a time."""
    cpus: Annotated[PositiveFloat, Field(le=1e6)] | None = None
    """CPUs of each, and its torch threads; None: a worker's."""
    gpus: Annotated[PositiveFloat, Field(le=1e6)] | None = None
    """GPUs of each; None: a worker's."""
    memory_gib: Annotated[PositiveFloat, Field(le=1e6)] | None = None
    """Memory of each; None: a worker's."""


class Resources(Frozen):
    """What one trial gets, and how many run at once."""

    workers: Annotated[PositiveInt, Field(le=4096)] = 1
    """Processes of one trial; they share its batch, so they must divide it."""
    cpus: Annotated[PositiveFloat, Field(le=1e6)] = 1.0
    """CPUs of each worker, and its torch threads."""
    gpus: Annotated[NonNegativeFloat, Field(le=1e6)] = 0.0
    """GPUs of each worker."""
    concurrent: Annotated[PositiveInt, Field(le=10_000)] | None = None
    """Most trials at once; None: as many as the cluster holds when the sweep starts."""
    memory_gib: Annotated[PositiveFloat, Field(le=1e6)] | None = None
    """Memory of each worker, which its micro-batch is chosen by; None: its GPU's own, and no limit on a CPU."""
    micro_batch: PositiveInt | None = None
    """Images a worker holds at once; None: as many of its share as memory holds."""
    activation_checkpointing: bool | None = None
    """Recompute activations in the backward pass; None: only where memory asks for it."""
    checkpoint_interval_s: Seconds = 60.0
    """Most seconds of training that a lost worker costs."""
    stall_s: Seconds = 900.0
    """A trial without an update, or a step of its evaluation, for this long counts as stalled."""
    evaluators: EvaluatorShare | None = None
    """What `evaluation.at: separate` has beside the trials; None: one evaluator that gets what a worker does."""

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where a trial's workers compute."""
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """torch's, in each worker."""
        return max(1, int(self.cpus))

    @property
    def memory_bytes(self) -> int | None:
        """`memory_gib` in bytes."""
        return None if self.memory_gib is None else round(self.memory_gib * 2**30)

    @property
    def of_evaluator(self) -> "Resources":
        """One evaluator's share, as that of a trial of one worker; `concurrent` is how many there are."""
        own = self.evaluators or EvaluatorShare()
        given = own.model_dump(exclude_none=True, exclude={"count"})
        return self.model_copy(update={"workers": 1, "concurrent": own.count, "evaluators": None, **given})

    @model_validator(mode="after")
    def evaluators_compute_where_trials_do(self) -> Self:
        if self.evaluators is not None and self.evaluators.gpus is not None and not self.gpus:
            got = f"evaluators.gpus={self.evaluators.gpus:g} and gpus=0"
            raise ValueError(f"`evaluators` must have GPUs only where trials have, got {got}; leave `evaluators.gpus` out")
        return self

    @model_validator(mode="after")
    def a_part_of_a_gpu_has_its_memory_named(self) -> Self:
        of_evaluator = self.of_evaluator if self.evaluators is not None else self
        for key, part in (("memory_gib", self), ("evaluators.memory_gib", of_evaluator)):
            if 0 < part.gpus < 1 and part.memory_gib is None:
                rule = f"`{key}` must be given where workers share a GPU"
                raise ValueError(f"{rule}, got gpus={part.gpus}; try its memory times {part.gpus}")
        return self


class Retention(Frozen):
    """Which trained checkpoints are kept once a sweep has ended; those of registered models always are."""

    best: PositiveInt | None = None
    """Trials, the best by the objective, whose last checkpoint is kept; None keeps every trial's."""


class SweepSpec(Frozen):
    """A sweep file."""

    name: Annotated[str, AfterValidator(_sweep_name)]
    """Names the sweep in its ledger: lower-case letters, digits and hyphens, at most 63."""
    question: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """What the sweep is there to find out, in your words: its report begins with them. null: what it plans to ask."""
    data: DataSpec
    """The images: `name` for a packaged set, `uri` for a file."""
    baseline: Baseline
    """The configuration that every trial differs from."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    """What is trained, one stage after the other: each a `grid`, an `ablation` or a `search`."""
    objective: MetricName
    """A registered metric; its direction is the metric's own. Verdicts are on it."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The chance that a sweep without any difference calls one real, over all that it planned to ask."""
    margin: PositiveFloat | None = None
    """How far two arms may differ in the objective and still count as equivalent: a share where it is a distance or an error
    (0.03 is 3 %), else in its own unit. null: 3 %, and never in a unit."""
    noise: PositiveFloat | None = None
    """The standard deviation over seeds that `plan` counts with: a share where the objective is a distance or an error, else in
    its own unit. null: as `noise` has measured it for these images, else as the ledger's trials of them have it."""
    project: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] | None = None
    """Sweeps on one set of images that look for a better champion together: each further promotion must be surer, so that all
    of them together rarely call a false gain one. null: each promotion stands for itself."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """How every trial's samples are drawn and counted."""
    budget: Budget
    """When a trial is done, and when the sweep is."""
    scheduler: SchedulerSpec = NoScheduler()
    """Whether, and by which rule, trials stop early."""
    resources: Resources = Resources()
    """What one trial gets, and how many run at once."""
    retention: Retention = Retention()
    """Which checkpoints are kept once the sweep has ended."""
    storage: StorageUri | None = None
    """Checkpoints and sample grids; None: `store/` below the home."""
    tracking: TrackingUri | None = None
    """MLflow tracking URI; None: `mlflow.db` below the home."""
    ledger: LedgerUri | None = None
    """Database URI of the ledger; None: `ledger.db` below the home."""

    @model_validator(mode="after")
    def both_is_a_stage_each(self) -> Self:
        """Once: a sweep that is read back has its stages already."""
        if self.budget.matched != "both":
            return self
        whole = [stage for stage in self.stages if isinstance(stage, PlannedStage) and stage.matched is None]
        self._check_flops_names({f"{stage.name}{FLOPS}" for stage in whole if stage.name is not None})
        own = (stage.model_copy(update={"matched": "images"}) if stage in whole else stage for stage in self.stages)
        return self.model_copy(update={"stages": (*own, *(stage.at_equal_flops() for stage in whole))})

    def _check_flops_names(self, names: set[str]) -> None:
        """ValueError: one is taken, or too long."""
        if clash := [name for name in names if len(name) > LONGEST_NAME or name in {stage.name for stage in self.stages}]:
            rule = f"`matched: both` plans NAME{FLOPS} beside a stage NAME, free and at most {LONGEST_NAME} characters"
            raise broken_at("budget", "matched", rule=f"{rule}, got {min(clash)}; rename a stage")

    @property
    def rung_metric(self) -> str:
        """What rungs measure and compare."""
        return RUNG_METRIC if isinstance(self.scheduler, NoScheduler) else self.scheduler.metric

    @model_validator(mode="after")
    def what_decides_is_scored(self) -> Self:
        for name, keys in self._deciding():
            try:
                check_scored(name, self.evaluation.features, n=self.evaluation.n)
            except ValueError as error:
                raise broken_at(*keys, rule=str(error)) from None
        return self

    @property
    def evaluator(self) -> Resources | None:
        """What each evaluator gets beside the trials; None where trials score themselves."""
        return self.resources.of_evaluator if self.evaluation.at == "separate" else None

    @model_validator(mode="after")
    def evaluators_have_something_to_do(self) -> Self:
        if self.resources.evaluators is not None and self.evaluation.at == "trial":
            rule = "`evaluators` must be left out where trials score themselves, got `evaluation.at: trial`"
            raise broken_at("resources", "evaluators", rule=f"{rule}; try `at: separate`, or leave it out")
        return self

    @model_validator(mode="after")
    def what_tunes_is_scored(self) -> Self:
        tuning, n = self.evaluation.tune, self.evaluation.n
        if tuning is None:
            return self
        if tuning.images(n) > n:
            rule = f"`n` must be at most the evaluation's own, {n}, by which the choice is confirmed, got {tuning.n}"
            raise broken_at("evaluation", "tune", "n", rule=f"{rule}; try {n}", possible=n)
        try:
            check_scored(self.objective, self.evaluation.features, n=tuning.images(n))
        except ValueError as error:
            raise broken_at("evaluation", "tune", "n", rule=str(error)) from None
        return self

    def _deciding(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """Each score that something is decided by, with the key that names it."""
        yield self.objective, ("objective",)
        yield self.rung_metric, ("scheduler", self.scheduler.kind, "metric")
        for index, stage in enumerate(self.stages):
            for name in (stage.search.objectives or ()) if isinstance(stage, SearchStage) else ():
                if name in score_names():
                    yield name, ("stages", index, "search", "search", "objectives")

    def matched_in(self, stage: int) -> Matched:
        """What the arms of a stage are given the same of."""
        own = self.stages[stage]
        matched = (own.matched if isinstance(own, PlannedStage) else None) or self.budget.matched
        return "images" if matched == "both" else matched

    def stage_title(self, stage: int) -> str:
        """What a person calls a stage: the name that the file gives it, else its place, counted from 0."""
        name = self.stages[stage].name
        return f"stage {stage}" if name is None else f"stage `{name}`"

    @model_validator(mode="after")
    def stages_have_names_of_their_own(self) -> Self:
        names = [stage.name for stage in self.stages]
        for index, stage in enumerate(self.stages):
            if stage.name is not None and stage.name in names[:index]:
                rule = f"`stages` must not repeat a name, got {stage.name} again; give this one another, or none"
                raise broken_at("stages", index, word_of(stage), "name", rule=rule)
        return self

    @model_validator(mode="after")
    def first_search_needs_cells(self) -> Self:
        for index, stage in enumerate(self.stages):
            needs_cells = isinstance(stage, SearchStage) and stage.search.start == "best_cell"
            if needs_cells and not any(isinstance(before, PlannedStage) for before in self.stages[:index]):
                rule = "`from: best_cell` needs a grid or an ablation before it, got none; write `from: baseline`"
                raise broken_at("stages", index, "search", "search", "from", rule=rule, possible="baseline")
        return self
