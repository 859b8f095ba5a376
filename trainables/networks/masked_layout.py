"""What follows from the sizes of a network of masked tokens, and how many tokens are masked. Free of torch."""

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

from trainables.config.decoder import HalfSizes
from trainables.config.method import MaskedTokensMethod
from trainables.config.network import ModelConfig


def attention_model(model: ModelConfig, sizes: HalfSizes) -> ModelConfig:
    """The settings by which attention of a half is JiT's without what it adds to a ViT's."""
    width, depth, heads = sizes
    plain = {"bias": True, "qk_norm": False, "rope": False}
    return model.model_copy(update={"width": width, "depth": depth, "heads": heads, **plain})


def hidden_width(model: ModelConfig, sizes: HalfSizes) -> int:
    """Of a block's MLP."""
    return int(sizes.width * model.mlp_ratio)


def mask_rate(u: float, method: MaskedTokensMethod) -> float:
    """The u-th quantile of the share of masked tokens: of N(mean, deviation) cut to [least, 1]."""
    normal = NormalDist(method.mask_mean, method.mask_deviation)
    low, high = normal.cdf(method.mask_least), normal.cdf(1.0)
    return min(1.0, max(method.mask_least, normal.inv_cdf(low + u * (high - low))))


def masked_count(rate: float, tokens: int) -> int:
    """Masked tokens of an image that has so many."""
    return min(tokens, math.ceil(tokens * rate))


class Chance(NamedTuple):
    """How probable it is that so many tokens of an image are masked."""

    masked: int
    probability: float


def mask_chances(method: MaskedTokensMethod, tokens: int) -> Iterator[Chance]:
    """Of every number of masked tokens that there can be."""
    normal, least = NormalDist(method.mask_mean, method.mask_deviation), method.mask_least
    low, high = normal.cdf(least), normal.cdf(1.0)
    for masked in range(masked_count(least, tokens), tokens + 1):
        below = max(low, normal.cdf((masked - 1) / tokens)) if masked > masked_count(least, tokens) else low
        above = high if masked == tokens else normal.cdf(masked / tokens)
        yield Chance(masked, (above - below) / (high - low))


def most_visible(method: MaskedTokensMethod, tokens: int) -> int:
    """Tokens of an image that the encoder sees at most in training."""
    return tokens - masked_count(method.mask_least, tokens)


class Uncovering(NamedTuple):
    """One step of drawing an image: some of its masked tokens are drawn."""

    number: int
    """Of the evaluation's steps, from 0; steps in which nothing is left to draw are none."""
    before: int
    """Masked tokens."""
    after: int
    """Of them those that stay masked."""


def uncoverings(tokens: int, *, steps: int) -> tuple[Uncovering, ...]:
    """The steps until nothing is masked: after step i of n floor(N cos(pi/2 (i + 1)/n)) tokens are, at least one fewer than
    before, and one until the last (MaskGIT's cosine schedule, arXiv 2202.04200)."""
    made: list[Uncovering] = []
    before = tokens
    for number in range(steps):
        wanted = math.floor(tokens * math.cos(math.pi / 2 * (number + 1) / steps))
        after = 0 if number == steps - 1 else max(1, min(before - 1, wanted))
        if after < before:
            made.append(Uncovering(number, before, after))
        before = after
    return tuple(made)
