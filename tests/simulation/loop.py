"""An event loop in which no time passes but by waiting, and the processes that live in it."""

import asyncio
import queue
import random
import selectors
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class NothingLeft(Exception):
    """Every task waits for another: in a real sweep this would hang for ever."""


class _Skipping(selectors.SelectSelector):
    """Where a real loop would wait, the clock is put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingLeft("nothing is left that could happen")
        self.now += max(0.0, timeout)
        return []


class Process:
    """Tasks that die together. `frozen_until`: a process that was stopped does nothing till then, and then goes on."""

    def __init__(self, name: str, host: str) -> None:
        self.name, self.host = name, host
        self.alive, self.frozen_until = True, 0.0
        self.tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin a task in it."""

        def begin() -> "asyncio.Task[T]":
            _running.set(self)
            return asyncio.get_running_loop().create_task(work)

        return copy_context().run(begin)

    async def thawed(self) -> None:
        """Return once it is stopped no more."""
        loop = asyncio.get_running_loop()
        while self.frozen_until > loop.time():
            await asyncio.sleep(self.frozen_until - loop.time())

    def kill(self) -> None:
        """End all that it does, wherever it is."""
        self.alive = False
        for task in list(self.tasks):
            task.cancel()


_running: ContextVar[Process | None] = ContextVar("running", default=None)


def this_process() -> Process:
    """The one whose task runs now."""
    process = _running.get()
    assert process is not None, "played work runs in a process"
    return process


class PlayedLoop(asyncio.SelectorEventLoop):
    """Virtual time; a call that would go to a thread is made here, between two short waits that the seed draws."""

    def __init__(self, rng: random.Random) -> None:
        self._skipping, self._rng = _Skipping(), rng
        self.after_call: Callable[[Process], None] = lambda process: None
        """May raise what a caller meets although its call went through."""
        super().__init__(self._skipping)
        self.set_task_factory(_tracked)

    def time(self) -> float:
        return self._skipping.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        return asyncio.ensure_future(self._call(func, *args))

    async def _call(self, func: Callable[..., T], *args: Any) -> T:
        process = this_process()
        await asyncio.sleep(self._rng.uniform(0, 0.02))
        await process.thawed()
        result = func(*args)
        await asyncio.sleep(self._rng.uniform(0, 0.02))
        self.after_call(process)
        return result


def _tracked(loop: asyncio.AbstractEventLoop, work: Any, **named: Any) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **named)
    process = _running.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        if not process.alive:
            task.cancel()
    return task


async def stepped(work: Callable[[Callable[[Coroutine[Any, Any, Any]], Any]], T]) -> T:
    """Run blocking code that now and then waits for a coroutine, by the function it is given; one of the two runs at a time."""
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def wait_for(coroutine: Coroutine[Any, Any, Any]) -> Any:
        asked.put(("wait", coroutine))
        answer, error = answers.get()
        if error is not None:
            raise error
        return answer

    def run() -> None:
        try:
            asked.put(("done", work(wait_for)))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            asked.put(("raised", error))

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    while True:
        kind, content = asked.get()
        if kind == "done":
            return content  # type: ignore[no-any-return]
        if kind == "raised":
            raise content
        try:
            answers.put((await content, None))
        except BaseException as error:
            answers.put((None, _Cut() if isinstance(error, asyncio.CancelledError) else error))
            if isinstance(error, asyncio.CancelledError):
                asked.get()  # the thread ends before its process is gone
                raise


class _Cut(BaseException):
    """The process of a blocking call was killed."""
