"""A study as one file, and back: ``qwerties export`` and ``qwerties import``.

The file is a ``.tar.gz`` of the database as of one moment, of the artifacts of the runs that were over by then, of the
journals beside them, and of the last report's verdicts. What comes in is not trusted: only these names, only plain
files, not more bytes than were announced, a sound database, and no artifact location outside the folder. It is made
ready in a folder of its own, and only then put in place, the database last.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qwerties.errors import UsageError
from qwerties.portability.relocate import (
    ARTIFACTS,
    DATABASE,
    NOTHING,
    RelocateError,
    check_place,
    check_sound,
    connected,
    copy_database,
    count_artifacts,
    outside,
    rewrite,
    writing,
)
from qwerties.tracking.files import place_new_file

FORMAT = 1
"""Of the file; raised when something that must be understood is added."""

STUDY, VERDICTS = "study.json", "reports/verdicts.json"

MAY_BE_INSIDE = re.compile(rf"{re.escape(DATABASE)}|{re.escape(VERDICTS)}|{ARTIFACTS}/.+")
KEPT = ("README.md", ".gitignore", ".gitkeep")
"""In a folder of artifacts of its own right, with no study in it."""

UNFINISHED = ("RUNNING", "SCHEDULED")
FAILURE = "qwerties.failure"
TRIGGERS = ("prevent_secrets_aad_mutation",)
"""Those of MLflow's own schema."""

MAX_STUDY = 100_000
"""Bytes of ``study.json``."""

PIECE = 1 << 20
SPARE = 64 << 20
"""Bytes that an import leaves free."""

Progress = Callable[[int, int], None]
"""Called with bytes done, and in all."""


class ArchiveError(UsageError):
    """A study cannot be exported or imported; the message is one line."""


@dataclass(frozen=True)
class Moved:
    """What went into a file, or came out of it; ``ended`` counts runs that were being written."""

    runs: int
    files: int
    size: int
    ended: int


# Out


def export_study(root: Path, target: Path, progress: Progress = lambda done, of: None) -> Moved:
    """Write the study in a folder into one file, whole or not at all; a sweep may go on meanwhile.

    Parameters
    ----------
    root : Path
        The repository, with MLflow's default store in it.
    target : Path
        Ends with ``.tar.gz``; must not be there yet.
    progress : callable
        Called with bytes done, and in all.

    Raises
    ------
    ArchiveError
        If it cannot be done; nothing is left behind.
    """
    if not target.name.endswith(".tar.gz"):
        raise ArchiveError(f"FILE must end with .tar.gz, got {target.name}")
    if not target.parent.is_dir():
        raise ArchiveError(f"FILE must be in a folder that exists, got {target.parent}")
    if target.exists():
        raise ArchiveError(f"FILE must not be there yet, got {target}")
    if not (root / DATABASE).exists():
        raise ArchiveError(NOTHING)
    try:
        check_place(root / DATABASE, root)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            part, database = Path(folder, "part"), Path(folder, DATABASE)
            copy_database(root / DATABASE, database)
            with connected(database) as connection:
                if (place := outside(connection, root)) is not None:
                    raise ArchiveError(f"every artifact must be in {root / ARTIFACTS}, got {place[:200]}")
                members = _members(root, database, connection)
                runs, ended = _counts(connection)
            moved = Moved(runs, len(members), sum(member.size for member in members), ended)
            study = {"format": FORMAT, "folder": str(root), "files": moved.files, "bytes": moved.size}
            with part.open("wb") as file:
                _write(file, [_Member.of(STUDY, json.dumps(study).encode()), *members], moved.size, progress)
                file.flush()
                os.fsync(file.fileno())
            part.chmod(0o644)
            part.rename(target)
    except RelocateError as error:
        raise ArchiveError(error) from None
    except sqlite3.Error as error:
        raise ArchiveError(f"the database cannot be read: {error}") from None
    except OSError as error:
        raise ArchiveError(f"the study cannot be exported: {error}") from None
    return moved


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    when: int
    source: Path | bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> _Member:
        return cls(name, len(content), 0, content)

    @classmethod
    def at(cls, name: str, path: Path, when: int | None = None) -> _Member:
        told = path.stat()
        return cls(name, told.st_size, int(told.st_mtime) if when is None else when, path)


