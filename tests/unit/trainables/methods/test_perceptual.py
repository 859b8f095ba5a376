"""An image made again is to be near in a teacher's tokens (LPIPS): by its formula, and in an autoencoder's training."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.images import NoiseImages
from tests.support.teachers import teacher
from tests.support.trials import CLASSES, SIZE, small_model, small_trial
from tests.unit.trainables.test_train import assignment, run
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_judge
from trainables.config.trial import TrialConfig
from trainables.data import DataError
from trainables.data.pixels import to_unit
from trainables.evaluation.features.vit import vit_of
from trainables.networks.autoencoder import Autoencoder
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.parts.projector import teacher_parameters
from trainables.networks.registry import blank_model, build
from trainables.training.batches import Batch, Batches
from trainables.training.learner import Learner
from trainables.training.step import image_losses
from trainables.training.teacher import seen_tokens, sight_of, teachers_of
from trainables.training.truths import open_sight
from trainables.training.workers import Workers

IMAGES = NoiseImages(24, size=SIZE, classes=CLASSES)
TRUNK = {"kind": "autoencoder", "width": 32, "multipliers": (1, 1)}
MEAN, SD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
WORKERS = 2
ID_BEFORE = "00c0223699eb"
"""Of the trial without a term, as it was before there was this one."""


def seeing(
    folder: Path | None,
    *,
    code: str = "kl",
    grid: int = 4,
    weight: float = 1.0,
    method: dict[str, Any] | None = None,
    **changes: Any,
) -> TrialConfig:
    """An autoencoder under the term, with a teacher that sees images of 4 x `grid` pixels; without a folder, under none."""
    term = {"perceptual": {"weight": weight, "teacher": teacher(folder, grid=grid)}} if folder else {}
    model = small_model(trunk={**TRUNK, "code": {"kind": code}})
    return small_trial(model, method={"kind": "autoencoder", **term, **(method or {})}, **changes)


def ready(trial: TrialConfig) -> Autoencoder:
    network = build(trial)
    open_sight(network)
    assert isinstance(network, Autoencoder)
    return network


def last_bias(network: Autoencoder) -> Tensor:
    """By which every image that it makes is moved."""
    bias = network.decoder.last.bias
    assert bias is not None
    return bias


def taken(trial: TrialConfig, count: int = 4) -> Batch:
    return Batches(trial, IMAGES, device=torch.device("cpu")).take(0, count)


def losses(network: nn.Module, given: Batch) -> Tensor:
    assert isinstance(network, Autoencoder)
    return image_losses(network, given.x, given.e, given.t, given.y, 0.05, None, given.truths)


def gradients(trial: TrialConfig, *, workers: Workers = Workers(), fit: Fit | None = None) -> Tensor:  # noqa: B008 - frozen
    """Of one update, all in a row, as AdamW's first moment has them."""
    learner = Learner(trial, IMAGES, workers=workers, fit=fit)
    learner.update()
    moments = {name: t for name, t in learner.parts()["optimiser"].items() if name.endswith("/exp_avg")}
    return torch.cat([moments[name].flatten() for name in sorted(moments)])


