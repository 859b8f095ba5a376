"""What the trainer, the evaluation and the pictures know of a method."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet

Stepped = Callable[[int], None]
"""Hears how many of an evaluation's steps there have been."""


class Training(Protocol):
    """One kind of `method` of a trial, as the trainer knows it. It holds nothing: what a network is, its trial says."""

    def losses(
        self,
        network: nn.Module,
        x: Tensor,
        e: Tensor,
        t: Tensor,
        y: Tensor,
        t_eps: float | Tensor,
        route: Tensor | None,
        truths: Mapping[str, Tensor],
    ) -> Tensor:
        """The loss of each image, float32 [B]; the inputs are those of `trainables.training.batches.Batch`, and t_eps what the
        conversions clamp by. torch.compile reads it as one graph."""
        ...


class Method(Training, Protocol):
    """One by which samples are drawn, too."""

    def starts(self, trial: TrialConfig, images: ImageSet, evaluation: EvaluationConfig) -> Tensor:
        """What the evaluation's n samples start from beside noise, [n, ...], on the CPU."""
        ...

    def starts_of_class(self, trial: TrialConfig, images: ImageSet, label: int, *, count: int) -> Tensor:
        """The same for `count` samples of one class."""
        ...

    def draw(
        self,
        network: nn.Module,
        trial: TrialConfig,
        evaluation: EvaluationConfig,
        begun: Tensor,
        *,
        first: int,
        stepped: Stepped,
        guide: nn.Module | None,
    ) -> Tensor:
        """The samples of these starts [b, ...], which are on the network's device, as the network sees images: float [b, C, H,
        W], pixels in [-1, 1] where that is what it sees. Sample i of them has the noise of place first + i, whoever draws it,
        and in whatever batch. `guide`: the classifier that the evaluation names."""
        ...

    def passes(self, trial: TrialConfig, evaluation: EvaluationConfig) -> int:
        """How often the network sees each image while it is drawn."""
        ...
