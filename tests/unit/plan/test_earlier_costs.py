"""Budgets that count what arms build on: codes and weights of earlier stages are paid for by the arms that have them."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.cli.plan import trial_rows
from jit_sweep.errors import UserError
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.foundations import earlier_flops, foundations
from jit_sweep.plan.plan import plan
from jit_sweep.plan.waiting import with_arms
from jit_sweep.spec.read import read_spec
from tests.support.sweep_files import write_sweep
from trainables.config.shape import speed_shape
from trainables.networks.cost import training_flops

CODES: dict[str, Any] = {
    "name": "codes",
    "grid": {
        "axes": {"preset": ["autoencoder-tiny"], "code": ["kl", "vq"]},
        "cells": [{"where": {"code": "kl"}, "images_per_trial": 64}, {"where": {"code": "vq"}, "images_per_trial": 128}],
    },
}
FIRST = {
    "name": "first",
    "grid": {"axes": {"prediction": ["x"]}, "cells": [{"where": {"prediction": "x"}, "images_per_trial": 64}]},
}
TUNED_PARENT = {"axes": {"parent": ["first", None]}, "trials": 2}
AT_EQUAL_IMAGES = {"images_per_trial": 64, "count_earlier_stages": True}
BUDGET = {"images_per_trial": 6400, "matched": "flops", "count_earlier_stages": True}


def planned(folder: Path, *stages: dict[str, Any], **changes: Any) -> Plan:
    content = {"baseline": {"preset": "jit-tiny/2"}, "budget": BUDGET, "stages": list(stages), "scheduler": {"kind": "none"}}
    return plan(read_spec(write_sweep(folder, **{**content, **changes})), source="sweep.yaml")


def denoisers(*encoders: str | None, **axes: Any) -> dict[str, Any]:
    return {"name": "denoisers", "grid": {"axes": {"encoder": list(encoders), **axes}}}


def cost(entry: Entry) -> int:
    return training_flops(entry.trial, images=entry.images)


def is_a_batch_apart(entry: Entry, one: float, other: float) -> bool:
    return abs(one - other) <= training_flops(entry.trial, images=entry.trial.batch_size)


def test_an_arm_on_codes_trains_for_what_its_autoencoder_leaves_it(tmp_path: Path) -> None:
    kl, vq, of_kl, of_vq, pixels = planned(tmp_path, CODES, denoisers("codes code=kl", "codes code=vq", None)).entries
    assert pixels.images == 6400
    assert is_a_batch_apart(of_kl, cost(of_kl) + cost(kl), cost(pixels))
    assert is_a_batch_apart(of_vq, cost(of_vq) + cost(vq), cost(pixels))
    assert of_vq.images < of_kl.images
    uncounted = planned(tmp_path, CODES, denoisers("codes code=kl"), budget={**BUDGET, "count_earlier_stages": False})
    assert of_kl.images < uncounted.entries[-1].images


def test_a_baseline_on_codes_pays_for_them_as_its_arms_do(tmp_path: Path) -> None:
    space = {"kind": "latent", "encoder": {"kind": "stage", "stage": "codes", "where": {"code": "kl"}}}
    baseline = {"preset": "jit-tiny/2", "space": space}
    kl, vq, *arms = planned(tmp_path, CODES, denoisers("codes code=kl", "codes code=vq"), baseline=baseline).entries
    of_kl, of_vq = arms
    assert of_kl.images == 6400
    assert is_a_batch_apart(of_vq, cost(of_vq) + cost(vq), cost(of_kl) + cost(kl))


def test_what_an_arm_starts_from_counts_with_all_that_it_was_trained_with(tmp_path: Path) -> None:
    own = {"where": {"prediction": "x"}, "images_per_trial": 320}
    first = {"name": "first", "grid": {"axes": {"encoder": ["codes code=kl"], "prediction": ["x"]}, "cells": [own]}}
    second = {"name": "second", "grid": {"axes": {"encoder": ["codes code=kl"], "parent": ["first", None]}}}
    found = planned(tmp_path, CODES, first, second)
    kl, _, parent, child, from_the_seed = found.entries
    assert is_a_batch_apart(child, cost(child) + cost(parent), cost(from_the_seed)), "the codes' cost is once in each"
    flops = earlier_flops(found.entries)
    assert flops[2, child.label] == cost(kl) + cost(parent)
    assert flops[2, from_the_seed.label] == flops[1, parent.label] == cost(kl)


def test_a_plan_shows_what_an_arm_costs_alone_and_with_what_it_builds_on(tmp_path: Path) -> None:
    kl, _, of_kl, pixels = planned(tmp_path, CODES, denoisers("codes code=kl", None)).entries
    rows = list(trial_rows([of_kl, pixels], earlier_flops([kl, of_kl, pixels])))
    assert [row["train_tflops"] for row in rows] == [cost(of_kl) / 1e12, cost(pixels) / 1e12]
    assert [row.get("earlier_tflops") for row in rows] == [cost(kl) / 1e12, None]


def test_a_guide_is_of_samples_and_counts_in_no_training(tmp_path: Path) -> None:
    own = {"where": {"preset": "classifier-tiny"}, "images_per_trial": 64}
    guides = {"name": "guides", "grid": {"axes": {"preset": ["classifier-tiny"]}, "cells": [own]}}
    found = planned(tmp_path, guides, {"grid": {"axes": {"classifier": ["guides", None], "classifier_scale": [1.0]}}})
    assert [entry.images for entry in found.entries[1:]] == [6400, 6400]
    assert {*earlier_flops(found.entries).values()} == {0}
    assert [each.line.endswith("in no cost of theirs") for each in foundations(found.entries, is_counted=True)] == [True]


def test_device_seconds_count_earlier_trials_at_their_own_speed(tmp_path: Path) -> None:
    own = [{"where": {"preset": "autoencoder-tiny"}, "images_per_trial": 64}]
    alone = {"name": "codes", "grid": {"axes": {"preset": ["autoencoder-tiny"]}, "cells": own}}
    file = {
        "baseline": {"preset": "jit-tiny/2"},
        "budget": {**BUDGET, "matched": "device_seconds"},
        "stages": [alone, denoisers("codes", None)],
        "scheduler": {"kind": "none"},
    }
    spec = read_spec(write_sweep(tmp_path, **file))
    shapes = [speed_shape(entry.trial) for entry in plan(spec, source="sweep.yaml").entries]
    speeds = dict(zip(shapes, (1.0, 200.0, 100.0), strict=True))
    entries = plan(spec, source="sweep.yaml", speeds={**speeds, shapes[0]: 4.0}).entries
    assert [entry.images for entry in entries[1:]] == [(6400 // 100 - 64 // 4) * 200, 6400]
    with pytest.raises(UserError, match="must cost less device-seconds than the baseline in all, got 64 of 64; give"):
        plan(spec, source="sweep.yaml", speeds=speeds)


def test_the_best_codes_are_paid_for_once_they_are_known(tmp_path: Path) -> None:
    found = planned(tmp_path, CODES, denoisers("codes best", None))
    [choice] = found.choices
    known = [with_arms(found, {choice.name: arm}).entries for arm in choice.arms]
    images = [next(entry.images for entry in entries if entry.label == "encoder=codes best") for entries in known]
    named = planned(tmp_path, CODES, denoisers("codes code=kl", "codes code=vq")).entries[2:]
    assert images == [entry.images for entry in named]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"budget": {**BUDGET, "images_per_trial": 32}},
            "the earlier trials of an arm must cost less training TFLOPs than the baseline in all, got 0.0",
        ),
        (
            {"stages": [{"name": "codes", "grid": {"axes": CODES["grid"]["axes"]}}, denoisers("codes code=kl")]},
            "the arms of the stage codes must have images of their own, got `matched`, by which each costs what the",
        ),
        (
            {"stages": [FIRST, {"grid": {"axes": {"prediction": ["x", "v"]}, "nuisance": TUNED_PARENT, "seeds": 3}}]},
            "settings of `nuisance` must build on the same trials, or arms would cost otherwise, got parent=first; make",
        ),
        (
            {
                "baseline": {"preset": "jit-tiny/2", "parent": {"trial": "0123456789ab", "images": 32}},
                "budget": AT_EQUAL_IMAGES,
            },
            "a stage of the sweep, got the `parent` 0123456789ab; name a stage, or leave the count out",
        ),
        (
            {
                "baseline": {"preset": "jit-tiny/2", "parent": {"trial": "0123456789ab", "images": 32}},
                "stages": [{"grid": {"axes": {"prediction": ["x", "v"]}}}],
            },
            "a stage of the sweep, got the `parent` 0123456789ab; name a stage, or leave the count out",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, **{"stages": [CODES, denoisers("codes code=kl")], **changes})
    assert said in str(error.value)
