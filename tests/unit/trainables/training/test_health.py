"""What a trial knows of its own divergence: the first bad update, and the times of its bad images."""

import pytest
import torch
from torch import Tensor

from trainables.training.health import BINS, Health
from trainables.training.workers import Workers

NAN, INF = float("nan"), float("inf")


def health_after(*updates: tuple[list[float], list[float]]) -> Health:
    """After updates of one micro-batch each: losses and times of its images."""
    health = Health(torch.device("cpu"))
    for step, (losses, times) in enumerate(updates, start=1):
        health.see_images(torch.tensor(losses), torch.tensor(times))
        health.see_update(torch.tensor(losses).mean(), grad_norm=torch.tensor(float(step)), step=torch.tensor(step))
    return health


def test_finite_losses_are_no_divergence_and_give_their_mean_once() -> None:
    health = health_after(([1.0, 3.0], [0.1, 0.2]), ([4.0, 4.0], [0.1, 0.2]))
    assert health.divergence(Workers()) is None
    assert health.mean_loss() == 3.0
    health.see_update(torch.tensor(7.0), grad_norm=torch.tensor(1.0), step=torch.tensor(3))
    assert health.mean_loss() == 7.0


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_the_first_bad_update_and_its_bad_images_by_t_are_kept_and_later_ones_are_not_added(bad: float) -> None:
    found = health_after(([1.0, 1.0], [0.3, 0.3]), ([1.0, bad, bad], [0.5, 0.02, 0.99]), ([bad, bad], [0.5, 0.5])).divergence(
        Workers()
    )
    assert found is not None
    assert (found.step, found.grad_norm) == (2, 1.0)
    assert str(found).startswith(
        "the loss was not finite at step 2 for 2 images, most at t = 0.00 to 0.05; the gradient's norm was 1"
    )
    assert {place: count for place, count in enumerate(found.bad_t) if count} == {0: 1, BINS - 1: 1}


def test_every_micro_batch_of_the_bad_update_is_counted() -> None:
    health = Health(torch.device("cpu"))
    for times in ([0.1, 0.6], [0.6, 0.6]):
        health.see_images(torch.full((2,), NAN), torch.tensor(times))
    health.see_update(torch.tensor(NAN), grad_norm=torch.tensor(NAN), step=torch.tensor(1))
    found = health.divergence(Workers())
    assert found is not None
    assert sum(found.bad_t) == 4
    assert found.bad_t[12] == 3


def test_the_flag_that_stops_the_optimiser_stays_up() -> None:
    def flag(*losses: float) -> Tensor:
        return health_after(*(([loss], [0.5]) for loss in losses)).diverged

    assert float(flag(1.0, 2.0)) == 0.0
    assert float(flag(1.0, NAN, 1.0)) == 1.0


def test_a_gradient_that_is_not_finite_is_a_divergence_of_its_own() -> None:
    health = health_after(([1.0], [0.5]))
    health.see_images(torch.tensor([1.0]), torch.tensor([0.5]))
    health.see_update(torch.tensor(1.0), grad_norm=torch.tensor(INF), step=torch.tensor(2))
    health.see_update(torch.tensor(1.0), grad_norm=torch.tensor(5.0), step=torch.tensor(3))
    found = health.divergence(Workers())
    assert found is not None
    assert (found.step, sum(found.bad_t), found.grad_norm) == (2, 0, 1.0)
    assert "in its gradient alone" in str(found)
