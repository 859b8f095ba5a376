"""What only a GPU can show: draws made there, no waiting for the device, fused attention, and memory as the model has it."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.presets import preset
from tests.support.images import NoiseImages
from tests.support.trials import batch, lively, small_model, small_trial, trial_of_recipe
from trainables.config.network import ModelConfig
from trainables.config.recipe import Compile
from trainables.config.trial import DataConfig, TrialConfig
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.networks.memory import Fit, peak_bytes
from trainables.networks.sizes import mlp_hidden
from trainables.training.batches import draws_on
from trainables.training.learner import Learner
from trainables.training.workers import Workers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda")


IMAGES = NoiseImages(64, size=16, classes=5)


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    """Any call that makes the host wait for the device raises."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def learner(*, micro_batch: int = 8, recomputed: bool = False, **changes: Any) -> Learner:
    trial = small_trial(device="cuda", batch_size=8, **changes)
    return Learner(trial, IMAGES, workers=Workers(), fit=Fit(micro_batch, activation_checkpointing=recomputed))


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize(
    ("seed", "purpose", "first"), [(0, Purpose.ORDER, 0), (12345, Purpose.NOISE, 7), (2**53, Purpose.TIME, 2**40)]
)
def test_the_uniforms_drawn_on_the_device_are_numpys(seed: int, purpose: Purpose, first: int, tensor: bool) -> None:
    named = torch.tensor(first, device=GPU) if tensor else first
    found = draws_on(GPU, seed=seed).uniform(purpose, first=named, count=1000)
    assert torch.equal(found.cpu(), PhiloxDraws(seed).uniform(purpose, first=first, count=1000))


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 5, 7)])
def test_the_numbers_drawn_on_the_device_are_the_hosts(shape: tuple[int, ...]) -> None:
    device, host = draws_on(GPU, seed=5), PhiloxDraws(5)
    found = device.normal(Purpose.NOISE, first=3, count=9, shape=shape)
    torch.testing.assert_close(found.cpu(), host.normal(Purpose.NOISE, first=3, count=9, shape=shape), rtol=1e-5, atol=2e-6)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize(
    "changes",
    [{}, {"precision": "bf16"}, {"optimiser": {"grad_clip": 0.1}}, {"optimiser": {"method": "muon"}}],
    ids=["fp32", "bf16", "clip", "muon"],
)
def test_no_update_waits_for_the_device(changes: dict[str, Any]) -> None:
    trained = learner(micro_batch=4, **changes)
    trained.update()
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(3):
        trained.update()


def test_the_check_for_waiting_can_fail() -> None:
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones((), device=GPU).item()
    torch.cuda.set_sync_debug_mode("default")


def test_a_gpu_trains_what_a_cpu_does() -> None:
    on_gpu = learner()
    on_cpu = Learner(small_trial(batch_size=8), IMAGES, workers=Workers())
    for _ in range(4):
        on_gpu.update()
        on_cpu.update()
    assert on_gpu.health.mean_loss() == pytest.approx(on_cpu.health.mean_loss(), rel=1e-4)


LONG = small_model(patch_size=1, width=192, heads=3, class_tokens=32)
"""256 tokens and 32 of the class: torch's fused attentions add with atomics from here on."""


@pytest.mark.parametrize(("model", "attention"), [(small_model(), "sdpa"), (LONG, "triton"), (LONG, "fp32")])
def test_the_same_trial_on_one_gpu_gives_the_same_weights_bit_for_bit(model: ModelConfig, attention: str) -> None:
    first, second = (learner(precision="bf16", model=model, attention=attention) for _ in range(2))
    for trained in (first, second):
        for _ in range(5):
            trained.update()
    pairs = zip(first.network.parameters(), second.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("way", "recomputed"), [(True, False), ("blocks", False), ("blocks", True)])
def test_a_compiled_step_serves_the_next_trials_and_gives_their_weights_again(way: Compile, recomputed: bool) -> None:
    def weights(seed: int, mu: float) -> list[Tensor]:
        changes = {"t_sampling": {"kind": "logit_normal", "mu": mu}}
        trained = learner(recomputed=recomputed, compile=way, seed=seed, precision="bf16", diffusion=changes)
        for _ in range(3):
            trained.update()
        return [parameter.detach().clone() for parameter in trained.network.parameters()]

    first = weights(0, -0.8)
    for seed in range(1, 12):
        weights(seed, -0.8 + 0.1 * seed)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(0, -0.8), strict=True))


