"""Write and read runs of MLflow's SQLite store directly, ten times faster than MLflow's own functions.

MLflow makes an ORM object of every tag and every point. The functions here write the same rows, each in one
transaction, with times in milliseconds since 1970. They serve only a local SQLite store with a schema that they were
tested with; `through_mlflow` serves every other store.
"""

from __future__ import annotations

import itertools
import logging
import math
import operator
import os
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from qwerties.tracking.records import Series, Tracked, TrackedExperiment
from qwerties.tracking.tags import PARENT, PREFIX, RUN_NAME, TITLE, USER
from qwerties.tracking.uri import sqlite_path

KNOWN_REVISIONS = frozenset({"dc11669786a5"})  # of MLflow's schema (MLflow 3.17) with the tables below
TEXT = "COALESCE(CAST(value AS TEXT), '')"  # SQLite lets any column hold bytes, numbers or nothing
LARGEST = 1.7976931348623157e308  # MLflow stores infinities as the largest finite double of their sign


def open_store(uri: str, *, writes: bool = True) -> sqlite3.Connection | None:
    """Connect to a local SQLite store of a known schema; return None, and change nothing, if the URI names another.

    A writer turns on the write-ahead log, which persists in the file and lets the UI read while a sweep writes. A
    reader changes nothing in the file.
    """
    path = sqlite_path(uri)
    if path is None or not path.is_file():
        return None  # to connect would create the file
    address = path.absolute().as_uri()
    if not (writes or os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()):
        address += "?immutable=1"  # else SQLite wants to write the index of the log beside the file
    connection = sqlite3.connect(address, uri=True, timeout=60, check_same_thread=False)
    revision = None
    with suppress(sqlite3.Error, TypeError):  # no database, or not MLflow's
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if revision not in KNOWN_REVISIONS:
        connection.close()
        if revision is not None:
            _warn_of_schema(revision)
        return None
    connection.execute("PRAGMA temp_store=MEMORY")  # a full TMPDIR would be reported as a full database
    if writes:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    return connection


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


def create_run(
    connection: sqlite3.Connection, experiment_id: str, name: str, tags: Mapping[str, str], timestamp: int
) -> tuple[str, str] | None:
    """Insert a RUNNING run with its tags; return its id and the URI of its artifacts.

    If there is no such experiment, or it was deleted, return None and write nothing.
    """
    from mlflow.utils.uri import append_to_uri_path

    run_id = uuid.uuid4().hex
    with connection:
        location = connection.execute(
            "SELECT artifact_location FROM experiments WHERE experiment_id = ? AND lifecycle_stage = 'active'",
            (int(experiment_id),),
        ).fetchone()
        if location is None:
            return None
        artifact_uri = append_to_uri_path(location[0], run_id, "artifacts")
        connection.execute(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, source_version, user_id, "
            "status, start_time, lifecycle_stage, artifact_uri, experiment_id) "
            "VALUES (?, ?, 'UNKNOWN', '', '', '', ?, 'RUNNING', ?, 'active', ?, ?)",
            (run_id, name, tags.get(USER, "unknown"), timestamp, artifact_uri, int(experiment_id)),
        )
        connection.executemany(
            "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
            [(*item, run_id) for item in {**tags, RUN_NAME: name}.items()],
        )
    return run_id, artifact_uri


def end_run(connection: sqlite3.Connection, run_id: str, status: str, timestamp: int) -> bool:
    """Give an active run its final status; return whether there is such a run."""
    with connection:
        done = connection.execute(
            "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ? AND lifecycle_stage = 'active'",
            (status, timestamp, run_id),
        )
    return done.rowcount == 1


def write_metrics(
    connection: sqlite3.Connection,
    run_id: str,
    series: Mapping[str, Series],
    timestamp: int,
    params: Mapping[str, str] | None = None,
) -> None:
    """Insert all points of metrics, no step twice, and params, in one transaction; the run has none of them yet."""
    rows = [list(_rows(run_id, key, points, timestamp)) for key, points in series.items()]
    # of points of one timestamp, MLflow takes that of the largest step as the latest, then that of the largest value
    latest = [max(points, key=operator.itemgetter(3, 1)) for points in rows]
    with connection:
        connection.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            [(*item, run_id) for item in (params or {}).items()],
        )
        for table, points in (("metrics", itertools.chain.from_iterable(rows)), ("latest_metrics", latest)):
            connection.executemany(
                f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)",
                points,
            )


def _rows(run_id: str, key: str, series: Series, timestamp: int) -> Iterator[tuple[Any, ...]]:
    values = np.asarray(series.values, float)
    is_nan = np.isnan(values)
    stored = np.where(is_nan, 0.0, np.clip(values, -LARGEST, LARGEST))
    same = itertools.repeat
    columns = (stored.tolist(), same(timestamp), series.steps.tolist(), is_nan.tolist(), same(run_id))
    return zip(same(key), *columns, strict=False)


def read_experiments(connection: sqlite3.Connection) -> list[TrackedExperiment]:
    """Read our experiments, active and deleted, by their ids; those too that were renamed in MLflow."""
    rows = connection.execute(
        "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments ORDER BY experiment_id"
    ).fetchall()
    tags: dict[int, dict[str, str]] = defaultdict(dict)
    for experiment_id, key, value in connection.execute(
        f"SELECT experiment_id, key, {TEXT} FROM experiment_tags"
    ):
        tags[experiment_id][key] = value
    return [
        TrackedExperiment(str(experiment_id), name, location, stage == "active", tags[experiment_id])
        for experiment_id, name, location, stage in rows
        if name.startswith(PREFIX) or TITLE in tags[experiment_id]
    ]


def read_runs(connection: sqlite3.Connection, experiment_id: str) -> list[Tracked]:
    """Read the active runs of an experiment, oldest first."""
    selected = "FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'"
    parameters = (int(experiment_id),)
    rows = connection.execute(
        f"SELECT run_uuid, name, status, artifact_uri, start_time {selected} "
        "ORDER BY start_time IS NULL, start_time, rowid",
        parameters,
    ).fetchall()
    values: dict[str, dict[str, dict[str, Any]]] = {}  # by table and run
    for table in ("params", "tags", "latest_metrics"):
        value = "CASE WHEN is_nan THEN NULL ELSE value END" if table == "latest_metrics" else TEXT
        values[table] = defaultdict(dict)
        for run_id, key, text in connection.execute(
            f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN (SELECT run_uuid {selected})",
            parameters,
        ):
            values[table][run_id][key] = math.nan if text is None else text
    return [
        Tracked(
            run_id=run_id,
            experiment_id=experiment_id,
            name=name or tags.get(RUN_NAME) or run_id,
            status=status,
            parent=tags.get(PARENT),
            params=values["params"][run_id],
            metrics=values["latest_metrics"][run_id],
            tags=tags,
            artifact_uri=uri,
            start_time=(start_time or 0) / 1000,
        )
        for run_id, name, status, uri, start_time in rows
        for tags in [values["tags"][run_id]]
    ]
