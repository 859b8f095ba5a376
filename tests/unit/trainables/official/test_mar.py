"""Our network of masked tokens and its head's diffusion against the numbers of MAR's (tests/golden/README.md)."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.mar import names, to_ours
from tests.support.paths import GOLDEN
from trainables.config.trial import TrialConfig
from trainables.diffusion.ddpm import HeadLoss, chain, cleaner, cosine_kept, head_loss, noisy
from trainables.networks.cost import parameter_count
from trainables.networks.embedding import patches_of
from trainables.networks.masked_autoencoder import MaskedAutoencoder, Masking, taken
from trainables.networks.registry import blank

TOLERANCE = 1e-5


class Golden(NamedTuple):
    """The file's arrays, and a trial of its configuration."""

    meta: dict[str, Any]
    arrays: dict[str, Tensor]
    gradients: dict[str, float]
    trial: TrialConfig

    @property
    def state_dict(self) -> dict[str, Tensor]:
        return {name.removeprefix("sd/"): tensor for name, tensor in self.arrays.items() if name.startswith("sd/")}

    @property
    def masking(self) -> Masking:
        """The masked tokens first."""
        mask = self.arrays["mask"]
        counts = {int(count) for count in mask.sum(1)}
        assert len(counts) == 1
        return Masking(mask.argsort(dim=1, descending=True, stable=True), counts.pop())


