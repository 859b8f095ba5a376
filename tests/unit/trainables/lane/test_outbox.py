"""Reports on their way: in order, never lost, and never holding training up twice for one outage."""

import pytest

from trainables.lane.messages import AttemptKey, Letter
from trainables.lane.outbox import GLANCE_S, Away, Outbox
from trainables.report import Decision, Ended

PATIENCE_S = 30.0


class Writer:
    """Takes letters, or is away for the next few calls."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.away = 0
        self.waited: list[float] = []

    def __call__(self, letter: Letter, patience_s: float) -> Decision:
        self.waited.append(patience_s)
        if self.away:
            self.away -= 1
            raise Away("it is being started")
        self.taken.append(letter.sequence)
        return Decision(reason=f"answer {letter.sequence}")


def letter(sequence: int) -> Letter:
    report = Ended(images=8, outcome="stopped", cause="line one\nline two", train_s=1 / 3, evaluation_s=0.0, checkpoint_s=0.0)
    return Letter(key=AttemptKey("t", 1), sequence=sequence, report=report)


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def outbox(writer: Writer) -> Outbox:
    return Outbox(writer, patience_s=PATIENCE_S)


def test_letters_go_straight_to_a_writer_that_is_there(writer: Writer, outbox: Outbox) -> None:
    outbox.post(letter(1))
    assert outbox.ask(letter(2)).reason == "answer 2"
    assert writer.taken == [1, 2]


def test_an_outage_holds_training_up_once_and_then_letters_wait(writer: Writer, outbox: Outbox) -> None:
    writer.away = 3
    for sequence in (1, 2, 3):
        outbox.post(letter(sequence))
    assert writer.waited == [PATIENCE_S, GLANCE_S, GLANCE_S]
    assert writer.taken == []
    outbox.deliver_all()
    assert writer.taken == [1, 2, 3]


def test_what_waited_is_delivered_in_order_once_the_writer_is_back(writer: Writer, outbox: Outbox) -> None:
    writer.away = 2
    for sequence in (1, 2, 3):
        outbox.post(letter(sequence))
    outbox.post(letter(4))
    assert writer.taken == [1, 2, 3, 4]


def test_an_answer_is_waited_for_however_long_that_takes_and_comes_after_all_that_waited(
    writer: Writer, outbox: Outbox
) -> None:
    writer.away = 1
    outbox.post(letter(1))
    writer.away = 5
    assert outbox.ask(letter(2)).reason == "answer 2"
    assert writer.taken == [1, 2]


def test_an_outage_in_the_middle_of_what_waits_loses_nothing_and_repeats_nothing_that_was_answered(
    writer: Writer, outbox: Outbox
) -> None:
    writer.away = 2
    outbox.post(letter(1))
    outbox.post(letter(2))
    interrupted = iter((False, True))

    def once_more(one: Letter, patience_s: float) -> Decision:
        if next(interrupted, False):
            raise Away("again")
        return writer(one, patience_s)

    outbox._deliver = once_more
    outbox.post(letter(3))
    assert writer.taken == [1]
    assert outbox.ask(letter(4)).reason == "answer 4"
    assert writer.taken == [1, 2, 3, 4]


def test_what_nobody_wants_any_more_is_dropped(writer: Writer, outbox: Outbox) -> None:
    writer.away = 1
    outbox.post(letter(1))
    outbox.drop()
    outbox.post(letter(2))
    assert writer.taken == [2]


def test_a_failure_is_told_after_all_that_was_told_before(writer: Writer, outbox: Outbox) -> None:
    writer.away = 4
    outbox.post(letter(1))
    outbox.post(letter(2))
    outbox.deliver_all()
    assert writer.taken == [1, 2]
