"""Addresses without their passwords, for every message, log and table."""

import re
from urllib.parse import unquote

HIDDEN = "***"
LEAST_PIECE = 3
# Greedy up to the last @: an unescaped @ or / in a password must not leave half of it standing.
_USERINFO = re.compile(r"(://[^:/?#@\s]*):(\S+)@")
_PARAMETER = re.compile(r"([?&][^=&#\s]*(?:pass|secret|token|key|sig)[^=&#\s]*)=([^&#\s]*)", re.IGNORECASE)


def redact(uri: str) -> str:
    """The address with its password and secret-looking parameters replaced by `***`."""
    return _PARAMETER.sub(rf"\1={HIDDEN}", _USERINFO.sub(rf"\1:{HIDDEN}@", uri))


def redact_all(text: str, *, uri: str) -> str:
    """A text, such as a driver's error, without the secrets of the address it may repeat."""
    matches = [match.group(2) for pattern in (_USERINFO, _PARAMETER) for match in pattern.finditer(uri)]
    # A driver splits an unescaped password where we do not, and repeats the half that it takes for a host or a path.
    pieces = [piece for secret in matches for piece in re.split("[@/:?#]", secret) if len(piece) >= LEAST_PIECE]
    secrets = {form for secret in [*matches, *pieces] for form in (secret, unquote(secret)) if form}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return redact(text)