def _members(root: Path, database: Path, connection: sqlite3.Connection) -> list[_Member]:
    """What the file is to hold, in its order."""
    over = {
        row[0]
        for row in connection.execute("SELECT run_uuid FROM runs WHERE status NOT IN (?, ?)", UNFINISHED)
    }
    models = {
        row[0]
        for row in connection.execute("SELECT model_id, source_run_id FROM logged_models")
        if row[1] is None or row[1] in over
    }
    members = [_Member.at(DATABASE, database, when=0)]
    artifacts = root / ARTIFACTS
    for (experiment_id,) in connection.execute(
        "SELECT experiment_id FROM experiments ORDER BY experiment_id"
    ):
        folder = artifacts / str(experiment_id)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            parts = path.relative_to(folder).parts
            if parts[0] == "models":
                wanted = len(parts) > 1 and parts[1] in models
            else:
                wanted = not re.fullmatch("[0-9a-f]{32}", parts[0]) or parts[0] in over
            if wanted:
                members.append(_Member.at(path.relative_to(root).as_posix(), path))
    for path in sorted(artifacts.glob("*.journal")):
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1]  # its writer may be in the middle of one
        members.append(_Member.of(path.relative_to(root).as_posix(), lines))
    if (root / VERDICTS).is_file():
        members.append(_Member.of(VERDICTS, (root / VERDICTS).read_bytes()))
    return members


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    [runs] = connection.execute("SELECT count(*) FROM runs").fetchone()
    [open_] = connection.execute("SELECT count(*) FROM runs WHERE status IN (?, ?)", UNFINISHED).fetchone()
    return runs, open_


def _write(file: BinaryIO, members: list[_Member], size: int, progress: Progress) -> None:
    done = 0
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for member in members:
            about = tarfile.TarInfo(member.name)
            about.size, about.mtime, about.mode = member.size, member.when, 0o644
            content = member.source
            with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
                tar.addfile(about, _Told(source, done, size, progress))
            done += member.size if member.name != STUDY else 0


class _Told:
    """A file that says, as it is read, how many bytes of all are done; ``done`` were so before it."""

    def __init__(self, source: BinaryIO, done: int, of: int, progress: Progress) -> None:
        self._source, self._done, self._of, self._progress = source, done, of, progress

    def read(self, size: int = -1) -> bytes:
        """Read on, and say how far."""
        content = self._source.read(size)
        self._progress(min(self._done + self._source.tell(), self._of), self._of)
        return content


# In


def import_study(root: Path, source: Path, progress: Progress = lambda done, of: None) -> tuple[Moved, int]:
    """Bring a study from a file into a folder that has none.

    Parameters
    ----------
    root : Path
        The repository.
    source : Path
        From `export_study`.
    progress : callable
        Called with bytes done, and in all.

    Returns
    -------
    Moved
    int
        Artifacts that the store tells of and that the file does not hold.

    Raises
    ------
    ArchiveError
        If there is a study already, or the file holds none; nothing is left behind.
    """
    _check_empty(root)
    if not source.is_file():
        raise ArchiveError(f"FILE must be a study from `qwerties export`, got {source}, which is no file")
    try:
        with tempfile.TemporaryDirectory(prefix=".import-", dir=root) as name:
            folder = Path(name)
            study, files = _unpack(source, folder, root, progress)
            with connected(folder / DATABASE) as connection:
                moved, missing = _settle_in(connection, study, root, folder, files)
            _check_empty(root)
            _put_in_place(folder, root)
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise _foreign(source, error) from None
    except (RelocateError, sqlite3.Error) as error:
        raise _foreign(source, error) from None
    except OSError as error:
        raise ArchiveError(f"the study cannot be imported: {error}") from None
    return moved, missing


def _foreign(source: Path, what: object) -> ArchiveError:
    reason = what if isinstance(what, str) else (str(what).strip() or type(what).__name__)
    line = " ".join(reason.split())[:200]
    return ArchiveError(f"FILE must be a whole study from `qwerties export`, got {source}: {line}")


def _check_empty(root: Path) -> None:
    there = [root / DATABASE, root / f"{DATABASE}-wal", root / VERDICTS]
    artifacts = root / ARTIFACTS
    if artifacts.is_dir():
        there += sorted(path for path in artifacts.iterdir() if path.name not in KEPT)
    for path in there:
        if path.exists():
            raise ArchiveError(f"import overwrites nothing: the folder must hold no study, got {path}")


