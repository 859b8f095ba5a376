"""A trial's step and sampler against the official way (`official_step`), compiled as the official code compiles it: the same
weights and batches, one thread.

A ratio is the compiled official fp32 CPU time over a variant's, so above 1 is faster; the variants take turns, and it is the
median over the turns. Ratios on a CPU say nothing about a GPU.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import geometric_mean, median
from typing import NamedTuple

import torch
from torch import Tensor

from tests.bench.official_step import OfficialNetwork, OfficialStep, official_names, two_pass_heun
from tests.bench.table import say
from tests.support.trials import jit
from trainables.config.average import DecayEma
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import ModelConfig
from trainables.config.recipe import Compile, Precision
from trainables.config.trial import DataConfig, TrialConfig
from trainables.diffusion.sampler import sample
from trainables.diffusion.t_sampling import times
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.networks.jit import JiT
from trainables.training.ema import Averages
from trainables.training.hardware import computes_bf16
from trainables.training.health import Health
from trainables.training.optimiser import adamw
from trainables.training.step import compiled_losses, image_losses

BATCH_OF_PATCH = {2: 2, 4: 8, 8: 32, 16: 64}
"""Images of a step, so that it takes about half a second to a second."""
SIZE, CLASSES = 64, 10
DECAYS = (0.9999, 0.9996)
TURNS = 5
TOLERANCE = 1e-4
"""Largest relative difference of losses, weights and samples from the official ones, in fp32."""
BF16_TOLERANCE = 1e-2
"""The same of the losses of two updates in bf16, whose numbers have 8 bits."""
FP32_BAR, BF16_BAR, SAMPLING_BAR = 0.97, 2.0, 2.5
SAMPLED_PATCH, SAMPLED_IMAGES = 8, 8

OFFICIAL, EAGER_OFFICIAL = "official, compiled", "official, eager"
"""The variant that every ratio is against, and the same without compiling."""

Seconds = Mapping[str, list[float]]


class Batch(NamedTuple):
    """Images x and noise e [B, C, H, W], times t and labels y [B]."""

    x: Tensor
    e: Tensor
    t: Tensor
    y: Tensor


class OurStep:
    """Network, optimiser and two averages, put together as a learner does; calling it makes one update."""

    def __init__(self, trial: TrialConfig, *, compiled: Compile = False) -> None:
        self.network = open_network(trial)
        self._losses = compiled_losses(compiled) if compiled else image_losses
        self._health = Health(torch.device("cpu"))
        self._optimiser = adamw(self.network, trial.optimiser)
        self._averages = Averages(self.network, trial.ema, batch_size=trial.batch_size)

    def __call__(self, batch: Batch) -> Tensor:
        """The loss before the update."""
        losses = self._losses(self.network, *batch, self.network.trial.diffusion.t_eps_train)
        mean = losses.mean()
        mean.backward()
        self._health.see_images(losses.detach(), batch.t)
        norm = torch.linalg.vector_norm(
            torch.stack(torch._foreach_norm([p.grad for p in self.network.parameters() if p.grad is not None]))
        )
        self._health.see_update(mean.detach(), grad_norm=norm, step=torch.tensor(1))
        self._optimiser.found_inf = self._health.diverged  # type: ignore[attr-defined]
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._averages.update()
        return mean.detach()


def table(patches: Sequence[int], *, compiled: bool) -> None:
    """CPU times of this process on one thread; `compiled`: with our compiled steps."""
    torch.set_num_threads(1)
    torch.compiler.config.force_disable_caches = True  # a warm-up is that of a first run
    warnings.filterwarnings("ignore", message="dynamo_pgo")
    say("against the official way", "ratio", "bar")
    ratios = [step_rows(patch, compiled=compiled) for patch in patches]
    whole = geometric_mean(of_patch["fp32"] for of_patch in ratios)
    say("step, these patch sizes, fp32 (geometric mean)", f"{whole:.2f}x", "above 1x")
    sampler_rows()


def step_rows(patch: int, *, compiled: bool) -> Mapping[str, float]:
    """Print what is known of a step at one patch size; its ratios by variant."""
    batch = batch_of(patch)
    torch.compiler.reset()
    agreement_rows(patch, batch)
    ours: dict[str, OurStep] = {precision: OurStep(trial_of(patch, precision)) for precision in precisions()}
    if compiled:
        ours |= {f"{p} compiled": OurStep(trial_of(patch, p), compiled=True) for p in precisions()}
        ours |= {f"{p} compiled by blocks": OurStep(trial_of(patch, p), compiled="blocks") for p in precisions()}
    variants: dict[str, Callable[[], object]] = {OFFICIAL: partial(official_step(patch, compiled=True), *batch)}
    variants[EAGER_OFFICIAL] = partial(official_step(patch, compiled=False), *batch)
    variants |= {name: partial(step, batch) for name, step in ours.items()}
    warm_up(variants, patch)
    seconds = interleaved(variants | {"draws": partial(draw, patch)})
    ratios = {name: ratio(seconds, name) for name in variants if name != OFFICIAL}
    for name, figure in ratios.items():
        say(f"{label(patch)}, {name}", f"{figure:.2f}x", bar(patch, name))
    noise_row(patch, seconds)
    return ratios


def agreement_rows(patch: int, batch: Batch) -> None:
    """Three updates in fp32 must make the losses and weights that the official ones make."""
    trial = trial_of(patch, "fp32")
    ours, official = OurStep(trial), official_step(patch, compiled=True)
    losses = [abs(float(ours(batch)) / official(*batch) - 1) for _ in range(3)]
    theirs = official.network.state_dict()
    weights = [relative_error(ours_now, theirs[name]) for name, ours_now in official_names(ours.network).items()]
    for what, errors in (("losses", losses), ("weights", weights)):
        say(f"{label(patch)}, largest difference in the {what} of 3 updates", f"{max(errors):.0e}", f"{TOLERANCE:.0e}")
        assert max(errors) < TOLERANCE, f"the official step must compute the same {what} at p = {patch}"


def noise_row(patch: int, seconds: Seconds) -> None:
    """How much of a step goes into its noise, times and dropped labels."""
    drawing = median(seconds["draws"])
    shares = [drawing / (drawing + median(seconds[name])) for name in precisions()]
    say(f"{label(patch)}, drawing as a share of the {' and the '.join(precisions())} step", shown_shares(shares))


def sampler_rows() -> None:
    """Ten Heun steps with and without guidance, the official two passes in fp32 against ours."""
    for guidance in (3.0, 1.0):
        evaluation = EvaluationConfig(steps=10, guidance=guidance, interval=(0.1, 1.0))
        samplers: dict[str, Callable[[], Tensor]] = {OFFICIAL: official_sampler(evaluation, compiled=True)}
        samplers[EAGER_OFFICIAL] = official_sampler(evaluation, compiled=False)
        samplers |= {precision: our_sampler(precision, evaluation) for precision in precisions()}
        what = f"sampling, p = {SAMPLED_PATCH}, cfg {guidance:g}"
        error = relative_error(samplers["fp32"](), samplers[OFFICIAL]())
        say(f"{what}, largest difference in fp32", f"{error:.0e}", f"{TOLERANCE:.0e}")
        assert error < TOLERANCE, "the official sampler must compute the same images"
        for name in (EAGER_OFFICIAL, *precisions()):
            samplers[name]()
        seconds = interleaved(samplers)
        for name in (EAGER_OFFICIAL, *precisions()):
            say(f"{what}, {name}", f"{ratio(seconds, name):.2f}x", f"{SAMPLING_BAR}x" if name == "bf16" else "")


def official_sampler(evaluation: EvaluationConfig, *, compiled: bool) -> Callable[[], Tensor]:
    """Two passes at every t, in fp32."""
    network = official_network(trial_of(SAMPLED_PATCH, "fp32"), compiled=compiled).eval()
    z0, labels = starts()
    return partial(two_pass_heun, network, z0, labels, evaluation=evaluation)


def our_sampler(precision: Precision, evaluation: EvaluationConfig) -> Callable[[], Tensor]:
    """The trainer's own sampler."""
    network = open_network(trial_of(SAMPLED_PATCH, precision))
    z0, labels = starts()

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return sample(network, z0, labels, diffusion=DiffusionConfig(), evaluation=evaluation, num_classes=CLASSES)

    return run


