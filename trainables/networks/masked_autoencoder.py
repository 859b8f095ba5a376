"""The network of masked autoregression (MAR, arXiv 2406.11838): what the visible tokens say of the masked ones, and a head
that draws a token from it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.decoder import HalfSizes
from trainables.config.masked import MaskedTrunk
from trainables.config.trial import TrialConfig
from trainables.networks.attention import Attention
from trainables.networks.embedding import TimeEmbedding
from trainables.networks.heads.pixel_mlp import PixelMlpBlock
from trainables.networks.masked_layout import attention_model, hidden_width
from trainables.networks.network import Network, in_precision, through
from trainables.networks.norm import EPS, modulated
from trainables.networks.positions import BASE


class Masking(NamedTuple):
    """Which tokens of each image are masked: equally many of every image."""

    order: Tensor
    """Each image's tokens in some order, int64 [B, N]."""
    hidden: int
    """The first so many of the order are masked."""

    @property
    def masked(self) -> Tensor:
        """int64 [B, M]."""
        return self.order[:, : self.hidden]

    @property
    def visible(self) -> Tensor:
        """int64 [B, N - M]."""
        return self.order[:, self.hidden :]


def taken(values: Tensor, places: Tensor) -> Tensor:
    """The tokens at some places, [B, N, D] and int64 [B, K] -> [B, K, D]."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))


class VitBlock(nn.Module):
    """Attention and MLP, each normalised before and added (ViT)."""

    def __init__(self, trial: TrialConfig, sizes: HalfSizes) -> None:
        super().__init__()
        trunk, model = trial.model.trunk, attention_model(trial.model, sizes)
        assert isinstance(trunk, MaskedTrunk)
        self.dropout, hidden = trunk.dropout, hidden_width(trial.model, sizes)
        self.norm1, self.norm2 = nn.LayerNorm(sizes.width, eps=EPS), nn.LayerNorm(sizes.width, eps=EPS)
        self.attention = Attention(
            model, mode=trial.attention, attn_dropout=trunk.dropout, proj_dropout=trunk.dropout, kernels="torch"
        )
        self.first, self.second = nn.Linear(sizes.width, hidden), nn.Linear(hidden, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        """The stream [B, T, D]."""
        x = (x + self.attention(self.norm1(x.float()), None)).to(x.dtype)
        return (x + self._dropped(self.second(self._dropped(F.gelu(self.first(self.norm2(x.float()))))))).to(x.dtype)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class TokenHead(nn.Module):
    """What a noisy token's noise is, and its step's variance, by what is known of the token: modulated MLPs."""

    def __init__(self, trial: TrialConfig, *, condition: int) -> None:
        super().__init__()
        trunk = trial.model.trunk
        assert isinstance(trunk, MaskedTrunk)
        width = trunk.head_width
        self.time = TimeEmbedding(width, period=BASE)
        self.condition = nn.Linear(condition, width)
        self.expand = nn.Linear(trial.token_dim, width)
        self.blocks = nn.ModuleList([PixelMlpBlock(width) for _ in range(trunk.head_blocks)])
        self.modulation = nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, 2 * trial.token_dim)

    def forward(self, w: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """w [..., P] at int64 [...] steps of 1000, condition of that shape or broadcast to it -> float32 [..., 2 P]."""
        time = self.time(step.flatten()).unflatten(0, step.shape)
        y = F.silu(time.float() + self.condition(condition).float())
        u = self.expand(w).float()
        for block in self.blocks:
            u = block(u, y)
        shift, scale = self.modulation(y).float().chunk(2, dim=-1)
        out: Tensor = self.last(modulated(u, None, shift, scale))
        return out.float()


class MaskedAutoencoder(Network):
    """Encoder, decoder and head."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        trunk, self.trial = trial.model.trunk, trial
        assert isinstance(trunk, MaskedTrunk)
        encoder, tokens = trial.model.encoder, trial.grid**2
        decoder, copies = trunk.decoder(encoder), trunk.class_copies
        self.copies = copies
        self.label = nn.Embedding(trial.data.num_classes + 1, encoder.width)
        self.expand, self.expand_norm = nn.Linear(trial.token_dim, encoder.width), nn.LayerNorm(encoder.width, eps=EPS)
        self.encoder_positions = nn.Parameter(torch.zeros(copies + tokens, encoder.width))
        self.encoder = nn.ModuleList([VitBlock(trial, encoder) for _ in range(encoder.depth)])
        self.encoder_norm = nn.LayerNorm(encoder.width, eps=EPS)
        self.widen = nn.Linear(encoder.width, decoder.width)
        self.mask = nn.Parameter(torch.zeros(decoder.width))
        self.decoder_positions = nn.Parameter(torch.zeros(copies + tokens, decoder.width))
        self.decoder = nn.ModuleList([VitBlock(trial, decoder) for _ in range(decoder.depth)])
        self.decoder_norm = nn.LayerNorm(decoder.width, eps=EPS)
        self.head_positions = nn.Parameter(torch.zeros(tokens, decoder.width))
        self.head = TokenHead(trial, condition=decoder.width)
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(1.0), persistent=False)

    def forward(self, tokens: Tensor, masking: Masking, y: Tensor) -> Tensor:
        """What is known of each token by those that are not masked, float32 [B, N, D]; tokens [B, N, P], y int64 [B]."""
        return self._decoded(self._encoded(tokens, masking, y), masking)

    def _encoded(self, tokens: Tensor, masking: Masking, y: Tensor) -> Tensor:
        """The copies of the class and the visible tokens, [B, copies + V, D]."""
        own, places = self.encoder_positions.split((self.copies, tokens.shape[1]))
        visible = self.expand(taken(tokens, masking.visible)).float() + places[masking.visible]
        classes = self.label(y)[:, None] + own
        h = in_precision(self, self.expand_norm(torch.cat((classes, visible), dim=1)))
        for block in self.encoder:
            h = through(self, block, h)
        out: Tensor = self.encoder_norm(h.float())
        return out

    def _decoded(self, encoded: Tensor, masking: Masking) -> Tensor:
        """Of every token, masked or not, [B, N, D]."""
        widened = self.widen(encoded).float()
        classes, visible = widened[:, : self.copies], widened[:, self.copies :]
        places = masking.visible[..., None].expand_as(visible)
        tokens = self.mask.expand(len(encoded), masking.order.shape[1], -1).scatter(1, places, visible)
        h = in_precision(self, torch.cat((classes, tokens), dim=1) + self.decoder_positions)
        for block in self.decoder:
            h = through(self, block, h)
        out: Tensor = self.decoder_norm(h.float())
        return out[:, self.copies :] + self.head_positions
