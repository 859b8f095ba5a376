"""`data prepare` and `data inspect` as a user types them, and what a run says while it prepares."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jit_sweep.cli.data import prepare_for
from jit_sweep.cli.plan import planned
from jit_sweep.home import home_at
from tests.support.disks import disk_of
from tests.support.sources import Drawn, png, write_folder, write_tars, write_zip
from tests.support.sweep_files import write_sweep
from trainables.data import open_images
from trainables.data.prepared import preparing
from trainables.data.prepared.prepared_set import open_prepared


def test_a_folder_is_prepared_inspected_and_drawn(typed: Any, tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", Drawn())
    code, said, _ = typed("data", "prepare", "photos", "set", "--size", "8", "--holdout", "4")
    assert (code, "prepared 24 images of 8 px, 3 classes" in said) == (0, True)
    code, said, _ = typed("data", "inspect", "set", "--sheet", "sheet.png", "--by-class", "--n", "9", "--json")
    (row,) = json.loads(said)["rows"]
    assert (code, row["images"], row["classes"]) == (0, 24, {"ants": 8, "bees": 8, "cats": 8})
    assert row["warnings"] == ["evaluation.n=9 needs as many held-out images, got 4"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * (96 + 2), 3 * (96 + 2))
    assert "24 images, not prepared" in typed("data", "inspect", "photos")[1]


def test_packaged_images_of_64_px_in_class_folders_are_trained_on_as_they_are(typed: Any, tmp_path: Path) -> None:
    with np.load(Path(__file__).parents[2] / "golden" / "few_emoji64.npz") as few:
        images, labels, names = few["images"], few["labels"], few["class_names"]
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "emoji" / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.png").write_bytes(png(image))
    file = write_sweep(tmp_path, data={"uri": "emoji", "image_size": 64, "holdout": 8})
    home, spec = home_at(tmp_path / "home"), planned(file, home_at(tmp_path)).spec
    prepare_for(spec, home.locations(spec).storage, address=None, screen=Console(quiet=True))
    assert "valid; sweep 'tiny' has 2 trials" in typed("validate", file, "--home", "home")[1]
    plan = planned(file, home)
    assert (plan.data.image_size, plan.data.class_names) == (64, tuple(names))
    whole = open_images(plan.data.uri)
    pixels = whole.read(np.arange(len(whole))).permute(0, 2, 3, 1).numpy()
    seen = {(image.tobytes(), int(label)) for image, label in zip(pixels, whole.labels(np.arange(len(whole))), strict=True)}
    assert seen == {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def test_a_mistake_is_a_line_with_its_rule(typed: Any, tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", Drawn())
    code, _, said = typed("data", "prepare", "photos", "set", "--size", "8", "--holdout", "4", "--crop", "middle")
    assert (code, said.startswith("error: --crop: input should be 'adm', 'centre', 'pad' or 'none'")) == (2, True)
    code, _, said = typed("data", "prepare", "photoss", "set", "--size", "8", "--holdout", "4")
    assert (code, f"got nothing at {tmp_path}/photoss; did you mean 'photos'?" in said, "Traceback" in said) == (2, True, False)
    (tmp_path / "photos" / "ants" / "bad.png").write_bytes(b"")
    code, _, said = typed("data", "prepare", "photos", "set", "--size", "8", "--holdout", "4")
    assert (code, "ants/bad.png: an empty file" in said) == (2, True)


SET = ("--size", "8", "--holdout", "2")
SLASHES = "must be a path or a URI, which has two slashes, got s3:/B/x; a path may begin with ./"
MISTAKES: dict[tuple[str, ...], str] = {
    ("inspect", "s3:/B/x"): f"`URI` {SLASHES}",
    ("prepare", "photos", "s3:/B/x", *SET): f"`OUT` {SLASHES}",
    ("inspect", "nowhere://b/x"): "`URI` must be a path or a URI of a known protocol, got nowhere://b/x; try s3:// or a path",
    ("prepare", "photos", "nowhere://b", *SET): "`OUT` must be a path or a URI of a known protocol, got nowhere://b; try s3://",
    ("inspect", "photos", "--sheet", "text.zip/sheet.png"): "`--sheet` must be a file that can be written, got ",
    ("inspect", "photos", "--sheet", "few.jpg"): "`--sheet` must be a PNG file to write, got few.jpg; name it few.png",
    ("prepare", "photos", "text.zip/x", *SET): "data: the place of a prepared set must be a folder that can be written, got ",
    ("inspect", "text.zip"): "got a text file at {top}/text.zip; open it: it may tell of a failed download",
    (
        "inspect",
        "cut.zip",
    ): "data: a zip archive must be whole, got {top}/cut.zip (File is not a zip file); write or copy it again",
    ("prepare", "few", "set", *SET): "data: a source must hold 4 images or more, got 3 in {top}/few; add some",
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_what_is_no_source_or_place_is_told_with_rule_value_and_remedy(
    words: tuple[str, ...], typed: Any, tmp_path: Path
) -> None:
    write_folder(tmp_path / "photos", Drawn(12))
    write_folder(tmp_path / "few", Drawn(3))
    (tmp_path / "text.zip").write_text("not found")
    (tmp_path / "cut.zip").write_bytes(Path(write_zip(tmp_path / "z", Drawn())).read_bytes()[:900])
    code, _, said = typed("data", *words)
    assert (code, MISTAKES[words].format(top=tmp_path) in said) == (2, True), said
    assert said.count("\n") == 1
    assert not (tmp_path / "set" / "prepared-set.json").exists()


def test_a_plan_lists_a_source_and_decodes_none_of_it(typed: Any, tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", Drawn(96))
    for file in (tmp_path / "photos").rglob("*.png"):
        file.write_bytes(file.read_bytes()[:-40])  # a sound head
    data = {"uri": "photos", "image_size": 32, "holdout": 16}
    code, said, _ = typed("validate", write_sweep(tmp_path, data=data))
    assert (code, "have been listed, not decoded" in said) == (0, True)


def test_a_sweep_is_checked_on_the_prepared_set_of_the_home_that_is_named(typed: Any, tmp_path: Path) -> None:
    drawn = Drawn(96, size=32)
    drawn.pixels[:3] = 0
    write_folder(tmp_path / "photos", drawn)
    file = write_sweep(tmp_path, data={"uri": "photos", "image_size": 32, "holdout": 16})
    home, spec = home_at(tmp_path / "elsewhere"), planned(file, home_at(tmp_path)).spec
    prepare_for(spec, home.locations(spec).storage, address=None, screen=Console(quiet=True))
    assert "have been listed" in typed("validate", file)[1]
    for command in ("validate", "plan"):
        code, said, _ = typed(command, file, "--home", "elsewhere")
        assert (code, "have been listed" in said, "3 images all black" in said) == (0, False, True)


def test_a_set_of_images_that_are_all_black_is_not_made_and_one_with_some_is_warned_of(typed: Any, tmp_path: Path) -> None:
    drawn = Drawn()
    drawn.pixels[:] = 0
    write_folder(tmp_path / "black", drawn)
    code, _, said = typed("data", "prepare", "black", "set", "--size", "8", "--holdout", "4")
    assert (code, "`images` must differ, got 24 black images" in said) == (2, True)
    drawn.pixels[5:] = Drawn().pixels[5:]
    write_folder(tmp_path / "some", drawn)
    code, said, _ = typed("data", "prepare", "some", "set", "--size", "8", "--holdout", "4")
    assert (code, said.splitlines()[-1]) == (0, "warning: 5 images all black")


def test_a_source_that_has_changed_since_it_was_prepared_is_told_with_what_changed(typed: Any, tmp_path: Path) -> None:
    top = Path(write_folder(tmp_path / "photos", Drawn(96, size=32)))
    file, home = (
        write_sweep(tmp_path, data={"uri": "photos", "image_size": 32, "holdout": 16}),
        home_at(tmp_path / ".jit-sweep"),
    )
    spec = planned(file, home).spec
    prepare_for(spec, home.locations(spec).storage, address=None, screen=Console(quiet=True))
    assert "have changed" not in typed("validate", file)[1]
    one = top / "ants" / "00000.png"
    os.utime(one, (1, 1))
    assert "96 files of" in typed("validate", file)[1]
    assert "now as then, with other times of change" in typed("validate", file)[1]
    one.rename(top / "ants" / "other.png")
    assert "now as then, with other names" in typed("plan", file)[1]
    (top / "ants" / "more.png").write_bytes((top / "ants" / "other.png").read_bytes())
    (said,) = [line for line in typed("plan", file)[1].splitlines() if "have changed" in line]
    assert "they have changed since they were prepared: 97 files of" in said
    former = said.rpartition("say data: {uri: ")[2].removesuffix("}")
    assert "have changed" not in typed("validate", write_sweep(tmp_path, data={"uri": former}))[1]


def test_a_sweep_file_may_list_addresses(typed: Any, tmp_path: Path) -> None:
    write_tars(tmp_path / "t", Drawn(96, size=32))
    data = {"uri": ["t/0000.tar", "t/0001.tar", "t/0002.tar"], "image_size": 32, "holdout": 16}
    code, said, _ = typed("validate", write_sweep(tmp_path, data=data))
    assert (code, f"the images at {tmp_path}/t/0000.tar, {tmp_path}/t/0001.tar" in said) == (0, True)
    code, _, said = typed("validate", write_sweep(tmp_path, data={**data, "uri": ["t/0000.tar", "t/9999.tar"]}))
    assert (code, f"nothing at {tmp_path}/t/9999.tar" in said) == (2, True)
    code, _, said = typed("validate", write_sweep(tmp_path, data={**data, "uri": []}))
    assert (code, "data.uri" in said) == (2, True)
    code, _, said = typed("validate", write_sweep(tmp_path, data={**data, "uri": "s3:/b/x"}))
    assert (code, "a URI, which has two slashes, got s3:/b/x" in said) == (2, True)


PREPARE = ("data", "prepare", "photos", "set", "--size", "8", "--holdout", "4")
INTERRUPTED = """
import os, signal, sys
from jit_sweep.cli import main
from trainables.data.prepared import preparing

