"""Codes as what a network sees: encoded once, trained on as any images are, and decoded where images are scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from jit_sweep.errors import UserError
from jit_sweep.models.images import images_of
from jit_sweep.models.model_folder import AUTOENCODER, CONFIG, WEIGHTS, ModelFolderConfig, load_network, read_config
from jit_sweep.models.official import require_official
from tests.support.networks import goes_on_bit_for_bit
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import small_model, small_trial
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.space import LatentSpace
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import DataError, describe, open_images
from trainables.data.pixels import to_pixels, to_unit
from trainables.evaluation.generate import generate
from trainables.evaluation.held_out import held_out
from trainables.evaluation.metrics.registry import METRICS, RUNG_METRICS
from trainables.networks.autoencoder import Autoencoder
from trainables.networks.latent import CodeStatistics, Latent, at_once, autoencoder_of, told
from trainables.process_caches import clear_process_caches
from trainables.report import Ended, Rung, Scored
from trainables.train import train
from trainables.training.batches import Batches
from trainables.training.encoders import encoder_weights, kept_autoencoder, latent_of, latents_folder
from trainables.training.latents import Latents, latents_of, stand_in
from trainables.training.learner import Learner
from trainables.training.workers import Workers

pytestmark = pytest.mark.usefixtures("one_thread")
WHERE: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT}
IMAGES = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
DESCRIBED = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
DATA = DataConfig(digest=DESCRIBED.digest, image_size=32, num_classes=DESCRIBED.num_classes)
TRUNK: dict[str, Any] = {"kind": "autoencoder", "width": 32, "multipliers": (1, 1, 1)}
OWN = RUNG_METRICS["latent"]


def encoding(code: str = "kl") -> TrialConfig:
    model = small_model(class_tokens=0, trunk={**TRUNK, "code": {"kind": code}})
    return small_trial(model, data=DATA, method={"kind": "autoencoder"}, batch_size=8, optimiser={"learning_rate": 2e-3})


def latent(encoder: TrialConfig, *, space: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    """A denoiser on the codes that an encoder's 16 images have taught it."""
    named = {"kind": "trial", "trial": encoder.id, "images": 16, "weights": "ema"}
    given = {"kind": "latent", "encoder": named, "trunk": encoder.model.trunk, **(space or {})}
    model = changes.pop("model", small_model(patch_size=2, depth=2, class_tokens=0))
    return small_trial(model, data=DATA, **{"space": given, "batch_size": 8, "optimiser": {"learning_rate": 2e-3}, **changes})


@pytest.fixture(scope="module", params=["kl", "vq"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialConfig, str]:
    """An autoencoder's trial, and the storage with its checkpoint."""
    storage, trial = str(tmp_path_factory.mktemp("store")), encoding(request.param)
    *_, ended = train(Assignment(trial=trial, images=16, evaluations=(), storage=storage, **WHERE))
    assert isinstance(ended, Ended)
    return trial, storage


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    clear_process_caches()


def codes_of(trial: TrialConfig, storage: str) -> Latents:
    found = latents_of(trial, IMAGES, storage)
    assert found is not None
    return found


def test_the_training_split_is_encoded_once_with_its_mirror_images(trained: tuple[TrialConfig, str]) -> None:
    encoder, storage = trained
    trial, heard = latent(encoder), list[int]()
    first = latents_of(trial, IMAGES, storage, encoded=lambda done, _of: heard.append(done))
    clear_process_caches()
    heard.clear()
    again = latents_of(trial.model_copy(update={"seed": 1}), IMAGES, storage, encoded=lambda done, _of: heard.append(done))
    assert first is not None
    assert again is not None
    assert heard == []
    places = np.array([5, 0, 3])
    pixels = to_unit(IMAGES.read(IMAGES.train[places]))
    network = autoencoder_of(trial, encoder_weights(trial, storage), device="cpu")
    wanted = torch.stack([told(network, pixels), told(network, pixels.flip(-1).contiguous())], dim=1)
    torch.testing.assert_close(again.read(places), wanted, rtol=1e-4, atol=1e-5)
    assert again.read(places).equal(first.read(places))


def test_codes_are_normalised_by_what_they_measure(trained: tuple[TrialConfig, str]) -> None:
    encoder, storage = trained
    whole = codes_of(latent(encoder), storage).read(np.arange(len(IMAGES.train))).flatten(0, 1)
    means = whole[:, :4]
    space = codes_of(latent(encoder), storage).space
    seen = space.seen(whole, None)
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen.var((0, 2, 3), correction=0), torch.ones(4), rtol=1e-3, atol=0)
    torch.testing.assert_close(space.mean_code, seen.mean(0), rtol=0, atol=1e-4)
    given = codes_of(latent(encoder, space={"mean": (1.0,) * 4, "std": (2.0,) * 4}), storage).space
    torch.testing.assert_close(given.seen(whole, None), (means - 1) / 2)


