"""The method autoencoder: an image is made again from its code, and so are held-out images for samples."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.method import AutoencoderMethod
from trainables.config.objective import AlignmentTerm
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_unit
from trainables.data.split import spread_evenly
from trainables.diffusion.alignment import of_places, of_two_places, perceived
from trainables.methods.method import Stepped
from trainables.networks.autoencoder import Autoencoder


def _misaligned(said: Tensor, true: Tensor, term: AlignmentTerm) -> Tensor:
    """Of the code in the teacher's width [B, W, h, w] and the teacher's tokens [B, h w, W], [B] in float32."""
    places = said.float().flatten(2).mT
    of_place = of_places(places, true, margin=term.margin_of_place)
    return of_place + of_two_places(places, true, margin=term.margin_of_two)


class Reconstruction:
    """See `trainables.config.method.AutoencoderMethod`."""

    def losses(
        self,
        network: nn.Module,
        x: Tensor,
        e: Tensor,
        _t: Tensor,
        _y: Tensor,
        _t_eps: float | Tensor,
        _route: Tensor | None,
        truths: Mapping[str, Tensor],
    ) -> Tensor:
        """Absolute and squared errors over an image's numbers, what its code costs, and how far that, and the image made of it,
        are from a teacher's tokens where there is one; e is what codes are drawn by."""
        assert isinstance(network, Autoencoder)
        method = network.trial.method
        assert isinstance(method, AutoencoderMethod)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=network.trial.precision == "bf16"):
            again, coded = network.reconstructed(x, e)
        missed = (again - x).flatten(1)
        losses = method.absolute * missed.abs().mean(1) + method.squared * missed.square().mean(1) + coded.penalty
        if (term := method.alignment) is not None:
            losses = losses + term.weight * _misaligned(network.auxiliary[term.kind](coded.code), truths[term.kind], term)
        if (seen := method.perceptual) is not None:
            losses = losses + seen.weight * perceived(network.auxiliary[seen.kind](again), truths[seen.kind])
        return losses

    def starts(self, _trial: TrialConfig, images: ImageSet, evaluation: EvaluationConfig) -> Tensor:
        """Held-out images to make again, uint8 [n, C, H, W]."""
        return images.read(spread_evenly(images.heldout, evaluation.n))

    def starts_of_class(self, _trial: TrialConfig, images: ImageSet, label: int, *, count: int) -> Tensor:
        """A class's held-out images, again from the first on where there are fewer; those of all classes where it has none."""
        own = images.heldout[images.labels(images.heldout).numpy() == label]
        return images.read(np.resize(own if len(own) else images.heldout, count))

    def draw(
        self,
        network: nn.Module,
        _trial: TrialConfig,
        evaluation: EvaluationConfig,
        begun: Tensor,
        *,
        first: int,
        stepped: Stepped,
        guide: nn.Module | None,
    ) -> Tensor:
        """These images made again, without chance."""
        label = torch.zeros(len(begun), dtype=torch.int64, device=begun.device)
        again: Tensor = network(to_unit(begun), torch.zeros(len(begun), device=begun.device), label)
        stepped(evaluation.steps)
        return again

    def passes(self, _trial: TrialConfig, _evaluation: EvaluationConfig) -> int:
        """Once."""
        return 1
