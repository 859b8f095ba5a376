"""Several workers on a GPU: what they train together, when their gradients leave, and what holding these in buckets takes."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.gpu.test_gpu import of_preset
from tests.support.images import NoiseImages
from tests.support.trials import small_trial
from trainables.networks.memory import Fit, peak_bytes
from trainables.training.learner import HEARD_AFTER, Learner
from trainables.training.workers import Ask, Workers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
IMAGES = NoiseImages(64, size=16, classes=5)
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"optimiser": {"grad_clip": 1e-2}},
    "rounded": {"gradient_sum": "bf16"},
}
STEPS = 2 + HEARD_AFTER


def learner(workers: Workers, **changes: Any) -> Learner:
    """In micro-batches of three images and one where there are two workers, which share eight."""
    fit = Fit(3, activation_checkpointing=False) if workers.size > 1 else None
    return Learner(small_trial(device="cuda", batch_size=8, **changes), IMAGES, workers=workers, fit=fit)


def weights(trained: Learner) -> list[Tensor]:
    return [parameter.detach().cpu() for parameter in trained.network.parameters()]


def one_of_two(rank: int, folder: str) -> None:
    """A worker's process: update in each case until the lead's wish to stop is heard; leave the weights."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for case, changes in CASES.items():
        trained = learner(Workers(rank=rank, size=2), **changes)
        asked = iter([Ask.NOTHING, Ask.STOP])
        while not trained.update(ask=next(asked, Ask.NOTHING) if rank == 0 else Ask.NOTHING):
            assert trained.step < 50
        torch.save(weights(trained), f"{folder}/{case}-{trained.step}-{rank}")
    dist.destroy_process_group()


def test_workers_hear_the_lead_two_updates_later_and_together_and_train_what_one_does(tmp_path: Path) -> None:
    spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    for case, changes in CASES.items():
        together = [torch.load(tmp_path / f"{case}-{STEPS}-{rank}", weights_only=True) for rank in range(2)]
        alone = learner(Workers(), **changes)
        for _ in range(STEPS):
            alone.update()
        rounded = "gradient_sum" in changes
        for a, b, c in zip(*together, weights(alone), strict=True):
            assert torch.equal(a, b), case
            torch.testing.assert_close(a, c, rtol=1e-2 if rounded else 1e-3, atol=4e-4 if rounded else 1e-5, msg=case)


@pytest.fixture
def _group_of_one(tmp_path: Path) -> Iterator[None]:
    """A process group of GPUs in which a sum is what went in."""
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_group_of_one")
@pytest.mark.parametrize("gradient_sum", ["fp32", "bf16"])
def test_sums_leave_while_the_backward_pass_goes_on_and_memory_is_as_modelled(gradient_sum: str) -> None:
    trial = of_preset("jit-b/16", image_size=256, batch_size=64, gradient_sum=gradient_sum)
    fit = Fit(16, activation_checkpointing=False)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    trained = Learner(trial, NoiseImages(64, size=256, classes=1000), workers=Workers(size=2), fit=fit)
    trained.update()
    assert trained.reduction is not None
    summed, sent = trained.reduction, list[int]()
    early = dict(trained.network.named_parameters())["blocks.0.attention.qkv.weight"]
    early.register_post_accumulate_grad_hook(lambda _: sent.append(summed.sent))
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_sync_debug_mode("error")
    trained.update()
    torch.cuda.set_sync_debug_mode("default")
    measured = torch.cuda.max_memory_allocated() - before
    first_pass, last_pass = sent
    assert first_pass == 0
    assert last_pass > 5
    ratio = peak_bytes(trial, fit, workers=2) / measured
    assert 0.95 < ratio < 1.3, f"modelled {peak_bytes(trial, fit, workers=2) / 2**30:.2f} GiB, measured {measured / 2**30:.2f}"
