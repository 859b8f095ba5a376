"""Ray clusters, and the services that a sweep on one talks to."""

from tests.support.databases import postgres_server, postgres_uri
from tests.support.s3 import running_s3, s3

__all__ = ["postgres_server", "postgres_uri", "running_s3", "s3"]
