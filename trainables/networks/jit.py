"""The network of a trial: a plain transformer over patches (JiT, arXiv 2511.13720) whose components are configuration."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.network import ModelConfig
from trainables.config.trial import TrialConfig
from trainables.networks.attention import Attention
from trainables.networks.embedding import CLOCK, TimeEmbedding, images_of
from trainables.networks.mlp import GeluMlp, SwiGlu
from trainables.networks.network import Network, Tapped, through
from trainables.networks.norm import Branch, ModulatedNorm, Stream, joined
from trainables.networks.positions import BASE, ROTATIONS, sincos_table
from trainables.networks.routing import Routed
from trainables.networks.sizes import block_chunks, modulation_chunks, routed_tokens

SIGMA_DATA = 0.5
"""Standard deviation of the data that the EDM pre-conditioner assumes."""


class Block(nn.Module):
    """Attention and MLP, each normalised and modulated before and gated after (adaLN-Zero).

    Where Triton computes, what the MLP adds to the stream is left to the next norm, whose kernel adds it on its way.
    """

    def __init__(self, trial: TrialConfig, *, drops: bool) -> None:
        super().__init__()
        model = trial.model
        attn_dropout, proj_dropout = (model.attn_dropout, model.proj_dropout) if drops else (0.0, 0.0)
        self.kernels = trial.kernels
        self.norm1 = ModulatedNorm(model.norm, model.width, kernels=trial.kernels)
        self.attention = Attention(
            model, mode=trial.attention, attn_dropout=attn_dropout, proj_dropout=proj_dropout, kernels=trial.kernels
        )
        self.norm2 = ModulatedNorm(model.mlp_norm or model.norm, model.width, kernels=trial.kernels)
        mlp = SwiGlu if model.mlp == "swiglu" else GeluMlp
        self.mlp = mlp(model, dropout=proj_dropout, kernels=trial.kernels)

    def forward(self, stream: Stream, modulation: tuple[Tensor, ...], rotation: Tensor | None) -> Stream:
        """Modulation is six times float32 [B, 1, D]: shift, scale and gate of attention, then of the MLP."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        x, h = self.norm1(stream, shift1, scale1)
        x, h = self.norm2(Stream(x, self._of_attention(h, rotation, gate1)), shift2, scale2)
        if self.kernels == "triton":
            return Stream(x, Branch(self.mlp.unbiased(h), gate2, self.mlp.output_bias))
        return Stream(joined(Stream(x, Branch(self.mlp(h), gate2))))

    def _of_attention(self, h: Tensor, rotation: Tensor | None, gate: Tensor) -> Branch:
        dropping = self.training and self.attention.proj_dropout > 0  # after the bias
        if self.kernels == "triton" and not dropping:
            return Branch(self.attention.unbiased(h, rotation), gate, self.attention.proj.bias)
        return Branch(self.attention(h, rotation), gate)


