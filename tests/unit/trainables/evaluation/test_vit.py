"""Vision transformers from a file: against torch's own encoder layers, and what their weights must be."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.config.features import Dinov2Features, VitFeatures
from trainables.evaluation.features.from_file import from_file
from trainables.evaluation.features.vit import Vit, VitSizes, input_size, normalised, scaled_positions, vit_of
from trainables.evaluation.features.weights import _digest


def weights(*, scaled: bool = True, grid: int = 3, patch: int = 14) -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = Vit(VitSizes(width=128, depth=2, hidden=256, patch=patch, positions=1 + grid**2, scaled=scaled))
    return {name: torch.randn_like(tensor) * 0.1 for name, tensor in network.state_dict().items()}


def torchs_block(state: dict[str, Tensor], at: int) -> nn.TransformerEncoderLayer:
    """torch's layer with the block's weights; the scales are folded into what they multiply."""
    layer = nn.TransformerEncoderLayer(128, 2, 256, activation="gelu", norm_first=True, batch_first=True, layer_norm_eps=1e-6)
    own = {name.removeprefix(f"blocks.{at}."): tensor for name, tensor in state.items() if name.startswith(f"blocks.{at}.")}
    first, second = own["ls1.gamma"], own["ls2.gamma"]
    names = {
        "self_attn.in_proj_weight": own["attn.qkv.weight"],
        "self_attn.in_proj_bias": own["attn.qkv.bias"],
        "self_attn.out_proj.weight": first[:, None] * own["attn.proj.weight"],
        "self_attn.out_proj.bias": first * own["attn.proj.bias"],
        "linear1.weight": own["mlp.fc1.weight"],
        "linear1.bias": own["mlp.fc1.bias"],
        "linear2.weight": second[:, None] * own["mlp.fc2.weight"],
        "linear2.bias": second * own["mlp.fc2.bias"],
    }
    norms = {f"norm{k}.{part}": own[f"norm{k}.{part}"] for k in (1, 2) for part in ("weight", "bias")}
    layer.load_state_dict(names | norms)
    return layer.eval()


@torch.no_grad()
def test_the_network_computes_what_torchs_layers_do() -> None:
    state = weights()
    images = torch.randn(2, 3, 42, 42)
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    x = torch.cat([state["cls_token"].expand(2, -1, -1), x.flatten(2).transpose(1, 2)], 1) + state["pos_embed"]
    for at in range(2):
        x = torchs_block(state, at)(x)
    expected = F.layer_norm(x, (128,), state["norm.weight"], state["norm.bias"], 1e-6)[:, 0]
    torch.testing.assert_close(vit_of(state)(images), expected, atol=1e-5, rtol=1e-4)


def test_dinov2s_and_timms_files_load_with_what_they_hold_besides() -> None:
    dinov2 = vit_of({**weights(), "mask_token": torch.zeros(1, 128)})
    timms = vit_of({**weights(scaled=False, patch=16), "head.weight": torch.zeros(10, 128), "head.bias": torch.zeros(10)})
    assert (input_size(dinov2, dinov2=True), input_size(timms, dinov2=False)) == (224, 48)


def test_a_position_table_keeps_its_class_token_and_takes_the_new_grid() -> None:
    table = torch.randn(1, 1 + 37**2, 8)
    assert scaled_positions(table, 37) is table
    smaller = scaled_positions(table, 16)
    assert smaller.shape == (1, 257, 8)
    assert smaller[:, 0].equal(table[:, 0])


def test_grey_and_colour_images_are_seen_by_imagenets_mean() -> None:
    white = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert normalised(white, 16)[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-3)


@pytest.mark.parametrize("kind", ["dinov2", "vit"])
def test_an_extractor_reads_safetensors_by_hash(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(weights(patch=2 if kind == "dinov2" else 14), file)
    digest = _digest(file.read_bytes())
    named = Dinov2Features if kind == "dinov2" else VitFeatures
    extractor = from_file(named(weights=str(file), sha256=digest))
    found = extractor.features(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8))
    assert found.shape == (3, extractor.dimensions)
    assert extractor.variant(32) == f"{kind}_{digest[:12]}"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"pos_embed": None}, "must be of a plain vision transformer"),
        ({"register_tokens": torch.zeros(1, 4, 128)}, "whose register_tokens is absent, got"),
        ({"norm.weight": torch.zeros(64)}, r"whose norm.weight is \[128\], got \[64\]"),
    ],
)
def test_weights_of_another_kind_are_refused(change: dict[str, Tensor | None], rule: str) -> None:
    state = {name: tensor for name, tensor in {**weights(), **change}.items() if tensor is not None}
    with pytest.raises(ValueError, match=rule):
        vit_of(state)