def test_down_undoes_up_as_far_as_the_autoencoder_does(trained: tuple[TrialConfig, str]) -> None:
    encoder, storage = trained
    trial = latent(encoder)
    space, network = codes_of(trial, storage).space, autoencoder_of(trial, encoder_weights(trial, storage), device="cpu")
    x = to_unit(IMAGES.read(IMAGES.heldout))
    with torch.no_grad():
        torch.testing.assert_close(space.down(space.up(x)), network.decoded(network.encoded(x)), rtol=1e-3, atol=1e-4)


def test_a_sample_is_not_quantised_where_that_is_not_asked_for() -> None:
    """By the axis latent_quantise."""
    trial = latent(encoding("vq"))
    left = latent(encoding("vq"), space={"quantise": False})
    spaces = [stand_in(each, IMAGES).space for each in (trial, left)]
    codes = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    entries, as_they_are = (space.down(codes) for space in spaces)
    assert not torch.allclose(entries, as_they_are)


def batches(trial: TrialConfig, latents: Latents) -> Batches:
    return Batches(trial, IMAGES, device=torch.device("cpu"), latents=latents)


def test_a_batch_is_of_codes_turned_and_drawn_by_the_number_of_the_image(trained: tuple[TrialConfig, str]) -> None:
    """Drawn by the axis latent_sample."""
    encoder, storage = trained
    still = latent(encoder)
    latents = codes_of(still, storage)
    whole = batches(still, latents).take(0, 8)
    halves = [batches(still, latents).take(first, 4).x for first in (0, 4)]
    assert whole.x.shape == (8, 4, 8, 8)
    assert torch.cat(halves).equal(whole.x)
    unturned = still.model_copy(update={"data": DATA.model_copy(update={"flip": False})})
    turned = (batches(unturned, latents).take(0, 8).x != whole.x).flatten(1).any(1)
    assert 0 < turned.sum() < 8
    if encoder.model.trunk.model_dump()["code"]["kind"] == "vq":
        return
    drawn = latent(encoder, space={"sample": "draw"})
    one, other = (batches(drawn, codes_of(drawn, storage)).take(first, 8).x for first in (0, 0))
    assert one.equal(other)
    assert not one.equal(whole.x)


def test_it_goes_on_bit_for_bit_from_where_it_was_saved(trained: tuple[TrialConfig, str]) -> None:
    trial = latent(trained[0], space={"sample": "mean"})
    latents = codes_of(trial, trained[1])
    through, resumed = (Learner(trial, IMAGES, workers=Workers(), latents=latents) for _ in range(2))
    goes_on_bit_for_bit(through, resumed)


class AlwaysTheMean(nn.Module):
    """Answers the mean code."""

    def __init__(self, code: Tensor) -> None:
        super().__init__()
        self.code = code

    def forward(self, z: Tensor, _t: Tensor, _y: Tensor) -> Tensor:
        return self.code.expand_as(z)


def test_the_mean_codes_error_is_that_of_who_always_answers_it(trained: tuple[TrialConfig, str]) -> None:
    trial = latent(trained[0])
    space = codes_of(trial, trained[1]).space
    grid = held_out(trial, IMAGES, space=space)
    error = METRICS[OWN].of_network(grid, AlwaysTheMean(space.mean_code), trial)
    assert error == pytest.approx(grid.mean_image_error, rel=1e-4)


@pytest.mark.slow
def test_a_denoiser_of_codes_is_trained_scored_and_learns(trained: tuple[TrialConfig, str]) -> None:
    encoder, storage = trained
    how = EvaluationConfig(n=8, sampler="euler", steps=2, t_eps_sample=0.05, weights="ema")
    work = Assignment(
        trial=latent(encoder), images=160, rungs=(8, 160), rung_metric=OWN, evaluations=(how,), storage=storage, **WHERE
    )
    reports = [*train(work)]
    first, last = (report.values[OWN] for report in reports if isinstance(report, Rung))
    assert last < first
    [scored] = [report for report in reports if isinstance(report, Scored)]
    assert {OWN, "fd_efflite0_96"} <= scored.values.keys()
    assert not {"heldout_v_error", "heldout_reconstruction_error"} & scored.values.keys()


