"""A sweep over the same images as a folder, a zip, parquet and tar on a real S3 server: the same trials, the same weights."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import s3fs
from rich.console import Console
from torch import Tensor

from jit_sweep.cli.data import prepare_for
from jit_sweep.cli.plan import planned
from jit_sweep.errors import UserError
from jit_sweep.executor.assignment import settings_of
from jit_sweep.home import home_at
from jit_sweep.plan.entry import Plan
from tests.support.s3 import BUCKET, S3Server
from tests.support.sources import Drawn, write_folder, write_parquet, write_tars, write_zip
from tests.support.sweep_files import write_sweep
from tests.unit.trainables.test_train import assert_same, run, weights
from trainables.assignment import Assignment
from trainables.data import packaged

COUNT = 300
KEYS: dict[str, Any] = {"image_size": 32, "holdout": 32}


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Packaged images, in three classes in turn."""
    return Drawn(pixels=np.load(packaged.record("emoji32").arrays)["images"][:COUNT])


def sweep_on(uri: str, folder: Path) -> Plan:
    """Planned as `run` plans it: the images are listed, prepared into the storage, and found there."""
    folder.mkdir()
    file, home = write_sweep(folder, data={"uri": uri, **KEYS}, objective="heldout_v_error"), home_at(folder / "home")
    before = planned(file, home)
    assert not before.data.is_prepared
    prepare_for(before.spec, home.locations(before.spec).storage, address=None, screen=Console(quiet=True))
    return planned(file, home)


def trained(plan: Plan, folder: Path) -> dict[str, Tensor]:
    """The weights of the first trial, trained without Ray."""
    entry = plan.entries[0]
    settings = settings_of(plan.spec, home_at(folder / "home").locations(plan.spec))
    work = Assignment(
        trial=entry.trial, images=entry.images, evaluations=(), data=settings.data, storage=str(folder / "trained")
    )
    run(work)
    return weights(work)


def test_four_sources_of_the_same_images_train_the_same_trials_to_the_same_weights(
    drawn: Drawn, s3: S3Server, tmp_path: Path
) -> None:
    bucket = f"{BUCKET}/{uuid.uuid4().hex}"
    write_tars(tmp_path / "tars", drawn)
    s3fs.S3FileSystem().put(f"{tmp_path}/tars/", f"{bucket}/", recursive=True)
    sources = {
        "folder": write_folder(tmp_path / "photos", drawn),
        "zip": write_zip(tmp_path / "zipped", drawn),
        "parquet": write_parquet(tmp_path / "shards", drawn),
        "tar": f"s3://{bucket}/{{0000..0002}}.tar",
    }
    plans = {kind: sweep_on(uri, tmp_path / kind) for kind, uri in sources.items()}
    first = plans.pop("folder")
    assert first.data.train_count == COUNT - 32
    expected = trained(first, tmp_path / "folder")
    for kind, plan in plans.items():
        assert [entry.trial_id for entry in plan.entries] == [entry.trial_id for entry in first.entries]
        assert plan.fingerprint == first.fingerprint
        assert_same(trained(plan, tmp_path / kind), expected)


def test_a_set_is_prepared_into_a_bucket_and_trained_from_there(drawn: Drawn, s3: S3Server, tmp_path: Path) -> None:
    storage = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    uri = write_folder(tmp_path / "photos", Drawn(pixels=drawn.pixels[:80]))
    file = write_sweep(tmp_path, data={"uri": uri, **KEYS}, objective="heldout_v_error", storage=storage)
    home = home_at(tmp_path / "home")
    prepare_for(planned(file, home).spec, storage, address=None, screen=Console(quiet=True))
    plan = planned(file, home)
    assert plan.data.uri.startswith(f"{storage}/data/")
    assert trained(plan, tmp_path)


def test_an_address_that_is_wrong_or_closed_is_told_in_a_line(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for uri, words in ((f"s3://{BUCKET}-not/x/", "got nothing at"), (f"s3://{BUCKET}/none/", "got nothing at")):
        with pytest.raises(UserError, match=words):
            planned(write_sweep(tmp_path, data={"uri": uri, **KEYS}), home_at(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(UserError, match="credentials in the environment"):
        planned(write_sweep(tmp_path, data={"uri": f"s3://{BUCKET}/x/", **KEYS}), home_at(tmp_path))
