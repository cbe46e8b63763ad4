"""One task as a worker runs it, wherever it is, and what is said when a worker is lost."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from threadpoolctl import threadpool_limits

from qwerties.errors import FailedError

ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})")

LOST = "a worker process was lost, perhaps for want of memory: its work is done again"


class LostError(FailedError):
    """Whoever ran the tasks is gone."""

    hint = "; what is tracked stays, the same command goes on from there"


def call(function: Callable[..., Any], arguments: tuple) -> Any:
    """Call a function with one thread, as everywhere: sums of several threads may round otherwise."""
    with threadpool_limits(1):  # torch's too
        try:
            return function(*arguments)
        finally:
            _trim()


def _trim() -> None:
    """Give freed memory back to the system: loky replaces a process that has grown, and the next one begins anew."""
    with suppress(OSError, AttributeError, TypeError):  # other systems than Linux with glibc
        ctypes.CDLL(None).malloc_trim(0)
