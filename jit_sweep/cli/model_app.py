"""The commands about models: promoted from a sweep, sampled, exported and converted. Each body imports what it starts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from jit_sweep.cli.options import (
    MODEL,
    AsJson,
    HomeFolder,
    LedgerUri,
    ModelName,
    ModelOrFolder,
    SweepName,
    TrackingUri,
)
from jit_sweep.errors import UserError
from jit_sweep.home import DEFAULT_HOME, home_at

app = typer.Typer()
command = partial(app.command, rich_help_panel="Models")


@command()
def promote(
    sweep: SweepName,
    name: Annotated[str, typer.Option(help="The registered model's name.")],
    trial: Annotated[
        str | None, typer.Option(help="A trial whose configuration is the candidate; without it, the best one that may win.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=3, max=100, help="Fresh seeds that the candidate is trained on.")] = 3,
    yes: Annotated[bool, typer.Option("--yes", help="Start the retraining, whose cost is printed, without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and start nothing.")] = False,
    force: Annotated[
        str, typer.Option(metavar="REASON", help="Make it the champion though gates fail; kept with the model.")
    ] = "",
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster, or http://HOST:PORT of its Jobs API, to retrain on; none: here.")
    ] = None,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Retrain a sweep's best configuration on fresh seeds; it becomes the champion if it is better than the one before."""
    from jit_sweep.cli import promote
    from jit_sweep.cli.promote import Wish

    home, wish = home_at(home_folder), Wish(name, trial=trial, seeds=seeds, yes=yes, dry_run=dry_run, forced=force)
    return promote.promote(sweep, home, wish=wish, address=address, ledger=ledger, tracking=tracking, as_json=as_json)


@command()
def models(home_folder: HomeFolder = DEFAULT_HOME, tracking: TrackingUri = None, as_json: AsJson = False) -> int:
    """List the registered models: versions with their scores and intervals, and aliases."""
    from jit_sweep.cli import registered

    return registered.models(home_at(home_folder), tracking=tracking, as_json=as_json)


@command()
def history(
    model: ModelName, home_folder: HomeFolder = DEFAULT_HOME, tracking: TrackingUri = None, as_json: AsJson = False
) -> int:
    """Show when which version of a model became the champion, and how."""
    from jit_sweep.cli import registered

    return registered.history(model, home_at(home_folder), tracking=tracking, as_json=as_json)


@command()
def rollback(
    model: ModelName,
    to: Annotated[
        int | None, typer.Option(min=1, metavar="VERSION", help="The version; without it, the previous champion.")
    ] = None,
    home_folder: HomeFolder = DEFAULT_HOME,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Make an older version of a model the champion again."""
    from jit_sweep.cli import registered

    return registered.rollback(model, home_at(home_folder), to=to, tracking=tracking, as_json=as_json)


@command()
def sample(
    model: ModelOrFolder,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    n: Annotated[int, typer.Option(min=1, max=10_000, help="Images in the grid.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the starting noise and labels.")] = 0,
    home_folder: HomeFolder = DEFAULT_HOME,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Draw images from a registered model, or from the folder of an exported or imported one."""
    from jit_sweep.cli import models

    return models.sample(model, home_at(home_folder), out=out, n=n, seed=seed, tracking=tracking, as_json=as_json)


@command()
def evaluate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL|MODEL|FOLDER|CHECKPOINT",
            help=f"A trial's id or its first digits. {MODEL}. The FOLDER/ of one. A checkpoint of the official code.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of its `evaluation`, such as steps=25; repeatable."),
    ] = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="Search its best setting: guidance=[1,2,3], interval, weights=all, steps, clamp; n=N, trials=N; repeatable.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw samples, samples by class, and samples above their nearest training images."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Images to score against, where not those it was trained on: a set's name, path or URI.")
    ] = None,
    holdout: Annotated[
        str | None, typer.Option(help="With --data: images to hold out, a number, a share, or a split's name.")
    ] = None,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Score trained weights by any evaluation. What a trial of the ledger scores is kept there, and not drawn again."""
    from jit_sweep.cli import evaluate

    if holdout is not None and data is None:
        raise UserError(f"`--holdout` needs --data, got holdout={holdout} alone; add it")
    asked = evaluate.Request(what, settings or (), data, holdout, tune or (), pictures)
    return evaluate.evaluate(asked, home_at(home_folder), ledger=ledger, tracking=tracking, as_json=as_json)


@command()
def export(
    what: Annotated[str, typer.Argument(help=f"{MODEL}; with --optuna, a sweep.", metavar="MODEL|SWEEP")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A folder that does not exist yet, or is empty.")
    ] = None,
    optuna: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the sweep's trials as an Optuna journal, for optuna-dashboard.")
    ] = None,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Write a registered model's weights, configuration, scores and lineage into a folder, or a sweep into a journal."""
    from jit_sweep.cli import models

    home = home_at(home_folder)
    if (folder is None) == (optuna is None):
        got = "neither" if folder is None else f"{folder} and --optuna {optuna}"
        raise UserError(f"`export` needs DIR for a model, or --optuna FILE for a sweep, got {got}; give one of them")
    if optuna is not None:
        log = home.log("export.log")
        return models.export_journal(what, home.existing_ledger(ledger), file=optuna, log=log, as_json=as_json)
    assert folder is not None
    return models.export(what, home, folder=folder, tracking=tracking, as_json=as_json)


