"""One split's real images as metrics see them: their features, and what is derived from those once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from torch import Tensor

Derived = TypeVar("Derived")


@dataclass(frozen=True, eq=False)
class Reference:
    """The features of one split's real images, and the values derived from them, each computed once."""

    features: Tensor
    """float32 [m, d], m >= 2."""
    known: dict[Callable[[Tensor], Any], Any] = field(default_factory=dict)
    """What has been derived from the features, by the function that derives it."""
    classify: Callable[[Tensor], Tensor] | None = None
    """Class logits of features, where their network is a classifier."""

    def once(self, derive: Callable[[Tensor], Derived]) -> Derived:
        """What a function of the features gives, computed on first use."""
        if derive not in self.known:
            self.known[derive] = derive(self.features)
        return cast(Derived, self.known[derive])


@dataclass(frozen=True, eq=False)
class References:
    """Both splits of an image set under one extractor."""

    train: Reference
    heldout: Reference
    known: dict[Callable[["References"], Any], Any] = field(default_factory=dict)
    """What has been derived from both, by the function that derives it."""

    def once(self, derive: Callable[["References"], Derived]) -> Derived:
        """What a function of both splits gives, computed on first use."""
        if derive not in self.known:
            self.known[derive] = derive(self)
        return cast(Derived, self.known[derive])
