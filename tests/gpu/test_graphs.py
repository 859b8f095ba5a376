"""Updates and passes that are replayed as CUDA graphs give the numbers of those whose kernels are started one by one."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.support.images import NoiseImages
from tests.support.trials import CLASSES, SIZE, lively, small_model, small_trial
from trainables.config.evaluation import EvaluationConfig
from trainables.cuda_graphs import Recorder
from trainables.evaluation.generate import generate
from trainables.networks.memory import Fit
from trainables.process_caches import clear_process_caches
from trainables.training import batches
from trainables.training.graphed import AsGraphs
from trainables.training.learner import Learner
from trainables.training.workers import Workers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda")
IMAGES = NoiseImages(20, size=SIZE, classes=CLASSES)
"""Fewer than three updates take, so that every test crosses epochs."""


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    """Any call that makes the host wait for the device raises."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def learner(*, graphs: bool = True, fit: Fit | None = None, model: dict[str, Any] | None = None, **changes: Any) -> Learner:
    trial = small_trial(small_model(**(model or {})), device="cuda", batch_size=8, graphs=graphs, **changes)
    return Learner(trial, IMAGES, workers=Workers(), fit=fit)


def after(trained: Learner, updates: int) -> dict[str, Tensor]:
    """Weights, averages and the optimiser's state, by name, and the mean loss and gradient norm, after so many more updates."""
    for _ in range(updates):
        trained.update()
    seen = {"loss": torch.tensor(trained.health.mean_loss()), "norm": torch.tensor(trained.health.grad_norm())}
    return {f"{part}/{name}": tensor.clone() for part, held in trained.parts().items() for name, tensor in held.items()} | seen


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


KEPT, RECOMPUTED, PARTS = Fit(8, False), Fit(8, True), Fit(3, False)
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "bf16-residual": {"precision": "bf16", "residual": "bf16"},
    "micro-batches": {"precision": "bf16", "fit": PARTS},
    "recomputed": {"precision": "bf16", "fit": RECOMPUTED},
    "clip": {"optimiser": {"grad_clip": 0.1, "learning_rate": 1e-3, "warmup_images": 100}},
    "dropout": {"precision": "bf16", "fit": PARTS, "model": {"dropout": 0.5}},
    "averages": {
        "ema": [
            {"name": "fast", "kind": "decay", "decay": 0.9},
            {"name": "slow", "kind": "half_life", "images": 100},
        ]
    },
    "compiled": {"precision": "bf16", "compile": True, "fit": PARTS},
    "compiled by blocks": {"precision": "bf16", "compile": "blocks", "fit": PARTS},
    "triton": {"precision": "bf16", "kernels": "triton"},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_replayed_updates_give_the_weights_of_plain_ones_bit_for_bit(changes: dict[str, Any]) -> None:
    plain = after(learner(graphs=False, **changes), 9)
    replayed = after(learner(**changes), 9)
    assert same(plain, replayed), [name for name, tensor in plain.items() if not torch.equal(tensor, replayed[name])][:4]


def test_the_comparison_of_weights_can_fail() -> None:
    assert not same(after(learner(seed=1), 4), after(learner(seed=2), 4))


def test_images_that_stay_with_the_host_are_replayed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "RESIDENT_SHARE", 0.0)
    assert same(after(learner(graphs=False), 9), after(learner(), 9))


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("changes", [VARIANTS["micro-batches"], VARIANTS["clip"], VARIANTS["dropout"]], ids=str)
def test_no_replayed_update_waits_for_the_device(changes: dict[str, Any]) -> None:
    trained = learner(**changes)
    for _ in range(2):
        trained.update()
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(3):
        trained.update()


