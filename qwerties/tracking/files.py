"""Files that appear whole, and never in the place of another."""

from __future__ import annotations

import os
from pathlib import Path


def place_new_file(source: Path, target: Path) -> None:
    """Give a finished file its name, unless there is a file of that name; its old name may stay.

    Raises
    ------
    FileExistsError
        If the name is taken; the file there is not touched.
    OSError
        If it cannot be given the name.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: reserve the name, then fill it
        with target.open("xb"):
            pass
        source.replace(target)
