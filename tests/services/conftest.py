"""Real services: an S3 server, an MLflow store and server, processes of the program's own."""

from tests.support.databases import postgres_server, postgres_uri
from tests.support.ledger import ledger
from tests.support.mlflow import empty_mlflow, store
from tests.support.s3 import running_s3, s3

__all__ = ["empty_mlflow", "ledger", "postgres_server", "postgres_uri", "running_s3", "s3", "store"]