@pytest.mark.parametrize("anew", [True, False], ids=["in a new process", "in the middle"])
def test_a_replayed_trial_goes_on_exactly_where_it_was_saved(anew: bool) -> None:
    trained = learner(**VARIANTS["micro-batches"])
    after(trained, 4)
    parts = {part: {name: tensor.cpu().clone() for name, tensor in held.items()} for part, held in trained.parts().items()}
    state = trained.state()
    expected = after(trained, 4)
    resumed = learner(**VARIANTS["micro-batches"]) if anew else trained
    resumed.restore(parts, state)
    assert same(expected, after(resumed, 4))


def test_a_replayed_update_is_not_applied_once_something_was_not_finite_and_says_when() -> None:
    trained = learner()
    after(trained, 3)
    with torch.no_grad():
        next(trained.network.parameters()).fill_(torch.nan)
    before = [parameter.detach().clone() for parameter in trained.network.parameters()]
    for _ in range(4):
        trained.update()
    pairs = zip(before, trained.network.parameters(), strict=True)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)
    found = trained.health.divergence(Workers())
    assert found is not None
    assert (found.step, sum(found.bad_t)) == (4, 8)


def test_the_trials_of_a_lane_are_recorded_one_by_one_and_leave_no_memory_behind() -> None:
    def held(seed: int) -> int:
        weights = after(learner(seed=seed), 4)
        assert same(weights, after(learner(seed=seed, graphs=False), 4))
        del weights
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    first = held(0)
    assert [held(seed) for seed in (1, 2)] == [first, first]


def test_an_update_is_recorded_once_for_each_size_of_its_passes() -> None:
    trained = learner(fit=PARTS)
    after(trained, 5)
    assert isinstance(trained._kernels, AsGraphs)
    # 3 + 3 + 2 images: the first pass makes the gradients, the others add to them.
    assert set(trained._kernels._recordings) == {(3, True), (3, False), (2, False), "judge"}


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("prediction", ["x", "v"])
def test_replayed_passes_give_the_samples_of_plain_ones_bit_for_bit(
    sampler: str, prediction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.evaluation.generate.images_at_once", lambda trial, device: 8)
    evaluation = EvaluationConfig.model_validate(
        {"n": 20, "steps": 6, "sampler": sampler, "guidance": 2.0, "interval": (0.1, 0.8), "t_eps_sample": 0.05}
    )
    labels = torch.arange(20) % CLASSES

    def drawn(graphs: bool) -> Tensor:
        trial = small_trial(device="cuda", precision="bf16", graphs=graphs, diffusion={"prediction": prediction})
        return generate(lively(trial).to(GPU), trial, evaluation, labels)

    assert torch.equal(drawn(True), drawn(False))


def one_of_two(rank: int, folder: str) -> None:
    """A worker's process, that replays its share of each update; leaves its weights."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    trial = small_trial(device="cuda", batch_size=8, graphs=True)
    trained = Learner(trial, IMAGES, workers=Workers(rank=rank, size=2), fit=Fit(2, activation_checkpointing=False))
    for _ in range(5):
        trained.update()
    torch.save([parameter.detach().cpu() for parameter in trained.network.parameters()], f"{folder}/weights-{rank}")
    dist.destroy_process_group()


def test_two_workers_that_replay_their_passes_train_what_one_does(tmp_path: Path) -> None:
    spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    together = [torch.load(tmp_path / f"weights-{rank}", weights_only=True) for rank in range(2)]
    alone = learner(graphs=False)
    after(alone, 5)
    for a, b, c in zip(*together, alone.network.parameters(), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c.detach().cpu(), rtol=1e-3, atol=1e-5)


def refuse(_: int) -> None:
    """A worker's process: a recording that fails leaves torch's generator and allocator as if it went on."""
    with pytest.raises(ValueError, match="`graphs` needs kernels that a CUDA graph can hold, got one .*; try graphs=false"):
        Recorder(GPU).record(lambda x: torch.full((), x.sum().item()), torch.ones(3))
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def test_work_that_waits_for_the_device_is_refused() -> None:
    spawn(refuse, nprocs=1)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    clear_process_caches()
    yield
    clear_process_caches()
