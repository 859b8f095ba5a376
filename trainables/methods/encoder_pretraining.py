"""The method encoder_pretraining: an encoder knows an image by another view and by its next noise level, and draws nothing
(EPG's first stage, arXiv 2510.12586)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from trainables.config.average import TARGET
from trainables.config.method import EncoderPretrainingMethod
from trainables.diffusion.karras_grid import SMALLEST
from trainables.diffusion.noise_levels import AtLevel, at_level
from trainables.methods.views import NUMBERS, VIEWS, view
from trainables.networks.encoder_pretrainer import EncoderPretrainer, Known


class Contrasts(NamedTuple):
    """Both terms of the loss of each image, float32 [B]."""

    views: Tensor
    """Each view finds the other, as the target knows it: the sum of both."""
    levels: Tensor
    """The noisy image finds itself at the next level."""


class ShownAtLevels(NamedTuple):
    """What networks are shown of images, [B, ...] each."""

    views: tuple[AtLevel, AtLevel]
    level: AtLevel
    next_level: AtLevel


class EncoderPretraining:
    """See `trainables.config.method.EncoderPretrainingMethod`."""

    def losses(
        self,
        network: nn.Module,
        x: Tensor,
        e: Tensor,
        _t: Tensor,
        _y: Tensor,
        _t_eps: float | Tensor,
        route: Tensor | None,
        _truths: Mapping[str, Tensor],
    ) -> Tensor:
        """The sum of both cross entropies; in route [B, 10] the levels, then what makes the views. They share one noise."""
        assert isinstance(network, EncoderPretrainer)
        assert route is not None
        method, scale = _method(network), network.noise_scale
        made = route[:, 2:].unflatten(1, (VIEWS, NUMBERS))
        one, other = (view(x, made[:, place], least_side=method.least_side) for place in range(VIEWS))
        cleanest = torch.full_like(route[:, 0], SMALLEST)
        given = ShownAtLevels(
            views=(at_level(one, e, cleanest, scale), at_level(other, e, cleanest, scale)),
            level=at_level(x, e, route[:, 0], scale),
            next_level=at_level(x, e, route[:, 1], scale),
        )
        found = contrasts(network, given)
        return found.views + found.levels


def contrasts(network: EncoderPretrainer, given: ShownAtLevels) -> Contrasts:
    """In the trial's precision. Gradients go through the network's views and the noisier level alone."""
    method, count = _method(network), len(given.level.z)
    autocast = torch.autocast(given.level.z.device.type, torch.bfloat16, enabled=network.trial.precision == "bf16")
    with autocast:
        own: Known = network(*_together(*given.views, given.level), projected=2 * count)
        with torch.no_grad():
            told = (*_together(*given.views),)
            target: Known = functional_call(network, _target(network), told, {"projected": 2 * count})
            less_noisy: Known = network(*given.next_level, projected=0)
    (one, other), (as_one, as_other) = own.projected.chunk(2), target.projected.chunk(2)
    heat, group = method.temperature, method.group
    views = info_nce(one, as_other, heat, group) + info_nce(other, as_one, heat, group)
    levels = info_nce(own.tokens[2 * count :], less_noisy.tokens, method.level_temperature, group)
    return Contrasts(views, levels)


def info_nce(asked: Tensor, keys: Tensor, temperature: float, group: int) -> Tensor:
    """-log of the share that each vector's own key has among its group's, by the cosine over a temperature: float32 [B] of
    vectors [B, D], B a multiple of `group` (arXiv 1807.03748)."""
    a, b = (F.normalize(each.float(), dim=-1).unflatten(0, (-1, group)) for each in (asked, keys))
    with torch.autocast(a.device.type, enabled=False):
        logits = a @ b.transpose(1, 2) / temperature
    own = torch.arange(group, device=a.device).expand(len(a), -1)
    return F.cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none")


def _together(*given: AtLevel) -> AtLevel:
    return AtLevel(torch.cat([each.z for each in given]), torch.cat([each.time for each in given]))


def _target(network: EncoderPretrainer) -> dict[str, Tensor]:
    """The target's weights by name; none where it is the network itself still."""
    return dict(network.averages.get(TARGET, {}))


def _method(network: EncoderPretrainer) -> EncoderPretrainingMethod:
    method = network.trial.method
    assert isinstance(method, EncoderPretrainingMethod)
    return method
