"""Parts ``tracking``, ``network``, ``server``: the cost of a run's losses, a tracked network, and a run in a server."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import servers, tutorial
from benchmarks.measure import Result, Row, Settings, Target, interleave, milliseconds, ratio
from qwerties.config import Config, Seeds
from qwerties.portability.relocate import copy_database
from qwerties.scoring import score as scoring
from qwerties.study.runs import network_record, train_records
from qwerties.tracking import fast_sqlite
from qwerties.tracking.records import Series
from qwerties.tracking.store import Store
from qwerties.training.trainer import train

EACH, BATCH, OURS, RAW = "`log_metric` per epoch", "public `log_batch`", "ours", "raw `sqlite3`"
TUTORIAL, GOOD = "the tutorial's way", "the good way"
SINGLE, SWEPT = "ours, one by itself", "ours, in a sweep's run"
FILE, BARE, SERVED = "SQLite, a file", "PostgreSQL, without a server", "`mlflow server` with PostgreSQL"

TOGETHER, QUICK_TOGETHER = 500, 8  # networks of a sweep's run

INSERT = "INSERT INTO {} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)"


def new_stores(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Make an empty store for each name; MLflow takes seconds to set one up, so the others are copies of it."""
    bare = folder / "bare.db"
    Store(f"sqlite:///{bare}").close()
    for i in range(len(names)):
        copy_database(bare, folder / f"{i}.db")
    return {name: f"sqlite:///{folder / f'{i}.db'}" for i, name in enumerate(names)}


