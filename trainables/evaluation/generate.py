"""Images from a trial's network: the same starting noise and labels for every trial that shares the evaluation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data.pixels import to_pixels
from trainables.diffusion.lift import lift_of
from trainables.evaluation.batch_size import images_at_once
from trainables.evaluation.finite import require_finite
from trainables.evaluation.replayed import Replayed
from trainables.methods.method import Stepped
from trainables.methods.registry import method_of
from trainables.networks.network import Network, Space

_BATCHES = 8
"""At least so many of an evaluation, where they have a few images each: that is how many workers share it."""
_FEWEST_IMAGES = 32


class Interrupted(Exception):
    """Asked to stop between two batches."""


def generate(
    network: nn.Module, trial: TrialConfig, evaluation: EvaluationConfig, begun: Tensor, *, guide: nn.Module | None = None
) -> Tensor:
    """uint8 images [n, C, H, W] of these starts [n, ...] (`Method.starts`), on the network's device, in the trial's precision.

    NotFinite: a sample is not finite.
    """
    with drawing(network, trial, evaluation, begun, guide=guide) as batch:
        return torch.cat([batch(place) for place in batches(trial, begun, device=device_of(network))])


def batches(trial: TrialConfig, begun: Tensor, *, device: torch.device) -> list[slice]:
    """The batches that images of these starts are drawn in. They depend on nothing but the trial, the device's kind and the
    number of images, since an image's last bits depend on its batch."""
    count = len(begun)
    size = min(images_at_once(trial, device=device.type), max(_FEWEST_IMAGES, -(-count // _BATCHES)))
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


Draw = Callable[..., Tensor]
"""A batch's uint8 images: `draw(place, stepped)`, of which `stepped` hears how many steps there have been. NotFinite: a sample
is not finite."""


@contextmanager
def drawing(
    network: nn.Module, trial: TrialConfig, evaluation: EvaluationConfig, begun: Tensor, *, guide: nn.Module | None = None
) -> Iterator[Draw]:
    """Draws batches of images of these starts [n, ...]: each place of them has noise of its own, whoever draws it. `guide`: the
    classifier that the evaluation names, on the network's device.

    Within it the network's weights stay as they are, and torch keeps no gradients.
    """
    device = device_of(network)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=trial.precision == "bf16")
    with torch.inference_mode(), autocast:
        replayed = Replayed(network, device) if trial.graphs and device.type == "cuda" else network
        space = network.space if isinstance(network, Network) else lift_of(trial)
        yield partial(_batch, replayed, space, trial, evaluation, begun.to(device), guide)


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next(network.parameters()).device


def _batch(
    network: nn.Module,
    space: Space,
    trial: TrialConfig,
    evaluation: EvaluationConfig,
    begun: Tensor,
    guide: nn.Module | None,
    place: slice,
    stepped: Stepped = lambda _: None,
) -> Tensor:
    method, own = method_of(trial), begun[place]
    samples = method.draw(network, trial, evaluation, own, first=place.start, stepped=stepped, guide=guide)
    images = space.down(samples.float())
    return to_pixels(require_finite(images, what="generated pixels"))
