"""Write and read runs of MLflow's SQLite store directly, ten times faster than ``log_batch`` and ``search_runs``.

MLflow makes an ORM object of every point. The functions here insert the same rows into ``metrics`` and
``latest_metrics`` in one transaction. They serve only a local SQLite store with a schema that they were tested with;
for every other store the caller uses MLflow's public functions.
"""

from __future__ import annotations

import itertools
import logging
import math
import operator
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from qwerties.tracking.records import Series, Tracked, TrackedExperiment
from qwerties.tracking.tags import PARENT, PREFIX, RUN_NAME
from qwerties.tracking.uri import sqlite_path

KNOWN_REVISIONS = frozenset({"dc11669786a5"})  # of MLflow's schema (MLflow 3.17) with the tables below
LARGEST = 1.7976931348623157e308  # MLflow stores infinities as the largest finite double of their sign
ROWS_PER_STATEMENT = (
    160  # of 6 values: every SQLite takes 999 values; fewer statements save a third of the time
)


def open_store(uri: str, *, writes: bool = True) -> sa.Engine | None:
    """Connect to a local SQLite store of a known schema.

    Parameters
    ----------
    uri : str
    writes : bool
        Turn on the write-ahead log, which persists in the file and lets the UI read while a sweep writes. A reader
        changes nothing in the file.

    Returns
    -------
    Engine or None
        None if the URI names no such store; nothing in it is changed.
    """
    path = sqlite_path(uri)
    if path is None or not path.is_file():
        return None  # to connect would create the file
    engine = sa.create_engine(uri, connect_args={"timeout": 60}, poolclass=sa.pool.SingletonThreadPool)
    try:
        with engine.connect() as connection:
            revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    except sa.exc.SQLAlchemyError:
        revision = None
    engine.dispose()
    if revision not in KNOWN_REVISIONS:
        if revision is not None:
            _warn_of_schema(revision)
        return None
    pragmas = ["temp_store=MEMORY"]  # a full TMPDIR would be reported as a full database
    if writes:
        pragmas += ["journal_mode=WAL", "synchronous=NORMAL"]

    def on_connect(connection: Any, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    sa.event.listen(engine, "connect", on_connect)
    engine.connect().close()
    return engine


@cache
def _warn_of_schema(revision: str) -> None:
    logging.getLogger("qwerties").warning(
        "qwerties: the store's schema %s is not one of those known here (%s): runs are written by MLflow itself, which "
        "takes ten times as long; install the MLflow of constraints.txt, or a newer qwerties",
        revision,
        ", ".join(sorted(KNOWN_REVISIONS)),
    )


def checkpoint(path: Path) -> None:
    """Move the write-ahead log into the database file, so that a copy of the file alone is complete."""
    if not path.with_name(f"{path.name}-wal").exists():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=5)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a log that is in use stays, and is read


def write_metrics(
    engine: sa.Engine,
    run_id: str,
    series: Mapping[str, Series],
    timestamp: int,
    params: Mapping[str, str] | None = None,
) -> None:
    """Insert all points of a new run's metrics, and its params, in one transaction.

    Parameters
    ----------
    engine : Engine
        From `open_store`.
    run_id : str
        A run without any of these params and metrics.
    series : mapping of Series
        Points of each metric; no step twice.
    timestamp : int
        Milliseconds since 1970, the same for all points.
    params : mapping of str, optional
    """
    rows = [list(_rows(run_id, key, points, timestamp)) for key, points in series.items()]
    with engine.begin() as connection:
        for item in (params or {}).items():
            connection.exec_driver_sql(
                "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", (*item, run_id)
            )
        _insert(connection, "metrics", list(itertools.chain.from_iterable(rows)))
        _insert(connection, "latest_metrics", [max(points, key=_STEP_THEN_VALUE) for points in rows])


_STEP_THEN_VALUE = operator.itemgetter(
    3, 1
)  # orders points of one timestamp as MLflow does: the largest is the latest


def _rows(run_id: str, key: str, series: Series, timestamp: int) -> Iterator[tuple[Any, ...]]:
    values = np.asarray(series.values, float)
    is_nan = np.isnan(values)
    stored = np.where(is_nan, 0.0, np.clip(values, -LARGEST, LARGEST))
    same = itertools.repeat
    columns = (stored.tolist(), same(timestamp), series.steps.tolist(), is_nan.tolist(), same(run_id))
    return zip(same(key), *columns, strict=False)


def _insert(connection: sa.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    # plain values: dicts and bound parameters take three times as long
    into = f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES "
    for begin in range(0, len(rows), ROWS_PER_STATEMENT):
        chunk = rows[begin : begin + ROWS_PER_STATEMENT]
        values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(chunk))
        connection.exec_driver_sql(into + values, tuple(itertools.chain.from_iterable(chunk)))


def read_experiments(engine: sa.Engine) -> list[TrackedExperiment]:
    """Read our experiments, active and deleted, by their ids."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments ORDER BY experiment_id"
        ).all()
        tags: dict[int, dict[str, str]] = {row[0]: {} for row in rows}
        for experiment_id, key, value in connection.exec_driver_sql(
            "SELECT experiment_id, key, value FROM experiment_tags"
        ).all():
            if experiment_id in tags:  # else the experiment was created after the first query
                tags[experiment_id][key] = value
    return [
        TrackedExperiment(str(experiment_id), name, location, stage == "active", tags[experiment_id])
        for experiment_id, name, location, stage in rows
        if name.startswith(PREFIX)
    ]


def read_runs(engine: sa.Engine, experiment_id: str) -> list[Tracked]:
    """Read the active runs of an experiment, oldest first."""
    selected = "FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'"
    parameters = (int(experiment_id),)
    values: dict[str, dict[str, dict[str, Any]]] = {}  # by table and run
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            f"SELECT run_uuid, name, status, artifact_uri, start_time {selected} "
            "ORDER BY start_time IS NULL, start_time, run_uuid",
            parameters,
        ).all()
        for table, value in (
            ("params", "value"),
            ("tags", "value"),
            ("latest_metrics", "CASE WHEN is_nan THEN NULL ELSE value END"),
        ):
            values[table] = {row[0]: {} for row in rows}
            for run_id, key, text in connection.exec_driver_sql(
                f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN (SELECT run_uuid {selected})",
                parameters,
            ).all():
                if run_id in values[table]:  # else the run began after the first query
                    values[table][run_id][key] = math.nan if text is None else text
    runs = []
    for run_id, name, status, uri, start_time in rows:
        params, tags, metrics = (values[table][run_id] for table in ("params", "tags", "latest_metrics"))
        shown = name or tags.get(RUN_NAME) or run_id
        seconds = (start_time or 0) / 1000
        runs.append(
            Tracked(
                run_id, experiment_id, shown, status, tags.get(PARENT), params, metrics, tags, uri, seconds
            )
        )
    return runs
