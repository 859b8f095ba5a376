"""The arms of a stage among which the best is chosen for later ones, and whether they can be told apart."""

from collections.abc import Sequence

from jit_sweep.plan.asked import seeds_of
from jit_sweep.plan.choice import ArmChoice
from jit_sweep.plan.entry import Entry
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.spec.stages import Design
from search_spaces.cells import arm_label, recipe_values, values_in
from trainables.config.recipe import Recipe
from trainables.config.stage_arm import StageArm
from trainables.evaluation.metrics.registry import RUNG_METRICS, metric_of


def named_in_words(arm: StageArm) -> str:
    """Such as `codes best code=vq`."""
    return " ".join([arm.stage, *(["best"] if arm.best else []), *([arm_label(arm.where)] if arm.where else [])])


def choice_among(entries: Sequence[Entry], arm: StageArm, *, key: str, design: Design, baseline: Recipe) -> ArmChoice:
    """What is to be chosen; `entries`: the first seed of each arm that it may be. ValueError: nothing compares them."""
    name, rule = named_in_words(arm), f"`{key}` must choose among arms that its metric compares"
    if isinstance(design.seeds, RacingSeeds):
        raise ValueError(f"{rule}, got {name}, whose seeds race and are not as many in each; give the stage a number of seeds")
    seeds = {len(seeds_of(design, entry.arm)): entry.label for entry in entries}
    if len(seeds) > 1:
        counts = " and ".join(f"{count} of {label}" for count, label in sorted(seeds.items()))
        raise ValueError(f"{rule}, got {name}, whose arms have unequal seeds ({counts}); give them equal ones in `cells`")
    metrics = {RUNG_METRICS[entry.trial.error_kind]: entry for entry in entries}
    if len(metrics) > 1:
        labels = ", ".join(entry.label for entry in metrics.values())
        raise ValueError(f"{rule}, got {name}, of {' and '.join(metrics)} ({labels}); name values that arms of one kind have")
    (metric,) = metrics
    values = [values_in(entry.trial, entry.arm) if "preset" in entry.arm else entry.arm for entry in entries]
    for axis in sorted(metric_of(metric).blind_to & recipe_values(baseline).keys()):
        if len({of.get(axis) for of in values}) > 1:
            told = f"got {name}, which differ in {axis}, along which {metric} says nothing"
            raise ValueError(f"{rule}, {told}; name one, such as {name} {arm_label({axis: values[0].get(axis)})}")
    arms = tuple(dict(entry.arm) for entry in entries)
    return ArmChoice(name=name, stage=entries[0].stage, arms=arms, metric=metric, arm=arms[0])
