"""Set-up of MLflow's database, without what MLflow's own set-up leaves behind."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from qwerties.tracking.files import place_new_file
from qwerties.tracking.uri import sqlite_uri


def create_database(path: Path) -> None:
    """Create MLflow's tables in a new file and move it to its path when it is complete: they take many transactions.

    Of several processes one does so, and the others wait. What a killed one has left is removed by the next.
    """
    from mlflow.db import upgrade

    folder = path.parent / ".cache" / f"{path.name}.new"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if path.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        new = folder / path.name
        try:
            with without_side_effects(sqlite_uri(new)):
                upgrade.main([sqlite_uri(new)], standalone_mode=False)
            with suppress(FileExistsError):  # MLflow's own command has created it
                place_new_file(new, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def without_side_effects(uri: str) -> Iterator[None]:
    """Undo what opening a store does besides: alembic disables loggers, and MLflow creates folders.

    MLflow does not decode the path of a SQLite URI and creates an empty folder named ``a%2520b`` beside ``a%20b``.
    """
    folder = Path(uri.removeprefix("sqlite:///")).parent
    absent = [p for p in (folder, *folder.parents) if uri.startswith("sqlite:///") and not p.exists()]
    loggers = [x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)]
    enabled = [logger for logger in loggers if not logger.disabled]
    try:
        yield
    finally:
        for logger in enabled:
            logger.disabled = False
        for path in absent:
            with suppress(OSError):  # the folder was not created, or is in use
                path.rmdir()
