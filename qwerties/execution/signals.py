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

PATIENCE = 1.5  # seconds that a write may take after it was asked to stop
SECONDS_BETWEEN_LOOKS = 1.0  # of a worker at its parent
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}

_signals: list[int] = []  # those that came, in order
_put_off: int | None = None  # index of the signal that a write puts off
_heeding = threading.Event()


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came."""


def asked() -> int | None:
    """Return the exit status of the signal that asked to stop; None if there was none.

    Whoever catches another exception asks this: libraries in C may turn the interrupt into an error of their own.
    """
    return STATUS[signal.Signals(_signals[0])] if _signals else None


def stop_if_asked() -> None:
    """Raise `Stopped` if a signal came whose exception was lost on the way, as in a destructor."""
    if _signals and _heeding.is_set():
        raise Stopped


def prepare_worker(parent: int) -> None:
    """Make a worker process leave Ctrl-C and SIGTERM to its parent, and end when the parent has ended.

    A parent that is killed cannot end its workers; each would keep its memory for ever.
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
    is_main = threading.current_thread() is threading.main_thread()
    heeded = [number for number, handler in usual.items() if is_main and signal.getsignal(number) == handler]
    usual_hook = sys.unraisablehook

    def pass_over_stopped(unraisable: sys.UnraisableHookArgs) -> None:
        # raised in a destructor, where nobody can catch it: `stop_if_asked` raises it again
        if not isinstance(unraisable.exc_value, Stopped):
            usual_hook(unraisable)

    _signals.clear()
    _heeding.set()
    for number in heeded:
        signal.signal(number, _stop)
    sys.unraisablehook = pass_over_stopped
    try:
        yield
    finally:
        sys.unraisablehook = usual_hook
        _heeding.clear()
        for number in heeded:
            signal.signal(number, usual[number])


def _stop(number: int, frame: FrameType | None) -> None:
    _signals.append(number)
    if len(_signals) - 1 != _put_off:
        raise Stopped
    if hasattr(signal, "setitimer"):  # the alarm counts as the second signal
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)


@contextmanager
def sparing_processes() -> Iterator[None]:
    """Within the block, spare processes that are started Ctrl-C from their first moment, as they import.

    This process gets a signal that comes meanwhile after the block. `prepare_worker` comes later, and holds.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ensure_running()  # the start of this helper of multiprocessing would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def finishing_first() -> Iterator[None]:
    """Within `heeding_signals`, put a signal off until the end of the block, or for `PATIENCE`; not a second one.

    Only the main thread gets signals: in others the block runs as it is.
    """
    global _put_off
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _put_off = before = len(_signals)
    try:
        yield
    finally:
        _put_off = None
        if len(_signals) > before and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    if len(_signals) > before:
        raise Stopped
