"""What a run tells while it goes on."""

from pathlib import Path

from jit_sweep.cli.progress import subject
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind
from tests.support.ledger import OBJECTIVE, Desk, planned, scored


def test_a_trial_scored_several_ways_is_called_by_what_these_share_and_each_score_by_its_own(tmp_path: Path) -> None:
    desk = Desk(open_engine(f"sqlite:///{tmp_path}/ledger.db"))
    entries = [
        planned(arm={"prediction": "x"}, n=n, position=n).model_copy(update={"arm": {"prediction": "x", "guidance": guidance}})
        for n, guidance in ((8, 1.0), (16, 2.0))
    ]
    desk.plan(*entries)
    attempt = desk.begin(entries[0])
    desk.tell(attempt, *(scored(entry, {OBJECTIVE: 1.0}) for entry in entries))
    rows = desk.reader.entries(desk.name)
    told = [(event.kind, subject(event, rows)) for event in desk.events()]
    assert [words for kind, words in told if kind is EventKind.BEGUN] == ["prediction=x seed=0"]
    scores = [words for kind, words in told if kind is EventKind.SCORED]
    assert scores == ["prediction=x guidance=1.0 seed=0", "prediction=x guidance=2.0 seed=0"]
