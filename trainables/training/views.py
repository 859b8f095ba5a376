"""The noise levels at which an encoder's pre-training sees an image, and its two views; each a function of its number."""

import torch
from torch import Tensor

from trainables.config.method import EncoderPretrainingMethod
from trainables.config.trial import TrialConfig
from trainables.diffusion.karras_grid import sigma_at
from trainables.draws.philox import Draws, Purpose
from trainables.methods.views import NUMBERS, VIEWS


def levels_and_views(draws: Draws, trial: TrialConfig, *, first: Tensor, count: int) -> Tensor:
    """Of each of these images, float32 [count, 2 + 8]: two neighbouring noise levels sigma, the noisier first, then for each of
    two views what `trainables.methods.views.view` is told. No view is mirrored where the data says that no image is.

    The levels are one pair for all images of an update, drawn by the number of its first, as the original draws one a batch;
    how finely the grid is cut follows from that number too. No images of two updates are asked for at once.
    """
    method, update = trial.method, int(first) // trial.batch_size
    assert isinstance(method, EncoderPretrainingMethod)
    begun = update * trial.batch_size
    steps = method.levels_at(begun)
    level = int(float(draws.uniform(Purpose.PRETRAINING_LEVEL, first=begun, count=1)) * steps)
    views = torch.special.ndtr(draws.normal(Purpose.VIEWS, first=first, count=count, shape=(VIEWS, NUMBERS)))
    if not trial.data.flip:
        views[..., 0] = 0.0
    pair = views.new_tensor([sigma_at(level, steps=steps), sigma_at(level + 1, steps=steps)])
    return torch.cat((pair.expand(count, -1), views.flatten(1)), dim=1)
