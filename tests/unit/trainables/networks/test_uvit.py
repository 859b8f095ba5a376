"""The U-ViTs as trunks: what they count, cost, keep and start from, and what the residual one adds."""

from typing import Any

import pytest
import torch

from tests.support.kept import kept_by_autograd
from tests.support.networks import closed_forms_are_exact_of_images
from tests.support.trials import batch, moved, small_model, small_trial
from trainables.config.fields import identity
from trainables.config.trial import TrialConfig
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.noise_time import reversed_time
from trainables.networks.registry import blank, build

KINDS = ("uvit", "residual_uvit")
SMALL: dict[str, Any] = {"width": 16, "depth": 2, "heads": 4, "head_channels": 8, "mlp_ratio": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "patches": {"patch": 2},
    "one level": {"multipliers": (2,)},
    "deep": {"depth": 4},
    "dropping": {"dropout": 0.2},
}


def uvit(kind: str = "uvit", trunk: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return small_trial(small_model(class_tokens=0, trunk={"kind": kind, **SMALL, **(trunk or {})}), **changes)


@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_forms_are_exact(kind: str, trunk: dict[str, Any]) -> None:
    closed_forms_are_exact_of_images(uvit(kind, trunk, attention="fp32"))


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention": "fp32"}, {"precision": "bf16"}, {"precision": "bf16", "residual": "bf16"}],
    ids=["fp32", "fp32 attention", "bf16", "bf16 residual"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_model_follows_what_autograd_keeps(kind: str, changes: dict[str, Any]) -> None:
    for trunk in ({"patch": 2, "depth": 4}, {"dropout": 0.2}):
        trial = uvit(kind, trunk, **changes)
        more, fewer = (kept_by_autograd(trial, images=images) for images in (6, 2))
        modelled = peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial)
        assert 0.85 < 4 * modelled / (more - fewer) < 1.5
        assert peak_bytes(trial, Fit(1, activation_checkpointing=True)) - state_bytes(trial) < modelled / 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_one_predicts_zero_and_learns_its_frequencies_from_a_normal(kind: str) -> None:
    for patch in (1, 2):
        network = build(uvit(kind, {"patch": patch, "time_features": 512}))
        assert (network(*batch(2)) == 0).all()
        weights = network.state_dict()
        assert weights["time.waves"].std() == pytest.approx(1, rel=0.2)
        assert weights["down_blocks.0.conv1.weight"].any()


def test_the_residual_one_adds_nothing_of_a_transformer_that_changes_nothing() -> None:
    network = moved(uvit("residual_uvit"))
    weights, (z, t, y) = dict(network.named_parameters()), batch(2)
    with torch.no_grad():
        for name in ("bottom.0.proj.weight", "bottom.0.second.weight", "bottom.1.proj.weight", "bottom.1.second.weight"):
            weights[name].zero_()
        output = network(z, t, y)
        weights["up.1.map.weight"].mul_(3)  # multiplies what the lowest level has changed: zero
        torch.testing.assert_close(network(z, t, y), output)
        weights["up.0.map.weight"].mul_(3)
        assert (network(z, t, y) - output).abs().max() > 1e-3


def test_only_what_they_read_is_part_of_their_ids() -> None:
    trial = uvit()
    assert identity(trial)["model"].keys() == {"trunk"}
    model = trial.model.model_copy(update={"patch_size": 7, "time_period": 10.0})
    assert trial.model_copy(update={"model": model}).id == trial.id
    assert len({uvit(kind, trunk).id for kind in KINDS for trunk in VARIANTS.values()}) == 2 * len(VARIANTS)
    assert (uvit(trunk={"patch": 2}).grid, uvit(trunk={"patch": 2}).token_dim) == (8, 12)


def test_a_side_that_does_not_halve_is_refused_and_so_is_reversed_time() -> None:
    with pytest.raises(ValueError, match="`trunk` uvit halves the side of images 2 times, .* got image_size=16, patch=8"):
        uvit(trunk={"patch": 8})
    trial = uvit()
    network = blank(trial)
    with pytest.raises(ValueError, match=r"missing .*time\.first\.weight"):
        reversed_time(network.state_dict(), trial=trial, frequencies=torch.ones(4))
