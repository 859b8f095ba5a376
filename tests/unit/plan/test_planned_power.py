"""What `plan` promises of its questions, from a declared or a measured noise."""

import json
import math
from pathlib import Path
from statistics import median, stdev
from typing import Any

import pytest
from scipy import stats

from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.ledger.event_records import MeasuredNoise, NoiseMeasured
from jit_sweep.plan.plan import plan
from jit_sweep.plan.power import arms_of, images_of_a_seed, prospects
from jit_sweep.results.noise import declared_noise, measured_noise
from jit_sweep.spec.sweep import SweepSpec
from tests.support.cli import jit_sweep
from tests.support.played import PlayedHome, planned_file
from tests.support.sweep_files import few_images, tiny_sweep, write_sweep

GRID: dict[str, Any] = {"axes": {"patch_size": [16, 8], "prediction": ["x", "v"]}, "seeds": 4}


def file(tmp_path: Path, **more: Any) -> dict[str, Any]:
    grid = {**GRID, **more.pop("grid", {})}
    return tiny_sweep(data=few_images(tmp_path), stages=[{"grid": grid}], **more)


def test_the_visible_gap_is_that_of_the_seeds_that_are_shared_and_of_all_that_is_asked(tmp_path: Path) -> None:
    planned = plan(SweepSpec.model_validate(file(tmp_path)), source="file")
    contrast, _, interaction = prospects(planned)
    assert (contrast.seeds, contrast.residual_dof, contrast.family) == (4, 9, 3)
    needed = stats.t.ppf(1 - 0.05 / 6, 6) + stats.t.ppf(0.8, 6)
    assert contrast.gap(sigma=0.02) == pytest.approx(needed * 0.02 * math.sqrt(2 / 4))
    assert interaction.gap(sigma=0.02) == pytest.approx(needed * 0.02 * math.sqrt(4 / 4))


def test_a_question_of_each_of_two_stages_with_the_same_arms_knows_its_own(tmp_path: Path) -> None:
    both = file(tmp_path, grid={"axes": {"patch_size": [16, 8]}, "contrasts": [{"axis": "patch_size"}]})
    budget = {"images_per_trial": 64, "matched": "both"}
    planned = plan(SweepSpec.model_validate({**both, "budget": budget}), source="file")
    found = prospects(planned)
    assert [each.stage for each in found] == [0, 1]
    images = [images_of_a_seed(planned, each.stage) for each in found]
    assert images == [
        sum(entry.images for entry in planned.entries if (entry.stage, entry.seed) == (stage, 0)) for stage in (0, 1)
    ]
    assert images[0] != images[1]


def test_a_question_that_cannot_be_decided_is_no_part_of_the_family(tmp_path: Path) -> None:
    cells = [{"where": {"patch_size": 8}, "seeds": 2}]
    asked = prospects(plan(SweepSpec.model_validate(file(tmp_path, grid={"cells": cells})), source="file"))
    assert [(prospect.seeds, prospect.is_decidable, prospect.family) for prospect in asked] == [
        (4, True, 1),
        (2, False, 1),
        (2, False, 1),
    ]


def test_one_seed_more_costs_what_every_arm_trains_on(tmp_path: Path) -> None:
    cells = [{"where": {"patch_size": 8}, "images_per_trial": 32}]
    planned = plan(SweepSpec.model_validate(file(tmp_path, grid={"cells": cells})), source="file")
    assert (arms_of(planned, 0), images_of_a_seed(planned, 0)) == (4, 2 * 16 + 2 * 32)


@pytest.mark.slow
def test_noise_is_what_was_measured_last_else_the_median_spread_of_the_arms_that_the_ledger_has(tmp_path: Path) -> None:
    home, tree = PlayedHome(tmp_path), file(tmp_path)
    home.run(tree)
    planned, rows = planned_file(tree), home.rows()
    scores = {score.trial_id: math.log(score.values[planned.spec.objective]) for score in home.reader.scores(home.name)}
    arms = {json.dumps(dict(row.arm)) for row in rows}
    spreads = [stdev(scores[row.trial_id] for row in rows if json.dumps(dict(row.arm)) == arm) for arm in arms]
    noise = measured_noise(home.reader, planned)
    assert noise is not None
    assert noise.sigma == pytest.approx(median(spreads))
    assert noise.source == "the median of 4 arms in the ledger"
    typical = {planned.spec.objective: MeasuredNoise(retraining=0.03, resampling=0.04)}
    log = EvaluationLog(home.engine)
    for seeds in (2, 4):
        log.add(NoiseMeasured(images=64, seeds=seeds, draws=3, arms={}, typical=typical, correlation={}), sweep=home.name)
    noise = measured_noise(home.reader, planned)
    assert noise is not None
    assert (noise.sigma, noise.source) == (0.05, f"measured by `noise` on {home.name}, 4 seeds and 3 draws")
    longer = measured_noise(home.reader, planned_file({**tree, "budget": {**tree["budget"], "images_per_trial": 64}}))
    assert longer is not None
    assert longer.source == f"{noise.source}, of another baseline or budget"


def test_a_declared_noise_is_a_share_of_a_distance(tmp_path: Path) -> None:
    noise = declared_noise(plan(SweepSpec.model_validate(file(tmp_path, noise=0.02)), source="file"))
    assert noise is not None
    assert noise.sigma == pytest.approx(math.log(1.02))


@pytest.mark.slow
def test_plan_says_what_its_questions_can_tell_and_what_seeds_buy(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, **file(tmp_path, noise=0.02))
    shown = jit_sweep("plan", path, "--power", cwd=tmp_path).stdout
    assert "3 planned questions, answered together at alpha 0.05; noise over seeds 2.0 %, declared" in shown
    assert "one seed more of every arm of stage 0 trains on 64 images" in shown
    assert "interaction gap" in shown
