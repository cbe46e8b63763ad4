"""The bulk writer against MLflow's own ``log_batch``: the same rows, the same answers, or no bulk writing at all."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from factories import new_store
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from qwerties.tracking import fast_sqlite as bulk
from qwerties.tracking import store as tracking
from qwerties.tracking.records import Record, Series
from qwerties.tracking.store import Store

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)  # MLflow's own

NAN, INF = float("nan"), float("inf")
TIMESTAMP = 1_700_000_000_123
RNG = np.random.default_rng(0)


def points(values, steps=None):
    values = np.asarray(values)
    return Series(np.arange(1, len(values) + 1) if steps is None else np.asarray(steps), values)


SERIES = {
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


def sqlite_file(uri):
    return Path(uri.removeprefix("sqlite:///"))


def query(uri, sql, *values):
    connection = sqlite3.connect(sqlite_file(uri))
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def rows_of(uri, table, run_id):
    """Every row of a run with the types that SQLite stores, but for the run's id."""
    return query(
        uri,
        "SELECT key, step, value, typeof(value), timestamp, typeof(timestamp), typeof(step), is_nan, typeof(is_nan) "
        f"FROM {table} WHERE run_uuid = ? ORDER BY key, timestamp, step, value",
        run_id,
    )


def log_batch(client, run_id, series):
    metrics = [
        Metric(key, float(value), TIMESTAMP, int(step))
        for key, curve in series.items()
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    for first in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[first : first + 1000])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """URI, client and experiment of an empty MLflow store."""
    folder = tmp_path_factory.mktemp("bulk")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    return uri, client, client.create_experiment("bulk", artifact_location=str(folder / "artifacts"))


@pytest.fixture
def engine(store):
    engine = bulk.open_store(store[0])
    yield engine
    engine.dispose()


@pytest.fixture
def copy(store, tmp_path):
    """URI of a copy of the store, as MLflow left it: without the write-ahead log."""
    path = tmp_path / "mlflow.db"
    connection = sqlite3.connect(sqlite_file(store[0]))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copy(sqlite_file(store[0]), path)
    uri = f"sqlite:///{path}"
    query(uri, "PRAGMA journal_mode=DELETE")
    return uri


@pytest.fixture
def both_ways(store, engine):
    """Write series through both paths; returns the ids of the two runs."""
    _, client, experiment_id = store

    def write(series):
        ours, theirs = (client.create_run(experiment_id).info.run_id for _ in range(2))
        bulk.write_metrics(engine, ours, series, TIMESTAMP)
        log_batch(client, theirs, series)
        return ours, theirs

    return write


# The contract


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_both_paths_leave_the_same_rows_and_answers(store, both_ways, series):
    uri, client, experiment_id = store
    ours, theirs = both_ways(series)

    metrics = rows_of(uri, "metrics", ours)
    assert len(metrics) == sum(len(curve.steps) for curve in series.values())
    assert metrics == rows_of(uri, "metrics", theirs)

    latest = rows_of(uri, "latest_metrics", ours)
    assert sorted(row[0] for row in latest) == sorted(series)
    assert latest == rows_of(uri, "latest_metrics", theirs)

    for key in series:
        histories = [
            [(m.key, repr(m.value), m.timestamp, m.step) for m in client.get_metric_history(run_id, key)]
            for run_id in (ours, theirs)
        ]
        assert histories[0] == histories[1]
        assert len(histories[0]) == len(series[key].steps)

    found = {run.info.run_id: run.data.metrics for run in client.search_runs([experiment_id])}
    assert {k: repr(v) for k, v in found[ours].items()} == {k: repr(v) for k, v in found[theirs].items()}
    assert sorted(found[ours]) == sorted(series)


def test_what_mlflow_reads_back_is_what_went_in(store, both_ways):
    _, client, _ = store
    ours, _ = both_ways({"loss": points([0.1, NAN, INF, -INF, 0.2], [1, 2, 4, 8, 16])})
    history = {m.step: m.value for m in client.get_metric_history(ours, "loss")}
    largest = 1.7976931348623157e308  # MLflow's own stand-in for infinity
    assert repr(history) == repr({1: 0.1, 2: NAN, 4: largest, 8: -largest, 16: 0.2})
    assert client.get_run(ours).data.metrics == {"loss": 0.2}


