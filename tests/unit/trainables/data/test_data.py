"""The image sets: what a set is, how it is split, and what a bad file gets."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from trainables import data
from trainables.data import packaged
from trainables.data.arrays import Arrays, checked_arrays
from trainables.data.npz_file import npz_members
from trainables.data.packaged import PackagedSet
from trainables.data.pixel_distance import NEAR_DUPLICATE_RMSE
from trainables.data.pixels import to_pixels, to_unit
from trainables.data.split import split_images


@pytest.fixture(scope="module")
def emoji() -> Arrays:
    record = packaged.record("emoji32")
    members = {**npz_members(str(record.arrays)), "heldout": np.array(record.heldout)}
    return checked_arrays(members, "emoji32")


def drawn(count: int, *, size: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def saved(folder: Path, **arrays: Any) -> str:
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return str(path)


def emoji_record() -> PackagedSet:
    record = packaged.record("emoji32")
    assert record is not None
    return record


def test_packaged_record_says_what_the_arrays_hold(emoji: Arrays) -> None:
    record = emoji_record()
    assert record.digest == emoji.digest
    assert (record.image_size, record.image_size, record.channels) == emoji.images.shape[1:]
    assert record.class_names == emoji.class_names
    assert (record.train_count, record.heldout_count) == (1867 - 384, 384)
    assert len(record.heldout) == 384


def test_packaged_heldout_list_is_the_frozen_answer_of_the_split(emoji: Arrays) -> None:
    chosen = split_images(emoji.images, emoji.labels, count=384).heldout
    assert chosen.tolist() == list(emoji_record().heldout)


@pytest.mark.slow
def test_no_heldout_image_has_a_near_duplicate_in_training(emoji: Arrays) -> None:
    apart = np.setdiff1d(np.arange(len(emoji.images)), emoji.heldout)
    flat = (emoji.images.reshape(len(emoji.images), -1) / 255).astype(np.float32)
    nearest = min(float(((flat[apart] - flat[i]) ** 2).mean(1).min()) for i in emoji.heldout)
    assert nearest**0.5 >= NEAR_DUPLICATE_RMSE


def test_heldout_labels_keep_the_proportions_to_one_image(emoji: Arrays) -> None:
    expected = np.bincount(emoji.labels) * 384 / len(emoji.labels)
    assert np.abs(np.bincount(emoji.labels[emoji.heldout]) - expected).max() < 1


def test_a_held_out_list_that_takes_a_whole_class_is_refused_with_the_class_and_its_count() -> None:
    labels, names = np.array([0, 0, 0, 1, 1, 2, 2]), np.array(["cats", "dogs", "owls", "none"])
    members = {"images": drawn(7), "labels": labels, "class_names": names}
    rule = (
        "`heldout` must leave training images of every class that it holds, got none of 'dogs', whose 2 images are all held out"
    )
    with pytest.raises(ValueError, match=f"{rule} in x; list fewer of them, or take the class out"):
        checked_arrays({**members, "heldout": np.array([0, 3, 4])}, "x")
    with pytest.raises(ValueError, match=f"{rule} and 1 more classes in x"):
        checked_arrays({**members, "heldout": np.array([3, 4, 5, 6])}, "x")
    assert checked_arrays({**members, "heldout": np.array([0, 3, 5])}, "x").heldout.tolist() == [0, 3, 5]


def test_describing_a_packaged_set_loads_neither_numpy_nor_torch() -> None:
    code = "import sys; from trainables import data; print(data.describe('emoji32').digest, *sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert answer[0] == emoji_record().digest
    assert not {"numpy", "torch", "fsspec"} & set(answer)


def test_opened_packaged_set_is_the_one_described(emoji: Arrays) -> None:
    description, images = data.describe("emoji32", holdout=384), data.open_images("emoji32")
    assert images.fingerprint == description.digest
    assert (len(images.train), len(images.heldout)) == (description.train_count, description.heldout_count)
    assert not set(images.train) & set(images.heldout)
    order = np.array([5, 3, 1500])
    assert images.read(order).equal(torch.from_numpy(emoji.images[order].transpose(0, 3, 1, 2)))
    assert images.labels(order).tolist() == emoji.labels[order].tolist()


def test_own_file_with_the_same_content_has_the_same_digest(tmp_path: Path, emoji: Arrays) -> None:
    uri = saved(tmp_path, images=emoji.images, labels=emoji.labels.astype(np.uint8), heldout=emoji.heldout[::-1])
    assert data.describe(uri).digest == data.describe("emoji32").digest


@pytest.mark.parametrize("changed", ["images", "labels", "heldout"])
def test_digest_notices_one_changed_number(tmp_path: Path, changed: str) -> None:
    arrays = {"images": drawn(12), "labels": np.arange(12) % 2, "heldout": np.array([0, 5])}
    before = data.describe(saved(tmp_path, **arrays)).digest
    arrays[changed].flat[-1] ^= 1
    assert data.describe(saved(tmp_path, **arrays)).digest != before


def test_file_without_labels_is_one_class(tmp_path: Path) -> None:
    uri = saved(tmp_path, images=drawn(10, channels=1))
    description, images = data.describe(uri, holdout=4), data.open_images(uri, holdout=4)
    assert (description.num_classes, description.channels, description.heldout_count) == (1, 1, 4)
    assert images.read(images.train).shape == (6, 1, 8, 8)
    assert images.labels(images.train).tolist() == [0] * 6


def test_class_names_may_name_a_class_without_images_which_is_told(tmp_path: Path) -> None:
    uri = saved(tmp_path, images=drawn(10), labels=np.arange(10) % 2, class_names=np.array(["cat", "dog", "yak"]))
    description = data.describe(uri, holdout=2)
    assert description.class_names == ("cat", "dog", "yak")
    assert description.warnings == ("no image of class yak",)


def test_a_set_is_read_through_fsspec(tmp_path: Path) -> None:
    path = saved(tmp_path, images=drawn(10))
    with fsspec.open("memory://sets/own.npz", "wb") as file:
        file.write(Path(path).read_bytes())
    assert data.describe("memory://sets/own.npz", holdout=3).digest == data.describe(path, holdout=3).digest


IMAGES = drawn(10)
BAD = {
    "no images": ({"labels": np.zeros(3, int)}, "must hold an array `images`"),
    "other names": ({"arr_0": IMAGES, "y": np.zeros(10, int)}, r"an array `images`, got arr_0, y in .*savez\(FILE, images="),
    "misspelt": ({"images": IMAGES, "label": np.zeros(10, int)}, "got 'label' in .*; did you mean 'labels'"),
    "0..1": ({"images": IMAGES / 255}, r"must be uint8, .* got float64 of 0..1 in .*; multiply by 255, round"),
    "-1..1": ({"images": IMAGES / 127.5 - 1}, r"got float64 of -1..1 in .*; add 1, multiply by 127.5"),
    "0..255": ({"images": IMAGES.astype(np.float32)}, "got float32 of 0..255 in .*; round, and make them uint8"),
    "16 bit": ({"images": IMAGES.astype(np.uint16) * 257}, "got uint16 of 0..65535 in .*; divide 16-bit values by 257"),
    "other range": ({"images": IMAGES.astype(int) - 500}, "got int64 of -500..-245 in .*; map -500..-245 to 0..255"),
    "not finite": ({"images": np.where(IMAGES > 9, IMAGES, np.nan)}, "float64 with NaN or infinity"),
    "bool": ({"images": IMAGES > 9}, "got bool in .*; multiply by 255"),
    "texts": ({"images": IMAGES.astype(str)}, "store the pixels themselves"),
    "0..1 as uint8": ({"images": IMAGES // 255}, "got uint8 of 0..1, which is all but black, .* before they are made uint8"),
    "black": ({"images": IMAGES * 0}, "`images` must differ, got 10 black images"),
    "one image": ({"images": np.repeat(IMAGES[:1], 10, 0)}, "`images` must differ, got 10 times the same image"),
    "objects": ({"images": np.array([IMAGES[0], IMAGES[1, :4]], dtype=object)}, "got an array of Python objects .*stack them"),
    "object names": ({"images": IMAGES, "class_names": np.array(["a"], dtype=object)}, "`class_names` must be one array of"),
    "channels first": ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"got uint8 \[10, 3, 8, 8\] in .*; put channels last"),
    "grey": ({"images": IMAGES[..., 0]}, r"got uint8 \[10, 8, 8\] in .*; give grey images a last axis"),
    "single": ({"images": drawn(1)[0, :, :4]}, r"that is one image; stack many"),
    "flat": ({"images": IMAGES.reshape(10, -1)}, "reshape them to images, height, width, channels"),
    "transparent": ({"images": drawn(10, channels=4)}, r"leave out the transparency: images\[..., :3\]"),
    "channels": ({"images": drawn(10, channels=5)}, "keep 1 or 3 of the 5 channels"),
    "not square": ({"images": IMAGES[:, :4]}, "crop or resize them to squares of one size, such as 4"),
    "empty": ({"images": IMAGES[:0]}, "put images into it"),
    "one-hot labels": ({"images": IMAGES, "labels": np.eye(10, dtype=int)}, r"labels.argmax\(1\)"),
    "column labels": ({"images": IMAGES, "labels": np.zeros((10, 1), int)}, r"labels.ravel\(\)"),
    "text labels": ({"images": IMAGES, "labels": np.array(["cat"] * 10)}, "store their texts as class_names"),
    "few labels": ({"images": IMAGES, "labels": np.zeros(9, int)}, r"`labels` must be integers of shape \[10\]"),
    "float labels": ({"images": IMAGES, "labels": np.zeros(10)}, "`labels` must be integers"),
    "gap": ({"images": IMAGES, "labels": np.array([1] * 5 + [2] * 5)}, r"`labels` must lie in 0..1, got 1..2"),
    "negative": ({"images": IMAGES, "labels": np.array([-1] * 5 + [0] * 5)}, r"`labels` must lie in 0..1, got -1..0"),
    "unnamed": ({"images": IMAGES, "labels": np.arange(10), "class_names": np.array(["a"])}, r"must lie in 0..0, got 0..9"),
    "list range": ({"images": IMAGES, "heldout": np.array([3, 10])}, r"`heldout` must list .* got 3..10"),
    "list repeats": ({"images": IMAGES, "heldout": np.array([3, 3, 4])}, "got 1 repeated"),
    "list too long": ({"images": IMAGES, "heldout": np.arange(9)}, "got 9 of 10"),
    "list type": ({"images": IMAGES, "heldout": np.array([0.5, 1])}, "write integers"),
    "list length": ({"images": IMAGES, "heldout": np.arange(3)}, "`holdout` must be left out or equal .* 3, got holdout=4"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_arrays_are_refused_with_the_rule_and_the_value(tmp_path: Path, fault: str) -> None:
    arrays, message = BAD[fault]
    with pytest.raises(ValueError, match=message):
        data.describe(saved(tmp_path, **arrays), holdout=4)


@pytest.mark.parametrize(
    ("holdout", "message"),
    [(None, "needs `holdout`"), (6, "at most half .* got holdout=6 of 10; try 2 to 5"), (1, "at least 2"), (-3, "at least 2")],
)
def test_holdout_that_does_not_fit_is_refused(tmp_path: Path, holdout: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.describe(saved(tmp_path, images=IMAGES), holdout=holdout)


def test_holdout_that_would_part_near_duplicates_is_refused(tmp_path: Path) -> None:
    alike = np.repeat(IMAGES[:1], 10, 0)
    alike[0, 0, 0] ^= 1
    with pytest.raises(ValueError, match="without parting near-duplicates, got holdout=3 of 10 images in 1 groups"):
        data.describe(saved(tmp_path, images=alike), holdout=3)


def test_packaged_set_refuses_another_holdout() -> None:
    with pytest.raises(ValueError, match="held-out list, 384, got holdout=100 for emoji32"):
        data.describe("emoji32", holdout=100)


def test_missing_file_names_the_packaged_sets() -> None:
    with pytest.raises(ValueError, match=r"packaged set \(emoji32\) or the path .* got emojy32, where there is no file"):
        data.describe("emojy32", holdout=4)


@pytest.mark.parametrize(
    ("written", "meant"), [("emojy32", "'emoji32'"), ("imagse.npz", "'images.npz'"), ("images.npy", "'images.npz'")]
)
def test_a_misspelt_set_or_file_is_answered_with_the_one_that_was_meant(tmp_path: Path, written: str, meant: str) -> None:
    (tmp_path / "images.npz").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=f"where there is no file; did you mean {meant}"):
        data.describe(str(tmp_path / written), holdout=4)
    with pytest.raises(ValueError, match="where there is no file; check the spelling"):
        data.describe(str(tmp_path / "folde"), holdout=4)


def archived(*names: str) -> bytes:
    """A zip archive of empty files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return buffer.getvalue()


