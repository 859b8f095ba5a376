"""Which tokens of a training image are masked, and the times at which the head sees them; each a function of its number."""

import torch
from torch import Tensor

from trainables.config.method import MaskedTokensMethod
from trainables.config.trial import TrialConfig
from trainables.draws.philox import Draws, PhiloxDraws, Purpose
from trainables.networks.masked_layout import mask_rate, masked_count


def masked_of(trial: TrialConfig, *, first: int) -> int:
    """How many tokens are masked of each image of the update that this image is of.

    The share is one for all images of an update, drawn by the number of its first, as the original draws one a batch: the
    encoder sees images of one length, however the update is cut.
    """
    method, begun = trial.method, first // trial.batch_size * trial.batch_size
    assert isinstance(method, MaskedTokensMethod)
    drawn = float(PhiloxDraws(trial.seed).uniform(Purpose.MASK_RATE, first=begun, count=1))
    return masked_count(mask_rate(drawn, method), trial.grid**2)


def masks_and_times(draws: Draws, trial: TrialConfig, *, first: Tensor, count: int, masked: int) -> Tensor:
    """Of each token of these images, float32 [count, 1 + R, N]: first a place in an order of its image's own, below 0 where it
    is one of the `masked`, then times in [0, 1], evenly distributed.
    """
    method, tokens = trial.method, trial.grid**2
    assert isinstance(method, MaskedTokensMethod)
    order = draws.normal(Purpose.MASK_ORDER, first=first, count=count, shape=(1, tokens))
    times = draws.normal(Purpose.HEAD_TIME, first=first, count=count, shape=(method.head_repeats, tokens))
    places = order.argsort(-1).argsort(-1) - masked
    return torch.cat((places.float(), torch.special.ndtr(times)), dim=1)