def test_the_latest_value_is_that_of_the_last_step_not_of_the_last_point(store, both_ways):
    _, client, _ = store
    ours, _ = both_ways({"m": points([3.0, 1.0, 9.0], [100, 1, 10])})
    assert client.get_run(ours).data.metrics == {"m": 3.0}


def test_runs_do_not_mix(store, engine):
    _, client, experiment_id = store
    first, second = (client.create_run(experiment_id).info.run_id for _ in range(2))
    bulk.write_metrics(engine, first, {"m": points([1.0])}, TIMESTAMP)
    bulk.write_metrics(engine, second, {"m": points([2.0])}, TIMESTAMP)
    assert [client.get_run(run_id).data.metrics["m"] for run_id in (first, second)] == [1.0, 2.0]


def test_params_are_the_same_rows_and_answers_too(store, engine):
    uri, client, experiment_id = store
    params = {
        "loss": "bce",
        "hidden": "8x8",
        "distance": "4.0",
        "seeds": "0-29 x 0-29",
        "note": "1·2 'quoted'",
    }
    ours, theirs = (client.create_run(experiment_id).info.run_id for _ in range(2))
    bulk.write_metrics(engine, ours, {}, TIMESTAMP, params)
    client.log_batch(theirs, params=[Param(key, value) for key, value in params.items()])
    rows = [
        query(uri, "SELECT key, value, typeof(value) FROM params WHERE run_uuid = ? ORDER BY key", run_id)
        for run_id in (ours, theirs)
    ]
    assert rows[0] == rows[1]
    assert client.get_run(ours).data.params == client.get_run(theirs).data.params == params
    (found,) = client.search_runs([experiment_id], "params.note = \"1·2 'quoted'\"", max_results=1)
    assert found.data.params == params


def test_runs_are_listed_as_mlflow_lists_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = new_store(tmp_path)
    assert store._engine is not None
    one, other = store.experiment("one", {}), store.experiment("other", {})
    values = {"a": 0.1, "nan": np.nan, "above": np.inf, "below": -np.inf, "none": None}
    child = Record(name="child", params={"p": "1"}, metrics={}, series={}, tags={})
    for i in range(3):
        series = {"loss": Series(np.array([1, 2]), np.array([0.5, np.nan]))}
        store.write(
            one,
            Record(
                name=f"run {i}",
                params={"x": "", "y": "é" * 500},
                metrics=values,
                series=series,
                tags={"t": ""},
                children=[child],
            ),
        )
    store.write(other, Record(name="elsewhere", params={}, metrics={"a": 3.0}, series={}, tags={}))
    store.begin(one, Record(name="begun", params={"p": "2"}, metrics={}, series={}, tags={}))
    store.delete_run(store.runs(one)[0].run_id)
    found = store.runs(one)
    monkeypatch.setattr(store, "_engine", None)
    assert len(found) == 6
    assert repr(found) == repr(store.runs(one)), "NaN is not equal to itself"


def test_no_series_no_rows(store, engine):
    uri, client, experiment_id = store
    run_id = client.create_run(experiment_id).info.run_id
    bulk.write_metrics(engine, run_id, {}, TIMESTAMP)
    assert rows_of(uri, "metrics", run_id) == []


# One transaction


def test_an_error_in_the_middle_leaves_nothing(store, engine):
    uri, client, experiment_id = store
    run_id = client.create_run(experiment_id).info.run_id
    twice = points([1.0, 2.0, 2.0], [1, 2, 2])
    with pytest.raises(sa.exc.IntegrityError):
        bulk.write_metrics(engine, run_id, {"good": points([1.0]), "twice": twice}, TIMESTAMP, {"p": "1"})
    assert client.get_run(run_id).data.params == {}
    assert rows_of(uri, "metrics", run_id) == []
    assert rows_of(uri, "latest_metrics", run_id) == []


