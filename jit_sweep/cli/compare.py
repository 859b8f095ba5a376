"""`compare`: two sweeps, arms or trials beside each other."""

from rich.console import Console

from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.results.arms import Spread
from jit_sweep.results.as_json import comparison_contents
from jit_sweep.results.compare import ComparedRow, Comparison, read_comparison
from jit_sweep.results.scales import in_words, on_scale, scale_of
from trainables.report import ExitCode

ONE_SEED = "one seed each: what differs may be luck"


def compare(first: str, second: str, ledger: str, *, as_json: bool) -> int:
    """Print what differs between two; exits with 1 where no result compares. UserError: a name that means nothing."""
    found = read_comparison(LedgerReader.open(ledger), first, second)
    if as_json:
        print_json("compare", **comparison_contents(found))
    else:
        print_comparison(found, console())
    return ExitCode.WITHOUT_SCORES if found.is_refused else ExitCode.DONE


def print_comparison(found: Comparison, screen: Console) -> None:
    """The two names, the keys that differ, the scores, and the verdicts in words."""
    say(screen, f"A: {found.first}")
    say(screen, f"B: {found.second}")
    screen.print()
    _print_configuration(found, screen)
    screen.print()
    if found.refused:
        say(screen, f"results do not compare: {found.refused}")
    elif found.rows:
        _print_rows(found, screen)
    else:
        say(screen, "no score to compare: they share no arm" if found.kind == "sweeps" else "no score to compare yet")
    for side, labels in (("A", found.only_first), ("B", found.only_second)):
        if labels:
            say(screen, f"in {side} only: {'; '.join(labels)}")


def _print_configuration(found: Comparison, screen: Console) -> None:
    if not found.configuration:
        say(screen, "configuration: no difference" + (" but the seeds" if found.kind == "arms" else ""))
        return
    columns = [
        Column("configuration", [change.path for change in found.configuration], wraps=True),
        Column("A", [change.old for change in found.configuration], wraps=True),
        Column("B", [change.new for change in found.configuration], wraps=True),
    ]
    screen.print(table_of(columns, width=screen.width))


def _print_rows(found: Comparison, screen: Console) -> None:
    of_sweeps, of_trials = found.kind == "sweeps", found.kind == "trials"
    said = ONE_SEED if of_trials else "mean ± standard deviation; A less B with its 95 % interval over shared seeds"
    say(screen, f"{found.objective if of_sweeps else 'results'}: {said}")
    columns = [
        Column("arm" if of_sweeps else "metric", [row.label or row.metric for row in found.rows], wraps=True),
        Column("A", [_spread(row.first) for row in found.rows], right=True),
        Column("B", [_spread(row.second) for row in found.rows], right=True),
        Column("A less B", [_effect(row) for row in found.rows], right=True, wraps=True),
    ]
    if not of_trials:
        columns += [
            Column("p", [f"{row.effect.p:.2g}" if row.effect else "-" for row in found.rows], 2, right=True),
            Column("n", [str(row.effect.test.n) if row.effect else "-" for row in found.rows], 1, right=True),
        ]
    screen.print(table_of(columns, width=screen.width))
    for finding in found.findings:
        say(screen, f"{finding.question.label}: {finding.verdict}", indent="  ")
        if finding.rates:
            say(screen, str(finding.rates), indent="    ")


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "no score"
    return f"{spread.mean:.5g}" + (f" ± {spread.sd:.2g}" if spread.sd is not None else "")


def _effect(row: ComparedRow) -> str:
    """With its interval; of single trials the bare difference."""
    if row.effect is not None:
        return str(row.effect)
    if row.first is None or row.second is None or row.first.n > 1 or row.second.n > 1:
        return "-"
    scale = scale_of(row.metric)
    return in_words(scale, on_scale(row.first.mean, scale) - on_scale(row.second.mean, scale))
