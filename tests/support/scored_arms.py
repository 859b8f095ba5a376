"""Arms whose trials have ended, with the scores that a test gives them."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.ledger import LedgerFixture, planned

FD, KID, ERROR = "fd_efflite0_96", "kid_efflite0_96", "heldout_v_error"


def train_arm(
    ledger: LedgerFixture, arm: Mapping[str, Any], values: Sequence[float | Mapping[str, float]], **more: Any
) -> None:
    """One trial a seed, scored with its value in every metric of the verdict, or with the metrics given."""
    for seed, value in enumerate(values):
        scores = value if isinstance(value, Mapping) else dict.fromkeys((FD, KID, ERROR), value)
        ledger.train(planned(arm=arm, seed=seed, position=len(ledger.reader.entries("mine")), **more), scores)


def collapse_arm(ledger: LedgerFixture, arm: Mapping[str, Any], values: Sequence[float]) -> None:
    """Trials with scores that are an accident: each has collapsed."""
    for seed, value in enumerate(values):
        entry = planned(arm=arm, seed=seed, position=len(ledger.reader.entries("mine")))
        ledger.train(entry, dict.fromkeys((FD, KID, ERROR), value), collapsed=True)
