"""A plain vision transformer with the weights of a file: DINOv2's (arXiv 2304.07193) and timm's, which name their parts alike.

Its sizes follow from the weights' shapes: heads are 64 wide, as in every published one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.evaluation.features.weights import check_fits

_HEAD_DIM = 64
_DINOV2_GRID = 16
_OFFSET = 0.1
"""DINOv2 adds it to the grid when it scales its position table, and its features depend on it."""
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_UNUSED = ("mask_token", "head.weight", "head.bias")


@dataclass(frozen=True)
class VitSizes:
    """What the shapes of the weights tell."""

    width: int
    depth: int
    hidden: int
    patch: int
    positions: int
    """The class token's among them."""
    scaled: bool
    """Whether the outputs of attention and MLP are scaled (LayerScale)."""

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Self:
        """ValueError: these are not the weights of such a network."""
        try:
            width, _, patch, _ = state["patch_embed.proj.weight"].shape
            hidden, positions = len(state["blocks.0.mlp.fc1.weight"]), state["pos_embed"].shape[1]
        except (KeyError, ValueError, IndexError):
            rule = "`weights` must be of a plain vision transformer: patch_embed.proj, pos_embed, blocks.N.attn and .mlp"
            raise ValueError(f"{rule}, got {', '.join(list(state)[:4])}, ...; give one without registers") from None
        depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
        return cls(width, depth, hidden, patch, positions, scaled="blocks.0.ls1.gamma" in state)


class Vit(nn.Module):
    """Images float [n, 3, s, s], normalised -> the last class token [n, width], or all patches' tokens."""

    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        self.patch = sizes.patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.positions, sizes.width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, sizes.width, sizes.patch, stride=sizes.patch)})
        self.blocks = nn.ModuleList(_Block(sizes) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self._tokens(x)[:, 0]

    def patches(self, x: Tensor) -> Tensor:
        """[n, 3, s, s] -> the patches' last tokens by row, [n, (s / patch)^2, width]: DINOv2's x_norm_patchtokens."""
        return self._tokens(x)[:, 1:]

    def _tokens(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed["proj"](x)
        grid = tokens.shape[-1]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens.flatten(2).transpose(1, 2)], 1)
        tokens = tokens + scaled_positions(self.pos_embed, grid)
        for block in self.blocks:
            tokens = block(tokens)
        last: Tensor = self.norm(tokens)
        return last


class _Block(nn.Module):
    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(sizes.width, eps=1e-6), nn.LayerNorm(sizes.width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(sizes.width, 3 * sizes.width), "proj": nn.Linear(sizes.width, sizes.width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(sizes.width, sizes.hidden), "fc2": nn.Linear(sizes.hidden, sizes.width)})
        self.ls1 = _Scale(sizes.width) if sizes.scaled else nn.Identity()
        self.ls2 = _Scale(sizes.width) if sizes.scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self._attended(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))))
        return out

    def _attended(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.attn["qkv"](x).view(n, tokens, 3, -1, _HEAD_DIM).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        projected: Tensor = self.attn["proj"](mixed)
        return projected


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = x * self.gamma
        return scaled


def scaled_positions(table: Tensor, grid: int) -> Tensor:
    """A position table [1, 1 + g^2, width] for a grid of another size, as DINOv2 scales it -> [1, 1 + grid^2, width]."""
    own = round((table.shape[1] - 1) ** 0.5)
    if own == grid:
        return table
    places = table[:, 1:].reshape(1, own, own, -1).permute(0, 3, 1, 2)
    scale = (grid + _OFFSET) / own
    scaled = F.interpolate(places, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([table[:, :1], scaled.flatten(2).transpose(1, 2)], 1)


def vit_of(state: Mapping[str, Tensor]) -> Vit:
    """The network with these weights, in evaluation form. ValueError: they are another kind of network's."""
    kept = {name: tensor for name, tensor in state.items() if name not in _UNUSED}
    sizes = VitSizes.of(kept)
    with torch.device("meta"):
        network = Vit(sizes)
    check_fits(network, kept, what=f"a plain vision transformer of width {sizes.width}")
    network.load_state_dict(kept, assign=True)
    return network.float().eval().requires_grad_(False)


def input_size(network: Vit, *, dinov2: bool) -> int:
    """Pixels a side that the network's images are resized to: 16 patches of DINOv2's, else what the position table says."""
    grid = _DINOV2_GRID if dinov2 else round((network.pos_embed.shape[1] - 1) ** 0.5)
    return grid * network.patch


def normalised(images: Tensor, size: int) -> Tensor:
    """uint8 [n, C, H, W] -> float32 [n, 3, size, size], bicubic with antialias, by ImageNet's mean and deviation."""
    return _standardised(_resized(images.float(), size).clamp(0, 255) / 255)


def unclipped(images: Tensor, size: int) -> Tensor:
    """float32 [n, C, H, W] around [-1, 1] -> the same, whatever lies beyond, so that a gradient reaches all of it."""
    return _standardised((_resized(images, size) + 1) / 2)


def _resized(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)


def _standardised(images: Tensor) -> Tensor:
    mean, sd = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (_MEAN, _SD))
    return (images.expand(-1, 3, -1, -1) - mean) / sd
