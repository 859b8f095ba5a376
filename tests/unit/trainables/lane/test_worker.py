"""A lane's worker on one trial: every report is a letter, in order, also what is told from within an evaluation."""

from pathlib import Path

import pytest

from tests.unit.trainables.test_train import assignment
from trainables.lane.loop import LaneSettings
from trainables.lane.messages import AttemptKey, Letter, WorkItem
from trainables.lane.outbox import Outbox
from trainables.process_caches import clear_process_caches
from trainables.report import Decision
from trainables.training.workers import Workers

worker = pytest.importorskip("trainables.lane.worker", reason="ray is needed", exc_type=ImportError)
pytestmark = pytest.mark.usefixtures("one_thread")


def letters(folder: Path) -> list[Letter]:
    """What a worker delivers while it trains and scores a trial."""
    delivered: list[Letter] = []

    def deliver(letter: Letter, _patience_s: float) -> Decision:
        delivered.append(letter)
        return Decision()

    settings = LaneSettings(actor="a", lane="l", threads=1, stall_s=1e9)
    one = worker._LaneWorker(None, settings, workers=Workers())
    one.outbox = Outbox(deliver)
    one._consume(WorkItem(AttemptKey("t", 1), assignment(folder, steps=1, scored=True)))
    return delivered


@pytest.mark.slow
def test_letters_are_counted_one_by_one_whether_told_from_within_or_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_node", lambda: "node")
    monkeypatch.setattr("trainables.training.telling.INTERVAL_S", 1e9)
    clear_process_caches()
    delivered = letters(tmp_path)
    assert [letter.sequence for letter in delivered] == list(range(1, len(delivered) + 1))
    kinds = ["phase", "progress", "committed", "activity", "activity", "scored", "ended"]
    assert [letter.report.kind for letter in delivered] == kinds
