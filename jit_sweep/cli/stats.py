"""`stats`: statistics of real images made, taken over from other tools, and given to them."""

import hashlib
import re
from pathlib import Path

from jit_sweep.cli.data import PreparationProgress
from jit_sweep.cli.output import console, print_json
from jit_sweep.errors import UserError
from jit_sweep.home import home_at, on_this_machine
from jit_sweep.plan.images import prepared_address, with_prepared
from jit_sweep.redact import redact
from jit_sweep.spec.read import read_spec
from jit_sweep.spec.uri import located
from trainables.config.features import extractor_name
from trainables.data import ImageSet, open_images
from trainables.evaluation.features.registry import extractor
from trainables.evaluation.metrics.frechet import moments
from trainables.evaluation.real import References
from trainables.evaluation.reference import references, variant_of
from trainables.evaluation.statistics_file import StatisticsRecord, moments_of_npz, npz_of, packed
from trainables.report import ExitCode
from trainables.storage.folder import put_file, read_file

_FEATURES = re.compile(r"efflite0_(96|224)|(inception|dinov2|vit)_[0-9a-f]{12}")
_DIMENSIONS = {"efflite0": 1280, "inception": 2048}


def build(file: str, *, home_folder: Path, as_json: bool) -> int:
    """UserError: the sweep's images or weights are not there, or the storage cannot be written."""
    images, variant, real, storage = _real(file, home_folder, as_json=as_json)
    address = f"{storage}/reference/{images.fingerprint}-{variant}.npz"
    row = {
        "address": address,
        "digest": images.fingerprint,
        "extractor": variant,
        "train": len(images.train),
        "heldout": len(images.heldout),
        "dimensions": real.train.features.shape[1],
    }
    if as_json:
        print_json("stats-build", [row])
    else:
        counts = f"{row['train']:,} training and {row['heldout']:,} held-out images"
        console().print(f"{variant}: {row['dimensions']} features of {counts} in {redact(address)}", soft_wrap=True)
    return ExitCode.DONE


def import_npz(statistics: str, out: str, *, size: int, features: str, as_json: bool) -> int:
    """UserError: it is no such file, its content cannot be statistics of these features, or `out` cannot be written."""
    if not _FEATURES.fullmatch(features):
        rule = "--features must be a network and the first 12 digits of its weights' hash, or efflite0_96"
        raise UserError(f"{rule}, got {features!r}; try inception_6726825d0af5, the published one")
    try:
        dimensions = _DIMENSIONS.get(features.partition("_")[0])
        found = moments_of_npz(read_file(located(statistics)), where=redact(statistics), dimensions=dimensions)
        content = packed(found, StatisticsRecord(extractor=features, image_size=size, source=redact(statistics)))
        put_file(located(out), content)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"stats: {error}") from None
    row = {"file": out, "sha256": hashlib.sha256(content).hexdigest(), "extractor": features, "image_size": size}
    if as_json:
        print_json("stats-import", [{**row, "dimensions": len(found.mean)}])
        return ExitCode.DONE
    console().print(f"{len(found.mean)} features of images of {size} px by {features}; for a sweep file:", soft_wrap=True)
    console().print(f"evaluation:\n  reference: {{file: {redact(out)}, sha256: {row['sha256']}}}", soft_wrap=True)
    return ExitCode.DONE


def export(file: str, out: Path, *, heldout: bool, home_folder: Path, as_json: bool) -> int:
    """UserError: the sweep's images or weights are not there, or `out` cannot be written."""
    _, variant, real, _ = _real(file, home_folder, as_json=as_json)
    split = real.heldout if heldout else real.train
    try:
        put_file(str(out.absolute()), npz_of(split.once(moments)))
    except OSError as error:
        raise UserError(f"the npz must be a file that can be written, got {out} ({error.strerror})") from None
    row = {"file": str(out), "extractor": variant, "split": "heldout" if heldout else "train"}
    if as_json:
        print_json("stats-export", [row])
    else:
        console().print(f"wrote mu and sigma of the {row['split']} images' {variant} features to {out}", soft_wrap=True)
    return ExitCode.DONE


def _real(file: str, home_folder: Path, *, as_json: bool) -> tuple[ImageSet, str, References, str]:
    """A sweep's images, the name of their features, these, and the storage that has them."""
    spec, screen = on_this_machine(read_spec(file)), console(stderr=as_json)
    home = home_at(home_folder)
    storage = home.locations(spec).storage
    try:
        spec = with_prepared(spec, storage)
        if prepared_address(spec.data, storage) is not None:
            again = f"`data prepare` it, and name what that wrote in {file}"
            raise UserError(f"`data` must be ready to be trained on, got {redact(spec.data.address)}; {again}")
        if spec.storage is None:
            home.make()
        images = open_images(spec.data.address, holdout=spec.data.holdout)
        features = spec.evaluation.features
        under = extractor_name(features)
        real = references(images, under=under, cache=storage, features=features, read=PreparationProgress(screen))
        return images, variant_of(images, extractor(under, features)), real, storage
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"stats: {error}") from None
