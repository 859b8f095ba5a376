"""Our heads and trunk flags against the numbers of the official networks (tests/golden/README.md)."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.paths import GOLDEN
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.network import Network
from trainables.networks.registry import blank
from trainables.official.neighbours import sources, spelling_of, to_ours

TOLERANCE = 1e-5
PIXNERD_TRUNK: dict[str, Any] = {
    "embedding": {"kind": "linear"},
    "position": "none",
    "class_tokens": 0,
    "bias": False,
    "rope_kind": "alternating",
    "time_period": 10.0,
}


class Golden(NamedTuple):
    """A file's arrays, and a trial of its configuration."""

    meta: dict[str, Any]
    arrays: dict[str, Tensor]
    trial: TrialConfig

    @property
    def state_dict(self) -> dict[str, Tensor]:
        return {name.removeprefix("sd/"): tensor for name, tensor in self.arrays.items() if name.startswith("sd/")}


def golden(name: str, **model: Any) -> Golden:
    file = np.load(GOLDEN / "neighbours" / f"{name}.npz", allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    arrays = {key: torch.from_numpy(file[key]) for key in file.files if key not in ("meta", "grad_names")}
    config = meta["config"]
    sizes = {"patch_size": config["patch_size"], "width": config["hidden_size"], "heads": config["num_groups"]}
    data = {
        "digest": "none",
        "image_size": meta["image_size"],
        "channels": config["in_channels"],
        "num_classes": config["num_classes"],
    }
    values = {"model": {**PIXNERD_TRUNK, **sizes, **model}, "data": data, "diffusion": {"prediction": "v", "loss": "v"}}
    meta["grad_names"] = [str(each) for each in file["grad_names"]] if "grad_names" in file.files else []
    return Golden(meta, arrays, TrialConfig.model_validate(values))


CASES: dict[str, dict[str, Any]] = {
    "pixnerd": {"depth": 2, "head": {"kind": "neural_field", "width": 16, "blocks": 2, "ratio": 2}},
}


def loaded(case: Golden) -> Network:
    network = blank(case.trial).eval()
    network.load_state_dict(to_ours(case.state_dict, case.trial))
    return network


def relative_error(ours: Tensor, official: Tensor) -> float:
    return float((ours - official).abs().max() / official.abs().max())


def gradient_norms(case: Golden, network: Network) -> dict[str, float]:
    """Of each official parameter, from the gradients of ours that it lies in."""
    norms: dict[str, float] = {}
    shapes = {name: tensor.shape for name, tensor in case.state_dict.items()}
    for ours, parts in sources(case.trial, spelling_of(case.trial)).items():
        gradient = dict(network.named_parameters())[ours].grad
        assert gradient is not None
        pieces = gradient.flatten().split([shapes[part].numel() for part in parts])
        norms |= {part: float(piece.norm()) for part, piece in zip(parts, pieces, strict=True)}
    return norms


@pytest.mark.parametrize("name", CASES)
def test_a_network_computes_the_official_output_loss_and_gradients(name: str) -> None:
    case = golden(name, **CASES[name])
    arrays, network = case.arrays, loaded(case)
    assert parameter_count(case.trial) == case.meta["parameters"] == sum(p.numel() for p in network.parameters())
    output = network(arrays["z"], arrays["t"], arrays["y"])
    assert relative_error(output, arrays["out"]) < TOLERANCE
    loss = (output - (arrays["x"] - arrays["noise"])).square().mean()
    assert float(loss) == pytest.approx(float(arrays["loss_v"]), rel=TOLERANCE)
    loss.backward()
    official = dict(zip(case.meta["grad_names"], arrays["grad_norms"].tolist(), strict=True))
    largest = max(official.values())
    assert gradient_norms(case, network) == pytest.approx(official, rel=TOLERANCE, abs=TOLERANCE * largest)
