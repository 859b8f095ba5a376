"""A trial in memory: network, averages, optimiser and the count of images, which is the whole state of the data loader."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.networks.memory import Fit
from trainables.training.batches import Batches
from trainables.training.ema import MODEL, OPTIMISER, Averages, assign, trained
from trainables.training.health import Health
from trainables.training.optimiser import adamw, learning_rate
from trainables.training.reduction import Reduction
from trainables.training.step import step_of
from trainables.training.workers import Ask, Workers

Tensors = dict[str, dict[str, Tensor]]
LOOK_EVERY = 50
"""Updates between two looks at losses and gradients: each look makes the host wait for the device."""
HEARD_AFTER = 2
"""Updates after which workers on GPUs read what the lead asked for: sooner, they would wait for their devices."""


class Learner:
    """Trains one trial, an update at a time.

    Neither the number of workers nor the micro-batch changes which images, noise, times and dropped labels an update sees;
    dropout alone is drawn by the micro-batch.
    """

    def __init__(self, trial: TrialConfig, images: ImageSet, *, workers: Workers, fit: Fit | None = None) -> None:
        self.trial = trial
        self.workers = workers
        self.share = share_of(trial, workers)
        self.fit = fit or Fit(self.share, activation_checkpointing=False)
        self.device = torch.device(trial.device)
        self.image_losses = step_of(trial)
        self.network = self.image_losses.network
        self.network.activation_checkpointing = self.fit.activation_checkpointing
        self.averages = Averages(self.network, trial.ema, batch_size=trial.batch_size)
        self.optimiser = adamw(self.network, trial.optimiser)
        self.health = Health(self.device)
        self.reduction = self._reduction() if workers.size > 1 else None
        self.images = 0
        self._batches = Batches(trial, images, device=self.device)
        self._asked: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    @property
    def step(self) -> int:
        """Updates so far."""
        return self.images // self.trial.batch_size

    @property
    def at_look(self) -> bool:
        """Whether the last update is one after which every worker looks at its health."""
        return self.step % LOOK_EVERY == 0

    def update(self, *, ask: Ask = Ask.NOTHING) -> Ask:
        """One update over the next `batch_size` images; what the lead asked for, on every worker at the same update.

        Once a loss or a gradient was not finite, weights and optimiser stay as they are: the check stays on the device, and
        nothing here waits for it.
        """
        self.network.train()
        loss = torch.zeros((), device=self.device)
        first = self.images + self.workers.rank * self.share
        for low in range(first, first + self.share, self.fit.micro_batch):
            loss += self._backward(low, min(self.fit.micro_batch, first + self.share - low))
        if self.reduction is not None:
            ask = self._heard(self.reduction.finish(loss, ask=ask))
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        self.images += self.trial.batch_size
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.health.see_update(loss, grad_norm=norm, step=self.step)
        if (most := self.trial.optimiser.grad_clip) is not None:
            clip_grads_with_norm_(self.network.parameters(), most, norm, foreach=True)
        self._apply()
        return ask

    def _backward(self, first: int, count: int) -> Tensor:
        if self.trial.model.dropout:
            torch.manual_seed(self._batches.dropout_seed(first))
        batch = self._batches.take(first, count)
        losses = self.image_losses(batch)
        loss = losses.sum() / self.trial.batch_size
        loss.backward()
        self.health.see_images(losses.detach(), batch.t)
        return loss.detach()

    def _reduction(self) -> Reduction:
        passes = -(-self.share // self.fit.micro_batch)
        return Reduction(self.network, workers=self.workers, passes=passes, precision=self.trial.gradient_sum)

    def _heard(self, asked: Tensor) -> Ask:
        if not asked.is_cuda:
            return Ask(int(asked))
        self._asked.append((asked.to("cpu", non_blocking=True), torch.cuda.Event()))
        self._asked[-1][1].record()
        if len(self._asked) <= HEARD_AFTER:
            return Ask.NOTHING
        answer, arrived = self._asked.popleft()
        arrived.synchronize()
        return Ask(int(answer))

    def _apply(self) -> None:
        rate = learning_rate(self.trial, images=self.images)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # The fused kernel skips its step where it is 1.
        self.optimiser.found_inf = self.health.diverged  # type: ignore[attr-defined]
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.averages.update()

    def parts(self) -> Tensors:
        """Everything a checkpoint holds, by part."""
        optimiser = {
            f"{name}/{key}": value
            for name, parameter in trained(self.network).items()
            for key, value in self.optimiser.state[parameter].items()
        }
        model = {name: parameter.detach() for name, parameter in trained(self.network).items()}
        return {MODEL: model, **self.averages.tensors, OPTIMISER: optimiser}

    def state(self) -> dict[str, int]:
        """The counters that go with `parts`."""
        return {"images": self.images, "ema_updates": self.averages.updates}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Go on exactly where `parts` and `state` were saved."""
        saved: Tensors = {}
        for path, tensor in tensors[OPTIMISER].items():
            name, _, key = path.rpartition("/")
            saved.setdefault(name, {})[key] = tensor.to(self.device)
        parameters: dict[str, nn.Parameter] = trained(self.network)
        assign(parameters, tensors[MODEL])
        for name, values in saved.items():
            self.optimiser.state[parameters[name]] = values
        self.averages.restore(tensors, updates=int(state["ema_updates"]))
        self.images = int(state["images"])

    @torch.no_grad()
    def begin_from(self, weights: Mapping[str, Tensor]) -> None:
        """Start with a parent's weights, and averages that have seen nothing else.

        ValueError: the parent's network is of another shape.
        """
        parameters = trained(self.network)
        if odd := _unlike(parameters, weights):
            raise ValueError(f"a parent's network must have the trial's shape, got a difference in {', '.join(odd[:4])}")
        assign(parameters, weights)
        for average in self.averages.tensors.values():
            assign(average, weights)


def share_of(trial: TrialConfig, workers: Workers) -> int:
    """Images of an update that one worker computes. ValueError where they cannot be shared out evenly."""
    share, rest = divmod(trial.batch_size, workers.size)
    if rest:
        rule = "the number of workers must divide batch_size"
        raise ValueError(f"{rule}, got workers={workers.size}, batch_size={trial.batch_size}")
    return share


def _unlike(parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Names that only one side has, or with another shape."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in side.items()} for side in (parameters, weights)]
    return sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
