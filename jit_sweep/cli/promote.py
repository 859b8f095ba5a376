"""`promote`: the best configuration of a sweep is trained on fresh seeds, compared with the champion, and takes its place."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import typer
from rich.console import Console

from jit_sweep.cli.models import model_commands
from jit_sweep.cli.output import console, noise_to, print_json, print_next
from jit_sweep.cli.plan import resolved
from jit_sweep.cli.run import standing_of, train
from jit_sweep.cli.tables import say
from jit_sweep.commands import SharedOptions
from jit_sweep.errors import UserError
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.home import Home, Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SweepState
from jit_sweep.models.gates import Gate, gates_in_words, known_before
from jit_sweep.models.nomination import Nomination, evidence, nominate
from jit_sweep.models.promote import Evidence, Promotion, register
from jit_sweep.models.retraining import check_same
from jit_sweep.results.as_json import finding_row
from jit_sweep.spec.stored import stored_spec
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.tracking.registry import Registry, check_name
from search_spaces.cells import arm_label
from trainables.config.fields import counted
from trainables.report import ExitCode


@dataclass(frozen=True)
class Wish:
    """What somebody who promotes has asked for."""

    model: str
    trial: str | None = None
    """A trial's id or its first digits: its configuration is the candidate, and not the best one."""
    seeds: int = 3
    yes: bool = False
    dry_run: bool = False
    forced: str = ""
    """Why the candidate becomes the champion whatever the gates say."""


@dataclass(frozen=True)
class Whereabouts:
    """Where a sweep and its models are, and what its retraining runs on."""

    home: Home
    locations: Locations
    address: str | None
    as_json: bool

    @property
    def screen(self) -> Console:
        """Of what is told beside the result."""
        return console(stderr=self.as_json)


def promote(
    sweep: str, home: Home, *, wish: Wish, address: str | None, ledger: str | None, tracking: str | None, as_json: bool
) -> int:
    """Retrain, judge and register. UserError: there is no candidate, or nobody has agreed to what its retraining costs."""
    check_name(wish.model)
    reader = LedgerReader.open(home.existing_ledger(ledger))
    spec = stored_spec(reader.sweep(sweep).spec, sweep=sweep)
    spec = spec.model_copy(update={key: uri for key, uri in (("ledger", ledger), ("tracking", tracking)) if uri})
    places = Whereabouts(home, home.locations(spec), address, as_json)
    nomination = _nomination(reader, sweep, spec, wish, places)
    if nomination.is_champion:
        return _told(nomination, None, None, places, words="nothing changed: it is the champion already")
    if not as_json:
        _print_nomination(nomination, places.screen)
    made = evidence(reader, nomination, compares=nomination.rival is None or nomination.rival.hours == 0)
    doubted = [gate for gate in known_before(nomination.candidate) if gate.standing != "holds"]
    before = [gate for gate in doubted if not gate.holds]
    if wish.dry_run:
        return _told(nomination, made, None, places, words="nothing was started", before=doubted)
    if before and not wish.forced:
        names = ", ".join(gate.name for gate in before)
        words = f"not promoted, and nothing was trained: {names} {_fails(before)}; --force says why it may all the same"
        return _told(nomination, made, None, places, words=words, before=before)
    if not made or made.fresh.unfinished or (nomination.rival is not None and nomination.rival.hours != 0):
        _agreed(wish, places)
    return _retrain_and_judge(reader, nomination, wish, places)


def _retrain_and_judge(reader: LedgerReader, nomination: Nomination, wish: Wish, places: Whereabouts) -> int:
    if (code := _trained(nomination.spec, nomination, reader, places)) is not None:
        return code
    made = evidence(reader, nomination, compares=nomination.rival is None, forced=wish.forced)
    assert made is not None, "it has just been trained"
    if nomination.rival is not None and (not made.failed or wish.forced):
        if (code := _trained(nomination.rival.spec, nomination, reader, places)) is not None:
            return code
        made = evidence(reader, nomination, compares=True, forced=wish.forced)
        assert made is not None, "it is still there"
    if made.failed and not wish.forced:
        kept = (
            f"{nomination.model} keeps its champion" if nomination.standing.champion else f"{nomination.model} has no champion"
        )
        names = ", ".join(gate.name for gate in made.failed)
        return _told(nomination, made, None, places, words=f"not promoted, {kept}: {names} {_fails(made.failed)}")
    if not made.fresh.scored:
        raise UserError(f"a champion must have weights with a score, got none of {nomination.spec.name}; promote another")
    with noise_to(places.home.log("promote.log")):
        promotion = register(
            reader,
            nomination.spec.name,
            replace(made, forced=wish.forced if made.failed else ""),
            name=nomination.model,
            standing=nomination.standing,
            locations=places.locations,
        )
    return _told(nomination, made, promotion, places, words=str(promotion))


def _nomination(reader: LedgerReader, sweep: str, spec: SweepSpec, wish: Wish, places: Whereabouts) -> Nomination:
    with noise_to(places.home.log("promote.log")):
        standing = Registry(places.locations.tracking).standing(wish.model)
    return nominate(reader, sweep, spec, model=wish.model, trial=wish.trial, seeds=wish.seeds, standing=standing)


def _agreed(wish: Wish, places: Whereabouts) -> None:
    """UserError: nobody has said that the retraining may be paid for."""
    if wish.yes:
        return
    if places.as_json or not sys.stdin.isatty():
        raise UserError("a retraining is started when somebody agrees to its cost, and there is no terminal to ask; give --yes")
    typer.confirm("train it?", abort=True)


