"""Figures on their way to bytes: a second process draws those at hand while this one makes the next."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import ShutdownExecutorError

from qwerties.signals import ignore_interrupts

SVG, PNG = "image/svg+xml", "image/png"

WORTH_A_PROCESS = 8
"""Figures: to start the second process takes about as long as to draw so many."""


class Drawing:
    """The bytes of one picture, drawn when they are asked for if not before.

    Parameters
    ----------
    mime : str
        Their media type.
    draw : callable
        ``draw(*arguments)`` gives the bytes.
    *arguments
        Must be picklable, as figures are.
    """

    def __init__(self, mime: str, draw: Callable[..., bytes], *arguments: Any) -> None:
        self.mime = mime
        self._draw = functools.partial(draw, *arguments)
        self._begun: Future[bytes] | None = None
        self._content: bytes | None = None
        if (waiting := _waiting.get()) is not None:
            waiting.add(self)

    @property
    def content(self) -> bytes:
        """The bytes; waits for them where they are being drawn."""
        if self._content is None:
            self._content = self._finished()
            del self._draw  # and the figure with it
        return self._content

    def begin(self, elsewhere: Executor) -> None:
        """Have it drawn by another process."""
        self._begun = elsewhere.submit(self._draw)

    def _finished(self) -> bytes:
        try:
            return self._begun.result() if self._begun else self._draw()
        except (BrokenExecutor, CancelledError, ShutdownExecutorError):  # the other process is gone
            return self._draw()


_waiting: ContextVar[_Waiting | None] = ContextVar("waiting", default=None)


class _Waiting:
    """Drawings that were asked for; from `WORTH_A_PROCESS` on they are drawn by a process of their own."""

    def __init__(self) -> None:
        self._few: list[Drawing] = []
        self._process: ProcessPoolExecutor | None = None

    def add(self, drawing: Drawing) -> None:
        if self._process is None:
            self._few.append(drawing)
            if len(self._few) < WORTH_A_PROCESS:
                return
            self._process = ProcessPoolExecutor(max_workers=1, initializer=ignore_interrupts)
            for one in self._few:
                one.begin(self._process)
        else:
            drawing.begin(self._process)

    def end(self) -> None:
        if self._process is not None:
            self._process.shutdown(wait=False, kill_workers=True)


@contextmanager
def drawing_elsewhere() -> Iterator[None]:
    """Let a second process draw within the block, where there is much to draw."""
    waiting = _Waiting()
    before = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(before)
        waiting.end()
