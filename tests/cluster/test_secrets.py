"""Credentials come from the environment, and from there go nowhere."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jit_sweep.ledger.connect import open_engine
from tests.support.cli import DEADLINE_S, environment
from tests.support.ledger import contents
from tests.support.ray_head import Head, running_head
from tests.support.s3 import BUCKET, SECRET_KEY, S3Server
from tests.support.sweep_files import write_sweep_of_few_images
from trainables.storage.folder import Folder

PLANTED = {"PGPASSWORD": "planted-in-postgres", "MLFLOW_TRACKING_PASSWORD": "planted-in-mlflow"}
SECRETS = (SECRET_KEY, *PLANTED.values())
FAILS = {"axes": {"learning_rate": [1e-3, 1e30]}}


@pytest.fixture
def head(s3: S3Server) -> Iterator[Head]:
    """A cluster whose machines have the credentials in their environment."""
    with running_head({**PLANTED, **s3.environment()}) as started:
        yield started


def files_with_secrets(folder: Path) -> list[str]:
    """Files below a folder in which a secret stands, with the secret."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            found += [f"{file}: {secret}" for secret in SECRETS if secret.encode() in content]
    return found


def test_a_planted_password_is_found_nowhere_once_a_job_has_run(
    tmp_path: Path, head: Head, s3: S3Server, postgres_uri: str
) -> None:
    storage = f"s3://{BUCKET}/secrets"
    one_lane = {"cpus": 1, "concurrent": 1}
    file = write_sweep_of_few_images(
        tmp_path, stages=[{"grid": FAILS}], resources=one_lane, storage=storage, ledger=postgres_uri
    )
    submit = [sys.executable, "-P", "-m", "jit_sweep", "submit", file, "--address", head.url]
    mine = environment(tmp_path, **head.client_env, **PLANTED, **s3.environment())
    done = subprocess.run(submit, cwd=tmp_path, env=mine, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert "learning_rate=0.001" in done.stdout, done.stdout + done.stderr
    told = {
        "what submit said": done.stdout + done.stderr,
        "job metadata": json.dumps(head.call("/api/jobs/")),
        "ledger": repr(contents(open_engine(postgres_uri))),
    }
    store = Folder(storage)
    objects = {name: store.read(name) for name in _objects(store)}
    assert len(objects) > 4
    assert [place for place, text in told.items() for secret in SECRETS if secret in text] == []
    assert [name for name, content in objects.items() for secret in SECRETS if secret.encode() in content] == []
    assert files_with_secrets(tmp_path) == []  # the home with MLflow and the logs
    assert files_with_secrets(head.home.parent) == []  # what Ray writes


def test_the_search_for_planted_passwords_can_fail(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"could not log in with {SECRET_KEY}")
    assert len(files_with_secrets(tmp_path)) == 1


def _objects(store: Folder) -> list[str]:
    """The names of everything in a store."""
    root = store._root.rstrip("/")
    return [path.removeprefix(f"{root}/") for path in store._fs.find(root)]
