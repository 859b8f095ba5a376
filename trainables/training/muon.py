"""Muon (torch's own) for the hidden matrices of a network, AdamW for everything else, as one optimiser.

A matrix that holds several is several: q, k and v, the two halves of SwiGLU, and each shift, scale and gate of the modulation
are orthogonalised each by itself. A piece's update is scaled by 0.2 sqrt(its longer side) (`match_rms_adamw`, arXiv
2502.16982), about the size of AdamW's, so that one learning rate serves both and every width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from trainables.config.optimiser import OptimiserConfig
from trainables.networks.sizes import PIECES

BUFFER = "momentum_buffer"


def pieces_in(name: str, parameter: Tensor) -> int:
    """How many matrices a parameter holds that Muon updates; 0 where AdamW does."""
    if name.endswith("modulation.weight") and "blocks" not in name:
        return parameter.shape[0] // parameter.shape[1]
    return next((count for ending, count in PIECES.items() if name.endswith(ending)), 0)


class Muon:
    """torch's Muon and AdamW behind the few names of an optimiser that the trainer uses."""

    found_inf: Tensor | None = None
    """float32 []: 1 skips a step."""

    def __init__(self, network: nn.Module, config: OptimiserConfig) -> None:
        counts = {p: pieces_in(name, p) for name, p in network.named_parameters() if p.requires_grad}
        others = [p for p, count in counts.items() if not count]
        self._matrices = {p: count for p, count in counts.items() if count}
        self._pieces = {p: [nn.Parameter(piece) for piece in p.detach().chunk(count)] for p, count in self._matrices.items()}
        self.adamw = torch.optim.AdamW(
            [
                {"params": [p for p in others if p.ndim > 1], "weight_decay": config.weight_decay},
                {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
        )
        self.muon = torch.optim.Muon(
            [piece for pieces in self._pieces.values() for piece in pieces],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        self.state = self.adamw.state
        """By the network's own parameters; a matrix has one momentum buffer, whatever pieces it is cut into."""
        for p in self._matrices:
            self.state[p] = {BUFFER: torch.zeros_like(p)}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """AdamW's and Muon's, for their learning rates."""
        return [*self.adamw.param_groups, *self.muon.param_groups]

    def step(self) -> None:
        """One step, none where `found_inf` is 1: reading it waits for the device."""
        if self.found_inf is not None and float(self.found_inf):
            return
        for p, count in self._matrices.items():
            buffers = self.state[p][BUFFER].chunk(count)
            gradients = [None] * count if p.grad is None else p.grad.chunk(count)
            for piece, gradient, buffer in zip(self._pieces[p], gradients, buffers, strict=True):
                piece.grad = gradient
                self.muon.state[piece][BUFFER] = buffer
        self.adamw.step()
        self.muon.step()

    def zero_grad(self) -> None:
        """No parameter has a gradient afterwards."""
        self.adamw.zero_grad()
        self.muon.zero_grad()
        for p in self._matrices:
            p.grad = None
