"""What starts no Ray and no server: sqlite at most."""

from tests.support.ledger import ledger

__all__ = ["ledger"]
