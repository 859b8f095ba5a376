"""Scores of anything that can be loaded: equal to a trial's own, kept where a trial owns them, refused in words."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from jit_sweep.cli import main
from jit_sweep.errors import UserError
from jit_sweep.inference.evaluate import Evaluations
from jit_sweep.inference.settings import changed
from jit_sweep.inference.trained import ImagesAt, Places, find
from jit_sweep.models.model_folder import CONFIG, WEIGHTS, ModelFolderConfig
from tests.support.trained import EVALUATION, home_of_seeds, image_file, log_of, subject, trained_home
from tests.unit.trainables.official.test_file import checkpoint
from trainables.data import open_images
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.generate import generate
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.evaluation.neighbours import nearest
from trainables.evaluation.score import Scorer
from trainables.methods.denoiser import sample_labels
from trainables.networks.registry import blank

__all__ = ["checkpoint"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
FD = "fd_efflite0_96"


def places(home: Any) -> Places:
    return Places(home, log_of(home).reader, home.tracking)


def test_a_trial_is_found_by_its_first_digits_with_all_its_weights(tmp_path: Path) -> None:
    home, entry = trained_home(tmp_path)
    found = find(entry.trial_id[:5], places(home))
    assert (found.trial, found.evaluation, found.images) == (entry.trial, entry.evaluation, entry.images)
    assert sorted(found.weights) == ["ema", "raw"]


def test_scores_are_of_the_samples_that_these_weights_and_settings_draw(tmp_path: Path) -> None:
    asked = subject(tmp_path)
    other = EVALUATION.model_copy(update={"weights": "raw", "steps": 3})
    network = blank(asked.trial)
    network.load_state_dict(dict(asked.weights["raw"]))
    images = open_images(image_file(tmp_path).address)
    expected = Scorer(images, cache=None).score(generate(network, asked.trial, other, sample_labels(images, other)))
    assert {name: Evaluations(asked).scores(other).record.values[name] for name in expected} == expected
    assert Evaluations(asked).scores(EVALUATION).record.values[FD] != expected[FD]


def test_what_a_trial_scores_is_drawn_once_and_known_to_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, entry = trained_home(tmp_path)
    first = Evaluations(find(entry.trial_id, places(home)), log=log_of(home)).scores(EVALUATION)
    gone = replace(find(entry.trial_id, places(home)), data=ImagesAt("gone.npz"))
    again = Evaluations(gone, log=log_of(home))
    second = again.scores(EVALUATION)
    assert (first.cached, second.cached) == (False, True)
    assert second.record == first.record
    with pytest.raises(UserError, match=r"gone\.npz"):
        again.scores(EVALUATION.model_copy(update={"seed": 1}))


def test_what_a_sweep_has_scored_is_known(tmp_path: Path) -> None:
    home, (entry,) = home_of_seeds(tmp_path, [{FD: 1234.5}])
    scored = replace(find(entry.trial_id, places(home)), data=ImagesAt("gone.npz"))
    found = Evaluations(scored, log=log_of(home)).scores(EVALUATION)
    assert (found.cached, found.record.values, found.record.evaluation_id) == (True, {FD: 1234.5}, EVALUATION.id)


def test_other_images_than_a_trial_s_own_leave_no_scores_in_its_ledger(tmp_path: Path) -> None:
    home, entry = trained_home(tmp_path)
    evaluations = Evaluations(find(entry.trial_id, places(home)), images=image_file(tmp_path / "other"), log=log_of(home))
    evaluations.scores(EVALUATION)
    assert log_of(home).reader.evaluated(entry.trial_id) == []


def test_an_official_checkpoint_is_scored_against_given_images_and_the_missing_classes_are_told(
    tmp_path: Path, checkpoint: Path
) -> None:
    home, _ = trained_home(tmp_path)
    found = find(str(checkpoint), places(home))
    assert sorted(found.weights) == ["ema1", "ema2", "raw"]
    with pytest.raises(UserError, match="--data"):
        Evaluations(found)
    evaluations = Evaluations(found, images=image_file(tmp_path))
    with pytest.raises(UserError, match="at most 16, the held-out images"):
        evaluations.scores(found.evaluation)
    settings = changed(found.evaluation, ["n=16", "steps=2", "weights=ema2", "guidance=1.5"])
    assert evaluations.scores(settings).record.values[FD] > 0
    assert any("knows 5 classes, and the images are of 3" in remark for remark in evaluations.remarks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported model."""
    asked, folder = subject(tmp_path), tmp_path / "exported"
    folder.mkdir()
    config = ModelFolderConfig(trial=asked.trial, evaluation=asked.evaluation)
    (folder / CONFIG).write_text(config.model_dump_json())
    save_file(dict(asked.weights["ema"]), folder / WEIGHTS)
    return folder


def test_a_folder_is_scored_by_the_weights_in_it(folder: Path, tmp_path: Path) -> None:
    home, _ = trained_home(tmp_path)
    found = find(f"{folder}/", places(home))
    own = Evaluations(subject(tmp_path)).scores(EVALUATION).record
    assert Evaluations(found, images=image_file(tmp_path)).scores(EVALUATION).record.values == own.values
    with pytest.raises(UserError, match="`weights` must be one of ema"):
        Evaluations(found, images=image_file(tmp_path)).scores(EVALUATION.model_copy(update={"weights": "raw"}))


