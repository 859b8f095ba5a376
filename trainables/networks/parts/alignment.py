"""What the linear map of an autoencoder's code, and the teacher beside it, count and cost (VA-VAE, arXiv 2501.01423)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.method import AutoencoderMethod
from trainables.config.objective import TeacherConfig
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.parts.projector import teacher_macs
from trainables.networks.sizes import FP32

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class AlignmentPart:
    """A linear map of each place, the cosines of each two places, and the teacher's forward pass."""

    trial: TrialConfig

    @property
    def channels(self) -> int:
        trunk = self.trial.model.trunk
        assert isinstance(trunk, AutoencoderTrunk)
        return trunk.code_channels

    @property
    def teacher(self) -> TeacherConfig:
        method = self.trial.method
        assert isinstance(method, AutoencoderMethod)
        assert method.alignment is not None
        return method.alignment.teacher

    @property
    def places(self) -> int:
        return self.trial.taught_grid**2

    def parameters(self) -> int:
        """The teacher's are not trained and do not count."""
        return self.channels * self.teacher.width

    def macs(self) -> Macs:
        width, places = self.teacher.width, self.places
        of_teacher = teacher_macs(self.teacher) + places * places * width
        return Macs(places * self.channels * width + places * places * width, frozen=of_teacher)

    def activation_bytes(self, *, recomputed: bool) -> int:
        """Both sides in float32 with their lengths taken out, and the cosines of each two places, their difference and what is
        left of it."""
        return FP32 * (4 * self.places * self.teacher.width + 4 * self.places**2)

    def initial(self, name: str) -> Initial:
        """As torch's layer begins."""
        return "torch"

    def module(self) -> "nn.Module":
        from torch import nn

        return nn.Conv2d(self.channels, self.teacher.width, 1, bias=False)
