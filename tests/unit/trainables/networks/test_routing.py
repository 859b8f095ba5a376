"""Tokens that skip blocks in training: which, what it spares, and that nothing else sees it."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import batch, lively, small_model, small_trial
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import open_images
from trainables.networks.cost import training_flops
from trainables.networks.norm import Stream
from trainables.networks.routing import Routed
from trainables.training.batches import Batches

SKIP: dict[str, Any] = {"kind": "skip", "share": 0.5, "ends": 1}
ROUTE = torch.rand(4, 16, generator=torch.Generator().manual_seed(3))


def routed_trial(**model: Any) -> TrialConfig:
    return small_trial(small_model(class_tokens_start=1, routing=SKIP, **model), attention="fp32")


def test_tokens_that_skip_come_back_as_they_left_and_the_others_changed() -> None:
    model = routed_trial(class_tokens=0).model
    routed, tokens = Routed(ROUTE, kept=8, model=model), torch.randn(4, 16, 48)
    through = routed.before(1, Stream(tokens))
    assert through.x.shape == (4, 8, 48)
    back = routed.before(3, Stream(through.x + 1)).x
    changed = (back - tokens).abs().amax(2) > 0.5
    assert (changed == (ROUTE.argsort(1).argsort(1) < 8)).all()


@pytest.mark.parametrize("class_tokens", [0, 3])
def test_it_matters_to_a_forward_pass_which_tokens_skip(class_tokens: int) -> None:
    network = lively(routed_trial(class_tokens=class_tokens))
    z, t, y = batch(4)
    with torch.no_grad():
        whole, some, others = network(z, t, y), network(z, t, y, ROUTE), network(z, t, y, 1 - ROUTE)
    assert not torch.allclose(some, whole)
    assert not torch.allclose(some, others)


def test_a_kept_token_turns_by_its_own_place() -> None:
    """A share of less than a token leaves all of them, in another order."""
    one = small_trial(small_model(class_tokens=0, routing={**SKIP, "share": 0.001}))
    network = lively(one)
    z, t, y = batch(4)
    with torch.no_grad():
        torch.testing.assert_close(network(z, t, y, ROUTE), network(z, t, y))


def test_training_costs_what_torch_counts() -> None:
    trial = routed_trial(class_tokens=0, norm="layer", qk_norm=False)
    network = lively(trial).train()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(*batch(4), ROUTE).square().sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=4)


def test_which_tokens_skip_follows_the_image_and_not_the_micro_batch() -> None:
    images = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=images.fingerprint, image_size=32, num_classes=9)
    trial = small_trial(small_model(patch_size=8, class_tokens=0, routing=SKIP), data=data)
    batches = Batches(trial, images, device=torch.device("cpu"))
    whole, late = batches.take(0, 4).route, batches.take(2, 2).route
    assert whole is not None
    assert late is not None
    assert torch.equal(whole[2:], late)
    assert (
        Batches(small_trial(small_model(patch_size=8), data=data), images, device=torch.device("cpu")).take(0, 2).route is None
    )


def test_a_network_without_a_middle_is_refused() -> None:
    with pytest.raises(ValueError, match="got depth=4, ends=2, class_tokens_start=0; try another `ends`"):
        small_model(class_tokens=0, routing={"kind": "skip", "ends": 2})
