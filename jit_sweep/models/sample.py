"""Images from a registered model, or from a model's folder."""

import tempfile
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.models.images import images_of
from jit_sweep.models.model_folder import load_guide, load_network, read_config
from jit_sweep.tracking import registry
from trainables.evaluation.grid import write_grid

COLUMNS = 8


def draw(model: str, *, tracking_uri: str, out: Path, n: int, seed: int) -> None:
    """Write a grid of n images as PNG, drawn as the model's scores were, with its classes in turn.

    `model` is a registered name, or the folder of an exported or imported model, which begins with a dot or a slash or ends
    with a slash. UserError: there is no such model, its files are gone, or `out` cannot be written.
    """
    if out.is_dir():
        raise UserError(f"`--out` must be a PNG file to write, got the folder {out}")
    if out.suffix.lower() != ".png":
        raise UserError(f"`--out` must be a PNG file to write, got {out}; name it {out.stem or 'samples'}.png")
    with tempfile.TemporaryDirectory() as temporary:
        if model.startswith((".", "/")) or model.endswith("/"):
            folder = Path(model)
        else:
            folder = registry.load(model, tracking_uri=tracking_uri, folder=Path(temporary))
        config, network, guide = read_config(folder), load_network(folder), load_guide(folder)
    if not config.trial.draws:
        raise UserError(f"samples are drawn from noise, got {model}, a {config.trial.method.kind}; score it with `evaluate`")
    if config.trial.method.kind == "autoencoder":
        rule = "samples are drawn from noise, and an autoencoder makes images from images"
        raise UserError(f"{rule}, got {model}; look at its trial's pictures, or score it with `evaluate`")
    try:
        write_grid(images_of(network, config, guide=guide, n=n, seed=seed), str(out.absolute()), columns=min(n, COLUMNS))
    except ValueError as error:
        raise UserError(f"the model's samples must follow its training: {error}") from None
    except OSError as error:
        raise UserError(f"`--out` must be a PNG file that can be written, got {out} ({error.strerror})") from None
