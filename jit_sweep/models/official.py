"""Models of the official JiT code as folders of ours, and back.

config.json            how to build the network and how to sample from it (`ModelFolderConfig`)
model.safetensors      `model_ema1`, which the official code evaluates; `jit_sweep.load_network` loads it
raw.safetensors        `model`, the weights themselves
ema2.safetensors       `model_ema2`
positions.safetensors  the three copies of `pos_embed`; two of them are averaged, and so rounded
official.json          the plain settings in `args`, and the epoch
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from jit_sweep.errors import UserError
from jit_sweep.models.model_folder import CONFIG, WEIGHTS, ModelFolderConfig, read_config, require_new
from jit_sweep.models.official_settings import READ, args_of, config_of, lacking, official_name
from jit_sweep.spec.explained import explain
from trainables.config.fields import Frozen, NonNegativeInt
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.official.file import OfficialFile, read, write
from trainables.official.kept import read_weights, write_weights
from trainables.official.shapes import check_fits, sizes_of
from trainables.official.words import Scalar

FILES = {"model": "raw.safetensors", "model_ema1": WEIGHTS, "model_ema2": "ema2.safetensors"}
POSITIONS = "positions.safetensors"
RECORD = "official.json"
_OFFICIAL_PARTS = {
    "norm": "rms",
    "mlp": "swiglu",
    "rope": True,
    "qk_norm": True,
    "position": "sincos",
    "output_skip": "none",
    "bias": True,
    "qk_norm_kind": "rms",
    "rope_kind": "axial",
    "time_period": 10_000.0,
    "adaln_shift": True,
    "final_norm": None,
    "normalise_input": False,
    "size_embedding": False,
    "time_kind": "raw",
    "mlp_norm": None,
}


class OfficialRecord(Frozen):
    """What `official.json` holds: the rest of a checkpoint."""

    args: dict[str, Scalar]
    namespace: bool
    """Whether `args` was an argparse.Namespace; a dict otherwise."""
    epoch: NonNegativeInt | None


@dataclass(frozen=True)
class Imported:
    """A folder that came from a checkpoint."""

    folder: str
    trial: str
    """Its id."""
    model: str | None
    """The official name of its size."""
    parameters: int
    files: Mapping[str, int]
    """Name -> bytes."""
    left_out: Mapping[str, str]
    """What of the checkpoint is not kept, and why."""


@dataclass(frozen=True)
class Exported:
    """A checkpoint that came from a folder."""

    checkpoint: str
    bytes: int
    weights: tuple[str, ...]
    """The folder's files that `model`, `model_ema1` and `model_ema2` came from, in this order."""
    args: Mapping[str, Scalar]
    lacking: tuple[str, ...]
    """How its samples were drawn that the official sampler has no setting for."""


def import_checkpoint(checkpoint: Path, folder: Path, *, class_tokens_start: int | None = None) -> Imported:
    """Write an official checkpoint as a new or empty folder, whole or not at all.

    `class_tokens_start` is for a model whose size has no official name: its tensors do not tell it.
    UserError: the file is not a sound checkpoint, or the folder is not empty or cannot be written.
    """
    require_new(folder)
    file, config = _understood(checkpoint, class_tokens_start=class_tokens_start)
    record = OfficialRecord(args=dict(file.args), namespace=file.namespace, epoch=file.epoch)
    with new_folder(folder) as part:
        write_weights(file, part, files=FILES, positions=POSITIONS)
        (part / CONFIG).write_text(config.model_dump_json(indent=1) + "\n")
        (part / RECORD).write_text(record.model_dump_json(indent=1) + "\n")
        sizes = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
    name = official_name(config.trial.model)
    return Imported(str(folder), config.trial.id, name, parameter_count(config.trial), sizes, file.left_out)


