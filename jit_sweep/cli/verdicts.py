"""The verdicts of a sweep as a table: what was planned, and where all is to be shown, what else was looked at."""

from collections.abc import Sequence

from rich.console import Console

from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.results.clamped import clamp_note, without_clamp
from jit_sweep.results.findings import Finding, Outcome
from jit_sweep.results.leaderboard import Results
from jit_sweep.results.scales import in_words, scale_of
from trainables.config.fields import counted

_STYLES = {Outcome.REAL: "bold", Outcome.CONFLICT: "red", Outcome.SAME_RUN: "bold red", Outcome.NOT_COMPARABLE: "dim"}
NARROW = 72
"""Columns of a terminal that has no room for all that a verdict says."""


def print_verdicts(results: Results, screen: Console, *, most: int | None) -> None:
    """The planned questions with effect, interval, p, n and the smallest visible gap; then their verdicts in words.

    `most`: the first so many, and of what was not planned a count alone; None: all.
    """
    planned, exploratory = results.findings
    shown = planned.of(lambda each: each.is_decidable or each.is_same_run)
    if shown:
        _print_table(shown[:most], results, screen, family=sum(each.is_decidable for each in planned.unread))
    without = planned.of(lambda each: not (each.is_decidable or each.is_same_run))
    unscored = len(without.of(lambda each: not each.is_scored))
    for count, why in (
        (len(without) - unscored, "an arm has fewer seeds than a verdict needs"),
        (unscored, f"{results.objective} is no score of an arm's trials"),
    ):
        if count:
            say(screen, f"\n{counted(count, 'question')} without a verdict: {why}")
    if exploratory and most is None:
        _print_exploratory(exploratory, screen)
    elif exploratory:
        say(screen, f"{len(exploratory)} more pairs, not planned: --all shows them as exploratory", style="dim")


def _print_table(found: Sequence[Finding], results: Results, screen: Console, *, family: int) -> None:
    objective = results.objective
    screen.print()
    unit = " %" if scale_of(objective) == "log" else ""
    of = "the first less the second, in % of the second" if unit else "the first less the second"
    say(screen, f"verdicts on {objective}: {of}, 95 % interval; p by Holm over {counted(family, 'planned question')}")
    narrow = screen.width < NARROW
    columns = [
        Column("question", [each.question.label for each in found], wraps=True),
        Column(f"effect{unit}", [_effect(each) for each in found], right=True),
        Column("p", [_p(each.adjusted_p if _compares(each) else None) for each in found], right=True),
        Column("n", [str(each.effect.test.n) if each.effect else "-" for each in found], 1 if narrow else 0, right=True),
        Column(f"gap{unit}", [_gap(each) for each in found], 2 if narrow else 0, right=True),
        Column("verdict", [str(each.outcome) for each in found], wraps=True),
    ]
    styles = {row: style for row, each in enumerate(found) if (style := _STYLES.get(each.outcome))}
    screen.print(table_of(columns, width=screen.width, styles=styles))
    say(screen, "gap: the smallest difference that these seeds show four times in five", style="dim")
    unclamped = without_clamp(results.findings)
    for each in found:
        say(screen, f"{each.question.label}: {each.verdict}", indent="  ")
        if note := clamp_note(each, unclamped):
            say(screen, note, indent="    ")
        if each.rates:
            say(screen, str(each.rates), indent="    ")


def _print_exploratory(found: Sequence[Finding], screen: Console) -> None:
    screen.print()
    say(screen, "exploratory: not planned, p for each question alone; none of them is evidence")
    for each in found:
        p = f"p {each.effect.p:.2g}, n {each.effect.test.n}, " if each.effect else ""
        effect = f"{each.effect}, " if each.effect else ""
        say(screen, f"{each.question.label}: {effect}{p}{each.verdict}", indent="  ")


def _effect(finding: Finding) -> str:
    """None is shown of arms that do not compare: a number would be read."""
    return str(finding.effect).replace(" %", "") if finding.effect and _compares(finding) else "-"


def _compares(finding: Finding) -> bool:
    return finding.outcome is not Outcome.NOT_COMPARABLE


def _gap(finding: Finding) -> str:
    effect, gap = finding.effect, finding.gap
    return in_words(effect.scale, gap, sign=False).removesuffix(" %") if effect and gap is not None else "-"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
