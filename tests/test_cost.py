"""The closed forms of parameters and multiply-adds against the paper and against the network itself."""

from itertools import product

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.small_trial import batch, small_model, small_trial
from trainables.config import DataConfig, TrialConfig
from trainables.cost import forward_flops, forward_macs, parameter_count
from trainables.model_config import BottleneckEmbedding, ConvStemEmbedding, LinearEmbedding, ModelConfig
from trainables.network import JiT

SIZES = {
    "B": (768, 12, 12, 128, 4),
    "L": (1024, 24, 16, 128, 8),
    "H": (1280, 32, 16, 256, 10),
    "G": (1664, 40, 16, 256, 10),
}
PAPER = [
    ("B", 16, 131.1, 25),
    ("B", 32, 133.2, 26),
    ("L", 16, 458.9, 88),
    ("L", 32, 461.5, 89),
    ("H", 16, 952.5, 182),
    ("H", 32, 956.1, 183),
    ("G", 16, 2007, 383),
    ("G", 32, None, 384),
]
MODELS = [
    small_model(embedding=embedding, norm=norm, mlp=mlp, rope=rope, qk_norm=rope, class_tokens=tokens, class_tokens_start=start)
    for embedding, (norm, mlp), rope, (tokens, start) in product(
        (LinearEmbedding(), BottleneckEmbedding(dim=7), ConvStemEmbedding()),
        (("rms", "swiglu"), ("layer", "gelu"), ("rms", "gelu")),
        (True, False),
        ((0, 0), (3, 0), (5, 3)),
    )
] + [
    small_model(patch_size=1),
    small_model(patch_size=16, embedding=ConvStemEmbedding(), width=40, heads=5),
    small_model(mlp_ratio=2.5, position="none"),
    small_model(depth=1, class_tokens_start=0),
]


def paper_trial(size: str, patch: int) -> TrialConfig:
    width, depth, heads, bottleneck, start = SIZES[size]
    embedding = BottleneckEmbedding(dim=bottleneck)
    model = ModelConfig(patch_size=patch, width=width, depth=depth, heads=heads, embedding=embedding, class_tokens_start=start)
    return TrialConfig(data=DataConfig(digest="none", image_size=16 * patch, num_classes=1000), model=model)


def meta_parameters(trial: TrialConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in JiT(trial).parameters())


@pytest.mark.parametrize(("size", "patch", "millions", "giga_macs"), PAPER)
def test_parameters_and_multiply_adds_are_the_papers(size: str, patch: int, millions: float | None, giga_macs: int) -> None:
    trial = paper_trial(size, patch)
    assert parameter_count(trial) == meta_parameters(trial)
    if millions is not None:
        assert parameter_count(trial) / 1e6 == pytest.approx(millions, abs=0.05 if millions < 1000 else 0.5)
    assert forward_macs(trial) / 1e9 == pytest.approx(giga_macs, abs=1)


@pytest.mark.parametrize("model", MODELS, ids=range(len(MODELS)))
def test_the_closed_forms_are_exact_for_every_combination_of_components(model: ModelConfig) -> None:
    trial = small_trial(model)
    network = JiT(trial).eval()
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    z, t, y = batch(2)
    # torch counts the products of its fused CPU attention as none, those of the plain one in full.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(z, t, y)
    assert counter.get_total_flops() == 2 * forward_flops(trial)
    assert forward_flops(trial) == 2 * forward_macs(trial)
