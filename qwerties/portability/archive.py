"""A study as one file, and back: ``qwerties export`` and ``qwerties import``.

The file is a ``.tar.gz`` of the database as of one moment, of the artifacts of the runs that had ended by then, of the
journals beside them, and of the last report's verdicts. What comes in is not trusted: only these names, only plain
files, not more bytes than were announced, a sound database, and no artifact location outside the folder.

Both commands prepare everything in a hidden staging folder and then give finished files their names, which fails where
a name is taken. An import links the database last: until then the study is not there, from then on all of it is. What a
killed command leaves behind is a staging folder; the next one removes it, and with it the names that it had given.
"""

from __future__ import annotations

import contextlib
import fcntl
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

from qwerties.errors import FailedError, UsageError
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
from qwerties.tracking.tags import FAILURE

FORMAT = 1  # of the file; raised when something that must be understood is added
STUDY, VERDICTS = "study.json", "reports/verdicts.json"
MAY_BE_INSIDE = re.compile(rf"{re.escape(DATABASE)}|{re.escape(VERDICTS)}|{ARTIFACTS}/.+")
NO_STUDY = ("README.md", ".gitignore", ".gitkeep")  # in a folder of artifacts that holds no study
UNFINISHED = ("RUNNING", "SCHEDULED")
TRIGGERS = ("prevent_secrets_aad_mutation",)  # of MLflow's own schema

MAX_STUDY = 100_000  # bytes of study.json, and of the tar header of a long name, which tarfile reads at once
MAX_FILES = 1_000_000
CHUNK = 1 << 20
SPARE = 64 << 20  # bytes that an import leaves free

Progress = Callable[[int, int], None]  # called with bytes done, and in all


class ArchiveError(UsageError):
    """A study cannot be exported or imported as requested; the message is one line."""


@dataclass(frozen=True)
class Transferred:
    """What went into a file, or came out of it; ``ended`` counts runs that were being written."""

    runs: int
    files: int
    size: int
    ended: int


@contextlib.contextmanager
def staging(folder: Path, name: str) -> Iterator[Path]:
    """Make a hidden folder for the length of a block, in place of what killed processes have left of theirs.

    Its owner holds a lock on it, so that nobody takes it for a leftover.
    """
    for leftover in folder.glob(f".{name}.*.qwerties"):
        if leftover.is_dir() and not leftover.is_symlink():
            with _locked(leftover):
                _withdraw(leftover, folder)
                shutil.rmtree(leftover)
    path = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".qwerties", dir=folder))
    with _locked(path):
        try:
            yield path
        except BaseException:
            _withdraw(path, folder)
            raise
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError(f"another process exports or imports here, and works in {folder}") from None
        yield
    finally:
        os.close(descriptor)


def _withdraw(staged: Path, root: Path) -> None:
    """Remove the names that were given to staged files, unless the database, which comes last, has its own."""
    if _has_name(staged / DATABASE, root / DATABASE):
        return
    for source in sorted(staged.rglob("*"), reverse=True):  # what is in a folder before the folder
        target = root / source.relative_to(staged)
        if _has_name(source, target):
            target.unlink()
        elif source.is_dir() and source.parent != staged:
            with contextlib.suppress(OSError):  # it is not there, or others have put something into it
                target.rmdir()


def _has_name(source: Path, target: Path) -> bool:
    """Return whether a staged file was given a name: by a link, or by a copy where there are no hard links."""
    try:
        is_linked = not source.is_dir() and os.path.samestat(source.lstat(), target.lstat())
        return is_linked or source.with_name(f"{source.name}.copied").exists()
    except OSError:
        return False


# Out


