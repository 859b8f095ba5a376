"""`python -m trainables` refuses before it trains what could not be scored after it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.trials import small_model
from trainables.__main__ import main
from trainables.data import describe


def complaint(folder: Path, capsys: pytest.CaptureFixture[str], *, evaluation: dict[str, Any], **trial: Any) -> str:
    """What the command says of an assignment that it refuses; nothing may be trained or written."""
    data = describe("emoji32")
    facts = {"digest": data.digest, "image_size": 32, "num_classes": data.num_classes}
    model = small_model(width=8, depth=2, heads=2, class_tokens_start=1).model_dump()
    tree = {"data": facts, "model": model, "batch_size": 4, **trial}
    file, storage = folder / "assignment.yaml", folder / "store"
    file.write_text(yaml.safe_dump({"trial": tree, "images": 8, "storage": str(storage), "evaluations": [evaluation]}))
    assert main([str(file)]) == 2
    said = capsys.readouterr()
    assert (said.out, storage.exists()) == ("", False)
    return said.err


@pytest.mark.parametrize(
    ("evaluation", "trial", "rule"),
    [
        ({"guidance": 4.0}, {"diffusion": {"label_drop": 0.0}}, "`guidance` other than 1 needs the null label"),
        ({"t_eps_sample": 0.0}, {"diffusion": {"prediction": "eps"}}, "`t_eps_sample` must be above 0 for eps-prediction"),
        ({"weights": "slow"}, {}, "`weights` must be one of raw, ema, got 'slow'"),
        ({}, {"ema": [{"kind": "decay", "warmup": False}]}, "an average that is still 100 % initial weights after 2 updates"),
        ({}, {"optimiser": {"warmup_images": 100}}, "`warmup_images` must end within the trial's images, got 100 of 8"),
        ({}, {"optimiser": {"warmup_images": {"kind": "epochs", "epochs": 5}}}, "must be a number of images, got epochs"),
        ({"n": 385}, {}, "`n` must be at most 384, the held-out images: scores are read against as many real ones, got n=385"),
    ],
)
def test_what_could_not_be_scored_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], evaluation: dict[str, Any], trial: dict[str, Any], rule: str
) -> None:
    assert rule in complaint(tmp_path, capsys, evaluation=evaluation, **trial)
