"""Names of processes, which show whether the process still runs, or a later one has its number."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from qwerties.errors import clean

MAX_DRIFT = 2.0  # seconds between two readings of a process's start: the system's clock is adjusted


def this_process() -> str:
    """Return host, process id, start and machine of this process, as the tag ``qwerties.process`` holds them."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}:{_machine()}"


def is_local(process: str) -> bool:
    """Return whether a process, as a tag names it, has or had a number of this machine and container."""
    host, _, _, machine = _parts(process)
    return host == socket.gethostname() and machine in ("", _machine())


def is_gone(process: str) -> bool:
    """Return whether a process, as a tag names it, ran on this machine and has ended."""
    _, pid, start, _ = _parts(process)
    if not is_local(process) or not pid.isdecimal():
        return False
    try:
        candidate = psutil.Process(int(pid))
        is_later_one = bool(start) and abs(candidate.create_time() - float(start)) > MAX_DRIFT
        return is_later_one or candidate.status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, OverflowError):
        return True
    except (psutil.Error, ValueError):  # it may not be asked, or the tag is somebody else's
        return False


def process_words(process: str) -> str:
    """Name a process, as a tag names it, by its number and its host; anybody may have written the tag."""
    host, pid, *_ = _parts(process)
    return f"process {clean(pid, 20)} on {clean(host, 40)}" if host and pid else "an unknown process"


def _parts(process: str) -> list[str]:
    return [*process.split(":"), "", "", ""][:4]


@cache
def _machine() -> str:
    """Return what tells containers and machines of one host name apart: their boot, and what process ids count within.

    Containers of a machine share its boot; machines may share the number of the namespace.
    """
    parts = []
    with suppress(OSError):  # Linux only
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text()[:8])
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return "-".join(parts)
