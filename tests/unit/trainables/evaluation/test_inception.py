"""The Inception network of 2015 against torch-fidelity's numbers, and what the file of its weights must be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from tests.support.inception import SCORES, digest_of, random_weights, saved
from trainables.config.evaluation import EvaluationConfig
from trainables.config.features import INCEPTION_SHA256, InceptionFeatures, extractor_name
from trainables.evaluation.features.from_file import from_file
from trainables.evaluation.features.inception import Inception2015, inception_of, resized
from trainables.evaluation.features.weights import state_dict_of
from trainables.evaluation.metrics.registry import metrics_under

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def network() -> Inception2015:
    return inception_of(random_weights())


def relative_error(ours: Tensor, theirs: NDArray[np.float32]) -> float:
    golden = torch.from_numpy(theirs)
    return float((ours - golden).abs().max() / golden.abs().max())


def images_at(size: int) -> Tensor:
    images = torch.from_numpy(SCORES["images"]).permute(0, 3, 1, 2).long()
    if size == 32:
        return ((images.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5)) + 2) // 4).float()
    places = torch.arange(size) * 64 // size
    return images[:, :, places][:, :, :, places].float()


def test_the_random_weights_are_those_of_the_golden_file() -> None:
    assert digest_of(random_weights()) == str(SCORES["weights_sha256"])


@pytest.mark.parametrize("shape", [(11, 13), (3, 4), (17, 299), (5, 7)])
def test_images_are_resized_as_tensorflow_1_did(shape: tuple[int, int]) -> None:
    found = resized(torch.from_numpy(SCORES["resize_in"]), *shape)
    np.testing.assert_allclose(found, SCORES[f"resize_{shape[0]}x{shape[1]}"], atol=2e-4)


@torch.inference_mode()
@pytest.mark.parametrize("size", [32, 64, 299])
def test_features_and_logits_are_torch_fidelitys(network: Inception2015, size: int) -> None:
    found = network(images_at(size))
    assert relative_error(found, SCORES[f"pool_{size}"][:2]) < TOLERANCE
    assert relative_error(network.fc(found), SCORES[f"logits_{size}"]) < TOLERANCE
    torch.testing.assert_close(network.unbiased_logits(found), network.fc(found) - network.fc.bias, atol=1e-3, rtol=1e-4)


def test_the_extractor_reads_pixels_from_a_checked_file(tmp_path: Path, network: Inception2015) -> None:
    file = tmp_path / "weights.pth"
    images = torch.from_numpy(SCORES["images"]).permute(0, 3, 1, 2)[:1]
    extractor = from_file(InceptionFeatures(weights=str(file), sha256=saved(random_weights(), file)))
    with torch.inference_mode():
        torch.testing.assert_close(extractor.features(images), network(images.float()))


def test_a_file_of_another_hash_is_refused_with_both(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    found = saved({"fc.bias": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=f"must have SHA-256 {INCEPTION_SHA256}, got {found} in .*weights.pth; fetch it again"):
        state_dict_of(str(file), sha256=INCEPTION_SHA256)


def test_a_remote_file_is_fetched_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    (tmp_path / "machine").mkdir()
    import fsspec

    file, remote = tmp_path / "weights.pth", "memory://weights/inception.pth"
    digest = saved({"fc.bias": torch.ones(3)}, file)
    fsspec.filesystem("memory").pipe_file("/weights/inception.pth", file.read_bytes())
    first = state_dict_of(remote, sha256=digest)
    fsspec.filesystem("memory").rm_file("/weights/inception.pth")
    assert first["fc.bias"].equal(state_dict_of(remote, sha256=digest)["fc.bias"])


class Loud:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("ran",))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "weights.pth"
    digest = saved({"fc.bias": Loud()}, file)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="must be a .safetensors file, or a state dict that torch.save wrote"):
        state_dict_of(str(file), sha256=digest)
    assert capsys.readouterr().out == ""


def test_weights_of_another_classifier_are_refused_by_the_first_name_that_differs() -> None:
    weights = random_weights()
    other = {**weights, "fc.weight": torch.zeros(1000, 2048)}
    with pytest.raises(ValueError, match=r"whose fc.weight is \[1008, 2048\], got \[1000, 2048\]"):
        inception_of(other)
    with pytest.raises(ValueError, match="whose AuxLogits.fc.bias is absent, got"):
        inception_of({**weights, "AuxLogits.fc.bias": torch.zeros(4)})


TOWERS = {
    "branch1x1": "conv",
    "branch5x5_1": "tower.conv",
    "branch5x5_2": "tower.conv_1",
    "branch7x7_1": "tower.conv",
    "branch7x7_2": "tower.conv_1",
    "branch7x7_3": "tower.conv_2",
    "branch3x3dbl_1": "tower_1.conv",
    "branch3x3dbl_2": "tower_1.conv_1",
    "branch3x3dbl_3": "tower_1.conv_2",
    **{f"branch7x7dbl_{place}": f"tower_1.conv_{place - 1}".removesuffix("_0") for place in range(1, 6)},
    "branch_pool": "tower_2.conv",
}
"""A block's branches in TensorFlow's graph."""
TO_17 = {
    "branch3x3": "conv",
    "branch3x3dbl_1": "tower.conv",
    "branch3x3dbl_2": "tower.conv_1",
    "branch3x3dbl_3": "tower.conv_2",
}
TO_8 = {
    "branch3x3_1": "tower.conv",
    "branch3x3_2": "tower.conv_1",
    **{f"branch7x7x3_{place}": f"tower_1.conv_{place - 1}".removesuffix("_0") for place in range(1, 5)},
}
AT_8 = {
    "branch1x1": "conv",
    "branch3x3_1": "tower.conv",
    "branch3x3_2a": "tower.mixed.conv",
    "branch3x3_2b": "tower.mixed.conv_1",
    "branch3x3dbl_1": "tower_1.conv",
    "branch3x3dbl_2": "tower_1.conv_1",
    "branch3x3dbl_3a": "tower_1.mixed.conv",
    "branch3x3dbl_3b": "tower_1.mixed.conv_1",
    "branch_pool": "tower_2.conv",
}
STEM = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
BLOCKS = [f"Mixed_{place}" for place in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")]
LEAVES = {"conv.weight": "weight", "bn.weight": "gamma", "bn.bias": "beta", "bn.running_mean": "mean", "bn.running_var": "var"}


def nvidia_name(name: str) -> str | None:
    """What a tensor is called in TensorFlow's graph; None where it has none."""
    if name.startswith("fc."):
        return name.replace("fc", "output")
    module, leaf = name.split(".")[0], ".".join(name.split(".")[-2:])
    if leaf not in LEAVES:
        return None
    if module in STEM:
        return f"layers.conv_{STEM.index(module)}.{LEAVES[leaf]}".replace("conv_0", "conv")
    block, branch = BLOCKS.index(module), name.split(".")[1]
    towers = TO_17 if block == 3 else TO_8 if block == 8 else AT_8 if block > 8 else TOWERS
    return f"layers.mixed_{block}.".replace("mixed_0", "mixed") + f"{towers[branch]}.{LEAVES[leaf]}"


