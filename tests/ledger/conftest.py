"""Every ledger test runs on sqlite and on a real PostgreSQL, each in a database of its own."""

import pytest
from sqlalchemy import Engine

from tests.support.databases import engine, ledger_uri, postgres_server, postgres_uri
from tests.support.ledger import LedgerFixture

__all__ = ["engine", "ledger", "ledger_uri", "postgres_server", "postgres_uri"]


@pytest.fixture
def ledger(engine: Engine) -> LedgerFixture:
    return LedgerFixture(engine)
