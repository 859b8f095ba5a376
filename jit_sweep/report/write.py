"""A report as a file, in the format that the file's name asks for."""

import json
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.report.as_json import contents
from jit_sweep.report.contents import Report
from jit_sweep.report.grids import read_grids, read_ways
from jit_sweep.report.markdown import markdown
from jit_sweep.report.page.render import page

SCHEMA = "jit-sweep/report/1"
FORMATS = (".html", ".md", ".json")


def checked_format(path: Path) -> Path:
    """The path of a report. UserError: its name ends in none of `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"`--out` must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {str(path)!r}; try {path.stem}.html"
        )
    return path


def as_text(report: Report, suffix: str, *, storage: str | None) -> str:
    """A report in one of `FORMATS`. `storage`: where the sweep's trials lie now; None: where they were scored."""
    if suffix == ".md":
        return markdown(report)
    if suffix == ".json":
        return json.dumps({"schema": SCHEMA, **contents(report)}, allow_nan=False, ensure_ascii=False, default=str, indent=1)
    arms = sorted(report.results.arms, key=lambda arm: arm.position)
    return page(report, read_grids(arms, storage=storage), read_ways(arms, report.pictures, storage=storage))


def write_report(report: Report, path: Path, *, storage: str | None) -> Path:
    """Write a report (`as_text`), whole or not at all; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.writing")
    draft.write_text(as_text(report, path.suffix.lower(), storage=storage), encoding="utf-8")
    return draft.replace(path)
