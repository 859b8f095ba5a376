"""The full forms of the shipped sweeps, planned on images that nobody has here: they are sound where such images are."""

from pathlib import Path

import pytest
import yaml

from jit_sweep.plan.plan import planned_on
from jit_sweep.spec.data import FileData
from jit_sweep.spec.read import FULL, read_spec, shipped_sweeps
from search_spaces import sweeps
from trainables.data import DataDescription

FOLDER = Path(next(iter(sweeps.__path__)))
WITH_FULL = [name for name in shipped_sweeps() if FULL in yaml.safe_load((FOLDER / f"{name}.yaml").read_text())]


@pytest.mark.parametrize("name", WITH_FULL)
def test_the_full_form_of_a_shipped_sweep_can_be_planned(name: str) -> None:
    spec = read_spec(f"{name}:{FULL}")
    assert isinstance(spec.data, FileData)
    images = DataDescription(
        uri="imagenet/train",
        digest="0" * 16,
        image_size=spec.data.image_size or 256,
        channels=3,
        num_classes=1000,
        class_names=tuple(f"class {number}" for number in range(1000)),
        train_count=1_281_167,
        heldout_count=10_000,
    )
    assert planned_on(spec, images, source=name).whole


def test_there_are_full_forms() -> None:
    assert {"neighbours", "latent", "mar", "unet"} <= {*WITH_FULL}
