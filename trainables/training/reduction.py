"""The sum of several workers' gradients, in buckets that leave while the backward pass goes on (DDP, arXiv 2006.15704)."""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from trainables.config.recipe import Precision
from trainables.training.ema import trained
from trainables.training.workers import Ask, Workers

BUCKET_BYTES = 25 * 2**20
"""Gradients that are summed at once: DDP's choice. A larger parameter has a bucket with more."""

_HOOKS = "reduction_hooks"
"""The attribute in which a network holds the hooks on its parameters."""


class Reduction:
    """Sums a network's gradients over the workers of a trial; alone, a worker needs none.

    A gradient becomes a view of its bucket when the first of an update's `passes` (micro-batches) makes it; the others add to
    it there. A bucket leaves with its last gradient of the last pass, never before the bucket ahead of it: every worker sums in
    the same order. The first buckets hold the last parameters, whose gradients are made first.

    Not `overlapping`: all of them leave after the backward pass, as those of a replayed one must, at which Python does nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        workers: Workers,
        passes: int,
        overlapping: bool = True,
        precision: Precision = "fp32",
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        groups = cut(list(trained(network).values())[::-1], bucket_bytes=bucket_bytes)
        if precision == "bf16":
            groups.append([])  # the loss is not rounded
        device = next(network.parameters()).device
        self._buckets = [_Bucket(group, passes=passes, precision=precision, device=device) for group in groups[:-1]]
        last = _Bucket(groups[-1], passes=passes, precision="fp32", device=device, more=2)
        self._buckets.append(last)
        self._loss, self._asked = last.flat[-2:].unbind()
        self._workers, self._overlapping = workers, overlapping
        self.sent = 0
        """Buckets of this update whose sum is under way."""
        self._finished = True
        release(network)
        hooks: list[RemovableHandle] = [
            parameter.register_post_accumulate_grad_hook(self._hook(bucket, slot))
            for bucket, group in zip(self._buckets, groups, strict=True)
            for slot, parameter in enumerate(group)
        ]
        vars(network)[_HOOKS] = hooks

    def finish(self, loss: Tensor, *, ask: Ask) -> Tensor:
        """Send what is left and wait for every sum. `loss`, a scalar, becomes the workers'; returns the lead's ask, a scalar on
        the device. A parameter that no backward pass has reached counts as zero here and keeps no gradient."""
        self._loss.copy_(loss)
        self._asked.fill_(float(ask if self._workers.lead else Ask.NOTHING))
        for bucket in self._buckets[self.sent :]:
            bucket.send()
        for bucket in self._buckets:
            bucket.receive()
        self.sent, self._finished = 0, True
        loss.copy_(self._loss)
        return self._asked

    def _hook(self, bucket: "_Bucket", slot: int) -> Callable[[Tensor], None]:
        """What follows each gradient. It does not hold the parameter, which holds it."""

        def arrived(parameter: Tensor) -> None:
            if self._finished:
                self._begin()
            bucket.take(parameter, slot)
            while self._overlapping and self.sent < len(self._buckets) - 1 and self._buckets[self.sent].full:
                self._buckets[self.sent].send()
                self.sent += 1

        return arrived

    def _begin(self) -> None:
        """Wait for every gradient anew. A replayed pass comes without this and reaches what it reached when it was recorded."""
        self._finished = False
        for bucket in self._buckets:
            bucket.begin()


class _Bucket:
    """Some gradients as views of one tensor, which has room for `more` numbers at its end."""

    def __init__(
        self, parameters: Sequence[Tensor], *, passes: int, precision: Precision, device: torch.device, more: int = 0
    ) -> None:
        ends = list(accumulate((p.numel() for p in parameters), initial=0))
        self.flat = torch.zeros(ends[-1] + more, device=device)
        self._views = [self.flat[end - p.numel() : end].view_as(p) for p, end in zip(parameters, ends[1:], strict=True)]
        self._passes, self._rounded = passes, precision == "bf16"
        self._to_come: list[int] = []
        """Passes of this update that have not yet reached each gradient."""
        self.begin()
        self._sent: tuple[dist.Work, Tensor] | None = None

    @property
    def full(self) -> bool:
        """Whether the last pass has reached every gradient."""
        return not any(self._to_come)

    def begin(self) -> None:
        """An update's first gradient is there."""
        self._to_come = [self._passes] * len(self._views)

    def take(self, parameter: Tensor, slot: int) -> None:
        """Make a new gradient a view of the bucket; one that is has been added to in place."""
        view, gradient = self._views[slot], parameter.grad
        assert gradient is not None, "it has just been made"
        if gradient is not view:
            view.copy_(gradient)
            parameter.grad = view
        self._to_come[slot] -= 1

    def send(self) -> None:
        """Begin to sum it over the workers."""
        for view, to_come in zip(self._views, self._to_come, strict=True):
            if to_come == self._passes:
                view.zero_()
        summed = self.flat.bfloat16() if self._rounded else self.flat
        work = dist.all_reduce(summed, async_op=True)
        assert work is not None, "every worker is part of the group"
        self._sent = work, summed

    def receive(self) -> None:
        """Wait for the sum: on a GPU, its stream does."""
        assert self._sent is not None, "a bucket is sent before it is received"
        work, summed = self._sent
        work.wait()
        if self._rounded:
            self.flat.copy_(summed)
        self._sent = None


def cut(parameters: Sequence[nn.Parameter], *, bucket_bytes: int) -> list[list[nn.Parameter]]:
    """The parameters in order, a new group once one has `bucket_bytes`."""
    groups: list[list[nn.Parameter]] = [[]]
    for parameter in parameters:
        if sum(p.nbytes for p in groups[-1]) >= bucket_bytes:
            groups.append([])
        groups[-1].append(parameter)
    return groups


def release(network: nn.Module) -> None:
    """Take the hooks of the trial before off a network that trials train one after the other."""
    for handle in vars(network).pop(_HOOKS, []):
        handle.remove()
