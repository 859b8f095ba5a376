"""The report of ten thousand scored trials: its size, and what a real browser needs for it."""

import tempfile
import time
from pathlib import Path
from typing import Any

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.report.contents import read_report
from jit_sweep.report.page.render import page
from tests.bench.ledger import scored_at_once, ten_thousand
from tests.bench.table import say
from tests.support.browser import CHROMIUM, Browser, browser

# One step of scrolling a frame, through all rows in view's height; the milliseconds between frames, sorted.
SCROLLED = """
new Promise(done => {
  const frame = document.getElementById('trials'), times = [];
  let before = performance.now(), steps = 120;
  const step = now => {
    times.push(now - before);
    before = now;
    frame.scrollTop += 800;
    if (--steps) requestAnimationFrame(step); else done(times.slice(1).sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})
"""
SORTED = """
(() => { const before = performance.now();
  document.querySelectorAll('#trials thead button')[2].click();
  document.querySelector('#trials tbody').offsetHeight;
  return performance.now() - before; })()
"""


def table() -> None:
    """CPU seconds of this process, and of the browser's page by its own clock."""
    say("the report of ten thousand scored trials", "figure", "bar")
    with tempfile.TemporaryDirectory() as folder:
        scored_at_once(uri := f"sqlite:///{folder}/ledger.db", ten_thousand())
        start = time.process_time()
        text = page(read_report(LedgerReader(open_engine(uri)), "mine"), [])
        say("read and drawn, CPU", f"{time.process_time() - start:.1f} s")
        say("the page", f"{len(text.encode()) / 1e6:.2f} MB", "2 MB")
        if CHROMIUM is None:
            say("in a browser", "no Chromium")
            return
        path = Path(folder, "report.html")
        path.write_text(text, encoding="utf-8")
        with browser(Path(folder, "profile")) as opened:
            _in(opened, path)


def _in(chromium: Browser, path: Path) -> None:
    chromium.send("Performance.enable", timeDomain="threadTicks")
    before = _busy_s(chromium)
    chromium.open(path, width=1440)
    chromium.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    say("to the first frame, the page's own CPU", f"{_busy_s(chromium) - before:.2f} s", "1 s")
    say("sorting all trials", f"{chromium.value(SORTED):.0f} ms")
    times = chromium.value(SCROLLED)
    say("scrolling through them, a frame at the median", f"{times[len(times) // 2]:.0f} ms")
    say("and one of the slowest twentieth", f"{times[len(times) * 19 // 20]:.0f} ms")


def _busy_s(chromium: Browser) -> float:
    metrics: list[dict[str, Any]] = chromium.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))
