"""How an update's kernels are started: one by one by the host, or as CUDA graphs that were recorded once."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.cuda_graphs import Recorder, Recording
from trainables.networks.memory import Fit
from trainables.training.muon import Muon

Work = Callable[..., None]


class OneByOne:
    """Every kernel as it comes."""

    def __init__(self, optimiser: torch.optim.AdamW | Muon, device: torch.device) -> None:
        self._optimiser, self._device = optimiser, device

    def run(self, key: Hashable, work: Work, *inputs: Tensor) -> None:
        """Do the work on these inputs, which may still lie in pinned memory of the host."""
        work(*(given.to(self._device, non_blocking=True) for given in inputs))

    def step(self, *, rate: float, skip: Tensor) -> None:
        """One step of the optimiser, none where `skip`, float32 [], is 1; it has no gradients afterwards."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        # The fused kernel skips its step where it is 1.
        self._optimiser.found_inf = skip  # type: ignore[union-attr]
        self._optimiser.step()
        self._optimiser.zero_grad()

    def forget(self) -> None:
        """Tensors that the work uses lie elsewhere now."""


class AsGraphs:
    """The first update one by one, which makes whatever is made on first use; from the second on, each key's work is recorded
    once and replayed. The gradients stay where the recorded backward pass writes them.

    Learning rate and averages change with every update, and torch's fused kernels round a rate that lies in a tensor to
    float32: so these few kernels are started one by one.
    """

    def __init__(self, optimiser: torch.optim.AdamW, device: torch.device) -> None:
        self._optimiser, self._device = optimiser, device
        self._plain = OneByOne(optimiser, device)
        self._recorder = Recorder(device)
        self._recordings: dict[Hashable, Recording[None]] = {}
        self._fused: FusedAdamW | None = None
        self._warm = False

    def run(self, key: Hashable, work: Work, *inputs: Tensor) -> None:
        """Do the work on these inputs, pinned memory of the host. Work of one key does the same to inputs of the same shape."""
        if not self._warm:
            self._recorder.warm(work, *inputs)
            return
        if key not in self._recordings:
            self._recordings[key] = self._recorder.record(work, *inputs)
        self._recordings[key].replay(*inputs)

    def step(self, *, rate: float, skip: Tensor) -> None:
        """One step of the optimiser, none where `skip`, float32 [], is 1."""
        if not self._warm:
            self._plain.step(rate=rate, skip=skip)
            self._warm = True
            return
        self._fused = self._fused or FusedAdamW(self._optimiser)
        self._fused.step(rate=rate, skip=skip)

    def forget(self) -> None:
        """Tensors that the work uses lie elsewhere now: the next update is a first one again."""
        self._recordings.clear()
        self._recorder = Recorder(self._device)  # memory whose last recording is gone takes no other
        self._optimiser.zero_grad()
        self._fused, self._warm = None, False


@dataclass(frozen=True)
class _Group:
    """A group's parameters, gradients and moments as torch's kernel takes them, and its settings."""

    tensors: tuple[list[Tensor], ...]
    settings: dict[str, Any]


class FusedAdamW:
    """torch's fused AdamW over an optimiser's parameters, gradients and state where they lie now.

    The kernels of `optimiser.step()`, without its walk over every parameter, which takes the host ten times as long.
    """

    def __init__(self, optimiser: torch.optim.AdamW) -> None:
        self._steps: list[Tensor] = []
        self._groups = [self._group(group, optimiser.state) for group in optimiser.param_groups]

    def _group(self, group: dict[str, Any], state: Any) -> _Group:
        parameters = [p for p in group["params"] if p.grad is not None]
        moments = [[state[p][name] for p in parameters] for name in ("exp_avg", "exp_avg_sq")]
        steps = [state[p]["step"] for p in parameters]
        self._steps += steps
        beta1, beta2 = group["betas"]
        settings = {"beta1": beta1, "beta2": beta2, **{name: group[name] for name in ("weight_decay", "eps")}}
        return _Group((parameters, [p.grad for p in parameters], *moments, [], steps), settings)

    @torch.no_grad()
    def step(self, *, rate: float, skip: Tensor) -> None:
        """One step, none where `skip`, float32 [], is 1."""
        torch._foreach_add_(self._steps, 1)
        for group in self._groups:
            torch._fused_adamw_(*group.tensors, lr=rate, found_inf=skip, amsgrad=False, maximize=False, **group.settings)
        torch._foreach_sub_(self._steps, [skip] * len(self._steps))


def kernels_of(trial: TrialConfig, fit: Fit, optimiser: torch.optim.AdamW | Muon) -> OneByOne | AsGraphs:
    """How a trial's kernels are started. ValueError: its passes cannot be replayed."""
    device = torch.device(trial.device)
    if not trial.graphs:
        return OneByOne(optimiser, device)
    if fit.activation_checkpointing and trial.model.drops:
        rule = "`graphs` with dropout needs activations that are kept: torch reads the state of its masks on the host"
        got = f"activation_checkpointing=true, attn_dropout={trial.model.attn_dropout}, proj_dropout={trial.model.proj_dropout}"
        raise ValueError(f"{rule}, got {got}; try graphs=false, no dropout or activation_checkpointing=false")
    assert isinstance(optimiser, torch.optim.AdamW), "a trial with graphs has AdamW"
    return AsGraphs(optimiser, device)
