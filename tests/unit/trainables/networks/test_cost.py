"""The closed forms of parameters and multiply-adds against the paper and against the network itself."""

from itertools import pairwise, product

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.presets import preset
from tests.support.trials import batch, small_model, small_trial
from trainables.config.network import BottleneckEmbedding, ConvStemEmbedding, Embedding, LinearEmbedding, ModelConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.networks.cost import forward_flops, forward_macs, parameter_count, training_flops
from trainables.networks.registry import blank

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
    data = DataConfig(digest="none", image_size=16 * patch, num_classes=1000)
    return TrialConfig(data=data, model=preset(f"jit-{size.lower()}/{patch}").model)


def meta_parameters(trial: TrialConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in blank(trial).parameters())


@pytest.mark.parametrize(("size", "patch", "millions", "giga_macs"), PAPER)
def test_parameters_and_multiply_adds_are_the_papers(size: str, patch: int, millions: float | None, giga_macs: int) -> None:
    trial = paper_trial(size, patch)
    assert parameter_count(trial) == meta_parameters(trial)
    if millions is not None:
        assert parameter_count(trial) / 1e6 == pytest.approx(millions, abs=0.05 if millions < 1000 else 0.5)
    assert forward_macs(trial) / 1e9 == pytest.approx(giga_macs, abs=1)


@pytest.mark.parametrize(("size", "millions"), [("s", 33), ("b", 130), ("l", 458), ("xl", 675)])
def test_dits_have_the_parameters_of_their_paper_on_latents_but_for_the_sigma_channels(size: str, millions: int) -> None:
    data = DataConfig(digest="none", image_size=32, channels=4, num_classes=1000)
    trial = TrialConfig(data=data, model=preset(f"dit-{size}").model)
    assert parameter_count(trial) == meta_parameters(trial)
    assert parameter_count(trial) / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_rungs_of_the_papers_ladder_add_its_parts_one_by_one() -> None:
    def parts(name: str) -> dict[str, object]:
        return preset(name).model.model_dump(include={"norm", "mlp", "rope", "qk_norm", "class_tokens"})

    for size in ("b", "l"):
        ladder = [parts(f"jit-{size}{rung}") for rung in ("-plain", "-swiglu", "-rope", "")]
        added = [{name: b[name] for name in b if a[name] != b[name]} for a, b in pairwise(ladder)]
        assert added == [{"norm": "rms", "mlp": "swiglu"}, {"rope": True, "qk_norm": True}, {"class_tokens": 32}]


@pytest.mark.parametrize("embedding", [LinearEmbedding(), BottleneckEmbedding(dim=7), ConvStemEmbedding()], ids=str)
@pytest.mark.parametrize("mlp", ["swiglu", "gelu"])
def test_the_closed_form_of_training_is_exact(embedding: Embedding, mlp: str) -> None:
    # The CPU's own RMSNorm takes a row sum as a product, which would be counted.
    trial = small_trial(small_model(embedding=embedding, mlp=mlp, norm="layer", qk_norm=False), attention="fp32")
    network = blank(trial)
    with FlopCounterMode(display=False) as counter:
        network(*batch(4)).square().sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=4)


@pytest.mark.parametrize("model", MODELS, ids=range(len(MODELS)))
def test_the_closed_forms_are_exact_for_every_combination_of_components(model: ModelConfig) -> None:
    trial = small_trial(model)
    network = blank(trial).eval()
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    z, t, y = batch(2)
    # torch counts the products of its fused CPU attention as none, those of the plain one in full.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(z, t, y)
    assert counter.get_total_flops() == 2 * forward_flops(trial)
    assert forward_flops(trial) == 2 * forward_macs(trial)
