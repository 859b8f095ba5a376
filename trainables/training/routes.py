"""What a method draws for each training image beside noise, time and label: which tokens skip blocks or are masked, which views
there are. Each draw is a function of the image's number, or of that of its update's first image."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.draws.philox import Draws, Purpose
from trainables.methods.masked_tokens import noise_of
from trainables.training.masks import masked_of, masks_and_times
from trainables.training.views import levels_and_views, levels_of


class RouteAndNoise(NamedTuple):
    """Of a micro-batch, see `trainables.training.batches.Batch`."""

    route: Tensor | None
    noise: Tensor
    """What the network's part of the batch's noise is."""


class Routes(Protocol):
    """The draws of one kind of method."""

    def of_update(self, trial: TrialConfig, *, first: int) -> Tensor | None:
        """What all images share of the update that this image is of, on the CPU: the host draws it, so that it never waits for
        a GPU to say it. None: nothing."""
        ...

    def drawn(
        self, draws: Draws, trial: TrialConfig, noise: Tensor, *, first: Tensor, count: int, shared: Tensor | None
    ) -> RouteAndNoise:
        """Of these images, on the draws' device; `shared` is what `of_update` said."""
        ...


class TokenRoutes:
    """Which tokens skip blocks, where some do."""

    def of_update(self, trial: TrialConfig, *, first: int) -> None:
        """Nothing."""

    def drawn(
        self, draws: Draws, trial: TrialConfig, noise: Tensor, *, first: Tensor, count: int, shared: Tensor | None
    ) -> RouteAndNoise:
        """[B, N] of normal numbers, whose order says who skips."""
        if trial.model.routing.kind == "none":
            return RouteAndNoise(None, noise)
        return RouteAndNoise(draws.normal(Purpose.ROUTING, first=first, count=count, shape=(trial.grid**2,)), noise)


class MaskRoutes:
    """Which tokens are masked, and the times at which the head sees these."""

    def of_update(self, trial: TrialConfig, *, first: int) -> Tensor:
        """As long as the masked tokens are many, since a tensor's shape is known wherever its numbers are."""
        return torch.zeros(masked_of(trial, first=first), dtype=torch.uint8)

    def drawn(
        self, draws: Draws, trial: TrialConfig, noise: Tensor, *, first: Tensor, count: int, shared: Tensor | None
    ) -> RouteAndNoise:
        """Mask and times [B, 1 + R, N], and the masked tokens' own noise."""
        assert shared is not None
        route = masks_and_times(draws, trial, first=first, count=count, masked=len(shared))
        return RouteAndNoise(route, noise_of(noise, route[:, 0].argsort(1)[:, : len(shared)]))


class ViewRoutes:
    """The noise levels of an update, and each image's two views."""

    def of_update(self, trial: TrialConfig, *, first: int) -> Tensor:
        """The two levels."""
        return levels_of(trial, first=first)

    def drawn(
        self, draws: Draws, trial: TrialConfig, noise: Tensor, *, first: Tensor, count: int, shared: Tensor | None
    ) -> RouteAndNoise:
        """Levels and views [B, 10]."""
        assert shared is not None
        return RouteAndNoise(levels_and_views(draws, trial, first=first, count=count, levels=shared), noise)


ROUTES: dict[str, Routes] = {"masked_tokens": MaskRoutes(), "encoder_pretraining": ViewRoutes()}
"""By the kind of a trial's `method`; of others it is `TokenRoutes`."""


def routes_of(trial: TrialConfig) -> Routes:
    """Those of a trial."""
    return ROUTES.get(trial.method.kind, TokenRoutes())
