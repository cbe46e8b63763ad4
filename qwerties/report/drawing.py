"""Figures on their way to bytes: a second process draws those at hand while this one makes the next."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor

from qwerties.execution.signals import prepare_worker, sparing_processes

SVG, PNG = "image/svg+xml", "image/png"

WORTH_A_PROCESS = 8
"""Figures: to start the second process takes about as long as to draw so many."""

IN_HAND = 2
"""Figures that the second process has at a time: one that it draws, and the next."""


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
        return self._content

    @property
    def is_drawn(self) -> bool:
        """Whether the bytes are there."""
        return self._content is not None

    def begin(self, elsewhere: Executor) -> Future[bytes]:
        """Have it drawn by another process."""
        self._begun = elsewhere.submit(self._draw)
        return self._begun

    def _finished(self) -> bytes:
        try:
            return self._begun.result() if self._begun else self._draw()
        except (BrokenExecutor, CancelledError):  # the other process is gone
            return self._draw()


_waiting: ContextVar[_Waiting | None] = ContextVar("waiting", default=None)


class _Waiting:
    """Drawings that nobody has begun with; the process takes the first, and whoever `finish`es the last."""

    def __init__(self) -> None:
        self._queue: deque[Drawing] = deque()
        self._process: ProcessPoolExecutor | None = None
        self._in_hand = 0
        self._lock = threading.RLock()

    def add(self, drawing: Drawing) -> None:
        self._queue.append(drawing)
        if len(self._queue) == WORTH_A_PROCESS:
            self.start()
        self._feed()

    def start(self) -> None:
        """Start the process, if there is none."""
        if self._process is None:
            self._process = ProcessPoolExecutor(
                max_workers=1, initializer=prepare_worker, initargs=(os.getpid(),)
            )
            with sparing_processes():
                self._process.submit(_prepare)

    def take_back(self) -> Drawing | None:
        """Take the last one that nobody has begun with."""
        try:
            return self._queue.pop()
        except IndexError:
            return None

    def end(self) -> None:
        self._queue.clear()
        if self._process is not None:
            self._process.shutdown(wait=False)

    def _feed(self) -> None:
        """Keep the process busy; what is in its own queue cannot be taken back."""
        with self._lock, suppress(BrokenExecutor, RuntimeError):  # the rest is drawn here if it is gone
            while self._process is not None and self._in_hand < IN_HAND and self._queue:
                drawing = self._queue.popleft()
                if not drawing.is_drawn:
                    begun = drawing.begin(self._process)
                    self._in_hand += 1
                    begun.add_done_callback(self._is_done)

    def _is_done(self, _: Future[bytes]) -> None:
        with self._lock:
            self._in_hand -= 1
        self._feed()


def _prepare() -> None:
    """Import what figures need: it takes longer than to draw some."""
    from qwerties.plotting import compare as figures  # noqa: F401
    from qwerties.plotting import examples as exemplar_figures  # noqa: F401
    from qwerties.plotting import style as theme

    theme.palette()


@contextmanager
def drawing_elsewhere(*, at_once: bool = False) -> Iterator[None]:
    """Let a second process draw within the block, where there is much to draw; a block inside another shares its.

    It takes a second to start; ``at_once`` says that there will be much, before there is.
    """
    outer = _waiting.get()
    waiting = outer or _Waiting()
    if at_once:
        waiting.start()
    if outer is not None:
        yield
        return
    before = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(before)
        waiting.end()


def finish() -> None:
    """Draw here what nobody has begun with, the last first; the other process goes on with the first."""
    waiting = _waiting.get()
    while waiting is not None and (drawing := waiting.take_back()) is not None:
        _ = drawing.content
