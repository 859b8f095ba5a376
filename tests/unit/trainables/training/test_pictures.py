"""The pictures of a trial at its rungs: equal places show equal noise, and what is dear is not drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.unit.trainables.test_train import BATCH, assignment, run
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import open_images
from trainables.report import Rung
from trainables.training import pictures
from trainables.training.learner import Learner
from trainables.training.pictures import IMAGES, TIMES, RungPictures, share_of_training
from trainables.training.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
IMAGE_SET = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
UPDATES = 600
"""For which the pictures of one rung cost under a fiftieth."""


def long_assignment(folder: Path) -> Assignment:
    return assignment(folder, steps=UPDATES, scored=True, rungs=(UPDATES * BATCH,))


def drawn(folder: Path, work: Assignment) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """The pictures of the untrained network, uint8 [H, W, 3]."""
    learner = Learner(work.trial, IMAGE_SET, workers=Workers())
    addresses = RungPictures(work, learner, IMAGE_SET).draw(str(folder))
    return {kind: np.asarray(Image.open(address)) for kind, address in addresses.items()}


def test_a_long_trial_has_both_pictures_at_its_rung_and_a_short_one_none(tmp_path: Path) -> None:
    work = long_assignment(tmp_path)
    assert set(drawn(tmp_path / "long", work)) == {"progress", "denoised"}
    assert share_of_training(work, work.evaluations[0]) < pictures.MOST_SHARE
    assert drawn(tmp_path / "short", assignment(tmp_path, steps=2, scored=True, rungs=(2 * BATCH,))) == {}


def test_a_rung_says_where_its_pictures_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_SHARE", 100.0)
    rungs = [report for report in run(assignment(tmp_path, steps=2, scored=True, rungs=(BATCH,))) if isinstance(report, Rung)]
    assert {kind: Path(address).name for kind, address in rungs[0].pictures.items()} == {
        "progress": f"progress-{BATCH:012d}.png",
        "denoised": f"denoised-{BATCH:012d}.png",
    }
    assert all(Path(address).is_file() for address in rungs[0].pictures.values())


def test_the_first_row_is_the_held_out_images_and_a_v_prediction_of_nothing_shows_its_input_below(tmp_path: Path) -> None:
    """A fresh network answers 0: v = 0 means x = z, which at t = 0.9 is nearly the image, and at 0.1 nearly noise."""
    base = long_assignment(tmp_path)
    diffusion = base.trial.diffusion.model_copy(update={"prediction": "v"})
    work = base.model_copy(update={"trial": base.trial.model_copy(update={"diffusion": diffusion})})
    picture = drawn(tmp_path, work)["denoised"].astype(float)
    rows = picture.reshape(1 + len(TIMES), -1, *picture.shape[1:])
    cells = [row[:96, :96] for row in rows]
    first = IMAGE_SET.read(IMAGE_SET.heldout[:1])[0].permute(1, 2, 0).numpy()
    assert (cells[0][::3, ::3] == first).all()
    assert picture.shape[1] == IMAGES * (96 + 2)
    errors = [np.square(cell - cells[0]).mean() for cell in cells[1:]]
    assert errors == sorted(errors, reverse=True)


def test_pictures_of_lifted_patches_are_of_pixels(tmp_path: Path) -> None:
    """A fresh network's v-prediction in as many dimensions as a patch has numbers shows its input, as a trial without
    a lift does but for the noise; the images above are the same."""
    base = long_assignment(tmp_path)
    found = []
    for dimensions in (None, 768, 800):
        diffusion = base.trial.diffusion.model_copy(update={"prediction": "v", "dimensions": dimensions})
        trial = TrialConfig.model_validate({**base.trial.model_dump(), "diffusion": diffusion})
        found.append(drawn(tmp_path / str(dimensions), base.model_copy(update={"trial": trial})))
    height = found[0]["denoised"].shape[0] // (1 + len(TIMES))
    plain, *lifted = (pictures["denoised"].astype(int) for pictures in found)
    for picture in lifted:
        assert picture.shape == plain.shape
        assert abs(picture[:height] - plain[:height]).max() <= 1
        assert abs(picture[-height:] - plain[-height:]).mean() < 30
        assert (picture[-height:] != plain[-height:]).any()


def test_pictures_leave_weights_and_mode_as_they_were(tmp_path: Path) -> None:
    work = long_assignment(tmp_path)
    learner = Learner(work.trial, IMAGE_SET, workers=Workers())
    before = {name: parameter.detach().clone() for name, parameter in learner.network.named_parameters()}
    learner.network.train()
    RungPictures(work, learner, IMAGE_SET).draw(str(tmp_path))
    assert learner.network.training
    assert all(torch.equal(before[name], parameter) for name, parameter in learner.network.named_parameters())


def test_guidance_is_in_what_the_pictures_cost(tmp_path: Path) -> None:
    work = long_assignment(tmp_path)
    plain = EvaluationConfig(n=8, sampler="euler", steps=8)
    assert share_of_training(work, plain) < share_of_training(work, plain.model_copy(update={"guidance": 2.0}))
