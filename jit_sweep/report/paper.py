"""What goes into a paper: tables as CSV and LaTeX (booktabs), figures as SVG and PDF, the checklist as text and LaTeX."""

import csv
import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from jit_sweep.report.contents import Report
from jit_sweep.report.figures.all import figures_of
from jit_sweep.report.table_set import tables_of
from jit_sweep.report.tables import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
_FORMULA = ("=", "+", "-", "@", "\t")
"""A cell that begins so is a formula to a spreadsheet, unless it is a number."""


def write_paper(report: Report, folder: Path) -> list[Path]:
    """Write all of it; returns the files, by name. Figures are written as PDF, too, where svglib is there (`draws_pdf`)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: text.encode() for name, text in _files(report)}
    if draws_pdf():
        files |= {f"{Path(name).stem}.pdf": pdf(svg) for name, svg in files.items() if name.endswith(".svg")}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in sorted(files)]


def draws_pdf() -> bool:
    """Whether the library is installed that draws SVG as PDF."""
    return find_spec("svglib") is not None


def pdf(svg: bytes) -> bytes:
    """A figure's own bytes drawn on a page of its size."""
    from reportlab.graphics import renderPDF
    from svglib.svglib import svg2rlg

    return bytes(renderPDF.drawToString(svg2rlg(io.BytesIO(svg))))


def csv_table(table: Table) -> str:
    """A table's shown cells, and for numbers their whole value in a column beside."""
    numeric = [index for index in range(len(table.headings)) if any(row.cells[index].value is not None for row in table.rows)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*table.headings, *(f"{table.headings[index]} (value)" for index in numeric)])
    for row in table.rows:
        values = [row.cells[index].value for index in numeric]
        writer.writerow([*(_harmless(cell.text) for cell in row.cells), *("" if value is None else value for value in values)])
    return buffer.getvalue()


def latex_table(table: Table) -> str:
    """A table environment; needs `\\usepackage{booktabs}`."""
    columns = "l" + "r" * (len(table.headings) - 1)
    body = [_latex_row([cell.text for cell in row.cells]) for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row(table.headings),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def _files(report: Report) -> Iterator[tuple[str, str]]:
    for table in tables_of(report).every:
        yield f"{table.name}.csv", csv_table(table)
        yield f"{table.name}.tex", latex_table(table)
    for figure in figures_of(report).every:
        yield f"{figure.name}.svg", figure.svg
    checklist = report.provenance.checklist
    yield "checklist.txt", "".join(f"{each.question}\n{each.words}\n\n" for each in checklist)
    yield "checklist.tex", "".join(f"\\paragraph{{{latex(each.question)}}} {latex(each.words)}\n\n" for each in checklist)


def _latex_row(cells: list[str] | tuple[str, ...]) -> str:
    return f"{' & '.join(map(latex, cells))} \\\\"


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