@pytest.mark.slow
def test_masked_tokens_are_codes_as_they_are_pixels(trained: tuple[TrialConfig, str]) -> None:
    encoder, storage = trained
    trunk = {"kind": "masked_autoencoder", "class_copies": 2, "head_width": 64, "head_blocks": 2}
    trial = latent(
        encoder, model=small_model(patch_size=1, depth=2, class_tokens=0, trunk=trunk), method={"kind": "masked_tokens"}
    )
    assert (trial.grid, trial.token_dim, trial.noise_shape) == (8, 4, (4, 64, 4))
    how, own = EvaluationConfig(n=8, steps=4, head_steps=10, guidance=2.0), RUNG_METRICS["masked_tokens"]
    work = Assignment(trial=trial, images=160, rungs=(8, 160), rung_metric=own, evaluations=(how,), storage=storage, **WHERE)
    reports = [*train(work)]
    first, last = (report.values[own] for report in reports if isinstance(report, Rung))
    assert last < 0.9 * first
    [scored] = [report for report in reports if isinstance(report, Scored)]
    assert {own, "fd_efflite0_96"} <= scored.values.keys()


def test_samples_are_decoded_by_the_file_that_goes_with_a_model(trained: tuple[TrialConfig, str]) -> None:
    trial = latent(trained[0])
    learner = Learner(trial, IMAGES, workers=Workers(), latents=codes_of(trial, trained[1]))
    learner.update()
    how, labels = EvaluationConfig(n=4, sampler="euler", steps=2), torch.tensor([0, 1, 0, 1])
    drawn = generate(learner.network, trial, how, labels)
    assert drawn.shape == (4, 3, 32, 32)
    learner.network.space = latent_of(trial, kept_autoencoder(trial, trained[1]), device="cpu")
    assert generate(learner.network, trial, how, labels).equal(drawn)


def test_a_model_that_a_gpu_has_trained_is_read_on_the_cpu(trained: tuple[TrialConfig, str], tmp_path: Path) -> None:
    trial = latent(trained[0])
    learner = Learner(trial, IMAGES, workers=Workers(), latents=codes_of(trial, trained[1]))
    of_gpu = trial.model_copy(update={"device": "cuda"})
    how = EvaluationConfig(n=2, sampler="euler", steps=2)
    (tmp_path / CONFIG).write_text(ModelFolderConfig(trial=of_gpu, evaluation=how).model_dump_json())
    save_file({name: tensor.contiguous() for name, tensor in learner.network.state_dict().items()}, tmp_path / WEIGHTS)
    (tmp_path / AUTOENCODER).write_bytes(kept_autoencoder(trial, trained[1]))
    labels = torch.tensor([0, 1])
    drawn = images_of(load_network(tmp_path), read_config(tmp_path), guide=None, n=2, seed=how.seed, labels=labels)
    assert drawn.equal(generate(learner.network, trial, how, labels))
    (tmp_path / AUTOENCODER).unlink()
    with pytest.raises(UserError, match="a champion's files must fit"):
        load_network(tmp_path)


def test_the_official_code_has_no_codes() -> None:
    with pytest.raises(UserError, match=r"got .*space=latent \(official: pixels\)"):
        require_official(latent(encoding()))


def test_an_autoencoder_of_a_file_is_the_same_as_the_trials(trained: tuple[TrialConfig, str], tmp_path: Path) -> None:
    import hashlib

    encoder, storage = trained
    path = tmp_path / "autoencoder.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in encoder_weights(latent(encoder), storage).items()}, path)
    named = {"kind": "file", "weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    of_file = latent(encoder, space={"encoder": named})
    places = np.arange(4)
    assert codes_of(of_file, str(tmp_path)).read(places).equal(codes_of(latent(encoder), storage).read(places))
    moved = {**named, "weights": "elsewhere.safetensors"}
    assert latent(encoder, space={"encoder": moved}).id == of_file.id != latent(encoder).id


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ({"images": 24}, "`space.encoder` must have a whole checkpoint at 24 images in the trial's storage, got 16 images"),
        ({"trial": "0" * 12}, "got none of 000000000000; train it there"),
        ({"weights": "slow"}, "`space.encoder.weights` must name weights of"),
    ],
)
def test_an_encoder_that_is_not_there_is_refused(trained: tuple[TrialConfig, str], encoder: dict[str, Any], said: str) -> None:
    trial = latent(trained[0])
    assert isinstance(trial.space, LatentSpace)
    named = {**trial.space.encoder.model_dump(), **encoder}
    with pytest.raises(DataError, match=said):
        latents_of(latent(trained[0], space={"encoder": named}), IMAGES, trained[1])


