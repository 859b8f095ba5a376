"""Statistics of real images: other tools' files with their traps, ours with what they are of, and large sets streamed."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.trainables.evaluation.test_evaluation import small_set
from trainables.config.evaluation import EvaluationConfig
from trainables.config.features import ReferenceStatistics
from trainables.evaluation import reference
from trainables.evaluation.metrics.frechet import Moments, frechet_distance, moments
from trainables.evaluation.score import Scorer, check_files
from trainables.evaluation.statistics_file import StatisticsRecord, moments_of_npz, npz_of, packed, statistics_of
from trainables.process_caches import clear_process_caches
from trainables.storage.folder import Folder
from trainables.storage.turns import GONE_S, FileTurn

FEATURES = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
OURS = moments(FEATURES)
MU, SIGMA = OURS.mean.numpy(), OURS.covariance.numpy()
RECORD = StatisticsRecord(extractor="efflite0_96", image_size=32, source="a test")


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        npz(mu=MU.astype(np.float32), sigma=SIGMA),  # JiT's, MAR's
        npz(mu=MU, sigma=SIGMA),  # pytorch-fid's
        npz(mu=MU, sigma=SIGMA, mu_s=MU[:3], sigma_s=SIGMA[:3, :3], arr_0=np.zeros((2, 4, 4, 3), np.uint8)),  # ADM's
        npz(mu=MU[None], sigma=SIGMA[None]),
    ],
    ids=["float32 mean", "float64", "with images and spatial ones", "a row"],
)
def test_other_tools_statistics_are_read_to_the_same_distance(content: bytes) -> None:
    found = moments_of_npz(content, where="file.npz", dimensions=6)
    others = FEATURES * 1.5 + 0.25
    assert frechet_distance(others, found) == pytest.approx(frechet_distance(others, OURS), rel=1e-6)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"no npz", "must be an npz with `mu` and `sigma`, of numbers, got file.npz, which is none"),
        (npz(mean=MU), "must be an npz with `mu` and `sigma`, got mean in file.npz"),
        (
            npz(mu=MU, sigma=SIGMA.astype(np.float16)),
            "`sigma` must be float32 or float64, which alone are exact enough, got float16",
        ),
        (npz(mu=MU[:5], sigma=SIGMA[:5, :5]), "must be of 6 features an image, got 5 in file.npz; name their own network"),
        (npz(mu=MU, sigma=SIGMA[:5, :5]), r"must be a mean \[d\] and a covariance \[d, d\], got \[6\] and \[5, 5\]"),
        (npz(mu=MU * np.nan, sigma=SIGMA), "moments must be finite"),
        (npz(mu=MU, sigma=np.triu(SIGMA)), "a covariance must be symmetric"),
        (npz(mu=MU, sigma=-SIGMA), "must be a covariance, got negative variances"),
        (npz(mu=np.array([None] * 6), sigma=SIGMA), "of numbers, got file.npz, which is none"),
    ],
)
def test_a_file_that_cannot_be_statistics_is_refused_in_words(content: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        moments_of_npz(content, where="file.npz", dimensions=6)


def test_what_is_exported_passes_torch_fidelitys_checks_of_shape_and_type() -> None:
    with np.load(io.BytesIO(npz_of(OURS))) as file:
        mu, sigma = file["mu"][:], file["sigma"][:]
    own = FEATURES.numpy()
    mu1, sigma1 = np.mean(own, axis=0), np.cov(own, rowvar=False)  # as it makes its own
    assert mu1.ndim == 1
    assert mu1.shape == mu.shape
    assert mu1.dtype == mu.dtype
    assert sigma1.ndim == 2
    assert sigma1.shape == sigma.shape
    assert sigma1.dtype == sigma.dtype
    np.testing.assert_allclose(mu, mu1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sigma, sigma1, rtol=1e-6, atol=1e-9)


def written(folder: Path, *, of: Moments = OURS, **changes: Any) -> ReferenceStatistics:
    content = packed(of, RECORD.model_copy(update=changes))
    (folder / "statistics").write_bytes(content)
    return ReferenceStatistics(file=str(folder / "statistics"), sha256=hashlib.sha256(content).hexdigest())


def test_our_file_gives_back_its_moments_with_their_root_and_equal_ones_are_equal_bytes(tmp_path: Path) -> None:
    found = statistics_of(written(tmp_path), extractor="efflite0_96", image_size=32)
    assert torch.equal(found.mean, OURS.mean)
    assert torch.equal(found.covariance, OURS.covariance)
    assert "root" in vars(found)
    assert torch.equal(found.root, OURS.root)
    assert packed(found, RECORD) == packed(OURS, RECORD)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"extractor": "inception_6726825d0af5"}, "extractor efflite0_96, got extractor inception_6726825d0af5 in"),
        ({"image_size": 64}, "image_size 32, got image_size 64 in"),
    ],
)
def test_statistics_of_other_features_or_images_are_refused_by_the_field(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    evaluation = EvaluationConfig(n=4, reference=written(tmp_path, **changes))
    with pytest.raises(ValueError, match=fault):
        check_files(evaluation, small_set(tmp_path))


def test_a_changed_or_foreign_file_is_refused(tmp_path: Path) -> None:
    config = written(tmp_path)
    Path(config.file).write_bytes(b"other")
    with pytest.raises(ValueError, match=f"`reference` must have SHA-256 {config.sha256}"):
        statistics_of(config, extractor="efflite0_96", image_size=32)
    foreign = config.model_copy(update={"sha256": hashlib.sha256(b"other").hexdigest()})
    with pytest.raises(ValueError, match="must be a file that `stats import` wrote"):
        statistics_of(foreign, extractor="efflite0_96", image_size=32)


def test_a_score_s_identity_has_the_statistics_and_not_their_place(tmp_path: Path) -> None:
    config = written(tmp_path)
    ids = {
        EvaluationConfig(reference=each).id for each in (config, config.model_copy(update={"file": "s3://bucket/elsewhere"}))
    }
    assert len(ids) == 1
    assert EvaluationConfig().id not in ids
    assert EvaluationConfig(reference=config.model_copy(update={"sha256": "0" * 64})).id not in ids


def test_frechet_distances_alone_are_to_the_given_statistics(tmp_path: Path) -> None:
    images = small_set(tmp_path)
    plain = Scorer(images, cache=None)
    heldout = plain._real["efflite0"].heldout.features
    given = Scorer(images, cache=None, reference=written(tmp_path, of=moments(heldout)))
    sampled = images.read(images.train[:4])
    before, after = plain.score(sampled), given.score(sampled)
    assert after["fd_efflite0_96"] == pytest.approx(before["fd_efflite0_96_heldout"])
    assert after["fd_efflite0_96"] != pytest.approx(before["fd_efflite0_96"])
    others = before.keys() - {"fd_efflite0_96"}
    assert {name: after[name] for name in others} == {name: before[name] for name in others}
    assert given.rows(4)["white images"]["fd_efflite0_96"] != plain.rows(4)["white images"]["fd_efflite0_96"]


def test_a_large_training_split_keeps_some_features_and_the_moments_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, cache = small_set(tmp_path), str(tmp_path / "cache")
    whole = reference.references(images, under="efflite0", cache=None).train
    monkeypatch.setattr(reference, "MOST_KEPT", 4)
    monkeypatch.setattr(reference, "_READ_AT_ONCE", 3)
    for _ in range(2):  # computed, then read
        clear_process_caches()
        large = reference.references(images, under="efflite0", cache=cache).train
        torch.testing.assert_close(large.features, whole.features[::2])
        torch.testing.assert_close(large.once(moments).covariance, moments(whole.features).covariance)


def test_who_comes_second_waits_for_the_first_and_finds_what_it_made(tmp_path: Path) -> None:
    folder, waits = Folder(str(tmp_path)), list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            folder.put("thing", b"made")
            first.over()

    def found() -> bytes | None:
        return folder.read("thing") if folder.has("thing") else None

    first, second = FileTurn(folder, "thing"), FileTurn(folder, "thing", wait=wait)
    assert first.taken(found) is None
    assert second.taken(found) == b"made"
    assert len(waits) == 3


def test_a_turn_that_is_renewed_lasts_and_one_that_is_not_is_taken_over(tmp_path: Path) -> None:
    folder, now = Folder(str(tmp_path)), [0.0]
    first = FileTurn(folder, "thing", clock=lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += 20
        if now[0] <= 200:
            first.beat()

    assert first.taken(lambda: None) is None
    assert FileTurn(folder, "thing", clock=lambda: now[0], wait=wait).taken(lambda: None) is None
    assert 200 + GONE_S < now[0] <= 300 + GONE_S
