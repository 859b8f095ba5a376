"""`status --why`: one trial, and why it stands as it does."""

import time

from jit_sweep.budget.costs import resources_of
from jit_sweep.cli.output import console, print_json
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.results import why
from search_spaces.axes import arm_label


def show(sweep: str, trial: str, ledger: str, *, address: str | None, as_json: bool) -> int:
    """One sentence an entry of the trial, and a line for each attempt. UserError: no such sweep or trial."""
    reader = LedgerReader.open(ledger)
    found, rows = reader.sweep(sweep), reader.entries(sweep)
    here = why.found(rows, trial)
    running = found.is_run(time.time())
    resources, free = resources_of(found.spec), _free(address) if address else None
    now, ended = time.time(), reader.end_reason(sweep)
    said = [why.why(row, rows, resources=resources, running=running, free=free, now=now, ended=ended) for row in here]
    attempts = [attempt for attempt in reader.attempts_at_trials(sweep) if attempt.trial_id == here[0].trial_id]
    if as_json:
        facts = [{"trial": row.trial_id, "state": str(row.state), "why": words} for row, words in zip(here, said, strict=True)]
        print_json("why", facts, sweep=sweep, attempts=why.history(attempts))
        return 0
    screen = console()
    for row, words in zip(here, said, strict=True):
        screen.print(f"{row.trial_id} {arm_label(row.arm)} seed={row.seed}: {words}", soft_wrap=True)
    for line in why.history(attempts):
        screen.print(f"  {line}", soft_wrap=True)
    return 0


def _free(address: str) -> why.Free:
    from jit_sweep.executor.before_ray import check_answers
    from jit_sweep.executor.cluster import free_resources  # starts Ray

    check_answers(address)
    return free_resources(address)
