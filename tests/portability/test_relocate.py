"""A folder that was moved or copied: told by every command, nothing written; mended whole or not at all."""

import os
import shutil
import sqlite3
from contextlib import chdir, closing, contextmanager

import mlflow
import numpy as np
import pytest
from factories import call, fill, make_folder, refusal
from mlflow import MlflowClient
from projects import TINY, sql

from qwerties.portability import relocate as module
from qwerties.portability.relocate import (
    RelocateError,
    check_sound,
    copy_database,
    moved_from,
    relocate,
    rewrite,
)
from qwerties.tracking.store import Store
from qwerties.tracking.uri import default_uri


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A study that nothing writes to."""
    folder = make_folder(tmp_path_factory.mktemp("there") / "a study", tiny=TINY)
    fill(folder)
    return folder


@pytest.fixture
def copied(original, tmp_path):
    """A copy of it, as `cp -r` makes it, while the original still stands."""
    folder = tmp_path / "copied"
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("mlflow.db*"))
    copy_database(original / "mlflow.db", folder / "mlflow.db")
    return folder


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


COMMANDS = ("sweep --no-report", "train --epochs 1", "report", "status", "status --json", "verify", "ui")


@pytest.mark.parametrize("command", [*COMMANDS, "export study.tar.gz"])
def test_every_command_tells_a_copied_folder_and_touches_neither(copied, original, command):
    before = files(original)
    told = refusal(copied, *command.split())
    assert told == f"this folder was moved or copied from {original}: `qwerties relocate` mends its store"
    assert files(original) == before


def test_a_moved_folder_is_mended(copied, original, tmp_path):
    moved = copied.rename(tmp_path / "möved 'away'")
    assert moved_from(moved / "mlflow.db", moved) == (str(original),)
    before = files(moved)
    out, _ = call(moved, "relocate")
    backup = moved / "mlflow.db.before-relocate-1"
    assert out.splitlines() == [
        f"the store was in {original}: 4 values rewritten",
        "4 artifacts are in their place, 0 are missing",
        f"the database as it was: {backup}",
    ]
    assert set(files(moved)) == {*before, backup.relative_to(moved)}
    assert sql(moved, "SELECT count(*) FROM experiments WHERE artifact_location LIKE '%a study%'") == [(0,)]
    with closing(sqlite3.connect(backup)) as database:
        places = [row[0] for row in database.execute("SELECT artifact_location FROM experiments")]
    assert all(place.startswith(str(original)) for place in places)
    store = Store(default_uri(moved))
    for run in store.runs(store.experiments()["pair"][0]):
        assert run.artifact_uri.startswith(f"{moved}/mlruns/")
        assert store.read(run, "seeds.csv").startswith(b"seed,state")
    assert call(moved, "relocate")[0] == "nothing to do: the store is where it says\n"
    assert not (moved / "mlflow.db.before-relocate-2").exists()
    assert "done" in call(moved, "status")[0]


def test_mlflow_finds_the_artifacts_in_a_folder_whose_name_it_would_decode(copied, tmp_path):
    moved = copied.rename(tmp_path / "100%25 mine")
    relocate(moved / "mlflow.db", moved)
    store = Store(default_uri(moved))
    run = store.runs(store.experiments()["pair"][0])[0]
    assert store.read(run, "seeds.csv").startswith(b"seed,state")
    listed = MlflowClient(store.uri).list_artifacts(run.run_id)
    assert "seeds.csv" in [file.path for file in listed]
    moved.rename(tmp_path / "mine")
    assert relocate(tmp_path / "mine" / "mlflow.db", tmp_path / "mine").missing == 0


def test_what_is_written_after_it_lies_in_the_new_folder(copied, original):
    relocate(copied / "mlflow.db", copied)
    before = files(original)
    call(copied, "sweep", "--seeds", "2", "--jobs", "1", "--no-report")
    assert files(original) == before
    store = Store(default_uri(copied))
    runs = store.runs(store.experiments()["tiny"][0])
    assert len(runs) >= 2
    assert all((copied / "mlruns") in path.parents for run in runs for path in [copied / run.artifact_uri])


def test_backups_do_not_overwrite_one_another(copied):
    (copied / "mlflow.db.before-relocate-1").write_bytes(b"older")
    assert relocate(copied / "mlflow.db", copied).backup.name == "mlflow.db.before-relocate-2"
    assert (copied / "mlflow.db.before-relocate-1").read_bytes() == b"older"


def test_a_study_where_it_was_made_is_left_alone(original):
    assert moved_from(original / "mlflow.db", original) == ()
    assert call(original, "relocate")[0] == "nothing to do: the store is where it says\n"


def test_another_path_to_the_same_folder_is_no_move(original, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(original)
    assert moved_from(link / "mlflow.db", link) == ()


def test_a_database_elsewhere_keeps_its_artifacts_here(original, tmp_path):
    """MLflow puts artifacts into the folder that commands run in, wherever the database is."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy_database(original / "mlflow.db", elsewhere / "mlflow.db")
    assert moved_from(elsewhere / "mlflow.db", original) == ()
    shutil.copytree(original / "mlruns", elsewhere / "mlruns")
    assert moved_from(elsewhere / "mlflow.db", tmp_path) == ()  # the artifacts are where they are said to be
    sql(elsewhere, "UPDATE experiments SET artifact_location = '/gone/mlruns/' || experiment_id")
    sql(elsewhere, "UPDATE runs SET artifact_uri = '/gone/mlruns/1/' || run_uuid || '/artifacts'")
    assert moved_from(elsewhere / "mlflow.db", tmp_path) == ("/gone",)
    done = relocate(elsewhere / "mlflow.db", tmp_path)
    assert (done.found, done.missing) == (4, 0)


