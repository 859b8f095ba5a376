"""Earlier stages on whose trials later ones build, by the arm that they are: a named one is known before anything starts, the
best of several once that stage has ended."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from jit_sweep.plan.asked import cells_of, images_asked, is_where, seeds_of
from jit_sweep.plan.candidates import choice_among, named_in_words
from jit_sweep.plan.choice import ArmChoice
from jit_sweep.plan.entry import Entry
from jit_sweep.spec.stages import Design, PlannedStage, SearchStage
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell, arm_label, put
from search_spaces.quantities import excess
from search_spaces.recipe_axes import NAMES_A_STAGE, stage_arm
from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.evaluation import AnyClassifier, GuidingClassifier, StageClassifier
from trainables.config.evaluation_rules import check_guide
from trainables.config.fields import choices, counted
from trainables.config.recipe import Parent, Recipe, StageParent
from trainables.config.space import LatentSpace, StageEncoder, TrialEncoder
from trainables.config.spelling import did_you_mean
from trainables.config.stage_arm import StageArm
from trainables.config.trial import TrialConfig
from trainables.evaluation.metrics.registry import UNDRAWN
from trainables.networks.cost import model_parameters

if TYPE_CHECKING:
    from jit_sweep.plan.planner import Planner


class StageReference(NamedTuple):
    """Where something names an arm of an earlier stage."""

    key: str
    arm: StageArm


def references(recipe: Recipe) -> Iterator[StageReference]:
    """What a recipe builds on."""
    if isinstance(recipe.space, LatentSpace) and isinstance(recipe.space.encoder, StageEncoder):
        yield StageReference("space.encoder", recipe.space.encoder)
    if isinstance(recipe.parent, StageParent):
        yield StageReference("parent", recipe.parent)


class EarlierStages:
    """Finds the trials that the stages of one sweep name."""

    def __init__(self, planner: "Planner") -> None:
        self._planner = planner
        self._found: dict[str, Entry | None] = {}
        """None: it is being sought."""
        self.awaited: dict[str, ArmChoice] = {}
        """What was asked for so far that is the best of several arms, whether it is known or not."""

    def is_built_on(self, stage: str | None, values: Mapping[str, AxisValue]) -> bool:
        """Whether others name this arm of a stage, or may choose it as the best."""
        return any(arm.stage == stage and is_where(arm.where, values) for arm in self._arms_named)

    @cached_property
    def _arms_named(self) -> list[StageArm]:
        spec = self._planner.spec
        axes = [stage.search.axes if isinstance(stage, SearchStage) else stage.design.axes for stage in spec.stages]
        given = [each[name] for each in axes for name in NAMES_A_STAGE if isinstance(each.get(name), tuple)]
        named = [stage_arm(str(value)) for values in given for value in values if value is not None]
        return [*named, *(reference.arm for reference in self._references(Cell(self._planner.baseline)))]

    def _references(self, cell: Cell) -> Iterator[StageReference]:
        """What a cell's trial and its evaluation build on."""
        yield from references(cell.recipe)
        if isinstance(named := self._classifier(cell), StageClassifier) and cell.recipe.method.kind not in UNDRAWN:
            yield StageReference("evaluation.classifier", named)

    def _classifier(self, cell: Cell) -> AnyClassifier | None:
        """What is to guide a cell's samples."""
        if "classifier" not in cell.evaluation:
            return self._planner.spec.evaluation.classifier
        own: Any = cell.evaluation["classifier"]
        return None if own is None else StageClassifier.model_validate(own)

    def classifier(self, cell: Cell, trial: TrialConfig) -> GuidingClassifier | None:
        """What guides a trial's samples, where it draws some. ValueError: it is no classifier, or one of other images."""
        named = self._classifier(cell) if trial.draws else None
        if not isinstance(named, StageClassifier):
            return named
        entry = self._entry("evaluation.classifier", named)
        check_guide(trial, entry.trial)
        return GuidingClassifier(trial=entry.trial_id, images=entry.images)

    def check_order(self, cell: Cell, *, stage: int) -> None:
        """ValueError: what a stage builds on is trained by itself, or by a later one."""
        known = [each.name for each in self._planner.spec.stages[:stage] if each.name]
        for key, arm in self._references(cell):
            if arm.stage not in known:
                rule = f"`{key}` must name an earlier stage of the sweep"
                otherwise = "put one before it" if not known else f"try {choices(known)}"
                raise ValueError(f"{rule}, got {arm.stage!r}; {did_you_mean(arm.stage, known, otherwise=otherwise)}")

    def resolved(self, recipe: Recipe) -> Recipe:
        """The recipe, with the trial itself in the place of each stage that it names. ValueError: that stage trains none that
        is known before anything starts, or another kind than is asked for."""
        for key, arm in references(recipe):
            entry = self._entry(key, arm)
            if isinstance(arm, StageParent):
                parent = Parent(trial=entry.trial_id, images=entry.images, parts=arm.parts)
                recipe = recipe.model_copy(update={"parent": parent})
            else:
                recipe = recipe.model_copy(update={"space": _seen_by(recipe, entry, stage=arm.stage)})
        return recipe

    def trained_with(self, recipe: Recipe) -> dict[str, Entry]:
        """All trials, by id, that the recipe's own is trained with, and these with. ValueError: one is of no stage here."""
        if outside := list(_named_outside(recipe)):
            rule = "`budget.count_earlier_stages` needs what arms build on to be trained by a stage of the sweep"
            raise ValueError(f"{rule}, got {outside[0]}; name a stage, or leave the count out")
        found: dict[str, Entry] = {}
        for key, arm in references(recipe):
            entry = self._entry(key, arm)
            self._check_own_images(entry, stage=arm.stage)
            found |= {entry.trial_id: entry, **self.trained_with(put(self._planner.baseline, entry.arm).recipe)}
        return found

    def _check_own_images(self, entry: Entry, *, stage: str) -> None:
        """ValueError: an earlier trial has all that the baseline costs, so that nothing is left for what builds on it."""
        spec = self._planner.spec
        built = spec.stages[entry.stage]
        assert isinstance(built, PlannedStage)
        if spec.matched_in(entry.stage) != "images" and images_asked(built.design, entry.arm) is None:
            rule = f"with `count_earlier_stages` the arms of the stage {stage} must have images of their own"
            raise ValueError(
                f"{rule}, got `matched`, by which each costs what the baseline does; give them `cells: images_per_trial`"
            )

    def check_parent(self, trial: TrialConfig, *, named: Recipe) -> None:
        """ValueError: a trial cannot begin from what its recipe names."""
        if not isinstance(arm := named.parent, StageParent):
            return
        parent = self._entry("parent", arm).trial
        if arm.parts:
            own, theirs = _encoder_of(trial), _encoder_of(parent)
            if odd := [name for name in own if own[name] != theirs.get(name)]:
                told = [", ".join(f"{name}={each.get(name, 'none')}" for name in odd) for each in (theirs, own)]
                rule = "`parent.parts` must be of the same kind and sizes in both"
                raise ValueError(f"{rule}, got {told[0]} of the stage {arm.stage} for {told[1]}; change one of them")
        elif (theirs_count := model_parameters(parent)) != (own_count := model_parameters(trial)):
            rule = "`parent` must train the same network"
            got = f"{theirs_count:,} parameters of the stage {arm.stage} for {own_count:,}"
            raise ValueError(f"{rule}, got {got}; change one of them, or name `parts`")

    def _entry(self, key: str, arm: StageArm) -> Entry:
        """The first seed of the arm that it names. ValueError: there is no such stage, or it has several such arms."""
        name = named_in_words(arm)
        if name not in self._found:
            self._found[name] = None
            try:
                self._found[name] = self._best(key, arm) if arm.best else self._only(key, arm)
            except ValueError:
                del self._found[name]
                raise
        if (found := self._found[name]) is None:
            rule = f"the arms of the stage {arm.stage} must have images of their own where the baseline builds on them"
            raise ValueError(f"{rule}, got `matched`, which asks for the baseline's cost; give them `cells: images_per_trial`")
        return found

    def _only(self, key: str, arm: StageArm) -> Entry:
        stage, named = self._named(key, arm)
        if len(named) != 1:
            arms, where = list(cells_of(stage.design)), arm.where
            rule = f"`{key}` must name one arm of the stage {arm.stage}"
            got = f"{arm_label(where)}, which {counted(len(named), 'arm')} of it have" if where else f"none of its {len(arms)}"
            best = f", or {arm.stage} best" if named else ""
            raise ValueError(f"{rule}, got {got}; try {arm.stage} {arm_label(arms[0])}{best}")
        entry = self._trained(key, arm, stage, named[0])
        if _is_left_out(entry, stage.design):
            raise ValueError(_not_as_it_stands(key, arm, "`limits`, which leave it out"))
        return entry

    def _best(self, key: str, arm: StageArm) -> Entry:
        """The arm that is chosen, or stands in its place until then."""
        stage, named = self._named(key, arm)
        entries = [self._trained(key, arm, stage, values) for values in named]
        kept = {entry.label: entry for entry in entries if not _is_left_out(entry, stage.design)}
        if not kept:
            rule, got = f"`{key}` must name arms of the stage {arm.stage}", named_in_words(arm)
            why = "`limits` leave all of them out" if named else "none has these values"
            raise ValueError(f"{rule}, got {got}, and {why}; try {arm.stage} best")
        planner = self._planner
        choice = choice_among([*kept.values()], arm, key=key, design=stage.design, baseline=planner.baseline)
        self.awaited[choice.name] = choice
        return kept.get(arm_label(planner.chosen.get(choice.name, choice.arm)), kept[arm_label(choice.arm)])

    def _named(self, key: str, arm: StageArm) -> "_NamedArms":
        """The stage, and the cells of it that an arm's values fit. ValueError: there is no such stage."""
        spec, name = self._planner.spec, arm.stage
        planned = {each.name: _Built(at, each.design) for at, each in enumerate(spec.stages) if isinstance(each, PlannedStage)}
        if name not in planned:
            rule, known = f"`{key}` must name a grid or an ablation of the sweep", [known for known in planned if known]
            if any(stage.name == name for stage in spec.stages):
                raise ValueError(f"{rule}, got {name!r}, a search; name one of the others, or list its values in a grid")
            raise ValueError(f"{rule}, got {name!r}; {did_you_mean(name, known, otherwise='give a stage this `name`')}")
        stage = planned[name]
        return _NamedArms(stage, [values for values in cells_of(stage.design) if is_where(arm.where, values)])

    def _trained(self, key: str, arm: StageArm, stage: "_Built", values: Mapping[str, AxisValue]) -> Entry:
        """The first seed of a cell. ValueError: what it will be is not known."""
        planner, design = self._planner, stage.design
        cell = put(planner.baseline, values)
        images = images_asked(design, values) or planner.images_of(cell, stage=stage.at)
        entry = planner.entry(cell, stage=stage.at, position=0, seed=seeds_of(design, values)[0], images=images)
        if design.nuisance is not None:
            raise ValueError(_not_as_it_stands(key, arm, "`nuisance`, by which its setting is known later"))
        return entry


