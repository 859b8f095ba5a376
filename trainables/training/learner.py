"""A trial in memory: network, averages, optimiser and the count of images, which is the whole state of the data loader."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from trainables.config.average import MODEL, OPTIMISER
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.networks.memory import Fit
from trainables.networks.network import of_model
from trainables.training.ahead import BatchPiece
from trainables.training.batches import Batches
from trainables.training.ema import Averages, assign, trained
from trainables.training.graphed import kernels_of
from trainables.training.health import Health
from trainables.training.optimiser import learning_rate, optimiser_of
from trainables.training.reduction import Reduction
from trainables.training.step import step_of
from trainables.training.workers import Ask, Workers

if TYPE_CHECKING:
    from trainables.training.latents import Latents

Tensors = dict[str, dict[str, Tensor]]
LOOK_EVERY = 50
"""Updates between two looks at losses and gradients: each look makes the host wait for the device."""
FETCHED_AHEAD = 2
"""Micro-batches that are gathered while one is computed."""
HEARD_AFTER = 2
"""Updates after which workers on GPUs read what the lead asked for: sooner, they would wait for their devices."""


class Learner:
    """Trains one trial, an update at a time.

    Neither the number of workers nor the micro-batch changes which images, noise, times and dropped labels an update sees;
    dropout alone is drawn by the micro-batch.
    """

    def __init__(
        self,
        trial: TrialConfig,
        images: ImageSet,
        *,
        workers: Workers,
        fit: Fit | None = None,
        latents: "Latents | None" = None,
    ) -> None:
        """`latents`: the codes that a latent trial trains on."""
        self.trial = trial
        self.workers = workers
        self.share = share_of(trial, workers)
        self.fit = fit or Fit(self.share, activation_checkpointing=False)
        self.device = torch.device(trial.device)
        self.image_losses = step_of(trial)
        self.network = self.image_losses.network
        if latents is not None:
            self.network.space = latents.space
        self.network.activation_checkpointing = self.fit.activation_checkpointing
        self.averages = Averages(self.network, trial.averages, batch_size=trial.batch_size)
        self.network.averages = self.averages.tensors
        self.optimiser = optimiser_of(self.network, trial.optimiser)
        self.health = Health(self.device)
        self.reduction = self._reduction() if workers.size > 1 else None
        self.images = 0
        self.data_s = 0.0
        """Seconds that updates have waited for images."""
        self._kernels = kernels_of(trial, self.fit, self.optimiser)
        self._loss = torch.zeros((), device=self.device)
        self._step = torch.zeros((), dtype=torch.int64, device=self.device)
        self._batches = Batches(trial, images, device=self.device, latents=latents)
        self._asked: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    @property
    def step(self) -> int:
        """Updates so far."""
        return self.images // self.trial.batch_size

    @property
    def at_look(self) -> bool:
        """Whether the last update is one after which every worker looks at its health."""
        return self.step % LOOK_EVERY == 0

    @property
    def compiles(self) -> bool:
        """Whether the next update begins with a compilation."""
        return not self.image_losses.is_ready(self.fit.micro_batch)

    def update(self, *, ask: Ask = Ask.NOTHING) -> Ask:
        """One update over the next `batch_size` images; what the lead asked for, on every worker at the same update.

        Once a loss or a gradient was not finite, weights and optimiser stay as they are: the check stays on the device, and
        nothing here waits for it.
        """
        if not self.network.training:
            self.network.train()
        pieces = self._pieces(self.images)
        coming = [*pieces, *self._pieces(self.images + self.trial.batch_size)]
        for at, piece in enumerate(pieces):
            self._pass(piece, coming[at + 1 : at + 1 + FETCHED_AHEAD], begins=at == 0)
        if self.reduction is not None:
            ask = self._heard(self.reduction.finish(self._loss, ask=ask))
        self.images += self.trial.batch_size
        self._step.fill_(self.step)
        self._kernels.run("judge", self._judge)
        self._kernels.step(rate=learning_rate(self.trial, images=self.images), skip=self.health.diverged)
        self.averages.update()
        return ask

    def _pieces(self, images: int) -> list[BatchPiece]:
        """This worker's micro-batches of the update that begins at an image count."""
        first, most = images + self.workers.rank * self.share, self.fit.micro_batch
        return [BatchPiece(low, min(most, first + self.share - low)) for low in range(first, first + self.share, most)]

    def _pass(self, piece: BatchPiece, then: Sequence[BatchPiece], *, begins: bool) -> None:
        if self.trial.model.drops:
            torch.manual_seed(self._batches.dropout_seed(piece.first))
        asked_at = time.perf_counter()
        inputs = self._batches.fetch(*piece, then=then)
        self.data_s += time.perf_counter() - asked_at
        self._kernels.run((piece.size, begins), partial(self._backward, begins=begins), *inputs)

    def _backward(self, *inputs: Tensor, begins: bool) -> None:
        """Add a micro-batch's gradients and its share of the mean loss; `begins`: it is an update's first."""
        batch = self._batches.made(*inputs)
        losses = self.image_losses(batch)
        loss = losses.sum() / self.trial.batch_size
        loss.backward()
        self.health.see_images(losses.detach(), batch.t)
        if begins:
            self._loss.zero_()
        self._loss += loss.detach()

    def _judge(self) -> None:
        """Look at the whole update's loss and gradient, and clip the latter."""
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self._gradients())))
        self.health.see_update(self._loss, grad_norm=norm, step=self._step)
        if (most := self.trial.optimiser.grad_clip) is not None:
            clip_grads_with_norm_(self.network.parameters(), most, norm, foreach=True)

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.network.parameters() if p.grad is not None]

    def _reduction(self) -> Reduction:
        return Reduction(
            self.network,
            workers=self.workers,
            passes=-(-self.share // self.fit.micro_batch),
            overlapping=not self.trial.graphs,
            precision=self.trial.gradient_sum,
        )

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
        self._kernels.forget()

    @torch.no_grad()
    def begin_from(self, weights: Mapping[str, Tensor], *, parts: Sequence[str] = ()) -> None:
        """Start with a parent's weights, and averages that have seen nothing else. What terms of the loss train beside the
        network begins anew where the parent has it not, and so does what is outside `parts`, where some are named.

        ValueError: the parent's network, or a part of it, is of another shape.
        """
        parameters = trained(self.network)
        own = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        if parts:
            taken, expected = _within(weights, parts), _within(own, parts)
        else:
            beside = {name: tensor for name, tensor in weights.items() if name in own and name not in of_model(own)}
            taken, expected = {**of_model(weights), **beside}, {**of_model(own), **beside}
        if odd := _unlike(expected, taken):
            what = f"{', '.join(parts)} " if parts else "network "
            raise ValueError(f"a parent's {what}must have the trial's shape, got a difference in {', '.join(odd[:4])}")
        begun = {**own, **taken}
        assign(parameters, begun)
        for average in self.averages.tensors.values():
            assign(average, begun)


def share_of(trial: TrialConfig, workers: Workers) -> int:
    """Images of an update that one worker computes. ValueError where they cannot be shared out evenly."""
    share, rest = divmod(trial.batch_size, workers.size)
    if rest:
        rule = "the number of workers must divide batch_size"
        raise ValueError(f"{rule}, got workers={workers.size}, batch_size={trial.batch_size}")
    if share % trial.unit.images:
        rule = f"each worker's share of a batch must hold {trial.unit.held}"
        raise ValueError(f"{rule}, got {share} images a worker, {trial.unit}")
    return share


def _within(weights: Mapping[str, Tensor], parts: Sequence[str]) -> dict[str, Tensor]:
    """Those of some parts of the network."""
    return {name: tensor for name, tensor in weights.items() if name.partition(".")[0] in parts}


def _unlike(parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Names that only one side has, or with another shape."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in side.items()} for side in (parameters, weights)]
    return sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