OTHER_FILES = {
    "empty": (b"", "got an empty file at .*; write or copy it again"),
    "text": (b"a,b\n1,2\n", "got a text file at"),
    "page": (b"\n<!DOCTYPE html><p>Log in</p>", "got a web page or XML at .*; open the address in a browser"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer, .*`git lfs pull`"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0", "got one PNG picture at .*; name the folder of pictures that it lies in"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "got one JPEG picture"),
    "gzip": (b"\x1f\x8b\x08\0\0", "got a gzip file at .*; unpack it first"),
    "tar": (b"a.png".ljust(257, b"\0") + b"ustar\0" + b"\0" * 250, "got a tar archive at .*; unpack it first"),
    "parquet": (b"PAR1\x15\0", "got a parquet file at .*; read it, and write its images"),
    "pickle": (b"\x80\x04\x95", "got a pickle, which may run code when it is read at"),
    "binary": (b"\0\1\2\3", "got a file of another kind"),
    "zip of pictures": (
        archived("a.png", "b.png"),
        "got a zip archive that holds a.png, b.png at .*; read its files",
    ),
    "empty zip": (archived(), "got a zip archive that holds nothing"),
    "broken zip": (b"PK\x03\x04 broken", "got one that is cut off or damaged at .*; write or copy it again"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_a_file_that_is_no_npz_is_named_with_what_to_do(tmp_path: Path, kind: str) -> None:
    content, message = OTHER_FILES[kind]
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as told:
        data.describe(str(path), holdout=4)
    assert "pickle" not in str(told.value) or kind == "pickle"


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path, "got the folder .*; pack its images"), (tmp_path / "pipe", "a device or a pipe")):
        with pytest.raises(ValueError, match=message):
            data.describe(str(path), holdout=4)


