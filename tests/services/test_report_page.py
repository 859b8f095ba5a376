"""The report's page in a real browser: it draws, sorts, filters and prints at any width, and asks nobody for anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jit_sweep.report.contents import read_report
from jit_sweep.report.grids import read_grids
from jit_sweep.report.page.render import page
from tests.support.browser import Browser, browser
from tests.support.ledger import LedgerFixture, ended, ledger, planned, scored
from trainables.report import Rung

__all__ = ["ledger"]
FD, KID, ERROR = "fd_efflite0_96", "kid_efflite0_96", "heldout_v_error"
WIDTHS = (390, 768, 1440)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def report(ledger: LedgerFixture, tmp_path: Path) -> Path:
    """Four arms of three seeds over two axes."""
    for place, (patch, prediction) in enumerate([(16, "x"), (16, "v"), (8, "x"), (8, "v")]):
        for seed in range(3):
            entry = planned(arm={"patch_size": patch, "prediction": prediction}, seed=seed, position=3 * place + seed)
            ledger.plan(entry)
            rungs = [Rung(images=images, values={ERROR: 0.2 * (place + 1) + seed / 99}) for images in (480, 960)]
            score = scored(entry, {FD: 1000.0 * (place + 1) + seed, KID: place + 1 + seed / 9, ERROR: 0.2 * (place + 1)})
            ledger.tell(ledger.begin(entry), *rungs, score, ended(entry))
    found = read_report(ledger.reader, "mine")
    path = tmp_path / "report.html"
    path.write_text(page(found, read_grids(found.results.arms, storage=None)), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_it_draws_without_a_message_a_request_or_sideways_scrolling(
    chromium: Browser, report: Path, width: int, dark: bool
) -> None:
    chromium.said.clear()
    chromium.asked.clear()
    chromium.open(report, width=width, dark=dark)
    assert chromium.value("document.documentElement.scrollWidth") <= width
    assert chromium.value("document.querySelectorAll('svg.figure').length") >= 4
    assert chromium.value("getComputedStyle(document.body).backgroundColor") == (
        "rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)"
    )
    assert chromium.said == []
    assert [address for address in chromium.asked if not address.startswith(("about:", "file:", "data:"))] == []


def test_a_table_sorts_by_the_heading_that_is_pressed_and_a_link_keeps_it(chromium: Browser, report: Path) -> None:
    cells = "[...document.querySelectorAll('#arms-table tbody tr')].map(row => row.cells[0].textContent)"
    chromium.open(report, width=1440)
    before = chromium.value(cells)
    chromium.value("document.querySelectorAll('#arms-table thead button')[2].click()")
    assert chromium.value(cells) == before
    chromium.value("document.querySelectorAll('#arms-table thead button')[2].click()")
    assert chromium.value(cells) == before[::-1]
    assert chromium.value("document.querySelectorAll('#arms-table thead th')[2].getAttribute('aria-sort')") == "descending"
    kept = chromium.value("location.hash")
    chromium.open(report, width=1440, fragment=kept)
    assert chromium.value(cells) == before[::-1]


def test_arms_are_hidden_by_axis_value_and_a_link_keeps_it(chromium: Browser, report: Path) -> None:
    shown = "[...document.querySelectorAll('#arms-table tbody tr:not([hidden])')].length"
    chromium.open(report, width=1440)
    assert chromium.value(shown) == 4
    chromium.value("document.querySelector('input[name=prediction][value=v]').click()")
    assert chromium.value(shown) == 2
    faint = "document.querySelector('svg [data-arm=\"patch_size=16 prediction=v\"]').style.opacity"
    assert chromium.value(faint) == "0.06"
    chromium.open(report, width=1440, fragment=chromium.value("location.hash"))
    assert chromium.value(shown) == 2
    chromium.value("document.querySelector('.reset').click()")
    assert chromium.value(shown) == 4


def test_all_trials_are_found_by_words_and_sorted(chromium: Browser, report: Path) -> None:
    chromium.open(report, width=1440)
    assert chromium.value("document.getElementById('trials-count').textContent") == "12 of 12 trials"
    chromium.value(
        "(() => { const f = document.getElementById('trials-filter'); f.value = 'patch_size=8 prediction=v'; "
        "f.dispatchEvent(new Event('input')); })()"
    )
    assert chromium.value("document.getElementById('trials-count').textContent") == "3 of 12 trials"
    chromium.value("document.querySelectorAll('#trials thead button')[2].click()")
    chromium.value("document.querySelectorAll('#trials thead button')[2].click()")
    seeds = "[...document.querySelectorAll('#trials tbody tr[aria-rowindex]')].map(row => row.cells[2].textContent)"
    assert chromium.value(seeds) == ["2", "1", "0"]


def test_it_prints(chromium: Browser, report: Path) -> None:
    chromium.open(report, width=1440)
    assert len(chromium.send("Page.printToPDF")["data"]) > 10_000