def golden() -> Golden:
    file = np.load(GOLDEN / "neighbours" / "mar.npz", allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    arrays = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fi"}
    gradients = dict(zip(map(str, file["grad_names"]), file["grad_norms"].tolist(), strict=True))
    return Golden(meta, arrays, gradients, trial_of(meta["config"]))


def trial_of(config: dict[str, Any]) -> TrialConfig:
    """MAR's settings as ours."""
    trunk = {
        "kind": "masked_autoencoder",
        "decoder_width": config["decoder_embed_dim"],
        "decoder_depth": config["decoder_depth"],
        "decoder_heads": config["decoder_num_heads"],
        "class_copies": config["buffer_size"],
        "head_width": config["diffloss_w"],
        "head_blocks": config["diffloss_d"],
    }
    sizes = {"width": config["encoder_embed_dim"], "depth": config["encoder_depth"], "heads": config["encoder_num_heads"]}
    model = {"patch_size": config["patch_size"], **sizes, "mlp_ratio": float(config.get("mlp_ratio", 4)), "trunk": trunk}
    side = config["img_size"] // config["vae_stride"]
    data = {"digest": "none", "image_size": side, "channels": config["vae_embed_dim"], "num_classes": config["class_num"]}
    method = {"kind": "masked_tokens", "head_repeats": config["diffusion_batch_mul"]}
    plain = {"rope": False, "position": "none", "class_tokens": 0}
    return TrialConfig.model_validate({"model": {**plain, **model}, "method": method, "data": data, "attention": "fp32"})


def loaded(case: Golden) -> MaskedAutoencoder:
    network = blank(case.trial).eval()
    network.load_state_dict(to_ours(case.state_dict, case.trial))
    assert isinstance(network, MaskedAutoencoder)
    return network


def relative_error(ours: Tensor, official: Tensor) -> float:
    return float((ours.detach() - official).abs().max() / official.abs().max())


class Head(NamedTuple):
    """What the head is shown and says, each [repeats, B N, ...], and which tokens count, [repeats, B N]."""

    x: Tensor
    e: Tensor
    step: Tensor
    output: Tensor
    counts: Tensor


def head_of(case: Golden, network: MaskedAutoencoder) -> tuple[Tensor, Head]:
    """What is known of each token [B N, D], and what the head says of it with the file's times and noise."""
    arrays, repeats = case.arrays, case.meta["config"]["diffusion_batch_mul"]
    tokens = patches_of(arrays["x"], case.trial.model.patch_size)
    known = network(tokens, case.masking, arrays["y"]).flatten(0, 1)
    x, e, step, counts = (arrays[f"head_{name}"].unflatten(0, (repeats, -1)) for name in ("target", "noise", "t", "mask"))
    torch.testing.assert_close(tokens.flatten(0, 1).expand_as(x), x)
    return known, Head(x, e, step, network.head(noisy(x, e, step, chain()), step, known), counts)


def test_a_network_knows_of_each_token_what_mar_s_does_and_has_its_parameters() -> None:
    case = golden()
    network = loaded(case)
    assert parameter_count(case.trial) == case.meta["parameters"] == sum(p.numel() for p in network.parameters())
    known, head = head_of(case, network)
    assert relative_error(known.expand(len(head.x), -1, -1).flatten(0, 1), case.arrays["head_condition"]) < TOLERANCE
    assert relative_error(noisy(head.x, head.e, head.step, chain()).flatten(0, 1), case.arrays["head_zt"]) < TOLERANCE
    assert relative_error(head.output.flatten(0, 1), case.arrays["head_out"]) < TOLERANCE


def test_the_loss_and_its_gradients_are_mar_s() -> None:
    case = golden()
    network = loaded(case)
    _, head = head_of(case, network)
    terms = head_loss(head.output, head.x, head.e, head.step, chain())
    of_mar = {name: case.arrays[f"head_{name}"].tolist() for name in ("mse", "vb")}
    assert terms.squared.flatten().tolist() == pytest.approx(of_mar["mse"], rel=TOLERANCE)
    assert terms.bound.flatten().tolist() == pytest.approx(of_mar["vb"], rel=TOLERANCE, abs=TOLERANCE * max(of_mar["vb"]))
    loss = _masked_mean(terms, head.counts)
    assert float(loss.detach()) == pytest.approx(float(case.arrays["loss"]), rel=TOLERANCE)
    loss.backward()
    assert _gradient_norms(case, network) == pytest.approx(
        case.gradients, rel=TOLERANCE, abs=TOLERANCE * max(case.gradients.values())
    )


def _masked_mean(terms: HeadLoss, counts: Tensor) -> Tensor:
    return ((terms.squared + terms.bound) * counts).sum() / counts.sum()


def _gradient_norms(case: Golden, network: MaskedAutoencoder) -> dict[str, float]:
    """Of each official parameter that has one in the file, from the gradients of ours that it lies in."""
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    norms: dict[str, float] = {}
    for ours, parts in names(case.trial).items():
        gradient = gradients[ours]
        assert gradient is not None
        pieces = gradient.flatten().split([case.state_dict[part].numel() for part in parts])
        norms |= {part: float(piece.norm()) for part, piece in zip(parts, pieces, strict=True)}
    assert not [name for name in norms.keys() - case.gradients.keys() if norms[name]]
    return {name: norms[name] for name in case.gradients}


def test_the_masked_tokens_alone_give_the_same_loss() -> None:
    case = golden()
    network, masked = loaded(case), case.masking.masked
    _, head = head_of(case, network)
    images = len(masked)
    x, e, output = (
        torch.stack([taken(of_all, masked) for of_all in part.unflatten(1, (images, -1))])
        for part in (head.x, head.e, head.output)
    )
    step = torch.stack([of_all.gather(1, masked) for of_all in head.step.unflatten(1, (images, -1))])
    terms = head_loss(output, x, e, step, chain())
    assert float((terms.squared + terms.bound).mean().detach()) == pytest.approx(float(case.arrays["loss"]), rel=TOLERANCE)


def test_the_schedule_is_mar_s() -> None:
    case = golden()
    kept = cosine_kept()[case.arrays["alphas_cumprod_at"]]
    assert kept.tolist() == pytest.approx(case.arrays["alphas_cumprod"].tolist(), rel=1e-12)


@torch.no_grad()
def test_a_token_is_drawn_as_mar_s_head_draws_it() -> None:
    case = golden()
    network, told, arrays = loaded(case), case.meta["head_sample"], case.arrays
    short = chain(int(told["num_sampling_steps"]))
    noises = arrays["head_sample_noises"]
    assert sorted(short.steps.tolist()) == sorted(arrays["head_sample_steps"].tolist())
    w = arrays["head_sample_start"]
    for step, noise in zip(reversed(range(len(short.steps))), noises, strict=True):
        at = torch.full((len(w),), step)
        output = network.head(w, short.steps[at], arrays["head_sample_condition"])
        w = cleaner(output, w, at, short, noise=noise, temperature=told["temperature"])
    assert relative_error(w, arrays["head_sample"]) < TOLERANCE
