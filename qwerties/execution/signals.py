"""Ctrl-C and SIGTERM: both stop a command, and neither in the middle of a write."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.resource_tracker import ensure_running
from types import FrameType
from typing import Any

PATIENCE = 1.5
"""Seconds that a write in hand may take after it was asked to stop."""

SECONDS_BETWEEN_LOOKS = 1.0  # at whether a worker's parent is there

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}

_asked: list[int] = []  # signals that came, the first one first
_heeding = threading.Event()


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came."""


def asked() -> int | None:
    """Exit status of the signal that asked to stop; None where none did.

    Whoever catches another exception asks this: libraries in C may turn the interrupt into an error of their own.
    """
    return STATUS[signal.Signals(_asked[0])] if _asked else None


def stop_if_asked() -> None:
    """Raise `Stopped` if a signal came that is heeded, and its exception was lost on the way, as in a destructor."""
    if _asked and _heeding.is_set():
        raise Stopped


def prepare_worker(parent: int) -> None:
    """Make a worker process leave Ctrl-C and SIGTERM to its parent, and end when the parent has ended.

    A parent that is killed cannot end its workers; each of them would keep its memory for ever.
    """
    for number in STATUS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


@contextmanager
def heeding_signals() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM raise `Stopped` within the block, unless the process was started with them ignored."""
    usual: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    main = threading.current_thread() is threading.main_thread()
    heeded = [number for number, handler in usual.items() if main and signal.getsignal(number) == handler]
    _asked.clear()
    _heeding.set()
    for number in heeded:
        signal.signal(number, _stop)
    usually = sys.unraisablehook

    def ignored(unraisable: sys.UnraisableHookArgs) -> None:
        # raised in a destructor, where nobody can catch it: `stop_if_asked` will find it
        if not isinstance(unraisable.exc_value, Stopped):
            usually(unraisable)

    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = usually
        _heeding.clear()
        for number in heeded:
            signal.signal(number, usual[number])


def _stop(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    raise Stopped


@contextmanager
def sparing_processes() -> Iterator[None]:
    """Within the block, processes that are started are spared Ctrl-C from their first moment, as they import.

    This one gets it when the block is through, if it comes meanwhile. `prepare_worker` comes later, and holds.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ensure_running()  # a helper of theirs, whose start would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def finishing_first() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off until the block is through, or for `PATIENCE`; a second one is not put off.

    Only the main thread gets signals: in others the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {}
    timed = hasattr(signal, "setitimer")
    alarm: Any = signal.getsignal(signal.SIGALRM) if timed else None

    def restore() -> None:
        for stop, handler in before.items():
            signal.signal(stop, handler)
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)

    def deliver() -> None:
        restore()
        number, frame = waiting[0]
        before[number](number, frame)

    def put_off(number: int, frame: FrameType | None) -> None:
        waiting.append((number, frame))
        if len(waiting) > 1:
            deliver()
        elif timed:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    for stop in STATUS:
        if callable(signal.getsignal(stop)):  # else it is ignored, or ends the process at once
            before[stop] = signal.signal(stop, put_off)
    if timed:
        signal.signal(signal.SIGALRM, lambda number, frame: deliver())
    try:
        yield
    finally:
        restore()
    if waiting:
        number, frame = waiting[0]
        before[number](number, frame)
