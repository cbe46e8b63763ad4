"""The fast writer against MLflow's own ``log_batch``: the same rows, the same answers, or no fast writing at all."""

import itertools
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from factories import new_store
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from qwerties.tracking import fast_sqlite
from qwerties.tracking import store as tracking
from qwerties.tracking.records import Record, Series
from qwerties.tracking.store import Store
from qwerties.tracking.uri import sqlite_path

NAN, INF = float("nan"), float("inf")
TIMESTAMP = 1_700_000_000_123
RNG = np.random.default_rng(0)


def points(values, steps=None):
    values = np.asarray(values)
    return Series(np.arange(1, len(values) + 1) if steps is None else np.asarray(steps), values)


SERIES = {
    "nothing": {},
    "a curve": {"train_loss": points(RNG.random(2000))},
    "one point": {"phi": points([0.25], [2000])},
    "not a number": {"train_loss": points([0.5, NAN, 0.25])},
    "not a number at the end": {"train_loss": points([0.5, 0.25, NAN])},
    "infinities": {"up": points([1.0, INF]), "down": points([-INF, 1.0]), "both": points([INF, -INF])},
    "extremes": {"e": points([1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0, 0.1 + 0.2])},
    "log-spaced and unordered steps": {"m": points([3.0, 1.0, 2.0], [100, 1, 10])},
    "step zero": {"m": points([3.0], [0])},
    "single precision": {"m": points(np.array([0.1, NAN, 0.3], np.float32))},
    "whole numbers": {"m": points(np.array([3, 4]))},
    "many metrics": {f"metric {i}/with.marks-{i}": points(RNG.random(7)) for i in range(30)},
}
PARAMS = {"hidden": "8x8", "distance": "4.0", "seeds": "0-29 x 0-29", "note": "1·2 'quoted'"}


def query(uri, sql, *values):
    with closing(sqlite3.connect(sqlite_path(uri))) as database, database:
        return database.execute(sql, values).fetchall()


