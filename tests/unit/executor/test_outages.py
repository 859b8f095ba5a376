"""An outage is one line on the screen, and its end is one."""

import pytest

from jit_sweep.executor.outages import MEANWHILE, Outages, Surrounding
from tests.support.ledger import HandClock


@pytest.mark.parametrize("part", Surrounding)
def test_an_outage_is_told_once_with_its_cause_and_what_goes_on_and_once_as_it_is_over(part: Surrounding) -> None:
    said: list[str] = []
    clock = HandClock()
    outages = Outages(said.append, clock=clock)
    for why in ("", "Connection refused\nby all", "timed out", "", ""):
        outages.note(part, why)
        clock.now += 20.0
    away = f"{part} is away since 1970-01-01 00:17:00 UTC (Connection refused by all): {MEANWHILE[part]}"
    assert said == [away, f"{part} is back, after 40 s"]


def test_how_long_a_part_is_away_counts_from_its_first_failure() -> None:
    clock = HandClock()
    outages = Outages(lambda line: None, clock=clock)
    assert outages.lasts_s(Surrounding.LEDGER) == 0.0
    for _ in range(3):
        outages.note(Surrounding.LEDGER, "away")
        clock.now += 10.0
    assert outages.lasts_s(Surrounding.LEDGER) == 30.0
    assert outages.lasts_s(Surrounding.MLFLOW) == 0.0
