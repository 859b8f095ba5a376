"""A trial in memory: network, average, optimiser and the count of images, which is the whole state of the data loader."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainables.checkpoint import Checkpoint
from trainables.config import TrialConfig
from trainables.data import ImageSet
from trainables.data.images import to_unit
from trainables.diffusion import loss as diffusion_loss
from trainables.diffusion import noisy, times
from trainables.draws import PhiloxDraws, Purpose
from trainables.ema import Ema
from trainables.network import build
from trainables.optimiser import adamw, learning_rate
from trainables.workers import Ask, Workers


@dataclass(frozen=True)
class Batch:
    """Images x [B, C, H, W] in [-1, 1], noise e of the same shape, times t [B], labels y [B] with some dropped."""

    x: Tensor
    e: Tensor
    t: Tensor
    y: Tensor


class Learner:
    """Trains one trial, an update at a time.

    Every draw is a function of (seed, purpose, global image index), so that neither the number of workers nor the micro-batch
    changes which images, noise, times and dropped labels an update sees.
    """

    def __init__(self, trial: TrialConfig, images: ImageSet, *, workers: Workers, micro_batch: int | None = None) -> None:
        share, rest = divmod(trial.batch_size, workers.size)
        if rest:
            rule = "the number of workers must divide batch_size"
            raise ValueError(f"{rule}, got workers={workers.size}, batch_size={trial.batch_size}")
        self.trial = trial
        self.workers = workers
        self.share = share
        self.micro_batch = min(micro_batch or share, share)
        self.device = torch.device(trial.device)
        self.network = build(trial).to(self.device)
        self.ema = Ema(self.network, trial.ema)
        self.optimiser = adamw(self.network, trial.optimiser)
        self.images = 0
        self._source = images
        self._draws = PhiloxDraws(trial.seed)
        self._epochs: dict[int, np.ndarray] = {}
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self._loss_count = 0
        self._diverged = torch.zeros((), device=self.device)
        self._first_bad_step = torch.zeros((), dtype=torch.int64, device=self.device)

    @property
    def step(self) -> int:
        """Updates so far."""
        return self.images // self.trial.batch_size

    def update(self, *, ask: Ask = Ask.NOTHING) -> Ask:
        """One update over the next `batch_size` images; what the lead asked for, on every worker.

        Once a loss was not finite, weights and optimiser stay as they are: the check stays on the device, and nothing here
        waits for it.
        """
        self.network.train()
        loss = torch.zeros((), device=self.device)
        first = self.images + self.workers.rank * self.share
        for low in range(first, first + self.share, self.micro_batch):
            loss += self._backward(low, min(self.micro_batch, first + self.share - low))
        ask = self.workers.sum_gradients(self.network, loss, ask=ask)
        self.images += self.trial.batch_size
        self._note(loss)
        self._apply()
        return ask

    def _backward(self, first: int, count: int) -> Tensor:
        if self.trial.model.dropout:
            torch.manual_seed(int(self._draws.uniform(Purpose.DROPOUT, first=first, count=1) * 2**53))
        batch = self._batch(first, count)
        z = noisy(batch.x, batch.e, batch.t)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.trial.precision == "bf16"):
            output = self.network(z, batch.t, batch.y)
        per_image = diffusion_loss(output.float(), batch.x, batch.e, z, batch.t, self.trial.diffusion)
        loss = per_image.sum() / self.trial.batch_size
        loss.backward()
        return loss.detach()

    def _note(self, loss: Tensor) -> None:
        bad = ~torch.isfinite(loss)
        fresh = bad & (self._diverged == 0)
        self._first_bad_step = torch.where(fresh, self.step, self._first_bad_step)
        self._diverged = torch.maximum(self._diverged, bad.float())
        self._loss_sum += loss.double()
        self._loss_count += 1

    def _apply(self) -> None:
        rate = learning_rate(self.trial.optimiser, images=self.images)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.found_inf = self._diverged  # type: ignore[attr-defined]  # the fused kernel skips its step where it is 1
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.update()

    def mean_loss(self) -> float:
        """Mean training loss since the last call. Waits for the device."""
        mean = float(self._loss_sum) / max(1, self._loss_count)
        self._loss_sum.zero_()
        self._loss_count = 0
        return mean

    @property
    def first_bad_step(self) -> int | None:
        """The first update whose loss was not finite. Waits for the device."""
        return int(self._first_bad_step) if float(self._diverged) else None

    def _batch(self, first: int, count: int) -> Batch:
        data, diffusion, draws = self.trial.data, self.trial.diffusion, self._draws
        indices = self._order(first, count)
        pixels = self._source.read(indices).to(self.device)
        if data.flip:
            mirrored = draws.uniform(Purpose.FLIP, first=first, count=count).to(self.device) < 0.5
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
        x = to_unit(pixels)
        y = self._source.labels(indices).to(self.device)
        if data.num_classes > 1:
            dropped = draws.uniform(Purpose.LABEL_DROP, first=first, count=count) < diffusion.label_drop
            y = torch.where(dropped.to(self.device), data.num_classes, y)
        t = times(draws.uniform(Purpose.TIME, first=first, count=count), diffusion.t_sampling).to(self.device)
        shape = (data.channels, data.image_size, data.image_size)
        n = draws.normal(Purpose.NOISE, first=first, count=count, shape=shape).to(self.device)
        return Batch(x=x, e=diffusion.noise_scale * n, t=t, y=y)

    def _order(self, first: int, count: int) -> np.ndarray:
        """The training images with these global indices: a fresh permutation each epoch."""
        train = self._source.train
        position = np.arange(first, first + count)
        epochs = position // len(train)
        for epoch in set(epochs.tolist()) - self._epochs.keys():
            self._epochs = {kept: order for kept, order in self._epochs.items() if kept >= epoch - 1}
            self._epochs[epoch] = self._draws.permutation(Purpose.ORDER, epoch, len(train))
        places = [self._epochs[epoch][place] for epoch, place in zip(epochs.tolist(), position % len(train), strict=True)]
        return train[places]

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint holds, by part."""
        optimiser = {
            f"{name}/{key}": value
            for name, parameter in self._trained()
            for key, value in self.optimiser.state[parameter].items()
        }
        model = {name: parameter.detach() for name, parameter in self._trained()}
        return {"model": model, "ema": self.ema.tensors, "optimiser": optimiser}

    def state(self) -> dict[str, int]:
        """The counters that go with `parts`."""
        return {"images": self.images, "ema_updates": self.ema.updates}

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on exactly where a checkpoint was written."""
        saved: dict[str, dict[str, Tensor]] = {}
        for path, tensor in checkpoint.tensors["optimiser"].items():
            name, _, key = path.rpartition("/")
            saved.setdefault(name, {})[key] = tensor.to(self.device)
        for name, parameter in self._trained():
            parameter.copy_(checkpoint.tensors["model"][name])
            if name in saved:
                self.optimiser.state[parameter] = saved[name]
        self.ema.restore(checkpoint.tensors["ema"], updates=int(checkpoint.state["ema_updates"]))
        self.images = int(checkpoint.state["images"])

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, parameter) for name, parameter in self.network.named_parameters() if parameter.requires_grad]
