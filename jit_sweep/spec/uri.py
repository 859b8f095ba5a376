"""Addresses in a sweep file."""

from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from jit_sweep.redact import redact
from trainables.config.spelling import did_you_mean


def _without_password(uri: str) -> str:
    if redact(uri) != uri:
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
    place = rest.removeprefix("/") if scheme.startswith("sqlite") else rest.partition("/")[0]
    if not separator or not place or scheme.partition("+")[0] not in _SCHEMES[key]:
        raise ValueError(f"`{key}` must be {_FORMS[key]}, got {redact(uri)}")
    return uri


def _storable(uri: str) -> str:
    """A path, or a URI of a protocol that fsspec knows."""
    scheme, separator, _ = uri.partition("://")
    if separator:
        from fsspec import available_protocols  # here, since most files name no storage

        if scheme not in available_protocols():
            remedy = did_you_mean(scheme, available_protocols(), otherwise="try s3:// or a folder")
            raise ValueError(f"`storage` must be a folder or a URI of a known protocol, got {redact(uri)}; {remedy}")
    return uri


Uri = Annotated[str, Field(min_length=1), AfterValidator(_without_password)]
LedgerUri = Annotated[Uri, AfterValidator(partial(_of_form, "ledger"))]
TrackingUri = Annotated[Uri, AfterValidator(partial(_of_form, "tracking"))]
StorageUri = Annotated[Uri, AfterValidator(_storable)]


def located(uri: str) -> str:
    """A URI whose relative path, if it is one, is made absolute."""
    scheme, database, path = uri.partition(":///")
    if database and scheme.startswith("sqlite"):
        return f"{scheme}:///{Path(path).expanduser().absolute()}"
    return str(Path(uri).expanduser().absolute()) if "://" not in uri and not uri.startswith("file:") else uri
