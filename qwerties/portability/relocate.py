"""A folder that was moved or copied: MLflow stores where artifacts are as absolute paths; find that, and mend it.

Only for a SQLite store in a folder. A copy whose original still stands is found too: a sweep in it would write its
artifacts into the original.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qwerties.errors import FailedError, UsageError
from qwerties.tracking.uri import configured_uri, sqlite_path

DATABASE, ARTIFACTS = "mlflow.db", "mlruns"
"""MLflow's default store: a database, and a folder of artifacts beside it."""

NOTHING = "nothing tracked yet: make sweep"

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Columns that say where MLflow reads and writes."""

SECONDS_TO_WAIT = 5.0
"""For another process to end its transaction."""


class RelocateError(FailedError):
    """A store cannot be relocated; the message is one line."""


@dataclass(frozen=True)
class Relocated:
    """What `relocate` did.

    Attributes
    ----------
    old : tuple of str
        The folders that the store was in, by what it said.
    values : int
        Values of the database that were rewritten.
    backup : Path
        The database as it was.
    found, missing : int
        Artifacts that are, or are not, where the store says now.
    """

    old: tuple[str, ...]
    values: int
    backup: Path
    found: int
    missing: int


def database_of(root: Path) -> Path | None:
    """Return the file of the store that commands in a repository use; None where that is no SQLite store."""
    path = sqlite_path(configured_uri(root))
    return None if path is None else path.absolute()


def is_new(database: Path) -> bool:
    """Tell whether nothing is tracked in a database, as it is not there, or empty, in a folder that is."""
    if database.name == ":memory:" or "?" in database.name or not database.parent.is_dir():
        return False  # no name of a file: whoever opens the store refuses it
    return not database.exists() or (database.is_file() and database.stat().st_size == 0)


def check_place(database: Path, root: Path) -> None:
    """Refuse a store in a folder that was moved or copied; UsageError, in one line."""
    if old := moved_from(database, root):
        places = " and ".join(old) or "/"
        raise UsageError(
            f"this folder was moved or copied from {places}: `qwerties relocate` mends its store"
        )


def home_of(database: Path, root: Path) -> Path:
    """Return the folder that holds the artifacts of a database, beside it."""
    return root if _same(database.parent, root) else database.parent


def moved_from(database: Path, root: Path) -> tuple[str, ...]:
    """Tell where a store says that it is, if that is another folder than the one it is in.

    Parameters
    ----------
    database : Path
        Of the store; one that is not there, or cannot be read, was not moved.
    root : Path
        The repository. Of a database elsewhere only those artifacts count that are not where they are said to be.

    Returns
    -------
    tuple of str
        Other folders, sorted; empty where all is well.
    """
    if not database.is_file():
        return ()
    try:
        return _moved_from(database, root)
    except sqlite3.Error:
        return ()  # whoever opens the store tells what is wrong with it


def _moved_from(database: Path, root: Path) -> tuple[str, ...]:
    home = home_of(database, root)
    with connected(database) as connection:
        found = connection.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name LIKE 'qwerties/%' UNION "
            "SELECT e.experiment_id, replace(r.artifact_uri, '/' || r.run_uuid || '/artifacts', '') "
            "FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name LIKE 'qwerties/%'"
        ).fetchall()
    folders = {folder for pair in found if (folder := _folder_of(*pair)) is not None}
    others = {folder for folder in folders if not _same(Path(folder or "/"), home)}
    if home != root:  # artifacts of a store elsewhere may well be here
        here = {
            str(experiment_id)
            for experiment_id, _ in found
            if (home / ARTIFACTS / str(experiment_id)).is_dir()
        }
        others = {folder for folder in others if here and not Path(folder, ARTIFACTS).is_dir()}
    return tuple(sorted(others))


def _folder_of(experiment_id: object, location: object) -> str | None:
    """The folder whose ``mlruns`` an artifact location is in; None for one that was chosen by somebody."""
    path = str(location).rstrip("/")
    if path.startswith("file:"):
        path = urllib.parse.unquote(urllib.parse.urlsplit(path).path)
    end = f"/{ARTIFACTS}/{experiment_id}"
    return path.removesuffix(end) if path.startswith("/") and path.endswith(end) else None


def _same(a: Path, b: Path) -> bool:
    """Whether two paths are one folder, whatever links lead there."""
    try:
        return a == b or a.samefile(b)
    except OSError:
        return False


@contextlib.contextmanager
def connected(database: Path) -> Iterator[sqlite3.Connection]:
    """Connect to a database that is there, for the length of a block; transactions are the caller's."""
    address = f"file:{urllib.parse.quote(str(database))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=SECONDS_TO_WAIT, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of it, or nothing where it is stopped or fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def relocate(
    database: Path, root: Path, progress: Callable[[str], None] = lambda what: None
) -> Relocated | None:
    """Make a moved or copied store say where it is now; the database is kept beside it as it was.

    Parameters
    ----------
    database : Path
    root : Path
        The repository.
    progress : callable
        Called with what is being done.

    Returns
    -------
    Relocated or None
        None where there was nothing to do.

    Raises
    ------
    RelocateError
        If it cannot be done; the database is as it was.
    """
    home = home_of(database, root)
    try:
        if not (old := _moved_from(database, root)):
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
    ids = [
        str(row[0])
        for row in connection.execute(
            "SELECT DISTINCT experiment_id FROM runs r JOIN experiments e USING (experiment_id) "
            "WHERE e.name LIKE 'qwerties/%'"
        )
    ]
    if ids and not any((home / ARTIFACTS / experiment_id).is_dir() for experiment_id in ids):
        raise RelocateError(
            f"{home / ARTIFACTS} must hold the artifacts: bring {old[0]}/{ARTIFACTS} here, too"
        )


