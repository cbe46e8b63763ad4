"""A study as one file, and back: ``qwerties export`` and ``qwerties import``.

The file is a ``.tar.gz`` of the database as of one moment, of the artifacts of the runs that had ended by then, of the
journals beside them, and of the last report's verdicts. What comes in is not trusted: only these names, only plain
files, not more bytes than were announced, a sound database, and no artifact location outside the folder.

Both commands prepare everything in a hidden staging folder and then move it to its place, which fails where a name is
taken. An import moves the database last: until then the study is not there, from then on all of it is. What a killed
command leaves behind is a staging folder; the next one removes it, and with it what it had moved out of it.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from qwerties.errors import FailedError, UsageError, nothing_tracked
from qwerties.portability.relocate import (
    ARTIFACTS,
    DATABASE,
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
from qwerties.tracking.tags import FAILURE

FORMAT = 1  # of the file; raised when something that must be understood is added
STUDY, VERDICTS = "study.json", "reports/verdicts.json"
NO_STUDY = ("README.md", ".gitignore", ".gitkeep")  # in a folder of artifacts that holds no study
PLACED = "placed.json"  # in the folder that an import stages: names that are moved before the database
UNFINISHED = ("RUNNING", "SCHEDULED")
TRIGGERS = ("prevent_secrets_aad_mutation",)  # of MLflow's own schema

MAX_STUDY = 100_000  # bytes of study.json, and of the tar header of a long name, which tarfile reads at once
MAX_FILES = 1_000_000
CHUNK = 1 << 20
SPARE = 64 << 20  # bytes that an import leaves free

# What a file raises that is no study, or not the whole of one
UNREADABLE = (
    *(tarfile.TarError, gzip.BadGzipFile, zlib.error, sqlite3.Error, RelocateError),
    *(EOFError, ValueError, KeyError, TypeError, RecursionError),
)

Progress = Callable[[int, int], None]  # called with bytes done, and in all


class ArchiveError(UsageError):
    """A study cannot be exported or imported as requested; the message is one line."""


@dataclass(frozen=True)
class Transferred:
    """What went into a file, or came out of it."""

    runs: int
    files: int
    size: int  # bytes
    ended: int  # runs that were being written
    missing: int = 0  # artifacts that the store names and the file lacks


@contextlib.contextmanager
def staging(folder: Path, name: str) -> Iterator[Path]:
    """Make a hidden folder for the length of a block, in place of what killed processes have left of theirs.

    Its owner holds a lock on it, so that nobody takes it for a leftover.
    """
    for leftover in folder.glob(f".{name}.*.qwerties"):
        if leftover.is_dir() and not leftover.is_symlink():
            with _locked(leftover):
                _remove(leftover, folder)
    path = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".qwerties", dir=folder))
    with _locked(path):
        try:
            yield path
        finally:
            _remove(path, folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise ArchiveError(f"another process exports or imports here, and works in {folder}") from None


def _remove(staged: Path, root: Path) -> None:
    """Remove a staging folder, and what was moved out of it unless there is a database, which is moved last."""
    placed = staged / PLACED
    if placed.exists() and not (root / DATABASE).exists():
        for name in json.loads(placed.read_text(encoding="utf-8")):
            if not (staged / name).exists():
                _delete(root / name)
    placed.unlink(missing_ok=True)
    _delete(staged)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# Out


def export_study(root: Path, target: Path, progress: Progress = lambda done, total: None) -> Transferred:
    """Write the study in a project into one new file, whole or not at all; a sweep may go on meanwhile.

    Raises
    ------
    ArchiveError
        If the request is wrong; nothing is left behind.
    FailedError
        If the disk fails; likewise.
    """
    if not target.name.endswith(".tar.gz"):
        raise ArchiveError(f"FILE must end with .tar.gz, got {target.name}")
    if not target.parent.is_dir():
        raise ArchiveError(f"FILE must be in a folder that exists, got {target.parent}")
    if os.path.lexists(target):
        raise ArchiveError(f"FILE must not be there yet, got {target}")
    if not (root / DATABASE).exists():
        raise ArchiveError(nothing_tracked())
    try:
        check_place(root / DATABASE, root)
        with staging(target.parent, target.name) as folder:
            part, database = folder / "part", folder / DATABASE
            copy_database(root / DATABASE, database)
            with connected(database) as connection:
                if (location := outside(connection, root)) is not None:
                    raise ArchiveError(f"every artifact must be in {root / ARTIFACTS}, got {location[:200]}")
                sources = _sources(root, database, connection)
                runs, ended = _counts(connection)
            members = [(_header(name, source), source) for name, source in sources.items()]
            done = Transferred(runs, len(members), sum(header.size for header, _ in members), ended)
            study = {"format": FORMAT, "folder": str(root), "files": done.files, "bytes": done.size}
            content = json.dumps(study).encode()
            with part.open("wb") as file:
                _write(file, [(_header(STUDY, content), content), *members], done.size, progress)
                file.flush()
                os.fsync(file.fileno())
            place_new_file(part, target)
    except RelocateError as error:
        raise ArchiveError(error) from None
    except sqlite3.Error as error:
        raise ArchiveError(f"the database cannot be read: {error}") from None
    except OSError as error:
        raise FailedError(f"the study cannot be exported: {error}") from None
    return done


def _sources(root: Path, database: Path, connection: sqlite3.Connection) -> dict[str, Path | bytes]:
    """Return what the file is to hold by its name there, in its order."""
    ended = f"SELECT run_uuid FROM runs WHERE status NOT IN {UNFINISHED}"
    runs = {row[0] for row in connection.execute(ended)}
    query = f"SELECT model_id FROM logged_models WHERE source_run_id IS NULL OR source_run_id IN ({ended})"
    models = {row[0] for row in connection.execute(query)}
    sources: dict[str, Path | bytes] = {DATABASE: database}
    for (number,) in connection.execute("SELECT experiment_id FROM experiments ORDER BY experiment_id"):
        folder = root / ARTIFACTS / str(number)
        for path in sorted(folder.rglob("*")):
            first, *rest = path.relative_to(folder).parts
            is_of_a_run = re.fullmatch("[0-9a-f]{32}", first)
            if (
                stat.S_ISREG(path.lstat().st_mode)  # a link may lead anywhere
                and (first in runs or not is_of_a_run)
                and (first != "models" or (rest and rest[0] in models))
            ):
                sources[path.relative_to(root).as_posix()] = path
    for path in sorted((root / ARTIFACTS).glob("*.journal")):
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # another process may be in the middle of a line
        sources[path.relative_to(root).as_posix()] = whole
    if (root / VERDICTS).is_file():
        sources[VERDICTS] = (root / VERDICTS).read_bytes()
    return sources


def _header(name: str, source: Path | bytes) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    if isinstance(source, bytes):
        header.size = len(source)
    else:
        header.size = source.stat().st_size
        header.mtime = 0 if name == DATABASE else int(source.stat().st_mtime)  # the database is a copy of now
    return header


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the number of runs, and of those that have not ended."""
    sums = f"SELECT count(*), coalesce(sum(status IN {UNFINISHED}), 0) FROM runs"
    runs, unfinished = connection.execute(sums).fetchone()
    return runs, unfinished


