"""What users import comes from the packages themselves, and costs nothing until it is asked for."""

import importlib
import subprocess
import sys

import pytest

import jit_sweep
import trainables

PUBLIC = [(package, name) for package in (jit_sweep, trainables) for name in package.__all__]


@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=lambda part: getattr(part, "__name__", part))
def test_a_public_name_is_what_its_module_has(package: object, name: str) -> None:
    value = getattr(package, name)
    assert getattr(importlib.import_module(value.__module__), name) is value


def test_importing_the_packages_loads_nothing() -> None:
    code = "import sys, jit_sweep, trainables; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "ray", "pydantic", "numpy", "mlflow", "optuna"} & set(loaded)


def test_describing_what_to_train_loads_no_torch() -> None:
    code = "import sys; from trainables import Assignment, EvaluationConfig, TrialConfig, describe; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" not in loaded


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(ImportError, match="cannot import name 'load_netwrok'"):
        from jit_sweep import load_netwrok  # noqa: F401
