"""A kind of image set is one reader in one list: what plans and trains asks nobody else."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from jit_sweep.plan.plan import plan
from jit_sweep.spec.data import PackagedData
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep
from trainables.assignment import Assignment
from trainables.data import DataDescription, DataError, ImageSet, describe, open_images, packaged
from trainables.data.arrays import Arrays, checked_arrays
from trainables.data.holdout import Holdout
from trainables.data.in_memory import ArrayImages
from trainables.data.readers import registry
from trainables.data.readers.npz import NpzReader
from trainables.data.readers.packaged import PackagedReader
from trainables.report import Ended, Report
from trainables.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


class NoiseReader:
    """`noise://SEED`: 96 images of noise, of which 16 are held out where nobody says how many."""

    def reads(self, uri: str) -> bool:
        return uri.startswith("noise://")

    def describe(self, uri: str, *, holdout: Holdout | None) -> DataDescription:
        return self._arrays(uri, holdout).description(uri)

    def open(self, uri: str, *, holdout: Holdout | None) -> ImageSet:
        return ArrayImages.of(self._arrays(uri, holdout))

    def _arrays(self, uri: str, holdout: Holdout | None) -> Arrays:
        seed = uri.removeprefix("noise://")
        if not seed.isdecimal():
            raise ValueError(f"a noise set must have a number, got {uri}; try noise://0")
        pixels = np.random.default_rng(int(seed)).integers(0, 256, (96, 32, 32, 3), dtype=np.uint8)
        return checked_arrays({"images": pixels, "labels": np.arange(96) % 4}, uri, holdout=holdout or 16)


@pytest.fixture
def _noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "READERS", (NoiseReader(), *registry.READERS))


def last_report(spec: SweepSpec, storage: Path) -> Report:
    """The last report of the sweep's first trial, trained from its data."""
    entry = plan(spec, source="test").entries[0]
    assignment = Assignment(
        trial=entry.trial,
        images=entry.images,
        evaluations=(entry.evaluation,),
        rungs=entry.rungs,
        data=spec.data.address,
        holdout=spec.data.holdout,
        storage=str(storage),
    )
    return list(train(assignment))[-1]


@pytest.mark.slow
@pytest.mark.usefixtures("_noise")
def test_a_registered_reader_is_planned_and_trained_with(tmp_path: Path) -> None:
    spec = SweepSpec.model_validate(tiny_sweep(data={"uri": "noise://3", "holdout": 24, "flip": False}))
    assert describe("noise://3").digest == open_images("noise://3").fingerprint != describe("noise://4").digest
    assert plan(spec, source="test").data.heldout_count == 24
    assert isinstance(last_report(spec, tmp_path), Ended)


@pytest.mark.usefixtures("_noise")
def test_what_a_reader_refuses_is_a_fault_of_the_data() -> None:
    with pytest.raises(DataError, match="must have a number, got noise://x; try noise://0"):
        open_images("noise://x")


@pytest.mark.parametrize(
    ("uri", "reader"), [("emoji32", PackagedReader), ("own.npz", NpzReader), ("memory://bucket/emoji32", NpzReader)]
)
def test_an_address_is_read_by_what_it_looks_like(uri: str, reader: type) -> None:
    assert type(registry.reader_of(uri)) is reader


def test_a_sweep_file_may_name_every_packaged_set_the_spiral_and_no_other() -> None:
    assert sorted(get_args(PackagedData.model_fields["name"].annotation)) == [*packaged.names(), "spiral"]
