"""The commands below `stats`. Each body imports what it starts."""

from pathlib import Path
from typing import Annotated

import typer

from jit_sweep.cli.options import AsJson, File, HomeFolder
from jit_sweep.home import DEFAULT_HOME

app = typer.Typer(help="Statistics of real images that generated ones are compared with.", no_args_is_help=True)


@app.command()
def build(file: File, home_folder: HomeFolder = DEFAULT_HOME, as_json: AsJson = False) -> int:
    """Compute the features of a sweep's real images into its storage, where its trials find them."""
    from jit_sweep.cli import stats

    return stats.build(file, home_folder=home_folder, as_json=as_json)


@app.command("import")
def import_(
    statistics: Annotated[str, typer.Argument(metavar="NPZ", help="What JiT, ADM, MAR or pytorch-fid wrote.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Path or URI of the file for `evaluation.reference`.")],
    size: Annotated[int, typer.Option(min=1, help="Height and width of the images that they are of.")],
    features: Annotated[
        str, typer.Option(help="Their network, as KIND_HASH with 12 digits of its weights' hash.")
    ] = "inception_6726825d0af5",
    as_json: AsJson = False,
) -> int:
    """Make another tool's statistics ready for sweeps, and print the lines for the sweep file."""
    from jit_sweep.cli import stats

    return stats.import_npz(statistics, out, size=size, features=features, as_json=as_json)


@app.command()
def export(
    file: File,
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The npz to write.")],
    heldout: Annotated[bool, typer.Option("--heldout", help="Of the held-out images, not the training ones.")] = False,
    home_folder: HomeFolder = DEFAULT_HOME,
    as_json: AsJson = False,
) -> int:
    """Write the statistics of a sweep's real images as JiT's own evaluation reads them."""
    from jit_sweep.cli import stats

    return stats.export(file, out, heldout=heldout, home_folder=home_folder, as_json=as_json)