def _unpack(source: Path, folder: Path, root: Path, progress: Progress) -> tuple[dict[str, Any], int]:
    """Take a file apart into a folder; ArchiveError, or what ``tarfile`` and ``gzip`` raise."""
    with gzip.open(source) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        members = iter(tar)
        study = _read_study(tar, next(members, None), source)
        size, free = study["bytes"], shutil.disk_usage(root).free
        if size + SPARE > free:
            raise ArchiveError(f"{size + SPARE:,} bytes must be free in {root}, got {free:,}")
        done, seen = 0, set()
        for member in members:
            name = member.name
            if not (member.type == tarfile.REGTYPE and _may_be_inside(name)) or name in seen:
                raise _foreign(source, f"{name[:100]!r} must not be in it")
            done += member.size
            if done > size:
                raise _foreign(source, "it holds more than it says")
            seen.add(name)
            content = tar.extractfile(member)
            assert content is not None
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while piece := content.read(PIECE):
                    file.write(piece)
                    progress(done - member.size + file.tell(), size)
        for _ in range(64):  # to the end of the file, whose checksum is told there
            if not packed.read(PIECE):
                break
        else:
            raise _foreign(source, "it holds more than it says")
    if (done, len(seen)) != (size, study["files"]) or DATABASE not in seen:
        raise _foreign(
            source, f"{study['files']} files of {size:,} bytes must be in it, got {len(seen)} of {done:,}"
        )
    return study, len(seen)


def _may_be_inside(name: str) -> bool:
    parts = name.split("/")
    kept = parts[0] == ARTIFACTS and parts[1:] in [[name] for name in KEPT]
    return bool(MAY_BE_INSIDE.fullmatch(name)) and not {"", ".", ".."} & set(parts) and not kept


def _read_study(tar: tarfile.TarFile, member: tarfile.TarInfo | None, source: Path) -> dict[str, Any]:
    if member is None or member.name != STUDY or not member.isreg() or member.size > MAX_STUDY:
        raise _foreign(source, f"it must begin with {STUDY}")
    content = tar.extractfile(member)
    assert content is not None
    study = json.loads(content.read())
    if study["format"] != FORMAT:
        raise _foreign(
            source, f"its format must be {FORMAT}, got {study['format']!r}; another version wrote it"
        )
    counts = (study["files"], study["bytes"])
    if not (isinstance(study["folder"], str) and all(type(count) is int and count >= 0 for count in counts)):
        raise _foreign(source, f"{STUDY} must tell folder, files and bytes")
    return study


def _settle_in(
    connection: sqlite3.Connection, study: dict[str, Any], root: Path, folder: Path, files: int
) -> tuple[Moved, int]:
    """Make the database one of this folder; RelocateError where it is none that may come in."""
    check_sound(connection)
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master"):
        if kind not in ("table", "index") and name not in TRIGGERS:
            raise RelocateError(f"the {kind} {str(name)[:100]!r} must not be in its database")
    runs, ended = _counts(connection)
    with writing(connection):
        if study["folder"] != str(root):
            rewrite(connection, study["folder"], str(root))
        if (place := outside(connection, root)) is not None:
            raise RelocateError(f"its artifacts must be its own, got one at {place[:200]}")
        connection.execute(
            "INSERT OR REPLACE INTO tags (key, value, run_uuid) "
            "SELECT ?, 'it was being written when the study was exported', run_uuid FROM runs WHERE status IN (?, ?)",
            (FAILURE, *UNFINISHED),
        )
        connection.execute(
            "UPDATE runs SET status = 'KILLED', end_time = coalesce(end_time, start_time) WHERE status IN (?, ?)",
            UNFINISHED,
        )
    _, missing = count_artifacts(connection, root, folder)
    return Moved(runs, files, study["bytes"], ended), missing


def _put_in_place(folder: Path, root: Path) -> None:
    """Rename what was made ready into place, the database last; all of it or nothing."""
    made: list[Path] = []
    try:
        for name in (ARTIFACTS, "reports"):
            if not (folder / name).is_dir():
                continue
            if not (root / name).exists():
                (root / name).mkdir()
                made.append(root / name)
            for path in sorted((folder / name).iterdir()):
                _place(path, root / name / path.name, made)
        _place(folder / DATABASE, root / DATABASE, made)
    except BaseException:
        for path in reversed(made):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


def _place(source: Path, target: Path, made: list[Path]) -> None:
    """Rename a file or a folder to a name that nobody has taken meanwhile, and note it as ours.

    Raises
    ------
    OSError
        If the name is taken; what is there stays.
    """
    if source.is_dir():
        target.mkdir()
        made.append(target)
        source.replace(target)
    else:
        place_new_file(source, target)
        made.append(target)