def export_checkpoint(folder: Path, checkpoint: Path) -> Exported:
    """Write a folder's model as a new checkpoint of the official code, whole or not at all.

    An imported folder gives the checkpoint that it came from, bit for bit but for what was left out (the optimiser).
    A champion's has averaged weights only: they stand as `model`, `model_ema1` and `model_ema2` alike, because the official
    code loads all three, samples from `model_ema1`, and goes on training from `model` with an optimiser that begins anew.
    UserError: the folder holds no such model, or the file exists or cannot be written.
    """
    if checkpoint.is_dir():
        raise UserError(
            f"the checkpoint must be a file, got the folder {checkpoint}; give {checkpoint / 'checkpoint-last.pth'}"
        )
    if checkpoint.exists():
        raise UserError(f"the checkpoint to write must not exist yet, got {checkpoint}; give another name")
    config = read_config(folder)
    require_official(config.trial)
    imported = (folder / RECORD).exists()
    record = _record(folder) if imported else OfficialRecord(args=args_of(config), namespace=True, epoch=None)
    files = FILES if imported else dict.fromkeys(FILES, WEIGHTS)
    try:
        weights = read_weights(config.trial, folder, files=files, positions=POSITIONS if imported else None)
    except (OSError, ValueError) as error:
        raise UserError(f"a model's weights must be readable and fit its {CONFIG}, got {folder}: {error}") from error
    try:
        write(OfficialFile(weights, record.args, namespace=record.namespace, epoch=record.epoch), checkpoint)
    except OSError as error:
        raise UserError(f"the checkpoint must be a file that can be written, got {checkpoint} ({_reason(error)})") from error
    return Exported(str(checkpoint), checkpoint.stat().st_size, tuple(files.values()), record.args, lacking(config.evaluation))


def require_official(trial: TrialConfig) -> None:
    """UserError where a component is not the official network's, or its output is not x, which the official sampler reads, or
    it sees lifted patches, or its first blocks were trained without the class, which the official ones hear."""
    parts = trial.model.model_dump()
    differing = {name: (parts[name], wanted) for name, wanted in _OFFICIAL_PARTS.items() if parts[name] != wanted}
    for part, wanted in (("embedding", "bottleneck"), ("head", "linear"), ("trunk", "transformer")):
        if (kind := parts[part]["kind"]) != wanted:
            differing[part] = (kind, wanted)
    if trial.diffusion.prediction != "x":
        differing["prediction"] = (trial.diffusion.prediction, "x")
    if trial.diffusion.path.kind != "flow":
        differing["path"] = (trial.diffusion.path.kind, "flow")
    if trial.space.kind != "pixels":
        differing["space"] = (trial.space.kind, "pixels")
    if trial.diffusion.dimensions is not None:
        differing["dimensions"] = (trial.diffusion.dimensions, None)
    if any(term.kind == "classifier" for term in trial.diffusion.tapped):
        differing["terms"] = ("classifier", "none")
    if differing:
        got = ", ".join(f"{name}={value} (official: {wanted})" for name, (value, wanted) in differing.items())
        raise UserError(f"the official code runs its own network only, got {got}; use the exported folder with this program")


def _understood(checkpoint: Path, *, class_tokens_start: int | None) -> tuple[OfficialFile, ModelFolderConfig]:
    """A checkpoint that can be written as a folder. UserError: it is none."""
    try:
        file = read(checkpoint)
        _require_read(file.left_out)
        config = config_of(sizes_of(file.weights["model"]), file.args, class_tokens_start=class_tokens_start)
        check_fits(file.weights, config.trial)
    except ValidationError as error:
        mistakes = explain(error, source=str(checkpoint), model=ModelFolderConfig).replace("\n", "; ")
        raise UserError(f"{mistakes}; correct `args` (or --class-tokens-start) and try again") from None
    except ValueError as error:
        raise UserError(f"{checkpoint}: {error}") from error
    except OSError as error:
        raise UserError(f"a checkpoint must be a file that can be read, got {checkpoint} ({_reason(error)})") from error
    return file, config


def _require_read(left_out: Mapping[str, str]) -> None:
    """ValueError: a setting of the model is none that can be read, and the official default would stand in its place."""
    for name in sorted(READ):
        if (got := left_out.get(f"args.{name!r}")) is not None:
            raise ValueError(f"`args.{name}` must be a plain number or word, got {got}; correct `args` and save it again")


def _record(folder: Path) -> OfficialRecord:
    try:
        return OfficialRecord.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        rule = f"an imported folder must hold a sound {RECORD}"
        raise UserError(f"{rule}, got {folder} ({type(error).__name__}); import the checkpoint again") from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` once all is written. UserError: it cannot be written."""
    target = folder.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            part = Path(temporary) / "part"
            part.mkdir()
            yield part
            part.rename(target)
    except OSError as error:
        raise UserError(f"the folder to import to must be one that can be written, got {folder} ({_reason(error)})") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
