"""Where a sweep's rungs stand: a ladder in images or in FLOPs, and equal steps."""

import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jit_sweep.plan.rungs import Rungs, rungs_of
from jit_sweep.spec.schedulers import Early, NoScheduler, SchedulerSpec
from search_spaces.presets import preset
from tests.support.trials import trial_of_recipe
from trainables.config.trial import DataConfig, TrialConfig
from trainables.networks.cost import training_flops

LADDERS = ("halving", "promotion", "hyperband")
SPACED = ("median", "patient")


def scheduler_of(kind: str, **values: Any) -> Early | NoScheduler:
    scheduler: Early | NoScheduler = TypeAdapter(SchedulerSpec).validate_python({"kind": kind, **values})
    return scheduler


def trial_of(patch_size: int) -> TrialConfig:
    data = DataConfig(digest="0", image_size=32, num_classes=9)
    return trial_of_recipe(preset(f"jit-tiny/{patch_size}"), data=data)


def rungs(scheduler: Early | NoScheduler, *, patch_size: int = 8, images: int = 81_000, count: int = 5, unit: int = 1) -> Rungs:
    return rungs_of(scheduler, trial_of(patch_size), images=images, count=count, unit=unit)


@pytest.mark.parametrize("kind", LADDERS)
def test_a_ladder_in_images_rises_by_the_reduction(kind: str) -> None:
    ladder = scheduler_of(kind, first_rung={"images": 1000}, reduction=3)
    assert rungs(ladder) == ((1000, 3000, 9000, 27_000, 81_000), (1000, 3000, 9000, 27_000))


def test_the_steps_of_a_ladder_are_the_reduction() -> None:
    assert rungs(scheduler_of("halving", first_rung={"images": 1000}, reduction=4)).gates == (1000, 4000, 16_000, 64_000)


def test_gates_are_rounded_up_to_the_unit_so_that_none_comes_before_the_first_rung() -> None:
    ladder = scheduler_of("halving", first_rung={"images": 1000}, reduction=2)
    assert rungs(ladder, images=5000, unit=32).gates == (1024, 2016, 4000)


def test_steps_within_one_unit_are_one_gate() -> None:
    ladder = scheduler_of("halving", first_rung={"images": 1}, reduction=2)
    assert rungs(ladder, images=512, unit=64).gates == (64, 128, 256)


@pytest.mark.parametrize("kind", LADDERS)
@pytest.mark.parametrize("unit_of_rungs", ["images", "flops"])
def test_every_ladder_rises_in_whole_units_from_its_first_rung_and_ends_before_the_end(kind: str, unit_of_rungs: str) -> None:
    luck = random.Random(20_240_611)
    longest = 0
    for _ in range(200):
        patch_size, unit = luck.choice([4, 8, 16]), luck.choice([1, 7, 32, 96])
        images, first_images = unit * luck.randint(1, 3000), luck.randint(1, 20_000)
        each = training_flops(trial_of(patch_size), images=1) if unit_of_rungs == "flops" else 1
        first = float(first_images * each) if unit_of_rungs == "flops" else first_images
        reduction = luck.randint(2, 5)
        ladder = scheduler_of(kind, first_rung={unit_of_rungs: first}, reduction=reduction)
        measured, gates = rungs(ladder, patch_size=patch_size, images=images, unit=unit)
        assert measured == (*gates, images)
        assert all(low < high for low, high in pairwise(measured))
        assert all(gate % unit == 0 for gate in gates)
        assert all(Fraction(gate * each) >= Fraction(first) for gate in gates[:1])
        longest = max(longest, len(gates))
    assert longest > 5


def test_gates_in_flops_stand_at_nearly_the_same_flops_whatever_the_patch_size() -> None:
    """Within one unit of images each, where the costs of an image differ twelvefold."""
    unit = 32
    ladder = scheduler_of("halving", first_rung={"flops": 1e12})
    costs = {size: training_flops(trial_of(size), images=1) for size in (4, 8, 16)}
    assert costs[4] > 12 * costs[16]
    budgets = {size: 1e14 / cost for size, cost in costs.items()}
    gates = {size: rungs(ladder, patch_size=size, images=round(budgets[size]), unit=unit).gates for size in costs}
    assert {size: len(each) for size, each in gates.items()} == {4: 5, 8: 5, 16: 5}
    for size, each in gates.items():
        for power, gate in enumerate(each):
            assert 0 <= gate * costs[size] - 1e12 * 3**power < unit * costs[size]


@pytest.mark.parametrize("unit_of_rungs", ["images", "flops"])
@pytest.mark.parametrize("kind", [*LADDERS, *SPACED])
def test_a_first_rung_at_the_end_or_beyond_it_leaves_no_gate(kind: str, unit_of_rungs: str) -> None:
    each = training_flops(trial_of(8), images=1) if unit_of_rungs == "flops" else 1
    for images in (81_000, 200_000):
        first = images * each if unit_of_rungs == "images" else float(images * each)
        scheduler = scheduler_of(kind, first_rung={unit_of_rungs: first})
        measured, gates = rungs(scheduler)
        assert gates == ()
        assert measured[-1] == 81_000


@pytest.mark.parametrize(
    "scheduler", [scheduler_of("none"), *[scheduler_of(kind, first_rung={"images": 1}) for kind in SPACED]]
)
@pytest.mark.parametrize(
    ("images", "count", "unit", "spaced"),
    [
        (1000, 4, 1, (250, 500, 750)),
        (1000, 4, 32, (256, 512, 736)),
        (1000, 1, 32, ()),
        (64, 8, 32, (32,)),
        (4096, 7, 96, (576, 1152, 1728, 2304, 2880, 3552)),
    ],
)
def test_without_a_ladder_rungs_are_equally_spaced_to_the_nearest_unit(
    scheduler: Early | NoScheduler, images: int, count: int, unit: int, spaced: tuple[int, ...]
) -> None:
    measured, gates = rungs(scheduler, images=images, count=count, unit=unit)
    assert measured == (*spaced, images)
    assert gates == (() if isinstance(scheduler, NoScheduler) else spaced)


@pytest.mark.parametrize("kind", SPACED)
def test_equally_spaced_gates_begin_at_the_first_rung(kind: str) -> None:
    scheduler = scheduler_of(kind, first_rung={"images": 400})
    assert rungs(scheduler, images=1000, count=5) == ((200, 400, 600, 800, 1000), (400, 600, 800))
    later = scheduler_of(kind, first_rung={"images": 401})
    assert rungs(later, images=1000, count=5).gates == (600, 800)


@pytest.mark.parametrize("kind", SPACED)
def test_equally_spaced_gates_begin_later_in_images_where_an_image_costs_less(kind: str) -> None:
    scheduler = scheduler_of(kind, first_rung={"flops": 400.0 * training_flops(trial_of(8), images=1)})
    assert rungs(scheduler, patch_size=8, images=1000, count=5).gates == (400, 600, 800)
    assert rungs(scheduler, patch_size=4, images=1000, count=5).gates == (200, 400, 600, 800)
    assert rungs(scheduler, patch_size=16, images=1000, count=5).gates == ()


@pytest.mark.parametrize("first", [{}, {"images": 1000, "flops": 1e9}])
def test_a_first_rung_has_one_unit(first: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must be {images: N} or {flops: N}"):
        scheduler_of("halving", first_rung=first)