def _write(
    file: BinaryIO, members: list[tuple[tarfile.TarInfo, Path | bytes]], size: int, progress: Progress
) -> None:
    done = 0
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for header, source in members:
            with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as content:
                tar.addfile(header, content)
            done += header.size if header.name != STUDY else 0
            progress(done, size)


# In


def import_study(root: Path, source: Path, progress: Progress = lambda done, total: None) -> Transferred:
    """Bring a study from a file of `export_study` into a project that has none.

    Raises
    ------
    ArchiveError
        If there is a study already, or the file holds none; nothing is left behind.
    FailedError
        If the disk fails; likewise.
    """
    if not source.is_file():
        raise ArchiveError(f"FILE must be a study from `qwerties export`, got {source}, which is no file")
    try:
        with staging(root, "import") as folder:
            _check_empty(root)
            study = _unpack(source, folder, root, progress)
            with connected(folder / DATABASE) as connection:
                runs, ended = _settle_in(connection, study["folder"], root)
            _put_in_place(folder, root)
        with connected(root / DATABASE) as connection:
            _, missing = count_artifacts(connection)
    except UNREADABLE as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise ArchiveError(
            f"FILE must be a whole study from `qwerties export`, got {source}: {reason}"
        ) from None
    except OSError as error:
        raise FailedError(f"the study cannot be imported: {error}") from None
    return Transferred(runs, study["files"], study["bytes"], ended, missing)


def _check_empty(root: Path) -> None:
    paths = [root / DATABASE, root / f"{DATABASE}-wal", root / VERDICTS]
    paths += sorted(path for path in (root / ARTIFACTS).glob("*") if path.name not in NO_STUDY)
    for path in paths:
        if os.path.lexists(path):
            raise ArchiveError(f"import overwrites nothing: the folder must hold no study, got {path}")


