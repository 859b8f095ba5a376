"""Chromium without a window, driven over its own protocol: what a page draws, says and asks for."""

import asyncio
import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LISTENS = "DevTools listening on "
TIMEOUT_S = 60


class Browser:
    """One page. `said`: console messages, exceptions and refused requests; `asked`: the addresses of its requests."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._loop, self._numbers = socket, loop, itertools.count(1)
        self.said: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call the protocol's method; returns its result."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), TIMEOUT_S))

    def open(self, path: Path, *, width: int, height: int = 900, dark: bool = False, fragment: str = "") -> None:
        """Load a file in a window of this size, and wait until it is loaded."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        self.visit(path.as_uri() + fragment, width=width, height=height)

    def visit(self, address: str, *, width: int, height: int = 900) -> None:
        """Load an address in a window of this size, and wait until it is loaded."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        self.value(
            "new Promise(done => document.readyState === 'complete' ? done(1) : addEventListener('load', () => done(1)))"
        )

    def text_with(self, words: str) -> str:
        """What the page says, once these words are in it: a page may draw itself long after it is loaded."""
        said = self.value(
            "new Promise(done => { const look = () => document.body.innerText.includes(" + json.dumps(words) + ") && "
            "done(document.body.innerText); look(); new MutationObserver(look).observe(document, "
            "{subtree: true, childList: true, characterData: true}); })"
        )
        return str(said)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, promises awaited."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            self._note(message.get("method", ""), message.get("params", {}))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return dict(message["result"])

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.said.append(str(about))
        elif method == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser whose profile lies in this folder. Skips the test where there is none on this machine."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
    ]
    with subprocess.Popen([*command, "about:blank"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(line for line in process.stderr if line.startswith(LISTENS)).removeprefix(LISTENS).strip()
            yield from _attached(address.partition("//")[2].partition("/")[0])
        finally:
            process.terminate()
            process.stderr.read()


def _attached(host: str) -> Iterator[Browser]:
    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(_session())
    try:
        page = loop.run_until_complete(_page(session, host))
        socket = loop.run_until_complete(session.ws_connect(page, max_msg_size=0))
        yield Browser(socket, loop)
    finally:
        loop.run_until_complete(session.close())
        loop.close()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _page(session: aiohttp.ClientSession, host: str) -> str:
    async with session.get(f"http://{host}/json") as answer:
        targets = await answer.json()
    return str(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
