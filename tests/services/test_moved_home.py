"""A home that was copied or moved: everything is found in its present place, and nothing is written where it was."""

import shutil
import tarfile
from pathlib import Path

import pytest
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from sqlalchemy import create_engine

from jit_sweep.home import Home, home_at
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.models.model_folder import load_network
from jit_sweep.report.grids import read_grids
from jit_sweep.results.leaderboard import read_results
from jit_sweep.spec.uri import sqlite_uri
from jit_sweep.tracking.client import EXPERIMENT, ensure_experiment, open_client
from jit_sweep.tracking.mirror import Mirror
from jit_sweep.tracking.registry import load
from tests.support.home import champion, make_home
from tests.support.paths import GOLDEN

OLD_HOME_MADE_AT = Path("/tmp/jit-sweep-fixture-home")


@pytest.fixture
def home(empty_mlflow: Path, tmp_path: Path) -> Home:
    return make_home(tmp_path / "old", empty_mlflow=empty_mlflow)


def state_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """When each file of a folder was written, and what is in it."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def folders_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_dir())


def pictures(home: Home, sweep: str) -> list[str]:
    """The arms whose samples the sweep's report would show."""
    arms = read_results(LedgerReader.open(home.ledger), sweep).arms
    return [grid.label for grid in read_grids(arms, storage=str(home.store))]


@pytest.mark.parametrize("place", ["new", "elsewhere/a b%2Fc?d#é"])
def test_a_copied_home_is_used_in_its_new_place_and_the_old_one_is_left_alone(home: Home, place: str, tmp_path: Path) -> None:
    copy = home_at(tmp_path / place)
    shutil.copytree(home.path, copy.path)
    before = state_of(home.path), folders_of(home.path)

    made = champion(copy)
    assert (made.version, made.cell) == (2, "prediction=v")
    assert pictures(copy, "mine")
    assert (state_of(home.path), folders_of(home.path)) == before

    shutil.rmtree(home.path)
    for version in (1, 2):
        files = load(f"demo/{version}", tracking_uri=copy.tracking, folder=tmp_path / f"copy-{version}")
        assert not load_network(files).training
    assert len(list(copy.store.glob("mlflow/*/artifacts/samples/*.png"))) == 4
    assert pictures(copy, "mine")
    assert not home.path.exists()


def test_a_home_that_came_without_its_files_writes_into_its_own_place(home: Home, tmp_path: Path) -> None:
    copy = home_at(tmp_path / "new")
    shutil.copytree(home.path, copy.path, ignore=shutil.ignore_patterns("mlflow"))
    before = state_of(home.path)
    champion(copy)
    assert state_of(home.path) == before
    assert list(copy.store.glob("mlflow/*/artifacts/champion"))


def test_files_outside_of_the_home_stay_where_they_are(home: Home, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    client = open_client(home.tracking)
    run = client.create_run(client.create_experiment("other", artifact_location=str(shared)))
    client.log_text(run.info.run_id, "text", "file")
    home.path.rename(tmp_path / "new")
    moved = open_client(home_at(tmp_path / "new").tracking).search_experiments()
    places = {experiment.name: experiment.artifact_location for experiment in moved}
    assert (places["other"], places[EXPERIMENT]) == (str(shared), (tmp_path / "new/store/mlflow").as_uri())


@pytest.mark.parametrize("shared", ["mlf/mlflow.db", "other/mlflow.db"], ids=["in no home", "in another home"])
@pytest.mark.parametrize("own", [True, False], ids=["beside an own database", "without an own database"])
def test_a_database_outside_of_the_home_names_the_store_of_the_home_that_uses_it(
    shared: str, own: bool, empty_mlflow: Path, tmp_path: Path
) -> None:
    user, database = home_at(tmp_path / "user"), tmp_path / shared
    user.make()
    home_at(tmp_path / "other").make()
    database.parent.mkdir(exist_ok=True)
    shutil.copy(empty_mlflow, database)
    if own:
        shutil.copy(empty_mlflow, user.path / "mlflow.db")
        ensure_experiment(open_client(user.tracking), artifacts=user.locations().artifacts)
    place = f"{user.store.as_uri()}/mlflow"
    ensure_experiment(open_client(sqlite_uri(database)), artifacts=place)
    [again] = open_client(sqlite_uri(database)).search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    assert again.artifact_location == place


def test_a_home_behind_a_symbolic_link_has_not_moved(home: Home, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home.path)
    experiments = open_client(home_at(tmp_path / "link").tracking).search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    assert [experiment.artifact_location for experiment in experiments] == [home.locations().artifacts]


def test_a_home_that_an_older_version_left_elsewhere_is_found_in_its_place(tmp_path: Path) -> None:
    home, before = home_at(tmp_path / "home"), folders_of(OLD_HOME_MADE_AT)
    with tarfile.open(GOLDEN / "home_ce5615d.tar.xz") as archive:
        archive.extractall(home.path, filter="data")
    open_engine(home.ledger).dispose()  # as `run` does, it brings the ledger up to date
    reader = LedgerReader.open(home.ledger)
    Mirror(home.tracking, reader, "ended", artifacts=home.locations().artifacts, storage=str(home.store)).deliver()
    assert not load_network(load("faces", tracking_uri=home.tracking, folder=tmp_path / "copy")).training
    trial = reader.entries("ended")[0].trial_id
    assert champion(home, "ended", trial=trial).version == 1
    assert list(home.store.glob("mlflow/*/artifacts/champion/demo"))
    assert pictures(home, "ended")
    assert folders_of(OLD_HOME_MADE_AT) == before


def test_a_database_that_mlflow_was_interrupted_in_making_is_gone_on_with(tmp_path: Path) -> None:
    """An interrupt in a home's first seconds may leave the tables that MLflow's migrations begin with."""
    home = home_at(tmp_path / "home")
    home.store.mkdir(parents=True)
    engine = create_engine(home.tracking)
    InitialBase.metadata.create_all(engine)
    engine.dispose()
    client = open_client(home.tracking)
    assert client.get_experiment(ensure_experiment(client, artifacts=None)).creation_time
