"""A trial scored on the features of a file: the whole path, through the bare trainer, with random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.inception import random_weights, saved
from tests.support.paths import GOLDEN
from tests.support.trials import small_model
from trainables.__main__ import main
from trainables.data import describe
from trainables.report import Scored


def assignment(folder: Path, *, sha256: str, images: Path) -> Path:
    """Two updates of a tiny network, scored by four images."""
    data = describe(str(images), holdout=8)
    facts = {"digest": data.digest, "image_size": 32, "num_classes": data.num_classes}
    trial = {"data": facts, "model": small_model(width=8, depth=2, heads=2, class_tokens_start=1).model_dump(), "batch_size": 4}
    features = {"kind": "inception", "weights": str(folder / "inception.pth"), "sha256": sha256}
    evaluation = {"n": 4, "steps": 1, "sampler": "euler", "weights": "raw", "features": features}
    file = folder / "assignment.yaml"
    tree = {"trial": trial, "images": 8, "storage": str(folder / "store"), "evaluations": [evaluation]}
    file.write_text(yaml.safe_dump({**tree, "data": str(images), "holdout": 8}))
    return file


@pytest.mark.slow
def test_a_trial_is_scored_on_a_file_s_inception_and_its_features_are_kept_by_the_weights_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(GOLDEN / "few_emoji.npz") as few:
        np.savez(tmp_path / "images.npz", images=few["images"][:16])
    sha256 = saved(random_weights(), tmp_path / "inception.pth")
    assert main([str(assignment(tmp_path, sha256=sha256, images=tmp_path / "images.npz"))]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    scored = Scored.model_validate(next(report for report in reports if report["kind"] == "scored"))
    assert {"fd_inception", "kid_inception", "recall_inception", "heldout_x_error_snr4"} <= scored.values.keys()
    assert not {"fid", "fd_efflite0_96", "inception_score"} & scored.values.keys()
    assert scored.heldout["fd_inception"] > 0
    assert scored.rows.keys() == {"white images", "the mean image"}
    assert list((tmp_path / "store" / "reference").glob(f"*-inception_{sha256[:12]}.npz"))
    assert main([str(assignment(tmp_path, sha256="0" * 64, images=tmp_path / "images.npz"))]) == 2
    assert f"must have SHA-256 {'0' * 64}, got {sha256}" in capsys.readouterr().err
