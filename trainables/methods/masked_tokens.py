"""The method masked_tokens: masked patches are found from the others, and samples are drawn a few patches at a time (MAR,
arXiv 2406.11838)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.diffusion.ddpm import STEPS, Chain, chain, cleaner, head_loss, noisy
from trainables.diffusion.evaluating import evaluating
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.methods.denoiser import FromLabels
from trainables.methods.method import Stepped
from trainables.networks.embedding import images_of_patches, patches_of
from trainables.networks.masked_autoencoder import MaskedAutoencoder, Masking, taken
from trainables.networks.masked_layout import Uncovering, uncoverings
from trainables.networks.parts.masked_autoencoder import MaskedAutoencoderPart
from trainables.process_caches import ProcessCache

PIXEL_RANGE = 1.0
"""Pixels lie within this of 0, so that a clean token does; codes know no such bound."""
_PLACES = 2**32
"""More than there are samples of an evaluation."""
_chains: ProcessCache[tuple[int, torch.device], Chain] = ProcessCache("chains of the head's diffusion")


def chain_on(device: torch.device, *, count: int = STEPS) -> Chain:
    """The chain of so many steps, its constants on a device."""
    return _chains.get((count, device), make=lambda: chain(count).to(device))


class Shown(NamedTuple):
    """What the head is shown of some images' masked tokens, and says."""

    x: Tensor
    """The clean tokens, [B, 1, M, P]."""
    e: Tensor
    """[B, R, M, P]."""
    step: Tensor
    """int64 [B, R, M]."""
    output: Tensor
    """float32 [B, R, M, 2 P]."""


def shown(network: MaskedAutoencoder, x: Tensor, e: Tensor, t: Tensor, y: Tensor, masking: Masking) -> Shown:
    """Of images [B, C, H, W] by noise e [B, R, N, P] at times t [B, R, N] in (0, 1), of which the masked tokens' own are
    taken."""
    tokens, masked = patches_of(x, network.trial.seen_patch), masking.masked
    places = masked[:, None].expand(-1, e.shape[1], -1)
    clean = taken(tokens, masked)[:, None]
    own = e.gather(2, places[..., None].expand(-1, -1, -1, e.shape[-1]))
    step = (t.gather(2, places) * STEPS).long().clamp(max=STEPS - 1)
    known = taken(network(tokens, masking, y), masked)[:, None]
    return Shown(clean, own, step, network.head(noisy(clean, own, step, chain_on(x.device)), step, known))