def test_a_file_that_may_not_be_read_is_a_fault_of_access() -> None:
    with pytest.raises(ValueError, match=r"must be reachable, got /proc/self/mem: .*; check the address and your"):
        data.describe("/proc/self/mem", holdout=4)


def test_arrays_with_other_names_beside_the_images_are_left_alone(tmp_path: Path) -> None:
    labels = np.arange(10) % 2
    uri = saved(tmp_path, images=IMAGES, labels=labels, image_ids=np.arange(10), source=np.array("scans"))
    assert data.describe(uri, holdout=2).num_classes == 2


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, images=drawn(50)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"got one that is cut off or damaged"):
        data.describe(str(path), holdout=4)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", IMAGES)
    with pytest.raises(ValueError, match=r"got a single array \(.npy\) at .*images=numpy.load"):
        data.describe(str(tmp_path / "set.npy"), holdout=4)


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a URI of a known protocol, got nowhere://bucket/set.npz"):
        data.describe("nowhere://bucket/set.npz", holdout=4)


def test_pixels_survive_the_way_to_the_unit_interval_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert to_pixels(to_unit(levels)).equal(levels)
    assert to_unit(levels)[[0, 255]].tolist() == [-1, 1]
    assert to_pixels(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_notices_travel_with_the_images() -> None:
    text = (Path(packaged.__file__).parent / "LICENSES.md").read_text()
    for needed in ("Microsoft Corporation", "LobeHub", "Cal Henderson", "Permission is hereby granted", 'PROVIDED "AS IS"'):
        assert needed in text
