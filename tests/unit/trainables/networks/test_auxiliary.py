"""What terms of the loss train beside a network: what it counts, costs and keeps, and that it is no part of a model."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.images import NoiseImages
from tests.support.networks import traced
from tests.support.teachers import representation
from tests.support.trials import CLASSES, SIZE, batch, lively, small_model, small_trial
from trainables.config.trial import TrialConfig
from trainables.diffusion.loss import loss
from trainables.diffusion.maths import noisy
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.network import AUXILIARY, of_model
from trainables.networks.norm import Stream, joined
from trainables.networks.registry import blank, blank_model, build
from trainables.training.batches import Batch, Batches
from trainables.training.learner import Learner
from trainables.training.step import image_losses
from trainables.training.workers import Workers

IMAGES = NoiseImages(24, size=SIZE, classes=CLASSES)
CLASSIFIER: dict[str, Any] = {"kind": "classifier", "weight": 0.5}
PLAIN: dict[str, Any] = {"norm": "layer", "qk_norm": False}
"""The CPU's own RMSNorm takes a row sum as a product, which would be counted."""


@pytest.fixture(scope="module", params=["classifier", "representation"])
def term(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A term of the loss that reads tokens."""
    return CLASSIFIER if request.param == "classifier" else representation(tmp_path_factory.mktemp("teacher"), hidden=24)


def with_term(*terms: dict[str, Any], model: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return small_trial(small_model(**(model or {})), diffusion={"terms": terms}, **changes)


def taken(trial: TrialConfig, count: int = 4) -> Batch:
    return Batches(trial, IMAGES, device=torch.device("cpu")).take(0, count)


def losses(network: Any, given: Batch) -> Tensor:
    clamp = network.trial.diffusion.t_eps_train
    return image_losses(network, given.x, given.e, given.t, given.y, clamp, given.route, given.truths)


def learner(trial: TrialConfig, *, updates: int = 0) -> Learner:
    made = Learner(trial, IMAGES, workers=Workers())
    for _ in range(updates):
        made.update()
    return made


def test_the_closed_forms_are_exact(term: dict[str, Any]) -> None:
    trial = with_term(term, model=PLAIN, attention="fp32")
    plain, network = with_term(model=PLAIN, attention="fp32"), blank(trial)
    own = sum(parameter.numel() for parameter in network.auxiliary.parameters())
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    assert parameter_count(trial) - parameter_count(plain) == own > 0
    assert forward_flops(trial) == forward_flops(plain)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        losses(network, taken(trial)).sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_memory_model_follows_what_autograd_keeps(term: dict[str, Any], precision: str) -> None:
    trial = with_term(term, precision=precision)
    more, fewer = (kept_by_step(trial, images=images) for images in (12, 4))
    modelled = peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial)
    assert 0.85 < 8 * modelled / (more - fewer) < 1.5


def kept_by_step(trial: TrialConfig, *, images: int) -> int:
    """Bytes of the distinct storages that an update's forward pass keeps for its backward pass."""
    network, given = lively(trial).train(), taken(trial, images)
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    alive: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses(network, given).sum().backward()
    return sum(tensor.untyped_storage().nbytes() for tensor in alive.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_image_s_loss_is_its_own_so_that_workers_and_micro_batches_change_nothing(
    term: dict[str, Any], precision: str
) -> None:
    trial = with_term(term, precision=precision)
    network, batches = lively(trial), Batches(trial, IMAGES, device=torch.device("cpu"))
    with torch.no_grad():
        whole = losses(network, batches.take(0, 4))
        halves = [losses(network, batches.take(first, 2)) for first in (0, 2)]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=1e-5 if precision == "fp32" else 0.05, atol=1e-6)


def test_it_trains_averages_and_goes_on_bit_for_bit_from_where_it_was_saved(term: dict[str, Any]) -> None:
    through, resumed = learner(with_term(term), updates=2), learner(with_term(term))
    saved = {part: {name: t.clone() for name, t in tensors.items()} for part, tensors in through.parts().items()}
    state = through.state()
    through.update()
    resumed.restore(saved, state)
    resumed.update()
    for part, tensors in through.parts().items():
        assert all(torch.equal(tensor, resumed.parts()[part][name]) for name, tensor in tensors.items())
    own = [name for name in saved["model"] if name.startswith(AUXILIARY)]
    assert own
    assert all(name in saved["ema"] and f"{name}/exp_avg" in saved["optimiser"] for name in own)
    for part in ("model", "ema"):
        assert all(not torch.equal(through.parts()[part][name], saved[part][name]) for name in own)


def test_the_rest_of_the_network_is_trained_by_it_and_starts_as_without_it(term: dict[str, Any]) -> None:
    plain, other = learner(with_term()), learner(with_term(term))
    assert all(torch.equal(tensor, other.parts()["model"][name]) for name, tensor in plain.parts()["model"].items())
    without, strong = (learner(with_term({**term, "weight": weight}), updates=3).parts()["model"] for weight in (1e-6, 10.0))
    assert any(not torch.equal(tensor, strong[name]) for name, tensor in of_model(without).items())


def test_a_model_is_without_it_and_samples_the_same(term: dict[str, Any]) -> None:
    trial = with_term(term)
    network, model = lively(trial), blank_model(trial).eval()
    weights = network.state_dict()
    assert not [name for name in model.state_dict() if name.startswith(AUXILIARY)]
    model.load_state_dict(of_model(weights))
    assert torch.equal(network(*batch()), model(*batch()))


def test_a_child_takes_it_from_a_parent_that_has_it_and_begins_it_anew_under_one_that_has_not(term: dict[str, Any]) -> None:
    with_it, without = learner(with_term(term), updates=2), learner(with_term(), updates=2)
    child = learner(with_term(term, seed=3))
    fresh = {name: tensor.clone() for name, tensor in child.parts()["model"].items()}
    child.begin_from(without.parts()["model"])
    for name, tensor in child.parts()["model"].items():
        assert torch.equal(tensor, (fresh if name.startswith(AUXILIARY) else without.parts()["model"])[name])
    child.begin_from(with_it.parts()["model"])
    assert all(torch.equal(tensor, with_it.parts()["model"][name]) for name, tensor in child.parts()["model"].items())
    plain = learner(with_term(seed=3))
    plain.begin_from(with_it.parts()["model"])
    assert all(torch.equal(tensor, with_it.parts()["model"][name]) for name, tensor in plain.parts()["model"].items())


@pytest.mark.slow
def test_a_compiled_step_computes_what_an_eager_one_does(term: dict[str, Any]) -> None:
    trial = with_term(term, model={"depth": 2, "class_tokens": 0, "class_tokens_start": 0}, compile=True)
    network, given = lively(trial), taken(trial)
    compiled = traced(image_losses)
    inputs = (network, given.x, given.e, given.t, given.y, torch.tensor(0.05), given.route, given.truths)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs), losses(network, given), rtol=1e-4, atol=1e-4)