class MaskedTokens(FromLabels):
    """See `trainables.config.method.MaskedTokensMethod`."""

    def losses(
        self,
        network: nn.Module,
        x: Tensor,
        e: Tensor,
        _t: Tensor,
        y: Tensor,
        _t_eps: float | Tensor,
        route: Tensor | None,
        _truths: Mapping[str, Tensor],
    ) -> Tensor:
        """The squared error of the noise and the bound in bits, the mean over an image's masked tokens and their times; noise e
        [B, R, N, P], and in route [B, 1 + R, N] masked tokens below 0, then times."""
        assert isinstance(network, MaskedAutoencoder)
        assert route is not None
        places, t = route[:, 0], route[:, 1:]
        masking = Masking(places.argsort(1), int((places[0] < 0).sum()))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=network.trial.precision == "bf16"):
            seen = shown(network, x, e, t, y, masking)
        terms = head_loss(seen.output, seen.x, seen.e, seen.step, chain_on(x.device))
        return (terms.squared + terms.bound).mean((1, 2))

    def draw(
        self,
        network: nn.Module,
        trial: TrialConfig,
        evaluation: EvaluationConfig,
        begun: Tensor,
        *,
        first: int,
        stepped: Stepped,
        guide: nn.Module | None,
    ) -> Tensor:
        """From images of masked tokens alone, in an order of each image's own; those of a step are drawn at once, each by the
        head's chain, from what the tokens drawn before say of them."""
        assert isinstance(network, MaskedAutoencoder)
        count, tokens = trial.grid**2, torch.zeros(len(begun), trial.grid**2, trial.token_dim, device=begun.device)
        numbers = PhiloxDraws(evaluation.seed).normal(Purpose.SAMPLE_ORDER, first=first, count=len(begun), shape=(count,))
        order, steps = numbers.argsort(1).to(begun.device), uncoverings(count, steps=evaluation.steps)
        noise = _Noise(evaluation, first, len(begun), (max(step.before - step.after for step in steps), trial.token_dim))
        with evaluating(network):
            for number, step in enumerate(steps):
                chosen = order[:, step.after : step.before]
                guidance = guidance_at(step, evaluation.guidance, tokens=count)
                known = _known(network, tokens, Masking(order, step.before), begun, guided=guidance != 1)
                condition = taken(known, chosen.repeat(len(known) // len(begun), 1))
                drawn = _drawn(network, condition, guidance, noise, evaluation, number)
                tokens = tokens.scatter(1, chosen[..., None].expand_as(drawn), drawn)
                stepped(step.number + 1)
        stepped(evaluation.steps)
        return images_of_patches(tokens, trial.seen_patch, trial.channels)

    def passes(self, trial: TrialConfig, evaluation: EvaluationConfig) -> int:
        """By their multiply-adds, of which a pass in training is the measure: the trunk once a step, the head so often a token,
        both twice where guided."""
        part, count = MaskedAutoencoderPart(trial), trial.grid**2
        macs = sum(
            (1 if guidance_at(step, evaluation.guidance, tokens=count) == 1 else 2)
            * (part.context_macs(count - step.before) + (step.before - step.after) * part.head_macs(evaluation.head_steps))
            for step in uncoverings(count, steps=evaluation.steps)
        )
        return max(1, round(macs / part.macs().forward))


def guidance_at(step: Uncovering, guidance: float, *, tokens: int) -> float:
    """MAR's linear schedule: 1 + (w - 1) (N - M)/N, where M tokens stay masked, at least one."""
    return 1 + (guidance - 1) * (tokens - max(1, step.after)) / tokens


class _Noise(NamedTuple):
    """Standard normal noise of samples, each by its own place whatever batch it is in."""

    evaluation: EvaluationConfig
    first: int
    samples: int
    shape: tuple[int, ...]
    """Of the step that draws most tokens; others have the first of it, so that no two steps share a number."""

    def of(self, step: int, head_step: int, like: Tensor) -> Tensor:
        """In a step's head step, as `like` [B, K, P]; the one before the first is the start."""
        number = step * (self.evaluation.head_steps + 1) + head_step
        draws, first = PhiloxDraws(self.evaluation.seed), number * _PLACES + self.first
        drawn = draws.normal(Purpose.SAMPLE_TOKENS, first=first, count=self.samples, shape=self.shape)
        return drawn[:, : like.shape[1]].to(like.device)


def _known(network: MaskedAutoencoder, tokens: Tensor, masking: Masking, y: Tensor, *, guided: bool) -> Tensor:
    """What is known of each token, [B, N, D]; where guided of the classes first and then without one, [2 B, N, D]."""
    if not guided:
        known: Tensor = network(tokens, masking, y)
        return known
    twice = Masking(masking.order.repeat(2, 1), masking.hidden)
    both: Tensor = network(tokens.repeat(2, 1, 1), twice, torch.cat((y, torch.full_like(y, network.trial.data.num_classes))))
    return both


def _drawn(
    network: MaskedAutoencoder, condition: Tensor, guidance: float, noise: _Noise, evaluation: EvaluationConfig, number: int
) -> Tensor:
    """Tokens of a condition [B, K, D], or [2 B, K, D] where guided, float32 [B, K, P]."""
    limit = evaluation.token_limit or (PIXEL_RANGE if network.trial.space.kind == "pixels" else None)
    short = chain_on(condition.device, count=evaluation.head_steps)
    like = condition.new_empty(noise.samples, condition.shape[1], network.trial.token_dim, dtype=torch.float32)
    w = noise.of(number, evaluation.head_steps, like)
    for place in reversed(range(evaluation.head_steps)):
        step = torch.full(w.shape[:2], place, device=w.device)
        output = _guided(network.head, w, short.steps[step], condition, guidance)
        own, temperature = noise.of(number, place, like), evaluation.temperature
        w = cleaner(output, w, step, short, noise=own, temperature=temperature, limit=limit)
    return w


def _guided(head: nn.Module, w: Tensor, step: Tensor, condition: Tensor, guidance: float) -> Tensor:
    """The head's output [B, K, 2 P], its noise led away from what it is without a class; the variance is the class's own."""
    if len(condition) == len(w):
        plain: Tensor = head(w, step, condition)
        return plain
    with_class, without = head(w.repeat(2, 1, 1), step.repeat(2, 1), condition).chunk(2)
    (e, v), (e_without, _) = with_class.chunk(2, dim=-1), without.chunk(2, dim=-1)
    return torch.cat((e_without + guidance * (e - e_without), v), dim=-1)
