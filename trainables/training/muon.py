"""Muon (Jordan et al., 2024) for the hidden matrices of a network, AdamW for everything else, as one optimiser.

A matrix that holds several is several: q, k and v, the two halves of SwiGLU, and each shift, scale and gate of the modulation
are orthogonalised each by itself. A piece's update is scaled by 0.2 sqrt(its longer side) (arXiv 2502.16982), about the size of
AdamW's, so that one learning rate serves both and every width. Pieces of one shape are updated together.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainables.config.optimiser import OptimiserConfig
from trainables.networks.cost import NEWTON_SCHULZ_STEPS
from trainables.networks.sizes import PIECES

BUFFER = "momentum_buffer"
QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of a x + b (x x^T) x + c (x x^T)^2 x; five steps of it bring all but the smallest singular values near one."""
LEAST_NORM = 1e-7
SIZE_OF_ADAMW = 0.2
"""Root mean square of AdamW's update over the learning rate, about."""
MOST_NUMBERS = 2**24
"""Numbers of the pieces that are updated at once, which bounds the memory that an update takes beside the weights."""


class MatrixPiece(NamedTuple):
    """One matrix that is updated by itself, [rows, columns] each; parts of what they are views of."""

    weight: Tensor
    gradient: Tensor
    momentum: Tensor


def pieces_in(name: str, parameter: Tensor) -> int:
    """How many matrices a parameter holds that Muon updates; 0 where AdamW does."""
    if name.endswith("modulation.weight") and "blocks" not in name:
        return parameter.shape[0] // parameter.shape[1]
    return next((count for ending, count in PIECES.items() if name.endswith(ending)), 0)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Each matrix with its singular values brought near one, [K, rows, columns], by five quintic Newton-Schulz steps.

    In bfloat16 on a GPU; in float32 on a CPU, most of which only emulate bfloat16.
    """
    if matrices.shape[1] > matrices.shape[2]:
        turned: Tensor = orthogonalised(matrices.mT).mT
        return turned
    a, b, c = QUINTIC
    norms = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    x: Tensor = (matrices / norms.clamp(min=LEAST_NORM)).to(torch.bfloat16 if matrices.is_cuda else torch.float32)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon:
    """Muon and AdamW behind the few names of an optimiser that the trainer uses. Nothing here waits for the device."""

    found_inf: Tensor | None = None
    """float32 []: 1 skips a step."""

    def __init__(self, network: nn.Module, config: OptimiserConfig) -> None:
        counts = {p: pieces_in(name, p) for name, p in network.named_parameters() if p.requires_grad}
        others = [p for p, count in counts.items() if not count]
        self._matrices = {p: count for p, count in counts.items() if count}
        self._config = config
        self._group: dict[str, Any] = {"lr": config.learning_rate}
        self.adamw = torch.optim.AdamW(
            [
                {"params": [p for p in others if p.ndim > 1], "weight_decay": config.weight_decay},
                {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
        )
        self.state = self.adamw.state
        """By the network's own parameters; a matrix has one momentum buffer, whatever pieces it is cut into."""
        for p in self._matrices:
            self.state[p] = {BUFFER: torch.zeros_like(p)}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """AdamW's and Muon's, for their learning rates."""
        return [*self.adamw.param_groups, self._group]

    @torch.no_grad()
    def step(self) -> None:
        """One step, none where `found_inf` is 1."""
        self.adamw.found_inf = self.found_inf  # type: ignore[attr-defined]
        self.adamw.step()
        for pieces in self._together():
            self._update(pieces)

    def zero_grad(self) -> None:
        """No parameter has a gradient afterwards."""
        self.adamw.zero_grad()
        for p in self._matrices:
            p.grad = None

    def _together(self) -> Iterator[list[MatrixPiece]]:
        """All pieces with a gradient, those of one shape at once."""
        by_shape: dict[torch.Size, list[MatrixPiece]] = {}
        for p, count in self._matrices.items():
            if p.grad is not None:
                parts = (tensor.chunk(count) for tensor in (p, p.grad, self.state[p][BUFFER]))
                for piece in map(MatrixPiece, *parts):
                    by_shape.setdefault(piece.weight.shape, []).append(piece)
        for shape, pieces in by_shape.items():
            most = max(1, MOST_NUMBERS // shape.numel())
            yield from (pieces[at : at + most] for at in range(0, len(pieces), most))

    def _update(self, pieces: list[MatrixPiece]) -> None:
        """Nesterov's momentum, orthogonalised, and decoupled decay, of pieces of one shape."""
        config, rate = self._config, self._group["lr"]
        weight, gradient, momentum = (torch.stack(tensors) for tensors in zip(*pieces, strict=True))
        mean = momentum.lerp(gradient, 1 - config.momentum)
        change = orthogonalised(gradient.lerp(mean, config.momentum))
        size = SIZE_OF_ADAMW * max(weight.shape[1:]) ** 0.5
        moved = (weight * (1 - rate * config.weight_decay)).add_(change, alpha=-rate * size)
        if self.found_inf is not None:
            skip = self.found_inf.bool()
            mean, moved = torch.where(skip, momentum, mean), torch.where(skip, weight, moved)
        torch._foreach_copy_([piece.momentum for piece in pieces], mean.unbind())
        torch._foreach_copy_([piece.weight for piece in pieces], moved.unbind())
