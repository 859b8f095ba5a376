"""The method classifier: the class of a noisy image is found, and nothing is drawn."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.diffusion.maths import noisy
from trainables.networks.unet_classifier import UnetClassifier


class Classification:
    """See `trainables.config.method.ClassifierMethod`."""

    def losses(
        self,
        network: nn.Module,
        x: Tensor,
        e: Tensor,
        t: Tensor,
        y: Tensor,
        _t_eps: float | Tensor,
        _route: Tensor | None,
        _truths: Mapping[str, Tensor],
    ) -> Tensor:
        """-log p(y | z, t), in the trial's precision."""
        assert isinstance(network, UnetClassifier)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=network.trial.precision == "bf16"):
            logits = network(noisy(x, e, t), t)
        return F.cross_entropy(logits.float(), y, reduction="none")