class _PlainFile(tarfile.TarInfo):
    """A member that is a file; what else there may be is refused before anything of it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> _PlainFile:
        header = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        is_short_name = header.type == tarfile.XHDTYPE and header.size <= MAX_STUDY
        if header.type != tarfile.REGTYPE and not is_short_name:
            raise tarfile.TarError(f"{header.name[:100]!r} must not be in it")
        return header


def _unpack(source: Path, folder: Path, root: Path, progress: Progress) -> dict[str, Any]:
    """Unpack a file into a folder; return what ``study.json`` says."""
    with gzip.open(source) as packed, tarfile.open(fileobj=packed, mode="r|", tarinfo=_PlainFile) as tar:
        study = _read_study(tar)
        size = study["bytes"]
        free = min(shutil.disk_usage(path).free for path in (root, root / ARTIFACTS) if path.exists())
        if size + SPARE > free:
            raise FailedError(f"{size + SPARE:,} bytes must be free in {root}, got {free:,}")
        done, names = 0, set()
        while (member := tar.next()) is not None:
            if member.name in names or not _may_be_inside(member.name):
                raise ValueError(f"{member.name[:100]!r} must not be in it")
            done += member.size
            names.add(member.name)
            if member.size < 0 or done > size or len(names) > study["files"]:
                raise ValueError("it holds more than it says")
            content = tar.extractfile(member)
            assert content is not None
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(content, file, CHUNK)
            progress(done, size)
        for _ in range(64):  # to the end of the file, where its checksum is
            if not packed.read(CHUNK):
                break
        else:
            raise ValueError("it holds more than it says")
    if (done, len(names)) != (size, study["files"]) or DATABASE not in names:
        raise ValueError(
            f"{study['files']} files of {size:,} bytes must be in it, got {len(names)} of {done:,}"
        )
    return study


def _may_be_inside(name: str) -> bool:
    first, *rest = name.split("/")
    is_artifact = first == ARTIFACTS and rest and rest not in [[own] for own in NO_STUDY]
    return name in (DATABASE, VERDICTS) or bool(is_artifact and not {"", ".", ".."} & set(rest))


def _read_study(tar: tarfile.TarFile) -> dict[str, Any]:
    member = tar.next()
    if member is None or member.name != STUDY or member.size > MAX_STUDY:
        raise ValueError(f"it must begin with {STUDY}")
    content = tar.extractfile(member)
    assert content is not None
    study = json.loads(content.read())
    if study["format"] != FORMAT:
        raise ValueError(f"its format must be {FORMAT}, got {study['format']!r}; another version wrote it")
    counts = (study["files"], study["bytes"])
    are_counts = all(type(count) is int and count >= 0 for count in counts)
    if not (isinstance(study["folder"], str) and are_counts and study["files"] <= MAX_FILES):
        raise ValueError(f"{STUDY} must name folder, files (at most {MAX_FILES:,}) and bytes")
    return study


def _settle_in(connection: sqlite3.Connection, old: str, root: Path) -> tuple[int, int]:
    """Make the database one of this folder; RelocateError if it is none that may come in. Return `_counts`."""
    check_sound(connection)
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master"):
        if kind not in ("table", "index") and name not in TRIGGERS:
            raise RelocateError(f"the {kind} {str(name)[:100]!r} must not be in its database")
    counts = _counts(connection)
    with writing(connection):
        if old != str(root):
            rewrite(connection, old, str(root))
        if (location := outside(connection, root)) is not None:
            raise RelocateError(f"its artifacts must be its own, got one at {location[:200]}")
        connection.execute(
            "INSERT OR REPLACE INTO tags (key, value, run_uuid) "
            f"SELECT ?, 'it was being written when the study was exported', run_uuid FROM runs "
            f"WHERE status IN {UNFINISHED}",
            (FAILURE,),
        )
        connection.execute(
            "UPDATE runs SET status = 'KILLED', end_time = coalesce(end_time, start_time) "
            f"WHERE status IN {UNFINISHED}"
        )
    return counts


def _put_in_place(folder: Path, root: Path) -> None:
    """Move everything that is staged, the database last; FileExistsError if a name is taken."""
    (root / ARTIFACTS).mkdir(exist_ok=True)
    (root / VERDICTS).parent.mkdir(exist_ok=True)
    names = [path.relative_to(folder).as_posix() for path in (folder / ARTIFACTS).glob("*")]
    names += [VERDICTS] if (folder / VERDICTS).exists() else []
    written = folder / f"{PLACED}.part"
    written.write_text(json.dumps(names), encoding="utf-8")
    written.rename(folder / PLACED)  # whole, before the first name is given
    for name in names:
        _move(folder / name, root / name)
    place_new_file(folder / DATABASE, root / DATABASE)


def _move(source: Path, target: Path) -> None:
    """Give a folder or a file a name; FileExistsError, or another OSError, if others have taken it meanwhile."""
    if os.path.lexists(target):
        raise FileExistsError(f"{target} has appeared meanwhile")
    try:
        source.rename(target)  # a folder that holds anything is not replaced
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(source, target)  # the artifacts are on another file system
