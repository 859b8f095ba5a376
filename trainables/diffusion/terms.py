"""The terms that a loss is summed from: each compares the network's output with the truth, image by image."""

from typing import Protocol

from torch import Tensor

from trainables.config.trial import DiffusionConfig
from trainables.diffusion.maths import convert, target_of


class LossTerm(Protocol):
    """One term. It runs inside a compiled step: tensors in, tensors out, and no branch on a tensor's values."""

    def __call__(
        self, output: Tensor, x: Tensor, e: Tensor, z: Tensor, t: Tensor, diffusion: DiffusionConfig, *, t_eps: float | Tensor
    ) -> Tensor:
        """Of each image, [B]; output, x, e, z [B, C, H, W], t [B]; `t_eps` clamps conversions, as in `maths.convert`."""


def squared_error(
    output: Tensor, x: Tensor, e: Tensor, z: Tensor, t: Tensor, diffusion: DiffusionConfig, *, t_eps: float | Tensor
) -> Tensor:
    """mean (M(o) - M(o*))^2 of each image over its pixels, in the space of the loss, [B].

    o* goes through the same conversion as o, so a perfect output has exactly zero loss at every t in every cell; x-prediction
    with v-loss is the official JiT loss. Regressing x - e against a clamped (o - z) / d instead trains to black images.
    """

    def compared(o: Tensor) -> Tensor:
        return convert(o, z, t, source=diffusion.prediction, target=diffusion.loss, t_eps=t_eps)

    error = compared(output) - compared(target_of(x, e, diffusion.prediction))
    return error.square().flatten(1).mean(dim=1)


TERMS: dict[str, LossTerm] = {
    "squared_error": squared_error,
}
