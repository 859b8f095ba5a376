"""Adapters for code that counts time from the data, as SD3 (arXiv 2403.03206) and diffusers do.

There sigma = 1 is noise, a timestep is 1000 sigma, and the network predicts the flow e - x; here t = 1 - sigma and v = x - e.
`NoiseTime` wraps a network of ours unchanged, for any prediction; `reversed_time` rewrites its weights, without a wrapper.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.diffusion.maths import convert
from trainables.networks.network import Network

TIMESTEPS = 1000.0
"""The timestep of pure noise."""


def t_from_timestep(timestep: Tensor) -> Tensor:
    """t = 1 - timestep / 1000, any shape."""
    return 1 - timestep / TIMESTEPS


def flow_from_v(v: Tensor) -> Tensor:
    """e - x from x - e, any shape; its own inverse."""
    return -v


class NoiseTime(nn.Module):
    """A network of ours under diffusers' calling convention, in its own mode, dtype and autocast."""

    def __init__(self, network: Network, *, t_eps: float) -> None:
        """t_eps clamps the conversion to a flow, as `EvaluationConfig.t_eps_sample` does; 0 is off.

        ValueError: an unclamped eps-prediction, or a path of stages.
        """
        super().__init__()
        _check_flow(network.trial)
        self.network, self.t_eps = network, t_eps
        self.prediction = network.trial.diffusion.prediction
        if self.prediction == "eps" and t_eps == 0:
            raise ValueError("`t_eps` must be above 0 for eps-prediction, which divides by t from noise on, got 0; try 0.05")

    def forward(self, sample: Tensor, timestep: Tensor | float, class_labels: Tensor) -> Tensor:
        """The flow e - x, float32 [B, C, H, W].

        Args:
            sample: z, float32 [B, C, H, W].
            timestep: one for all images or [B], in 0..1000, fractions allowed; at 0 an unclamped x-prediction divides by zero,
                but Euler's steps never evaluate it.
            class_labels: int64 [B] in 0..num_classes, the last the null label.
        """
        steps = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device).expand(len(sample))
        t = t_from_timestep(steps)
        output = self.network(sample, t, class_labels)
        return flow_from_v(convert(output, sample, t, source=self.prediction, target="v", t_eps=self.t_eps))


def reversed_time(state_dict: Mapping[str, Tensor], *, trial: TrialConfig, frequencies: Tensor) -> dict[str, Tensor]:
    """The weights of a network that takes sigma in [0, 1] where this one takes t; a v-prediction then outputs e - x.

    Its own inverse up to rounding, so the same call turns such weights back. Equal outputs hold in float32; under bf16 autocast
    up to bf16's rounding.

    Args:
        state_dict: parameters of the trial's network, raw or averaged; every other tensor is passed on as it is.
        frequencies: [F], as `TimeEmbedding.frequencies` holds them.

    ValueError: the network has an output skip, which uses t outside the weights, or a tensor to rewrite is missing.
    """
    _check(state_dict, trial)
    adapted = dict(state_dict)
    adapted["time.first.weight"] = rotated(state_dict["time.first.weight"], frequencies)
    if trial.diffusion.prediction == "v":
        adapted |= {name: flow_from_v(state_dict[name]) for name in _last(trial)}
    return adapted


def rotated(weight: Tensor, frequencies: Tensor) -> Tensor:
    """W' with W' (cos sf, sin sf) = W (cos (1 - s)f, sin (1 - s)f) for every s: [D, 2F] with [F] -> [D, 2F].

    cos (1 - s)f = cos f cos sf + sin f sin sf and sin (1 - s)f = sin f cos sf - cos f sin sf: a reflection of each pair.
    """
    f = frequencies.double()
    of_cos, of_sin = weight.double().chunk(2, dim=1)
    to_cos = of_cos * f.cos() + of_sin * f.sin()
    to_sin = of_cos * f.sin() - of_sin * f.cos()
    return torch.cat((to_cos, to_sin), dim=1).to(weight.dtype)


def _last(trial: TrialConfig) -> tuple[str, str]:
    """The names of the last linear map or convolution, whose output is the network's."""
    last = "last" if not trial.model.sees_patches else "head.last" if trial.model.reads_pixels else "head"
    return f"{last}.weight", f"{last}.bias"


def _check_flow(trial: TrialConfig) -> None:
    if trial.error_kind != "flow":
        rule = "a trial must be of one flow for code that counts one time from the data on"
        raise ValueError(f"{rule}, got {trial.error_kind}; sample it by the program itself")


def _check(state_dict: Mapping[str, Tensor], trial: TrialConfig) -> None:
    _check_flow(trial)
    if trial.model.time_kind != "raw":
        raise ValueError(f"`time_kind` must be raw for weights of reversed time, got {trial.model.time_kind}; try NoiseTime")
    skip = trial.model.output_skip
    if skip != "none":
        rule = "`output_skip` must be none for weights of reversed time, since the skip itself uses t"
        raise ValueError(f"{rule}, got {skip}; try NoiseTime around the network")
    missing = [name for name in ("time.first.weight", *_last(trial)) if name not in state_dict]
    if missing:
        raise ValueError(f"the parameters must be those of a network of the trial, missing {missing}")
