"""What it costs to see an image and what an autoencoder makes of it by a frozen teacher (LPIPS, arXiv 1801.03924)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.method import AutoencoderMethod
from trainables.config.objective import TeacherConfig
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.parts.projector import teacher_gradient_macs, teacher_kept_bytes, teacher_macs
from trainables.networks.sizes import FP32, activation_bytes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PerceptualPart:
    """The teacher's forward pass over both images, and its backward pass to the second."""

    trial: TrialConfig

    @property
    def teacher(self) -> TeacherConfig:
        method = self.trial.method
        assert isinstance(method, AutoencoderMethod)
        assert method.perceptual is not None
        return method.perceptual.teacher

    def parameters(self) -> int:
        """The teacher's are not trained and do not count."""
        return 0

    def macs(self) -> Macs:
        return Macs(0, frozen=2 * teacher_macs(self.teacher) + teacher_gradient_macs(self.teacher))

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What the teacher's blocks keep, which none recomputes, and both sides in float32 with their lengths taken out."""
        teacher = self.teacher
        return teacher_kept_bytes(teacher, activation_bytes(self.trial)) + 4 * FP32 * teacher.grid**2 * teacher.width

    def initial(self, name: str) -> Initial:
        """It has no weights."""
        raise AssertionError(name)

    def module(self) -> "nn.Module":
        from trainables.networks.sight import Sight

        return Sight()