def _named_outside(recipe: Recipe) -> Iterator[str]:
    """What a recipe builds on that other sweeps or programs have trained, by key."""
    if isinstance(recipe.space, LatentSpace) and not isinstance(recipe.space.encoder, StageEncoder):
        yield f"a `space.encoder` of kind {recipe.space.encoder.kind}"
    if isinstance(recipe.parent, Parent):
        yield f"the `parent` {recipe.parent.trial}"


class _Built(NamedTuple):
    """An earlier stage."""

    at: int
    design: Design


class _NamedArms(NamedTuple):
    """The arms that somebody names, by their cells."""

    stage: _Built
    cells: list[dict[str, AxisValue]]


def _is_left_out(entry: Entry, design: Design) -> bool:
    return bool(excess(getattr(design, "limits", {}), entry.trial, images=entry.images))


def _not_as_it_stands(key: str, arm: StageArm, why: str) -> str:
    rule = f"`{key}` must name an arm of the stage {arm.stage} that is trained as it stands there"
    return f"{rule}, got one with {why}; leave that out of the stage"


def _seen_by(recipe: Recipe, entry: Entry, *, stage: str) -> LatentSpace:
    """The recipe's space, with what a trial encodes. ValueError: it is no autoencoder."""
    trunk = entry.trial.model.trunk
    if not isinstance(trunk, AutoencoderTrunk):
        rule = "`space.encoder` must name a stage that trains an autoencoder"
        raise ValueError(f"{rule}, got {stage}, which trains {trunk.kind}; name another")
    encoder = TrialEncoder(trial=entry.trial_id, images=entry.images, weights=entry.trial.rung_weights)
    return LatentSpace.model_validate({**recipe.space.model_dump(), "encoder": encoder, "trunk": trunk})


_ENCODERS = {"encoder_decoder": "transformer", "encoder_pretrainer": "transformer", "autoencoder": "convolutions"}
"""What the encoders of trunks are, by the trunk's kind."""


def _encoder_of(trial: TrialConfig) -> dict[str, object]:
    """What decides an encoder's shape."""
    model, trunk = trial.model, trial.model.trunk
    found: dict[str, object] = {"encoder": _ENCODERS.get(trunk.kind, "none"), "channels": trial.channels}
    if isinstance(trunk, AutoencoderTrunk):
        told = trunk.code_channels * (2 if trunk.code.kind == "kl" else 1)
        sizes = {name: getattr(trunk, name) for name in ("width", "multipliers", "blocks", "attention")}
        return {**found, **sizes, "code": told}
    width, depth, heads = model.encoder
    sizes = {"width": width, "depth": depth, "heads": heads, "mlp_ratio": model.mlp_ratio, "grid": trial.grid}
    return {**found, **sizes, "patch_size": model.patch_size}
