"""Throw-away entries of the seams that a plan uses, and what the program makes of each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from jit_sweep.ledger.failures import Rule, follow_up
from jit_sweep.ledger.records import Cause, EntryState
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.schedulers.cutoff import awaiting
from jit_sweep.schedulers.decide import Decider
from jit_sweep.schedulers.race import Race, Racer, Seed, Verdict
from jit_sweep.spec.read import read_spec
from jit_sweep.spec.schedulers import Early, FirstRung
from search_spaces.axis import Axis, Slot
from search_spaces.presets import PRESETS
from search_spaces.quantities import Quantity
from tests.support.sources import looked_at
from tests.support.sweep_files import write_sweep
from trainables.config.fields import Fraction
from trainables.data import DataDescription, ImageSet
from trainables.data.arrays import Arrays, checked_arrays
from trainables.data.holdout import Holdout
from trainables.data.in_memory import ArrayImages
from trainables.data.prepared.preparing import prepare
from trainables.data.sources.source import Content, SourceImage, SourceIndex
from trainables.storage.listing import FileListing

Add = Callable[[Any, Any], None]
"""Puts an entry into the row's registry under a name, for the length of a test; a registry without names needs none."""
Proof = Callable[[Add, Path], None]


def planned(folder: Path, **changes: Any) -> Plan:
    return plan(read_spec(write_sweep(folder, **changes)), source="sweep.yaml")


def axis(add: Add, folder: Path) -> None:
    """An axis that a grid then varies."""

    def put(tree: dict[str, Any], value: float) -> None:
        tree["diffusion"]["label_drop"] = value

    slot = Slot(put, lambda tree: float(tree["diffusion"]["label_drop"]))
    add("label_drop", Axis("label_drop", "share of labels dropped", TypeAdapter(Fraction), slot))
    entries = planned(folder, stages=[{"grid": {"axes": {"label_drop": [0.0, 0.25]}}}]).entries
    assert [entry.trial.diffusion.label_drop for entry in entries] == [0.0, 0.25]


def quantity(add: Add, folder: Path) -> None:
    """A quantity that a grid is then limited by."""
    add("blocks", Quantity("blocks", "blocks", "depth of the network", lambda trial, _: trial.model.depth))
    grid = {"axes": {"depth": [2, 4]}, "limits": {"blocks": 3}}
    assert [entry.trial.model.depth for entry in planned(folder, stages=[{"grid": grid}]).entries] == [2]


def preset(add: Add, folder: Path) -> None:
    """A preset that a baseline then starts from."""
    add("throw-away", PRESETS["jit-tiny"].model_copy(update={"batch_size": 4}))
    assert {entry.trial.batch_size for entry in planned(folder, baseline={"preset": "throw-away"}).entries} == {4}


class NoiseReader:
    """`noise://N`: N images of noise with four labels."""

    def reads(self, uri: str) -> bool:
        return uri.startswith("noise://")

    def describe(self, uri: str, *, holdout: Holdout | None) -> DataDescription:
        return self._arrays(uri, holdout).description(uri)

    def open(self, uri: str, *, holdout: Holdout | None) -> ImageSet:
        return ArrayImages.of(self._arrays(uri, holdout))

    def _arrays(self, uri: str, holdout: Holdout | None) -> Arrays:
        count = int(uri.removeprefix("noise://"))
        pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        return checked_arrays({"images": pixels, "labels": np.arange(count) % 4}, uri, holdout=holdout)


class DrawnFormat:
    """Files of a number: so many drawn images."""

    name = "drawn"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        return listing.files[0].name.endswith(".drawn")

    def source(self, listing: FileListing) -> "DrawnSource":
        return DrawnSource()


class DrawnSource:
    def index(self, labels: str) -> SourceIndex:
        return SourceIndex([SourceImage(str(place), place % 4, place) for place in range(96)])

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content]:
        for image in images:
            yield np.random.default_rng(image.at).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def data_format(add: Add, folder: Path) -> None:
    add("drawn", DrawnFormat())
    (folder / "96.drawn").write_text("96")
    data = planned(folder, data={"uri": str(folder / "96.drawn"), "image_size": 32, "holdout": 16}).data
    assert (data.train_count, data.heldout_count, data.num_classes, data.is_prepared) == (80, 16, 4, False)
    prepared = prepare(looked_at(folder / "96.drawn", image_size=32, holdout=16), str(folder / "set"))
    assert prepared.source.format == "drawn"


def data_reader(add: Add, folder: Path) -> None:
    """A kind of image set that a sweep file then names."""
    add(None, NoiseReader())
    data = planned(folder, data={"uri": "noise://96", "holdout": 16, "flip": False}).data
    assert (data.train_count, data.heldout_count, data.num_classes) == (80, 16, 4)


class Impatient(Early):
    """Stops every arm at its first gate."""


def scheduler(add: Add, _: Path) -> None:
    """A scheduler that a race is then judged by."""
    add(Impatient, lambda _, race: [Verdict(racer.name, 0, False, "impatient") for racer in awaiting(race, 0)])
    racer = Racer("slow", position=0, gates=(8,), protected=False, seeds=(Seed(0, "coming", {0: 1.0}),))
    verdicts = Decider(Impatient(first_rung=FirstRung(images=8))).verdicts(Race("", (racer,), more_to_come=True))
    assert verdicts == [Verdict("slow", 0, False, "impatient")]


def failure_rule(add: Add, _: Path) -> None:
    """A rule that a failed attempt is then handled by."""
    assert follow_up(Cause.BUG, [], images=0).leaves is EntryState.FAILED
    add(Cause.BUG, Rule(again=2, first_wait_s=3.0))
    after = follow_up(Cause.BUG, [], images=0)
    assert (after.leaves, after.wait_s) == (EntryState.WAITING, 3.0)


PROOFS: dict[str, Proof] = {
    "axis": axis,
    "quantity": quantity,
    "preset": preset,
    "data reader": data_reader,
    "data format": data_format,
    "scheduler": scheduler,
    "failure rule": failure_rule,
}
