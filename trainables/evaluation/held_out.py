"""The held-out images on which a network's error is measured without samples, by the kind of its trial."""

import torch

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.diffusion.lift import lift_of
from trainables.evaluation.metrics.classes import HeldoutClasses
from trainables.evaluation.metrics.contrast import HeldoutViews
from trainables.evaluation.metrics.heldout import HeldoutGrid
from trainables.evaluation.metrics.masked import HeldoutTokens
from trainables.evaluation.metrics.reconstruction import HeldoutImages
from trainables.networks.latent import Latent
from trainables.networks.network import Space

HeldOut = HeldoutGrid | HeldoutImages | HeldoutClasses | HeldoutViews | HeldoutTokens


def held_out(trial: TrialConfig, images: ImageSet, *, space: Space, device: torch.device | str = "cpu") -> HeldOut:
    """Those of a trial, on a device; `space`: its network's own."""
    match trial.method.kind:
        case "autoencoder":
            return HeldoutImages(images, device=device)
        case "classifier":
            return HeldoutClasses(images, device=device)
        case "encoder_pretraining":
            return HeldoutViews(images, device=device)
        case "masked_tokens":
            return HeldoutTokens(images, space=space, device=device)
    latent = space if isinstance(space, Latent) else None
    return HeldoutGrid(images, device=device, lift=lift_of(trial), latent=latent, path=trial.diffusion.path)
