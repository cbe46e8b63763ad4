"""Processes by name: host, number, start and namespace, so that one that died is told from a neighbour."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Return host, process id, start and namespace of this process, as the tag ``qwerties.process`` holds them."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}:{_namespace()}"


def is_local(process: str) -> bool:
    """Return whether a process, as a tag names it, is or was one that this process can see.

    Two containers may have one host name; their process ids are of different namespaces.
    """
    host, _, _, namespace = _parts(process)
    return host == socket.gethostname() and namespace in ("", _namespace())


def is_gone(process: str) -> bool:
    """Return whether a process, as a tag names it, ran here and runs no more."""
    _, pid, start, _ = _parts(process)
    if not is_local(process) or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return bool(start) and _start_of(int(pid)) not in ("", start)  # another process has its number


def _parts(process: str) -> list[str]:
    return [*process.split(":"), "", "", ""][:4]


def _start_of(pid: int) -> str:
    """Return when a process began, in the kernel's clock ticks; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _namespace() -> str:
    """Return a number of the namespace that process ids are of; empty where the system does not tell."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""
