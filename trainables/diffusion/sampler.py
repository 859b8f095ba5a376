"""From noise to images: steps along dz/dt = v with classifier-free guidance, as JiT samples."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_sampling
from trainables.diffusion.evaluating import evaluating
from trainables.diffusion.integrators import Velocity, steps_of
from trainables.diffusion.maths import convert


@torch.no_grad()
def sample(
    network: nn.Module,
    z0: Tensor,
    labels: Tensor,
    *,
    diffusion: DiffusionConfig,
    evaluation: EvaluationConfig,
    num_classes: int,
    stepped: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Integrate from t = 0 to 1 over `time_grid`; the last step is always Euler's, so that t = 1 is never evaluated.

    Args:
        network: o(z, t, y); evaluated without dropout, and under whatever autocast the caller has set.
        z0: the start, noise_scale times a standard normal, float32 [B, C, H, W].
        labels: int64 [B] in 0..num_classes-1; `num_classes` itself is the null label.
        stepped: hears after each step how many there have been; on a GPU a step is queued then, and not over yet.

    Returns:
        float32 [B, C, H, W], not clipped.

    ValueError: a label out of range, or what `check_sampling` refuses.
    """
    _check(labels, diffusion, evaluation, num_classes)
    velocity = _velocity(network, labels, diffusion=diffusion, evaluation=evaluation, null=num_classes)
    z = z0
    with evaluating(network):
        for count, (integrator, t, after) in enumerate(steps_of(evaluation), start=1):
            z = integrator.step(velocity, z, t, after)
            stepped(count)
    return z


def passes(evaluation: EvaluationConfig) -> int:
    """How often the network sees each image while it is drawn: twice at a time t where guidance acts."""
    visited = [t for integrator, t, after in steps_of(evaluation) for t in integrator.visited(t, after)]
    return sum(1 if guidance_at(t, evaluation) == 1.0 else 2 for t in visited)


def guidance_at(t: float, evaluation: EvaluationConfig) -> float:
    """The guidance scale at t: 1 outside the interval, whose lower end 0 includes t = 0 (arXiv 2404.07724)."""
    low, high = evaluation.interval
    return evaluation.guidance if t < high and (low == 0 or t > low) else 1.0


def _velocity(
    network: nn.Module, labels: Tensor, *, diffusion: DiffusionConfig, evaluation: EvaluationConfig, null: int
) -> Velocity[Tensor]:
    """v_u + w(t) (v_c - v_u), from one pass over both halves; from the conditional half alone where w is 1."""
    nulls = torch.full_like(labels, null)

    def one(z: Tensor, t: float, y: Tensor) -> Tensor:
        times = torch.full((len(z),), t, dtype=torch.float32, device=z.device)
        output = network(z, times, y)
        return convert(output, z, times, source=diffusion.prediction, target="v", t_eps=evaluation.t_eps_sample)

    def guided(z: Tensor, t: float) -> Tensor:
        scale = guidance_at(t, evaluation)
        if scale == 1.0:
            return one(z, t, labels)
        conditional, unconditional = one(torch.cat((z, z)), t, torch.cat((labels, nulls))).chunk(2)
        return unconditional + scale * (conditional - unconditional)

    return guided


def _check(labels: Tensor, diffusion: DiffusionConfig, evaluation: EvaluationConfig, num_classes: int) -> None:
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        got = f"{int(labels.min())}..{int(labels.max())}"
        raise ValueError(f"`labels` must be in 0..{num_classes - 1}, got {got}; the model knows num_classes={num_classes}")
    check_sampling(diffusion, evaluation, num_classes=num_classes)
