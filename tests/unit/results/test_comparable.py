"""What keeps arms from being compared, by the name of the field; and whether an arm had learned what it could."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jit_sweep.ledger.records import RungRow
from jit_sweep.plan.questions import Question
from jit_sweep.results.arms import Arm, Convergence
from jit_sweep.results.comparable import refusal
from jit_sweep.results.convergence import with_convergence
from jit_sweep.results.leaderboard import read_results
from tests.support.ledger import OBJECTIVE, LedgerFixture
from tests.support.scored_arms import ERROR, train_arm
from trainables.evaluation.metrics.registry import metric_of

INCEPTION = {"kind": "inception", "weights": "/weights.pth", "sha256": "0" * 64}
SHARED: dict[str, Any] = {"objective": OBJECTIVE, "marks": {}}


@pytest.fixture
def arms(ledger: LedgerFixture) -> list[Arm]:
    for prediction in ("x", "v"):
        train_arm(ledger, {"prediction": prediction}, [1.0, 1.1, 1.05])
    return sorted(read_results(ledger.reader, "mine").arms, key=lambda arm: arm.position)


def otherwise(arm: Arm, part: str, key: str, value: Any) -> Arm:
    """An arm whose trials have another setting; a trial's id is that of the trial as it is then."""

    def changed(text: str) -> str:
        tree = json.loads(text)
        (tree["data"] if key == "digest" else tree)[key] = value
        return json.dumps(tree)

    changes: list[dict[str, Any]] = [{part: changed(getattr(trial.entry, part))} for trial in arm.trials]
    entries = [replace(trial.entry, **change) for trial, change in zip(arm.trials, changes, strict=True)]
    trials = [replace(entry, trial_id=entry.trial.id) for entry in entries]
    return replace(arm, trials=tuple(replace(t, entry=e) for t, e in zip(arm.trials, trials, strict=True)))


def masked_tokens(arm: Arm, key: str, value: Any) -> Arm:
    """An arm of that method with a setting of its head."""
    tokens = otherwise(arm, "evaluation_json", key, value)
    method = {"kind": "masked_tokens"}
    entries = [
        replace(t.entry, trial_json=json.dumps({**json.loads(t.entry.trial_json), "method": method})) for t in tokens.trials
    ]
    return replace(tokens, trials=tuple(replace(t, entry=e) for t, e in zip(tokens.trials, entries, strict=True)))


def asked(arms: Sequence[Arm], *axes: str) -> Question:
    return Question.pair(axes or ("prediction",), arms[0].arm, arms[1].arm)


@pytest.mark.parametrize(
    ("part", "key", "value", "field"),
    [
        ("trial_json", "precision", "bf16", "precision"),
        ("trial_json", "device", "cuda", "device"),
        ("trial_json", "batch_size", 24, "batch_size"),
        ("trial_json", "digest", "0" * 64, "data"),
        ("evaluation_json", "seed", 7, "evaluation.seed"),
        ("evaluation_json", "n", 50, "evaluation.n"),
        ("evaluation_json", "guidance", 2.0, "evaluation.guidance"),
        ("evaluation_json", "steps", 7, "evaluation.steps"),
        ("evaluation_json", "labels", "drawn", "evaluation.labels"),
        ("evaluation_json", "weights", "raw", "evaluation.weights"),
        ("evaluation_json", "features", INCEPTION, "evaluation.features"),
        ("evaluation_json", "reference", {"file": "a.statistics", "sha256": "0" * 64}, "evaluation.reference"),
    ],
)
def test_arms_that_differ_besides_what_is_asked_are_refused_by_the_field(
    arms: list[Arm], part: str, key: str, value: Any, field: str
) -> None:
    one, other = arms
    assert refusal(asked(arms), [one, other], **SHARED) == ""
    assert refusal(asked(arms), [one, otherwise(other, part, key, value)], **SHARED).startswith(f"{field}: ")


def test_what_the_question_is_about_may_differ_in_the_field_that_it_sets(arms: list[Arm]) -> None:
    one, other = arms
    shorter = otherwise(other, "evaluation_json", "steps", 7)
    assert refusal(asked(arms, "sampling_steps"), [one, shorter], **SHARED) == ""


@pytest.mark.parametrize(("key", "value"), [("head_steps", 25), ("temperature", 0.9), ("token_limit", 3.0)])
def test_a_setting_that_one_method_alone_reads_keeps_no_other_from_being_compared(
    arms: list[Arm], key: str, value: Any
) -> None:
    one, other = arms
    assert refusal(asked(arms, "method"), [one, otherwise(other, "evaluation_json", key, value)], **SHARED) == ""
    masked = masked_tokens(other, key, value)
    assert refusal(asked(arms, "method"), [one, masked], **SHARED) == ""
    again = masked_tokens(other, key, 2 * value)
    assert refusal(asked(arms, "method"), [masked, again], **SHARED).startswith(f"evaluation.{key}: ")


def test_a_difference_is_seen_whichever_arm_reads_it(arms: list[Arm]) -> None:
    one, other = arms
    masked, shorter = (
        masked_tokens(other, "n", one.trials[0].entry.evaluation.n),
        otherwise(other, "evaluation_json", "shift", 2.0),
    )
    for three in ([masked, one, shorter], [one, shorter, masked]):
        assert refusal(asked(arms, "method"), three, **SHARED).startswith("evaluation.shift: ")


