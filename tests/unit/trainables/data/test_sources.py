"""What each format is taken for, which labels its images get, and what a bad source is told."""

import json
import resource
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.sources import CLASSES, WRITERS, Drawn, looked_at, png, write_folder, write_npz, write_parquet, write_tars
from trainables.data.prepared.finding import description_of, to_prepare
from trainables.data.prepared.prepared_set import open_prepared
from trainables.data.prepared.preparing import prepare
from trainables.data.prepared.settings import PrepareSettings
from trainables.storage.listing import listing_of

DRAWN = Drawn(12)


def classes_of(uri: str | Path, **settings: Any) -> dict[str, int]:
    """The images of each class that a source is taken to have."""
    images = looked_at(uri, **settings).images
    return dict(zip(images.class_names, np.bincount(images.labels, minlength=len(images.class_names)).tolist(), strict=True))


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def flat(folder: Path, count: int = 4) -> list[str]:
    names = [f"{place}.png" for place in range(count)]
    for name, image in zip(names, DRAWN.pixels, strict=False):
        put(folder, name, png(image))
    return names


def test_a_flat_folder_has_one_class(tmp_path: Path) -> None:
    flat(tmp_path)
    assert classes_of(tmp_path) == {"all": 4}


def test_the_records_beside_images_give_their_labels(tmp_path: Path) -> None:
    records: dict[str, Callable[[list[str]], str]] = {
        "dataset.json": lambda names: json.dumps({"labels": [[name, place % 2] for place, name in enumerate(names)]}),
        "metadata.csv": lambda names: (
            "file_name,label\n" + "\n".join(f"{name},{place % 2}" for place, name in enumerate(names))
        ),
        "metadata.jsonl": lambda names: "\n".join(
            json.dumps({"file_name": name, "text": "x", "label": place % 2}) for place, name in enumerate(names)
        ),
    }
    for record, written in records.items():
        folder = tmp_path / record.replace(".", "-")
        put(folder, record, written(flat(folder)).encode())
        assert list(classes_of(folder).values()) == [2, 2]
        assert classes_of(folder, labels="none") == {"all": 4}


def test_a_column_of_labels_is_taken_by_its_name(tmp_path: Path) -> None:
    rows = "file_name,artist\n" + "\n".join(f"{name},{'ab'[place % 2]}" for place, name in enumerate(flat(tmp_path)))
    put(tmp_path, "metadata.csv", rows.encode())
    assert classes_of(tmp_path, labels="artist") == {"a": 2, "b": 2}
    assert classes_of(tmp_path) == {"all": 4}
    with pytest.raises(ValueError, match="must be a column, got 'artits'.*did you mean 'artist'"):
        looked_at(tmp_path, labels="artits")


def test_a_split_s_folder_is_no_class(tmp_path: Path) -> None:
    for name in ("train/cats/1.png", "train/dogs/2.png", "test/cats/3.png", "test/dogs/4.png"):
        put(tmp_path, name, png(DRAWN.pixels[0]))
    assert classes_of(tmp_path) == {"cats": 2, "dogs": 2}
    assert [image.split for image in looked_at(tmp_path).images.images] == ["test", "test", "train", "train"]


def test_numbers_are_ordered_by_value_whether_they_are_names_or_numbers(tmp_path: Path) -> None:
    for label in (0, 2, 10):
        put(tmp_path, f"{label}/a.png", png(DRAWN.pixels[0]))
    assert list(classes_of(tmp_path)) == ["0", "2", "10"]


def test_some_classes_can_be_taken_and_a_pilot_is_spread_over_the_source(tmp_path: Path) -> None:
    top = write_folder(tmp_path, DRAWN)
    assert classes_of(top, classes=("cats", "ants")) == {"ants": 4, "cats": 4}
    assert classes_of(top, limit=6) == {"ants": 2, "bees": 2, "cats": 2}
    with pytest.raises(ValueError, match="must be classes of the source, got 'cat' of .*; did you mean 'cats'"):
        looked_at(top, classes=("cat",))
    with pytest.raises(ValueError, match="each class once, got 'cats' twice"):
        looked_at(top, classes=("cats", "cats"))


