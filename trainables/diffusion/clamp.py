"""How often the training clamp acts and what the sampling clamp does, without torch: what `plan` tells of them."""

from trainables.config.diffusion import DiffusionConfig, Target
from trainables.config.evaluation import EvaluationConfig
from trainables.config.path import StagedPath
from trainables.diffusion.integrators import steps_of
from trainables.diffusion.stage_bounds import starts
from trainables.diffusion.t_sampling import TimeDistribution, distribution_of


def clamped_share(diffusion: DiffusionConfig) -> float:
    """The share of training samples whose conversion from the prediction to the loss divides by the clamp.

    An x-prediction divides by 1 - t, an eps-prediction by t, a v-prediction or a loss in the prediction's own space by nothing.
    """
    if diffusion.prediction in (diffusion.error_space, "v") or diffusion.t_eps_train == 0:
        return 0.0
    times = distribution_of(diffusion.t_sampling)
    if isinstance(diffusion.path, StagedPath):
        return _clamped_in_stages(diffusion.path, diffusion.t_eps_train, times)
    if diffusion.prediction == "x":
        return times.share_above(1 - diffusion.t_eps_train)
    return 1 - times.share_above(diffusion.t_eps_train)


def _clamped_in_stages(path: StagedPath, clamp: float, times: TimeDistribution) -> float:
    """Where an x-prediction divides by what is left of the noise, the mean over the stages."""
    ends = [(number + 1) / path.stages for number in range(path.stages)]
    reached = [(1 - start - clamp) / (end - start) for start, end in zip(starts(path), ends, strict=True)]
    return sum(times.share_above(t) if 0 < t < 1 else float(t <= 0) for t in reached) / path.stages


ORACLE_SD = 0.5
"""Standard deviation of the data that `clamp_bias` is of: about that of images in [-1, 1]."""


def clamp_bias(diffusion: DiffusionConfig, evaluation: EvaluationConfig) -> float:
    """By how much the sampling clamp changes the samples' standard deviation, as a share of it, were the network exact.

    Of normal data, whose exact outputs are linear in z, against v-prediction, which no clamp touches. An x-prediction
    falls short in the steps with 1 - t below the clamp, an eps-prediction in its first one. Of the flow.
    """
    return _end(diffusion.prediction, diffusion, evaluation) / _end("v", diffusion, evaluation) - 1


def _end(space: Target, diffusion: DiffusionConfig, evaluation: EvaluationConfig) -> float:
    """Where the sampler leads z = noise_scale by the exact outputs in a space."""
    noise, clamp = diffusion.noise_scale, evaluation.t_eps_sample

    def velocity(z: float, t: float) -> float:
        variance = (t * ORACLE_SD) ** 2 + ((1 - t) * noise) ** 2
        x, e = t * ORACLE_SD**2 / variance * z, (1 - t) * noise**2 / variance * z
        if space == "v":
            return x - e
        return (x - z) / max(1 - t, clamp) if space == "x" else (z - e) / max(t, clamp)

    z = noise
    for integrator, t, after in steps_of(evaluation):
        z = integrator.step(velocity, z, t, after)
    return z