def export_study(root: Path, target: Path, progress: Progress = lambda done, total: None) -> Transferred:
    """Write the study in a folder into one file, whole or not at all; a sweep may go on meanwhile.

    Parameters
    ----------
    root : Path
        The project, with MLflow's default store in it.
    target : Path
        Ends with ``.tar.gz``; must not exist.
    progress : callable
        Called with bytes done, and in all.

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
        raise ArchiveError(NOTHING)
    try:
        check_place(root / DATABASE, root)
        with staging(target.parent, target.name) as folder:
            part, database = folder / "part", folder / DATABASE
            copy_database(root / DATABASE, database)
            with connected(database) as connection:
                if (location := outside(connection, root)) is not None:
                    raise ArchiveError(f"every artifact must be in {root / ARTIFACTS}, got {location[:200]}")
                members = _members(root, database, connection)
                runs, ended = _counts(connection)
            done = Transferred(runs, len(members), sum(member.size for member in members), ended)
            study = {"format": FORMAT, "folder": str(root), "files": done.files, "bytes": done.size}
            with part.open("wb") as file:
                _write(file, [_Member.of(STUDY, json.dumps(study).encode()), *members], done.size, progress)
                file.flush()
                os.fsync(file.fileno())
            part.chmod(0o644)
            place_new_file(part, target)
    except RelocateError as error:
        raise ArchiveError(error) from None
    except sqlite3.Error as error:
        raise ArchiveError(f"the database cannot be read: {error}") from None
    except OSError as error:
        raise FailedError(f"the study cannot be exported: {error}") from None
    return done


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    time: int
    source: Path | bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> _Member:
        return cls(name, len(content), 0, content)

    @classmethod
    def at(cls, name: str, path: Path, time: int | None = None) -> _Member:
        status = path.stat()
        return cls(name, status.st_size, int(status.st_mtime) if time is None else time, path)


def _members(root: Path, database: Path, connection: sqlite3.Connection) -> list[_Member]:
    """Return what the file is to hold, in its order."""
    ended = f"SELECT run_uuid FROM runs WHERE status NOT IN {UNFINISHED}"
    runs = {row[0] for row in connection.execute(ended)}
    models = {
        row[0]
        for row in connection.execute(
            f"SELECT model_id FROM logged_models WHERE source_run_id IS NULL OR source_run_id IN ({ended})"
        )
    }
    members = [_Member.at(DATABASE, database, time=0)]
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
                members.append(_Member.at(path.relative_to(root).as_posix(), path))
    for path in sorted((root / ARTIFACTS).glob("*.journal")):
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1]  # another process may be in the middle of one
        members.append(_Member.of(path.relative_to(root).as_posix(), lines))
    if (root / VERDICTS).is_file():
        members.append(_Member.of(VERDICTS, (root / VERDICTS).read_bytes()))
    return members


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the number of runs, and of those that have not ended."""
    sums = f"SELECT count(*), coalesce(sum(status IN {UNFINISHED}), 0) FROM runs"
    runs, unfinished = connection.execute(sums).fetchone()
    return runs, unfinished


def _write(file: BinaryIO, members: list[_Member], size: int, progress: Progress) -> None:
    done = 0
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for member in members:
            header = tarfile.TarInfo(member.name)
            header.size, header.mtime, header.mode = member.size, member.time, 0o644
            content = member.source
            with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
                tar.addfile(header, source)
            done += member.size if member.name != STUDY else 0
            progress(done, size)


# In


