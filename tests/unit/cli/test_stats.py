"""`stats` as a user types it: features built once, statistics exported for JiT and imported for a sweep."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.support.sweep_files import write_sweep_of_few_images
from trainables.config.evaluation import EvaluationConfig


def test_features_are_built_exported_and_imported_into_the_lines_of_a_sweep_file(typed: Any, tmp_path: Path) -> None:
    file = write_sweep_of_few_images(tmp_path)
    code, said, _ = typed("stats", "build", file, "--json")
    (row,) = json.loads(said)["rows"]
    assert (code, row["extractor"], row["dimensions"], Path(row["address"]).is_file()) == (0, "efflite0_96", 1280, True)
    code, said, _ = typed("stats", "export", file, "real.npz")
    assert (code, said) == (0, "wrote mu and sigma of the train images' efflite0_96 features to real.npz\n")
    with np.load(tmp_path / "real.npz") as exported:
        assert (exported["mu"].dtype, exported["sigma"].shape) == (np.float32, (1280, 1280))
    code, said, _ = typed("stats", "import", "real.npz", "real.statistics", "--size", "32", "--features", "efflite0_96")
    first, lines = said.split("\n", 1)
    assert (code, first) == (0, "1280 features of images of 32 px by efflite0_96; for a sweep file:")
    reference = EvaluationConfig.model_validate(yaml.safe_load(lines)["evaluation"]).reference
    assert reference is not None
    assert reference.file == "real.statistics"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("import", "none.npz", "out", "--size", "32"), "error: stats: "),
        (("import", "few.npz", "out", "--size", "32"), "must be an npz with `mu` and `sigma`, got images"),
        (
            ("import", "few.npz", "out", "--size", "32", "--features", "fid"),
            "--features must be a network and the first",
        ),
        (("build", "none.yaml"), "none.yaml: No such file"),
    ],
)
def test_a_mistake_is_a_line_and_exit_code_2(typed: Any, tmp_path: Path, words: tuple[str, ...], fault: str) -> None:
    np.savez(tmp_path / "few.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    code, _, said = typed("stats", *words)
    assert (code, fault in said, "Traceback" in said) == (2, True, False), said
