"""What the head of DDT counts and costs (`trainables.networks.heads.decoupled`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.heads import DecoupledHead
from trainables.config.trial import TrialConfig
from trainables.networks.parts.jit_blocks import block_bytes, block_initial, block_macs, block_parameters
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, block_chunks, image_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class DecoupledPart:
    """Blocks that are modulated token by token."""

    trial: TrialConfig

    @property
    def _blocks(self) -> int:
        head = self.trial.model.head
        assert isinstance(head, DecoupledHead)
        return head.blocks

    @property
    def _chunks(self) -> int:
        """Vectors of width D by which each token is modulated, the final norm's two among them."""
        return block_chunks(self.trial.model) * self._blocks + 2

    def parameters(self) -> int:
        width, patch = self.trial.model.width, self.trial.token_dim
        modulation = (width * width + width) * self._chunks
        return self._blocks * block_parameters(self.trial.model) + modulation + 2 * patch * width + width + patch

    def macs(self) -> Macs:
        width, patch, tokens = self.trial.model.width, self.trial.token_dim, self.trial.grid**2
        embedding = tokens * patch * width
        modulation = tokens * width * width * self._chunks
        return Macs(2 * embedding + modulation + self._blocks * block_macs(self.trial.model, tokens), input_gradient=embedding)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """Patches, condition and output, every token's modulation with its 1 + scale, and what the blocks keep."""
        tokens, width = self.trial.grid**2, self.trial.model.width
        around = 2 * image_bytes(self.trial) + 4 * tokens * width * FP32
        modulation = tokens * width * FP32 * (self._chunks + 2 * self._blocks + 1)
        return around + modulation + self._blocks * block_bytes(self.trial, tokens)

    def initial(self, name: str) -> Initial:
        """The last norm's modulation and the last map start at zero, the blocks as those of the trunk."""
        first, _, rest = name.partition(".")
        match first:
            case "last" | "final":
                return "zeros"
            case "modulation":
                return "torch" if self.trial.model.adaln_start == "torch" else "zeros"
            case "embedding":
                return "zeros" if name.endswith("bias") else "xavier"
        return block_initial(rest, self.trial.model)

    def module(self) -> "nn.Module":
        from trainables.networks.heads.decoupled import Decoupled

        return Decoupled(self.trial)
