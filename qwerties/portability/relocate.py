"""Find and mend a store whose folder was moved or copied: MLflow stores where artifacts are as absolute paths.

Only for a SQLite store in a folder. A copy whose original still exists is found too: a sweep in it would write its
artifacts into the original.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qwerties.errors import FailedError, UsageError
from qwerties.tracking.uri import artifact_path, configured_uri, sqlite_path

# MLflow's default store: a database, and a folder of artifacts beside it
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"

# Columns that say where MLflow reads and writes
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)

SECONDS_TO_WAIT = 5.0  # for another process to end its transaction


class RelocateError(FailedError):
    """A store cannot be relocated; the message is one line."""


@dataclass(frozen=True)
class Relocated:
    """What `relocate` did."""

    old: tuple[str, ...]  # folders that the store named as its own
    values: int  # locations that were rewritten
    backup: Path  # the database as it was
    found: int  # artifacts at the new locations
    missing: int  # artifacts that are not there


def database_of(root: Path) -> Path | None:
    """Return the file of the store that commands in a project use; None if that is no SQLite store."""
    path = sqlite_path(configured_uri(root))
    return None if path is None else path.absolute()


def is_new(database: Path) -> bool:
    """Return whether nothing is tracked in a database: it is absent, or empty, in a folder that exists."""
    if database.name == ":memory:" or "?" in database.name or not database.parent.is_dir():
        return False  # no name of a file: whoever opens the store refuses it
    return not database.exists() or (database.is_file() and database.stat().st_size == 0)


# Where a store says that it is


def check_place(database: Path, root: Path) -> None:
    """Refuse a store in a folder that was moved or copied; UsageError, in one line."""
    old: tuple[str, ...] = ()
    with contextlib.suppress(sqlite3.Error):  # whoever opens the store says what is wrong with it
        old = moved_from(database, root) if database.is_file() else ()
    if old:
        folders = " and ".join(old) or "/"
        raise UsageError(
            f"this folder was moved or copied from {folders}: `qwerties relocate` mends its store"
        )


def moved_from(database: Path, root: Path) -> tuple[str, ...]:
    """Return the other folders, sorted, in which the store of a project says that it is; sqlite3.Error if unreadable.

    Of a database outside the project only those artifacts count that are not where they are said to be.
    """
    home = _home_of(database, root)
    with connected(database) as connection:
        locations = connection.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name LIKE 'qwerties/%' UNION "
            "SELECT e.experiment_id, replace(r.artifact_uri, '/' || r.run_uuid || '/artifacts', '') "
            "FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name LIKE 'qwerties/%'"
        ).fetchall()
    folders = {folder for pair in locations if (folder := _folder_of(*pair)) is not None}
    others = {folder for folder in folders if not _is_same(Path(folder or "/"), home)}
    if home != root:  # artifacts of a store elsewhere may well be here
        came_along = any((home / ARTIFACTS / str(number)).is_dir() for number, _ in locations)
        others = {folder for folder in others if came_along and not Path(folder, ARTIFACTS).is_dir()}
    return tuple(sorted(others))


def _home_of(database: Path, root: Path) -> Path:
    """Return the folder that holds the artifacts of a database, beside it."""
    return root if _is_same(database.parent, root) else database.parent


def _folder_of(experiment_id: object, location: object) -> str | None:
    """Return the folder whose ``mlruns`` an artifact location is in; None for one that somebody chose."""
    path, end = str(artifact_path(str(location).rstrip("/"))), f"/{ARTIFACTS}/{experiment_id}"
    return path.removesuffix(end) if path.startswith("/") and path.endswith(end) else None


def _is_same(a: Path, b: Path) -> bool:
    """Return whether two paths are one folder, whatever links lead there."""
    try:
        return a == b or a.samefile(b)
    except OSError:
        return False


# Moving it


def relocate(
    database: Path, root: Path, progress: Callable[[str], None] = lambda what: None
) -> Relocated | None:
    """Make a moved or copied store say where it is now; None if the store is where it says.

    The database as it was is kept beside it. ``progress`` is called with the name of each step.

    Raises
    ------
    RelocateError
        If it cannot be done; the database is as it was.
    """
    home = _home_of(database, root)
    try:
        if not (old := moved_from(database, root)):
            return None
        with connected(database) as connection:
            _check_artifacts_came_along(connection, home, old)
            with writing(connection):  # nobody else writes between the copy and the change
                progress("copying the database")
                backup = _back_up(database)
                try:
                    progress("rewriting")
                    values = sum(rewrite(connection, folder, str(home)) for folder in old)
                    progress("checking")
                    check_sound(connection)
                except BaseException:
                    backup.unlink()  # nothing is changed: there is nothing to go back to
                    raise
            found, missing = count_artifacts(connection)
    except sqlite3.Error as error:
        raise RelocateError(f"the database {database} cannot be changed, it is as it was: {error}") from None
    except OSError as error:
        raise RelocateError(f"the database {database} cannot be copied, it is as it was: {error}") from None
    return Relocated(old, values, backup, found, missing)


def _check_artifacts_came_along(connection: sqlite3.Connection, home: Path, old: Sequence[str]) -> None:
    rows = connection.execute(
        "SELECT DISTINCT experiment_id FROM runs r JOIN experiments e USING (experiment_id) "
        "WHERE e.name LIKE 'qwerties/%'"
    ).fetchall()
    if rows and not any((home / ARTIFACTS / str(row[0])).is_dir() for row in rows):
        raise RelocateError(
            f"{home / ARTIFACTS} must hold the artifacts: bring {old[0]}/{ARTIFACTS} here, too"
        )


def _back_up(database: Path) -> Path:
    number = 1
    while (target := database.with_name(f"{database.name}.before-relocate-{number}")).exists():
        number += 1
    copy_database(database, target)
    return target


def rewrite(connection: sqlite3.Connection, old: str, new: str) -> int:
    """Put ``new/mlruns`` for ``old/mlruns`` in every location of the store; return how many were rewritten.

    Locations are plain paths, or ``file:`` addresses, quoted or not; as addresses they are written quoted.
    """
    before, after = f"{old}/{ARTIFACTS}", f"{new}/{ARTIFACTS}"
    quoted = f"file://{urllib.parse.quote(after)}"
    is_misread = urllib.parse.unquote(after) != after  # MLflow would decode a plain path
    forms = {f"file://{urllib.parse.quote(before)}": quoted, f"file://{before}": quoted}
    forms[before] = quoted if is_misread else after
    values = 0
    for table, column in LOCATIONS:
        for start, replacement in forms.items():
            values += connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (replacement, len(start) + 1, start, len(start) + 1, f"{start}/"),
            ).rowcount
    return values


def outside(connection: sqlite3.Connection, home: Path) -> str | None:
    """Return an artifact location that is not in a folder's ``mlruns``, if there is one."""
    for table, column in LOCATIONS:
        for (location,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}"):
            path = artifact_path(str(location))
            if location is None and table == "model_versions":
                continue  # of a version without files of its own
            if not path.is_relative_to(home / ARTIFACTS) or ".." in path.parts:
                return str(location)
    return None


