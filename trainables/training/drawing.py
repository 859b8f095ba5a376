"""A trial's samples and their features, drawn by all its workers: a batch each in a round, and then the next one.

They hand one another a round's features, and not all of them at the end: no collective waits for longer than a batch takes.
What has been drawn lies in the storage until it is scored, so that a trial that was cut short goes on from there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.evaluation.features.registry import Extractor
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.generate import Draw, Interrupted, batches, device_of, drawing
from trainables.evaluation.score import extractors_used
from trainables.storage.folder import Folder
from trainables.training.workers import Workers

SHOWN = 32
"""Samples that are kept as images, to show."""
_SAMPLES = "samples"

Part = dict[str, Tensor]
"""Of some images in a row: their features [k, d] by extractor, and the first images themselves."""


class Drawn(NamedTuple):
    """Generated images as scores see them."""

    features: dict[str, Tensor]
    """float32 [n, d] by extractor."""
    samples: Tensor
    """The first of them, uint8 [k, C, H, W]."""


@dataclass
class KeptSamples:
    """What has been drawn of one evaluation, in files below `name` that each hold a few rounds; written every `interval_s`."""

    folder: Folder
    name: str
    interval_s: float
    clock: Callable[[], float] = time.monotonic
    _fresh: list[Part] = field(default_factory=list)
    _first: int = 0
    _saved_at: float = 0.0

    def read(self) -> list[Part]:
        """What is there of the first images on, without a gap. What cannot be read counts as a gap."""
        parts: list[Part] = []
        for file in self.folder.names(self.name):
            part = self._part(file) if file == self._file() else None
            if part is None:
                break
            parts.append(part)
            self._first += count_of([part])
        self._saved_at = self.clock()
        return parts

    def add(self, parts: list[Part]) -> None:
        """A round has been drawn."""
        self._fresh += parts
        if self.clock() - self._saved_at >= self.interval_s:
            self.save()

    def save(self) -> None:
        """Write what is not yet written."""
        if self._fresh:
            joined = _joined(self._fresh)
            self.folder.put(f"{self.name}/{self._file()}", save({name: t.contiguous() for name, t in joined.items()}))
            self._first += count_of(self._fresh)
        self._fresh, self._saved_at = [], self.clock()

    def forget(self) -> None:
        """Remove the files."""
        self.folder.remove_folder(self.name)

    def _file(self) -> str:
        return f"{self._first:012d}.safetensors"

    def _part(self, file: str) -> Part | None:
        try:
            return load(self.folder.read(f"{self.name}/{file}"))
        except (SafetensorError, FileNotFoundError):
            return None


def draw(
    network: nn.Module,
    trial: TrialConfig,
    evaluation: EvaluationConfig,
    labels: Tensor,
    *,
    workers: Workers,
    kept: KeptSamples,
    interrupted: Callable[[], bool],
    drawn: Callable[[int], None],
    guide: nn.Module | None = None,
) -> Drawn:
    """Samples of these labels [n] and their features, equal for every number of workers; each of these must call it.

    `drawn` hears after each step how many images that is so far, a round under way counted by its steps. NotFinite: a sample is
    not finite. Interrupted: the lead's `interrupted`, read before every round, returned true.
    """
    networks, places = extractors_used(evaluation.features), batches(trial, labels, device=device_of(network))
    parts = kept.read() if workers.lead else []
    begun = workers.agree(count_of(parts))
    places = [place for place in places if place.start >= begun]
    with drawing(network, trial, evaluation, labels, guide=guide) as batch:
        for first in range(0, len(places), workers.size):
            if workers.agree(interrupted()):
                kept.save()
                raise Interrupted
            in_round = places[first : first + workers.size]
            heard = _heard(in_round, drawn, steps=evaluation.steps)
            fresh = _round(in_round, batch, networks, workers=workers, stepped=heard)
            parts += fresh
            if workers.lead:
                kept.add(fresh)
    whole = _joined(parts) if workers.lead else {}
    return Drawn({name: whole[name] for name in networks if name in whole}, whole.get(_SAMPLES, torch.empty(0)))


def count_of(parts: list[Part]) -> int:
    """Images of some parts."""
    return sum(max(len(tensor) for tensor in part.values()) for part in parts)


def _round(
    places: list[slice], batch: Draw, networks: dict[str, Extractor], *, workers: Workers, stepped: Callable[[int], None]
) -> list[Part]:
    """The parts of a round, one a worker, on every worker."""
    own = _part(places[workers.rank], batch, networks, stepped) if workers.rank < len(places) else None
    found: list[Part] = []
    for part in workers.gathered(own):
        if isinstance(part, NotFinite):
            raise part
        found += [part] if part is not None else []
    return found


def _part(place: slice, batch: Draw, networks: dict[str, Extractor], stepped: Callable[[int], None]) -> Part | NotFinite:
    """What a worker has to hand round: that its samples are no numbers, too."""
    try:
        images = batch(place, stepped)
    except NotFinite as instead:
        return instead
    features = {name: network.features(images) for name, network in networks.items()}
    return {**features, _SAMPLES: images[: max(0, SHOWN - place.start)].cpu()}


def _heard(places: list[slice], drawn: Callable[[int], None], *, steps: int) -> Callable[[int], None]:
    first, count = places[0].start, places[-1].stop - places[0].start
    return lambda done: drawn(first + count * done // steps)


def _joined(parts: list[Part]) -> Part:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
