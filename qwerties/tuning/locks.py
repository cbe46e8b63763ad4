"""Locks that end with whoever held them, and what else processes that share a storage must know of one another."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock

from qwerties.study.search_space import SearchError


def file_lock(path: Path) -> FileLock:
    """The lock of a storage that is a file: beside it, held by the kernel, re-entrant for one thread."""
    return FileLock(f"{path}.flock", poll_interval=0.002)


@contextlib.contextmanager
def row_lock(engine: sa.Engine) -> Iterator[None]:
    """The lock of a storage on a database server: the row of Optuna's table of versions, that nobody else locks."""
    versions: Any = sa.table("version_info", sa.column("version_info_id"))
    with engine.begin() as connection:
        connection.execute(sa.select(versions).with_for_update())
        yield


def mend(path: Path) -> None:
    """Cut off a journal's last line where its writer did not live to end it; to be called under the lock.

    Optuna would append the next line to it, and could read neither.
    """
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def has_ended(pid: int) -> bool:
    """Whether no process of this host has the id, or one that has ended and that its parent has not noticed."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except OSError:
        return False  # another user's, or a system without /proc


def check_file(path: Path) -> None:
    """Refuse in one line a storage that cannot be written; SearchError."""
    if not path.parent.is_dir():
        raise SearchError(f"the storage's folder must exist, got {path.parent}")
    if path.is_dir():
        raise SearchError(f"the storage must be a file, got the folder {path}")
    for needed in (path, path.parent):  # its lock and SQLite's own files lie beside it
        if needed.exists() and not os.access(needed, os.W_OK):
            raise SearchError(f"the storage must be writable, got {needed}")


def public_target(target: str) -> str:
    """A storage's URL without its password, or the path as it is; for messages."""
    if "://" not in target:
        return target
    try:
        return sa.make_url(target).render_as_string(hide_password=True)
    except (sa.exc.ArgumentError, ValueError):
        return re.sub(r"://.*@", "://***@", target)