def test_weights_of_another_network_than_the_trunk_are_refused(trained: tuple[TrialConfig, str]) -> None:
    encoder, storage = trained
    trunk = {**encoder.model.trunk.model_dump(), "blocks": 2}
    with pytest.raises(DataError, match=r"`space.trunk` must be the network whose weights `space.encoder` names, got a diff"):
        latents_of(latent(encoder, space={"trunk": trunk}), IMAGES, storage)


def test_codes_that_are_damaged_are_told_with_their_place(trained: tuple[TrialConfig, str], tmp_path: Path) -> None:
    encoder, storage = trained
    trial = latent(encoder, space={"mean": (0.0,) * 4})
    codes_of(trial, storage)
    clear_process_caches()
    folder = Path(latents_folder(trial, storage).uri)
    manifest = folder / "codes.json"
    whole = manifest.read_text()
    [shard] = json.loads(whole)["shards"]
    content = (folder / shard["name"]).read_bytes()
    try:
        (folder / shard["name"]).write_bytes(content[:-1])
        with pytest.raises(DataError, match="delete that folder"):
            codes_of(trial, storage)
        (folder / shard["name"]).write_bytes(content)
        manifest.write_text(whole[:-20])
        with pytest.raises(DataError, match="the record of encoded images must be whole"):
            codes_of(trial, storage)
    finally:
        (folder / shard["name"]).write_bytes(content)
        manifest.write_text(whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"diffusion": {"dimensions": 64}}, "dimensions=64"),
        ({"diffusion": {"path": {"kind": "staged", "stages": 2}}}, "path=staged"),
        ({"diffusion": {"terms": [{"kind": "frequency"}]}}, "term.frequency"),
        ({"graphs": True, "device": "cuda"}, "graphs=true"),
        ({"model": small_model(patch_size=3)}, "`patch_size` must divide the side of the code"),
        ({"space": {"kind": "latent", "encoder": {"kind": "stage", "stage": "codes"}}}, "only a sweep file knows its stages"),
    ],
)
def test_what_codes_have_not_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        latent(encoding(), **changes)


def test_a_space_that_contradicts_its_code_is_refused() -> None:
    with pytest.raises(ValueError, match="`sample` draw needs a Gaussian code, got code=vq"):
        latent(encoding("vq"), space={"sample": "draw"})
    with pytest.raises(ValueError, match="`mean` must have a number for each channel of the code, got 1, code_channels=4"):
        latent(encoding(), space={"mean": (0.0,)})


def test_pixels_are_the_space_that_ids_leave_out() -> None:
    plain = small_trial(small_model(), data=DATA)
    assert small_trial(small_model(), data=DATA, space={"kind": "pixels"}).id == plain.id
    assert latent(encoding()).id != latent(encoding("vq")).id


def test_a_network_whose_autoencoder_nobody_has_read_draws_nothing() -> None:
    from trainables.networks.registry import build

    network, trial = build(latent(encoding())), latent(encoding())
    with pytest.raises(RuntimeError, match="must be read before its codes are"):
        generate(network, trial, EvaluationConfig(n=2, sampler="euler", steps=2), torch.tensor([0, 1]))


def test_statistics_of_codes_stay_with_the_autoencoder() -> None:
    trial = latent(encoding())
    space = stand_in(trial, IMAGES).space
    codes = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert isinstance(trial.space, LatentSpace)
    twice = CodeStatistics(torch.zeros(4), torch.full((4,), 2.0), torch.zeros(4, 8, 8))
    wide = Latent(trial.space, space._autoencoder, twice)
    torch.testing.assert_close(wide.down(codes), space.down(2 * codes))
    assert to_pixels(wide.down(codes)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(("side", "count"), [(32, 64), (1024, 2)])
def test_large_images_go_through_an_autoencoder_a_few_at_a_time(side: int, count: int) -> None:
    trial = encoding().model_copy(update={"data": DATA.model_copy(update={"image_size": side})})
    with torch.device("meta"):
        assert at_once(Autoencoder(trial)) == count
