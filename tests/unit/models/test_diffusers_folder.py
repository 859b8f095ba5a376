"""A model's folder as a pipeline of diffusers."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from jit_sweep.errors import UserError
from jit_sweep.models.diffusers_folder import export_diffusers
from jit_sweep.models.images import images_of
from jit_sweep.models.model_folder import CONFIG, WEIGHTS, ModelFolderConfig, load_network, read_config
from tests.support.trials import lively, small_trial
from trainables.config.evaluation import EvaluationConfig


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder, as `export` writes it."""
    folder, trial = tmp_path / "model", small_trial()
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in lively(trial).state_dict().items()}, folder / WEIGHTS)
    config = ModelFolderConfig(trial=trial, evaluation=EvaluationConfig(n=8, steps=3))
    (folder / CONFIG).write_text(config.model_dump_json())
    return folder


def test_the_folder_has_what_the_index_names_and_the_model_as_it_is(model: Path, tmp_path: Path) -> None:
    written = export_diffusers(model, tmp_path / "out")
    assert written == [
        "model_index.json",
        "network/config.json",
        "network/model.safetensors",
        "network/network.py",
        "pipeline.py",
    ]
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    for module, name in (index["_class_name"], index["network"]):
        (file,) = (tmp_path / "out").rglob(f"{module}.py")
        assert f"class {name}(" in file.read_text()
    for file in model.iterdir():
        assert (tmp_path / "out" / "network" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_what_is_no_model_s_folder_is_refused_and_nothing_is_written(model: Path, tmp_path: Path, missing: str) -> None:
    (model / missing).unlink()
    with pytest.raises(UserError, match=f"a model's folder must hold a {missing}"):
        export_diffusers(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_as_it_is(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be new or empty"):
        export_diffusers(model, model)


@pytest.mark.slow
def test_diffusers_loads_it_and_draws_the_images_of_sample(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    diffusers = pytest.importorskip("diffusers")
    export_diffusers(model, tmp_path / "out")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(str(tmp_path / "out"), trust_remote_code=True)
    drawn = pipeline(n=5, seed=3, output_type="np").images
    wanted = images_of(load_network(model), read_config(model), guide=None, n=5, seed=3).permute(0, 2, 3, 1).numpy() / 255
    assert abs(drawn - wanted).max() < 1e-6
    assert [image.size for image in pipeline([0, 1, 1]).images] == [(16, 16)] * 3
