"""What a network of masked tokens counts, costs, keeps and starts from (`trainables.networks.masked_autoencoder`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.decoder import HalfSizes
from trainables.config.masked import MaskedTrunk
from trainables.config.method import MaskedTokensMethod
from trainables.config.trial import TrialConfig
from trainables.networks.masked_layout import attention_model, hidden_width, mask_chances, most_visible
from trainables.networks.parts.jit_blocks import attention_parameters
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import BF16, FP32, TIME_FEATURES, activation_bytes

if TYPE_CHECKING:
    from torch import nn

STARTS_SMALL = ("label", "encoder_positions", "mask", "decoder_positions", "head_positions")
"""Parameters that are vectors of their own."""


@dataclass(frozen=True)
class MaskedAutoencoderPart:
    """A whole network, from an image's tokens to the noise of masked ones."""

    trial: TrialConfig

    @property
    def trunk(self) -> MaskedTrunk:
        trunk = self.trial.model.trunk
        assert isinstance(trunk, MaskedTrunk)
        return trunk

    @property
    def method(self) -> MaskedTokensMethod:
        method = self.trial.method
        assert isinstance(method, MaskedTokensMethod)
        return method

    @property
    def _encoder(self) -> HalfSizes:
        return self.trial.model.encoder

    @property
    def _decoder(self) -> HalfSizes:
        return self.trunk.decoder(self._encoder)

    @property
    def _tokens(self) -> int:
        return self.trial.grid**2

    @property
    def _places(self) -> int:
        """Tokens of the image and of the class."""
        return self.trunk.class_copies + self._tokens

    def parameters(self) -> int:
        d, wide, dim = self._encoder.width, self._decoder.width, self.trial.token_dim
        around = (self.trial.data.num_classes + 1) * d + dim * d + d + 2 * d + self._places * d
        between = 2 * d + d * wide + wide + wide + self._places * wide + 2 * wide + self._tokens * wide
        blocks = sum(half.depth * self._block_parameters(half) for half in (self._encoder, self._decoder))
        return around + between + blocks + self._head_parameters()

    def _block_parameters(self, half: HalfSizes) -> int:
        d, hidden = half.width, hidden_width(self.trial.model, half)
        attention = attention_parameters(attention_model(self.trial.model, half))
        return 4 * d + attention + d * hidden + hidden + hidden * d + d

    def _head_parameters(self) -> int:
        w, dim, blocks = self.trunk.head_width, self.trial.token_dim, self.trunk.head_blocks
        conditions = TIME_FEATURES * w + w + w * w + w + self._decoder.width * w + w
        block = 2 * w + 2 * (w * w + w) + 3 * (w * w + w)
        return conditions + dim * w + w + blocks * block + 2 * (w * w + w) + w * 2 * dim + 2 * dim

    def macs(self) -> Macs:
        """In training, where the number of masked tokens is one of chance: the mean. Tokens, noisy or not, and the sinusoids of
        t are data."""
        tokens, of_data = self._tokens, self.data_macs
        chances = [*mask_chances(self.method, tokens)]
        forward = sum(each.probability * self.macs_of(each.masked) for each in chances)
        return Macs(round(forward), input_gradient=round(sum(each.probability * of_data(each.masked) for each in chances)))

    def macs_of(self, masked: int) -> int:
        """In training with so many masked tokens."""
        return self.context_macs(self._tokens - masked) + masked * self.head_macs(self.method.head_repeats)

    def data_macs(self, masked: int) -> int:
        """Of products whose inputs are data, with so many masked tokens."""
        into_head = self.method.head_repeats * (self.trial.token_dim + TIME_FEATURES) * self.trunk.head_width
        return (self._tokens - masked) * self.trial.token_dim * self._encoder.width + masked * into_head

    def context_macs(self, visible: int) -> int:
        """Of what so many visible tokens say of all."""
        encoder, decoder, seen = self._encoder, self._decoder, self.trunk.class_copies + visible
        between = visible * self.trial.token_dim * encoder.width + seen * encoder.width * decoder.width
        return between + self._blocks_macs(encoder, seen) + self._blocks_macs(decoder, self._places)

    def head_macs(self, steps: int) -> int:
        """Of so many steps of one token's diffusion, whose condition is made once."""
        w, dim = self.trunk.head_width, self.trial.token_dim
        step = TIME_FEATURES * w + w * w + dim * w + self.trunk.head_blocks * 5 * w * w + 2 * w * w + w * 2 * dim
        return self._decoder.width * w + steps * step

    def _blocks_macs(self, half: HalfSizes, tokens: int) -> int:
        d, hidden = half.width, hidden_width(self.trial.model, half)
        return half.depth * (tokens * (4 * d * d + 2 * d * hidden) + 2 * tokens * tokens * d)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """Of as many visible tokens and as many masked ones as there can be: both halves' blocks, or what comes into them and
        what the largest keeps; the head."""
        seen = self.trunk.class_copies + most_visible(self.method, self._tokens)
        halves = ((self._encoder, seen), (self._decoder, self._places))
        around = sum(3 * tokens * half.width * FP32 for half, tokens in halves) + self._head_bytes()
        kept = [(half.depth, tokens * self._token_bytes(half, tokens)) for half, tokens in halves]
        if not recomputed:
            return around + sum(depth * of_block for depth, of_block in kept)
        incoming = sum(half.depth * tokens * half.width * self._stream for half, tokens in halves)
        return around + incoming + 2 * max(of_block for _, of_block in kept)

    @property
    def _stream(self) -> int:
        """Bytes of one number between two blocks."""
        return BF16 if self.trial.residual == "bf16" else FP32

    def _token_bytes(self, half: HalfSizes, tokens: int) -> int:
        """What a block keeps of a token: what its norms take and give, q, k and v and what attention makes of them, what the
        MLP's maps take and leave; masks of dropout."""
        d, hidden, activation = half.width, hidden_width(self.trial.model, half), activation_bytes(self.trial)
        norms = 2 * d * (FP32 + activation) + (2 * d * self._stream if self._stream != FP32 else 0)
        wide = FP32 if self.trial.device == "cpu" else activation  # a CPU trains its attention in fp32
        weights = FP32 * half.heads * (tokens * (2 if self.trunk.dropout else 1) if self.trial.attention == "fp32" else 1)
        dropped = (activation + 1) * (2 * d + hidden) if self.trunk.dropout else 0
        return norms + 4 * d * wide + 2 * d * activation + weights + 2 * hidden * activation + dropped

    def _head_bytes(self) -> int:
        """Of every token as often as the head sees it: its condition's forms and each block's stream, norms and modulation."""
        w, activation = self.trunk.head_width, activation_bytes(self.trial)
        block = w * (6 * FP32 + 4 * activation)
        around = (3 * self.trial.token_dim + TIME_FEATURES) * FP32 + w * (7 * FP32 + 4 * activation)
        once = self._decoder.width * (FP32 + activation) + w * FP32
        return self._tokens * (once + self.method.head_repeats * (around + self.trunk.head_blocks * block))

    def initial(self, name: str) -> Initial:
        """Maps as Xavier has it without biases, vectors N(0, .02), as the original draws them; the head's time likewise, its
        modulations and last map zero."""
        first, *rest = name.split(".")
        if first in STARTS_SMALL:
            return "normal"
        if any("norm" in part for part in (first, *rest)):
            return "zeros" if rest[-1] == "bias" else "ones"
        if rest[-1] == "bias" or (first == "head" and {"modulation", "last"} & {*rest}):
            return "zeros"
        return "normal" if name.startswith("head.time.") else "xavier"

    def module(self) -> "nn.Module":
        """The whole network."""
        from trainables.networks.masked_autoencoder import MaskedAutoencoder

        return MaskedAutoencoder(self.trial)
