"""The codes of a frozen autoencoder as what a network sees, and their way back to pixels."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.config.method import AutoencoderMethod
from trainables.config.space import PIXELS, LatentSpace
from trainables.config.trial import TrialConfig
from trainables.diffusion.evaluating import evaluating
from trainables.networks.autoencoder import LOG_VARIANCE, Autoencoder

MOST_AT_ONCE = 64
MAP_BYTES = 2**28
"""Of the images that go through an autoencoder at once, in one map of its first level."""


class CodeStatistics(NamedTuple):
    """Of the codes of a training split, both mirror images."""

    mean: Tensor
    """float32 [Z]."""
    std: Tensor
    """float32 [Z]."""
    mean_code: Tensor
    """float32 [Z, h, w]: what the mean image is among pixels."""


class Latent:
    """A frozen autoencoder, and the numbers by which its codes are normalised: up to codes, down to pixels."""

    def __init__(self, space: LatentSpace, autoencoder: Autoencoder, statistics: CodeStatistics) -> None:
        self._autoencoder, self._quantise = autoencoder, space.quantise
        mean = statistics.mean if space.mean is None else torch.tensor(space.mean)
        std = statistics.std if space.std is None else torch.tensor(space.std)
        device = next(autoencoder.parameters()).device
        self._mean, self._std = (each.view(-1, 1, 1).to(device) for each in (mean, std))
        self.mean_code = self._normalised(statistics.mean_code.to(device))
        """float32 [Z, h, w], as the network sees it."""

    def up(self, x: Tensor) -> Tensor:
        """The codes of images [B, C, H, W] in [-1, 1], without chance, float32 [B, Z, h, w]."""
        return self._normalised(code_of(self._autoencoder, told(self._autoencoder, x)))

    def seen(self, stored: Tensor, e: Tensor | None) -> Tensor:
        """What a network sees of stored codes [B, Z', h, w] (see `told`): drawn by standard normal e [B, Z, h, w], or without
        chance."""
        code = code_of(self._autoencoder, stored)
        if e is not None:
            code = code + (0.5 * stored.chunk(2, dim=1)[1].clamp(*LOG_VARIANCE)).exp() * e
        return self._normalised(code)

    def down(self, x: Tensor) -> Tensor:
        """The images of codes [B, Z, h, w], float32 [B, C, H, W]."""
        codes = x.float() * self._std + self._mean
        with evaluating(self._autoencoder), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return torch.cat(
                [self._autoencoder.decoded(part, quantise=self._quantise) for part in codes.split(at_once(self._autoencoder))]
            )

    def _normalised(self, code: Tensor) -> Tensor:
        return (code - self._mean) / self._std


class _Unread:
    """In the place of an autoencoder that nobody has read yet."""

    def up(self, _x: Tensor) -> Tensor:
        """RuntimeError."""
        raise RuntimeError("the autoencoder of a latent trial must be read before its codes are")

    def down(self, x: Tensor) -> Tensor:
        """RuntimeError."""
        return self.up(x)


UNREAD = _Unread()


def at_once(autoencoder: Autoencoder) -> int:
    """Images that go through it at once. A code's last bits depend on that, so that it depends on nothing but the network."""
    a_map = 4 * autoencoder.trunk.width * autoencoder.trial.data.image_size**2
    return max(1, min(MOST_AT_ONCE, MAP_BYTES // a_map))


def told(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """All that an autoencoder says of images [B, C, H, W] in [-1, 1], float32: mean and log variance of a Gaussian code
    [B, 2 Z, h, w], or the code before entries are sought [B, Z, h, w]."""
    with evaluating(autoencoder), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return torch.cat([autoencoder.told(part) for part in x.split(at_once(autoencoder))])


def code_of(autoencoder: Autoencoder, stored: Tensor) -> Tensor:
    """The code without chance in what was `told`, [B, Z, h, w]."""
    return stored.chunk(2, dim=1)[0] if autoencoder.trunk.code.kind == "kl" else stored


def autoencoder_of(trial: TrialConfig, weights: Mapping[str, Tensor], *, device: torch.device | str) -> Autoencoder:
    """The autoencoder whose codes a trial sees, with these weights, frozen, on a device.

    ValueError: they are of another network than the trial's `space.trunk`.
    """
    network = Autoencoder(encoding_trial(trial))
    wanted = {(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()}
    if odd := sorted({name for name, _ in wanted ^ {(name, tuple(tensor.shape)) for name, tensor in weights.items()}}):
        rule = "`space.trunk` must be the network whose weights `space.encoder` names"
        raise ValueError(f"{rule}, got a difference in {', '.join(odd[:4])}; write the trunk as it was trained")
    network.load_state_dict(dict(weights))
    return network.to(device).requires_grad_(False).eval()


def encoding_trial(trial: TrialConfig) -> TrialConfig:
    """The trial of the autoencoder whose codes a trial sees, as far as its network goes."""
    space = trial.space
    assert isinstance(space, LatentSpace)
    model = trial.model.model_copy(update={"trunk": space.trunk})
    changes = {"model": model, "method": AutoencoderMethod(), "space": PIXELS, "attention": "sdpa"}
    return trial.model_copy(update=changes)
