"""Artifacts as files: how they are written and read back safely, and how digests show damage.

Paths and sizes come from a store that anybody may have written: only regular files of bounded size inside the run's
folder are read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from qwerties.errors import FailedError, reason_of
from qwerties.tracking.tags import ARTIFACTS

MAX_BYTES = 2**29  # of one artifact
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def digest(content: bytes) -> str:
    """Return a short hash of an artifact's bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def digests_tag(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the tag that holds the digest of every file by its path; empty where there are no files."""
    return {ARTIFACTS: json.dumps({path: digest(c) for path, c in files.items()})} if files else {}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, given by their path inside a folder."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def read_file(folder: Path, path: str) -> bytes:
    """Read a regular file of bounded size inside a folder.

    Raises
    ------
    OSError, ValueError
        If the path does not name such a file, or the file cannot be read.
    """
    target = folder / path
    if not target.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"an artifact must be inside the run's folder, got {path!r}")
    waiting = getattr(os, "O_NONBLOCK", 0)  # not for a FIFO's writer
    with open(target, "rb", opener=lambda path, flags: os.open(path, flags | waiting)) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
            raise OSError(f"an artifact must be a regular file of at most {MAX_BYTES:,} bytes, got {path!r}")
        return file.read(MAX_BYTES)


def stored_digests(tags: Mapping[str, str]) -> dict[str, object] | None:
    """Return the digest of every artifact by its path, as a run's tag holds them; None if it cannot be read."""
    try:
        return dict(json.loads(tags.get(ARTIFACTS, "{}")))
    except (ValueError, TypeError, RecursionError):
        return None


def damaged_files(folder: Path, tags: Mapping[str, str]) -> list[str]:
    """Return the paths that a run's tag lists and whose files are missing or have another digest."""
    if (digests := stored_digests(tags)) is None:
        return [ARTIFACTS]
    return [path for path, expected in digests.items() if _digest_of(folder, path) != expected]


def _digest_of(folder: Path, path: str) -> str | None:
    try:
        return digest(read_file(folder, path))
    except (OSError, ValueError):  # ValueError: no file can have this name
        return None


def file_sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every file below a folder, by its path; empty where the folder does not exist."""
    return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Provide an empty folder for the block.

    Raises
    ------
    FailedError
        If the disk for temporary files is full: otherwise the store would be blamed.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="qwerties-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise FailedError(
            f"temporary files cannot be written, TMPDIR must name a folder with room: {reason_of(error)}"
        ) from error