def measure(settings: Settings, folder: Path) -> Result:
    """Write one run's losses, into a store of each way's own."""
    epochs = 20 if settings.quick else 2000
    group = f"{epochs} losses of one run, in a store of its own"
    losses = np.random.default_rng(0).random(epochs)
    series = {"train_loss": Series(np.arange(1, epochs + 1), losses)}
    uris = new_stores(folder, (EACH, BATCH, OURS, RAW))
    ours = fast_sqlite.open_store(uris[OURS])
    assert ours is not None, "the store that was just made must be one that ours writes to in bulk"

    def raw(connection: sqlite3.Connection, run_id: str) -> None:
        points = [("train_loss", loss, 0, i, 0, run_id) for i, loss in enumerate(losses.tolist(), start=1)]
        with connection:
            connection.executemany(INSERT.format("metrics"), points)
            connection.executemany(INSERT.format("latest_metrics"), points[-1:])

    with closing(sqlite3.connect(uris[RAW].removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        writers: dict[str, Callable[[str], None]] = {
            EACH: partial(tutorial.log_each, uris[EACH], losses),
            BATCH: partial(tutorial.log_in_batches, uris[BATCH], losses),
            OURS: lambda run_id: fast_sqlite.write_metrics(ours, run_id, series, 0),
            RAW: partial(raw, connection),
        }
        last: dict[str, str] = {}
        new_runs = {
            name: iter([tutorial.new_run(uri) for _ in range(settings.repeats + 1)])
            for name, uri in uris.items()
        }

        def write(name: str) -> None:
            last[name] = next(new_runs[name])
            writers[name](last[name])

        for name in (BATCH, OURS, RAW):  # the first, which sets up connections, is not measured
            write(name)
        seconds = interleave({name: partial(write, name) for name in writers}, settings.repeats, once=(EACH,))
        off = {name: tutorial.history(uris[name], last[name]) - losses for name in writers}
    ours.close()
    rows = [
        Row(group, name, "", "ms/run", milliseconds(seconds[name], 1), difference=float(abs(off[name]).max()))
        for name in writers
    ]
    targets = (
        Target(f"{OURS} against {BATCH}", ratio(rows, group, BATCH, OURS), least=8),
        Target(f"{OURS} against {EACH}", ratio(rows, group, EACH, OURS)),
        Target(f"{OURS}, time over that of {RAW}", ratio(rows, group, OURS, RAW), most=2),
    )
    return Result(rows, targets)


def measure_network(settings: Settings, folder: Path) -> Result:
    """Train, draw and track: one network by the notebook's loop, and ours, in one process of one thread."""
    config = Config(epochs=30 if settings.quick else 2000)
    together = QUICK_TOGETHER if settings.quick else TOGETHER
    group = f"a tracked network, {config.epochs} epochs"
    uris = new_stores(folder, (TUTORIAL, GOOD, SINGLE, SWEPT))
    single, swept = Store(uris[SINGLE]), Store(uris[SWEPT])

    def track_single() -> str:
        trained = train([config], Seeds(0, 1), compiled=False)[0]
        scores = scoring.score(config, trained.seeds, trained.losses, trained.checkpoints, trained.weights)
        return single.write(single.experiment("bench", {}), network_record(trained, scores, 0))

    def track_swept() -> str:
        (record,) = train_records([config], Seeds(0, together))
        return swept.write(swept.experiment("bench", {}), record)

    works = {
        TUTORIAL: "1 network: the notebook's loop, `log_metric`, two `savefig`",
        GOOD: "1 network: the notebook's loop, `log_batch`, two `savefig`",
        SINGLE: "1 network: uncompiled, scored, whole curve, two pictures",
        SWEPT: f"1 run of {together} networks: scored, mean curve, each network's loss, pictures, examples",
    }
    ways: dict[str, Callable[[], str]] = {
        TUTORIAL: lambda: tutorial.track_network(uris[TUTORIAL], folder / "a", config, batched=False),
        GOOD: lambda: tutorial.track_network(uris[GOOD], folder / "b", config, batched=True),
        SINGLE: track_single,
        SWEPT: track_swept,
    }
    last: dict[str, str] = {}

    def track(name: str) -> None:
        last[name] = ways[name]()

    for name in (GOOD, SINGLE, SWEPT):
        track(name)  # imports and compiles
    seconds = interleave({name: partial(track, name) for name in ways}, settings.repeats, once=(TUTORIAL,))
    notebook = tutorial.history(uris[GOOD], last[GOOD])
    rows = []
    for name in ways:
        off = None if name == SWEPT else float(abs(tutorial.history(uris[name], last[name]) - notebook).max())
        values = milliseconds(seconds[name], together if name == SWEPT else 1)
        rows.append(Row(group, name, works[name], "ms/network", values, difference=off))
    targets = [
        Target(f"{fast} against {slow}", ratio(rows, group, slow, fast))
        for fast in (SINGLE, SWEPT)
        for slow in (TUTORIAL, GOOD)
    ]
    return Result(rows, targets)


def measure_server(settings: Settings, folder: Path) -> Result:
    """Write the very same run into a file and into servers, in turns; without PostgreSQL, into the file alone."""
    config = Config(epochs=110 if settings.quick else 2000)
    seeds = Seeds(0, QUICK_TOGETHER if settings.quick else TOGETHER)
    (record,) = train_records([config], seeds)
    runs = [record, *record.children]
    points = sum(len(series.steps) for run in runs for series in run.series.values())
    group = f"a run of {len(seeds)} networks with its {len(runs) - 1} examples: {points:,} metric points"
    reason = servers.missing()
    with ExitStack() as stack:
        uris = {FILE: f"sqlite:///{folder / 'mlflow.db'}"}
        if not reason:
            settings.log("starting PostgreSQL and a server")
            postgres = servers.Postgres()
            stack.callback(postgres.stop)
            postgres.start(syncs=True)
            server = servers.Server(folder, postgres.create("mlflow"))
            stack.callback(server.kill)
            server.start()
            uris |= {BARE: postgres.create("bare"), SERVED: server.uri}
        set_up, last, ways = {}, {}, {}
        for name, uri in uris.items():
            began = time.perf_counter()
            store = Store(uri)
            write = partial(store.write, store.experiment("bench", {}), record)
            last[name] = write()  # the first, which sets up connections, is not measured
            ways[name] = write
            set_up[name] = time.perf_counter() - began
        seconds = interleave(ways, settings.repeats)
        given = record.series["train_loss"].values
        off = {
            name: float(abs(tutorial.history(uri, last[name]) - given).max()) for name, uri in uris.items()
        }
    rows = [
        Row(group, name, "", "ms/run", milliseconds(seconds[name], 1), set_up[name], off[name])
        for name in uris
    ]
    rows += [Row(group, name, skipped=reason) for name in (BARE, SERVED) if reason]
    targets = [
        Target(f"{name}, time over that of {FILE}", ratio(rows, group, name, FILE)) for name in (BARE, SERVED)
    ]
    return Result(rows, targets)
