"""When a question was asked: what the ledger records of it at launch, and what a later file cannot make it forget."""

from typing import Any

from jit_sweep.ledger.asked import asked_by, first_asked
from jit_sweep.ledger.event_records import Asked
from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from tests.support.ledger import LedgerFixture

ONE, TWO = {"k1": "x against v"}, {"k1": "x against v", "k2": "eps against v"}
HOW = {"objective": "fd_efflite0_96", "alpha": 0.05, "margin": None}


def record(questions: dict[str, str], **more: Any) -> Asked:
    return Asked.model_validate({"plan_id": "p", "by_default": False, "questions": questions, **HOW, **more})


def first(*records: tuple[float, Asked]) -> dict[str, float]:
    return first_asked(records, objective="fd_efflite0_96", alpha=0.05, margin=None, created_at=1.0)


def test_what_is_asked_is_recorded_once_and_again_where_it_changes(ledger: LedgerFixture) -> None:
    for questions in (ONE, ONE, TWO, TWO):
        ledger.writer.ask("mine", record(questions))
        ledger.clock.now += 1
    assert [(at, each.questions) for at, each in ledger.reader.asked("mine")] == [(1000.0, ONE), (1002.0, TWO)]


def test_a_question_counts_from_when_it_was_first_asked() -> None:
    assert first((5.0, record(ONE)), (9.0, record(TWO)), (12.0, record(ONE))) == {"k1": 5.0, "k2": 9.0}


def test_another_alpha_or_margin_asks_anew() -> None:
    assert first((5.0, record(ONE, alpha=0.01)), (9.0, record(ONE))) == {"k1": 9.0}


def test_what_follows_from_the_grids_was_settled_with_the_sweep_unless_something_else_was_asked_before() -> None:
    assert first((5.0, record(ONE, by_default=True)), (9.0, record(TWO, by_default=True))) == {"k1": 1.0, "k2": 9.0}
    assert first((5.0, record({}, by_default=False)), (9.0, record(ONE, by_default=True))) == {"k1": 9.0}


def test_a_plan_s_questions_are_hashed_with_how_they_are_answered() -> None:
    spec = read_spec("quickstart")
    asked = asked_by(plan(spec, source="quickstart"))
    assert any("patch_size=16: prediction=" in label for label in asked.questions.values())
    stricter = asked_by(plan(spec.model_copy(update={"alpha": 0.01}), source="quickstart"))
    assert stricter.questions == asked.questions
    assert (stricter.plan_id != asked.plan_id, stricter.by_default) == (True, False)