def warm_up(variants: Mapping[str, Callable[[], object]], patch: int) -> None:
    """Two updates of each; the first of a compiled one compiles. Their losses must be the official one's."""
    losses: dict[str, list[float]] = {}
    for name, variant in variants.items():
        start = time.perf_counter()
        first = float(variant())  # type: ignore[arg-type]
        if name == OFFICIAL or name.endswith("compiled"):
            say(f"{label(patch)}, {name}, warm-up", f"{time.perf_counter() - start:.0f} s")
        losses[name] = [first, float(variant())]  # type: ignore[arg-type]
    for name, found in losses.items():
        tolerance = BF16_TOLERANCE if "bf16" in name else TOLERANCE
        error = max(abs(ours / theirs - 1) for ours, theirs in zip(found, losses[OFFICIAL], strict=True))
        assert error < tolerance, f"{name} must compute the official losses at p = {patch}, got {found} of {losses[OFFICIAL]}"
    say(f"{label(patch)}, losses of every variant equal", "yes", f"{TOLERANCE:.0e} / {BF16_TOLERANCE:.0e}")


def interleaved(variants: Mapping[str, Callable[[], object]]) -> Seconds:
    """CPU seconds of every call, the variants taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(TURNS):
        for name, variant in variants.items():
            start = time.process_time()
            variant()
            seconds[name].append(time.process_time() - start)
    return seconds


def ratio(seconds: Seconds, name: str) -> float:
    """The compiled official time over that of a variant, turn by turn."""
    return median(official / own for official, own in zip(seconds[OFFICIAL], seconds[name], strict=True))


def trial_of(patch: int, precision: Precision) -> TrialConfig:
    """JiT's components at width 256 and depth 4, and two averages."""
    averages = [DecayEma(name=f"ema{i}", decay=decay, warmup=False) for i, decay in enumerate(DECAYS)]
    return TrialConfig(
        data=DataConfig(digest="none", image_size=SIZE, num_classes=CLASSES),
        model=ModelConfig(patch_size=patch, width=256, depth=4, heads=4, class_tokens_start=1),
        ema=tuple(averages),
        batch_size=BATCH_OF_PATCH[patch],
        precision=precision,
    )


