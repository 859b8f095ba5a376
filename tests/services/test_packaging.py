"""The wheel: what it holds, and that it works away from the checkout. The set-up's refusals, each one line and exit 2."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.submit.package import PACKAGES, copy_source
from tests.support.paths import TOP
from tests.support.sweep_files import tiny_sweep
from trainables.assignment import Assignment

PACKAGED = (
    "trainables/data/emoji32.npz",
    "trainables/data/emoji32.json",
    "trainables/data/LICENSES.md",
    "search_spaces/sweeps/quickstart.yaml",
    "search_spaces/sweeps/sweep.schema.json",
    *(f"{package}/py.typed" for package in PACKAGES),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy that holds what the build needs and no earlier build's leftovers."""
    copy = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(TOP / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(TOP / name, copy)
    target = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(copy))
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed away from the checkout."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_three_packages_with_their_files(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in members(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert set(PACKAGED) <= members(wheel)


def test_the_wheel_holds_licence_and_notice(wheel: Path) -> None:
    licences = {Path(name).name for name in members(wheel) if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_what_travels_to_a_cluster_is_what_the_wheel_holds(wheel: Path, tmp_path: Path) -> None:
    copy_source(tmp_path)
    travels = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert travels == {name for name in members(wheel) if not name.partition("/")[0].endswith(".dist-info")}


def test_an_installed_wheel_runs_a_trial_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    config = tmp_path / "trial.yaml"
    trial = plan(SweepSpec.model_validate(tiny_sweep()), source="test").entries[0].trial
    assignment = Assignment(trial=trial, images=16, rungs=(8, 16), evaluations=(), storage=str(tmp_path / "store"))
    config.write_text(yaml.safe_dump(assignment.model_dump(mode="json")))
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    where = run([sys.executable, "-c", "import trainables; print(trainables.__file__)"], tmp_path, environment)
    assert where.stdout.strip() == str(installed / "trainables" / "__init__.py")
    trained = run([sys.executable, "-m", "trainables", str(config)], tmp_path, environment)
    assert yaml.safe_load(trained.stdout.splitlines()[-1])["outcome"] == "done"
    assert list((tmp_path / "store").rglob("*.safetensors"))


def run(command: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def python_that_says(version: tuple[int, int], *, folder: Path, name: str = "python", has_venv: bool = True) -> Path:
    """A stand-in for an interpreter this machine may not have: the real one, told another version or to miss a module."""
    folder.mkdir(exist_ok=True)
    spoil = f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0)"
    if not has_venv:
        spoil += "; sys.modules['ensurepip'] = None"
    (folder / "sitecustomize.py").write_text(spoil)
    script = folder / name
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return script


def make(folder: Path, *arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """`make quickstart` in an empty copy of the set-up."""
    shutil.copy(TOP / "Makefile", folder)
    shutil.copy(TOP / "pyproject.toml", folder)
    shutil.copytree(TOP / "constraints", folder / "constraints")
    of_an_outer_make = {"PYTHON", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {**{name: value for name, value in os.environ.items() if name not in of_an_outer_make}, "PATH": path}
    command = ["make", "quickstart", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_set_up_refuses_another_python_in_one_line(version: tuple[int, int], tmp_path: Path) -> None:
    python = python_that_says(version, folder=tmp_path / "other")
    done = make(tmp_path, f"PYTHON={python}")
    assert done.returncode == 2
    assert f"Python must be 3.11, 3.12 or 3.13, got {version[0]}.{version[1]}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / ".venv").exists()


def test_set_up_names_the_package_that_brings_a_missing_venv_module(tmp_path: Path) -> None:
    python = python_that_says((3, 12), folder=tmp_path / "other", has_venv=False)
    done = make(tmp_path, f"PYTHON={python}")
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("sudo apt-get install python3.12-venv.  Stop.")
    assert len(done.stderr.splitlines()) == 1


def test_set_up_refuses_an_interpreter_that_does_not_run(tmp_path: Path) -> None:
    done = make(tmp_path, f"PYTHON={tmp_path / 'absent'}")
    assert done.returncode == 2
    assert "does not run" in done.stderr


def test_set_up_passes_over_a_python_that_is_too_new(tmp_path: Path) -> None:
    too_new = python_that_says((3, 14), folder=tmp_path / "new", name="python3")
    fits = python_that_says((3, 12), folder=tmp_path / "fits", name="python3.12")
    done = make(tmp_path, "--dry-run", path=f"{too_new.parent}:{fits.parent}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert "python3.12 -m venv --clear .venv" in done.stdout
    assert "-c constraints/py312.txt" in done.stdout