def _back_up(database: Path) -> Path:
    number = 1
    while (target := database.with_name(f"{database.name}.before-relocate-{number}")).exists():
        number += 1
    copy_database(database, target)
    return target


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


def rewrite(connection: sqlite3.Connection, old: str, new: str) -> int:
    """Put ``new/mlruns`` for ``old/mlruns`` wherever it begins a text, or a text inside JSON; returns how many.

    All text columns of all tables are searched, whatever their names: paths, ``file:`` addresses, and JSON that
    holds either. Where a run's script was is left as it is: that is no artifact.
    """
    before, after = f"{old}/{ARTIFACTS}", f"{new}/{ARTIFACTS}"
    starts, strings = _forms(before, after)
    values = 0
    for table, column in _text_columns(connection):
        t, c = _quoted(table), _quoted(column)
        mentioned = f"SELECT 1 FROM {t} WHERE typeof({c}) = 'text' AND instr({c}, ?) LIMIT 1"
        if connection.execute(mentioned, (f"/{ARTIFACTS}",)).fetchone() is None:
            continue
        for start, replacement in starts:
            values += connection.execute(
                f"UPDATE {t} SET {c} = ? || substr({c}, ?) "
                f"WHERE typeof({c}) = 'text' AND ({c} = ? OR substr({c}, 1, ?) = ?)",
                (replacement, len(start) + 1, start, len(start) + 1, f"{start}/"),
            ).rowcount
        changed, held = c, []
        for _ in strings:
            changed = f"replace({changed}, ?, ?)"
            held.append(f"instr({c}, ?)")
        values += connection.execute(
            f"UPDATE {t} SET {c} = {changed} WHERE typeof({c}) = 'text' "
            f"AND substr({c}, 1, 1) IN ('{{', '[', '\"') AND ({' OR '.join(held)}) AND json_valid({c})",
            (*(text for pair in strings for text in pair), *(start for start, _ in strings)),
        ).rowcount
    return values


def _forms(before: str, after: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """How a path may be written at the start of a text, and at the start of a string of JSON."""
    quote = urllib.parse.quote
    starts = {before: after, f"file://{before}": f"file://{after}"}
    starts.setdefault(f"file://{quote(before)}", f"file://{quote(after)}")
    strings: dict[str, str] = {}
    for start, replacement in starts.items():
        for plain in (True, False):
            a, b = (json.dumps(text, ensure_ascii=plain)[:-1] for text in (start, replacement))
            strings |= {f"{a}{end}": f"{b}{end}" for end in ("/", '"')}
    return list(starts.items()), list(strings.items())


def _text_columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    kinds = ("CHAR", "TEXT", "CLOB", "JSON", "STRING")
    return [
        (table, column)
        for (table,) in tables
        for _, column, kind, _, _, _, hidden in connection.execute(f"PRAGMA table_xinfo({_quoted(table)})")
        if not hidden and (not kind or any(word in kind.upper() for word in kinds))
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def check_sound(connection: sqlite3.Connection) -> None:
    """Refuse a damaged database; RelocateError."""
    [told] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if told != "ok":
        raise RelocateError(f"the database is damaged: {' '.join(str(told).split())[:200]}")


def count_artifacts(
    connection: sqlite3.Connection, now: Path | None = None, at: Path | None = None
) -> tuple[int, int]:
    """Count the artifacts that are where the store says, and those that are not.

    Those that runs are tagged with, and models. With ``now`` and ``at``, what is to be in the folder ``now`` is
    looked for in ``at``.
    """
    said: list[Path] = []
    tagged = (
        "SELECT artifact_uri, value FROM runs JOIN tags USING (run_uuid) WHERE key = 'qwerties.artifacts'"
    )
    for location, tag in connection.execute(tagged):
        try:
            said += [_local(location) / str(path) for path in json.loads(tag)]
        except (ValueError, TypeError):
            continue  # somebody else's tag
    if "logged_models" in {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}:
        said += [_local(row[0]) for row in connection.execute("SELECT artifact_location FROM logged_models")]
    if now is not None and at is not None:
        said = [at / path.relative_to(now) if path.is_relative_to(now) else path for path in said]
    found = sum(path.exists() for path in said)
    return found, len(said) - found


def _local(location: str) -> Path:
    plain = str(location)
    return Path(
        urllib.parse.unquote(urllib.parse.urlsplit(plain).path) if plain.startswith("file:") else plain
    )


def outside(connection: sqlite3.Connection, home: Path) -> str | None:
    """Return an artifact location that is not in a folder's ``mlruns``, if there is one."""
    inside = home / ARTIFACTS
    for table, column in LOCATIONS:
        if (table, column) not in _text_columns(connection):
            continue
        t, c = _quoted(table), _quoted(column)
        for (location,) in connection.execute(f"SELECT DISTINCT {c} FROM {t} WHERE {c} IS NOT NULL"):
            path = _local(location)
            if not path.is_relative_to(inside) or ".." in path.parts:
                return str(location)
    return None