def count_artifacts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Count the artifacts, of runs and models, that are where the store says, and those that are not."""
    paths: list[Path] = []
    tagged = (
        "SELECT artifact_uri, value FROM runs JOIN tags USING (run_uuid) WHERE key = 'qwerties.artifacts'"
    )
    for location, tag in connection.execute(tagged):
        with contextlib.suppress(ValueError, TypeError, RecursionError):  # somebody else's tag
            paths += [artifact_path(str(location)) / str(path) for path in json.loads(tag)]
    models = connection.execute("SELECT artifact_location FROM logged_models")
    paths += [artifact_path(str(row[0])) for row in models]
    n_existing = sum(map(os.path.exists, paths))  # False where no file can have the name
    return n_existing, len(paths) - n_existing


# The database


@contextlib.contextmanager
def connected(database: Path) -> Iterator[sqlite3.Connection]:
    """Connect to an existing database for the length of a block; transactions are the caller's."""
    address = f"file:{urllib.parse.quote(str(database))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=SECONDS_TO_WAIT, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a block as one transaction: all of it, or nothing if it is stopped or fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def copy_database(database: Path, target: Path) -> None:
    """Copy a database as of one moment, whoever writes to it; whole or not at all."""
    size, free = database.stat().st_size, shutil.disk_usage(target.parent).free
    if size > free:
        raise OSError(f"{size:,} bytes must be free in {target.parent}, got {free:,}")
    part = target.with_name(f"{target.name}.part")
    try:
        with connected(database) as source, contextlib.closing(sqlite3.connect(part)) as copy:
            source.backup(copy, pages=4096, sleep=0.01)  # in pieces: Ctrl-C ends it
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        part.replace(target)
    except BaseException:
        for leftover in (part, *(Path(f"{part}{end}") for end in ("-journal", "-wal", "-shm"))):
            leftover.unlink(missing_ok=True)
        raise


def check_sound(connection: sqlite3.Connection) -> None:
    """Refuse a damaged database; RelocateError."""
    [result] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        raise RelocateError(f"the database is damaged: {' '.join(str(result).split())[:200]}")
