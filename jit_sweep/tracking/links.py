"""Addresses that open MLflow's pages on one sweep or model. Without `workflowType` the UI opens a view that shows no runs."""

import json
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


def _root(base: str) -> str:
    return f"{base.rstrip('/')}/#"
