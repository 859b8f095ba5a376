"""From noise to images: steps along dz/dt = v with classifier-free guidance, as JiT samples."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_sampling
from trainables.config.path import FLOW, DiffusionPath
from trainables.diffusion.classifier_guidance import push
from trainables.diffusion.evaluating import evaluating
from trainables.diffusion.integrators import Velocity, stage_steps
from trainables.diffusion.stages import PathStage, path_stages


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
    borders: Sequence[Tensor] = (),
    guide: nn.Module | None = None,
) -> Tensor:
    """Integrate from t = 0 to 1 in each stage of the path; the last step is always Euler's, so that t = 1 is never evaluated.

    Args:
        network: o(z, t, y); evaluated without dropout, and under whatever autocast the caller has set.
        z0: the start, noise_scale times a standard normal, float32 [B, C, H, W].
        labels: int64 [B] in 0..num_classes-1; `num_classes` itself is the null label.
        stepped: hears after each step how many there have been; on a GPU a step is queued then, and not over yet.
        guide: logits [B, K] of (z, t), the classifier that the evaluation names.
        borders: noise for the start of each stage after the first, noise_scale times a standard normal of that stage's size.

    Returns:
        float32 [B, C, H, W], not clipped.

    ValueError: a label out of range, the classifier is missing, or what `check_sampling` refuses.
    """
    _check(labels, diffusion, evaluation, num_classes)
    if evaluation.guide is not None and guide is None:
        raise ValueError(f"samples guided by a `classifier` need its weights, got none of {evaluation.guide.trial}; give them")
    stages, per_stage = path_stages(diffusion.path), stage_steps(evaluation, diffusion.path)
    z, count = z0, 0
    with evaluating(network):
        for stage, noise, steps in zip(stages, (z0, *borders), per_stage, strict=True):
            z = (1 - steps[0][1]) * stage.entered(z, noise)  # nothing of the image yet, at whatever time the steps begin
            velocity = _velocity(network, labels, stage=stage, diffusion=diffusion, evaluation=evaluation, null=num_classes)
            if guide is not None and evaluation.guide is not None:
                velocity = _pushed(velocity, guide, labels, noise_scale=diffusion.noise_scale, evaluation=evaluation)
            for integrator, t, after in steps:
                z, count = integrator.step(velocity, z, t, after), count + 1
                stepped(count)
    return z


def passes(evaluation: EvaluationConfig, path: DiffusionPath = FLOW) -> int:
    """How often the network sees each image while it is drawn: twice at a time t where guidance acts."""
    visited = [
        _scale_at(t, stage, evaluation)
        for stage, steps in zip(path_stages(path), stage_steps(evaluation, path), strict=True)
        for integrator, at, after in steps
        for t in integrator.visited(at, after)
    ]
    return sum(1 if scale == 1.0 else 2 for scale in visited)


def guidance_at(t: float, evaluation: EvaluationConfig) -> float:
    """The guidance scale at t: 1 outside the interval, whose lower end 0 includes t = 0 (arXiv 2404.07724)."""
    return evaluation.guidance if _acts(t, evaluation) else 1.0


def guided_passes(evaluation: EvaluationConfig) -> int:
    """How often a guiding classifier sees each image while it is drawn along a flow, forward and backward."""
    if evaluation.guide is None:
        return 0
    return sum(
        _acts(t, evaluation)
        for steps in stage_steps(evaluation, FLOW)
        for integrator, at, after in steps
        for t in integrator.visited(at, after)
    )


def _acts(t: float, evaluation: EvaluationConfig) -> bool:
    low, high = evaluation.interval
    return t < high and (low == 0 or t > low)


def _scale_at(t: float, stage: PathStage, evaluation: EvaluationConfig) -> float:
    """The guidance scale in a stage: its share of what acts at the time that the network is told."""
    scale = guidance_at(stage.told(t), evaluation)
    return scale if stage.guidance == 1.0 else 1.0 + stage.guidance * (scale - 1.0)


def _velocity(
    network: nn.Module,
    labels: Tensor,
    *,
    stage: PathStage,
    diffusion: DiffusionConfig,
    evaluation: EvaluationConfig,
    null: int,
) -> Velocity[Tensor]:
    """v_u + w(t) (v_c - v_u), from one pass over both halves; from the conditional half alone where w is 1, and in the channels
    that guidance leaves."""
    nulls = torch.full_like(labels, null)

    def one(z: Tensor, t: float, y: Tensor) -> Tensor:
        times = torch.full((len(z),), t, dtype=torch.float32, device=z.device)
        output = network(*stage.seen(z, times, diffusion.noise_scale), y)
        return stage.convert(output, z, times, source=diffusion.prediction, target="v", t_eps=evaluation.t_eps_sample)

    def guided(z: Tensor, t: float) -> Tensor:
        scale = _scale_at(t, stage, evaluation)
        if scale == 1.0:
            return one(z, t, labels)
        conditional, unconditional = one(torch.cat((z, z)), t, torch.cat((labels, nulls))).chunk(2)
        told = unconditional + scale * (conditional - unconditional)
        first = evaluation.guidance_channels
        return told if first is None else torch.cat((told[:, :first], conditional[:, first:]), dim=1)

    return guided


def _pushed(
    velocity: Velocity[Tensor], guide: nn.Module, labels: Tensor, *, noise_scale: float, evaluation: EvaluationConfig
) -> Velocity[Tensor]:
    """A velocity with what a classifier adds to it at the times where guidance acts."""
    told = {"scale": evaluation.classifier_scale, "noise_scale": noise_scale, "t_eps": evaluation.t_eps_sample}

    def pushed(z: Tensor, t: float) -> Tensor:
        v = velocity(z, t)
        return v + push(guide, z, t, labels, **told) if _acts(t, evaluation) else v

    return pushed


def _check(labels: Tensor, diffusion: DiffusionConfig, evaluation: EvaluationConfig, num_classes: int) -> None:
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        got = f"{int(labels.min())}..{int(labels.max())}"
        raise ValueError(f"`labels` must be in 0..{num_classes - 1}, got {got}; the model knows num_classes={num_classes}")
    check_sampling(diffusion, evaluation, num_classes=num_classes)
