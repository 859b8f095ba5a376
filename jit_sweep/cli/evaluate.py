"""`evaluate`: scores of trained weights by any evaluation."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jit_sweep.cli.output import console, noise_to, print_error, print_json
from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.cli.tuned import print_found, print_found_json
from jit_sweep.home import Home
from jit_sweep.ledger.event_records import Evaluated
from jit_sweep.results.tuned_sampling import in_short
from trainables.config.evaluation import EvaluationConfig
from trainables.data.holdout import holdout_of
from trainables.evaluation.metrics.registry import METRICS
from trainables.report import ExitCode

if TYPE_CHECKING:
    from jit_sweep.inference.evaluate import Evaluations
    from jit_sweep.inference.tune import Search
    from jit_sweep.ledger.evaluations import EvaluationLog

TELL_EVERY_S = 10.0
HELDOUT = "held-out"
_SHORT = {"white images": "white", "the mean image": "mean image"}
_SHOWN = (
    "n",
    "sampler",
    "steps",
    "guidance",
    "guidance_channels",
    "classifier",
    "classifier_scale",
    "interval",
    "shift",
    "t_eps_sample",
    "weights",
    "seed",
)


@dataclass(frozen=True)
class Request:
    """What a person wants to have scored."""

    what: str
    settings: Sequence[str]
    """KEY=VALUE of `evaluation`."""
    data: str | None
    holdout: str | None
    tune: Sequence[str] = ()
    """KEY=VALUE of `evaluation.tune`: search for the best setting, too."""
    pictures: Path | None = None
    """The folder to draw into."""


def evaluate(request: Request, home: Home, *, ledger: str | None, tracking: str | None, as_json: bool) -> int:
    """Score a trial, a model, a folder or a checkpoint, and print the scores beside those of images that no model made."""
    with noise_to(home.log("evaluate.log"), screen=2) as screen:
        from jit_sweep.inference.evaluate import Evaluations
        from jit_sweep.inference.settings import changed
        from jit_sweep.inference.trained import ImagesAt, Places, find
        from jit_sweep.ledger.connect import open_engine
        from jit_sweep.ledger.evaluations import EvaluationLog
        from trainables.evaluation.finite import NotFinite

        uri = home.existing_ledger(ledger) if _has_ledger(home, ledger) else None
        log = EvaluationLog(open_engine(uri, create=False)) if uri else None
        places = Places(home, log.reader if log else None, tracking or home.tracking)
        subject = find(request.what, places)
        evaluation = changed(subject.evaluation, request.settings)
        images = ImagesAt(request.data, holdout_of(request.holdout) if request.holdout else None) if request.data else None
        evaluations = Evaluations(subject, images=images, log=log, told=Saying(console(screen)))
        failed, found = "", None
        try:
            if request.tune:
                found = _tuned(evaluations, evaluation, request.tune, log, console(screen))
            scores = evaluations.scores(evaluation) if found is None else None
            pictures = evaluations.draw_pictures(evaluation, str(request.pictures.absolute())) if request.pictures else []
            remarks = evaluations.remarks if scores is not None and not scores.cached else []
        except NotFinite as error:
            failed = f"{subject.name} has no scores: {error}"
    if failed:
        print_error(failed, as_json=as_json)
        return ExitCode.WITHOUT_SCORES
    if scores is None:
        assert found is not None
        (print_found_json if as_json else print_found)(subject.name, found, pictures)
        return ExitCode.DONE
    if as_json:
        more: dict[str, Any] = {
            "images": subject.images,
            "evaluation": scores.record.evaluation,
            "evaluation_id": evaluation.id,
        }
        more |= {"cached": scores.cached, "seconds": scores.record.seconds, "collapsed": scores.record.collapsed}
        print_json("evaluate", rows_of(scores.record), subject=subject.name, remarks=remarks, pictures=pictures, **more)
        return ExitCode.DONE
    show = console()
    seen = f", {subject.images:,} images" if subject.images else ""
    known = "known already" if scores.cached else f"{scores.record.seconds:.0f} s"
    say(show, f"{subject.name}{seen}: {in_words(evaluation)} ({known})")
    show.print(table_of(columns_of(scores.record), width=show.width))
    for picture in pictures:
        show.print(picture, soft_wrap=True)
    for remark in [*remarks, *(["it has collapsed: its scores are an accident"] if scores.record.collapsed else [])]:
        say(show, remark)
    return ExitCode.DONE


def _tuned(
    evaluations: "Evaluations",
    evaluation: EvaluationConfig,
    asked: Sequence[str],
    log: "EvaluationLog | None",
    screen: Console,
) -> "Search":
    from jit_sweep.inference.settings import checked, read
    from jit_sweep.inference.tune import default_metric, tune
    from trainables.config.tuning import Tuning

    owned = evaluations.subject.owned
    objective = log.reader.sweep(owned.sweep).objective if log is not None and owned is not None else None
    tuning, tried = checked(Tuning, read(asked, option="--tune"), option="--tune"), count(1)

    def begun(setting: EvaluationConfig) -> None:
        say(screen, f"{next(tried)}: {in_words(setting)}")

    return tune(evaluations, evaluation, tuning, metric=default_metric(evaluation, objective), begun=begun)


def rows_of(record: Evaluated) -> list[dict[str, Any]]:
    """A row a metric: value, standard error, and what images that no model made score."""
    return [
        {
            "metric": name,
            "value": record.values[name],
            "error": record.errors.get(name),
            "n": record.evaluation["n"],
            "heldout": record.heldout.get(name),
            **{row: values.get(name) for row, values in record.rows.items()},
        }
        for name in METRICS
        if name in record.values
    ]


def columns_of(record: Evaluated) -> list[Column]:
    """The table for people."""
    names = [name for name in METRICS if name in record.values]
    others = {HELDOUT: record.heldout, **{_SHORT.get(row, row): values for row, values in record.rows.items()}}
    columns = [Column("metric", names), Column("score", [_number(record.values, name) for name in names], right=True)]
    columns.append(Column("error", [_number(record.errors, name, digits=2) for name in names], 1, right=True))
    columns += [
        Column(row, [_number(of, name) for name in names], place + 2, right=True)
        for place, (row, of) in enumerate(others.items())
    ]
    return columns


def in_words(evaluation: EvaluationConfig) -> str:
    """The settings that people compare by."""
    content, guide = evaluation.model_dump(mode="json"), evaluation.guide
    content |= {"classifier": f"{guide.trial} at {guide.images:,} images"} if guide is not None else {}
    hidden = evaluation.idle | ({"classifier"} if guide is None else set())
    hidden |= {"guidance_channels"} if evaluation.guidance_channels is None else set()
    hidden |= {"shift"} if evaluation.shift == 1 else set()
    return ", ".join(f"{key} {in_short(content[key])}" for key in _SHOWN if key not in hidden)


def _number(values: Mapping[str, float], name: str, *, digits: int = 5) -> str:
    return f"{values[name]:.{digits}g}" if name in values else ""


def _has_ledger(home: Home, ledger: str | None) -> bool:
    return ledger is not None or (home.path / "ledger.db").exists()


class Saying:
    """Says every few seconds how far a long evaluation is."""

    def __init__(self, screen: Console) -> None:
        self._screen, self._said_at = screen, time.monotonic()

    def __call__(self, what: str, done: int, of: int) -> None:
        if time.monotonic() - self._said_at >= TELL_EVERY_S:
            self._said_at = time.monotonic()
            self._screen.print(f"{what}: {done:,} of {of:,}")