def test_a_class_folder_with_an_image_beside_it_is_refused(tmp_path: Path) -> None:
    top = Path(write_folder(tmp_path, DRAWN))
    put(top, "stray.png", png(DRAWN.pixels[0]))
    with pytest.raises(ValueError, match="either all images must have a label, or none, got 1 of 13 without, first stray.png"):
        looked_at(top)


def test_hidden_files_and_other_files_are_not_looked_at(tmp_path: Path) -> None:
    top = Path(write_folder(tmp_path, DRAWN))
    for name in (".DS_Store", "ants/._0.png", "__MACOSX/ants/0.png", "ants/notes.txt"):
        put(top, name, b"x")
    assert classes_of(top) == dict.fromkeys(CLASSES, 4)


def test_parquet_takes_bytes_and_the_label_column_that_is_named(tmp_path: Path) -> None:
    table = {"img": [png(image) for image in DRAWN.pixels], "kind": [CLASSES[label] for label in DRAWN.labels]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert classes_of(tmp_path / "a.parquet", labels="kind") == dict.fromkeys(CLASSES, 4)
    assert classes_of(tmp_path / "a.parquet") == {"all": 12}
    assert [image.split for image in looked_at(write_parquet(tmp_path / "p", DRAWN)).images.images[:1]] == ["train"]


def test_tar_shards_are_a_folder_a_glob_or_braces_and_may_have_json(tmp_path: Path) -> None:
    braces = write_tars(tmp_path / "t", DRAWN)
    found = [classes_of(uri) for uri in (braces, tmp_path / "t", f"{tmp_path}/t/*.tar", f"{tmp_path}/t/{{0000,0001,0002}}.tar")]
    assert [list(each.values()) for each in found] == [[4, 4, 4]] * 4
    with tarfile.open(tmp_path / "one.tar", "w") as archive:
        for place, image in enumerate(DRAWN.pixels):
            for name, content in ((f"{place}.png", png(image)), (f"{place}.json", json.dumps({"kind": place % 2}).encode())):
                put(tmp_path / "loose", name, content)
                archive.add(tmp_path / "loose" / name, name)
    assert list(classes_of(tmp_path / "one.tar", labels="kind").values()) == [6, 6]


def test_tar_shards_of_a_store_are_fetched_once_to_list_and_to_decode_them(tmp_path: Path) -> None:
    here, store = prepare(looked_at(write_tars(tmp_path / "t", DRAWN)), str(tmp_path / "here")), fsspec.filesystem("memory")
    store.put(f"{tmp_path}/t/", "/tars/", recursive=True)
    plan = looked_at("memory://tars/{0000..0002}.tar")
    looked_at("memory://tars/{0000..0002}.tar")
    store.rm("/tars", recursive=True)
    assert prepare(plan, str(tmp_path / "there")).digest == here.digest


@pytest.mark.parametrize("kind", WRITERS)
def test_a_cut_file_is_named_and_never_taken_for_whole(kind: str, tmp_path: Path) -> None:
    uri = WRITERS[kind](tmp_path / "in", DRAWN)
    files = sorted(path for path in (tmp_path / "in").rglob("*") if path.is_file())
    files[0].write_bytes(files[0].read_bytes()[: files[0].stat().st_size // 2])
    with pytest.raises(ValueError, match=r"must be whole|cut off or damaged|of a known format|too soon|bad file"):
        prepare(looked_at(uri), str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.json"))


def test_a_tar_that_was_cut_between_two_members_is_not_whole(tmp_path: Path) -> None:
    write_tars(tmp_path / "t", DRAWN, shards=1)
    file = tmp_path / "t" / "0000.tar"
    with tarfile.open(file) as archive:
        boundary = archive.getmembers()[6].offset
    file.write_bytes(file.read_bytes()[:boundary])
    with pytest.raises(ValueError, match="must be whole, got .* which ends without an end mark"):
        looked_at(file)


def test_a_zip_with_a_name_twice_and_a_key_with_two_images_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("same.png", png(DRAWN.pixels[0]))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("same.png", png(DRAWN.pixels[1]))
    with pytest.raises(ValueError, match="each name once, got same.png twice"):
        looked_at(tmp_path / "a.zip", format="zip")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("0.png", "0.jpg"):
            put(tmp_path, name, png(DRAWN.pixels[0]))
            tar.add(tmp_path / name, name)
    with pytest.raises(ValueError, match="one image a key, got two of 0"):
        looked_at(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.csv", "b.csv", "c.txt"], r"of a known format \(.*\), got a folder with 2 .csv, 1 .txt"),
        ([], r"got a folder with nothing"),
    ],
)
def test_a_folder_without_images_says_what_was_found(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        put(tmp_path, name, b"x")
    with pytest.raises(ValueError, match=message):
        looked_at(tmp_path)


def test_a_single_picture_and_a_format_of_no_name_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.png", png(DRAWN.pixels[0]))
    with pytest.raises(ValueError, match="got one PNG picture at .*; name the folder of pictures"):
        looked_at(tmp_path / "a.png")
    with pytest.raises(ValueError, match="`format` must be .*, got 'parket'; did you mean 'parquet'"):
        looked_at(tmp_path, format="parket")  # type: ignore[arg-type]


def test_an_npz_without_further_keys_is_not_prepared(tmp_path: Path) -> None:
    uri = write_npz(tmp_path / "n", DRAWN)
    assert to_prepare(uri, PrepareSettings(holdout=4), format=None) is None
    assert to_prepare(uri, PrepareSettings(holdout=4, image_size=4), format=None) is not None
    assert to_prepare("emoji32", PrepareSettings(), format=None) is None
    with pytest.raises(ValueError, match="takes `holdout` and `flip` alone, got further keys for emoji32"):
        to_prepare("emoji32", PrepareSettings(image_size=16), format=None)
    with pytest.raises(ValueError, match="got nothing at .*not-there; check the spelling"):
        to_prepare(str(tmp_path / "not-there"), PrepareSettings(image_size=16), format=None)


def test_bad_files_are_listed_with_their_reasons_and_may_be_left_out(tmp_path: Path) -> None:
    top = Path(write_folder(tmp_path / "in", DRAWN))
    for place in range(11):
        put(top, f"ants/bad{place:02d}.png", b"" if place else b"no image")
    with pytest.raises(ValueError, match=r"every file must be an image .*got 11 bad files in") as error:
        prepare(looked_at(top), str(tmp_path / "out"))
    lines = str(error.value).splitlines()
    assert lines[0].endswith("leave them out by on_bad: {skip: 11} (--skip-bad 11):")
    assert lines[1:3] == ["  ants/bad00.png: no image that Pillow knows", "  ants/bad01.png: an empty file"]
    assert lines[-1] == "  and 1 more"
    with pytest.raises(ValueError, match="at most 10 may be bad"):
        prepare(looked_at(top, on_bad={"skip": 10}), str(tmp_path / "out"))
    manifest = prepare(looked_at(top, on_bad={"skip": 11}), str(tmp_path / "out"))
    assert (manifest.count, manifest.bad_count, len(manifest.bad)) == (12, 11, 10)
    assert open_prepared(str(tmp_path / "out")).count == 12
    whole = prepare(looked_at(write_folder(tmp_path / "whole", DRAWN)), str(tmp_path / "other"))
    assert (whole.content, whole.digest == manifest.digest) == (manifest.content, False)


def test_images_that_preparation_will_refuse_are_refused_where_they_are_listed(tmp_path: Path) -> None:
    """By their heads: other sizes where none is given, and files that are no images."""
    top = Path(write_folder(tmp_path / "in", DRAWN))
    put(top, "bees/tall.png", png(np.zeros((30, 40, 3), dtype=np.uint8)))
    put(top, "cats/text.png", b"no image")
    with pytest.raises(ValueError, match=r"every file must be an image .*got 2 bad files among 14 looked at in") as error:
        description_of(looked_at(top, image_size=None, holdout=4))
    assert "; image_size: 8 crops and resizes them; or mend or remove them, or leave them out by" in str(error.value)
    assert "\n  bees/tall.png: 40 x 30 pixels, not 8 x 8\n  cats/text.png: no image that Pillow knows" in str(error.value)
    with pytest.raises(ValueError, match="got 1 bad file among 14 looked at"):
        description_of(looked_at(top, image_size=8))
    with pytest.raises(ValueError, match=r"got 2 bad files among 14 looked at .*\(--skip-bad 2\):"):
        description_of(looked_at(top, image_size=8, crop="none", holdout=4))
    assert description_of(looked_at(top, image_size=8, on_bad={"skip": 1})).heldout_count == 4


def halves(kind: str, top: Path) -> tuple[str, str, str]:
    """A source in two files, as a list, by braces and by a glob; of a folder its class folders."""
    if kind == "folder":
        write_folder(top, DRAWN)
        return f"{top}/ants,{top}/bees,{top}/cats", f"{top}/{{ants,bees,cats}}", f"{top}/*"
    top.mkdir()
    for part, rows in (("a", slice(0, 6)), ("b", slice(6, 12))):
        WRITERS[kind](top / part, Drawn(pixels=DRAWN.pixels[rows]))
    files = [path.relative_to(top / "a").as_posix() for path in (top / "a").iterdir()]
    (name,) = [name for name in files if "labels" not in name and not name.startswith(("train-00001", "0001", "0002"))]
    name = name.replace("00000-of", "*-of").replace("0000.tar", "*.tar")
    return f"{top}/a/{name},{top}/b/{name}", f"{top}/{{a,b}}/{name}", f"{top}/*/{name}"


@pytest.mark.parametrize("kind", WRITERS)
def test_several_addresses_of_any_format_are_one_source(kind: str, tmp_path: Path) -> None:
    listed, braces, glob = halves(kind, tmp_path / "in")
    whole = prepare(looked_at(write_folder(tmp_path / "whole", DRAWN)), str(tmp_path / "set"))
    given: list[str | tuple[str, ...]] = [tuple(listed.split(",")), braces, glob]
    for at, uri in enumerate(given):
        assert prepare(looked_at(uri), str(tmp_path / str(at))).digest == whole.digest, uri


def test_a_prepared_set_that_was_deleted_is_made_again_to_the_same_digest(tmp_path: Path) -> None:
    top, out = write_folder(tmp_path / "in", DRAWN), tmp_path / "out"
    first = prepare(looked_at(top), str(out))
    for path in out.iterdir():
        path.unlink()
    assert prepare(looked_at(top), str(out)).digest == first.digest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"holdout": None}, "needs `holdout`, the number of images to split off, got none for .* with 12 images; try 2"),
        ({"holdout": 7}, "at least 2 and at most half of the images, got holdout=7 of 12"),
        ({"crop": "none", "image_size": 9}, "8 x 8 pixels, not 9 x 9"),
    ],
)
def test_settings_that_do_not_fit_the_source_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(looked_at(write_folder(tmp_path / "in", DRAWN), **settings), str(tmp_path / "out"))


