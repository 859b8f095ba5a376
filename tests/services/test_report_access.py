"""The report's page for those who read by ear, by keyboard, or with little contrast: asked of a real browser."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.services.test_report_page import chromium, report
from tests.support.browser import Browser
from tests.support.ledger import ledger

__all__ = ["chromium", "ledger", "report"]
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA, for words of any size
SPEAKS = {"button", "checkbox", "searchbox", "link", "image", "img", "region", "navigation", "group", "table"}
# Each run of words that is drawn, with its colour and the ground behind it; words in a picture stand on the page's ground.
WORDS = """
(() => {
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!words || element.closest('script, style, title, desc') || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    found.push([words, element.closest('svg') ? style.fill : style.color, ground(element)]);
  }
  return found;
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_all_words_stand_out_from_their_ground(chromium: Browser, report: Path, dark: bool) -> None:
    chromium.open(report, width=1440, dark=dark)
    words = chromium.value(WORDS)
    assert len(words) > 100
    assert {text: (ink, paper) for text, ink, paper in words if contrast(ink, paper) < LEAST_CONTRAST} == {}


def test_whoever_listens_is_told_what_each_part_is(chromium: Browser, report: Path) -> None:
    chromium.open(report, width=1440)
    told = [(node["role"]["value"], name_of(node)) for node in spoken(chromium)]
    assert SPEAKS - {"image", "img"} <= {role for role, _ in told}
    assert [role for role, name in told if role in SPEAKS and not name] == []
    assert sum(role in ("image", "img") for role, _ in told) == chromium.value("document.querySelectorAll('svg.figure').length")


def test_headings_are_a_table_of_contents_and_no_anchor_is_taken_twice(chromium: Browser, report: Path) -> None:
    chromium.open(report, width=1440)
    levels = chromium.value("[...document.querySelectorAll('h1, h2, h3, h4')].map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    ids = chromium.value("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert sorted(set(ids)) == sorted(ids)
    asked = chromium.value("[...document.querySelectorAll('nav a')].map(each => each.getAttribute('href').slice(1))")
    assert set(asked) <= set(ids)


def test_a_table_is_sorted_from_the_keyboard(chromium: Browser, report: Path) -> None:
    chromium.open(report, width=1440)
    first = "document.querySelector('#arms-table tbody tr').cells[0].textContent"
    before = chromium.value(first)
    chromium.value("document.querySelectorAll('#arms-table thead button')[1].focus()")
    press(chromium, "Tab", 9)
    assert chromium.value("document.activeElement === document.querySelectorAll('#arms-table thead button')[2]")
    press(chromium, "Enter", 13)
    press(chromium, "Enter", 13)
    assert chromium.value(first) != before


def contrast(ink: str, paper: str) -> float:
    """The contrast ratio of two colours, 1 to 21, as WCAG 2.2 defines it."""
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def spoken(chromium: Browser) -> Iterator[dict[str, Any]]:
    """The parts of the page that a screen reader comes to."""
    chromium.send("Accessibility.enable")
    yield from (node for node in chromium.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"])


def name_of(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", ""))


def press(chromium: Browser, key: str, code: int) -> None:
    about = {"key": key, "code": key, "windowsVirtualKeyCode": code, **({"text": "\r"} if key == "Enter" else {})}
    chromium.send("Input.dispatchKeyEvent", type="keyDown", **about)
    chromium.send("Input.dispatchKeyEvent", type="keyUp", **about)