def test_weights_by_nvidias_names_are_the_same_network(network: Inception2015) -> None:
    renamed = {known: tensor for name, tensor in random_weights().items() if (known := nvidia_name(name)) is not None}
    assert len(renamed) == 94 * 5 + 2
    shuffled = dict(sorted(renamed.items(), key=lambda item: item[0][::-1]))  # a file's own order
    loaded = inception_of(shuffled).state_dict()
    assert [name for name, tensor in network.state_dict().items() if not torch.equal(loaded[name], tensor)] == []


def test_a_file_by_nvidias_names_may_leave_scales_of_one_out_and_no_convolution() -> None:
    renamed = {known: tensor for name, tensor in random_weights().items() if (known := nvidia_name(name)) is not None}
    unscaled = {name: tensor for name, tensor in renamed.items() if not name.endswith("gamma")}
    assert (inception_of(unscaled).Mixed_7c.branch_pool.bn.weight == 1).all()
    fewer = {name: tensor for name, tensor in unscaled.items() if not name.startswith("layers.mixed_10")}
    with pytest.raises(ValueError, match="must have the 94 convolutions of the Inception network of 2015, got 85; give that"):
        inception_of(fewer)


def test_only_the_published_weights_make_it_fid() -> None:
    published = InceptionFeatures(weights="inception.pth")
    other = InceptionFeatures(weights="inception.pth", sha256="0" * 64)
    named = [{metric.name for metric in metrics_under(features, n=384)} for features in (published, other)]
    assert {"fid", "fid_heldout", "kid", "inception_score", "heldout_v_error"} <= named[0]
    assert {"fd_inception", "fd_inception_heldout", "kid_inception", "heldout_v_error"} <= named[1]
    assert {"fid", "inception_score"} & named[1] == {"fd_inception", "fd_efflite0_96"} & named[0] == set()
    assert (extractor_name(published), extractor_name(other)) == ("inception", "inception_other")


def test_a_score_s_identity_has_the_weights_content_and_not_their_place() -> None:
    here, there = (EvaluationConfig(features=InceptionFeatures(weights=place)) for place in ("a.pth", "s3://b/a.pth"))
    other = EvaluationConfig(features=InceptionFeatures(weights="a.pth", sha256="0" * 64))
    assert here.id == there.id
    assert len({here.id, other.id, EvaluationConfig().id}) == 3


def test_a_network_by_its_bare_name_is_told_to_bring_its_weights() -> None:
    with pytest.raises(
        ValidationError, match=r"`features` inception needs its weights, got none; try \{kind: inception, weights: FILE\}"
    ):
        EvaluationConfig.model_validate({"features": "inception"})