@pytest.mark.parametrize(("code", "grid"), [("kl", 4), ("vq", 4), ("kl", 6)])
@torch.no_grad()
def test_the_term_is_the_squared_distance_of_the_teacher_s_tokens_of_length_1(tmp_path: Path, code: str, grid: int) -> None:
    trial = seeing(tmp_path, code=code, grid=grid, weight=3.0)
    network, given = ready(trial), taken(trial)
    last_bias(network).add_(torch.tensor([2.0, -2.0, 0.0]))
    again, _ = network.reconstructed(given.x, given.e)
    assert again.max() > 1.5
    assert again.min() < -1.5
    vision = vit_of(load_file(tmp_path / "teacher.safetensors"))

    def tokens(x: Tensor) -> Tensor:
        resized = F.interpolate((x + 1) / 2, size=(4 * grid, 4 * grid), mode="bicubic", antialias=True)
        found = vision.patches((resized - MEAN) / SD)
        unit: Tensor = found / found.norm(dim=-1, keepdim=True)
        return unit

    distance = (tokens(again) - tokens(given.x)).square().sum(2).mean(1)
    assert distance.shape == (4,)
    assert distance.min() > 0.01
    with_it = losses(network, given)
    network.trial = seeing(None, code=code)
    torch.testing.assert_close(with_it, losses(network, given) + 3.0 * distance, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grid", [4, 6])
def test_an_image_made_again_exactly_costs_nothing_however_its_edges_are_resized(tmp_path: Path, grid: int) -> None:
    trial = seeing(tmp_path, grid=grid)
    edges = 255 * (torch.arange(SIZE) // 3 % 2).to(torch.uint8).expand(2, 3, SIZE, SIZE)
    (eye,) = trial.teachers
    assert torch.equal(seen_tokens(trial, eye, edges), sight_of(trial, eye, device="cpu")(to_unit(edges)))
    batch = taken(trial)
    assert torch.equal(batch.truths["perceptual"], sight_of(trial, eye, device="cpu")(batch.x))


def test_its_gradient_goes_past_the_teacher_to_decoder_and_encoder_even_beyond_the_pixels_range(tmp_path: Path) -> None:
    trial = seeing(tmp_path)
    network, given = ready(trial), taken(trial)
    with torch.no_grad():
        last_bias(network).fill_(5.0)
    own = last_bias(network), network.encoder.first.weight
    apart = losses(network, given)
    network.trial = seeing(None)
    of_term = (apart - losses(network, given)).sum()
    for gradient in torch.autograd.grad(of_term, own, retain_graph=True):
        assert gradient.abs().max() > 1e-8
    of_term.backward()
    (vision,) = teachers_of(trial, device="cpu").values()
    assert all(parameter.grad is None for parameter in vision.parameters())
    assert not {*map(id, vision.parameters())} & {*map(id, network.parameters())}


def test_none_is_the_trial_without_it_and_a_copy_of_the_teacher_the_same_one(tmp_path: Path) -> None:
    plain = seeing(None)
    assert seeing(None, method={"perceptual": None}).id == plain.id == ID_BEFORE
    here, there = seeing(tmp_path / "a"), seeing(tmp_path / "b")
    assert here != there
    assert here.id == there.id
    assert len({plain.id, here.id, seeing(tmp_path / "a", weight=2.0).id}) == 3


def test_it_is_counted_to_the_operation_and_is_no_part_of_a_model(tmp_path: Path) -> None:
    plain, trial = seeing(None, attention="fp32"), seeing(tmp_path, attention="fp32")
    assert parameter_count(trial) == parameter_count(plain) == sum(p.numel() for p in ready(trial).parameters())
    assert forward_flops(trial) == forward_flops(plain)
    assert [*ready(trial).state_dict()] == [*blank_model(trial).state_dict()] == [*build(plain).state_dict()]

    def counted(trial: TrialConfig) -> int:
        network = ready(trial)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            losses(network, taken(trial)).sum().backward()
        return int(counter.get_total_flops())

    assert counted(trial) - counted(plain) == training_flops(trial, images=4) - training_flops(plain, images=4) > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_memory_model_follows_what_the_teacher_s_backward_pass_keeps(tmp_path: Path, precision: str) -> None:
    plain, trial = seeing(None, precision=precision), seeing(tmp_path, grid=8, precision=precision)
    (eye,) = trial.teachers
    assert state_bytes(trial) - state_bytes(plain) == (6 if precision == "bf16" else 4) * teacher_parameters(eye)

    def modelled(trial: TrialConfig) -> int:
        return peak_bytes(trial, Fit(1, activation_checkpointing=False)) - state_bytes(trial)

    kept = [kept_by_step(trial, images=12) - kept_by_step(trial, images=4) for trial in (trial, plain)]
    assert 0.85 < 8 * (modelled(trial) - modelled(plain)) / (kept[0] - kept[1]) < 1.5


def kept_by_step(trial: TrialConfig, *, images: int) -> int:
    """Bytes of the distinct storages that an update's forward pass keeps for its backward pass."""
    network, given = ready(trial).train(), taken(trial, images)
    alive: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        alive[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses(network, given).sum().backward()
    return sum(tensor.untyped_storage().nbytes() for tensor in alive.values())


def test_both_terms_share_one_teacher_or_have_one_each_that_stay_in_memory(tmp_path: Path) -> None:
    own, other = teacher(tmp_path / "own"), teacher(tmp_path / "other", grid=6)
    shared = seeing(tmp_path / "own", method={"alignment": {"teacher": own}})
    two = seeing(tmp_path / "own", method={"alignment": {"teacher": other}})
    assert (len(shared.teachers), len(two.teachers)) == (1, 2)
    assert state_bytes(two) - state_bytes(shared) == 4 * teacher_parameters(two.teachers[0])
    for trial in (shared, two):
        before = teachers_of(trial, device="cpu")
        alone = seeing(None, method={"alignment": {"teacher": own if trial is shared else other}})
        network, given = ready(trial), taken(trial)
        assert all(vision is before[eye] for eye, vision in teachers_of(trial, device="cpu").items())
        assert given.truths["perceptual"].shape == (4, 16, 64)
        assert given.truths["alignment"].shape == (4, 64, 64)
        with_both = losses(network, given)
        network.trial = alone
        with_one = losses(network, given)
        network.trial = seeing(tmp_path / "own")
        assert (with_both - with_one).min() > 0.01
        assert (with_both - losses(network, given)).min() > 0.001


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.no_grad()
def test_an_image_s_loss_is_its_own_so_that_micro_batches_change_nothing(tmp_path: Path, precision: str) -> None:
    trial = seeing(tmp_path, precision=precision)
    network, batches = ready(trial), Batches(trial, IMAGES, device=torch.device("cpu"))
    whole, halves = losses(network, batches.take(0, 4)), [losses(network, batches.take(first, 2)) for first in (0, 2)]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=1e-5 if precision == "fp32" else 0.05, atol=1e-6)


def test_the_teacher_computes_in_the_trial_s_precision(tmp_path: Path) -> None:
    exact, narrow = seeing(tmp_path), seeing(tmp_path, precision="bf16")
    found, rounded = taken(exact).truths["perceptual"], taken(narrow).truths["perceptual"]
    assert rounded.dtype == torch.float32
    assert not torch.equal(found, rounded)
    torch.testing.assert_close(rounded, found, rtol=0.1, atol=0.1)


def test_it_goes_on_bit_for_bit_from_where_it_was_saved(tmp_path: Path) -> None:
    trial = seeing(tmp_path, method={"alignment": {"teacher": teacher(tmp_path)}})
    through, resumed = (Learner(trial, IMAGES, workers=Workers()) for _ in range(2))
    for _ in range(2):
        through.update()
    saved = {part: {name: t.clone() for name, t in tensors.items()} for part, tensors in through.parts().items()}
    state = through.state()
    through.update()
    resumed.restore(saved, state)
    resumed.update()
    for part, tensors in through.parts().items():
        assert all(torch.equal(tensor, resumed.parts()[part][name]) for name, tensor in tensors.items())
    assert not any("perceptual" in name for tensors in saved.values() for name in tensors)


@pytest.mark.slow
def test_training_brings_the_image_made_again_nearer_in_the_teacher_s_tokens(tmp_path: Path) -> None:
    def distance(weight: float) -> float:
        trial = seeing(tmp_path, weight=weight, optimiser={"learning_rate": 3e-3}, batch_size=8)
        learner = Learner(trial, IMAGES, workers=Workers())
        for _ in range(25):
            learner.update()
        given, (eye,) = taken(trial, 8), trial.teachers
        with torch.no_grad():
            sides = sight_of(trial, eye, device="cpu")(learner.network(given.x, given.t, given.y)), given.truths["perceptual"]
        return float((1 - F.cosine_similarity(*sides, dim=-1)).mean())

    assert distance(50.0) < 0.9 * distance(1e-6)


def one_of(rank: int, folder: str) -> None:
    """A worker's process: leave the gradients of an update in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORKERS)
    workers, fit = Workers(rank=rank, size=WORKERS), Fit(1, activation_checkpointing=True)
    trial = seeing(Path(folder) / f"teacher-{rank}")
    torch.save(gradients(trial, workers=workers, fit=fit), Path(folder) / f"gradients-{rank}")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_with_micro_batches_of_one_image_have_the_gradients_of_one(tmp_path: Path) -> None:
    spawn(one_of, args=(str(tmp_path),), nprocs=WORKERS)
    first, second = (torch.load(tmp_path / f"gradients-{rank}", weights_only=True) for rank in range(WORKERS))
    assert torch.equal(first, second)
    alone = gradients(seeing(tmp_path / "teacher"))
    assert (first - alone).norm() < 1e-5 * alone.norm()
    assert (alone - gradients(seeing(None))).norm() > 0.01 * alone.norm()


@pytest.mark.slow
@pytest.mark.usefixtures("steps_as_traced")
def test_a_compiled_step_computes_what_an_eager_one_does(tmp_path: Path) -> None:
    eager, compiled = (Learner(seeing(tmp_path, compile=way), IMAGES, workers=Workers()) for way in (False, True))
    for _ in range(3):
        eager.update()
        compiled.update()
    assert compiled.health.mean_loss() == pytest.approx(eager.health.mean_loss(), rel=1e-4)


def test_the_teacher_does_not_judge_and_sees_images(tmp_path: Path) -> None:
    trial, judge = seeing(tmp_path), teacher(tmp_path)
    features = {"kind": "dinov2", "weights": judge["weights"], "sha256": judge["sha256"]}
    with pytest.raises(ValueError, match="must not be the teacher of the term perceptual"):
        check_judge(trial, EvaluationConfig.model_validate({"features": features}))
    check_judge(seeing(None), EvaluationConfig.model_validate({"features": features}))
    with pytest.raises(ValueError, match="the term perceptual shows a teacher images of 1 or 3 channels"):
        TrialConfig.model_validate({**trial.model_dump(), "data": {**trial.data.model_dump(), "channels": 2}})


def test_a_file_of_another_hash_or_size_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    def outcome(**said: Any) -> None:
        own = {"teacher": teacher(tmp_path / "files", **said)}
        plain = assignment(tmp_path / "store", steps=1)
        trial = seeing(None, method={"perceptual": own}, data=plain.trial.data)
        run(plain.model_copy(update={"trial": trial}))

    with pytest.raises(DataError, match="must have SHA-256 0000"):
        outcome(sha256="0" * 64)
    with pytest.raises(DataError, match=r"must say its network's sizes.*got width=128 \(64 in the file\)"):
        outcome(width=128)
