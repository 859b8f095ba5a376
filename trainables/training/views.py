"""The noise levels at which an encoder's pre-training sees an image, and its two views; each a function of its number."""

import torch
from torch import Tensor

from trainables.config.method import EncoderPretrainingMethod
from trainables.config.trial import TrialConfig
from trainables.diffusion.karras_grid import sigma_at
from trainables.draws.philox import Draws, PhiloxDraws, Purpose
from trainables.methods.views import NUMBERS, VIEWS


def levels_of(trial: TrialConfig, *, first: int) -> Tensor:
    """Two neighbouring noise levels sigma, the noisier first, float32 [2] on the CPU, of the update that this image is of.

    They are one pair for all images of an update, drawn by the number of its first, as the original draws one a batch; how
    finely the grid is cut follows from that number too.
    """
    method, begun = trial.method, first // trial.batch_size * trial.batch_size
    assert isinstance(method, EncoderPretrainingMethod)
    steps = method.levels_at(begun)
    level = int(float(PhiloxDraws(trial.seed).uniform(Purpose.PRETRAINING_LEVEL, first=begun, count=1)) * steps)
    return torch.tensor([sigma_at(level, steps=steps), sigma_at(level + 1, steps=steps)])


def levels_and_views(draws: Draws, trial: TrialConfig, *, first: Tensor, count: int, levels: Tensor) -> Tensor:
    """Of each of these images, float32 [count, 2 + 8]: its update's two `levels`, then for each of two views what
    `trainables.methods.views.view` is told. No view is mirrored where the data says that no image is."""
    views = torch.special.ndtr(draws.normal(Purpose.VIEWS, first=first, count=count, shape=(VIEWS, NUMBERS)))
    if not trial.data.flip:
        views[..., 0] = 0.0
    return torch.cat((levels.expand(count, -1), views.flatten(1)), dim=1)