def import_study(
    root: Path, source: Path, progress: Progress = lambda done, total: None
) -> tuple[Transferred, int]:
    """Bring a study from a file into a folder that has none.

    Parameters
    ----------
    root : Path
        The project.
    source : Path
        From `export_study`.
    progress : callable
        Called with bytes done, and in all.

    Returns
    -------
    Transferred
    int
        Artifacts that the store names and that the file does not hold.

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
            study, files = _unpack(source, folder, root, progress)
            with connected(folder / DATABASE) as connection:
                done, missing = _settle_in(connection, study, root, folder, files)
            _put_in_place(folder, root)
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise _foreign(source, error) from None
        raise FailedError(f"the study cannot be imported: {error}") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _foreign(source, error) from None
    except (RelocateError, sqlite3.Error) as error:
        raise _foreign(source, error) from None
    return done, missing


def _foreign(source: Path, what: object) -> ArchiveError:
    reason = what if isinstance(what, str) else (str(what).strip() or type(what).__name__)
    line = " ".join(reason.split())[:200]
    return ArchiveError(f"FILE must be a whole study from `qwerties export`, got {source}: {line}")


def _check_empty(root: Path) -> None:
    paths = [root / DATABASE, root / f"{DATABASE}-wal", root / VERDICTS]
    if (root / ARTIFACTS).is_dir():
        paths += sorted(path for path in (root / ARTIFACTS).iterdir() if path.name not in NO_STUDY)
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


def _unpack(source: Path, folder: Path, root: Path, progress: Progress) -> tuple[dict[str, Any], int]:
    """Unpack a file into a folder; ArchiveError, or what ``tarfile`` and ``gzip`` raise."""
    with gzip.open(source) as packed, tarfile.open(fileobj=packed, mode="r|", tarinfo=_PlainFile) as tar:
        study = _read_study(tar, source)
        size, free = study["bytes"], shutil.disk_usage(root).free
        if size + SPARE > free:
            raise FailedError(f"{size + SPARE:,} bytes must be free in {root}, got {free:,}")
        done, names = 0, set()
        while (member := tar.next()) is not None:
            if member.name in names or not _may_be_inside(member.name):
                raise _foreign(source, f"{member.name[:100]!r} must not be in it")
            done += member.size
            names.add(member.name)
            if member.size < 0 or done > size or len(names) > study["files"]:
                raise _foreign(source, "it holds more than it says")
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
            raise _foreign(source, "it holds more than it says")
    if (done, len(names)) != (size, study["files"]) or DATABASE not in names:
        raise _foreign(
            source, f"{study['files']} files of {size:,} bytes must be in it, got {len(names)} of {done:,}"
        )
    return study, len(names)


def _may_be_inside(name: str) -> bool:
    parts = name.split("/")
    is_ours = parts[0] == ARTIFACTS and parts[1:] in [[name] for name in NO_STUDY]
    return bool(MAY_BE_INSIDE.fullmatch(name)) and not {"", ".", ".."} & set(parts) and not is_ours


def _read_study(tar: tarfile.TarFile, source: Path) -> dict[str, Any]:
    member = tar.next()
    if member is None or member.name != STUDY or member.size > MAX_STUDY:
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
        raise _foreign(source, f"{STUDY} must name folder, files and bytes")
    if study["files"] > MAX_FILES:
        raise _foreign(source, f"at most {MAX_FILES:,} files must be in it, got {study['files']:,}")
    return study


def _settle_in(
    connection: sqlite3.Connection, study: dict[str, Any], root: Path, folder: Path, files: int
) -> tuple[Transferred, int]:
    """Make the database one of this folder; RelocateError if it is none that may come in."""
    check_sound(connection)
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master"):
        if kind not in ("table", "index") and name not in TRIGGERS:
            raise RelocateError(f"the {kind} {str(name)[:100]!r} must not be in its database")
    runs, ended = _counts(connection)
    with writing(connection):
        if study["folder"] != str(root):
            rewrite(connection, study["folder"], str(root))
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
    _, missing = count_artifacts(connection, root, folder)
    return Transferred(runs, files, study["bytes"], ended), missing


def _put_in_place(folder: Path, root: Path) -> None:
    """Give every staged file its name, the database last; OSError if a name is taken."""
    paths = sorted(path for name in (ARTIFACTS, "reports") for path in (folder / name).rglob("*"))
    for source in [folder / ARTIFACTS, folder / "reports", *paths, folder / DATABASE]:
        target = root / source.relative_to(folder)
        if source.is_dir():
            target.mkdir(exist_ok=True)
        elif source.exists():
            _give_name(source, target)


def _give_name(source: Path, target: Path) -> None:
    """Link a staged file, or a copy of it where there are no hard links, to a name that is not taken."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        copy = source.with_name(f"{source.name}.copy")
        shutil.copyfile(source, copy)
        place_new_file(copy, target)
        source.with_name(f"{source.name}.copied").touch()