def test_grey_images_of_their_own_size_keep_one_channel(tmp_path: Path) -> None:
    top = write_folder(tmp_path / "in", Drawn(12, channels=1))
    manifest = prepare(looked_at(top, image_size=None, channels="grey"), str(tmp_path / "out"))
    assert (manifest.image_size, manifest.channels) == (8, 1)


def test_a_full_disk_leaves_nothing_that_is_taken_for_a_set(tmp_path: Path) -> None:
    plan, out = looked_at(write_folder(tmp_path / "in", DRAWN)), str(tmp_path / "out")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="images-00000"):
            prepare(plan, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(ValueError, match="written last, got none"):
        open_prepared(out)
    assert prepare(plan, out).count == 12


def test_a_folder_of_any_protocol_is_read_as_one_on_a_disk(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe({f"/sources/any/{name}": content for name, content in DRAWN.files().items()})
    there = prepare(looked_at("memory://sources/any"), str(tmp_path / "there"))
    here = prepare(looked_at(write_folder(tmp_path / "in", DRAWN)), str(tmp_path / "here"))
    assert (there.source.files, there.digest) == (12, here.digest)


def test_a_listing_is_another_once_a_file_is_new_gone_or_changed(tmp_path: Path) -> None:
    top = Path(write_folder(tmp_path, DRAWN))
    seen = [listing_of(str(top)).identity]
    put(top, "ants/new.png", png(DRAWN.pixels[0]))
    seen.append(listing_of(str(top)).identity)
    put(top, "ants/new.png", png(DRAWN.pixels[1]))
    seen.append(listing_of(str(top)).identity)
    (top / "ants/new.png").unlink()
    assert listing_of(str(top)).identity == seen[0]
    assert len(set(seen)) == 3


def test_a_path_that_exists_is_no_pattern(tmp_path: Path) -> None:
    top = tmp_path / "all[0]{a,b}*"
    top.mkdir()
    assert classes_of(write_folder(top, DRAWN)) == dict.fromkeys(CLASSES, 4)
