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
from jit_sweep.models.gates import Gate
from jit_sweep.models.promote import Evidence, Promotion, gates_in_words, register
from jit_sweep.models.proposal import Proposal, evidence, propose
from jit_sweep.models.retraining import check_same
from jit_sweep.results.as_json import finding_row
from jit_sweep.spec.stored import stored_spec
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.tracking.registry import Registry, check_name
from search_spaces.axes import arm_label
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
class Places:
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
    places = Places(home, home.locations(spec), address, as_json)
    proposal = _proposal(reader, sweep, spec, wish, places)
    if proposal.is_champion:
        return _told(proposal, None, None, places, words="nothing changed: it is the champion already")
    if not as_json:
        _print_proposal(proposal, places.screen)
    made = evidence(reader, proposal, compares=proposal.rival is None)
    if wish.dry_run:
        return _told(proposal, made, None, places, words="nothing was started")
    if not made or made.fresh.unfinished:
        _agreed(wish, places)
    return _retrain_and_judge(reader, proposal, wish, places)


def _retrain_and_judge(reader: LedgerReader, proposal: Proposal, wish: Wish, places: Places) -> int:
    if (code := _trained(proposal.spec, proposal, reader, places)) is not None:
        return code
    made = evidence(reader, proposal, compares=proposal.rival is None, forced=wish.forced)
    assert made is not None, "it has just been trained"
    if proposal.rival is not None and (not made.failed or wish.forced):
        if (code := _trained(proposal.rival.spec, proposal, reader, places)) is not None:
            return code
        made = evidence(reader, proposal, compares=True, forced=wish.forced)
        assert made is not None, "it is still there"
    if made.failed and not wish.forced:
        kept = f"{proposal.model} keeps its champion" if proposal.standing.champion else f"{proposal.model} has no champion"
        names = ", ".join(gate.name for gate in made.failed)
        return _told(proposal, made, None, places, words=f"not promoted, {kept}: {names} {_fails(made.failed)}")
    if not made.fresh.scored:
        raise UserError(f"a champion must have weights with a score, got none of {proposal.spec.name}; promote another")
    with noise_to(places.home.log("promote.log")):
        promotion = register(
            reader,
            proposal.spec.name,
            replace(made, forced=wish.forced if made.failed else ""),
            name=proposal.model,
            standing=proposal.standing,
            locations=places.locations,
        )
    return _told(proposal, made, promotion, places, words=str(promotion))


def _proposal(reader: LedgerReader, sweep: str, spec: SweepSpec, wish: Wish, places: Places) -> Proposal:
    with noise_to(places.home.log("promote.log")):
        standing = Registry(places.locations.tracking).standing(wish.model)
    return propose(reader, sweep, spec, model=wish.model, trial=wish.trial, seeds=wish.seeds, standing=standing)


def _agreed(wish: Wish, places: Places) -> None:
    """UserError: nobody has said that the retraining may be paid for."""
    if wish.yes:
        return
    if places.as_json or not sys.stdin.isatty():
        raise UserError("a retraining is started when somebody agrees to its cost, and there is no terminal to ask; give --yes")
    typer.confirm("train it?", abort=True)


def _trained(spec: SweepSpec, proposal: Proposal, reader: LedgerReader, places: Places) -> int | None:
    """Bring a retraining to its end, here or on a cluster; the exit code where it did not get there."""
    plan = resolved(spec, places.home, source=spec.name)
    check_same(plan, proposal.candidate if spec is proposal.spec or not proposal.rival else proposal.rival.candidate)
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


def _submitted(spec: SweepSpec, places: Places) -> int | None:
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


def _print_proposal(proposal: Proposal, screen: Console) -> None:
    """What is to be promoted, what that takes, and what it is compared with."""
    candidate, objective = proposal.candidate, proposal.spec.objective
    say(screen, f"candidate: {arm_label(candidate.values)}, {candidate.reason}")
    if own := candidate.arm.metrics.get(objective):
        bias = f", which the choice alone makes about {candidate.too_good:.2g} too good" if candidate.too_good else ""
        say(screen, f"there: {objective} {own.mean:.5g} over {counted(own.n, 'seed')}{bias}", indent="  ")
    unit = "GPU" if proposal.spec.resources.gpus else "CPU"
    cost = f"about {proposal.hours:.2g} {unit}-hours" if proposal.hours is not None else "at an unknown cost"
    seeds = f"{counted(len(proposal.seeds), 'fresh seed')} ({', '.join(map(str, proposal.seeds))})"
    say(screen, f"retraining: {seeds} of {candidate.arm.images:,} images, {cost}, as the sweep {proposal.spec.name}")
    if proposal.rival is not None:
        rival = proposal.rival
        say(screen, f"champion: version {rival.version.number}, {arm_label(rival.candidate.values)}; scored on the same seeds")
    elif proposal.no_rival:
        say(screen, f"champion: {proposal.no_rival}")


def _told(proposal: Proposal, made: Evidence | None, done: Promotion | None, places: Places, *, words: str) -> int:
    """Print what came of it; the exit code."""
    refused = made is not None and bool(made.failed) and done is None
    code = ExitCode.REFUSED if refused else ExitCode.DONE
    if places.as_json:
        print_json("promote", [_row(proposal, made, done)], told=words)
        return code
    screen = places.screen
    for line in gates_in_words(made.gates) if made else ():
        say(screen, line, indent="  ")
    screen.print(words, soft_wrap=True)
    shared = places.home.shared_options(places.locations)
    if done is not None or proposal.is_champion:
        print_next(screen, *model_commands(proposal.model, shared.of_model), hint=shared.of_model.hint)
    elif made is not None:
        print_next(screen, _leaderboard(shared, proposal.spec.name), hint=shared.hint)
    return code


def _leaderboard(shared: SharedOptions, sweep: str) -> str:
    return shared.command("leaderboard", sweep)


def _row(proposal: Proposal, made: Evidence | None, done: Promotion | None) -> dict[str, Any]:
    candidate, score = proposal.candidate, made.score if made else None
    return {
        "model": proposal.model,
        "promoted": done is not None,
        "changed": done is not None,
        "version": done.version if done else _number(proposal),
        "previous": done.previous if done else None,
        "cell": dict(candidate.values),
        "chosen": candidate.reason,
        "too_good": candidate.too_good,
        "retraining": proposal.spec.name,
        "seeds": list(proposal.seeds),
        "device_hours": proposal.hours,
        "trial": done.trial if done else None,
        "score": asdict(score) if score else None,
        "gates": [gate._asdict() for gate in made.gates] if made else [],
        "against_champion": finding_row(made.finding, planned=True) if made and made.finding else None,
        "forced": done.forced or None if done else None,
    }


def _number(proposal: Proposal) -> int | None:
    champion = proposal.standing.champion
    return champion.number if champion else None


def _fails(gates: Sequence[Gate]) -> str:
    return "does not hold" if len(gates) == 1 else "do not hold"
