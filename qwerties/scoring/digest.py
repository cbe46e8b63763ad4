"""Which code made a number: a hash of the two rooms that decide numbers, `training` and `scoring`."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

ROOMS = ("training", "scoring")
SUFFIXES = (".py", ".cpp", ".h")


@functools.cache
def code_digest() -> str:
    """Return 12 hexadecimal digits that change with any byte of the code that decides numbers.

    Line ends are normalised, so that a checkout on Windows has the same digest. Neither the version of Python nor
    the place of the package matters. Runs, trials of searches, maps and the calibration's pool carry this digest; a
    run with another one is stale.
    """
    package = Path(__file__).parents[1]
    hasher = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((package / room).rglob("*")):
            if path.suffix in SUFFIXES:
                hasher.update(f"{path.relative_to(package).as_posix()}\n".encode())
                hasher.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return hasher.hexdigest()[:12]
