"""A report as one HTML file: no network, no script but its own, which its content security policy names by hash."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from jit_sweep.ledger.records import EntryState, when
from jit_sweep.report.contents import Report
from jit_sweep.report.figures.all import Figures, figures_of
from jit_sweep.report.figures.forest import bar_in_words
from jit_sweep.report.figures.learning import MOST_CURVES
from jit_sweep.report.grids import ArmGrid, Way
from jit_sweep.report.numbers import duration
from jit_sweep.report.table_set import tables_of
from jit_sweep.results.arms import Arm
from jit_sweep.results.words import state_in_words
from search_spaces.cells import arm_label
from trainables.evaluation.metrics.registry import table_metrics

MOST_CARDS = 24
MOST_VALUES = 16
"""Values of an axis that can be chosen from."""
SECTIONS = (
    ("verdicts", "Verdicts"),
    ("effects", "Effects"),
    ("arms", "Arms"),
    ("learning", "Learning"),
    ("samples", "Samples"),
    ("tuning", "Tuning"),
    ("search", "Search"),
    ("own-best", "At its best"),
    ("guidance", "Guidance"),
    ("cost", "Failures and cost"),
    ("trials-all", "All trials"),
    ("words", "Words"),
    ("provenance", "Where it comes from"),
)
VERDICT_CLASSES = {"REAL": "real", "EQUIVALENT": "equivalent", "CONFLICT": "conflict"}


class TrialColumns(NamedTuple):
    """All trials, as the page's script takes them: values by row, in the order of the columns."""

    columns: tuple[str, ...]
    arms: tuple[str, ...]
    """Labels; a row has the place of its own here."""
    rows: tuple[tuple[str | float | None, ...], ...]


def page(report: Report, grids: Sequence[ArmGrid], ways: Sequence[Way] = ()) -> str:
    """The whole file."""
    figures, shown, trials = figures_of(report), tables_of(report), _trials(report)
    script = _asset("report.js")
    return _template().render(
        report=report,
        figures=figures,
        tables=shown,
        grids=grids,
        ways=ways,
        thumbnails={grid.label: grid.thumbnail_uri for grid in grids},
        trials=trials,
        trials_json=_for_script(trials._asdict()),
        filters=_filters(report.results.arms),
        sections=[section for section in SECTIONS if _has(section[0], report, figures, grids)],
        counts=_counts(report),
        most_cards=MOST_CARDS,
        most_curves=MOST_CURVES,
        style=_asset("report.css"),
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        when=when,
        duration=duration,
        effect=bar_in_words,
        verdict_class=lambda verdict: VERDICT_CLASSES.get(verdict, "open"),
    )


def _template() -> Template:
    sources = DictLoader({"report.html": _asset("report.html")})
    environment = Environment(loader=sources, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    return environment.get_template("report.html")


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _for_script(data: Any) -> str:
    """JSON that may stand in a script element: no `<` can end it."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _trials(report: Report) -> TrialColumns:
    shown = table_metrics(report.results.objective, report.results.scored)
    metrics = [name for name in shown if any(name in arm.metrics for arm in report.results.arms)] or shown
    results = [*(trial for arm in report.results.arms for trial in arm.trials), *report.results.searched]
    labels = [arm_label(trial.entry.arm) for trial in results]
    arms = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    rows = [
        (
            trial.entry.trial_id,
            arms[label],
            trial.entry.seed,
            "collapsed" if trial.collapsed else state_in_words(trial.entry.state),
            trial.entry.images,
            *(_short(trial.value(name)) for name in metrics),
        )
        for trial, label in zip(results, labels, strict=True)
    ]
    return TrialColumns(("trial", "arm", "seed", "state", "images", *metrics), tuple(arms), tuple(rows))


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _filters(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """Axes with the values that arms differ in, as words."""
    axes = dict.fromkeys(axis for arm in arms for axis in arm.arm)
    values = {axis: list(dict.fromkeys(_word(arm.arm[axis]) for arm in arms if axis in arm.arm)) for axis in axes}
    return {axis: each for axis, each in values.items() if 1 < len(each) <= MOST_VALUES}


def _word(value: object) -> str:
    """A value as the page's script writes it."""
    return {True: "true", False: "false", None: "null"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)


def _counts(report: Report) -> str:
    states = Counter(row.state for row in report.entries)
    told = ", ".join(f"{states[state]:,} {state_in_words(state)}" for state in EntryState if states[state]) or "no trials"
    return f"The sweep is {report.standing}; trials: {told}"


def _has(anchor: str, report: Report, figures: Figures, grids: Sequence[ArmGrid]) -> bool:
    shown = {
        "verdicts": bool(report.cards),
        "effects": bool(figures.effects),
        "arms": bool(report.results.arms),
        "learning": bool(figures.learning),
        "samples": bool(grids),
        "tuning": bool(report.results.tuning),
        "search": bool(figures.searches),
        "own-best": bool(report.tuned),
        "guidance": bool(figures.sampling),
    }
    return shown.get(anchor, True)