def test_what_an_arm_alone_says_stays_in_sight_beside_a_preset(arms: list[Arm]) -> None:
    one, other = (
        replace(arm, arm={"preset": "jit-tiny", "encoder": f"codes code={code}"}) for arm, code in zip(arms, "ab", strict=True)
    )
    by_error = {**SHARED, "objective": "heldout_latent_error"}
    assert refusal(asked([one, other], "preset", "encoder"), [one, other], **by_error) == (
        "objective: heldout_latent_error says nothing along encoder"
    )


def test_a_preset_is_compared_along_no_axis_that_the_metric_is_blind_to(arms: list[Arm]) -> None:
    one, other = arms
    assert "noise_scale" in metric_of(ERROR).blind_to
    noisier = otherwise(
        other, "trial_json", "diffusion", {**other.trials[0].entry.trial.diffusion.model_dump(), "noise_scale": 2.0}
    )
    by_error = {**SHARED, "objective": ERROR}
    assert refusal(asked(arms, "preset"), [one, other], **by_error) == ""
    assert refusal(asked(arms, "preset"), [one, noisier], **by_error) == f"objective: {ERROR} says nothing along noise_scale"
    assert refusal(asked(arms, "preset"), [one, noisier], **SHARED) == ""


def test_a_trial_of_another_version_of_the_maths_is_refused(arms: list[Arm]) -> None:
    one, other = arms
    old = [replace(trial, entry=replace(trial.entry, sweep="old", trial_id="0" * 12)) for trial in other.trials]
    earlier = replace(other, trials=tuple(old))
    assert refusal(asked(arms), [one, earlier], **SHARED) == "maths_version: 2 and an earlier one"


def test_arms_that_are_matched_in_flops_may_differ_in_images_and_in_nothing_more(arms: list[Arm]) -> None:
    one, other = arms
    longer = replace(other, images=other.images * 2)
    assert refusal(asked(arms), [one, longer], **SHARED).startswith("images: ")
    assert refusal(asked(arms), [one, longer], matched="flops", **SHARED) == ""
    trials = [replace(trial, entry=replace(trial.entry, images=2 * trial.entry.images)) for trial in other.trials]
    costly = replace(other, trials=tuple(trials))
    assert refusal(asked(arms), [one, costly], matched="flops", **SHARED).startswith("training FLOPs: ")


@pytest.mark.parametrize(
    ("convergence", "refused"),
    [
        (Convergence(ERROR, gain=0.001, noise=0.01), ""),
        (Convergence(ERROR, gain=0.02, noise=0.01), "convergence: prediction=v would gain 2.0 % in heldout_v_error"),
        (None, "convergence: not known of prediction=v, which needs three rungs"),
    ],
)
def test_patch_sizes_are_compared_where_both_had_converged(
    arms: list[Arm], convergence: Convergence | None, refused: str
) -> None:
    done = Convergence(ERROR, gain=0.0, noise=0.01)
    pair = [replace(arms[0], convergence=done), replace(arms[1], convergence=convergence)]
    said = refusal(asked(arms, "patch_size"), pair, **SHARED)
    assert said.startswith(refused) if refused else said == ""
    assert refusal(asked(arms), pair, **SHARED) == ""


def rungs_of(arm: Arm, curve: Sequence[float], *, luck: float, metric: str = ERROR) -> list[RungRow]:
    """Rungs equally far apart, the last at the end; each seed's lie a little higher than the one before."""
    at = [arm.images * (k + 1) // len(curve) for k in range(len(curve))]
    return [
        RungRow(trial.entry.trial_id, images, metric, "evaluated", value * math.exp(luck * number), 1, 0.0)
        for number, trial in enumerate(arm.trials)
        for images, value in zip(at, curve, strict=True)
    ]


def test_an_arm_has_converged_where_a_quarter_more_would_bring_less_than_a_seed_s_noise(arms: list[Arm]) -> None:
    one, other = arms
    falling = [math.exp(-0.1 * step) for step in range(4)]
    rungs = rungs_of(one, falling, luck=0.02) + rungs_of(other, [0.5, 0.4, 0.4, 0.4], luck=0.02)
    known = [arm.convergence for arm in with_convergence(arms, rungs, metric=ERROR)]
    assert [found and found.converged for found in known] == [False, True]
    assert known[0] is not None
    assert known[0].gain == pytest.approx(0.1, rel=1e-6)
    assert known[0].noise == pytest.approx(0.02)


def test_arms_of_several_methods_converge_each_by_its_own_error_and_noise(arms: list[Arm]) -> None:
    one, other = arms
    own = "heldout_masked_error"
    falling = [math.exp(-0.1 * step) for step in range(4)]
    rungs = rungs_of(one, falling, luck=0.02) + rungs_of(other, falling, luck=0.5, metric=own)
    known = [arm.convergence for arm in with_convergence(arms, rungs, metric=ERROR)]
    assert [found and (found.metric, found.converged) for found in known] == [(ERROR, False), (own, True)]
    assert [found and round(found.noise, 9) for found in known] == [0.02, 0.5]


def test_nothing_is_said_of_convergence_with_two_rungs_or_before_the_end(arms: list[Arm]) -> None:
    one, other = arms
    rungs = rungs_of(one, [0.5, 0.4], luck=0.02) + rungs_of(replace(other, images=other.images // 2), [0.5, 0.4, 0.3], luck=0.1)
    assert [arm.convergence for arm in with_convergence(arms, rungs, metric=ERROR)] == [None, None]
