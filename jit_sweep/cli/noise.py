"""`noise`: what training again and drawing again change in a sweep's scores."""

from typing import Any

from rich.console import Console

from jit_sweep.cli.evaluate import Saying
from jit_sweep.cli.output import console, noise_to, print_error, print_json
from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.home import Home
from jit_sweep.ledger.event_records import MeasuredNoise, NoiseMeasured
from jit_sweep.results.scales import in_words, scale_of
from trainables.report import ExitCode


def noise(sweep: str, home: Home, *, ledger: str | None, seeds: int | None, resamples: int, as_json: bool) -> int:
    """Measure, keep and print it."""
    with noise_to(home.log("noise.log"), screen=2) as screen:
        from jit_sweep.inference.noise import measure
        from jit_sweep.inference.trained import Places
        from jit_sweep.ledger.connect import open_engine
        from jit_sweep.ledger.evaluations import EvaluationLog
        from trainables.evaluation.finite import NotFinite

        log = EvaluationLog(open_engine(home.existing_ledger(ledger), create=False))
        shown, places = console(screen), Places(home, log.reader, home.tracking)

        def begun(trial: str) -> None:
            say(shown, f"drawing {trial} again")

        failed = ""
        try:
            found = measure(sweep, places, log, seeds=seeds, resamples=resamples, told=Saying(shown), begun=begun)
        except NotFinite as error:
            failed = f"the noise of {sweep} must be of sound weights: {error}; leave that trial out with --seeds"
    if failed:
        print_error(failed, as_json=as_json)
        return ExitCode.WITHOUT_SCORES
    if as_json:
        print_json("noise", rows_of(found), sweep=sweep, images=found.images, seeds=found.seeds, draws=found.draws)
    else:
        print_noise(sweep, found, console())
    return ExitCode.DONE


def rows_of(found: NoiseMeasured) -> list[dict[str, Any]]:
    """A row an arm and metric, and one of the typical arm, whose `arm` is null; on the scale on which the metric compares."""
    typical = [_row(None, name, each) | {"correlation": found.correlation[name]} for name, each in found.typical.items()]
    return [*typical, *(_row(arm, name, each) for arm, of in found.arms.items() for name, each in of.items())]


def _row(arm: str | None, metric: str, each: MeasuredNoise) -> dict[str, Any]:
    spread = {"retraining": each.retraining, "resampling": each.resampling, "ratio": each.ratio}
    return {"arm": arm, "metric": metric, "scale": scale_of(metric), **spread}


def print_noise(sweep: str, found: NoiseMeasured, screen: Console) -> None:
    """A table over metrics and arms, the typical arm first."""
    rows = rows_of(found)
    correlation = [f"{row['correlation']:.2f}" if row.get("correlation") is not None else "" for row in rows]
    columns = [
        Column("arm", [row["arm"] or "typical" for row in rows], wraps=True),
        Column("metric", [row["metric"] for row in rows]),
        Column("trained again", [_spread(row, "retraining") for row in rows], right=True),
        Column("drawn again", [_spread(row, "resampling") for row in rows], right=True),
        Column("ratio", [f"{row['ratio']:.2g}" if row["ratio"] is not None else "" for row in rows], 1, right=True),
        Column("correlation", correlation, 2, right=True),
    ]
    told = f"{found.seeds} seeds, {found.draws} draws of each, {found.images:,} images"
    say(screen, f"noise of {sweep}: standard deviation of a score trained again, and of the same weights drawn again; {told}")
    screen.print(table_of(columns, width=screen.width))
    say(screen, "typical: the median over arms that have not collapsed; correlation: between arms over seeds", style="dim")


def _spread(row: dict[str, Any], name: str) -> str:
    return in_words(scale_of(row["metric"]), row[name], sign=False)
