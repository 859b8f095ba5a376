"""What an encoder that is pre-trained counts, costs, keeps and starts from (`trainables.networks.encoder_pretrainer`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.trial import TrialConfig
from trainables.config.trunks import EncoderPretrainerTrunk
from trainables.networks.parts.encoder_decoder import EncoderPart, of_module
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, activation_bytes

if TYPE_CHECKING:
    from torch import nn

ENCODED, PROJECTED = 3, 2
"""How often the encoder sees an image with gradients, and the projection its token: both views, and the noisier level."""


@dataclass(frozen=True)
class EncoderPretrainerPart:
    """A whole network."""

    trial: TrialConfig

    @property
    def trunk(self) -> EncoderPretrainerTrunk:
        trunk = self.trial.model.trunk
        assert isinstance(trunk, EncoderPretrainerTrunk)
        return trunk

    @property
    def encoder(self) -> EncoderPart:
        return EncoderPart(self.trial)

    @property
    def _maps(self) -> int:
        """Numbers of the projection's three matrices."""
        d, hidden = self.trial.model.width, self.trunk.projector_width
        return d * hidden + hidden * hidden + hidden * self.trunk.projected_width

    def parameters(self) -> int:
        return self.encoder.parameters() + self._maps + 4 * self.trunk.projector_width

    def macs(self) -> Macs:
        """Of all passes over an image. As many go without gradients: the target's views, and the next level."""
        encoder = self.encoder.macs()
        whole = ENCODED * encoder.forward + PROJECTED * self._maps
        return Macs(whole, input_gradient=ENCODED * encoder.input_gradient, frozen=whole)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """Of each pass what the encoder keeps, or works with when it is recomputed; of the projection what its maps read, and
        each norm's input, normalised input and output in fp32. Views and noisy images are as many as a batch keeps of each
        image (`trainables.networks.memory.AROUND_IMAGES`)."""
        d, hidden, activation = self.trial.model.width, self.trunk.projector_width, activation_bytes(self.trial)
        projected = hidden * (6 * FP32 + 2 * activation) + self.trunk.projected_width * 2 * FP32
        encoded = self.encoder.activation_bytes(recomputed=recomputed) + (self.encoder.block_bytes if recomputed else 0)
        return ENCODED * (encoded + d * activation) + PROJECTED * projected

    def initial(self, name: str) -> Initial:
        """The encoder's own, and the projection's as its."""
        first, _, rest = name.partition(".")
        return self.encoder.initial(rest) if first == "encoder" else of_module(name)

    def module(self) -> "nn.Module":
        """The whole network."""
        from trainables.networks.encoder_pretrainer import EncoderPretrainer

        return EncoderPretrainer(self.trial)
