"""What a trial is about is told at once where it changes, and rarely where it goes on."""

from tests.support.ledger import HandClock
from trainables.report import Activity
from trainables.training.telling import INTERVAL_S, Telling


def test_one_thing_is_told_once_an_interval_and_another_at_once() -> None:
    told, clock = list[Activity](), HandClock()
    telling = Telling(told.append, images=lambda: 960, clock=clock)
    for done in range(100):
        telling("drawing samples", done, 100)
        clock.now += INTERVAL_S / 4
    assert [each.done for each in told] == list(range(0, 100, 4))
    telling("reading the real images' features", 0, 800)
    telling("drawing samples", 100, 200)
    assert [(each.what, each.done, each.of, each.images) for each in told[25:]] == [
        ("reading the real images' features", 0, 800, 960),
        ("drawing samples", 100, 200, 960),
    ]
