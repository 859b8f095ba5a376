"""The discrete diffusion of tokens against what it must do where the answer is known."""

import math

import pytest
import torch
from torch import Tensor

from trainables.diffusion.ddpm import STEPS, chain, cleaner, head_loss, noisy, one_cleaner


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_trained_chain_goes_from_nearly_clean_to_noise() -> None:
    whole = chain()
    assert len(whole.kept) == STEPS
    assert float(whole.kept[0]) > 0.9999
    assert float(whole.kept[-1]) < 1e-8
    betas = 1 - whole.kept / whole.kept_before
    assert float(betas.max()) == pytest.approx(0.999)
    assert bool((whole.low <= whole.high + 1e-12).all())


@pytest.mark.parametrize(("count", "first"), [(2, [0, 999]), (4, [0, 333, 666, 999]), (6, [0, 200, 400, 599, 799, 999])])
def test_a_shorter_chain_has_the_first_and_the_last_step_and_goes_through_the_same_noise(count: int, first: list[int]) -> None:
    short, whole = chain(count), chain()
    assert short.steps.tolist() == first
    torch.testing.assert_close(short.kept, whole.kept[short.steps])
    assert chain(100).steps.tolist() == [round(999 / 99 * step) for step in range(100)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_who_knows_the_noise_exactly_draws_the_token_exactly(temperature: float) -> None:
    short, x, w = chain(20), normal(3, 5), normal(3, 5, seed=1)
    for place in reversed(range(20)):
        step = torch.full((3,), place)
        kept = short.kept[step].float()[:, None]
        e = (w - kept.sqrt() * x) / (1 - kept).sqrt()
        output = torch.cat((e, -torch.ones_like(e)), dim=-1)
        w = cleaner(output, w, step, short, noise=normal(3, 5, seed=place + 2), temperature=temperature)
    torch.testing.assert_close(w, x, rtol=1e-4, atol=1e-4)


def test_the_temperature_multiplies_what_a_step_draws() -> None:
    short, w, noise, output = chain(20), normal(2, 3), normal(2, 3, seed=1), normal(2, 6, seed=2)
    step = torch.tensor([7, 0])
    mean, log_variance = one_cleaner(output, w, step, short)
    drawn = [cleaner(output, w, step, short, noise=noise, temperature=each) for each in (0.0, 0.5)]
    torch.testing.assert_close(drawn[0], mean)
    expected = 0.5 * (0.5 * log_variance).exp() * noise * torch.tensor([[1.0], [0.0]])  # the last step draws none
    torch.testing.assert_close(drawn[1] - mean, expected)


def test_the_variance_lies_where_the_output_says_between_its_two_bounds() -> None:
    whole, step = chain(), torch.tensor([500])
    ends = [one_cleaner(torch.tensor([[0.0, v]]), torch.zeros(1, 1), step, whole).log_variance.item() for v in (-1.0, 0.0, 1.0)]
    low, high = float(whole.low[500]), float(whole.high[500])
    assert ends == pytest.approx([low, (low + high) / 2, high], rel=1e-5)


def test_the_bound_is_zero_bits_where_step_and_posterior_are_one_and_grows_as_a_divergence_of_gaussians() -> None:
    whole, x, e, step = chain(), normal(4, 3), normal(4, 3, seed=1), torch.tensor([1, 50, 500, 999])
    exact = head_loss(torch.cat((e, -torch.ones_like(e)), dim=-1), x, e, step, whole)
    torch.testing.assert_close(exact.squared, torch.zeros(4))
    torch.testing.assert_close(exact.bound, torch.zeros(4), atol=1e-5, rtol=0)
    wide = head_loss(torch.cat((e, torch.ones_like(e)), dim=-1), x, e, step, whole)
    low, high = (part[step].float() for part in (whole.low, whole.high))
    posterior = torch.distributions.Normal(torch.zeros(4), (0.5 * low).exp())
    found = torch.distributions.Normal(torch.zeros(4), (0.5 * high).exp())
    bits = torch.distributions.kl_divergence(posterior, found) / math.log(2)
    torch.testing.assert_close(wide.bound, bits, rtol=1e-3, atol=1e-5)


def test_the_bound_has_no_gradient_of_the_noise_and_the_error_none_of_the_variance() -> None:
    x, e, step = normal(4, 3), normal(4, 3, seed=1), torch.tensor([0, 50, 500, 999])
    output = normal(4, 6, seed=2).requires_grad_()
    terms = head_loss(output, x, e, step, chain())
    sums = (terms.bound.sum(), terms.squared.sum())
    of_bound, of_error = (torch.autograd.grad(each, output, retain_graph=True)[0] for each in sums)
    assert not of_bound[:, :3].any()
    assert of_bound[:, 3:].abs().sum() > 0
    assert not of_error[:, 3:].any()


def test_noise_joins_the_token_as_the_schedule_says() -> None:
    whole, x, e, step = chain(), normal(2, 3), normal(2, 3, seed=1), torch.tensor([0, 999])
    w = noisy(x, e, step, whole)
    torch.testing.assert_close(w[0], x[0], atol=0.03, rtol=0)
    torch.testing.assert_close(w[1], e[1], atol=1e-3, rtol=0)
