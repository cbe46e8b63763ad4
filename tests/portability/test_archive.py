"""A study as one file and back: the same study elsewhere; nothing foreign, nothing half, nothing overwritten."""

import gzip
import io
import json
import os
import shutil
import sqlite3
import tarfile
from contextlib import chdir, closing

import pytest
from factories import CONFIGS, call, fill, make_folder, plan, record, refusal
from projects import sql

from qwerties.errors import FailedError
from qwerties.portability import archive
from qwerties.portability.archive import ArchiveError, export_study, import_study
from qwerties.portability.relocate import copy_database, moved_from
from qwerties.tracking.store import Store
from qwerties.tracking.tags import FAILURE
from qwerties.tracking.uri import default_uri


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study: two finished runs, one that is being written, one that failed, a journal and verdicts."""
    folder = make_folder(tmp_path_factory.mktemp("there") / "study")
    store = fill(folder)
    with chdir(folder):
        pair = store.experiments()["pair"][0]
        store.experiment("pair", {"qwerties.plan": plan(*CONFIGS)})
        for _ in range(2):
            store.write(pair, record(CONFIGS[0], files={"seeds.csv": b"half"}))
        open_, failed = store.runs(pair)[-2:]
    sql(folder, "UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?", open_.run_id)
    sql(folder, "UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", failed.run_id)
    (folder / "mlruns" / "optuna.journal").write_bytes(b'{"op": 1}\n{"op": 2}\n{"op": ')
    (folder / "mlruns" / "optuna.journal.flock").write_bytes(b"")
    (folder / "mlruns" / "README.md").write_text("what is here\n")
    (folder / "mlruns" / pair / ("0" * 32)).mkdir()
    (folder / "mlruns" / pair / ("0" * 32) / "orphan").write_bytes(b"of a run that came later")
    (folder / "reports" / "verdicts.json").write_text('{"format": 1}')
    (folder / "reports" / "summary.html").write_text("<!doctype html>")
    return folder


@pytest.fixture(scope="module")
def file(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "study.tar.gz"
    out, _ = call(study, "export", str(path))
    assert out.splitlines()[0].startswith("4 runs, ")
    assert out.splitlines()[1] == "1 runs were being written and are left out"
    return path


@pytest.fixture
def home(tmp_path):
    folder = make_folder(tmp_path / "a new home")
    (folder / "mlruns").mkdir()
    (folder / "mlruns" / "README.md").write_text("ours\n")
    return folder


def names(path):
    with tarfile.open(path) as tar:
        return tar.getnames()


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_the_file(file, study):
    found = names(file)
    assert found[:2] == ["study.json", "mlflow.db"]
    assert found[-2:] == ["mlruns/optuna.journal", "reports/verdicts.json"]
    assert len(found) == len(set(found)) == 2 + 5 + 2
    [running] = [run for run in Store(default_uri(study)).runs("1") if run.status == "RUNNING"]
    assert not any(running.run_id in name or "0" * 32 in name for name in found)
    assert "mlruns/README.md" not in found
    assert [path for path in file.parent.iterdir() if path != file] == []


def test_the_same_study_gives_the_same_file(file, study, tmp_path):
    export_study(study, tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == file.read_bytes()


def test_a_study_comes_home(file, study, home):
    out, _ = call(home, "import", str(file))
    assert out.splitlines()[0].endswith(" are here now: qwerties status")
    assert out.splitlines()[1] == "1 runs were being written when the study was exported: marked as killed"
    assert moved_from(home / "mlflow.db", home) == ()
    store, before = Store(default_uri(home)), Store(default_uri(study))
    runs, old = store.runs("1"), before.runs("1")
    assert [run.run_id for run in runs] == [run.run_id for run in old]
    assert [run.status for run in runs] == ["FINISHED", "FINISHED", "KILLED", "FAILED"]
    assert runs[2].tags[FAILURE] == "it was being written when the study was exported"
    assert FAILURE not in runs[3].tags
    for here, there in zip(runs, old, strict=True):
        assert here.artifact_uri == there.artifact_uri.replace(str(study), str(home))
        assert (here.params, here.metrics) == (there.params, there.metrics)
    for here, there in zip(runs[:2], old[:2], strict=True):
        assert store.read(here, "seeds.csv") == before.read(there, "seeds.csv")
    assert (home / "mlruns" / "README.md").read_text() == "ours\n"
    assert (home / "mlruns" / "optuna.journal").read_bytes() == b'{"op": 1}\n{"op": 2}\n'
    assert (home / "reports" / "verdicts.json").read_text() == '{"format": 1}'
    assert not list(home.glob(".import*"))
    assert call(home, "status")[0].splitlines()[1].split() == ["pair", "2", "2", "0"]


def test_export_while_the_database_is_written_to(study, tmp_path, monkeypatch):
    """What is written after the copy of the database is not in it, nor are its artifacts."""
    folder = tmp_path / "study"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("mlflow.db*"))
    copy_database(study / "mlflow.db", folder / "mlflow.db")
    call(folder, "relocate")
    store = Store(default_uri(folder))
    copy = archive.copy_database

    def copy_then_write(*paths):
        copy(*paths)
        with chdir(folder):
            store.write("1", record(CONFIGS[1]))

    monkeypatch.setattr(archive, "copy_database", copy_then_write)
    done = export_study(folder, tmp_path / "x.tar.gz")
    assert len(store.runs("1")) == 5
    assert done.runs == 4
    late = store.runs("1")[-1].run_id
    assert not any(late in name for name in names(tmp_path / "x.tar.gz"))


@pytest.mark.parametrize(
    "there", ["mlflow.db", "mlflow.db-wal", "mlruns/1/x", "mlruns/a.journal", "reports/verdicts.json"]
)
def test_import_overwrites_nothing(file, home, there):
    (home / there).parent.mkdir(exist_ok=True)
    (home / there).write_bytes(b"mine")
    told = home / "mlruns" / "1" if there.endswith("x") else home / there
    assert (
        refusal(home, "import", str(file))
        == f"import overwrites nothing: the folder must hold no study, got {told}"
    )


# Files that are none


def repacked(file, target, changes=None, more=()):
    """The file with contents changed (by name to a function, whose None leaves it out), or with members added."""
    with tarfile.open(file) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}
    size = len(contents["mlflow.db"])
    for name, change in (changes or {}).items():
        contents[name] = change(contents[name])
    if contents["mlflow.db"] and contents["study.json"] and len(contents["mlflow.db"]) != size:
        study = json.loads(contents["study.json"])  # the file is as long as it says
        study["bytes"] += len(contents["mlflow.db"]) - size
        contents["study.json"] = json.dumps(study).encode()
    members = [(tarfile.TarInfo(name), content) for name, content in contents.items() if content is not None]
    with gzip.open(target, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as new:
        for member, content in [*members, *more]:
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return target


def member(name, kind=tarfile.REGTYPE, link=""):
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, link
    return about


EVIL = {
    "above": member("../evil"),
    "above inside": member("mlruns/../../evil"),
    "here and there": member("mlruns/1/../../experiments/evil.py"),
    "absolute": member("/tmp/evil"),
    "code": member("experiments/evil.py"),
    "readme": member("mlruns/README.md"),
    "link": member("mlruns/link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": member("mlruns/link", tarfile.LNKTYPE, "mlflow.db"),
    "folder": member("mlruns/empty", tarfile.DIRTYPE),
    "device": member("mlruns/device", tarfile.CHRTYPE),
    "pipe": member("mlruns/pipe", tarfile.FIFOTYPE),
    "twice": member("mlflow.db"),
    "empty name": member("mlruns//x"),
    "too much": member("mlruns/more"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_what_must_not_be_inside(file, home, tmp_path, kind):
    evil = EVIL[kind]
    path = repacked(file, tmp_path / "evil.tar.gz", more=[(evil, b"evil" if evil.isreg() else b"")])
    told = refusal(home, "import", str(path))
    reason = "it holds more than it says" if kind == "too much" else f"{evil.name!r} must not be in it"
    assert told == f"FILE must be a whole study from `qwerties export`, got {path}: {reason}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a new home", "evil.tar.gz"]


def changed(**values):
    def change(content):
        return json.dumps({**json.loads(content), **values}).encode()

    return {"study.json": change}


def altered(*statements):
    def change(content):
        with closing(sqlite3.connect(":memory:")) as database, database:
            database.deserialize(content)
            for statement in statements:
                database.execute(statement)
            database.commit()
            return database.serialize()

    return {"mlflow.db": change}


FOREIGN = {
    "another format": (changed(format=2), "its format must be 1, got 2; another version wrote it"),
    "no counts": (changed(bytes="many"), "study.json must name folder, "),
    "negative": (changed(bytes=-1), "study.json must name folder, "),
    "too many": (changed(files=10**7), "files (at most 1,000,000) and bytes"),
    "no folder": (changed(folder=None), "study.json must name folder, "),
    "not JSON": ({"study.json": lambda _: b"{"}, "Expecting property name"),
    "a list": ({"study.json": lambda _: b"[]"}, "list indices must be integers"),
    "no study": ({"study.json": lambda _: None}, "it must begin with study.json"),
    "no verdicts": ({"reports/verdicts.json": lambda _: None}, "files of"),
    "no database": ({"mlflow.db": lambda _: None}, "files of"),
    "not a database": ({"mlflow.db": lambda content: b"x" * len(content)}, "file is not a database"),
    "a view": (altered("CREATE VIEW v AS SELECT 1"), "the view 'v' must not be in its database"),
    "a trigger": (
        altered("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END"),
        "the trigger 't' must not be in its database",
    ),
    "no runs": (altered("DROP TABLE runs"), "no such table: runs"),
    "artifacts of the system": (
        altered("UPDATE experiments SET artifact_location = '/etc'"),
        "its artifacts must be its own, got one at /etc",
    ),
    "artifacts above": (
        altered("UPDATE runs SET artifact_uri = replace(artifact_uri, '/mlruns/', '/mlruns/../../x/')"),
        "its artifacts must be its own, got one at ",
    ),
    "artifacts nowhere": (
        altered("UPDATE runs SET artifact_uri = NULL"),
        "its artifacts must be its own, got one at None",
    ),
    "artifacts elsewhere": (
        altered("UPDATE runs SET artifact_uri = 'http://example.org/x'"),
        "its artifacts must be its own, got one at http://example.org/x",
    ),
    "another folder's artifacts": (
        changed(folder="/somewhere"),
        "its artifacts must be its own, got one at ",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file(file, home, tmp_path, kind):
    changes, reason = FOREIGN[kind]
    path = repacked(file, tmp_path / "foreign.tar.gz", changes)
    told = refusal(home, "import", str(path))
    assert told.startswith(f"FILE must be a whole study from `qwerties export`, got {path}: ")
    assert reason in told


def flipped(content):
    """Alter some bytes."""
    places = set(range(len(content) // 10, len(content), len(content) // 5))
    return bytes(byte ^ 0xFF if i in places else byte for i, byte in enumerate(content))


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.9999, None])
def test_a_file_that_was_cut_short_or_altered(file, home, tmp_path, share):
    content, path = file.read_bytes(), tmp_path / "bad.tar.gz"
    path.write_bytes(flipped(content) if share is None else content[: int(share * len(content))])
    told = refusal(home, "import", str(path))
    assert told.startswith(f"FILE must be a whole study from `qwerties export`, got {path}: ")


@pytest.mark.parametrize("command", ["export", "import"])
def test_a_full_disk_is_told_before_anything_is_written(file, study, home, tmp_path, monkeypatch, command):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    folder, argument = (study, tmp_path / "x.tar.gz") if command == "export" else (home, file)
    told = refusal(folder, command, str(argument), status=1)
    assert "bytes must be free in " in told
    assert told.endswith(", got 1,000")
    assert not (tmp_path / "x.tar.gz").exists()


# Stopped


@pytest.mark.parametrize(
    ("owner", "name"), [(archive, "copy_database"), (os, "fsync"), (archive, "place_new_file")]
)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_stopped_export_leaves_nothing(study, tmp_path, monkeypatch, owner, name, error):
    def stop(*_):
        raise error

    monkeypatch.setattr(owner, name, stop)
    with pytest.raises((KeyboardInterrupt, FailedError)):
        export_study(study, tmp_path / "x.tar.gz")
    assert list(tmp_path.iterdir()) == []


MOVES = ("mlruns/1", "mlruns/optuna.journal", "reports/verdicts.json", "mlflow.db")


def stop_before(patch, name, error):
    """Have an import stop when it is about to give this name."""

    def stopping(place):
        def call(source, target):
            if target.as_posix().endswith(name):
                raise error
            place(source, target)

        return call

    patch.setattr(archive, "_move", stopping(archive._move))
    patch.setattr(archive, "place_new_file", stopping(archive.place_new_file))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("name", MOVES)
def test_an_import_that_is_stopped_while_put_in_place_leaves_nothing(file, home, monkeypatch, name, error):
    before = tree(home)
    stop_before(monkeypatch, name, error)
    with pytest.raises((KeyboardInterrupt, FailedError)):
        import_study(home, file)
    assert tree(home) == before
    assert sorted(path.name for path in (home / "mlruns").iterdir()) == ["README.md"]


def kill(home, file, name):
    """Import until a name is to be given; what SIGKILL leaves is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "_remove", lambda staged, root: None)
        stop_before(patch, name, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            import_study(home, file)
    assert len(list(home.glob(".import.*.qwerties"))) == 1


@pytest.mark.parametrize("name", MOVES)
def test_an_import_that_was_killed_is_done_by_the_next(file, home, name):
    kill(home, file, name)
    import_study(home, file)
    assert moved_from(home / "mlflow.db", home) == ()
    assert set(names(file)) - {"study.json"} <= set(tree(home))
    assert not list(home.glob(".import*"))


def test_what_a_sweep_has_made_since_an_import_was_killed_is_kept(file, home):
    kill(home, file, "mlflow.db")
    (home / "mlflow.db").write_bytes(b"theirs")
    (home / "mlruns" / "1" / "theirs.csv").write_bytes(b"theirs, too")
    with pytest.raises(ArchiveError, match="must hold no study"):
        import_study(home, file)
    assert {"mlflow.db", "mlruns/1/theirs.csv", "mlruns/README.md"} <= set(tree(home))
    assert not list(home.glob(".import*"))


def test_two_imports_at_once(file, home):
    with archive.staging(home, "import") as folder:
        told = refusal(home, "import", str(file))
        assert told == f"another process exports or imports here, and works in {folder}"
    import_study(home, file)


def test_a_folder_of_the_users_that_looks_like_ours_is_left_alone(file, home, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "note").write_text("mine")
    (home / ".import-notes").mkdir()
    (home / ".import.x.qwerties").symlink_to(tmp_path / "elsewhere")
    import_study(home, file)
    assert (home / ".import-notes").is_dir()
    assert (tmp_path / "elsewhere" / "note").read_text() == "mine"


def test_a_link_in_the_artifacts_is_not_followed_out_of_the_study(study, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("hush")
    links = [study / "mlruns" / "1" / name for name in ("link", "folder")]
    links[0].symlink_to(secret / "key")
    links[1].symlink_to(secret)
    try:
        export_study(study, tmp_path / "x.tar.gz")
    finally:
        for link in links:
            link.unlink()
    assert not any("link" in name or "folder" in name for name in names(tmp_path / "x.tar.gz"))


def test_an_export_replaces_no_file_that_appears_meanwhile(study, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (tmp_path / "x.tar.gz").write_text("mine"))
    with pytest.raises(FailedError, match="cannot be exported"):
        export_study(study, tmp_path / "x.tar.gz")
    assert (tmp_path / "x.tar.gz").read_text() == "mine"


def test_a_header_that_would_fill_the_memory_is_refused_before_it_is_read(file, home, tmp_path):
    """tarfile reads the header of a long name at once, whatever its size."""
    long = member("x", tarfile.XHDTYPE)
    path = repacked(file, tmp_path / "bomb.tar.gz", more=[(long, b"0" * 1_000_000)])
    assert refusal(home, "import", str(path)).endswith("'x' must not be in it")


def test_neither_hard_links_nor_filters_of_tarfile_are_needed(file, home, monkeypatch):
    """Python 3.11.0 to 3.11.3 have no filters."""

    def refuse(source, target):
        raise OSError(1, "Operation not permitted")

    for name in ("data_filter", "tar_filter", "fully_trusted_filter"):
        monkeypatch.delattr(tarfile, name, raising=False)
    monkeypatch.setattr(os, "link", refuse)
    import_study(home, file)
    assert (home / "mlflow.db").exists()


def test_an_import_touches_nothing_that_a_sweep_has_made_meanwhile(file, home, monkeypatch):
    """Between the check that a folder is empty and the moving."""

    def sweep(_):
        (home / "mlruns" / "1").mkdir()
        (home / "mlruns" / "1" / "seeds.csv").write_text("theirs")
        (home / "mlflow.db").write_text("theirs, too")

    monkeypatch.setattr(archive, "check_sound", sweep)
    with pytest.raises(FailedError, match="cannot be imported"):
        import_study(home, file)
    assert (home / "mlflow.db").read_text() == "theirs, too"
    assert [path.read_text() for path in (home / "mlruns").rglob("seeds.csv")] == ["theirs"]


def test_a_folder_that_appears_while_others_are_moved_is_kept(file, home, monkeypatch):
    move = archive._move

    def sweep(source, target):
        (home / "mlruns" / "1").mkdir(exist_ok=True)
        (home / "mlruns" / "1" / "seeds.csv").write_text("theirs")
        move(source, target)

    monkeypatch.setattr(archive, "_move", sweep)
    with pytest.raises(FailedError, match="appeared meanwhile"):
        import_study(home, file)
    assert [path.read_text() for path in (home / "mlruns").rglob("seeds.csv")] == ["theirs"]
    assert not (home / "mlflow.db").exists()


def test_an_import_that_is_stopped_while_unpacked_leaves_nothing(file, home):
    before = tree(home)

    def stop(done, of):
        if done > of // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_study(home, file, stop)
    assert tree(home) == before


def test_progress_goes_to_the_end(study, file, home, tmp_path):
    told = []
    export_study(study, tmp_path / "x.tar.gz", lambda *pair: told.append(pair))
    import_study(home, file, lambda *pair: told.append(pair))
    sizes = {of for _, of in told}
    assert len(sizes) == 1
    assert sum(pair == (of, of) for pair in told for of in sizes) >= 2
    assert all(0 <= done <= of for done, of in told)
