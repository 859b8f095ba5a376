"""The shipped sweep file for one's own images: a folder of pictures beside it is enough."""

import json
from pathlib import Path

import numpy as np
import pytest

from jit_sweep.cli.plan import show, validate
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from tests.support.sources import png


def pictures(folder: Path, count: int) -> Path:
    """PNGs of 8 pixels, a little wider than high, in `images/`."""
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 9, 3), dtype=np.uint8)
    for place, image in enumerate(pixels):
        (folder / "images" / f"{place:04d}.png").write_bytes(png(image))
    return folder


def test_the_shipped_file_asks_patch_size_by_prediction_of_a_folder_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pictures(tmp_path, 800))
    assert validate("my-images", home_at(Path("home")), as_json=False) == 0
    assert "my-images: valid; sweep 'my-images' has 12 trials" in capsys.readouterr().out
    assert show("my-images", home_at(Path("home")), as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert {(row["patch_size"], row["prediction"]) for row in told["rows"]} == {(p, t) for p in (16, 8) for t in "xv"}
    assert {row["seed"] for row in told["rows"]} == {0, 1, 2}
    assert all(question["decidable"] for question in told["power"])


def test_too_few_pictures_are_answered_with_the_holdout_that_they_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures(tmp_path, 40))
    with pytest.raises(UserError, match=r"data: `holdout` must be at least 2 and at most half .*got holdout=384 of 40; try 8"):
        validate("my-images", home_at(Path("home")), as_json=False)
