"""What can be evaluated: a trial of a ledger, a registered model, a model's folder, or a checkpoint of the official code."""

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jit_sweep.errors import UserError
from jit_sweep.home import Home
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.models import official
from jit_sweep.models.model_folder import AUTOENCODER, LINEAGE, WEIGHTS, load_guide, read_config
from jit_sweep.plan.images import with_prepared
from jit_sweep.redact import redact
from jit_sweep.results.naming import full_id
from jit_sweep.spec.stored import readable
from trainables.config.average import RAW
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import packaged
from trainables.data.holdout import Holdout

if TYPE_CHECKING:
    from trainables.evaluation.evaluator import Weights
    from trainables.networks.network import Network

MOST_IMAGES = 2**53


@dataclass(frozen=True)
class ImagesAt:
    """Where an image set lies."""

    address: str
    holdout: Holdout | None = None


@dataclass(frozen=True)
class Owned:
    """The trial of a ledger that weights are of."""

    sweep: str
    trial_id: str


@dataclass(frozen=True)
class Trained:
    """Trained weights and all that is needed to score them."""

    name: str
    """What it is, for people."""
    trial: TrialConfig
    evaluation: EvaluationConfig
    """How its own scores were drawn."""
    weights: "Weights"
    images: int | None
    """That the weights have seen; None where nothing says so."""
    data: ImagesAt | None
    """None where nothing says which images it was trained on."""
    storage: str
    """Where features of real images are kept."""
    autoencoder: bytes | None = None
    """Of a latent trial: the file of the autoencoder whose codes it sees."""
    guide: "Network | None" = None
    """The classifier that a model's folder takes along."""
    owned: Owned | None = None


@dataclass(frozen=True)
class Places:
    """Where a command looks for what it is given."""

    home: Home
    reader: LedgerReader | None
    """None: there is no ledger."""
    tracking: str


def find(what: str, places: Places) -> Trained:
    """What a person names. UserError: it is nothing that can be evaluated, or its weights are damaged or gone."""
    if what.startswith((".", "/")) or what.endswith("/") or Path(what).is_file():
        return _of_path(Path(what), places)
    if places.reader is not None and (rows := places.reader.trial_entries(what)):
        trial = full_id(what, [row.trial_id for row in rows], option="evaluate")
        return of_trial([row for row in rows if row.trial_id == trial], places)
    from jit_sweep.tracking import registry  # starts MLflow

    with tempfile.TemporaryDirectory() as temporary:
        try:
            folder = registry.load(what, tracking_uri=places.tracking, folder=Path(temporary))
        except UserError as error:
            rule = "`evaluate` needs a trial, a model, a folder or a checkpoint"
            raise UserError(f"{rule}, got {what!r}: no trial begins so, and {error}") from None
        return replace(_of_folder(folder, places), name=f"the model {what}")


def _of_path(path: Path, places: Places) -> Trained:
    if not path.exists():
        raise UserError(f"`evaluate` needs a folder or a checkpoint that exists, got {path}; check the path")
    if path.is_dir():
        return _of_folder(path, places)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "imported"
        official.import_checkpoint(path, folder)
        return replace(_of_folder(folder, places), name=f"the official checkpoint {path}")


def _of_folder(folder: Path, places: Places) -> Trained:
    """A model's folder, with every weights that it has."""
    config = read_config(folder)
    files = {config.evaluation.weights: WEIGHTS}
    if (folder / official.RECORD).exists():
        own = (RAW, *(average.name for average in config.trial.ema))
        files = dict(zip(own, official.FILES.values(), strict=True))
    owned, images = _lineage(folder, places)
    rows = places.reader.trial_entries(owned.trial_id) if places.reader is not None and owned is not None else []
    return Trained(
        name=f"the folder {folder}",
        trial=config.trial,
        evaluation=config.evaluation,
        weights=_weights(config.trial, folder, files),
        images=images,
        data=_data_of(rows, places) or _packaged(config.trial),
        storage=places.home.locations().storage,
        autoencoder=_autoencoder_in(folder) if config.trial.space.kind == "latent" else None,
        guide=load_guide(folder),
        owned=owned if rows else None,
    )