def test_the_classifier_s_loss_is_the_cross_entropy_of_the_mean_token_after_its_block() -> None:
    trial = with_term({**CLASSIFIER, "block": 1})
    network, given = lively(trial), taken(trial)
    assert network.rotation is not None
    with torch.no_grad():
        time = network.time(given.t)
        chunks = network.modulation(F.silu(time)).view(4, -1, 1, 48).unbind(1)
        z = given.t.view(-1, 1, 1, 1) * given.x + (1 - given.t.view(-1, 1, 1, 1)) * given.e
        tokens = joined(network.blocks[0](Stream(network._tokens(z, 4)), chunks[:6], network.rotation[-16:]))
        logits = network.auxiliary["classifier"](tokens)
        weights = network.state_dict()
        by_hand = tokens.mean(1) @ weights["auxiliary.classifier.map.weight"].T + weights["auxiliary.classifier.map.bias"]
        torch.testing.assert_close(logits, by_hand)
        expected = F.cross_entropy(logits, given.truths["classifier"], reduction="none")
        torch.testing.assert_close(losses(network, given), losses_without(network, given) + 0.5 * expected)


def losses_without(network: Any, given: Batch) -> Tensor:
    """The squared error alone, of the same network."""
    z = noisy(given.x, given.e, given.t)
    plain = network.trial.diffusion.model_copy(update={"terms": ()})
    return loss(network(z, given.t, given.y), given.x, given.e, z, given.t, plain)


