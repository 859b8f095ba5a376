"""A real PostgreSQL for the played sweeps too."""

from tests.support.databases import postgres_server, postgres_uri

__all__ = ["postgres_server", "postgres_uri"]
