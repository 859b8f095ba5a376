"""A neighbour's checkpoint as a folder of ours and back: the golden state dicts, with the official outputs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jit_sweep.errors import UserError
from jit_sweep.models.model_folder import load_network
from jit_sweep.models.neighbours import export_neighbour, import_neighbour, write_neighbour
from tests.unit.trainables.official.test_neighbours import (
    HEADS,
    LIGHTNING,
    PIXNERD_TRUNK,
    TOLERANCE,
    Golden,
    golden,
    relative_error,
)
from trainables.official.neighbour_file import read_neighbour

CASES: dict[str, Golden] = {
    **{name: golden(name, name, **PIXNERD_TRUNK, **model) for name, model in HEADS.items()},
    "lightningdit": golden("lightningdit", "lightningdit", under="all/", depth=2, **LIGHTNING["all"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_comes_in_computes_the_official_output_and_goes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    wrapped = {f"ema_denoiser.module._orig_mod.{key}": tensor for key, tensor in case.state_dict.items()}
    torch.save({"state_dict": {**wrapped, "denoiser.other": torch.zeros(1)}, "epoch": 3}, tmp_path / "official.ckpt")
    state_dict = read_neighbour(tmp_path / "official.ckpt", prefix="ema_denoiser.")
    assert state_dict.keys() == case.state_dict.keys()
    write_neighbour(state_dict, case.trial, tmp_path / "ours", family=case.family)
    arrays = case.arrays
    output = load_network(tmp_path / "ours")(arrays["z"], arrays["t"], arrays["y"])
    assert relative_error(output, arrays["out"]) < TOLERANCE
    export_neighbour(tmp_path / "ours", tmp_path / "back.ckpt")
    back = torch.load(tmp_path / "back.ckpt", weights_only=True)["state_dict"]
    assert back.keys() == case.state_dict.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in case.state_dict.items())


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"preset": "jit-b"}, "`--preset` must be a neighbour's, got 'jit-b'"),
    ({"prefix": "ema."}, "must hold tensors named ema"),
    ({}, "must hold the network of preset pixnerd-l: the parameters must be those of the trial's network"),
)


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_is_no_such_checkpoint_is_refused_with_a_remedy(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(CASES["pixnerd"].state_dict, tmp_path / "official.ckpt")
    asked: dict[str, Any] = {"preset": "pixnerd-l", "image_size": 32, "channels": 3, **changes}
    with pytest.raises(UserError, match=message):
        import_neighbour(tmp_path / "official.ckpt", tmp_path / "ours", **asked)
    assert not (tmp_path / "ours").exists()
