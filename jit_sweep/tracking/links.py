"""Addresses that open MLflow's pages on one sweep or model. Without `workflowType` the UI opens a view that shows no runs."""

import json
from collections.abc import Sequence
from urllib.parse import quote

_CLASSIC = "workflowType=machine_learning"


def sweep_runs(base: str, *, experiment_id: str, sweep: str, objective: str, ascending: bool, charts: bool = False) -> str:
    """The sweep's runs as a table ordered by its objective, or as charts."""
    condition = quote(f'tags.sweep = "{sweep}"', safe="")
    order = f"orderByKey={quote(f'metrics.`{objective}`', safe='')}&orderByAsc={json.dumps(ascending)}"
    view = "&compareRunsMode=CHART" if charts else ""
    return f"{_root(base)}/experiments/{quote(experiment_id)}/runs?{_CLASSIC}&searchFilter={condition}&{order}{view}"


def all_runs(base: str, *, experiment_id: str) -> str:
    """Every run of the experiment."""
    return f"{_root(base)}/experiments/{quote(experiment_id)}/runs?{_CLASSIC}"


def run_page(base: str, *, experiment_id: str, run_id: str) -> str:
    """One run."""
    return f"{_root(base)}/experiments/{quote(experiment_id)}/runs/{quote(run_id)}?{_CLASSIC}"


def compared_runs(base: str, *, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Several runs side by side."""
    runs, experiments = (quote(json.dumps(list(ids), separators=(",", ":")), safe="") for ids in (run_ids, [experiment_id]))
    return f"{_root(base)}/compare-runs?{_CLASSIC}&runs={runs}&experiments={experiments}"


def model_version(base: str, *, model: str, version: int) -> str:
    """One version of a registered model."""
    return f"{_root(base)}/models/{quote(model, safe='')}/versions/{version}?{_CLASSIC}"


def _root(base: str) -> str:
    return f"{base.rstrip('/')}/#"