@torch.no_grad()
def open_network(trial: TrialConfig) -> JiT:
    """The trial's network moved off its zeros, which would hide every block."""
    network = jit(trial)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


def official_step(patch: int, *, compiled: bool) -> OfficialStep:
    """The official step from the weights of `open_network`, in fp32."""
    return OfficialStep(official_network(trial_of(patch, "fp32"), compiled=compiled), decays=DECAYS)


def official_network(trial: TrialConfig, *, compiled: bool) -> OfficialNetwork:
    """The official form of `open_network`."""
    network = OfficialNetwork(trial, compiled=compiled)
    network.load_state_dict(official_names(open_network(trial)))
    return network


def batch_of(patch: int) -> Batch:
    """Uniform pixels and labels, with the noise and times of a trial's first update."""
    count = BATCH_OF_PATCH[patch]
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand((count, 3, SIZE, SIZE), generator=generator) - 1
    e, t = draw(patch)
    return Batch(x, e, t, torch.randint(0, CLASSES + 1, (count,), generator=generator))


def draw(patch: int) -> tuple[Tensor, Tensor]:
    """Noise [B, C, H, W] and times [B] of a batch; the numbers for dropped labels and mirrors are drawn and left."""
    draws, count = PhiloxDraws(0), BATCH_OF_PATCH[patch]
    for purpose in (Purpose.LABEL_DROP, Purpose.FLIP):
        draws.uniform(purpose, first=0, count=count)
    e = draws.normal(Purpose.NOISE, first=0, count=count, shape=(3, SIZE, SIZE))
    return e, times(draws.uniform(Purpose.TIME, first=0, count=count), DiffusionConfig().t_sampling)


def starts() -> tuple[Tensor, Tensor]:
    """Standard normal starts [B, C, H, W] and labels [B] of a few samples."""
    z0 = PhiloxDraws(0).normal(Purpose.SAMPLE_NOISE, first=0, count=SAMPLED_IMAGES, shape=(3, SIZE, SIZE))
    return z0, torch.arange(SAMPLED_IMAGES) % CLASSES


def relative_error(ours: Tensor, official: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((ours - official).abs().max() / official.abs().max())


def label(patch: int) -> str:
    return f"step, p = {patch}, batch {BATCH_OF_PATCH[patch]}"


def shown_shares(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.1f} %" for share in shares)


def bar(patch: int, name: str) -> str:
    if name == "fp32":
        return f"{FP32_BAR}x"
    return f"{BF16_BAR:g}x" if name == "bf16" and patch >= 8 else ""


def precisions() -> tuple[Precision, ...]:
    """Those in which this CPU computes: where it emulates bf16, a step takes ten times as long, which says nothing."""
    return ("fp32", "bf16") if computes_bf16() else ("fp32",)
