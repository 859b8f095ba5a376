"""Addresses in a sweep file, and the one way between a path and each kind of URI."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, Field

from jit_sweep.redact import redact
from trainables.storage.address import check_protocol, check_slashes, checked_path, local_path

_SQLITE = re.compile(r"(?P<driver>sqlite(\+\w+)?):///(?P<database>[^?]+)(?P<query>\?.*)?", re.DOTALL)
_ESCAPED = re.compile(r"[\x00-\x1f\x7f%?#]")


def sqlite_uri(path: Path) -> str:
    """The database URI of a sqlite file, as SQLAlchemy reads it."""
    return f"sqlite:///{_escaped(path)}"


def sqlite_path(uri: str) -> Path | None:
    """The file behind a sqlite URI; None behind any other, and where it names none."""
    match = _SQLITE.fullmatch(uri)
    return Path(unquote(match["database"])) if match else None


def _escaped(path: Path) -> str:
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", str(path))


def artifact_uri(folder: str) -> str:
    """The address of a folder or URI as MLflow takes it: it takes escapes off paths too."""
    path = local_path(folder)
    return folder if path is None else path.as_uri()


def _without_password(uri: str) -> str:
    if "://" in uri and redact(uri) != uri:
        raise ValueError(
            "a URI must not carry a password; put credentials into the environment (PGPASSWORD, AWS_SECRET_ACCESS_KEY)"
        )
    return uri


LEDGER_FORMS = "sqlite:///FILE or postgresql://HOST/DATABASE"
TRACKING_FORMS = "http(s)://HOST:PORT, sqlite:///FILE or postgresql://HOST/DATABASE"
_SCHEMES = {
    "ledger": ("sqlite", "postgresql", "postgres"),
    "tracking": ("http", "https", "sqlite", "postgresql", "mysql", "mssql"),
}
_FORMS = {"ledger": LEDGER_FORMS, "tracking": TRACKING_FORMS}


def _of_form(key: str, uri: str) -> str:
    """A server's or database's address by its scheme, with what must follow it."""
    scheme, separator, rest = uri.partition("://")
    place = rest.removeprefix("/") if scheme.startswith("sqlite") else _server(uri)
    if not separator or not place or scheme.partition("+")[0] not in _SCHEMES[key]:
        raise ValueError(f"`{key}` must be {_FORMS[key]}, got {redact(uri)}")
    if (path := sqlite_path(uri)) is not None:
        checked_path(str(path))
    return uri


def _server(uri: str) -> str:
    """The host of a server's address, also where a query names it, as PostgreSQL's may; empty where it is none."""
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises on one above 65535
    except ValueError:
        return ""
    return parts.hostname or "".join(parse_qs(parts.query).get("host", []))


def tracking_of_form(uri: str) -> str:
    """The address of an MLflow store. ValueError: it is of another form."""
    return _of_form("tracking", uri)


def _storable(uri: str) -> str:
    """A path, or a URI of a protocol that fsspec knows."""
    check_protocol(uri, key="storage")
    return uri


def _of_data(uri: str) -> str:
    """A path, or a URI: whether a reader takes it is asked when it is read."""
    check_slashes(uri, key="uri")
    local_path(uri)
    return uri


Uri = Annotated[str, Field(min_length=1), AfterValidator(_without_password)]
LedgerUri = Annotated[Uri, AfterValidator(partial(_of_form, "ledger"))]
TrackingUri = Annotated[Uri, AfterValidator(tracking_of_form)]
StorageUri = Annotated[Uri, AfterValidator(_storable)]
DataUri = Annotated[Uri, AfterValidator(_of_data)]


def located(uri: str) -> str:
    """An address that means the same from every folder: paths, also those in file: and sqlite URIs, are made absolute."""
    if (database := _SQLITE.fullmatch(uri)) is not None:
        path = checked_path(unquote(database["database"]))
        return f"{database['driver']}:///{_escaped(path)}{database['query'] or ''}"
    return uri if (place := local_path(uri)) is None else str(place)
