"""`models`, `history` and `rollback`: the registered models and their champions."""

from dataclasses import asdict
from typing import Any

from rich.console import Console

from jit_sweep.cli.models import model_commands
from jit_sweep.cli.output import console, noise_to, print_json, print_next
from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.home import Home
from jit_sweep.ledger.records import when
from jit_sweep.tracking.registry import REFUSED, RegisteredModel, Registry, Version
from trainables.report import ExitCode

SHOWN = ("sweep", "trial", "arm", "seed", "objective", "interval", "chosen_in", "forced", "failed_gates")
"""Tags of a version that its row has as they are."""


def models(home: Home, *, tracking: str | None, as_json: bool) -> int:
    """Every registered model with its versions."""
    with noise_to(home.log("models.log")):
        found = Registry(tracking or home.tracking).models()
    if as_json:
        print_json("models", [_row(model, version) for model in found for version in model.versions])
        return ExitCode.DONE
    screen = console()
    if not found:
        say(screen, "no model is registered; promoting from a sweep registers one")
    for model in found:
        _print_model(model, screen)
    return ExitCode.DONE


def history(name: str, home: Home, *, tracking: str | None, as_json: bool) -> int:
    """When which version became the champion. UserError: there is no such model."""
    with noise_to(home.log("models.log")):
        model = Registry(tracking or home.tracking).model(name)
    if as_json:
        print_json("history", [crowned._asdict() for crowned in model.history], model=name, aliases=dict(model.aliases))
        return ExitCode.DONE
    screen, versions = console(), {version.number: version for version in model.versions}
    for at, number, how in model.history:
        told = f"{at[:10]} {at[11:19]} UTC  version {number} {how.removesuffix(' to')}: {_score(versions[number])}"
        say(screen, told)
        if reason := versions[number].tags.get("forced"):
            say(screen, f"forced: {reason}", indent="  ")
    for version in reversed(model.versions):
        if reason := version.tags.get(REFUSED):
            say(screen, f"version {version.number} never was the champion: {reason}")
    return ExitCode.DONE


def rollback(name: str, home: Home, *, to: int | None, tracking: str | None, as_json: bool) -> int:
    """Make an older version the champion again. UserError: there is no such version."""
    with noise_to(home.log("models.log")):
        now, before = Registry(tracking or home.tracking).roll_back(name, to=to)
    if as_json:
        row = {"model": name, "version": now.number, "previous": before.number if before else None}
        print_json("rollback", [row])
        return ExitCode.DONE
    screen, was = console(), f"; version {before.number} is now the previous champion" if before else ""
    say(screen, f"{name}: version {now.number} is the champion again{was}")
    shared = home.shared_options(home.locations()).of_model
    print_next(screen, *model_commands(name, shared), hint=shared.hint)
    return ExitCode.DONE


def _print_model(model: RegisteredModel, screen: Console) -> None:
    say(screen, model.name, style="bold")
    of = model.versions
    columns = [
        Column("version", [str(version.number) for version in of], right=True),
        Column("alias", [", ".join(_aliases(model, version)) or "-" for version in of], wraps=True),
        Column("score on fresh seeds", [_score(version) for version in of], wraps=True),
        Column("configuration", [version.tags.get("arm", "-") for version in of], 1, wraps=True),
        Column("chosen in", [version.tags.get("chosen_in", version.tags.get("sweep", "-")) for version in of], 2),
        Column("registered", [when(version.created_at)[:16] for version in of], 3),
    ]
    screen.print(table_of(columns, width=screen.width))


def _score(version: Version) -> str:
    """Such as `fd_efflite0_96 318.2 (301 to 335)`."""
    objective = version.tags.get("objective")
    if objective is None or objective not in version.tags:
        return "-"
    interval = f" ({version.tags['interval']})" if "interval" in version.tags else ""
    return f"{objective} {float(version.tags[objective]):.5g}{interval}"


def _aliases(model: RegisteredModel, version: Version) -> list[str]:
    return [alias for alias, number in model.aliases.items() if number == version.number]


def _row(model: RegisteredModel, version: Version) -> dict[str, Any]:
    objective = version.tags.get("objective", "")
    score = version.tags.get(objective)
    facts = {"aliases": _aliases(model, version), "registered": when(version.created_at)}
    told = {tag: version.tags.get(tag) for tag in SHOWN}
    return {**asdict(version), **facts, **told, "score": float(score) if score else None}
