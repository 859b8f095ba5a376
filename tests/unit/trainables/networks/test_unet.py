"""The U-Net as a trunk: what it counts, costs, keeps and starts from, and that it trains as every network does."""

from typing import Any

import pytest
import torch

from search_spaces.presets import preset
from tests.support.kept import kept_by_autograd
from tests.support.networks import closed_forms_are_exact_of_images
from tests.support.trials import batch, moved, small_model, small_trial, trial_of_recipe
from trainables.config.fields import identity
from trainables.config.trial import DataConfig, TrialConfig
from trainables.evaluation.batch_size import images_at_once
from trainables.networks.cost import parameter_count
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.noise_time import reversed_time
from trainables.networks.registry import blank, build
from trainables.networks.unet import Unet

KEPT, RECOMPUTED = (Fit(1, activation_checkpointing=recomputed) for recomputed in (False, True))
SMALL: dict[str, Any] = {"kind": "unet", "width": 32, "blocks": 1, "head_channels": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "adm": {},
    "added": {"scale_shift": False},
    "convolutions": {"resample": "convolutions"},
    "deep": {"blocks": 2, "multipliers": (1, 1, 2), "attention": (2,)},
    "attending everywhere": {"multipliers": (2, 1), "attention": (1, 2)},
    "attending at the bottom": {"attention": ()},
    "one level": {"multipliers": (1,), "attention": ()},
    "dropping": {"dropout": 0.2},
}
PUBLISHED = {"adm-64": 296, "adm-256": 554}
"""Millions of parameters at their resolution (arXiv 2105.05233, table 4 and the official README)."""


def unet(trunk: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return small_trial(small_model(class_tokens=0, trunk={**SMALL, **(trunk or {})}), **changes)


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_a_preset_has_the_published_number_of_parameters(name: str, millions: int) -> None:
    data = DataConfig(digest="none", num_classes=1000, image_size=int(name.removeprefix("adm-")))
    trial = trial_of_recipe(preset(name), data=data)
    with torch.device("meta"):
        built = sum(parameter.numel() for parameter in blank(trial).parameters())
    assert parameter_count(trial) == built
    assert built / 1e6 == pytest.approx(millions, abs=0.5)


@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_closed_forms_are_exact(trunk: dict[str, Any]) -> None:
    closed_forms_are_exact_of_images(unet(trunk, attention="fp32"))


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention": "fp32"}, {"precision": "bf16"}, {"precision": "bf16", "residual": "bf16"}],
    ids=["fp32", "fp32 attention", "bf16", "bf16 residual"],
)
@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_memory_model_follows_what_autograd_keeps(trunk: dict[str, Any], changes: dict[str, Any]) -> None:
    trial = unet(trunk, **changes)
    more, fewer = (kept_by_autograd(trial, images=images) for images in (6, 2))
    modelled = peak_bytes(trial, KEPT) - state_bytes(trial)
    assert 0.85 < 4 * modelled / (more - fewer) < 1.5


def test_a_fresh_unet_predicts_zero_and_starts_as_adm_s_does() -> None:
    trial = unet()
    network = build(trial)
    assert (network(*batch(2)) == 0).all()
    weights = network.state_dict()
    closed = ("conv2.weight", "proj.weight", "last.weight")
    assert all(not tensor.any() for name, tensor in weights.items() if name.endswith(closed))
    bound = (9 * 32) ** -0.5
    assert 0.9 * bound < weights["down.0.block.conv1.weight"].abs().max() <= bound
    assert weights["down.0.block.conv1.bias"].any()
    assert weights["label.weight"].std() == pytest.approx(1, rel=0.1)
    assert (weights["down.0.block.norm1.weight"] == 1).all()


def test_a_unet_in_reversed_time_is_the_same_function() -> None:
    trial = unet(diffusion={"prediction": "v"})
    network, adapted = moved(trial), moved(trial)
    assert isinstance(network, Unet)
    adapted.load_state_dict(reversed_time(network.state_dict(), trial=trial, frequencies=network.time.frequencies))
    z, t, y = batch(2)
    torch.testing.assert_close(adapted(z, 1 - t, y), -network(z, t, y), rtol=1e-3, atol=1e-3)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "`attention` must name sides of the levels, 1 over 1, 2 or 4, got 8": ({"attention": (8,)}, {}),
    "`head_channels` must divide .*, got head_channels=24, channels=64": ({"head_channels": 24}, {}),
    "`width` .*multiple of 32": ({"width": 48}, {}),
    "`trunk` unet halves the side of images 5 times, .* got image_size=16": ({"multipliers": (1,) * 6}, {}),
    "`trunk` unet takes adamw, and torch's kernels, got optimiser=muon": ({}, {"optimiser": {"method": "muon"}}),
    "the term classifier reads tokens .*trunk=unet": ({}, {"diffusion": {"terms": [{"kind": "classifier"}]}}),
}


@pytest.mark.parametrize(("message", "changes"), REFUSED.items(), ids=lambda value: str(value)[:30])
def test_what_a_unet_cannot_be_is_refused(message: str, changes: tuple[dict[str, Any], dict[str, Any]]) -> None:
    trunk, beside = changes
    with pytest.raises(ValueError, match=message if "multiple" not in message else "multiple of 32"):
        unet(trunk, **beside)


@pytest.mark.parametrize(
    ("name", "value"), [("head", {"kind": "pixel_mlp"}), ("output_skip", "edm"), ("normalise_input", True)]
)
def test_what_belongs_to_patches_is_refused_beside_it(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`trunk` unet has a linear head, and no routing.*got {name}="):
        small_model(trunk=SMALL, **{name: value})


def test_only_what_it_reads_is_part_of_its_id() -> None:
    trial = unet()
    assert identity(trial)["model"].keys() == {"trunk"}
    for changes in ({"patch_size": 7}, {"width": 96}, {"norm": "layer"}, {"class_tokens": 3}):
        model = type(trial.model).model_validate({**trial.model.model_dump(), **changes})
        assert trial.model_copy(update={"model": model}).id == trial.id
    ids = {unet(trunk).id for trunk in VARIANTS.values()} | {unet({"attention_order": "heads"}).id}
    assert len(ids) == len(VARIANTS) + 1
    assert (trial.grid, trial.token_dim) == (16, 3)


def test_an_evaluation_takes_fewer_images_at_once_where_the_attention_of_many_pixels_is_written_out() -> None:
    data = DataConfig(digest="none", image_size=64, num_classes=5)
    written, fused = (unet({"attention": (1,), "head_channels": 1}, data=data, attention=mode) for mode in ("fp32", "sdpa"))
    assert images_at_once(written, device="cuda") < images_at_once(fused, device="cuda")


def test_a_trunk_s_name_alone_stands_for_it_as_in_older_files() -> None:
    assert small_model(trunk="unet").trunk == small_model(trunk={"kind": "unet"}).trunk
    assert identity(small_model(trunk="mlp", class_tokens=0))["trunk"] == "mlp"
