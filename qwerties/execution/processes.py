"""Who writes: a process by its host, its number and its start, so that one that died is told from a neighbour."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Host, process id and start of this process, as the tag ``qwerties.process`` holds them."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def is_local(process: str) -> bool:
    """Whether a process, as told by a tag, is or was one of this host."""
    return process.split(":")[0] == socket.gethostname()


def is_gone(process: str) -> bool:
    """Whether a process, as told by a tag, ran on this host and runs no more."""
    _, pid, started = [*process.split(":"), "", ""][:3]
    if not is_local(process) or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return bool(started) and _started(int(pid)) not in ("", started)  # another one has its number


def _started(pid: int) -> str:
    """When a process began, in the kernel's clock ticks; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
