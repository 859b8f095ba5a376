"""What is counted in a source and in a prepared set, and the warnings that save weeks."""

from pathlib import Path

import numpy as np

from tests.support.prepared import prepared
from tests.support.sources import Drawn, looked_at, write_folder
from trainables.data.prepared.inspecting import Inspection, inspect_prepared, inspect_source
from trainables.data.prepared.prepared_set import open_prepared

DRAWN = Drawn(24, size=16)


def of_set(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Inspection:
    prepared(folder, pixels, labels)
    return inspect_prepared(open_prepared(str(folder)), uri="set")


def test_a_source_is_counted_as_its_prepared_set_is(tmp_path: Path) -> None:
    top = Path(write_folder(tmp_path / "in", DRAWN))
    (top / "ants" / "bad.png").write_bytes(b"")
    source, whole = inspect_source(looked_at(top)), of_set(tmp_path / "set", DRAWN.pixels, DRAWN.labels)
    assert source.class_counts == whole.class_counts == {0: 8, 1: 8, 2: 8}
    assert (source.sizes, source.modes) == (whole.sizes, whole.modes) == ({"16 x 16": 24}, {"RGB": 24})
    assert (source.bad_count, source.digest) == (1, None)
    assert source.warnings() == ["1 file cannot be decoded"]
    assert whole.warnings() == []
    assert whole.warnings(n=5) == ["evaluation.n=5 needs as many held-out images, got 4"]
    assert source.class_sheet is not None
    assert len(source.class_sheet) == 3 * 8


def test_what_costs_people_weeks_is_warned_of(tmp_path: Path) -> None:
    pixels, labels = DRAWN.pixels.copy(), DRAWN.labels.copy()
    pixels[3], pixels[4] = 0, 77
    pixels[10:] = pixels[9]
    found = of_set(tmp_path / "a", pixels, labels).warnings()
    assert found[:2] == ["1 image all black", "1 image of one colour"]
    assert found[2].endswith("of 24 images are near-duplicates")
    ones = of_set(tmp_path / "b", DRAWN.pixels % 2, np.zeros_like(labels)).warnings()
    assert [line.partition(":")[0] for line in ones] == ["no value is above 1", "one class"]
    labels[:] = 0
    labels[0] = 2
    rare = of_set(tmp_path / "c", DRAWN.pixels, labels)
    assert "no image of class class 1" in rare.warnings()