def rows_of(uri, table, run_id):
    """Every row of a run with the types that SQLite stores, but for the run's id."""
    return query(
        uri,
        "SELECT key, step, value, typeof(value), timestamp, typeof(timestamp), typeof(step), is_nan, typeof(is_nan) "
        f"FROM {table} WHERE run_uuid = ? ORDER BY key, timestamp, step, value",
        run_id,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """URI, client and experiment of an empty MLflow store."""
    folder = tmp_path_factory.mktemp("fast")
    uri = new_store(folder).uri
    client = MlflowClient(uri)
    return uri, client, client.create_experiment("fast", artifact_location=str(folder / "artifacts"))


@pytest.fixture
def connection(store):
    with closing(fast_sqlite.open_store(store[0])) as opened:
        yield opened


@pytest.fixture
def run_id(store):
    _, client, experiment_id = store
    return client.create_run(experiment_id).info.run_id


@pytest.fixture
def other(empty_database, tmp_path):
    """URI of another empty store, as MLflow makes it: without the write-ahead log."""
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    query(uri, "PRAGMA journal_mode=DELETE")
    return uri


# The contract


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_both_ways_leave_the_same_rows_and_answers(store, connection, run_id, series):
    uri, client, experiment_id = store
    theirs = client.create_run(experiment_id).info.run_id
    fast_sqlite.write_metrics(connection, run_id, series, TIMESTAMP, PARAMS)
    client.log_batch(theirs, params=[Param(key, value) for key, value in PARAMS.items()])
    metrics = [
        Metric(key, float(value), TIMESTAMP, int(step))
        for key, curve in series.items()
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    for first in range(0, len(metrics), 1000):
        client.log_batch(theirs, metrics=metrics[first : first + 1000])

    assert len(rows_of(uri, "metrics", run_id)) == len(metrics)
    assert [row[0] for row in rows_of(uri, "latest_metrics", run_id)] == sorted(series)
    for table in ("metrics", "latest_metrics"):
        assert rows_of(uri, table, run_id) == rows_of(uri, table, theirs)
    params = "SELECT key, value, typeof(value) FROM params WHERE run_uuid = ? ORDER BY key"
    assert query(uri, params, run_id) == query(uri, params, theirs)
    assert client.get_run(run_id).data.params == PARAMS
    for key in series:
        ours, others = (
            [(m.key, repr(m.value), m.timestamp, m.step) for m in client.get_metric_history(of, key)]
            for of in (run_id, theirs)
        )
        assert ours == others
        assert len(ours) == len(series[key].steps)
    found = {run.info.run_id: repr(run.data.metrics) for run in client.search_runs([experiment_id])}
    assert found[run_id] == found[theirs]


def test_runs_are_listed_as_mlflow_lists_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = itertools.count(TIMESTAMP // 1000)
    monkeypatch.setattr(tracking.time, "time", lambda: next(clock))  # no two runs begin at once
    store = new_store(tmp_path)
    one, elsewhere = store.experiment("one", {}), store.experiment("elsewhere", {})
    values = {"a": 0.1, "nan": np.nan, "above": np.inf, "below": -np.inf, "none": None}
    series = {"loss": Series(np.array([1, 2]), np.array([0.5, np.nan]))}
    children = [Record("child", {"p": "1"}, {})]
    for i in range(3):
        params = {"x": "", "y": "é" * 500}
        store.write(one, Record(f"run {i}", params, values, series=series, tags={"t": ""}, children=children))
    store.write(elsewhere, Record("elsewhere", {}, {"a": 3.0}))
    store.begin(one, Record("begun", {"p": "2"}, {}))
    store.delete_run(store.runs(one)[0].run_id)
    found = store.runs(one)
    assert store._connection is not None
    monkeypatch.setattr(store, "_connection", None)
    assert len(found) == 6
    assert repr(found) == repr(store.runs(one)), "NaN is not equal to itself"


def test_runs_of_one_moment_are_listed_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking.time, "time", lambda: TIMESTAMP / 1000)
    store = new_store(tmp_path)
    one = store.experiment("one", {})
    written = [store.write(one, Record("r", {}, {})) for _ in range(6)]
    assert [run.run_id for run in store.runs(one)] == written


def test_the_store_falls_back_to_log_batch_with_the_same_content(store, monkeypatch, tmp_path):
    uri, client, _ = store
    monkeypatch.chdir(tmp_path)
    record = Record(
        "r",
        {"loss": "bce"},
        {"phi": 0.5, "undefined": None, "largest": INF},
        series={**SERIES["a curve"], **SERIES["infinities"], "holes": points([1.0, NAN, 2.0])},
    )
    monkeypatch.setattr(tracking.time, "time", lambda: TIMESTAMP / 1000)
    fast = Store(uri)
    monkeypatch.setattr(fast_sqlite, "KNOWN_REVISIONS", frozenset())
    slow = Store(uri)
    assert [each._connection is None for each in (fast, slow)] == [False, True]
    ours, theirs = (each.write(each.experiment("fallback", {}), record) for each in (fast, slow))
    columns = [row[1] for row in query(uri, "PRAGMA table_info(runs)")]
    selected = ", ".join(f"replace({name}, run_uuid, 'ID'), typeof({name})" for name in columns)
    tags = "SELECT key, value, typeof(value) FROM tags WHERE run_uuid = ? AND key <> 'qwerties.process' ORDER BY key"
    for rows in (f"SELECT {selected} FROM runs WHERE run_uuid = ?", tags):
        assert query(uri, rows, ours) == query(uri, rows, theirs) != []
    for table, count in (("metrics", 2000 + 6 + 3 + 2), ("latest_metrics", 7)):
        assert len(rows_of(uri, table, ours)) == count
        assert rows_of(uri, table, ours) == rows_of(uri, table, theirs)
    assert client.get_run(ours).data.metrics == client.get_run(theirs).data.metrics


@pytest.mark.parametrize("location", ["s3://bucket/a?region=x", "file:///a%20b/c", "/plain/folder"])
def test_artifacts_are_where_mlflow_puts_them(other, location):
    client = MlflowClient(other)
    experiment_id = client.create_experiment("elsewhere", artifact_location=location)
    theirs = client.create_run(experiment_id).info
    with closing(fast_sqlite.open_store(other)) as connection:
        run_id, uri = fast_sqlite.create_run(connection, experiment_id, "ours", {}, TIMESTAMP)
    assert (
        uri == client.get_run(run_id).info.artifact_uri == theirs.artifact_uri.replace(theirs.run_id, run_id)
    )


def test_what_mlflow_refuses_is_refused_in_its_words(other, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(other)
    experiment_id = store.experiment("one", {})
    run_id = store.write(experiment_id, Record("early", {}, {}))
    store.delete_run(run_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        store._terminate(run_id, "FAILED")
    assert query(other, "SELECT status FROM runs") == [("FINISHED",)]
    MlflowClient(other).delete_experiment(experiment_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        store.write(experiment_id, Record("late", {}, {}))
    assert query(other, "SELECT name FROM runs") == [("early",)]


# One transaction


def test_an_error_in_the_last_table_leaves_nothing_in_the_others_and_no_lock(store, connection, run_id):
    uri, client, _ = store
    client.log_metric(run_id, "there already", 5.0, timestamp=TIMESTAMP - 1, step=1)
    before = rows_of(uri, "metrics", run_id)
    series = {"new": points([1.0]), "there already": points([6.0])}
    with pytest.raises(sqlite3.IntegrityError):
        fast_sqlite.write_metrics(connection, run_id, series, TIMESTAMP, {"p": "1"})
    assert rows_of(uri, "metrics", run_id) == before
    assert [row[0] for row in rows_of(uri, "latest_metrics", run_id)] == ["there already"]
    assert client.get_run(run_id).data.params == {}
    client.log_metric(run_id, "m", 2.0)  # would wait 20 s for a lock that we still held
    fast_sqlite.write_metrics(connection, run_id, {"n": points([3.0])}, TIMESTAMP)
    assert client.get_run(run_id).data.metrics == {"there already": 5.0, "m": 2.0, "n": 3.0}


# Which stores


def test_only_a_writer_turns_the_write_ahead_log_on_and_it_stays_on(other):
    before = sqlite_path(other).read_bytes()
    store = Store(other, reads=True)
    assert store.experiments() == {}
    store.close()
    assert sqlite_path(other).read_bytes() == before
    assert query(other, "PRAGMA journal_mode") == [("delete",)]
    fast_sqlite.open_store(other).close()
    assert query(other, "PRAGMA journal_mode") == [("wal",)]


def test_a_reader_reads_while_a_sweep_writes(other):
    with closing(fast_sqlite.open_store(other)) as writer, writer:
        writer.execute("UPDATE alembic_version SET version_num = 'new'")
        assert query(other, "SELECT count(*) FROM alembic_version WHERE version_num = 'new'") == [(0,)]


def test_an_unknown_schema_is_refused_and_left_as_it_was_with_one_warning(other, caplog):
    query(other, "UPDATE alembic_version SET version_num = 'eeeeeeeeeeee'")
    before = sqlite_path(other).read_bytes()
    assert fast_sqlite.open_store(other) is None
    assert fast_sqlite.open_store(other) is None
    assert sqlite_path(other).read_bytes() == before
    assert [record.message[:51] for record in caplog.records] == [
        "qwerties: the store's schema eeeeeeeeeeee is not on"
    ]


@pytest.mark.parametrize(("value", "text"), [(b"{}", "{}"), (7, "7"), (None, ""), ("é", "é")])
def test_what_a_stranger_wrote_into_tags_and_params_is_text(other, value, text):
    store = Store(other)
    experiment_id = store.experiment("odd", {"qwerties.code": "1"})
    run_id = MlflowClient(other).create_run(experiment_id, tags={"t": "1"}).info.run_id
    MlflowClient(other).log_param(run_id, "p", "1")
    with closing(sqlite3.connect(sqlite_path(other))) as database, database:
        database.execute("UPDATE tags SET value = ? WHERE key = 't'", (value,))
        database.execute("UPDATE experiment_tags SET value = ? WHERE key = 'qwerties.code'", (value,))
        if value is not None:
            database.execute("UPDATE params SET value = ?", (value,))
    [run] = store.runs(experiment_id)
    assert run.tags["t"] == store.experiments()["odd"][1]["qwerties.code"] == text
    assert run.params["p"] == (text or "1")


@pytest.mark.parametrize("uri", ["sqlite:///{}/other.db", "sqlite:///{}/notes.txt", "sqlite:///{}/new.db"])
def test_files_that_are_no_store_are_refused_and_left_as_they_were(tmp_path, uri):
    query(f"sqlite:///{tmp_path}/other.db", "CREATE TABLE metrics (key, value)")
    (tmp_path / "notes.txt").write_text("no database\n" * 100)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert fast_sqlite.open_store(uri.format(tmp_path)) is None
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "postgresql://me@127.0.0.1/x", "file:///tmp/x", ""])
def test_other_stores_are_never_written_to(uri, monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", pytest.fail)
    assert fast_sqlite.open_store(uri) is None