def test_artifacts_chosen_to_be_elsewhere_stay_there(copied):
    sql(
        copied,
        "UPDATE experiments SET artifact_location = 's3://bucket/mlruns/1' WHERE name LIKE 'qwerties/%'",
    )
    sql(copied, "UPDATE runs SET artifact_uri = 's3://bucket/mlruns/1/' || run_uuid || '/artifacts'")
    assert moved_from(copied / "mlflow.db", copied) == ()


def test_runs_alone_that_are_elsewhere_are_found(copied, original):
    relocate(copied / "mlflow.db", copied)
    sql(copied, f"UPDATE runs SET artifact_uri = replace(artifact_uri, '{copied}', '{original}')")
    assert moved_from(copied / "mlflow.db", copied) == (str(original),)


def test_missing_artifacts_are_counted(copied):
    next(copied.rglob("loss_curve.png")).unlink()
    out, _ = call(copied, "relocate", status=1)
    assert "3 artifacts are in their place, 1 are missing" in out


def test_a_database_that_came_alone_is_not_rewritten(copied, original):
    shutil.rmtree(copied / "mlruns")
    told = refusal(copied, "relocate", status=1)
    assert told == f"{copied}/mlruns must hold the artifacts: bring {original}/mlruns here, too"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, RelocateError("damaged"), sqlite3.OperationalError("full")]
)
def test_a_stopped_relocation_changes_nothing(copied, monkeypatch, error):
    def stop(connection):
        assert connection.execute(
            "SELECT count(*) FROM runs WHERE artifact_uri LIKE '%copied%'"
        ).fetchone() == (2,)
        raise error

    before = files(copied)
    monkeypatch.setattr(module, "check_sound", stop)
    with pytest.raises((KeyboardInterrupt, RelocateError)):
        relocate(copied / "mlflow.db", copied)
    assert files(copied) == before
    assert sql(copied, "SELECT count(*) FROM runs WHERE artifact_uri LIKE '%a study%'") == [(2,)]


