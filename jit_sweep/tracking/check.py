"""Whether MLflow answers, asked before a sweep starts: the view may fail later, but not be wrong from the first day."""

import http.client
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from jit_sweep.errors import UserError
from jit_sweep.redact import redact
from jit_sweep.spec.uri import TRACKING_FORMS, sqlite_path
from jit_sweep.tracking import client as mlflow_client

TIMEOUT_S = 5.0
_REMEDY = "start it, or mend `tracking`"
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def check(tracking_uri: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Refuse a tracking address that cannot be written to. UserError: address, what was tried, and the remedy."""
    scheme = urlsplit(tracking_uri).scheme.split("+")[0]
    if scheme in ("http", "https"):
        _check_server(tracking_uri, timeout_s=timeout_s)
    elif (file := sqlite_path(tracking_uri)) is not None:
        _check_file(file, tracking_uri)
    elif scheme in _DATABASE_PORTS:
        _check_database(tracking_uri, port=_DATABASE_PORTS[scheme], timeout_s=timeout_s)
    else:
        raise UserError(f"`tracking` must be {TRACKING_FORMS}, got {redact(tracking_uri)}")
    with mlflow_client.answering(tracking_uri):
        mlflow_client.experiment_id(mlflow_client.open_client(tracking_uri))


def _check_server(tracking_uri: str, *, timeout_s: float) -> None:
    url = _health(tracking_uri)
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        raise UserError(_silent(url, f"it answered {error.code} {error.reason}", timeout_s=timeout_s)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(_silent(url, str(reason), timeout_s=timeout_s)) from None


def _check_database(tracking_uri: str, *, port: int, timeout_s: float) -> None:
    """MLflow itself would try for minutes. An address without a host means a local socket, which is left to the driver."""
    parts = urlsplit(tracking_uri)
    if not parts.hostname:
        return
    place = (parts.hostname, parts.port or port)
    try:
        socket.create_connection(place, timeout=timeout_s).close()
    except OSError as error:
        tried = f"a connection to {place[0]}:{place[1]} within {timeout_s:g} s: {error.strerror or error}"
        raise UserError(f"the tracking database must answer before a sweep starts, tried {tried}; {_REMEDY}") from None


def _health(tracking_uri: str) -> str:
    """The health page's address, without the user and password that only the API wants."""
    parts = urlsplit(tracking_uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/health"))


def _silent(url: str, reason: str, *, timeout_s: float) -> str:
    tried = f"GET {redact(url)} within {timeout_s:g} s: {reason}"
    return f"the tracking server must answer before a sweep starts, tried {tried}; {_REMEDY}"


def _check_file(file: Path, tracking_uri: str) -> None:
    folder = next(parent for parent in (file.parent, *file.absolute().parents) if parent.exists())
    target = file if file.exists() else folder
    if not os.access(target, os.W_OK) or not folder.is_dir() or file.is_dir():
        rule = f"the tracking database must be a file that can be written, got {redact(tracking_uri)} ({target})"
        raise UserError(f"{rule}; choose another home with --home, or mend `tracking`")
