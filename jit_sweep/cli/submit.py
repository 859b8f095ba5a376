"""`submit`: a sweep as a job on a Ray cluster."""

import sys
from dataclasses import asdict

import typer

from jit_sweep.cli.edits import print_difference
from jit_sweep.cli.output import print_json
from jit_sweep.cli.plan import planned
from jit_sweep.home import Home
from jit_sweep.spec.read import read_spec


def submit(file: str, home: Home, *, address: str, wait: bool, as_json: bool) -> int:
    """Send a sweep file to a cluster, and follow its job there. UserError: whatever is wrong with either."""
    from jit_sweep.submit import submit as submit_sweep  # starts Ray's client

    plan, spec = planned(file, home), read_spec(file)
    if plan.data.is_prepared:
        print_difference(plan, home.locations(plan.spec), stderr=as_json)
    sent = submit_sweep(
        spec, address=address, home=home, wait=wait, echo=lambda line: typer.echo(line, file=sys.stderr if as_json else None)
    )
    if as_json:
        print_json("submit", [asdict(sent)], sweep=spec.name)
    return sent.exit_code
