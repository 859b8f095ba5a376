"""MLflow's client: quiet, with bounded waits, and always given its addresses."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow import environment_variables as settings
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from jit_sweep.errors import UserError
from jit_sweep.redact import redact, redact_all
from jit_sweep.spec.uri import sqlite_path
from jit_sweep.tracking import moved

EXPERIMENT = "jit_sweep"
REQUEST_TIMEOUT_S = 20
_REMEDY = "check that it is up and that this user may use it, or give another with `tracking`"


def open_client(tracking_uri: str, *, create: bool = True) -> MlflowClient:
    """A client of the store at this address, which also holds the model registry.

    With `create=False` a missing sqlite file is a UserError and nothing is made. A database whose folder was moved or copied
    names its files' present place from now on.
    """
    _quieten()
    if (file := sqlite_path(tracking_uri)) is not None:
        if not create and not file.is_file():
            raise UserError(
                f"no MLflow store at {redact(tracking_uri)}; run a sweep there first, or name another home with --home"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            moved.follow(file.absolute())
    uri = store_uri(tracking_uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def store_uri(tracking_uri: str) -> str:
    """The address as MLflow takes it: from escapes after `sqlite:///` it would make a folder; where a driver is named, not."""
    escaped = tracking_uri.startswith("sqlite:///") and "%" in tracking_uri
    return tracking_uri.replace("sqlite:", "sqlite+pysqlite:", 1) if escaped else tracking_uri


@contextmanager
def answering(tracking_uri: str) -> Iterator[None]:
    """Turns what MLflow raises into a UserError with the address, without its secrets."""
    try:
        yield
    except (MlflowException, OSError) as error:
        reason = redact_all(str(error), uri=tracking_uri).strip().splitlines()[0]
        raise UserError(f"MLflow at {redact(tracking_uri)} must answer, got: {reason}; {_REMEDY}") from error


def experiment_id(client: MlflowClient) -> str | None:
    """The id of the experiment that holds all sweeps, None before the first."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return None if experiment is None else str(experiment.experiment_id)


def ensure_experiment(client: MlflowClient, *, artifacts: str | None) -> str:
    """The id of the experiment that holds all sweeps, made (and taken out of the bin) if need be.

    `artifacts` is where a new one keeps its files; None leaves that to the server.
    """
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
        except MlflowException as error:
            if not says(error, RESOURCE_ALREADY_EXISTS):
                raise
            return ensure_experiment(client, artifacts=artifacts)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def missing(error: MlflowException) -> bool:
    """Whether MLflow says that there is no such thing."""
    return says(error, RESOURCE_DOES_NOT_EXIST)


def says(error: MlflowException, code: int) -> bool:
    """Whether an error carries this code."""
    return bool(error.error_code == ErrorCode.Name(code))


def _quieten() -> None:
    """Send MLflow's own output to the log, and bound its waits; settings that the user has made stay."""
    preferred: tuple[tuple[Any, Any], ...] = (
        (settings.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, True),
        (settings.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, False),
        (settings.MLFLOW_HTTP_REQUEST_TIMEOUT, REQUEST_TIMEOUT_S),
        (settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES, 0),
    )
    for variable, value in preferred:
        if not variable.is_set():
            variable.set(value)
    # MLflow gives these loggers handlers of its own that write to stderr.
    for name in ("mlflow", "alembic", "sqlalchemy.engine", "huey"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
