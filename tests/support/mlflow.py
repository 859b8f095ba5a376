"""Fixtures: a real MLflow on sqlite. Its tables are made once for the session and copied, since that takes seconds."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from jit_sweep.tracking.client import EXPERIMENT, open_client


@dataclass(frozen=True)
class MlflowStore:
    """A tracking store and registry of its own."""

    uri: str
    artifacts: str

    @property
    def client(self) -> MlflowClient:
        return open_client(self.uri)

    def runs(self, kind: str) -> list[Run]:
        """The runs of sweeps, or of trials, in the order they began, those that began together by name."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        condition = f"tags.`jit_sweep.kind` = '{kind}'"
        runs = self.client.search_runs([experiment.experiment_id], condition)
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_name))

    def series(self, run: Run, metric: str) -> list[tuple[int, float, int]]:
        """Step, value and time of each point, in the order of steps."""
        history = self.client.get_metric_history(run.info.run_id, metric)
        return sorted((point.step, point.value, point.timestamp) for point in history)

    def empty_bin(self, run: Run) -> None:
        """Delete a run of the bin for good, as `mlflow gc` does."""
        tables: Any = SqlAlchemyStore
        tables(self.uri, self.artifacts)._hard_delete_run(run.info.run_id)

    def files(self, run: Run, folder: str | None = None) -> set[str]:
        return {file.path for file in self.client.list_artifacts(run.info.run_id, folder)}


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    open_client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(empty_mlflow: Path, tmp_path: Path) -> MlflowStore:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    return MlflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts"))
