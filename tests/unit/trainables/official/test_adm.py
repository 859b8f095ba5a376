"""Our U-Net and our classifier against the numbers of ADM's (tests/golden/README.md)."""

import json
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.adm import names, to_ours
from tests.support.paths import GOLDEN
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.registry import blank
from trainables.networks.unet import Unet
from trainables.networks.unet_classifier import UnetClassifier

TOLERANCE = 1e-5
STEPS = 1000


class Golden(NamedTuple):
    """A file's arrays, and a trial of its configuration."""

    meta: dict[str, Any]
    arrays: dict[str, Tensor]
    gradients: dict[str, float]
    trial: TrialConfig

    @property
    def state_dict(self) -> dict[str, Tensor]:
        return {name.removeprefix("sd/"): tensor for name, tensor in self.arrays.items() if name.startswith("sd/")}


def golden(name: str = "adm_unet", **trunk: Any) -> Golden:
    file = np.load(GOLDEN / "neighbours" / f"{name}.npz", allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    arrays = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fi"}
    gradients = (
        dict(zip(map(str, file["grad_names"]), file["grad_norms"].tolist(), strict=True)) if "grad_names" in file else {}
    )
    return Golden(meta, arrays, gradients, trial_of(meta["config"], **trunk))


def trial_of(config: dict[str, Any], **trunk: Any) -> TrialConfig:
    """ADM's flags as ours."""
    pool = config.get("pool")
    of_unet = {
        **({"kind": "unet_classifier", "pool": pool} if pool else {"kind": "unet"}),
        "width": config["model_channels"],
        "multipliers": config["channel_mult"],
        "blocks": config["num_res_blocks"],
        "attention": config["attention_resolutions"],
        "head_channels": config["num_head_channels"],
        "resample": "blocks" if config.get("resblock_updown") else "convolutions",
        "scale_shift": bool(config.get("use_scale_shift_norm")),
        "attention_order": "parts" if config.get("use_new_attention_order") else "heads",
        **trunk,
    }
    beside = {"patch_size": 4, "width": 48, "depth": 4, "heads": 4, "class_tokens": 0}
    classes = config["out_channels" if pool else "num_classes"]
    data = {"digest": "none", "image_size": config["image_size"], "channels": 3, "num_classes": classes}
    tree = {"model": {**beside, "trunk": of_unet}, "method": {"kind": "classifier" if pool else "denoiser"}}
    return TrialConfig.model_validate({**tree, "data": data, "attention": "fp32"})


def loaded(case: Golden) -> Unet:
    network = blank(case.trial).eval()
    assert isinstance(network, Unet)
    network.load_state_dict(to_ours(case.state_dict, case.trial))
    return network


def classifier(case: Golden) -> UnetClassifier:
    network = blank(case.trial).eval()
    assert isinstance(network, UnetClassifier)
    network.load_state_dict(to_ours(case.state_dict, case.trial))
    return network


def telling_a_variance(case: Golden) -> Unet:
    """The network with all rows of the official last convolution."""
    network, last = loaded(case), case.state_dict["out.2.weight"]
    network.last = nn.Conv2d(last.shape[1], len(last), 3, padding=1)
    network.last.load_state_dict({kind: case.state_dict[f"out.2.{kind}"] for kind in ("weight", "bias")})
    return network


def output_of(network: Unet, case: Golden) -> Tensor:
    """ADM tells its network the number of the step."""
    output: Tensor = network(case.arrays["z"], case.arrays["step"].float(), case.arrays["y"])
    return output


def relative_error(ours: Tensor, official: Tensor) -> float:
    return float((ours.detach() - official).abs().max() / official.abs().max())


def betas_of(schedule: str) -> Tensor:
    """DDPM's linear betas, or those of Nichol and Dhariwal's cosine."""
    if schedule == "linear":
        return torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)
    f = ((torch.linspace(0, 1, STEPS + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2).cos().square()
    return (1 - f[1:] / f[:-1]).clamp(max=0.999)


def terms(output: Tensor, case: Golden) -> tuple[Tensor, Tensor]:
    """The squared error of the noise and the bound in bits of a pixel, times steps over 1000, each of every image."""
    x, noise, z, step = (case.arrays[name] for name in ("x", "noise", "z", "step"))
    betas = betas_of(case.meta["schedule"])

    def at(table: Tensor) -> Tensor:
        return table.float()[step].view(-1, 1, 1, 1)

    kept = (1 - betas).cumprod(0)
    before = torch.cat((kept.new_ones(1), kept[:-1]))
    posterior = betas * (1 - before) / (1 - kept)
    smallest = torch.cat((posterior[1:2], posterior[1:])).log()
    eps, share = output.chunk(2, dim=1)
    log_variance = (share + 1) / 2 * at(betas.log()) + (1 - share) / 2 * at(smallest)

    def mean_of(clean: Tensor) -> Tensor:
        return at(betas * before.sqrt() / (1 - kept)) * clean + at((1 - before) * (1 - betas).sqrt() / (1 - kept)) * z

    predicted = at(kept.rsqrt()) * z - at((1 / kept - 1).sqrt()) * eps.detach()
    gap = mean_of(x) - mean_of(predicted)
    narrower = at(smallest) - log_variance
    divergence = 0.5 * (-1 - narrower + narrower.exp() + gap.square() * (-log_variance).exp())
    first = discretised(x, mean_of(predicted), 0.5 * log_variance)
    bound = torch.where((step == 0).view(-1, 1, 1, 1), -first, divergence).flatten(1).mean(1) / math.log(2)
    return (noise - eps).square().flatten(1).mean(1), bound * STEPS / 1000


def discretised(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log likelihood of 8-bit values under a normal, by the tanh form of its distribution function that ADM uses."""

    def below(value: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))

    centred, inverse = x - mean, (-log_scale).exp()
    upper, lower = below(inverse * (centred + 1 / 255)), below(inverse * (centred - 1 / 255))
    middle = (upper - lower).clamp(min=1e-12).log()
    ends = torch.where(x > 0.999, (1 - lower).clamp(min=1e-12).log(), middle)
    return torch.where(x < -0.999, upper.clamp(min=1e-12).log(), ends)


def test_a_unet_computes_adm_s_noise_and_has_its_parameters() -> None:
    case = golden()
    assert relative_error(output_of(loaded(case), case), case.arrays["out"][:, :3]) < TOLERANCE
    whole = telling_a_variance(case)
    assert relative_error(output_of(whole, case), case.arrays["out"]) < TOLERANCE
    null = case.arrays["sd/label_emb.weight"].shape[1]
    assert sum(parameter.numel() for parameter in whole.parameters()) == case.meta["parameters"] + null
    variance = case.arrays["sd/out.2.weight"][3:].numel() + 3
    assert parameter_count(case.trial) == case.meta["parameters"] + null - variance


def test_its_loss_and_gradients_are_adm_s() -> None:
    case = golden()
    network = telling_a_variance(case)
    mse, bound = terms(output_of(network, case), case)
    assert mse.tolist() == pytest.approx(case.arrays["term_mse"].tolist(), rel=TOLERANCE)
    assert bound.tolist() == pytest.approx(case.arrays["term_vb"].tolist(), rel=TOLERANCE)
    (mse + bound).mean().backward()
    theirs = names(case.trial)
    ours = {theirs[name]: float(p.grad.norm()) for name, p in network.named_parameters() if p.grad is not None}
    allowed = TOLERANCE * max(case.gradients.values())
    assert ours == pytest.approx(case.gradients, rel=TOLERANCE, abs=allowed)


def test_the_other_order_of_attention_is_another_function_of_the_same_weights() -> None:
    case = golden(attention_order="heads")
    assert relative_error(output_of(loaded(case), case), case.arrays["out"][:, :3]) > 0.1
    permuted = {name: by_heads(tensor, heads=4) if ".qkv." in name else tensor for name, tensor in case.state_dict.items()}
    right = case._replace(arrays=case.arrays | {f"sd/{name}": tensor for name, tensor in permuted.items()})
    assert relative_error(output_of(loaded(right), right), case.arrays["out"][:, :3]) < TOLERANCE


def by_heads(rows: Tensor, *, heads: int) -> Tensor:
    """Rows that stand part by part, head by head."""
    by_part: Tensor = rows.unflatten(0, (3, heads, -1))
    return by_part.transpose(0, 1).flatten(0, 2)


def test_a_state_dict_of_another_unet_is_refused_by_name() -> None:
    case = golden()
    without = {name: tensor for name, tensor in case.state_dict.items() if not name.startswith("out.0")}
    with pytest.raises(ValueError, match=r"a difference in out\.0\.bias, out\.0\.weight"):
        to_ours(without, case.trial)
    wider = {**case.state_dict, "out.0.weight": torch.ones(64)}
    with pytest.raises(ValueError, match=r"the trial's shapes, got a difference in norm\.weight"):
        to_ours(wider, case.trial)


def test_a_classifier_computes_adm_s_logits_and_has_its_parameters() -> None:
    case = golden("adm_classifier")
    network = classifier(case)
    logits = network(case.arrays["z"], case.arrays["step"].float())
    assert relative_error(logits, case.arrays["logits"]) < TOLERANCE
    assert parameter_count(case.trial) == sum(p.numel() for p in network.parameters()) == case.meta["parameters"]


def test_its_cross_entropy_and_the_gradient_of_the_image_are_adm_s() -> None:
    case = golden("adm_classifier")
    z = case.arrays["z"].clone().requires_grad_()
    loss = F.cross_entropy(classifier(case)(z, case.arrays["step"].float()), case.arrays["y"])
    assert float(loss.detach()) == pytest.approx(float(case.arrays["cross_entropy"]), rel=TOLERANCE)
    loss.backward()
    assert z.grad is not None
    assert relative_error(-len(z) * z.grad, case.arrays["grad_log_p"]) < TOLERANCE


def test_a_classifier_of_means_has_adm_s_names_too() -> None:
    case = golden("adm_classifier")
    adaptive = case._replace(trial=trial_of({**case.meta["config"], "pool": "adaptive"}))
    kept = {name: tensor for name, tensor in case.state_dict.items() if not name.startswith("out.2")}
    last = {"out.3.weight": case.state_dict["out.2.c_proj.weight"].unsqueeze(-1), "out.3.bias": torch.ones(10)}
    network = blank(adaptive.trial).eval()
    network.load_state_dict(to_ours({**kept, **last}, adaptive.trial))
    ends: list[Tensor] = []
    network.get_submodule("norm").register_forward_hook(lambda _, given, normed: ends.append(normed))
    logits = network(case.arrays["z"], case.arrays["step"].float())
    torch.testing.assert_close(logits, F.silu(ends[0]).mean(dim=(2, 3)) @ last["out.3.weight"][:, :, 0, 0].T + 1)