def _weights(trial: TrialConfig, folder: Path, files: Mapping[str, str]) -> "Weights":
    """Weights by name from safetensors files. UserError: one is missing, damaged, or of another network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from trainables.networks.registry import blank_model

    shapes = {name: tensor.shape for name, tensor in blank_model(trial).state_dict().items()}
    found = {}
    for name, file in files.items():
        try:
            found[name] = load_file(folder / file)
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"a model's weights must be a safetensors file, got {folder / file} ({error}); export it again"
            ) from error
        odd = sorted({key for key, _ in shapes.items() ^ {(k, t.shape) for k, t in found[name].items()}})
        if odd:
            rule = "a model's weights must fit its config.json"
            raise UserError(f"{rule}, got other names or shapes in {folder / file}: {', '.join(odd[:4])}; export it again")
    return found


def _autoencoder_in(folder: Path) -> bytes:
    """UserError: the folder lacks it."""
    try:
        return (folder / AUTOENCODER).read_bytes()
    except OSError as error:
        rule = f"a latent model's folder must hold its {AUTOENCODER}"
        raise UserError(f"{rule}, got {folder} ({error.strerror}); export it again") from error


def _autoencoder_of(trial: TrialConfig, storage: str) -> bytes:
    """UserError: the storage lacks it."""
    from trainables.training.encoders import kept_autoencoder

    try:
        return kept_autoencoder(trial, storage)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _lineage(folder: Path, places: Places) -> tuple[Owned | None, int | None]:
    """The trial that a folder's weights are of, and the images that they have seen."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads((folder / LINEAGE).read_bytes())
        return Owned(str(told["sweep"]), str(told["trial"])), int(told["images"])
    return None, None


def of_trial(rows: list[EntryRow], places: Places, *, images: int | None = None) -> Trained:
    """A trial's newest checkpoint that is whole, of the ledger's entries about it; the one at so many images. UserError: there
    is none."""
    from trainables.config.average import MODEL, OPTIMISER
    from trainables.storage.checkpoint import Store
    from trainables.storage.whole import newest_whole

    row, storage = rows[0], _storage_of(rows, places)
    try:
        found = newest_whole(Store(storage), row.trial_id, most_images=images or MOST_IMAGES)
    except OSError as error:
        raise UserError(f"the checkpoint of trial {row.trial_id} must be readable, got {redact(storage)}: {error}") from error
    if found.commit is None or found.checkpoint is None or images not in (None, found.commit.images):
        why = f" ({found.damages[0].why})" if found.damages else ""
        wanted = "a checkpoint" if images is None else f"its checkpoint at {images:,} images"
        remedy = "train it again, or name a trial whose checkpoint was kept"
        raise UserError(f"trial {row.trial_id} must have {wanted} in {redact(storage)}, got none{why}; {remedy}")
    parts = found.checkpoint.tensors
    own = next((each for each in rows if each.images == found.commit.images), row)
    return Trained(
        name=f"trial {row.trial_id} of {row.sweep}",
        trial=row.trial,
        evaluation=own.evaluation,
        weights={RAW if part == MODEL else part: tensors for part, tensors in parts.items() if part != OPTIMISER},
        images=found.commit.images,
        data=_data_of(rows, places),
        storage=storage,
        autoencoder=_autoencoder_of(row.trial, storage) if row.trial.space.kind == "latent" else None,
        owned=Owned(own.sweep, row.trial_id),
    )


def _data_of(rows: list[EntryRow], places: Places) -> ImagesAt | None:
    """The images of the latest sweep among these that this version can read."""
    assert places.reader is not None or not rows
    for row in rows:
        spec = readable(places.reader.sweep(row.sweep).spec) if places.reader else None
        if spec is not None:
            data = with_prepared(spec, places.home.locations(spec).storage).data
            return ImagesAt(data.address, data.holdout)
    return None


def _storage_of(rows: list[EntryRow], places: Places) -> str:
    assert places.reader is not None
    return places.home.locations(readable(places.reader.sweep(rows[0].sweep).spec)).storage


def _packaged(trial: TrialConfig) -> ImagesAt | None:
    """The packaged set that a trial was trained on."""
    return next((ImagesAt(name) for name in packaged.names() if packaged.record(name).digest == trial.data.digest), None)
