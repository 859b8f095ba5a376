"""What an encoder and its decoder count, cost, keep and start from (`trainables.networks.encoder_decoder`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trainables.config.decoder import HalfSizes
from trainables.config.trial import TrialConfig
from trainables.config.trunks import EncoderDecoderTrunk
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import BEFORE_PATCHES, BF16, FP32, activation_bytes, image_bytes, plain_hidden

if TYPE_CHECKING:
    from torch import nn

MODULATION = 6
"""Vectors by which a block of the decoder is modulated: shift, scale and gate of its two halves."""


class PlainBlock(NamedTuple):
    """Attention and MLP between norms of weight and bias."""

    width: int
    hidden: int
    heads: int

    @property
    def parameters(self) -> int:
        attention = 4 * self.width**2 + self.width
        return attention + 2 * self.width * self.hidden + self.hidden + self.width + 4 * self.width

    def macs(self, tokens: int) -> int:
        return tokens * (4 * self.width**2 + 2 * self.width * self.hidden) + 2 * tokens**2 * self.width

    def token_bytes(self, trial: TrialConfig, tokens: int, *, modulated: bool) -> int:
        """Of each half the stream in fp32, its norm's output where that is modulated, what the map reads, and what is gated; of
        attention q, k, v and what was read; of the MLP the hidden values before and after GELU."""
        activation = activation_bytes(trial)
        half = FP32 + activation + (FP32 + activation if modulated else 0)
        attention = FP32 if trial.device == "cpu" else activation  # a CPU trains its attention in fp32
        weights = FP32 * self.heads * (tokens if trial.attention == "fp32" else 1)
        return self.width * (2 * half + 4 * attention + activation) + 2 * activation * self.hidden + weights


@dataclass(frozen=True)
class EncoderPart:
    """The encoder, from the noisy image to its tokens."""

    trial: TrialConfig

    @property
    def block(self) -> PlainBlock:
        model = self.trial.model
        return PlainBlock(model.width, plain_hidden(model, model.width), model.heads)

    @property
    def tokens(self) -> int:
        return self.trial.grid**2 + BEFORE_PATCHES

    def parameters(self) -> int:
        d = self.trial.model.width
        around = self.trial.token_dim * d + d + d + self.tokens * d + 2 * d
        return around + self.trial.model.depth * self.block.parameters

    def macs(self) -> Macs:
        """The image is data."""
        embedding = self.trial.grid**2 * self.trial.token_dim * self.trial.model.width
        return Macs(embedding + self.trial.model.depth * self.block.macs(self.tokens), input_gradient=embedding)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The image, and what the blocks keep, or what comes into them; the last norm's input and output."""
        width, depth = self.trial.model.width, self.trial.model.depth
        ends = image_bytes(self.trial) + self.tokens * width * (FP32 + activation_bytes(self.trial))
        return ends + depth * (self.tokens * width * stream_bytes(self.trial) if recomputed else self.block_bytes)

    @property
    def block_bytes(self) -> int:
        """What one block keeps for its backward pass."""
        return self.tokens * self.block.token_bytes(self.trial, self.tokens, modulated=False)

    def initial(self, name: str) -> Initial:
        """As a vision transformer's: learned positions and the class token are N(0, 0.02), matrices Xavier's."""
        return "normal" if name in ("class_token", "positions") else of_module(name)

    def module(self) -> "nn.Module":
        from trainables.networks.encoder_decoder import Encoder

        return Encoder(self.trial)


@dataclass(frozen=True)
class EncoderDecoderPart:
    """A whole network, which makes the image of its decoder's tokens."""

    trial: TrialConfig

    @property
    def encoder(self) -> EncoderPart:
        return EncoderPart(self.trial)

    @property
    def decoder(self) -> HalfSizes:
        model = self.trial.model
        assert isinstance(model.trunk, EncoderDecoderTrunk)
        return model.trunk.decoder(model.encoder)

    @property
    def block(self) -> PlainBlock:
        decoder = self.decoder
        return PlainBlock(decoder.width, plain_hidden(self.trial.model, decoder.width), decoder.heads)

    @property
    def _merged(self) -> int:
        """Numbers of a token of both."""
        return self.trial.model.width + self.decoder.width

    def parameters(self) -> int:
        d, own = self.trial.model.width, self.decoder.width
        block = self._merged * own + own + 2 * own + (d + 1) * MODULATION * own + self.block.parameters
        ends = (self.trial.data.num_classes + 1) * d + d * own + own + 2 * own + (own + 1) * self.trial.token_dim
        return self.encoder.parameters() + ends + self.decoder.depth * block

    def macs(self) -> Macs:
        """The image is data; the sinusoids of t are read by no map alone."""
        d, own, tokens = self.trial.model.width, self.decoder.width, self.encoder.tokens
        block = tokens * self._merged * own + d * MODULATION * own + self.block.macs(tokens)
        ends = tokens * d * own + self.trial.grid**2 * own * self.trial.token_dim
        encoder = self.encoder.macs()
        return Macs(encoder.forward + ends + self.decoder.depth * block, input_gradient=encoder.input_gradient)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the encoder keeps, what the decoder's blocks keep or what comes into them, and what the widest works with."""
        trial, own, tokens, depth = self.trial, self.decoder.width, self.encoder.tokens, self.decoder.depth
        widest = max(self.encoder.block_bytes, self._block_bytes)
        matrix = 2 * FP32 * self.decoder.heads * tokens if trial.attention == "fp32" else 0
        working = tokens * (2 * FP32 * own + 2 * activation_bytes(trial) * self.block.hidden + matrix)
        ends = tokens * own * (FP32 + activation_bytes(trial)) + image_bytes(trial)
        blocks = depth * tokens * own * stream_bytes(trial) + widest if recomputed else depth * self._block_bytes
        return self.encoder.activation_bytes(recomputed=recomputed) + ends + working + blocks

    @property
    def _block_bytes(self) -> int:
        """Of a block of the decoder: both streams side by side, what they are mapped to, and the rest as an encoder's."""
        merged = self._merged * activation_bytes(self.trial) + self.decoder.width * FP32
        tokens = self.encoder.tokens
        return tokens * (merged + self.block.token_bytes(self.trial, tokens, modulated=True))

    def initial(self, name: str) -> Initial:
        """The encoder's own; a modulation of zero closes every gate, and a head of zero predicts zero."""
        first, _, rest = name.partition(".")
        if first == "encoder":
            return self.encoder.initial(rest)
        if first == "label":
            return "normal"
        return "zeros" if first == "head" or "modulation" in name.split(".") else of_module(name)

    def module(self) -> "nn.Module":
        """The whole network."""
        from trainables.networks.encoder_decoder import EncoderDecoder

        return EncoderDecoder(self.trial)


def of_module(name: str) -> Initial:
    """Norms leave values as they are, biases are zero, and matrices Xavier's."""
    module = name.split(".")[-2]
    if module.startswith("norm") or module.endswith("norm"):
        return "zeros" if name.endswith("bias") else "ones"
    return "zeros" if name.endswith("bias") else "xavier"


def stream_bytes(trial: TrialConfig) -> int:
    """Of one number between two blocks."""
    return BF16 if trial.residual == "bf16" else FP32
