"""A part of a network is one class and one line of the registry: count, cost, memory and initial weights follow it."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.presets import PRESETS, preset
from tests.support.trials import batch, small_model, small_trial
from trainables.config.fields import Frozen, identity
from trainables.config.trial import DataConfig, TrialConfig
from trainables.networks.cost import forward_macs, parameter_count, training_flops
from trainables.networks.memory import Fit, peak_bytes
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.registry import EMBEDDINGS, HEADS, build
from trainables.training.step import EagerStep

KEPT = 12_345


class HiddenHead(Frozen):
    """A head with one hidden layer."""

    kind: Literal["hidden"] = "hidden"


class ScaledEmbedding(Frozen):
    """A linear embedding without bias, scaled by a learned number for each channel of the token."""

    kind: Literal["scaled"] = "scaled"


@dataclass(frozen=True)
class HiddenHeadPart:
    """width -> 2 width -> patch, without biases, and open at first."""

    trial: TrialConfig

    def parameters(self) -> int:
        return 2 * self.trial.model.width * (self.trial.model.width + self.trial.token_dim)

    def macs(self) -> Macs:
        return Macs(self.trial.grid**2 * self.parameters())

    def activation_bytes(self, *, recomputed: bool) -> int:
        return KEPT

    def initial(self, name: str) -> Initial:
        return "xavier" if name.startswith("0.") else "normal"

    def module(self) -> nn.Module:
        width = self.trial.model.width
        first, last = nn.Linear(width, 2 * width, bias=False), nn.Linear(2 * width, self.trial.token_dim, bias=False)
        return nn.Sequential(first, nn.SiLU(), last)


@dataclass(frozen=True)
class ScaledEmbeddingPart:
    """A convolution whose stride is its size, and a scale."""

    trial: TrialConfig

    def parameters(self) -> int:
        return self.trial.model.width * (self.trial.token_dim + 1)

    def macs(self) -> Macs:
        macs = self.trial.grid**2 * self.trial.token_dim * self.trial.model.width
        return Macs(macs, input_gradient=macs)

    def activation_bytes(self, *, recomputed: bool) -> int:
        return 2 * KEPT

    def initial(self, name: str) -> Initial:
        return "ones" if name == "scale" else "xavier"

    def module(self) -> nn.Module:
        return _Scaled(self.trial)


class _Scaled(nn.Module):
    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        patch = trial.model.patch_size
        self.cut = nn.Conv2d(trial.data.channels, trial.model.width, patch, stride=patch, bias=False)
        self.scale = nn.Parameter(torch.empty(trial.model.width))

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, D]."""
        tokens: Tensor = self.cut(images).flatten(2).transpose(1, 2) * self.scale
        return tokens


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> TrialConfig:
    """A trial with a head and an embedding of its own, registered for this test alone."""
    monkeypatch.setitem(HEADS, "hidden", HiddenHeadPart)
    monkeypatch.setitem(EMBEDDINGS, "scaled", ScaledEmbeddingPart)
    # The CPU's own RMSNorm takes a row sum as a product, which would be counted.
    plain = small_trial(small_model(norm="layer", qk_norm=False), attention="fp32")
    parts: dict[str, Any] = {"head": HiddenHead(), "embedding": ScaledEmbedding()}
    return plain.model_copy(update={"model": plain.model.model_copy(update=parts)})


def test_a_new_head_and_a_new_embedding_are_counted_as_torch_counts_them(trial: TrialConfig) -> None:
    network = build(trial)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = network(*batch(4))
    assert output.shape == (4, 3, 16, 16)
    assert counter.get_total_flops() == 4 * 2 * forward_macs(trial)
    with FlopCounterMode(display=False) as counter:
        network(*batch(4)).square().sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=4)


def test_their_tensors_start_as_they_say_and_the_trunk_s_as_ever(trial: TrialConfig) -> None:
    weights, plain = build(trial).state_dict(), build(small_trial(small_model(norm="layer", qk_norm=False))).state_dict()
    assert (weights["embedding.scale"] == 1).all()
    assert weights["embedding.cut.weight"].std() > 0
    assert weights["head.2.weight"].std() == pytest.approx(0.02, rel=0.1)
    assert weights["head.0.weight"].abs().max() <= (6 / (3 * trial.model.width)) ** 0.5
    trunk = [name for name in plain if not name.startswith(("head.", "embedding."))]
    assert len(trunk) > 10
    assert all(torch.equal(weights[name], plain[name]) for name in trunk)


def test_their_activations_count_in_the_memory_of_each_image(trial: TrialConfig) -> None:
    plain = small_trial(small_model(norm="layer", qk_norm=False), attention="fp32")
    one, two = (Fit(images, activation_checkpointing=False) for images in (1, 2))
    images = 2 * 3 * 16 * 16 * 4
    with_parts, without = (peak_bytes(each, two) - peak_bytes(each, one) for each in (trial, plain))
    assert with_parts - without == 3 * KEPT - images


def test_a_step_trains_a_network_of_new_parts(trial: TrialConfig) -> None:
    step = EagerStep(trial)
    assert {name.partition(".")[0] for name, _ in step.network.named_parameters()} >= {"embedding", "head"}


def test_the_linear_head_is_not_hashed_so_that_ids_from_before_heads_had_names_stay() -> None:
    assert "head" not in identity(small_model())
    assert "head" not in identity(small_trial())["model"]
    data = DataConfig(digest="0", image_size=16, num_classes=9)
    one, same = (
        TrialConfig.model_validate({"model": {**small_model().model_dump(exclude={"head"}), **head}, "data": data})
        for head in ({}, {"head": {"kind": "linear"}})
    )
    assert one.id == same.id


def test_another_head_is_written_and_makes_another_trial(trial: TrialConfig) -> None:
    linear = trial.model_copy(update={"model": trial.model.model_copy(update={"head": small_model().head})})
    with pytest.warns(UserWarning, match="serial"):
        assert trial.id != linear.id


def test_every_preset_s_parts_are_registered() -> None:
    models = [preset(name).model for name in PRESETS]
    assert {model.embedding.kind for model in models} <= EMBEDDINGS.keys()
    assert {model.head.kind for model in models} <= HEADS.keys()
