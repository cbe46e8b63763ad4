"""Files that appear whole, and never replace another."""

from __future__ import annotations

import os
from pathlib import Path


def place_new_file(source: Path, target: Path) -> None:
    """Give a finished file the name ``target``; its old name may remain.

    Raises
    ------
    FileExistsError
        If the name is taken; the existing file is not touched.
    OSError
        If the file cannot be given the name.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: reserve the name, then replace the empty file
        target.open("xb").close()
        source.replace(target)