def test_a_copy_that_is_stopped_leaves_no_piece_of_it(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(module.Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        copy_database(copied / "mlflow.db", tmp_path / "new.db")
    assert not list(tmp_path.glob("new.db*"))


def test_a_store_that_is_written_to_is_waited_for_and_told(copied, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_TO_WAIT", 0.1)
    with closing(sqlite3.connect(copied / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RelocateError, match="cannot be changed, it is as it was: database is locked"):
            relocate(copied / "mlflow.db", copied)
        other.execute("ROLLBACK")
    assert not list(copied.glob("*before-relocate*"))


def test_locations_are_rewritten_however_they_are_written_and_nothing_else_is():
    old, new = "/old pläce", "/new/o'place"
    texts = {
        f"{old}/mlruns/1": f"{new}/mlruns/1",
        f"{old}/mlruns": f"{new}/mlruns",
        f"file://{old}/mlruns/1": "file:///new/o%27place/mlruns/1",
        "file:///old%20pl%C3%A4ce/mlruns/1": "file:///new/o%27place/mlruns/1",
        f"{old}/mlruns-2/1": f"{old}/mlruns-2/1",
        f"x{old}/mlruns/1": f"x{old}/mlruns/1",
        f"{old}/.venv/bin/qwerties": f"{old}/.venv/bin/qwerties",
        "s3://mlruns/1": "s3://mlruns/1",
    }
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for table, column in module.LOCATIONS:
            database.execute(f"CREATE TABLE {table} ({column} TEXT, name TEXT)")
        database.executemany("INSERT INTO runs VALUES (?, ?)", [(text, text) for text in texts])
        assert rewrite(database, old, new) == sum(a != b for a, b in texts.items())
        rows = database.execute("SELECT artifact_uri, name FROM runs ORDER BY rowid").fetchall()
    assert [row[0] for row in rows] == list(texts.values())
    assert [row[1] for row in rows] == list(texts)  # a user's own text stays


def test_every_location_of_mlflows_schema_is_known(empty_database):
    """A newer MLflow that stores a location in another column turns this red."""
    names = ("%location%", "%_uri%", "%\\_path%")
    with closing(sqlite3.connect(empty_database)) as database:
        columns = database.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' "
            f"AND ({' OR '.join('c.name LIKE ? ESCAPE char(92)' for _ in names)})",
            names,
        ).fetchall()
    not_ours = {("workspaces", "trace_archival_location")}
    assert set(columns) - not_ours == set(module.LOCATIONS)


def test_a_damaged_database_is_told(tmp_path):
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE t (a TEXT UNIQUE)")
        database.executemany("INSERT INTO t VALUES (?)", [(f"{i:0300}",) for i in range(200)])
    content = bytearray(path.read_bytes())
    content[5 * 4096 + 8 : 6 * 4096] = b"\xaa" * (4096 - 8)
    path.write_bytes(content)
    with closing(sqlite3.connect(path)) as database, pytest.raises((RelocateError, sqlite3.DatabaseError)):
        check_sound(database)


@contextmanager
def working_in(folder):
    """As a person works in a notebook there."""
    with chdir(folder):
        mlflow.set_tracking_uri(default_uri(folder))
        mlflow.set_registry_uri(default_uri(folder))
        try:
            yield MlflowClient()
        finally:
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
            for name in (
                "MLFLOW_TRACKING_URI",
                "MLFLOW_REGISTRY_URI",
            ):  # which MLflow has set for child processes
                os.environ.pop(name, None)


@pytest.mark.slow
def test_a_model_and_its_registered_version_are_loaded_from_the_new_folder(tmp_path):
    folder = make_folder(tmp_path / "before")
    call(folder, "train", "--epochs", "3")
    with working_in(folder) as client:
        [run] = client.search_runs([client.get_experiment_by_name("qwerties/train").experiment_id])
        [model] = run.outputs.model_outputs
        client.create_registered_model("best")
        client.create_model_version("best", f"models:/{model.model_id}", run.info.run_id)
    moved = folder.rename(tmp_path / "after")
    call(moved, "relocate")
    points = np.array([[1, 1], [5, 1]], dtype="float32")
    with working_in(moved):
        found = [
            mlflow.pyfunc.load_model(address).predict(points)
            for address in (f"runs:/{run.info.run_id}/model", f"models:/{model.model_id}", "models:/best/1")
        ]
    assert found[0].shape == (2, 1)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    assert sql(moved, "SELECT count(*) FROM model_versions WHERE storage_location LIKE '%/after/%'") == [(1,)]