@pytest.mark.parametrize(("tokens", "head_dim"), [(5, 16), (70, 24), (256, 64), (288, 64), (300, 128)])
def test_our_attention_in_bf16_is_the_softmax_written_out(tokens: int, head_dim: int) -> None:
    from trainables.networks.kernels.attention import attention

    generator = torch.Generator(GPU).manual_seed(0)
    q, k, v, dout = torch.randn(4, 2, tokens, 3, head_dim, generator=generator, device=GPU).bfloat16().transpose(2, 3).unbind()
    leaves = [each.detach().requires_grad_() for each in (q, k, v)]
    wide = [each.double().requires_grad_() for each in (q, k, v)]
    weights = (wide[0] @ wide[1].mT / head_dim**0.5).softmax(dim=-1)
    exact, found = weights @ wide[2], attention(leaves[0], leaves[1], leaves[2])
    pairs = zip(torch.autograd.grad(found, leaves, dout), torch.autograd.grad(exact, wide, dout.double()), strict=True)
    for ours, theirs in ((found, exact), *pairs):
        assert float((ours.double() - theirs).norm() / theirs.norm()) < 8e-3


def test_our_attention_is_used_where_it_is_asked_for() -> None:
    trained = learner(attention="triton", precision="bf16")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        trained.update()
    assert {"_attention_forward", "_attention_queries", "_attention_keys"} <= {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("mode", ["cudnn", "flash"])
def test_a_fused_attention_is_used_where_it_is_asked_for_and_demanded_loudly(mode: str) -> None:
    trained = learner(model=small_model(heads=3), attention=mode, precision="bf16")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        trained.update()
    assert any(mode in event.key for event in profile.key_averages())
    odd = learner(model=small_model(width=4 * 260, heads=4), attention=mode, precision="bf16")
    with pytest.raises(RuntimeError, match="No available kernel"):
        odd.update()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_hidden_width_that_is_no_multiple_of_eight_computes_what_a_cpu_does(precision: str) -> None:
    model = small_model(width=40, heads=2)
    assert mlp_hidden(model) % 8
    z, t, y = batch()
    network = lively(small_trial(model, precision=precision))
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        found = copy.deepcopy(network).to(GPU)(z.to(GPU), t.to(GPU), y.to(GPU))
    tolerance = 1e-4 if precision == "fp32" else 5e-2
    expected = network(z, t, y)
    assert float((found.cpu() - expected).norm() / expected.norm()) < tolerance


def of_preset(name: str, *, image_size: int, **changes: object) -> TrialConfig:
    data = DataConfig(digest="none", image_size=image_size, num_classes=1000)
    return trial_of_recipe(preset(name), **{"data": data, "device": "cuda", "batch_size": 64, **changes})


PEAKS = [
    ("jit-b/16", 256, Fit(16, activation_checkpointing=False), {}),
    ("jit-b/16", 256, Fit(16, activation_checkpointing=False), {"attention": "triton"}),
    ("jit-b/16", 256, Fit(16, activation_checkpointing=False), {"attention": "cudnn"}),
    ("jit-b/16", 256, Fit(16, activation_checkpointing=False), {"attention": "flash"}),
    ("jit-b/16", 256, Fit(64, activation_checkpointing=True), {}),
    ("jit-b/4", 128, Fit(4, activation_checkpointing=False), {}),
    ("jit-b/2", 128, Fit(4, activation_checkpointing=True), {}),
    ("jit-b/4", 64, Fit(8, activation_checkpointing=False), {"attention": "fp32"}),
    ("jit-l/16", 256, Fit(8, activation_checkpointing=False), {}),
    ("jit-s/8", 64, Fit(64, activation_checkpointing=False), {"precision": "fp32"}),
    ("dit-s/4", 64, Fit(32, activation_checkpointing=False), {}),
    ("jit-b/4", 128, Fit(4, activation_checkpointing=False), {"graphs": True}),
    ("jit-s/16", 64, Fit(1, activation_checkpointing=False), {"compile": True, "batch_size": 2}),
    ("jit-s/16", 64, Fit(1, activation_checkpointing=False), {"compile": "blocks", "batch_size": 2}),
    ("jit-b/16", 256, Fit(64, activation_checkpointing=False), {"kernels": "triton"}),
    ("jit-b/16", 256, Fit(64, activation_checkpointing=False), {"kernels": "triton", "residual": "bf16"}),
    ("jit-b/16", 256, Fit(64, activation_checkpointing=True), {"kernels": "triton", "residual": "bf16"}),
    ("jit-l/16", 256, Fit(16, activation_checkpointing=False), {"residual": "bf16"}),
]


@pytest.mark.parametrize(("name", "image_size", "how", "changes"), PEAKS, ids=lambda value: str(value))
def test_the_memory_model_follows_the_measured_peak(name: str, image_size: int, how: Fit, changes: dict[str, object]) -> None:
    trial = of_preset(name, image_size=image_size, **{"batch_size": how.micro_batch, **changes})
    images = NoiseImages(64, size=image_size, classes=1000)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    trained = Learner(trial, images, workers=Workers(), fit=how)
    trained.update()
    torch.cuda.reset_peak_memory_stats()
    trained.update()
    measured = torch.cuda.max_memory_allocated() - before
    ratio = peak_bytes(trial, how) / measured
    assert 0.95 < ratio < 1.3, f"modelled {peak_bytes(trial, how) / 2**30:.2f} GiB, measured {measured / 2**30:.2f}"
