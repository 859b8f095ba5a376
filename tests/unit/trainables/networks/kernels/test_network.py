"""A whole network on our kernels against torch's. Its trial names a GPU; its weights stay on the CPU, under the interpreter."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.kept import kept_by_autograd
from tests.support.trials import batch, lively, small_model, small_trial
from trainables.networks.kernel_choice import warned
from trainables.networks.memory import Fit, peak_bytes, state_bytes

pytestmark = pytest.mark.slow

MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "jit": ({}, {}),
    "dit": ({"norm": "layer", "mlp": "gelu"}, {}),
    "no class tokens": ({"class_tokens": 0}, {}),
    "class tokens from the first block on": ({"class_tokens_start": 0}, {}),
    "class tokens in the last block": ({"class_tokens_start": 1}, {}),
    "odd sizes": ({"width": 36, "heads": 3, "class_tokens": 5}, {}),
    "dropout": ({"depth": 4, "dropout": 0.3}, {}),
    "bf16": ({}, {"precision": "bf16"}),
    "bf16 residual": ({}, {"precision": "bf16", "residual": "bf16"}),
}


def results(kernels: str, model: dict[str, Any], changes: dict[str, Any], *, recomputed: bool) -> dict[str, Tensor]:
    """The output and every parameter's gradient."""
    small = small_model(**{"patch_size": 8, "width": 24, "depth": 2, "heads": 2, "class_tokens_start": 1, **model})
    trial = small_trial(small, **{"device": "cuda", "kernels": kernels, **changes})
    network = lively(trial).train()
    network.activation_checkpointing = recomputed
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=trial.precision == "bf16"):
        output = network(*batch(2))
    output.float().square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return {"output": output.detach(), **gradients}


RECOMPUTED = ("jit", "class tokens from the first block on", "dropout", "bf16 residual")


@pytest.mark.parametrize(("name", "recomputed"), [(n, False) for n in MODELS] + [(n, True) for n in RECOMPUTED])
def test_output_and_gradients_are_those_of_torch_s_kernels(
    name: str, recomputed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warned.clear()
    model, changes = MODELS[name]
    found, expected = (results(kernels, model, changes, recomputed=recomputed) for kernels in ("triton", "torch"))
    assert found.keys() == expected.keys()
    tolerance = 3e-2 if "precision" in changes else 1e-5
    for parameter, theirs in expected.items():
        assert (found[parameter] - theirs).norm() <= tolerance * theirs.norm(), parameter
    assert not any("norm" in message for message in caplog.messages)


@pytest.mark.slow
@pytest.mark.parametrize("model", [{}, {"mlp": "gelu"}, {"qk_norm": False}], ids=str)
def test_the_memory_model_follows_what_autograd_keeps(model: dict[str, Any]) -> None:
    trial = small_trial(small_model(depth=3, **model), device="cuda", kernels="triton")
    more, fewer = (kept_by_autograd(trial, images=images) for images in (3, 1))
    modelled = peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial)
    assert 0.85 < 2 * modelled / (more - fewer) < 1.5
