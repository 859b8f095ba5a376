"""What `holdout` may say: a number of images, a share of them, or a split of the source's own."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.sources import Drawn, write_folder
from trainables.data import describe
from trainables.data.holdout import Holdout, NamedSplit, holdout_of
from trainables.data.prepared.finding import description_of
from trainables.data.prepared.prepared_set import open_prepared
from trainables.data.prepared.preparing import Preparation, preparation_of, prepare
from trainables.data.prepared.settings import PrepareSettings
from trainables.data.split import BY_CONTRAST
from trainables.storage.listing import listing_of


def source(folder: Path, holdout: Holdout) -> Preparation:
    """A folder of 24 images to train on and 9 of a split of their own."""
    for split, drawn in (("train", Drawn()), ("test", Drawn(9, pixels=Drawn(33).pixels[24:]))):
        write_folder(folder / split, drawn)
    settings = PrepareSettings(holdout=holdout)
    return preparation_of(listing_of(str(folder)), settings, format=None, uri=str(folder))


def test_a_split_of_the_source_is_held_out_as_it_is(tmp_path: Path) -> None:
    plan = source(tmp_path / "in", NamedSplit(split="test"))
    assert description_of(plan).heldout_count == 9
    manifest = prepare(plan, str(tmp_path / "out"))
    opened = open_prepared(str(tmp_path / "out"))
    heldout = {image.tobytes() for image in opened.gather(opened.heldout)}
    assert heldout == {image.tobytes() for image in Drawn(33).pixels[24:]}
    assert manifest.split_rule == "the source's own split 'test'"


def test_a_split_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got 'val' with 0 of 33 in .*; it has test \(9\), train \(24\)"):
        prepare(source(tmp_path / "in", NamedSplit(split="val")), str(tmp_path / "out"))


def test_a_share_is_the_number_that_it_rounds_to(tmp_path: Path) -> None:
    by_share = prepare(source(tmp_path / "in", 0.25), str(tmp_path / "share"))
    by_number = prepare(source(tmp_path / "in", 8), str(tmp_path / "number"))
    assert (by_share.digest, by_share.heldout_count, by_share.split_rule) == (by_number.digest, 8, BY_CONTRAST)


def test_a_file_of_images_takes_a_number_or_a_share(tmp_path: Path) -> None:
    path = str(tmp_path / "set.npz")
    np.savez(path, images=Drawn(40).pixels)
    assert describe(path, holdout=0.25) == describe(path, holdout=10)
    with pytest.raises(ValueError, match="needs a source that keeps splits apart, .* got an .npz file"):
        describe(path, holdout=NamedSplit(split="test"))


@pytest.mark.parametrize(("text", "holdout"), [("500", 500), ("0.02", 0.02), ("test", NamedSplit(split="test"))])
def test_a_command_line_says_each_of_them(text: str, holdout: Holdout) -> None:
    assert holdout_of(text) == holdout
