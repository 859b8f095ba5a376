"""The encoder that is pre-trained: what it counts, costs and keeps."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.presets import preset
from tests.support.encoders import pretraining
from tests.support.kept import bytes_kept_by
from tests.support.trials import batch, moved, trial_of_recipe
from trainables.config.trial import DataConfig, TrialConfig
from trainables.config.trunks import EncoderPretrainerTrunk
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.networks.encoder_pretrainer import EncoderPretrainer, GroupedBatchNorm
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.registry import blank, build
from trainables.training.batches import Batch
from trainables.training.step import image_losses

VARIANTS: dict[str, dict[str, Any]] = {
    "small": {},
    "wide projection": {"trunk": {"projector_width": 96, "projected_width": 16}},
    "other sizes": {"model": {"width": 32, "heads": 2, "depth": 3, "patch_size": 8, "mlp_ratio": 2.0}},
}


def losses(network: EncoderPretrainer, *, images: int) -> Tensor:
    """Of noise, at levels and views of chance."""
    x, t, y = batch(images)
    route = torch.rand(images, 10, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", torch.bfloat16, enabled=network.trial.precision == "bf16"):
        return image_losses(network, x, x.flip(0), t, y, 0.0, route)


def network_of(trial: TrialConfig) -> EncoderPretrainer:
    network = moved(trial)
    assert isinstance(network, EncoderPretrainer)
    return network


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_the_closed_forms_are_exact(changes: dict[str, Any]) -> None:
    trial = pretraining(**changes, attention="fp32")
    network = network_of(trial)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        found = losses(network, images=2)
    trunk = trial.model.trunk
    assert isinstance(trunk, EncoderPretrainerTrunk)
    contrasts = 2 * 2 * (2 * 2 * trunk.projected_width + 2 * trial.model.width)  # cosines of 2 with 2, three times
    assert counter.get_total_flops() == 2 * 2 * forward_flops(trial) + contrasts
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        found.sum().backward()
    seen = counter.get_total_flops() - contrasts + backward.get_total_flops()
    assert 0 <= seen - training_flops(trial, images=2) <= 2 * contrasts


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention": "fp32"}, {"precision": "bf16"}, {"precision": "bf16", "residual": "bf16"}],
    ids=["fp32", "fp32 attention", "bf16", "bf16 residual"],
)
@pytest.mark.parametrize("sizes", VARIANTS.values(), ids=VARIANTS)
def test_the_memory_model_follows_what_autograd_keeps(sizes: dict[str, Any], changes: dict[str, Any]) -> None:
    trial = pretraining(**sizes, **changes)

    def kept(images: int) -> int:
        network = network_of(trial).train()
        return bytes_kept_by(network, lambda: losses(network, images=images))

    keeping = Fit(1, activation_checkpointing=False)
    modelled = peak_bytes(trial, keeping) - state_bytes(trial)
    assert 0.85 < 4 * modelled / (kept(6) - kept(2)) < 1.5


def test_the_state_holds_the_target_beside_the_averages() -> None:
    trial = pretraining()
    assert state_bytes(trial) == 4 * (4 + len(trial.ema) + 1) * parameter_count(trial)


def test_the_norm_is_torch_s_batch_norm_of_each_group_in_training_and_after() -> None:
    norm, x = GroupedBatchNorm(6, group=4), torch.randn(8, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    theirs = [torch.nn.functional.batch_norm(part, None, None, norm.weight, norm.bias, training=True) for part in x.split(4)]
    torch.testing.assert_close(norm(x), torch.cat(theirs))
    torch.testing.assert_close(norm.eval()(x), torch.cat(theirs))


@pytest.mark.parametrize(("name", "parent"), [("epg-pretraining-tiny", "epg-tiny"), ("epg-pretraining-xl", "epg-xl")])
def test_a_preset_s_encoder_is_that_of_its_denoiser_by_name_and_shape(name: str, parent: str) -> None:
    data = DataConfig(digest="none", image_size=32, num_classes=5)
    trials = [trial_of_recipe(preset(each), data=data) for each in (name, parent)]
    with torch.device("meta"):
        shapes = [
            {key: p.shape for key, p in blank(trial).named_parameters() if key.startswith("encoder.")} for trial in trials
        ]
    assert shapes[0] == shapes[1]
    assert trials[0].noise_scale == trials[1].noise_scale


def test_fresh_encoders_differ_from_seed_to_seed_and_start_as_a_denoiser_s() -> None:
    own, other = (build(pretraining(seed=seed)).state_dict() for seed in (0, 1))
    assert not torch.equal(own["projector.first.weight"], other["projector.first.weight"])
    assert own["encoder.positions"].std() == pytest.approx(0.02, rel=0.1)
    assert (own["projector.norm1.weight"] == 1).all()
    assert (own["projector.norm2.bias"] == 0).all()


def test_what_is_shown_without_gradients_gives_none() -> None:
    network = network_of(pretraining())
    network.averages = {"target": {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}}
    losses(network, images=2).sum().backward()
    assert all(tensor.grad is None for tensor in network.averages["target"].values())
    assert all(p.grad is not None for p in network.parameters())


def test_a_batch_is_made_of_pixels_alone() -> None:
    x, t, y = batch(2)
    with pytest.raises(AssertionError):
        image_losses(network_of(pretraining()), *(x, x, t, y), 0.0, Batch(x, x, t, y).route)
