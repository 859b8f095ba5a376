"""What the projector of tokens and its frozen teacher count and cost (`trainables.networks.projector`)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.config.objective import RepresentationTerm, TeacherConfig
from trainables.config.trial import TrialConfig
from trainables.networks.parts.part import Initial, Macs
from trainables.networks.sizes import FP32, activation_bytes

if TYPE_CHECKING:
    from torch import nn

TEACHER_MLP_RATIO = 4
"""Hidden width over width of a teacher's MLP, as of every published one but those with SwiGLU."""


@dataclass(frozen=True)
class ProjectorPart:
    """Three linear maps of each token, and the teacher's forward pass."""

    trial: TrialConfig

    @property
    def term(self) -> RepresentationTerm:
        return next(term for term in self.trial.diffusion.terms if isinstance(term, RepresentationTerm))

    @property
    def hidden(self) -> int:
        return self.term.hidden or self.trial.model.width

    def parameters(self) -> int:
        """The teacher's are not trained and do not count."""
        width, hidden, out = self.trial.model.width, self.hidden, self.term.teacher.width
        return (width + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * out

    def macs(self) -> Macs:
        width, hidden, out = self.trial.model.width, self.hidden, self.term.teacher.width
        of_token = width * hidden + hidden * hidden + hidden * out
        return Macs(self.trial.grid**2 * of_token, frozen=teacher_macs(self.term.teacher))

    def activation_bytes(self, *, recomputed: bool) -> int:
        """The tokens as the product takes them, the hidden values before and after both SiLUs, and of the cosine both sides
        with their lengths taken out."""
        activation, out = activation_bytes(self.trial), self.term.teacher.width
        of_token = activation * (self.trial.model.width + 4 * self.hidden) + 4 * FP32 * out
        return self.trial.grid**2 * of_token

    def initial(self, name: str) -> Initial:
        """As DeCo's trainer leaves them."""
        return "torch"

    def module(self) -> "nn.Module":
        from trainables.networks.projector import Projector

        return Projector(self.trial.model.width, hidden=self.hidden, teacher=self.term.teacher.width)


def teacher_parameters(teacher: TeacherConfig) -> int:
    """Numbers of a teacher, with the scales of DINOv2's blocks and without its position table."""
    width, hidden = teacher.width, TEACHER_MLP_RATIO * teacher.width
    block = (4 * width * width + 4 * width) + (2 * hidden * width + hidden + width) + 4 * width + 2 * width
    return 3 * teacher.patch**2 * width + width + teacher.depth * block + 2 * width + width


def teacher_macs(teacher: TeacherConfig) -> int:
    """Of a teacher's forward pass over one image, its class token among the tokens."""
    width, patches = teacher.width, teacher.grid**2
    tokens = patches + 1
    block = tokens * (4 + 2 * TEACHER_MLP_RATIO) * width * width + 2 * tokens * tokens * width
    return patches * 3 * teacher.patch**2 * width + teacher.depth * block


def teacher_gradient_macs(teacher: TeacherConfig) -> int:
    """Of the gradient that flows back through it to an image: each product with its weights once, attention's own two twice."""
    tokens = teacher.grid**2 + 1
    return teacher_macs(teacher) + teacher.depth * 2 * tokens * tokens * teacher.width


def teacher_kept_bytes(teacher: TeacherConfig, activation: int) -> int:
    """What such a backward pass needs of one image: the stream in float32 before each norm; q, k, v, what attention mixes and
    the hidden values in `activation` bytes each. Weights that do not train need nothing of what they are multiplied by."""
    tokens, of_block = teacher.grid**2 + 1, 2 * FP32 + (4 + TEACHER_MLP_RATIO) * activation
    return tokens * teacher.width * (teacher.depth * of_block + FP32)


def teacher_working_bytes(teacher: TeacherConfig) -> int:
    """What one image takes of a block at work: the stream and its normalised form, q, k, v, and the hidden values twice."""
    return (teacher.grid**2 + 1) * (6 + 2 * TEACHER_MLP_RATIO) * teacher.width * FP32
