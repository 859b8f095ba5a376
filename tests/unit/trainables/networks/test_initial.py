"""Initial weights: keyed by (seed, parameter name), with the official distributions."""

import math
from typing import Any

import pytest
import torch

from tests.support.trials import batch, small_model, small_trial
from trainables.config.network import ConvStemEmbedding, LinearEmbedding
from trainables.networks.initial import initial_value
from trainables.networks.registry import build, parts_of


def initial(seed: int = 0, **model: object) -> dict[str, torch.Tensor]:
    return build(small_trial(small_model(**model), seed=seed)).state_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {"class_tokens": 0},
        {"depth": 5},
        {"qk_norm": False, "rope": False},
        {"mlp": "gelu"},
        {"norm": "layer"},
        {"embedding": LinearEmbedding()},
        {"patch_size": 8},
    ],
)
def test_a_tensor_starts_the_same_whatever_else_the_network_holds(changes: dict[str, Any]) -> None:
    base, other = initial(), initial(**changes)
    shared = [name for name in base.keys() & other.keys() if base[name].shape == other[name].shape]
    assert {"time.first.weight", "label.weight", "blocks.0.attention.qkv.weight"} <= set(shared)
    assert all(torch.equal(base[name], other[name]) for name in shared)


def test_initial_weights_ignore_and_repeat_without_torchs_own_random_state() -> None:
    torch.manual_seed(1)
    first = initial()
    torch.manual_seed(2)
    assert all(torch.equal(tensor, first[name]) for name, tensor in initial().items())


def test_another_seed_or_name_gives_other_values() -> None:
    shape = torch.Size((8, 8))
    base = initial_value("blocks.0.mlp.w3.weight", shape, 0, kind="xavier")
    for name, seed in (("blocks.0.mlp.w3.weight", 1), ("blocks.1.mlp.w3.weight", 0)):
        assert not (initial_value(name, shape, seed, kind="xavier") == base).any()


def test_a_fresh_network_predicts_zero_because_every_gate_and_the_head_are_closed() -> None:
    weights = initial()
    closed = [name for name in weights if name.startswith(("modulation.", "head.")) or name.endswith(".bias")]
    assert {"modulation.weight", "head.weight", "blocks.0.attention.qkv.bias"} <= set(closed)
    assert all(not weights[name].any() for name in closed)
    assert not build(small_trial())(*batch()).any()


def test_norm_weights_are_one() -> None:
    norms = [tensor for name, tensor in initial().items() if "norm" in name]
    assert len(norms) == 4 * 4 + 1
    assert all((tensor == 1).all() for tensor in norms)


@pytest.mark.parametrize("name", ["label.weight", "time.first.weight", "time.second.weight", "class_positions"])
def test_embeddings_and_time_weights_are_normal_with_deviation_0_02(name: str) -> None:
    value = initial_value(name, torch.Size((300, 300)), 0, kind=parts_of(small_trial()).initial(name))
    assert abs(value.mean()) < 5 * 0.02 / 300
    assert value.std() == pytest.approx(0.02, rel=0.02)
    assert value.abs().max() > 3.5 * 0.02


@pytest.mark.parametrize("shape", [(144, 48), (64, 3, 3, 3)])
def test_other_weights_are_xavier_uniform_on_the_flattened_matrix(shape: tuple[int, ...]) -> None:
    name = "blocks.0.attention.qkv.weight"
    value = initial_value(name, torch.Size(shape), 0, kind=parts_of(small_trial()).initial(name))
    bound = math.sqrt(6 / (shape[0] + math.prod(shape[1:])))
    assert 0.99 * bound < value.abs().max() <= bound
    assert value.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_every_parameter_of_every_embedding_gets_a_value() -> None:
    stem = initial(embedding=ConvStemEmbedding())
    assert stem["embedding.stem.0.weight"].std() > 0
    assert stem["embedding.expand.weight"].std() > 0