def interrupted(work, make=preparing.make_shard):
    if work.number == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return make(work)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
preparing.make_shard, preparing.images_per_shard = interrupted, lambda shape, most_bytes: 5
sys.argv = ["jit-sweep", *{words!r}]
sys.exit(main())
"""


def test_a_preparation_that_is_interrupted_ends_with_130_and_the_same_command_goes_on(
    typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "photos", Drawn())
    command = [sys.executable, "-c", INTERRUPTED.format(words=PREPARE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted; the same command goes on with the shards that are done\n")
    monkeypatch.setattr(preparing, "images_per_shard", lambda shape, most_bytes: 5)
    code, said, _ = typed(*PREPARE)
    assert (code, "going on with 10 images that were prepared before" in said) == (0, True)
    assert len(open_images("set")) == 24


def test_a_preparation_that_runs_out_of_disk_is_told_where_and_goes_on_once_there_is_room(
    typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "photos", Drawn())
    monkeypatch.setattr(preparing, "images_per_shard", lambda shape, most_bytes: 5)
    with disk_of(256, at=tmp_path / "set") as disk:
        (disk / "ballast").write_bytes(bytes(210 * 1024))
        code, _, said = typed(*PREPARE)
        assert (code, "the place of a prepared set must have room for it, got" in said) == (2, True)
        assert "No space left on device" in said
        assert not (disk / "prepared-set.json").exists()
        (disk / "ballast").unlink()
        code, said, _ = typed(*PREPARE)
        assert (code, "images that were prepared before" in said) == (0, True)


def test_a_set_that_is_deleted_between_two_runs_is_made_again_and_half_of_one_is_never_taken_for_whole(
    typed: Any, tmp_path: Path
) -> None:
    photos = write_folder(tmp_path / "photos", Drawn(96, size=32))
    file = write_sweep(tmp_path, data={"uri": "photos", "image_size": 32, "holdout": 16})
    home = home_at(tmp_path / ".jit-sweep")

    def run_prepares() -> Path:
        before = planned(file, home)
        assert not before.data.is_prepared
        prepare_for(before.spec, home.locations(before.spec).storage, address=None, screen=Console(quiet=True))
        return Path(planned(file, home).data.uri)

    place = run_prepares()
    ids = [entry.trial_id for entry in planned(file, home).entries]
    shutil.rmtree(place)
    assert run_prepares() == place
    (place / "prepared-set.json").unlink()
    assert run_prepares() == place
    assert [entry.trial_id for entry in planned(file, home).entries] == ids
    (shard,) = place.glob("images-*.npy")
    shard.unlink()
    for words in (
        ("validate", file),
        ("plan", file),
        ("data", "prepare", "photos", str(place), "--size", "32", "--holdout", "16"),
    ):
        code, _, said = typed(*words)
        assert (code, f"got no file at {shard}; delete that folder, and prepare or copy it again" in said) == (2, True), said
    shutil.rmtree(place)
    shutil.rmtree(photos)
    code, _, said = typed("validate", file)
    assert (code, f"got nothing at {photos}; check the spelling, and your access to it" in said) == (2, True)


AT_ONCE = """
import sys
from jit_sweep.cli import main
from trainables.data.prepared import preparing