@pytest.mark.parametrize("damage", ["shape", "bytes", "none"])
def test_wrong_weights_are_refused_with_their_file(folder: Path, tmp_path: Path, damage: str) -> None:
    home, _ = trained_home(tmp_path)
    (folder / WEIGHTS).unlink()
    if damage == "shape":
        save_file({"head.weight": torch.zeros(3)}, folder / WEIGHTS)
    elif damage == "bytes":
        (folder / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(UserError, match=rf"a model's weights must .*{WEIGHTS}"):
        find(f"{folder}/", places(home))


def test_a_damaged_checkpoint_is_told_with_its_address(tmp_path: Path) -> None:
    home, entry = trained_home(tmp_path)
    for part in (home.store / "trials").rglob("ema.safetensors"):
        part.write_bytes(b"rotten")
    with pytest.raises(UserError, match=r"must have a checkpoint .*ema\.safetensors"):
        find(entry.trial_id, places(home))


def spoiled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()}


def test_pictures_show_classes_in_rows_and_below_each_sample_the_nearest_training_image(tmp_path: Path) -> None:
    evaluations = Evaluations(subject(tmp_path))
    files = evaluations.draw_pictures(EVALUATION, str(tmp_path / "drawn"))
    assert [Path(file).name for file in files] == ["samples.png", "classes.png", "neighbours.png"]
    rows = {Path(file).stem: Image.open(file).height // (16 * 6 + 2) for file in files}
    assert rows == {"samples": 2, "classes": 3, "neighbours": 2}
    below = np.asarray(Image.open(files[2]))[98 : 98 + 96 : 6, :96:6]
    images = open_images(image_file(tmp_path).address)
    assert any((below == image.permute(1, 2, 0).numpy()).all() for image in images.read(images.train))


def test_the_nearest_is_the_image_itself_where_it_is_among_them() -> None:
    real = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert nearest(real[[3, 17]] + 1e-4, real).tolist() == [3, 17]


def test_weights_that_are_no_numbers_give_no_score(tmp_path: Path) -> None:
    asked = subject(tmp_path)
    with pytest.raises(NotFinite, match="must be finite"):
        Evaluations(replace(asked, weights={"ema": spoiled(dict(asked.weights["ema"]))})).scores(EVALUATION)


def test_samples_that_overflow_give_no_score(tmp_path: Path) -> None:
    asked = subject(tmp_path)
    huge = {name: tensor * 1e30 for name, tensor in asked.weights["ema"].items()}
    with pytest.raises(NotFinite):
        Evaluations(replace(asked, weights={"ema": huge})).scores(EVALUATION)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be 3x16x16, as the network takes them, got 3x32x32"):
        Evaluations(subject(tmp_path), images=ImagesAt("emoji32")).scores(EVALUATION)


def test_images_of_classes_that_the_network_does_not_know_are_refused(tmp_path: Path) -> None:
    at = image_file(tmp_path)
    with np.load(at.address) as disks:
        np.savez(tmp_path / "more.npz", **{**disks, "labels": np.arange(48) % 7})
    rule = "must be of the 5 classes that the network knows, 0..4, got label 6; give images of its own classes"
    with pytest.raises(UserError, match=rule):
        Evaluations(subject(tmp_path), images=ImagesAt(str(tmp_path / "more.npz"))).scores(EVALUATION)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("steps", "must be KEY=VALUE"),
        ("step=3", "steps"),
        ("steps=0", "steps"),
        ("weights=[", "not YAML"),
        ("guidance=-1", "guidance"),
    ],
)
def test_a_setting_that_none_takes_is_refused(setting: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        changed(EVALUATION, [setting])


def test_what_is_nothing_is_refused_with_all_that_it_could_be(tmp_path: Path) -> None:
    home, _ = trained_home(tmp_path)
    with pytest.raises(UserError, match=r"a trial, a model, a folder or a checkpoint, got 'nothing'"):
        find("nothing", places(home))
    with pytest.raises(UserError, match="exists, got"):
        find("./nothing.pth", places(home))


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["jit-sweep", "evaluate", *arguments])
    try:
        return main()
    except SystemExit as end:  # as typer ends where a person reads
        return int(end.code or 0)


def test_the_command_prints_scores_beside_images_that_no_model_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home, entry = trained_home(tmp_path)
    asked = (entry.trial_id, "--home", str(home.path), "--set", "steps=3")
    assert command(monkeypatch, *asked) == 0
    table = capfd.readouterr().out
    assert all(word in table for word in ("held-out", "white", "mean image", FD, RUNG_METRIC, "steps 3"))
    assert command(monkeypatch, *asked, "--json") == 0
    printed = json.loads(capfd.readouterr().out)
    row = next(row for row in printed["rows"] if row["metric"] == FD)
    assert printed["cached"] is True
    assert {"value", "error", "n", "heldout", "white images", "the mean image"} <= row.keys()
    known = log_of(home).reader.evaluated(entry.trial_id)[0]
    assert row["value"] == known.values[FD]


def test_a_network_without_scores_ends_with_exit_code_1_and_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    save_file(spoiled(dict(subject(tmp_path).weights["ema"])), folder / WEIGHTS)
    code = command(monkeypatch, f"{folder}/", "--data", image_file(tmp_path).address, "--home", str(tmp_path / "new"))
    said = capfd.readouterr().err
    assert code == 1
    assert "has no scores: the weights" in said
    assert "Traceback" not in said