@command()
def import_jit(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A file of the official JiT code, such as .pth.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet, or is empty.")],
    class_tokens_start: Annotated[
        int | None, typer.Option(min=0, help="Block where class tokens begin, where the model's name does not say.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Turn a checkpoint of the official JiT code into a folder of weights and configuration."""
    from jit_sweep.cli import convert

    return convert.import_checkpoint(checkpoint, folder, class_tokens_start=class_tokens_start, as_json=as_json)


@command()
def export_jit(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `import-jit` or `export` wrote.")],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A file that does not exist yet.")],
    as_json: AsJson = False,
) -> int:
    """Turn such a folder, or an exported champion, into a checkpoint that the official JiT code loads."""
    from jit_sweep.cli import convert

    return convert.export_checkpoint(folder, checkpoint, as_json=as_json)


@command()
def export_diffusers(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `export` or an import wrote.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet, or is empty.")],
    as_json: AsJson = False,
) -> int:
    """Lay a model's folder out as a pipeline that diffusers loads where jit-sweep is installed."""
    from jit_sweep.cli import convert

    return convert.export_diffusers(folder, out, as_json=as_json)


@command()
def import_neighbour(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A file that torch.save wrote.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet, or is empty.")],
    preset: Annotated[str, typer.Option(help="The network: a preset of PixNerd, DDT, DeCo, PixelDiT, DiP or LightningDiT.")],
    size: Annotated[int, typer.Option(min=1, help="Side of its images, or latents, in pixels.")] = 256,
    channels: Annotated[int, typer.Option(min=1, help="Of its images or latents.")] = 3,
    prefix: Annotated[str, typer.Option(help="What stands before the names that are meant, such as ema_denoiser.")] = "",
    as_json: AsJson = False,
) -> int:
    """Turn an official checkpoint of a network beside JiT into a folder of weights and configuration."""
    from jit_sweep.cli import convert

    return convert.import_neighbour(
        checkpoint, folder, preset=preset, size=size, channels=channels, prefix=prefix, as_json=as_json
    )


@command()
def export_neighbour(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `import-neighbour` wrote.")],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A file that does not exist yet.")],
    as_json: AsJson = False,
) -> int:
    """Turn such a folder back into a checkpoint under the official names, bit for bit."""
    from jit_sweep.cli import convert

    return convert.export_neighbour(folder, checkpoint, as_json=as_json)