def test_blocks_before_the_classifier_do_not_hear_the_class_and_those_after_it_do() -> None:
    network = lively(with_term({**CLASSIFIER, "block": 2}))
    z, t, y = batch()
    first, other = network.tapped(z, t, y), network.tapped(z, t, (y + 1) % CLASSES)
    assert torch.equal(first.tokens["classifier"], other.tokens["classifier"])
    assert not torch.equal(first.output, other.output)
    early = lively(with_term({**CLASSIFIER, "block": 1}))
    assert not torch.equal(early(z, t, y), network(z, t, y))


def test_a_dropped_label_is_still_the_class_to_be_found() -> None:
    trial = with_term(CLASSIFIER)
    dropped = trial.diffusion.model_copy(update={"label_drop": 0.99})
    given = taken(trial.model_copy(update={"diffusion": dropped}), 24)
    assert (given.y == CLASSES).sum() > 12
    assert torch.equal(given.truths["classifier"].sort().values, IMAGES.labels(IMAGES.train).sort().values)


def test_a_classifier_reads_after_a_third_of_the_blocks_and_never_beside_class_tokens() -> None:
    def taps(**model: Any) -> int:
        (term,) = (trial := with_term(CLASSIFIER, model=model)).diffusion.tapped
        return term.tap(trial.model)

    assert taps(depth=12, class_tokens_start=4) == 4
    assert taps(depth=24, class_tokens_start=8) == 8
    assert taps(depth=12, class_tokens_start=2) == 2
    assert taps(depth=12, class_tokens=0) == 4
    with pytest.raises(ValueError, match=r"before class tokens join, got num_classes=5, block=3, class_tokens_start=2; try a"):
        with_term({**CLASSIFIER, "block": 3})
    with pytest.raises(ValueError, match=r"got num_classes=1, block=1"):
        with_term(CLASSIFIER, data=small_trial().data.model_copy(update={"num_classes": 1}))


def test_a_term_that_would_read_part_of_the_tokens_or_the_last_block_s_is_refused(term: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"the term {term['kind']} reads tokens before the last block.*got block=4, depth=4"):
        with_term({**term, "block": 4}, model={"class_tokens": 0})
    routed = {"class_tokens": 0, "depth": 6, "routing": {"kind": "skip", "ends": 2}}
    with pytest.raises(ValueError, match=r"got block=3, depth=6, trunk=transformer, routing=skip; try another `block`"):
        with_term({**term, "block": 3}, model=routed)
    for block in (2, 5):
        trial = with_term({**term, "block": block}, model=routed)
        given = taken(trial)
        tokens = build(trial).tapped(given.x, given.t, given.y, given.route).tokens
        assert tokens[term["kind"]].shape == (4, 16, 48)


def test_the_class_is_learned_from_the_tokens() -> None:
    """Of images whose brightness tells it."""
    images = NoiseImages(24, size=SIZE, classes=CLASSES)
    images.pixels = (images.pixels // 8 + 50 * images.classes.view(-1, 1, 1, 1)).to(torch.uint8)
    trial = with_term({**CLASSIFIER, "weight": 1.0}, optimiser={"learning_rate": 1e-3}, batch_size=8)
    made = Learner(trial, images, workers=Workers())

    @torch.no_grad()
    def entropy() -> float:
        given = Batches(trial, images, device=torch.device("cpu")).take(0, 24)
        tokens = made.network.tapped(given.x, torch.ones(24), given.y).tokens["classifier"]
        return float(F.cross_entropy(made.network.auxiliary["classifier"](tokens), given.truths["classifier"]))

    before = entropy()
    for _ in range(20):
        made.update()
    assert entropy() < 0.6 * before
