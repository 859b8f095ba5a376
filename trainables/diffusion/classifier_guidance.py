"""Guidance by a classifier of noisy images (ADM, arXiv 2105.05233) along the flow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS_AT_ONCE = 2**20
"""Of images that go through a classifier at once: it keeps what its way back needs, of 256 px images 16."""


def push(
    classifier: nn.Module, z: Tensor, t: float, labels: Tensor, *, scale: float, noise_scale: float, t_eps: float
) -> Tensor:
    """What a classifier adds to the velocity, w s^2 (1 - t) / t grad_z log p(y | z, t), in fp32; float32 [B, C, H, W].

    The score of z is (t v - z) / (s^2 (1 - t)), so that what is added to it adds s^2 (1 - t) / t times as much to v.
    `classifier`: logits [B, K] of (z, t); s is `noise_scale`, and t is clamped from below by `t_eps`. It takes gradients
    whatever the caller has switched off.
    """
    few = max(1, PIXELS_AT_ONCE // (z.shape[-1] * z.shape[-2]))
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(z.device.type, enabled=False):
        gradient = torch.cat([_gradient(classifier, *part, t) for part in zip(z.split(few), labels.split(few), strict=True)])
    factor = scale * noise_scale**2 * (1 - t) / max(t, t_eps)
    return factor * gradient


def _gradient(classifier: nn.Module, z: Tensor, labels: Tensor, t: float) -> Tensor:
    """grad_z log p(y | z, t), float32 [B, C, H, W]."""
    seen, wanted = z.detach().float().clone().requires_grad_(), labels.clone()
    times = torch.full((len(z),), t, dtype=torch.float32, device=z.device)
    found = F.log_softmax(classifier(seen, times), dim=1).gather(1, wanted[:, None])
    [gradient] = torch.autograd.grad(found.sum(), seen)
    return gradient
