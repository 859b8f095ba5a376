"""The deployment files: versions that agree, places that a cluster reaches, no open ports and no secrets."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from jit_sweep.submit.address import check_reachable
from jit_sweep.submit.ray_jobs import STOP_ENVIRONMENT
from tests.support.paths import TOP

DEPLOY = TOP / "deploy"
YAML_FILES = sorted(DEPLOY.rglob("*.yaml"))
CONSTRAINTS = sorted((TOP / "constraints").glob("py*.txt"))
SECRET_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN$|KEY_ID")


def pins(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines)}


def loaded(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def values_of(tree: Any, key: str) -> Iterator[Any]:
    """Every value that stands under a key, at any depth."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values_of(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from values_of(value, key)


def environments(tree: Any) -> Iterator[tuple[str, str]]:
    for each in (*values_of(tree, "environment"), *values_of(tree, "x-places")):
        yield from each.items()
    for each in values_of(tree, "env"):
        yield from ((entry["name"], str(entry.get("value", ""))) for entry in each)


def test_the_image_has_the_constraints_ray_and_python() -> None:
    base = re.search(r"^FROM rayproject/ray:([\d.]+)-py(\d+)-gpu$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    assert pins(TOP / "constraints" / f"py{base[2]}.txt")["ray"] == base[1]
    assert f"constraints/py{base[2]}.txt" in (DEPLOY / "Dockerfile").read_text()


def test_every_python_minor_has_the_same_ray_torch_and_numpy() -> None:
    assert [file.stem for file in CONSTRAINTS] == ["py311", "py312", "py313"]
    assert len({tuple(pins(file)[name] for name in ("ray", "torch", "numpy")) for file in CONSTRAINTS}) == 1
    assert pins(CONSTRAINTS[0])["torch"] == "2.13.0"


def test_the_constraints_pin_every_direct_dependency() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    names = {re.match(r"[\w.-]+", each)[0].lower() for each in wanted} - {"jit-sweep"}  # type: ignore[index]
    assert [(file.stem, missing) for file in CONSTRAINTS if (missing := names - set(pins(file)))] == []


@pytest.mark.parametrize("file", sorted((DEPLOY / "kuberay").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_manifest_names_the_constraints_ray_and_this_version_s_image(file: Path) -> None:
    tree = loaded(file)
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    assert set(values_of(tree, "rayVersion")) == {pins(CONSTRAINTS[0])["ray"]}
    assert set(values_of(tree, "image")) == {f"jit-sweep:{version}"}
    assert f"jit-sweep:{version}" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize("file", sorted((DEPLOY / "kuberay").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_manifest_asks_for_a_token(file: Path) -> None:
    assert [options["mode"] for options in values_of(loaded(file), "authOptions")] == ["token"]


def test_the_box_asks_for_a_token_and_listens_on_loopback_only() -> None:
    services = loaded(DEPLOY / "one-box" / "compose.yaml")["services"]
    assert services["head"]["environment"]["RAY_AUTH_MODE"] == "token"
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("file", YAML_FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_no_file_holds_a_secret(file: Path) -> None:
    planted = [(name, value) for name, value in environments(loaded(file)) if SECRET_NAMES.search(name)]
    assert all(value.startswith("${") for _, value in planted), planted


def test_a_kubernetes_job_stops_as_cleanly_as_a_submitted_one() -> None:
    spec = loaded(DEPLOY / "kuberay" / "rayjob.yaml")["spec"]
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"] == STOP_ENVIRONMENT


@pytest.mark.parametrize("file", sorted((DEPLOY / "sweeps").glob("*.yaml")), ids=lambda file: file.stem)
def test_an_example_sweep_is_valid_and_reachable_from_a_cluster(file: Path) -> None:
    spec = read_spec(str(file))
    assert plan(spec, source=str(file)).entries
    check_reachable(spec, cluster="http://ray.example:8265")


def test_the_example_sweep_uses_the_box_s_services() -> None:
    services = loaded(DEPLOY / "one-box" / "compose.yaml")["services"]
    spec = read_spec(str(DEPLOY / "sweeps" / "cluster.yaml"))
    assert spec.tracking == "http://mlflow:5000"
    assert "mlflow:5000" in str(services["mlflow"]["command"])
    assert spec.ledger == f"postgresql://{services['postgres']['environment']['POSTGRES_USER']}@postgres/ledger"
    assert services["postgres"]["environment"]["POSTGRES_DB"] == "ledger"
    assert spec.storage is not None
    assert spec.storage.split("/")[2] in str(services["bucket"]["command"])