class JiT(Network):
    """JiT's trunk around an embedding and a head. Parameters as torch's modules leave them.

    `position` is the fixed table added to the tokens, or none; smaller grids of its path's stages have tables of their own. No
    table is part of the state dict.
    """

    position: Tensor | None
    rotation: Tensor | None

    def __init__(self, trial: TrialConfig, *, embedding: nn.Module, head: nn.Module) -> None:
        super().__init__()
        model, self.trial = trial.model, trial
        self.embedding = embedding
        clock = model.time_kind == "clock"
        self.time = TimeEmbedding(model.width, period=model.time_period, scale=CLOCK if clock else 1.0, ends=clock)
        if model.size_embedding:
            self.size = TimeEmbedding(model.width, period=BASE, ends=clock)
        self.label = nn.Embedding(trial.data.num_classes + 1, model.width)
        if model.class_tokens:
            self.class_positions = nn.Parameter(torch.zeros(model.class_tokens, model.width))
        self.modulation = nn.Linear(model.width, modulation_chunks(model) * model.width)
        self.blocks = nn.ModuleList([Block(trial, drops=in_middle_half(i, depth=model.depth)) for i in range(model.depth)])
        if not model.reads_pixels:
            self.final_norm = ModulatedNorm(model.final_norm or model.norm, model.width, kernels=trial.kernels)
        self.head = head
        self.activation_checkpointing = False
        self._taps: dict[str, int] = {term.kind: term.tap(model) for term in trial.diffusion.tapped}
        self._register_tables()

    def forward(self, z: Tensor, t: Tensor, y: Tensor, route: Tensor | None = None) -> Tensor:
        """z float32 [B, C, H, W], t float32 [B] in [0, 1], y int64 [B] in 0..num_classes (the last is null) -> [B, C, H, W].

        route [B, N], in training where tokens skip blocks: those with the smallest numbers go through them.
        """
        return self.tapped(z, t, y, route).output

    def tapped(self, z: Tensor, t: Tensor, y: Tensor, route: Tensor | None = None) -> Tapped:
        """`forward` with the tokens that the terms of the loss read, each after its block."""
        model = self.trial.model
        grid = z.shape[-1] // self.trial.seen_patch
        label, time = self.label(y), self._time(t, grid)
        chunks = self._chunks(time, label)
        tokens: dict[str, Tensor] = {}
        seen = normalised(z) if model.normalise_input else z
        stream = Stream(self._tokens(seen, grid))
        routed = None if route is None else Routed(route, kept=routed_tokens(self.trial), model=model)
        for i, block in enumerate(self.blocks):
            if model.class_tokens and i == model.class_tokens_start:
                stream = stream._replace(prepended=self._in_precision(label[:, None] + self.class_positions))
            if routed is not None:
                stream = routed.before(i, stream)
            in_middle = routed is not None and i in routed.middle
            table = self._table("rotation", grid)
            rotation = routed.rotation(table) if routed and in_middle else _last(table, _length(stream))
            stream = through(self, block, stream, modulation_of_block(chunks, i, model), rotation)
            tokens |= {kind: _of_images(stream, grid) for kind in self.auxiliary if self._taps[kind] == i + 1}
        images = self._from_pixels(seen, stream, time) if model.reads_pixels else self._from_tokens(stream, *chunks[-2:])
        return Tapped(self._skip(images.float(), z, t), tokens)

    def _time(self, t: Tensor, grid: int) -> Tensor:
        """Of the time, and of the tokens along a side where the network is told them, [B, D]."""
        time: Tensor = self.time(t)
        return time + self.size(torch.full_like(t, grid)) if self.trial.model.size_embedding else time

    def _from_tokens(self, stream: Stream, shift: Tensor, scale: Tensor) -> Tensor:
        """The image of the normalised tokens alone."""
        model = self.trial.model
        patches = self.head(self.final_norm(stream, shift, scale, dropped=model.class_tokens).h)
        return images_of(patches, self.trial.seen_patch, self.trial.channels)

    def _from_pixels(self, z: Tensor, stream: Stream, time: Tensor) -> Tensor:
        """The image of the noisy pixels, each patch under silu(time + token)."""
        grid = z.shape[-1] // self.trial.seen_patch
        tokens = _of_images(stream, grid)
        condition = F.silu(time[:, None] + tokens.float())
        images: Tensor = self.head(z, condition, _last(self._table("rotation", grid), tokens.shape[1]))
        return images

    def _register_tables(self) -> None:
        model = self.trial.model
        head_dim, rotations = model.width // model.heads, ROTATIONS[model.rope_kind]
        for grid in {*self.trial.grids}:
            position = sincos_table(grid, model.width) if model.position == "sincos" else None
            rotation = rotations(grid, head_dim, class_tokens=model.class_tokens) if model.rope else None
            self.register_buffer(self._name("position", grid), position, persistent=False)
            self.register_buffer(self._name("rotation", grid), rotation, persistent=False)
        self.register_buffer("noise_scale", torch.tensor(self.trial.diffusion.noise_scale), persistent=False)

    def _chunks(self, time: Tensor, label: Tensor) -> tuple[Tensor, ...]:
        """Every shift, scale and gate from one matrix product: 6 depth + 2 times float32 [B, 1, D].

        Blocks before a classifier of their tokens are modulated by the time alone.
        """
        width, condition = self.trial.model.width, F.silu(time + label)
        deaf = self._taps.get("classifier", 0) * block_chunks(self.trial.model) * width
        if deaf:
            weight, bias = self.modulation.weight, self.modulation.bias
            parts = F.linear(F.silu(time), weight[:deaf], bias[:deaf]), F.linear(condition, weight[deaf:], bias[deaf:])
            stacked = torch.cat(parts, dim=1)
        else:
            stacked = self.modulation(condition)
        return stacked.float().view(len(stacked), -1, 1, width).unbind(1)

    def _table(self, name: str, grid: int) -> Tensor | None:
        """A fixed table of this grid; none where the model has none."""
        table: Tensor | None = getattr(self, self._name(name, grid))
        return table

    def _name(self, name: str, grid: int) -> str:
        return name if grid == self.trial.grid else f"{name}_{grid}"

    def _tokens(self, z: Tensor, grid: int) -> Tensor:
        tokens: Tensor = self.embedding(z)
        position = self._table("position", grid)
        return self._in_precision(tokens.float() if position is None else tokens + position)

    def _in_precision(self, tokens: Tensor) -> Tensor:
        """In the residual stream's; float32 where the products are, as in the held-out error."""
        narrow = self.trial.residual == "bf16" and torch.is_autocast_enabled(tokens.device.type)
        return tokens.to(torch.bfloat16 if narrow else torch.float32)

    def _skip(self, output: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """c_skip z + c_out o (JiT, table 10)."""
        kind = self.trial.model.output_skip
        if kind == "none":
            return output
        t = t.view(-1, 1, 1, 1)
        if kind == "linear":
            return t * z + (1 - t) * output
        return edm_skip(output, z, t, noise_scale=self.noise_scale)


def normalised(z: Tensor) -> Tensor:
    """Each image over its own standard deviation, as Chen's code has it (arXiv 2301.10972, section 2.3)."""
    return z / z.std(dim=(1, 2, 3), keepdim=True)


def _length(stream: Stream) -> int:
    """Tokens, those that are still to be prepended among them."""
    return stream.x.shape[1] + (0 if stream.prepended is None else stream.prepended.shape[1])


def _of_images(stream: Stream, grid: int) -> Tensor:
    """All joined, without the class tokens where they have joined, [B, N, D]."""
    tokens: Tensor = joined(stream)[:, -(grid**2) :]
    return tokens


def _last(table: Tensor | None, tokens: int) -> Tensor | None:
    """The rows of the last tokens."""
    return None if table is None else table[-tokens:]


def modulation_of_block(chunks: tuple[Tensor, ...], block: int, model: ModelConfig) -> tuple[Tensor, ...]:
    """Shift, scale and gate of a block's two halves; shifts of zero where the model has none."""
    count = block_chunks(model)
    own = chunks[count * block : count * (block + 1)]
    if model.adaln_shift:
        return own
    scale1, gate1, scale2, gate2 = own
    zero = torch.zeros_like(scale1)
    return zero, scale1, gate1, zero, scale2, gate2


def edm_skip(output: Tensor, z: Tensor, t: Tensor, *, noise_scale: float | Tensor) -> Tensor:
    """EDM's pre-conditioner (arXiv 2206.00364, table 1) in z = t x + (1 - t) e; t [B, 1, 1, 1].

    With sigma = noise_scale (1 - t) / t: c_skip = sd^2 / (t (sd^2 + sigma^2)) and c_out = sd sigma / sqrt(sd^2 + sigma^2), both
    multiplied through by t so that they are finite at t = 0.
    """
    noise, data = noise_scale * (1 - t), SIGMA_DATA * t
    variance = data.square() + noise.square()
    return SIGMA_DATA * data / variance * z + SIGMA_DATA * noise / variance.sqrt() * output


def in_middle_half(block: int, *, depth: int) -> bool:
    """Whether a block is one of those that may have dropout, as the official code counts them."""
    quarter = depth // 4
    return quarter <= block < 3 * quarter
