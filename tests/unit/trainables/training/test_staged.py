"""A path of stages in training: equal shares of each batch, one network on several grids, and its own held-out error."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.images import NoiseImages
from tests.support.trials import CLASSES, SIZE, lively, small_model, small_trial
from tests.unit.trainables.training.test_learner import IMAGES, same, trained, weights
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.diffusion.stages import path_stages
from trainables.evaluation.generate import generate
from trainables.evaluation.metrics.heldout import HeldoutGrid, mean_image
from trainables.evaluation.score import score_network
from trainables.methods.denoiser import sampling_noise
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.networks.memory import Fit, fit, peak_bytes
from trainables.networks.registry import build
from trainables.training.batches import Batch, Batches
from trainables.training.learner import Learner, share_of
from trainables.training.step import EagerStep, image_losses
from trainables.training.workers import Workers

STAGED: dict[str, Any] = {"kind": "staged", "stages": 3}
MODEL: dict[str, Any] = {"patch_size": 2, "size_embedding": True}
KINDS: list[dict[str, Any]] = [
    {"prediction": "v"},
    {"prediction": "x"},
    {"prediction": "x", "loss": "x"},
    {"prediction": "v", "path": {**STAGED, "noise": "halved"}},
    {"prediction": "x", "path": {**STAGED, "transform": "blur"}},
    {"prediction": "v", "terms": [{"kind": "cosine"}, {"kind": "multiscale"}, {"kind": "classifier"}]},
]


def staged(model: dict[str, Any] | None = None, *, diffusion: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    given = {"path": STAGED, **(diffusion or {})}
    return small_trial(small_model(**{**MODEL, **(model or {})}), **{"batch_size": 12, **changes}, diffusion=given)


def taken(trial: TrialConfig, count: int = 12, *, first: int = 0) -> Batch:
    return Batches(trial, IMAGES, device=torch.device("cpu")).take(first, count)


def losses(trial: TrialConfig, given: Batch) -> Tensor:
    network = lively(trial)
    with torch.no_grad():
        return image_losses(network, given.x, given.e, given.t, given.y, 0.05, given.route, given.truths)


def learned(*, steps: int = 3, fit: Fit | None = None, **changes: Any) -> Learner:
    given = {"path": STAGED, **changes.pop("diffusion", {})}
    return trained(steps=steps, fit=fit, model=MODEL, batch_size=12, diffusion=given, **changes)


def test_image_i_trains_stage_i_modulo_their_number_at_its_own_size() -> None:
    trial, given, seen = staged(), taken(staged()), []
    network = lively(trial)
    network.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0].shape, inputs[2].tolist())))
    with torch.no_grad():
        image_losses(network, given.x, given.e, given.t, given.y, 0.05)
    assert [shape for shape, _ in seen] == [(4, 3, side, side) for side in (4, 8, 16)]
    assert [labels for _, labels in seen] == [given.y[number::3].tolist() for number in range(3)]


def test_the_loss_of_an_image_is_the_squared_error_of_its_stage_s_velocity() -> None:
    trial, given = staged(diffusion={"prediction": "v"}), taken(staged())
    network, stages = lively(trial), path_stages(trial.diffusion.path)
    with torch.no_grad():
        for index, (loss, stage) in enumerate(zip(losses(trial, given)[:3], stages, strict=True)):
            one = slice(index, index + 1)
            x, e, z, _ = stage.example(given.x[one], given.e[one], given.t[one])
            error = network(z, stage.told(given.t[one]), given.y[one]) - stage.truth(x, e, "v")
            assert float(loss) == pytest.approx(float(error.square().mean()), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("diffusion", KINDS, ids=str)
def test_every_kind_of_stage_learns_and_neither_cut_nor_recomputation_changes_what(diffusion: dict[str, Any]) -> None:
    whole = learned(diffusion=diffusion)
    cut = learned(diffusion=diffusion, fit=Fit(3, activation_checkpointing=True))
    start = [parameter.detach() for parameter in build(whole.trial).parameters()]
    assert all(torch.isfinite(tensor).all() for tensor in weights(whole))
    moved = torch.stack([(a - b).norm() for a, b in zip(weights(whole), start, strict=True)])
    apart = torch.stack([(a - b).norm() for a, b in zip(weights(whole), weights(cut), strict=True)])
    assert float(apart.norm()) < 1e-3 * float(moved.norm())


def test_a_batch_holds_the_same_wherever_it_is_cut() -> None:
    trial = staged()
    whole, parts = losses(trial, taken(trial)), [losses(trial, taken(trial, 6, first=first)) for first in (0, 6)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_a_trial_goes_on_bit_for_bit_where_it_was_saved() -> None:
    through, before = learned(steps=4), learned(steps=2)
    after = Learner(before.trial, IMAGES, workers=Workers())
    after.restore(before.parts(), before.state())
    for _ in range(2):
        after.update()
    assert same(through, after)


def test_bf16_changes_the_weights_a_little() -> None:
    exact, rounded = learned(), learned(precision="bf16")
    assert not same(exact, rounded)
    for a, b in zip(weights(exact), weights(rounded), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0.01)


def test_the_network_hears_the_size_of_its_grid() -> None:
    trial = staged()
    network, silent = lively(trial), lively(staged({"size_embedding": False}))
    assert parameter_count(trial) - parameter_count(silent.trial) == 257 * 48 + 49 * 48
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    z, t, y = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((2,), 0.5), torch.tensor([0, 1])
    with torch.no_grad():
        before = network(z, t, y)
        network.size.second.bias.add_(1.0)
        assert not torch.equal(network(z, t, y), before)


def test_tokens_of_a_smaller_grid_have_the_positions_of_that_grid() -> None:
    trial = staged({"class_tokens": 0})
    small = small_trial(trial.model, data=trial.data.model_copy(update={"image_size": SIZE // 2}))
    z, t, y = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((2,), 0.5), torch.tensor([0, 1])
    with torch.no_grad():
        torch.testing.assert_close(lively(trial)(z, t, y), lively(small)(z, t, y))


@pytest.mark.parametrize("tokens", [0, 3])
def test_the_closed_form_of_training_is_exact_over_the_stages(tokens: int) -> None:
    # The CPU's own RMSNorm takes a row sum as a product, which would be counted.
    plain = {"norm": "layer", "qk_norm": False, "class_tokens": tokens}
    trial, given = staged(plain, attention="fp32"), taken(staged())
    with FlopCounterMode(display=False) as counter:
        EagerStep(trial)(given).sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=12)
    network = build(trial).eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        for side in (4, 8, 16):
            network(torch.zeros(1, 3, side, side), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert counter.get_total_flops() == 3 * forward_flops(trial)


def test_the_memory_of_a_batch_is_the_mean_over_its_stages() -> None:
    trial = staged()
    kept = [peak_bytes(trial, Fit(count, activation_checkpointing=False)) for count in (12, 6)]
    views = [peak_bytes(small_trial(trial.model, data=view.data), Fit(2, activation_checkpointing=False))
             - peak_bytes(small_trial(trial.model, data=view.data), Fit(1, activation_checkpointing=False))
             for view in trial.stage_views]  # fmt: skip
    around = 7 * sum(4 * 3 * (SIZE**2 - side**2) for side in (4, 8, 16))  # whole images lie beside the small ones
    assert (kept[0] - kept[1]) == pytest.approx(2 * (sum(views) + around), rel=1e-3)


def test_micro_batches_and_shares_hold_every_stage_alike() -> None:
    trial = staged(batch_size=24)
    one = peak_bytes(trial, Fit(3, activation_checkpointing=True))
    assert fit(trial, share=24, memory_bytes=int(one / 0.9) + 1).micro_batch == 3
    with pytest.raises(ValueError, match="`micro_batch` must hold equal shares of the path's stages, got 4, stages=3; try 3"):
        fit(trial, share=24, memory_bytes=None, micro_batch=4)
    with pytest.raises(ValueError, match="equal shares of the path's stages, got 4 images a worker, stages=3"):
        share_of(staged(batch_size=12), Workers(rank=0, size=3))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"batch_size": 8},
            "must be a multiple of the path's stages, got batch_size=8, stages=3; try batch_size=9",
        ),
        ({"model": {"patch_size": 8}}, "image_size is a multiple of 32, got image_size=16, patch_size=8"),
        ({"model": {"routing": {"kind": "skip"}, "class_tokens_start": 0}}, "routing=skip"),
        ({"diffusion": {"terms": [{"kind": "frequency"}]}}, "at least 8 pixels, got channels=3, image_size=4"),
        ({"model": {"output_skip": "edm"}, "diffusion": {"prediction": "x"}}, "output_skip=edm"),
        ({"model": {"head": {"kind": "pixel_transformer"}}}, "head=pixel_transformer"),
        ({"graphs": True, "device": "cuda"}, "graphs=True"),
    ],
)
def test_what_does_not_go_through_stages_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        staged(**changes)


def test_samples_of_an_image_are_its_own_in_every_batch_and_each_border_has_noise_of_its_own() -> None:
    trial, evaluation = staged(), EvaluationConfig(n=4, steps=6, weights="raw")
    network, labels = lively(trial), torch.tensor([0, 1, 2, 3])
    drawn = generate(network, trial, evaluation, labels)
    assert drawn.shape == (4, 3, SIZE, SIZE)
    assert torch.equal(drawn, generate(network, trial, evaluation, labels))
    whole, last = sampling_noise(trial, evaluation, first=0, count=4), sampling_noise(trial, evaluation, first=3, count=1)
    assert [tuple(part.shape[1:]) for part in whole] == [(3, 16, 16), (3, 8, 8), (3, 16, 16)]
    assert all(torch.equal(part[3:], own) for part, own in zip(whole, last, strict=True))
    assert not torch.equal(whole[0], whole[2])
    assert not torch.isin(whole[1].flatten(), whole[2].flatten()).any()


class Mean(torch.nn.Module):
    """An x-prediction that answers the training images' mean, as each stage has it."""

    def __init__(self, images: NoiseImages) -> None:
        super().__init__()
        self.mean = mean_image(images)[None]

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(self.mean, SIZE // z.shape[-1]).expand(len(z), -1, -1, -1)


def test_the_held_out_error_of_stages_is_the_mean_over_them_and_another_score_than_the_flow_s() -> None:
    trial, flow = staged(diffusion={"prediction": "v"}), small_trial(small_model(**MODEL))
    images = NoiseImages(16, size=SIZE, classes=CLASSES)
    images.heldout = images.train
    grids = [HeldoutGrid(images, path=each.diffusion.path) for each in (trial, flow)]
    scores = [score_network(grid, lively(each), each) for grid, each in zip(grids, (trial, flow), strict=True)]
    assert scores[0].keys() == {"heldout_stage_error"}
    assert "heldout_v_error" in scores[1]
    assert "heldout_stage_error" not in scores[1]

    class Blind(torch.nn.Module):
        def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return torch.zeros_like(z)

    still = grids[0].v_error(Blind(), trial)
    stages = path_stages(trial.diffusion.path)
    x = images.read(images.heldout) / 127.5 - 1
    e = torch.randn(len(x), *x.shape[1:], generator=torch.Generator().manual_seed(0))
    alike = [stage.example(x, e, torch.zeros(len(x))) for stage in stages]
    by_hand = [float(stage.truth(one.x, one.e, "v").square().mean()) for stage, one in zip(stages, alike, strict=True)]
    assert still == pytest.approx(sum(by_hand) / 3, rel=0.1)
    assert grids[0].v_error(Mean(images), staged()) == pytest.approx(grids[0].mean_image_error, rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread", "steps_as_traced")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_of_all_stages_computes_what_the_eager_one_does() -> None:
    blurred = {"path": {**STAGED, "transform": "blur"}}
    compiled, eager = (learned(compile=compile, diffusion=blurred) for compile in (True, False))
    for a, b in zip(weights(compiled), weights(eager), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
