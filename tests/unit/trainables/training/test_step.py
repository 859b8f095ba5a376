"""The compiled step: one compilation for every trial of a shape, the same weights again, and no silent return to eager mode."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch._dynamo.utils import counters

from tests.support.trials import small_model, small_trial
from tests.unit.trainables.training.test_learner import IMAGES, same, weights
from trainables.config.recipe import Compile
from trainables.config.shape import step_shape
from trainables.config.trial import TrialConfig
from trainables.networks.memory import Fit
from trainables.process_caches import clear_process_caches, process_caches
from trainables.training import step
from trainables.training.batches import Batches
from trainables.training.learner import Learner
from trainables.training.step import CompiledStep, step_of
from trainables.training.workers import Workers

pytestmark = [
    pytest.mark.slow,  # torch.compile
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
]
MORE_THAN_TORCHS_OWN_LIMIT = 9


def trial(**changes: Any) -> TrialConfig:
    model = small_model(width=16, depth=2, heads=2, class_tokens=2, class_tokens_start=1, output_skip="edm")
    return small_trial(**{"model": model, "compile": True, **changes})


def trained(config: TrialConfig, *, workers: Workers = Workers()) -> Learner:  # noqa: B008 - frozen
    learner = Learner(config, IMAGES, workers=workers)
    for _ in range(3):
        learner.update()
    return learner


def test_trials_that_differ_in_scalars_share_one_compilation_and_are_repeated_bit_for_bit() -> None:
    before = Learner(trial(), IMAGES, workers=Workers())
    assert before.compiles
    first = weights(trained(trial()))
    assert not before.compiles
    compiled = counters["stats"]["unique_graphs"]
    for seed in range(1, MORE_THAN_TORCHS_OWN_LIMIT + 1):
        scalars = {"t_eps_train": seed / 100, "noise_scale": 1.0 + seed, "t_sampling": {"kind": "uniform"}}
        other = trial(seed=seed, diffusion=scalars)
        learner = trained(other)
        eager = trained(trial(compile=False, seed=seed, diffusion=scalars))
        assert not eager.compiles
        assert learner.health.mean_loss() == pytest.approx(eager.health.mean_loss(), rel=1e-4)
    assert counters["stats"]["unique_graphs"] == compiled
    assert all(torch.equal(a, b) for a, b in zip(first, weights(trained(trial())), strict=True))


def test_by_blocks_each_kind_of_block_is_compiled_once_for_all_blocks_and_trials(steps_as_traced: None) -> None:
    model = small_model(width=16, depth=5, heads=2, class_tokens=2, class_tokens_start=2)
    torch._dynamo.reset()
    before = counters["stats"]["unique_graphs"]
    first = weights(trained(trial(model=model, compile="blocks")))
    assert counters["stats"]["unique_graphs"] == before + 3  # before, at and after the class tokens
    other = {"seed": 1, "model": model, "diffusion": {"t_eps_train": 0.02, "noise_scale": 2.0}}
    learner, eager = trained(trial(compile="blocks", **other)), trained(trial(compile=False, **other))
    assert learner.health.mean_loss() == pytest.approx(eager.health.mean_loss(), rel=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(trained(trial(model=model, compile="blocks"))), strict=True))
    assert counters["stats"]["unique_graphs"] == before + 3
    assert step_of(trial(model=model, compile="blocks")).network is learner.network
    assert step_of(trial(model=model)).network is not learner.network


@pytest.mark.parametrize(("way", "recomputed", "dropout"), [(True, False, 0.0), (True, True, 0.5), ("blocks", True, 0.5)])
def test_the_gradient_of_a_compiled_step_is_the_slope_of_its_loss(way: Compile, recomputed: bool, dropout: float) -> None:
    model = small_model(width=16, depth=4, heads=2, class_tokens=0, class_tokens_start=0, proj_dropout=dropout)
    fit = Fit(4, activation_checkpointing=recomputed)
    learner = Learner(trial(model=model, compile=way), IMAGES, workers=Workers(), fit=fit)
    given = Batches(learner.trial, IMAGES, device=torch.device("cpu")).take(0, 4)
    weights: list[Tensor] = list(learner.network.parameters())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in weights:
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))  # no block hidden behind zeros

    def loss() -> Tensor:
        torch.manual_seed(3)  # of the dropout's masks
        return learner.image_losses(given).mean()

    first = loss()
    graphs = counters["stats"]["unique_graphs"]
    along = torch.autograd.grad(first, weights, materialize_grads=True, allow_unused=True)
    assert counters["stats"]["unique_graphs"] == graphs  # what is recomputed is what was compiled
    length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(along))).item()
    with torch.no_grad():
        torch._foreach_add_(weights, along, alpha=3e-3 / length)
    above = loss().item()
    with torch.no_grad():
        torch._foreach_add_(weights, along, alpha=-6e-3 / length)
    assert (above - loss().item()) / 6e-3 == pytest.approx(length, rel=1e-3)


def test_a_worker_of_several_shares_its_step_between_trials_and_each_sums_its_own_gradients(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    half = Workers(size=2)  # of which the other adds nothing
    first = weights(trained(trial(), workers=half))
    compiled = counters["stats"]["unique_graphs"]
    trained(trial(seed=1), workers=half)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(trained(trial(), workers=half)), strict=True))
    alone = weights(trained(trial(batch_size=2)))
    assert counters["stats"]["unique_graphs"] == compiled
    assert not all(torch.equal(a, b) for a, b in zip(first, alone, strict=True))  # another batch
    eager = weights(trained(trial(compile=False), workers=half))
    dist.destroy_process_group()
    for a, b in zip(first, eager, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_another_process_of_the_machine_finds_what_this_one_traced_and_compiled_on_the_disk(precision: str) -> None:
    first = weights(trained(trial(precision=precision)))
    torch._dynamo.reset()
    clear_process_caches()
    for cache in ("inductor", "aot_autograd"):
        counters[cache].clear()
    assert all(torch.equal(a, b) for a, b in zip(first, weights(trained(trial(precision=precision))), strict=True))
    assert counters["inductor"]["fxgraph_cache_hit"] > 0
    assert counters["inductor"]["fxgraph_cache_miss"] == 0
    assert counters["aot_autograd"]["autograd_cache_hit"] > 0
    assert counters["aot_autograd"]["autograd_cache_miss"] + counters["aot_autograd"]["autograd_cache_bypass"] == 0


def test_a_step_that_would_be_compiled_again_raises_instead_of_going_on_in_eager_mode() -> None:
    learner = trained(trial())
    assert isinstance(learner.image_losses, CompiledStep)
    learner.image_losses._sizes.add((3, False))
    with pytest.raises(RuntimeError, match="recompile"):
        learner.image_losses(Batches(learner.trial, IMAGES, device=torch.device("cpu")).take(0, 3))
    learner.image_losses._sizes.discard((3, False))


def test_what_a_compiled_step_depends_on_is_the_shape_the_cell_and_how_it_is_computed() -> None:
    alike = [trial(seed=4), trial(ema=()), trial(diffusion={"noise_scale": 2.0, "t_eps_train": 0.0, "label_drop": 0.5})]
    other = [trial(precision="bf16"), trial(compile="blocks"), trial(diffusion={"prediction": "x", "loss": "x"})]
    other += [trial(attention="fp32")]
    assert {step_shape(each) for each in alike} == {step_shape(trial())}
    assert len({step_shape(each) for each in [trial(), *other]}) == 5


def test_the_oldest_of_many_shapes_is_forgotten_and_the_latest_kept() -> None:
    models = [small_model(depth=2, class_tokens_start=1, embedding={"kind": "bottleneck", "dim": dim}) for dim in range(1, 6)]
    shapes = [trial(model=model) for model in models]
    assert len(shapes) > step.MOST_SHAPES
    networks = [step_of(shape).network for shape in shapes]
    assert step_of(shapes[-1]).network is networks[-1]
    assert process_caches()["compiled steps"] == step.MOST_SHAPES
    assert step_of(shapes[0]).network is not networks[0]


def test_by_blocks_a_forgotten_shape_finds_its_kinds_of_block_compiled(steps_as_traced: None) -> None:
    models = [small_model(width=16, depth=depth, heads=2, class_tokens=0, class_tokens_start=0) for depth in range(1, 5)]
    shapes = [trial(model=model, compile="blocks") for model in models]
    assert len(shapes) > step.MOST_SHAPES
    first, *_ = (weights(trained(shape)) for shape in shapes)
    graphs = counters["stats"]["unique_graphs"]
    again = weights(trained(shapes[0]))
    assert counters["stats"]["unique_graphs"] == graphs
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_without_a_compiler_the_reason_is_told_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler on a CPU, got none on PATH; install g\+\+"):
        step_of(trial())


def test_an_eager_trial_gets_a_network_of_its_own() -> None:
    assert step_of(trial(compile=False)).network is not step_of(trial(compile=False)).network
    assert step_of(trial()).network is step_of(trial(seed=1)).network
    assert same(trained(trial(compile=False)), trained(trial(compile=False)))