def test_an_error_in_the_second_table_leaves_nothing_in_the_first(store, engine):
    uri, client, experiment_id = store
    run_id = client.create_run(experiment_id).info.run_id
    client.log_metric(run_id, "there already", 5.0, timestamp=TIMESTAMP - 1, step=1)
    before = rows_of(uri, "metrics", run_id)
    with pytest.raises(sa.exc.IntegrityError):
        bulk.write_metrics(engine, run_id, {"new": points([1.0]), "there already": points([6.0])}, TIMESTAMP)
    assert rows_of(uri, "metrics", run_id) == before
    assert [row[0] for row in rows_of(uri, "latest_metrics", run_id)] == ["there already"]


def test_mlflow_writes_on_after_an_error_of_ours(store, engine):
    _, client, experiment_id = store
    run_id = client.create_run(experiment_id).info.run_id
    with pytest.raises(sa.exc.IntegrityError):
        bulk.write_metrics(engine, run_id, {"m": points([1.0, 1.0], [1, 1])}, TIMESTAMP)
    client.log_metric(run_id, "m", 2.0)  # would wait 20 s for a lock that we still held
    bulk.write_metrics(engine, run_id, {"n": points([3.0])}, TIMESTAMP)
    assert client.get_run(run_id).data.metrics == {"m": 2.0, "n": 3.0}


# Which stores


def test_only_a_writer_turns_the_write_ahead_log_on_and_it_stays_on(copy):
    before = sqlite_file(copy).read_bytes()
    store = Store(copy, reads=True)
    assert store.experiments() == {}
    store.close()
    assert sqlite_file(copy).read_bytes() == before
    assert query(copy, "PRAGMA journal_mode") == [("delete",)]
    bulk.open_store(copy).dispose()
    assert query(copy, "PRAGMA journal_mode") == [("wal",)]


def test_a_reader_reads_while_a_sweep_writes(copy):
    engine = bulk.open_store(copy)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE experiments SET lifecycle_stage = 'deleted'"))
        assert query(copy, "SELECT DISTINCT lifecycle_stage FROM experiments") == [("active",)]
    engine.dispose()


def test_an_unknown_schema_is_refused_and_left_as_it_was_with_one_warning(copy, caplog):
    connection = sqlite3.connect(sqlite_file(copy))
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = 'eeeeeeeeeeee'")
    connection.close()
    before = sqlite_file(copy).read_bytes()
    assert bulk.open_store(copy) is None
    assert bulk.open_store(copy) is None
    assert sqlite_file(copy).read_bytes() == before
    assert [record.message[:51] for record in caplog.records] == [
        "qwerties: the store's schema eeeeeeeeeeee is not on"
    ]


def test_a_database_of_somebody_else_is_refused_and_left_as_it_was(tmp_path):
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    query(uri, "CREATE TABLE metrics (key, value)")
    before = sqlite_file(uri).read_bytes()
    assert bulk.open_store(uri) is None
    assert sqlite_file(uri).read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no database\n" * 100)
    assert bulk.open_store(f"sqlite:///{path}") is None
    assert path.read_text() == "no database\n" * 100
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_refused_and_not_created(tmp_path):
    assert bulk.open_store(f"sqlite:///{tmp_path / 'mlflow.db'}") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000",
        "https://mlflow.example.org",
        "postgresql://user:secret@127.0.0.1/mlflow",
        "mysql+pymysql://user:secret@127.0.0.1/mlflow",
        "file:///tmp/mlruns",
        "",
    ],
)
def test_other_stores_are_never_written_in_bulk(uri, monkeypatch):
    def connect(*_, **__):
        raise AssertionError("connected")

    monkeypatch.setattr(bulk.sa, "create_engine", connect)
    assert bulk.open_store(uri) is None


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
    assert fast._engine is not None
    monkeypatch.setattr(bulk, "KNOWN_REVISIONS", frozenset())
    slow = Store(uri)
    assert slow._engine is None

    run_ids = [each.write(each.experiment("fallback", {}), record) for each in (fast, slow)]
    for table, count in (("metrics", 2000 + 6 + 3 + 2), ("latest_metrics", 7)):
        ours, theirs = (rows_of(uri, table, run_id) for run_id in run_ids)
        assert len(ours) == count
        assert ours == theirs
    assert client.get_run(run_ids[0]).data.metrics == client.get_run(run_ids[1]).data.metrics