def _trained(spec: SweepSpec, nomination: Nomination, reader: LedgerReader, places: Whereabouts) -> int | None:
    """Bring a retraining to its end, here or on a cluster; the exit code where it did not get there."""
    plan = resolved(spec, places.home, source=spec.name)
    check_same(plan, nomination.candidate if spec is nomination.spec or not nomination.rival else nomination.rival.candidate)
    if places.address is not None and places.address.startswith(("http://", "https://")):
        return _submitted(spec, places)
    interrupt = Interrupt()
    with interrupt.raising():
        _, result = train(plan, places.home, address=places.address, as_json=places.as_json, interrupt=interrupt)
    if result.state is SweepState.INTERRUPTED:
        places.screen.print(f"interrupted; {standing_of(reader, spec.name)}; promoting again goes on", soft_wrap=True)
        return ExitCode.INTERRUPTED
    if result.reason:
        console(stderr=True).print(f"{result.state}: {result.reason}", soft_wrap=True)
    return None


def _submitted(spec: SweepSpec, places: Whereabouts) -> int | None:
    from jit_sweep.submit import submit  # starts Ray's client

    assert places.address is not None
    sent = submit(
        spec,
        address=places.address,
        home=places.home,
        wait=True,
        echo=lambda line: typer.echo(line, file=sys.stderr if places.as_json else None),
    )
    return sent.exit_code if sent.exit_code not in (ExitCode.DONE, ExitCode.WITHOUT_SCORES) else None


def _print_nomination(nomination: Nomination, screen: Console) -> None:
    """What is to be promoted, what that takes, and what it is compared with."""
    candidate, objective = nomination.candidate, nomination.spec.objective
    say(screen, f"candidate: {arm_label(candidate.values)}, {candidate.reason}")
    if own := candidate.arm.metrics.get(objective):
        bias = f", which the choice alone makes about {candidate.too_good:.2g} too good" if candidate.too_good else ""
        say(screen, f"there: {objective} {own.mean:.5g} over {counted(own.n, 'seed')}{bias}", indent="  ")
    unit = "GPU" if nomination.spec.resources.gpus else "CPU"
    cost = f"about {nomination.hours:.2g} {unit}-hours" if nomination.hours is not None else "at an unknown cost"
    seeds = f"{counted(len(nomination.seeds), 'fresh seed')} ({', '.join(map(str, nomination.seeds))})"
    say(screen, f"retraining: {seeds} of {candidate.arm.images:,} images, {cost}, as the sweep {nomination.spec.name}")
    if project := nomination.spec.project:
        least = f"a gain needs p <= {nomination.asking.alpha:.2g}"
        say(screen, f"project: {project}, of which this is question {nomination.question}, so {least}")
    if nomination.rival is not None:
        rival = nomination.rival
        cost = f"about {rival.hours:.2g} {unit}-hours" if rival.hours is not None else "at an unknown cost"
        trained = "scored on the same seeds" if rival.hours == 0 else f"trained on the same seeds too, {cost}"
        say(screen, f"champion: version {rival.version.number}, {arm_label(rival.candidate.values)}; {trained}")
    elif nomination.no_rival:
        say(screen, f"champion: {nomination.no_rival}")


def _told(
    nomination: Nomination,
    made: Evidence | None,
    done: Promotion | None,
    places: Whereabouts,
    *,
    words: str,
    before: Sequence[Gate] = (),
) -> int:
    """Print what came of it; the exit code. `before`: gates that its own sweep closes or leaves open, whatever is trained."""
    closed = made.gates if made else before
    refused = any(not gate.holds for gate in closed) and done is None
    code = ExitCode.REFUSED if refused else ExitCode.DONE
    if places.as_json:
        print_json("promote", [_row(nomination, made, done, gates=closed)], told=words)
        return code
    screen = places.screen
    for line in gates_in_words(closed):
        say(screen, line, indent="  ")
    for line in words.splitlines():
        say(screen, line)
    shared = places.home.shared_options(places.locations)
    if done is not None or nomination.is_champion:
        print_next(screen, *model_commands(nomination.model, shared.of_model), hint=shared.of_model.hint)
    elif made is not None:
        print_next(screen, _leaderboard(shared, nomination.spec.name), hint=shared.hint)
    return code


def _leaderboard(shared: SharedOptions, sweep: str) -> str:
    return shared.command("leaderboard", sweep)


def _row(nomination: Nomination, made: Evidence | None, done: Promotion | None, *, gates: Sequence[Gate]) -> dict[str, Any]:
    candidate, score = nomination.candidate, made.score if made else None
    return {
        "model": nomination.model,
        "promoted": done is not None,
        "changed": done is not None,
        "version": done.version if done else _number(nomination),
        "previous": done.previous if done else None,
        "cell": dict(candidate.values),
        "chosen": candidate.reason,
        "too_good": candidate.too_good,
        "retraining": nomination.spec.name,
        "seeds": list(nomination.seeds),
        "device_hours": nomination.hours,
        "project": nomination.spec.project,
        "question": nomination.question,
        "alpha": nomination.asking.alpha,
        "trial": done.trial if done else None,
        "score": asdict(score) if score else None,
        "gates": [gate._asdict() for gate in gates],
        "against_champion": finding_row(made.finding, planned=True) if made and made.finding else None,
        "forced": done.forced or None if done else None,
    }


def _number(nomination: Nomination) -> int | None:
    champion = nomination.standing.champion
    return champion.number if champion else None


def _fails(gates: Sequence[Gate]) -> str:
    return "does not hold" if len(gates) == 1 else "do not hold"
