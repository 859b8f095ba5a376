"""The runs of an MLflow experiment that this program did not write, as rows of columns and scores."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Run

from jit_sweep.errors import UserError
from jit_sweep.results.foreign import ForeignRun
from jit_sweep.tracking.client import answering, open_client
from trainables.config.spelling import did_you_mean

_PAGE = 1000


def foreign_runs(tracking_uri: str, experiment: str) -> list[ForeignRun]:
    """An experiment's runs, the earliest first: parameters as columns, the last value of each metric.

    UserError: the store does not answer, or has no such experiment.
    """
    with answering(tracking_uri):
        client = open_client(tracking_uri, create=False)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = sorted(str(each.name) for each in client.search_experiments())
            remedy = did_you_mean(experiment, names, otherwise=f"it has {', '.join(names)}")
            raise UserError(f"`--experiment` must be one of the store's, got {experiment!r}; {remedy}")
        return [_row(run) for run in _runs(client, found.experiment_id)]


def _runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token: str | None = None
    while True:
        order = ["attributes.start_time ASC"]
        page = client.search_runs([experiment_id], max_results=_PAGE, page_token=token, order_by=order)
        yield from page
        token = page.token
        if not token:
            return


def _row(run: Run) -> ForeignRun:
    lost = run.info.status in ("FAILED", "KILLED")
    scores = {} if lost else dict(run.data.metrics)
    return ForeignRun(str(run.info.run_name), dict(run.data.params), scores, run.info.status not in ("RUNNING", "SCHEDULED"))