def both_ready(*given, commit=preparing.commit, **named):
    print("ready", flush=True)
    sys.stdin.readline()
    return commit(*given, **named)

preparing.commit, preparing.images_per_shard = both_ready, lambda shape, most_bytes: {per_shard}
sys.argv = ["jit-sweep", *{words!r}]
sys.exit(main())
"""


@pytest.mark.slow
def test_of_two_commands_that_prepare_one_set_at_once_one_wins_and_both_end_well(tmp_path: Path) -> None:
    """Each makes shards of its own, and stands before the manifest, which is not there yet, when it is let go."""
    drawn = Drawn()
    write_folder(tmp_path / "photos", drawn)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", AT_ONCE.format(per_shard=per_shard, words=PREPARE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for per_shard in (5, 7)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert any(line == "ready\n" for line in writer.stdout)
    said, manifests = [], []
    for writer in writers:
        said.append(writer.communicate("\n", timeout=300)[0].splitlines()[-1])
        manifests.append((tmp_path / "set" / "prepared-set.json").read_bytes())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert said[0] == said[1]
    assert said[0].startswith("prepared 24 images of 8 px, 3 classes: ")
    assert manifests[0] == manifests[1]
    whole = open_prepared(str(tmp_path / "set"))
    assert [shard.count for shard in whole.manifest.shards] == [5, 5, 5, 5, 4]
    assert sorted(image.tobytes() for image in whole.gather(np.arange(24))) == sorted(i.tobytes() for i in drawn.pixels)
