"""What a worker does with a task, wherever it runs, and what is said when a worker is lost."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from threadpoolctl import threadpool_limits

from qwerties.errors import FailedError

LOST = "a worker process was lost, perhaps for want of memory: its work is done again"


class LostError(FailedError):
    """The processes that ran the tasks are gone."""

    hint = "; what is tracked stays, the same command goes on from there"


def call(function: Callable[..., Any], arguments: tuple) -> Any:
    """Call a function with one thread: sums over several threads may round otherwise."""
    with threadpool_limits(1):  # torch's threads too
        try:
            return function(*arguments)
        finally:
            # give freed memory back: loky replaces a process that has grown, and a new one imports everything again
            with suppress(OSError, AttributeError, TypeError):  # glibc only
                ctypes.CDLL(None).malloc_trim(0)


def load(module: str) -> None:
    """Import a module."""
    importlib.import_module(module)
