"""Addresses that open MLflow's pages on one sweep or model. Without `workflowType` the UI opens a view that shows no runs."""

import json
from urllib.parse import quote

_CLASSIC = "workflowType=machine_learning"


def sweep_runs(base: str, *, experiment_id: str, sweep: str, objective: str, ascending: bool, charts: bool = False) -> str:
    """The sweep's runs as a table ordered by its objective; or its trials as charts, without the sweep's own run, whose metrics
    are the arms' and fill the page with empty charts."""
    trials = ' and tags.trial LIKE "%"' if charts else ""
    condition = quote(f'tags.sweep = "{sweep}"{trials}', safe="")
    order = f"orderByKey={quote(f'metrics.`{objective}`', safe='')}&orderByAsc={json.dumps(ascending)}"
    view = "&compareRunsMode=CHART" if charts else ""
    return f"{_root(base)}/experiments/{quote(experiment_id)}/runs?{_CLASSIC}&searchFilter={condition}&{order}{view}"


def all_runs(base: str, *, experiment_id: str) -> str:
    """Every run of the experiment."""
    return f"{_root(base)}/experiments/{quote(experiment_id)}/runs?{_CLASSIC}"


def _root(base: str) -> str:
    return f"{base.rstrip('/')}/#"
