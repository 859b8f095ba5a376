"""What a plan does not reach and its table does not show: warm-ups, averages and rungs against the budget, and precision."""

import math
from collections.abc import Iterator

from jit_sweep.plan.entry import Entry, Plan, one_a_cell
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import searches
from jit_sweep.spec.stages import SearchStage, Stage
from search_spaces.cells import put
from search_spaces.presets import OFFICIAL_NOISE, official_at
from trainables.config.budget_rules import budget_remarks
from trainables.config.evaluation import Sampling
from trainables.config.evaluation_rules import evaluation_remarks
from trainables.config.fields import and_more, percent
from trainables.evaluation.metrics.registry import RUNG_METRIC, parse
from trainables.training.hardware import computes_bf16

SPREAD_AT_384 = 0.017
"""Standard error of the quickstart's Frechet distances by their 384 images, as a share; it goes as 1 / sqrt(n)."""
FEW_SCORED = 128
"""Generated images below which that is more than the 3 % by which two arms may differ and still count as equivalent."""
FEW_HELDOUT = 64
"""Held-out images below which one of them is more than a sixtieth of the held-out error."""
DEFAULT_N = Sampling.model_fields["n"].default


def soundness_remarks(plan: Plan) -> list[str]:
    """A line for each thing that some trials of the plan do not reach, with the first of them and how many more there are."""
    found: dict[str, dict[str, None]] = {}
    for entry in [*one_a_cell(plan.whole), *_starts(plan)]:
        for text in _of_entry(plan, entry):
            found.setdefault(text, {})[entry.label] = None
    lines = [f"{next(iter(cells))}{and_more(len(cells) - 1, 'cell')}: {text}" for text, cells in found.items()]
    return [*_data_remarks(plan), *_count_remarks(plan), *lines, *_noise_remarks(plan), *_precision_remarks(plan)]


def _data_remarks(plan: Plan) -> list[str]:
    """What is probably a mistake about the images, and what cannot be known of those that are not prepared."""
    warnings = [f"the images at {plan.data.uri}: {text}" for text in plan.data.warnings]
    if plan.data.is_prepared:
        return warnings
    rest = "`run` prepares them first, or `data prepare`; trials have their final ids then"
    return [*warnings, f"the images at {plan.data.uri} have been listed, not decoded: {rest}"]


def _count_remarks(plan: Plan) -> Iterator[str]:
    """Counts of images that are too small for what is made of them."""
    n, heldout, train, batch = plan.spec.evaluation.n, plan.data.heldout_count, plan.data.train_count, plan.baseline.batch_size
    if n < FEW_SCORED:
        chance = f"a distance of so few images moves by about {percent(SPREAD_AT_384 * math.sqrt(384 / n))} by chance alone"
        more = f"score {min(heldout, DEFAULT_N):,}" if heldout >= FEW_SCORED else f"hold out and score {FEW_SCORED:,} or more"
        yield f"evaluation.n={n}: {chance}; {more}"
    if heldout < FEW_HELDOUT:
        yield f"{heldout} held-out images: {RUNG_METRIC} rests on these alone; hold out {FEW_HELDOUT} or more"
    if batch > train:
        yield f"batch_size={batch:,}: each update has every one of the {train:,} images to train on; lower batch_size"


def _of_entry(plan: Plan, entry: Entry) -> Iterator[str]:
    averaged = parse(plan.spec.rung_metric)[1] != "raw"
    trial, images = entry.trial, entry.images
    yield from budget_remarks(trial, images=images, rungs=entry.rungs, gates=entry.gates, averaged=averaged)
    yield from evaluation_remarks(trial, entry.evaluation, images=images)
    if images < plan.data.train_count:
        part = f"{images:,} images are {percent(images / plan.data.train_count)} of the {plan.data.train_count:,} to train on"
        yield f"{part}: no trial sees the others"


def _starts(plan: Plan) -> Iterator[Entry]:
    """The baseline as each search that starts from it would train it, where that is a trial."""
    planner, images = Planner.of(plan), plan.spec.budget.images_per_trial
    for stage, search in searches(plan.spec).items():
        try:
            yield planner.entry(put(plan.baseline, {}), stage=stage, position=0, seed=search.seed, images=images)
        except ValueError:  # an axis of the search has to mend it
            continue


def _noise_remarks(plan: Plan) -> list[str]:
    """Where a JiT preset meets a resolution at which the official runs have other noise, and nobody has chosen it."""
    size, given = plan.data.image_size, plan.baseline.diffusion.noise_scale
    official = OFFICIAL_NOISE.get(size, given)
    axes = {axis for stage in plan.spec.stages for axis in _axes(stage)}
    chosen = "noise_scale" in plan.spec.baseline.diffusion or "noise_scale" in axes
    if chosen or official == given or not plan.spec.baseline.preset.startswith("jit-"):
        return []
    rule = f"noise_scale={given:g}: the official runs at {size} px have {official:g}; set noise_scale={official:g}"
    recipe = official_at(plan.spec.baseline.preset, size)
    return [f"{rule}, or try preset {recipe}" if recipe else rule]


def _precision_remarks(plan: Plan) -> list[str]:
    device, precision = plan.spec.resources.device, plan.baseline.precision
    where = {"cpu": "a CPU", "cuda": "a GPU"}[device]
    if plan.spec.baseline.precision is None and plan.spec.baseline.recipe().precision is None:
        return [f"precision={precision}, the default on {where}"]
    if precision == "bf16" and device == "cpu" and not computes_bf16():
        return ["precision=bf16 on a CPU: this one has no bf16 arithmetic and emulates it, many times slower than fp32"]
    return []


def _axes(stage: Stage) -> dict[str, object]:
    return dict(stage.search.axes if isinstance(stage, SearchStage) else stage.design.axes)
