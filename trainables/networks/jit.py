"""The network of a trial: a plain transformer over patches (JiT, arXiv 2511.13720) whose components are configuration."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainables.config.network import ModelConfig
from trainables.config.trial import TrialConfig
from trainables.networks.attention import Attention
from trainables.networks.embedding import TimeEmbedding, images_of
from trainables.networks.mlp import GeluMlp, SwiGlu
from trainables.networks.network import Network
from trainables.networks.norm import ModulatedNorm
from trainables.networks.positions import rotation_table, sincos_table
from trainables.networks.sizes import modulation_chunks

SIGMA_DATA = 0.5
"""Standard deviation of the data that the EDM pre-conditioner assumes."""


class Block(nn.Module):
    """Attention and MLP, each normalised and modulated before and gated after (adaLN-Zero)."""

    def __init__(self, trial: TrialConfig, *, dropout: float) -> None:
        super().__init__()
        model = trial.model
        self.norm1 = ModulatedNorm(model.norm, model.width)
        self.attention = Attention(model, mode=trial.attention, dropout=dropout, kernels=trial.kernels)
        self.norm2 = ModulatedNorm(model.norm, model.width)
        mlp = SwiGlu if model.mlp == "swiglu" else GeluMlp
        self.mlp = mlp(model, dropout=dropout, kernels=trial.kernels)

    def forward(self, x: Tensor, modulation: tuple[Tensor, ...], rotation: Tensor | None) -> Tensor:
        """x float32 [B, T, D]; modulation six times [B, 1, D]: shift, scale and gate of attention, then of the MLP."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        x = torch.addcmul(x, gate1, self.attention(self.norm1(x, shift1, scale1), rotation))
        return torch.addcmul(x, gate2, self.mlp(self.norm2(x, shift2, scale2)))


class JiT(Network):
    """JiT's trunk around an embedding and a head. Parameters as torch's modules leave them.

    `position` is the fixed table added to the tokens, or none. No table is part of the state dict.
    """

    position: Tensor | None
    rotation: Tensor | None

    def __init__(self, trial: TrialConfig, *, embedding: nn.Module, head: nn.Module) -> None:
        super().__init__()
        model, self.trial = trial.model, trial
        self.embedding = embedding
        self.time = TimeEmbedding(model.width)
        self.label = nn.Embedding(trial.data.num_classes + 1, model.width)
        if model.class_tokens:
            self.class_positions = nn.Parameter(torch.zeros(model.class_tokens, model.width))
        self.modulation = nn.Linear(model.width, modulation_chunks(model) * model.width)
        self.blocks = nn.ModuleList([Block(trial, dropout=dropout_of(model, i)) for i in range(model.depth)])
        self.final_norm = ModulatedNorm(model.norm, model.width)
        self.head = head
        self.activation_checkpointing = False
        self._register_tables()

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """z float32 [B, C, H, W], t float32 [B] in [0, 1], y int64 [B] in 0..num_classes (the last is null) -> [B, C, H, W]."""
        model = self.trial.model
        label = self.label(y)
        chunks = self._chunks(self.time(t) + label)
        tokens = self._tokens(z)
        for i, block in enumerate(self.blocks):
            if model.class_tokens and i == model.class_tokens_start:
                tokens = torch.cat((label[:, None] + self.class_positions, tokens), dim=1)
            tokens = self._through(block, tokens, chunks[6 * i : 6 * i + 6])
        image_tokens = tokens[:, model.class_tokens :]
        patches = self.head(self.final_norm(image_tokens, *chunks[-2:]))
        return self._skip(images_of(patches, model.patch_size, z.shape[1]).float(), z, t)

    def _through(self, block: nn.Module, tokens: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        rotation = self._rotation(tokens.shape[1])
        if self.activation_checkpointing and self.training:
            dropping = self.trial.model.dropout > 0
            through = checkpoint(block, tokens, modulation, rotation, use_reentrant=False, preserve_rng_state=dropping)
        else:
            through = block(tokens, modulation, rotation)
        out: Tensor = through
        return out

    def _register_tables(self) -> None:
        model, grid = self.trial.model, self.trial.grid
        position = sincos_table(grid, model.width) if model.position == "sincos" else None
        head_dim = model.width // model.heads
        rotation = rotation_table(grid, head_dim, class_tokens=model.class_tokens) if model.rope else None
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("rotation", rotation, persistent=False)
        self.register_buffer("noise_scale", torch.tensor(self.trial.diffusion.noise_scale), persistent=False)

    def _chunks(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Every shift, scale and gate from one matrix product: 6 depth + 2 times float32 [B, 1, D]."""
        stacked: Tensor = self.modulation(F.silu(condition)).float()
        return stacked.view(len(stacked), -1, 1, self.trial.model.width).unbind(1)

    def _tokens(self, z: Tensor) -> Tensor:
        tokens: Tensor = self.embedding(z)
        return tokens.float() if self.position is None else tokens + self.position

    def _rotation(self, tokens: int) -> Tensor | None:
        return None if self.rotation is None else self.rotation[-tokens:]

    def _skip(self, output: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """c_skip z + c_out o (JiT, table 10)."""
        kind = self.trial.model.output_skip
        if kind == "none":
            return output
        t = t.view(-1, 1, 1, 1)
        if kind == "linear":
            return t * z + (1 - t) * output
        return edm_skip(output, z, t, noise_scale=self.noise_scale)


def edm_skip(output: Tensor, z: Tensor, t: Tensor, *, noise_scale: float | Tensor) -> Tensor:
    """EDM's pre-conditioner (arXiv 2206.00364, table 1) in z = t x + (1 - t) e; t [B, 1, 1, 1].

    With sigma = noise_scale (1 - t) / t: c_skip = sd^2 / (t (sd^2 + sigma^2)) and c_out = sd sigma / sqrt(sd^2 + sigma^2), both
    multiplied through by t so that they are finite at t = 0.
    """
    noise, data = noise_scale * (1 - t), SIGMA_DATA * t
    variance = data.square() + noise.square()
    return SIGMA_DATA * data / variance * z + SIGMA_DATA * noise / variance.sqrt() * output


def dropout_of(model: ModelConfig, block: int) -> float:
    """Dropout of a block: the configured one in the middle half of the depth, as the official code counts it."""
    quarter = model.depth // 4
    return model.dropout if quarter <= block < 3 * quarter else 0.0
