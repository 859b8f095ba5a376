"""The network of masked tokens: what it counts, costs and keeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.presets import preset
from tests.support.kept import bytes_kept_by
from tests.support.trials import batch, moved, small_model, small_trial, trial_of_recipe
from trainables.config.method import MaskedTokensMethod
from trainables.config.network import ModelConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.networks.cost import forward_macs, parameter_count, training_flops
from trainables.networks.embedding import patches_of
from trainables.networks.masked_autoencoder import MaskedAutoencoder, Masking
from trainables.networks.masked_layout import mask_chances, mask_rate, masked_count
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.noise_time import NoiseTime
from trainables.networks.parts.masked_autoencoder import MaskedAutoencoderPart
from trainables.networks.registry import blank, build

SMALL: dict[str, Any] = {"kind": "masked_autoencoder", "class_copies": 3, "head_width": 32, "head_blocks": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "another decoder": {"decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2},
    "one copy": {"class_copies": 1, "head_blocks": 1},
}
PUBLISHED = {"mar-b": 207_924_768, "mar-l": 478_326_304, "mar-h": 942_403_104}
"""By the official network's own formula, to which the golden file holds ours; MAR-B is published as 208 M."""
REPEATS = 3
KEPT, RECOMPUTED = (Fit(1, activation_checkpointing=recomputed) for recomputed in (False, True))


def masked(
    trunk: dict[str, Any] | None = None,
    *,
    method: dict[str, Any] | None = None,
    model: ModelConfig | None = None,
    **changes: Any,
) -> TrialConfig:
    beside = (model or small_model(class_tokens=0)).model_dump()
    model = ModelConfig.model_validate({**beside, "trunk": {**SMALL, **(trunk or {})}})
    told = {"kind": "masked_tokens", "head_repeats": REPEATS, **(method or {})}
    return small_trial(model, method=told, **changes)


def network_of(trial: TrialConfig) -> MaskedAutoencoder:
    network = moved(trial)
    assert isinstance(network, MaskedAutoencoder)
    return network


def masking(images: int, count: int, *, tokens: int = 16) -> Masking:
    generator = torch.Generator().manual_seed(3)
    return Masking(torch.rand(images, tokens, generator=generator).argsort(1), count)


def heads_output(network: MaskedAutoencoder, images: int, count: int) -> Tensor:
    """Of noisy masked tokens, as often as an update shows them, [repeats, B, M, 2 P]."""
    x, _, y = batch(images)
    tokens, chosen = patches_of(x, network.trial.model.patch_size), masking(images, count)
    known = network(tokens, chosen, y)
    condition = known.gather(1, chosen.masked[..., None].expand(-1, -1, known.shape[-1]))
    shape, generator = (REPEATS, images, count), torch.Generator().manual_seed(4)
    w = torch.randn(*shape, tokens.shape[-1], generator=generator)
    output: Tensor = network.head(w, torch.randint(1000, shape, generator=generator), condition)
    return output


def forced(count: int) -> dict[str, float]:
    """A distribution of which every draw masks so many of 16 tokens."""
    return {"mask_mean": (count - 0.5) / 16, "mask_deviation": 1e-3, "mask_least": (count - 0.9) / 16}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_a_preset_has_the_parameters_of_the_formula_on_its_codes(name: str, count: int) -> None:
    data = DataConfig(digest="none", image_size=16, channels=16, num_classes=1000)
    trial = trial_of_recipe(preset(name), data=data)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in blank(trial).parameters()) == count
    assert parameter_count(trial) == count


@pytest.mark.parametrize("count", [12, 15, 16])
@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_closed_forms_are_exact(trunk: dict[str, Any], count: int) -> None:
    trial = masked(trunk, method=forced(count), attention="fp32")
    network = blank(trial)
    assert isinstance(network, MaskedAutoencoder)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        heads_output(network, 2, count)
    assert counter.get_total_flops() == 2 * 2 * forward_macs(trial)
    with FlopCounterMode(display=False) as counter:
        heads_output(network, 2, count).square().sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=2)


@pytest.mark.slow
def test_the_cost_is_the_mean_over_the_numbers_of_masked_tokens() -> None:
    trial = masked()
    part, method = MaskedAutoencoderPart(trial), MaskedTokensMethod()
    chances = {each.masked: each.probability for each in mask_chances(method, 16)}
    assert sum(chances.values()) == pytest.approx(1)
    drawn = [masked_count(mask_rate((k + 0.5) / 100_000, method), 16) for k in range(100_000)]
    assert {count: drawn.count(count) / 100_000 for count in {*drawn}} == pytest.approx(chances, abs=2e-5)
    mean = sum(part.macs_of(count) for count in drawn) / 100_000
    assert forward_macs(trial) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, {"attention": "fp32"}], ids=str)
@pytest.mark.parametrize("trunk", [*VARIANTS.values(), {"dropout": 0.1}], ids=[*VARIANTS, "dropout"])
def test_the_memory_model_follows_what_autograd_keeps(trunk: dict[str, Any], changes: dict[str, Any]) -> None:
    trial = masked(trunk, method=forced(12), **changes)
    network = network_of(trial).train()

    def forward(images: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=trial.precision == "bf16"):
            return heads_output(network, images, 12)

    kept = (bytes_kept_by(network, partial(forward, 6)) - bytes_kept_by(network, partial(forward, 2))) / 4
    modelled = peak_bytes(trial, KEPT) - state_bytes(trial)
    assert kept < modelled < 1.6 * kept, (kept, modelled)


def test_recomputing_needs_less_memory_and_gives_the_same_gradients() -> None:
    trial = masked({"dropout": 0.2, "head_blocks": 1}, method={"head_repeats": 1})
    state = state_bytes(trial)
    assert peak_bytes(trial, RECOMPUTED) - state < 0.6 * (peak_bytes(trial, KEPT) - state)
    gradients = []
    for recomputed in (False, True):
        network = network_of(trial).train()
        network.activation_checkpointing = recomputed
        torch.manual_seed(0)
        heads_output(network, 2, 12).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients)


def test_masked_tokens_are_unknown_and_every_other_one_and_the_class_are_heard() -> None:
    network, chosen = network_of(masked()), masking(2, 12)
    x, _, y = batch(2)
    tokens = patches_of(x, 4)
    known = network(tokens, chosen, y)

    def moved_by(changed: Tensor, classes: Tensor = y) -> list[bool]:
        """Of which images what is known of every token is another."""
        return [bool(each) for each in (network(changed, chosen, classes) - known).abs().amax((1, 2)) > 1e-6]

    for place in range(16):
        other = tokens.clone()
        other[0, place] += 1
        hidden = place in chosen.masked[0].tolist()
        assert moved_by(other) == [not hidden, False]
    assert moved_by(tokens, torch.tensor([(int(y[0]) + 1) % 6, int(y[1])])) == [True, False]


def test_code_that_counts_one_time_from_the_data_on_is_refused_what_has_another() -> None:
    with pytest.raises(ValueError, match="a trial must be of one flow .* got masked_tokens; sample it by the program itself"):
        NoiseTime(network_of(masked()), t_eps=0.05)


def test_a_fresh_head_says_no_noise_and_a_variance_between_the_bounds() -> None:
    network = build(masked())
    assert isinstance(network, MaskedAutoencoder)
    assert not heads_output(network, 2, 12).any()
    assert float(network.mask.detach().std()) == pytest.approx(0.02, rel=0.5)
    assert not any(p.any() for name, p in network.named_parameters() if "modulation" in name)
