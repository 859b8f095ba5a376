"""The memory model: what it grows with, what it chooses, and that it follows what autograd really keeps."""

from typing import Any

import pytest

from search_spaces.presets import preset
from tests.support.kept import kept_by_autograd
from tests.support.trials import small_model, small_trial, trial_of_recipe
from trainables.config.trial import DataConfig, TrialConfig
from trainables.evaluation.batch_size import images_at_once
from trainables.networks.cost import parameter_count
from trainables.networks.memory import HEADROOM, Fit, Infeasible, fit, peak_bytes, state_bytes

GIB = 2**30
KEPT, RECOMPUTED = (Fit(1, activation_checkpointing=recomputed) for recomputed in (False, True))


def big(name: str, *, image_size: int, **changes: object) -> TrialConfig:
    data = DataConfig(digest="none", image_size=image_size, num_classes=1000)
    return trial_of_recipe(preset(name), data=data, **changes)


def test_the_state_is_weights_gradients_moments_averages_and_the_copies_of_autocast() -> None:
    count = parameter_count(small_trial())
    assert state_bytes(small_trial()) == 5 * 4 * count
    assert state_bytes(small_trial(ema=())) == 4 * 4 * count
    assert state_bytes(small_trial(precision="bf16")) == (5 * 4 + 2) * count


def test_the_peak_grows_with_images_and_shrinks_where_activations_are_recomputed() -> None:
    trial = big("jit-b/8", image_size=128)
    per_image = peak_bytes(trial, Fit(2, activation_checkpointing=False)) - peak_bytes(trial, KEPT)
    assert peak_bytes(trial, KEPT) == state_bytes(trial) + per_image
    assert peak_bytes(trial, RECOMPUTED) < peak_bytes(trial, KEPT) - per_image / 2


def test_attention_written_out_costs_memory_with_the_square_of_the_tokens() -> None:
    def extra(patch: int) -> int:
        plain, written = (big(f"jit-b/{patch}", image_size=128, attention=mode) for mode in ("sdpa", "fp32"))
        return peak_bytes(written, KEPT) - peak_bytes(plain, KEPT)

    assert extra(4) > 8 * extra(8)


@pytest.mark.parametrize("patch", [1, 2, 4, 8, 16, 32])
def test_every_patch_size_of_a_base_model_at_128_px_trains_within_80_gb_at_one_global_batch(patch: int) -> None:
    how = fit(big(f"jit-b/{patch}", image_size=128), share=128, memory_bytes=79 * GIB)
    assert 128 % how.micro_batch == 0
    assert peak_bytes(big(f"jit-b/{patch}", image_size=128), how) <= HEADROOM * 79 * GIB


def test_a_small_patch_is_recomputed_rather_than_cut_into_single_images_only_where_a_gpu_would_idle() -> None:
    roomy, tight = (fit(big("jit-b/8", image_size=128), share=256, memory_bytes=size * GIB) for size in (80, 6))
    assert roomy == Fit(256, activation_checkpointing=False)
    assert tight.activation_checkpointing
    assert tight.micro_batch > 8


def test_what_does_not_fit_is_infeasible_with_the_memory_that_one_image_takes() -> None:
    with pytest.raises(Infeasible, match=r"one image must fit .* got [\d.]+ GiB of 2; try"):
        fit(big("jit-b/1", image_size=128), share=8, memory_bytes=2 * GIB)


def test_what_is_asked_for_is_kept_to_and_refused_where_it_does_not_fit() -> None:
    trial = small_trial()
    assert fit(trial, share=4, memory_bytes=None) == Fit(4, activation_checkpointing=False)
    assert fit(trial, share=4, memory_bytes=None, micro_batch=3) == Fit(3, activation_checkpointing=False)
    assert fit(trial, share=4, memory_bytes=GIB, micro_batch=9) == Fit(4, activation_checkpointing=False)
    large = big("jit-b/8", image_size=128)
    kept = fit(large, share=256, memory_bytes=6 * GIB, activation_checkpointing=False)
    assert kept == Fit(8, activation_checkpointing=False)
    with pytest.raises(Infeasible, match="256 images at once must fit"):
        fit(large, share=256, memory_bytes=6 * GIB, micro_batch=256)


def test_several_workers_hold_their_gradients_once_more_only_where_they_round_them_to_sum_them() -> None:
    plain, rounded = small_trial(), small_trial(gradient_sum="bf16")
    assert state_bytes(plain, workers=2) == state_bytes(plain) == state_bytes(rounded)
    assert state_bytes(rounded, workers=2) - state_bytes(rounded) == 2 * parameter_count(rounded)


def test_a_compiled_backward_pass_hands_over_its_gradients_beside_those_that_are_there() -> None:
    eager, compiled = (big("jit-h/16", image_size=32, compile=each) for each in (False, True))
    handed_over = 4 * parameter_count(compiled)
    assert peak_bytes(eager, KEPT) < peak_bytes(compiled, KEPT) == state_bytes(compiled) + handed_over
    many = Fit(128, activation_checkpointing=False)
    assert peak_bytes(eager, many) == peak_bytes(compiled, many) > state_bytes(compiled) + handed_over


@pytest.mark.parametrize(("attention", "least"), [("sdpa", 8), ("fp32", 1)])
def test_an_evaluation_takes_fewer_images_at_once_where_attention_is_written_out(attention: str, least: int) -> None:
    trial = big("jit-b/1", image_size=128, attention=attention, device="cuda", precision="bf16")
    assert images_at_once(trial, device="cuda") == least
    assert images_at_once(small_trial(), device="cpu") > 64


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ({}, {}),
        ({"width": 96, "heads": 6}, {}),
        ({"mlp": "gelu"}, {}),
        ({}, {"attention": "fp32"}),
        ({"depth": 8}, {}),
        ({"dropout": 0.2}, {}),
        ({}, {"precision": "bf16"}),
        ({}, {"precision": "bf16", "residual": "bf16"}),
    ],
    ids=["base", "wide", "gelu", "fp32 attention", "deep", "dropout", "bf16", "bf16 residual"],
)
def test_the_model_follows_what_autograd_keeps(model: dict[str, Any], changes: dict[str, Any]) -> None:
    trial = small_trial(small_model(patch_size=2, **model), **changes)
    more, fewer = (kept_by_autograd(trial, images=images) for images in (12, 4))
    modelled = peak_bytes(trial, KEPT) - state_bytes(trial)
    assert 0.85 < 8 * modelled / (more - fewer) < 1.5
