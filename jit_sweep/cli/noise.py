"""`noise`: what training again and drawing again change in a sweep's scores."""

from pathlib import Path
from typing import Any

from rich.console import Console

from jit_sweep.cli.evaluate import Saying
from jit_sweep.cli.output import console, noise_to, print_error, print_json
from jit_sweep.cli.plan import planned, resolved
from jit_sweep.cli.run import is_known, train
from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.home import Home
from jit_sweep.ledger.event_records import MeasuredNoise, NoiseMeasured
from jit_sweep.ledger.records import SweepState
from jit_sweep.plan.noise_sweep import noise_sweep
from jit_sweep.results.scales import in_words, scale_of
from jit_sweep.spec.read import shipped_sweeps
from jit_sweep.spec.sweep import SweepSpec
from trainables.report import ExitCode

SEEDS = 5
"""That a baseline is trained on, where nobody says how many."""


def noise(sweep: str, home: Home, *, ledger: str | None, seeds: int | None, resamples: int, as_json: bool) -> int:
    """Measure, keep and print it; of a sweep file that has not run, on its baseline, which is trained for it."""
    if _is_file(sweep) and not is_known(sweep, ledger or home.ledger):
        spec = planned(sweep, home).spec
        ledger = home.locations(spec).ledger
        if not is_known(spec.name, ledger):
            spec = noise_sweep(spec, seeds=seeds or SEEDS)
            if (code := _trained(spec, home, source=sweep, as_json=as_json)) is not None:
                return code
        sweep = spec.name
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


def _is_file(sweep: str) -> bool:
    return Path(sweep).is_file() or sweep.partition(":")[0] in shipped_sweeps()


def _trained(spec: SweepSpec, home: Home, *, source: str, as_json: bool) -> int | None:
    """Train the seeds of a baseline, or what they lack; the exit code where that did not come to its end."""
    screen, interrupt = console(stderr=as_json), Interrupt()
    say(screen, f"{source} has not run here: its noise is measured on its baseline alone, the sweep {spec.name}")
    with interrupt.raising():
        _, result = train(resolved(spec, home, source=spec.name), home, address=None, as_json=as_json, interrupt=interrupt)
    if result.state is SweepState.INTERRUPTED:
        say(screen, "interrupted; the same command goes on")
        return ExitCode.INTERRUPTED
    if result.reason:
        print_error(f"the noise of {source} needs its trials, and training ended: {result.reason}", as_json=as_json)
        return ExitCode.WITHOUT_SCORES
    return None


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
