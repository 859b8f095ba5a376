"""Addresses in a sweep file."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from jit_sweep.redact import redact


def _without_password(uri: str) -> str:
    if redact(uri) != uri:
        raise ValueError(
            "a URI must not carry a password; put credentials into the environment (PGPASSWORD, AWS_SECRET_ACCESS_KEY)"
        )
    return uri


Uri = Annotated[str, Field(min_length=1), AfterValidator(_without_password)]


def located(uri: str) -> str:
    """A URI whose relative path, if it is one, is made absolute."""
    scheme, database, path = uri.partition(":///")
    if database and scheme.startswith("sqlite"):
        return f"{scheme}:///{Path(path).expanduser().absolute()}"
    return str(Path(uri).expanduser().absolute()) if "://" not in uri and not uri.startswith("file:") else uri
