"""The project: its folder and its store."""

from __future__ import annotations

import os
import time
import tomllib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import qwerties
from qwerties.errors import FailedError, NothingTrackedError, UsageError, nothing_tracked, reason_of

if TYPE_CHECKING:
    from qwerties.tracking.store import Store

KERNEL_DAYS = 60  # after which a compiled kernel that nothing has read is removed


def enter_root() -> Path:
    """Find the project, the nearest folder upwards that declares itself one, and work in it, as MLflow expects.

    A project has ``experiments/`` and, in ``pyproject.toml``, a table ``[tool.qwerties]``: the scripts in its
    ``experiments/`` are executed, which no other folder's are.

    Raises
    ------
    UsageError
        If there is no such folder, or if the running package is not the one that the project holds.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "experiments").is_dir() and _is_project(folder / "pyproject.toml"):
            _check_package(folder)
            try:
                os.fsencode(folder).decode()
            except ValueError:  # URIs of stores are UTF-8
                raise UsageError(f"the project's path must be UTF-8, got {os.fsencode(folder)!r}") from None
            os.chdir(folder)
            if "QWERTIES_KERNELS" not in os.environ:
                _keep_kernels(folder / ".cache" / "kernels")
            return folder
    raise UsageError(
        f"no experiments/ beside a pyproject.toml with a table [tool.qwerties] in {Path.cwd()} or above"
    )


def _keep_kernels(folder: Path) -> None:
    """Have compiled kernels kept in a folder, and remove old ones: every version of the code compiles its own."""
    os.environ["QWERTIES_KERNELS"] = str(folder)
    for path in folder.glob("*.so"):
        with suppress(OSError):  # another command may do the same
            used = max(path.stat().st_atime, path.stat().st_mtime)
            if time.time() - used > KERNEL_DAYS * 86400:
                path.unlink()


def _is_project(path: Path) -> bool:
    try:
        return isinstance(tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["qwerties"], dict)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _check_package(folder: Path) -> None:
    """Refuse to run another folder's code on a project that holds the package itself, as a copied .venv does."""
    own, running = folder / "qwerties" / "__init__.py", Path(qwerties.__file__)
    if own.is_file() and not own.samefile(running):
        raise UsageError(
            f"this folder has its own qwerties/, but the command runs the code in {running.parent}: "
            "make setup, then call .venv/bin/qwerties or make of this folder"
        )


def check_own_store(root: Path, command: str) -> None:
    """Raise UsageError where the project's store is not the SQLite file in its folder."""
    from qwerties.portability.relocate import DATABASE, database_of
    from qwerties.tracking.uri import public_uri

    if database_of(root) != root / DATABASE:
        uri = public_uri(os.environ["MLFLOW_TRACKING_URI"])
        raise UsageError(f"{command} is for the store in this folder, MLFLOW_TRACKING_URI names {uri}")


@contextmanager
def open_store(root: Path, *, reads: bool = False) -> Iterator[Store]:
    """Open the store; whatever a database or a server raises, now or later, becomes one line.

    Raises
    ------
    NothingTrackedError
        If the block only ``reads`` and there is no store yet.
    UsageError
        If the store cannot be used.
    FailedError
        If the store fails within the block.
    """
    from qwerties.portability.relocate import check_place, database_of, is_new

    database = database_of(root)
    if database is not None:
        if reads and is_new(database):
            raise NothingTrackedError(nothing_tracked())
        check_place(database, root)
    from qwerties.execution.processes import this_process
    from qwerties.execution.signals import finishing_first
    from qwerties.tracking.store import Store, store_failures

    try:
        store = Store.open(root, reads=reads, writer=this_process())
        try:
            yield store
        finally:
            with finishing_first():  # SQLAlchemy logs a signal that comes while it closes a connection
                store.close()
    except BrokenPipeError:  # of our output, not of the store
        raise
    except store_failures() as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if frame.f_globals["__name__"].startswith(
            ("qwerties.cli.", "tqdm.")
        ):  # the output is full, not the store
            raise
        reason = reason_of(error)
        raise FailedError(f"the store failed, the same command goes on from there: {reason}") from None
