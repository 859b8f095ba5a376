"""Fixtures: every ledger test runs on sqlite and on a real PostgreSQL, each in a database of its own."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from jit_sweep.ledger.connect import open_engine
from tests.support.postgres import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres() as uri:
        yield uri


@pytest.fixture
def postgres_uri(postgres_server: str) -> str:
    """An empty database."""
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_server.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new ledger may be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    uri: str = request.getfixturevalue("postgres_uri")
    return uri


@pytest.fixture
def engine(ledger_uri: str) -> Iterator[Engine]:
    opened = open_engine(ledger_uri)
    yield opened
    opened.dispose()
