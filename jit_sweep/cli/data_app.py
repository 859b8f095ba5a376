"""The commands below `data`. Each body imports what it starts."""

from pathlib import Path
from typing import Annotated

import typer

from jit_sweep.cli.options import AsJson

app = typer.Typer(help="Prepare images for sweeps, and look at them.", no_args_is_help=True)
Source = Annotated[str, typer.Argument(metavar="URI", help="A folder, zip, parquet, tar, idx or npz of images.")]
Size = Annotated[int | None, typer.Option(min=1, help="Height and width that the images get; as they are without it.")]
Crop = Annotated[str, typer.Option(help="How they become squares: adm, centre, pad or none.")]
ChannelsOption = Annotated[str, typer.Option(help="rgb or grey.")]
Labels = Annotated[str, typer.Option(help="auto, none, or the column of labels.")]
Classes = Annotated[list[str] | None, typer.Option("--class", metavar="NAME", help="Take this class alone; repeatable.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take this many images, spread over the source.")]
FormatOption = Annotated[str | None, typer.Option(help="folder, zip, parquet, tar, npz or idx; found by looking without it.")]


@app.command()
def prepare(
    uri: Source,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Path or URI of the folder that the prepared set becomes.")],
    size: Size = None,
    holdout: Annotated[str | None, typer.Option(help="Images to hold out: 500, 0.02 of them, or a split.")] = None,
    crop: Crop = "adm",
    channels: ChannelsOption = "rgb",
    labels: Labels = "auto",
    classes: Classes = None,
    limit: Limit = None,
    format: FormatOption = None,
    skip_bad: Annotated[int | None, typer.Option(min=0, help="Leave up to this many bad files out.")] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster that does the work.")] = None,
    as_json: AsJson = False,
) -> int:
    """Make a prepared set of images. Interrupted, the same command goes on with what is done."""
    from jit_sweep.cli import data
    from trainables.data.holdout import holdout_of

    asked = data.asked(
        uri,
        image_size=size,
        holdout=None if holdout is None else holdout_of(holdout),
        crop=crop,
        channels=channels,
        labels=labels,
        classes=classes,
        limit=limit,
        format=format,
        on_bad="error" if skip_bad is None else {"skip": skip_bad},
    )
    return data.prepare_set(asked, out, address=address, as_json=as_json)


@app.command()
def inspect(
    uri: Annotated[str, typer.Argument(metavar="URI|SET", help="A source of images, or a prepared set.")],
    sheet: Annotated[Path | None, typer.Option(help="Write the first images as a PNG.")] = None,
    by_class: Annotated[bool, typer.Option("--by-class", help="In the PNG, a row of images for each class.")] = False,
    n: Annotated[int | None, typer.Option(min=1, help="Images that `evaluation.n` will want.")] = None,
    labels: Labels = "auto",
    format: FormatOption = None,
    as_json: AsJson = False,
) -> int:
    """Count what a source or a prepared set holds, and warn of what looks like a mistake."""
    from jit_sweep.cli import data

    asked = data.asked(uri, labels=labels, format=format)
    return data.inspect_set(asked, sheet=sheet, by_class=by_class, n=n, as_json=as_json)
