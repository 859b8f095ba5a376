"""A report as Markdown: the same words and tables as the page, for a code review, a wiki or MLflow."""

from collections.abc import Iterator

from jit_sweep.ledger.records import when
from jit_sweep.report.contents import Report
from jit_sweep.report.table_set import tables_of
from jit_sweep.report.tables import Table

_SPECIAL = str.maketrans({"|": r"\|", "\n": " ", "<": "&lt;", ">": "&gt;", "*": r"\*", "`": r"\`", "[": r"\[", "]": r"\]"})
TITLES = {
    "effects": "Verdicts",
    "arms": "Arms",
    "quality": "Time to quality",
    "searched": "Search",
    "tuning": "Tuning",
    "own_best": "Each network at its own best",
    "sampling": "Guidance and interval",
    "losses": "Failures",
    "cost": "Cost",
    "words": "Words",
}


def markdown(report: Report) -> str:
    """The whole text."""
    return "\n".join(_lines(report))


def summary_markdown(report: Report) -> str:
    """The answer, and a table of the verdicts."""
    verdicts = tables_of(report).effects
    return "\n".join([*_answer(report), *(markdown_table(verdicts) if verdicts.rows else [])])


def markdown_table(table: Table) -> list[str]:
    """A table's lines in GitHub's dialect."""
    heads = [_row(table.headings), _row(["---"] + ["--:"] * (len(table.headings) - 1))]
    return [*heads, *(_row([escaped(cell.text) for cell in row.cells]) for row in table.rows)]


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return text.translate(_SPECIAL)


def _lines(report: Report) -> Iterator[str]:
    yield from (f"# {report.sweep.name}", "", f"{report.standing}; written {when(report.written_at)}.", "")
    yield from _answer(report)
    for table in tables_of(report).every:
        yield from (f"## {TITLES[table.name]}", "", escaped(table.caption), "", *markdown_table(table), "")
    yield from ("## Where it comes from", "")
    yield from (f"- {name}: {escaped(value)}" for name, value in report.provenance.facts)
    yield from ("", "```yaml", report.provenance.spec.rstrip(), "```", "")
    for paragraph in report.provenance.checklist:
        yield from (f"**{paragraph.question}** {escaped(paragraph.words)}", "")


def _answer(report: Report) -> Iterator[str]:
    answer = report.answer
    for paragraph in (answer.question, answer.found, answer.best, answer.unknown, answer.judged):
        yield from (escaped(paragraph), "")


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
