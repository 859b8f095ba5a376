"""How often the training clamp acts, in closed form and without torch: what `plan` tells about a clamp axis."""

from trainables.config.trial import DiffusionConfig
from trainables.diffusion.t_sampling import distribution_of


def clamped_share(diffusion: DiffusionConfig) -> float:
    """The share of training samples whose conversion from the prediction to the loss divides by the clamp.

    An x-prediction divides by 1 - t, an eps-prediction by t, a v-prediction or a loss in the prediction's own space by nothing.
    """
    if diffusion.prediction in (diffusion.loss, "v") or diffusion.t_eps_train == 0:
        return 0.0
    times = distribution_of(diffusion.t_sampling)
    if diffusion.prediction == "x":
        return times.share_above(1 - diffusion.t_eps_train)
    return 1 - times.share_above(diffusion.t_eps_train)
