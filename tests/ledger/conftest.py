"""Every ledger test runs on sqlite and on a real PostgreSQL, each in a database of its own."""

from tests.support.databases import engine, ledger_uri, postgres_server, postgres_uri

__all__ = ["engine", "ledger_uri", "postgres_server", "postgres_uri"]
