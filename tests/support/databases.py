"""Fixtures: every ledger test runs on sqlite and on a real PostgreSQL, each in a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from jit_sweep.ledger.connect import open_engine
from tests.support.postgres import fresh_database, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres() as uri:
        yield uri


@pytest.fixture
def postgres_uri(postgres_server: str) -> Iterator[str]:
    """An empty database."""
    with fresh_database(postgres_server) as uri:
        yield uri


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
