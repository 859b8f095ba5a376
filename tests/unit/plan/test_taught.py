"""Sweeps whose loss learns from a teacher: what the file says of it, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.home import on_this_machine
from jit_sweep.spec.read import read_spec
from tests.support.sweep_files import tiny_sweep, write_sweep
from tests.support.teachers import representation, teacher
from tests.unit.plan.test_plan import planned


def taught(folder: Path, **teacher: Any) -> dict[str, Any]:
    """The tiny sweep's baseline with a teacher."""
    term = representation(folder)
    return {**tiny_sweep()["baseline"], "diffusion": {"terms": [{**term, "teacher": {**term["teacher"], **teacher}}]}}


def test_a_sweep_varies_the_weight_of_a_teacher_s_tokens_and_leaves_them_out(tmp_path: Path) -> None:
    axes = {"term.representation": [0, 0.5, 2.0]}
    plan = planned(tmp_path, baseline=taught(tmp_path), stages=[{"grid": {"axes": axes, "seeds": 1}}])
    weights = [[term.weight for term in entry.trial.diffusion.terms] for entry in plan.entries]
    assert sorted(weights) == [[], [0.5], [2.0]]
    plain = planned(tmp_path, stages=[{"grid": {"axes": {"prediction": ["x"]}, "seeds": 1}}])
    assert plain.entries[0].trial.id in {entry.trial.id for entry in plan.entries}


def test_a_sweep_that_is_scored_by_its_own_teacher_is_refused_by_name(tmp_path: Path) -> None:
    baseline = taught(tmp_path)
    features = {
        "kind": "vit",
        "weights": "a-copy.safetensors",
        "sha256": baseline["diffusion"]["terms"][0]["teacher"]["sha256"],
    }
    scored = {"evaluation": {**tiny_sweep()["evaluation"], "features": features}, "objective": "heldout_v_error"}
    with pytest.raises(UserError, match=r"must not be the teacher of the term representation, got weights with SHA-256"):
        planned(tmp_path, baseline=baseline, **scored)
    planned(tmp_path, **scored)


def test_a_teacher_s_file_means_the_same_from_every_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    spec = read_spec(write_sweep(tmp_path, baseline=taught(tmp_path, weights="teacher.safetensors")))
    placed = on_this_machine(spec)
    assert placed.baseline.diffusion["terms"][0]["teacher"]["weights"] == str(tmp_path / "teacher.safetensors")
    assert on_this_machine(placed) == placed
    plain = read_spec(write_sweep(tmp_path))
    assert on_this_machine(plain).baseline == plain.baseline


def autoencoding(folder: Path, **said: Any) -> dict[str, Any]:
    """An autoencoder's baseline with one teacher for both of its terms."""
    own = {"teacher": teacher(folder, **said)}
    return {"preset": "autoencoder-tiny", "batch_size": 8, "method": {"alignment": own, "perceptual": own}}


def test_a_sweep_varies_the_weight_of_a_perceptual_term_and_leaves_it_out(tmp_path: Path) -> None:
    scored = {"objective": "heldout_reconstruction_error"}

    def ids(given: dict[str, Any], **axes: Any) -> dict[float | None, str]:
        plan = planned(tmp_path, baseline=given, stages=[{"grid": {"axes": axes, "seeds": 1}}], **scored)
        terms = [(entry.trial.method.model_dump()["perceptual"], entry.trial.id) for entry in plan.entries]
        return {term and term["weight"]: trial for term, trial in terms}

    both = autoencoding(tmp_path)
    weighed = ids(both, perceptual=[0, 0.5, 2.0])
    assert {*weighed} == {None, 0.5, 2.0}
    assert len({*weighed.values()}) == 3
    without = {**both, "method": {"alignment": both["method"]["alignment"]}}
    assert ids(without, prediction=["x"]) == {None: weighed[None]}


def test_the_teachers_of_an_autoencoder_mean_the_same_from_every_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    placed = on_this_machine(read_spec(write_sweep(tmp_path, baseline=autoencoding(tmp_path, weights="teacher.safetensors"))))
    found = {kind: placed.baseline.method[kind]["teacher"]["weights"] for kind in ("alignment", "perceptual")}
    assert set(found.values()) == {str(tmp_path / "teacher.safetensors")}


def test_a_term_without_its_teacher_is_refused_with_the_form(tmp_path: Path) -> None:
    axes = {"term.representation": [0, 0.5]}
    with pytest.raises(UserError, match=r"the term representation needs its teacher, got none; try \{kind: representation"):
        planned(tmp_path, stages=[{"grid": {"axes": axes, "seeds": 1}}])
