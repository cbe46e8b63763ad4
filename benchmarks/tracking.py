"""Parts ``tracking`` and ``network``: what it costs to write a run's losses, and to have a network tracked."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Found, Row, Target, interleave, ratio
from benchmarks.settings import Settings
from qwerties.config import Config, Seeds
from qwerties.scoring import score as scoring
from qwerties.tracking import fast_sqlite as bulk
from qwerties.tracking.records import Series
from qwerties.tracking.store import Store

EACH, BATCH, OURS, RAW = "`log_metric` per epoch", "public `log_batch`", "ours", "raw `sqlite3`, the floor"
TUTORIAL, GOOD = "the tutorial's way", "the good way"
SINGLE, SWEPT = "ours, one by itself", "ours, in a sweep's run"

TOGETHER, QUICK_TOGETHER = 500, 8
"""Networks of a sweep's run."""


def measure(settings: Settings, folder: Path) -> Found:
    """Write one run's losses, into a store of each way's own."""
    from benchmarks import tutorial

    epochs = 50 if settings.quick else 2000
    group = f"{epochs} losses of one run"
    losses = np.random.default_rng(0).random(epochs)
    series = {"train_loss": Series(np.arange(1, epochs + 1), losses)}
    uris = _new_stores(folder, (EACH, BATCH, OURS, RAW))
    engine = bulk.open_store(uris[OURS])
    if engine is None:
        raise RuntimeError("the store that was just made must be one that ours writes to in bulk")
    connection = sqlite3.connect(uris[RAW].removeprefix("sqlite:///"))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")

    def raw(run_id: str) -> None:
        rows = [
            ("train_loss", loss, 0, epoch, 0, run_id) for epoch, loss in enumerate(losses.tolist(), start=1)
        ]
        with connection:
            for table, part in (("metrics", rows), ("latest_metrics", rows[-1:])):
                connection.executemany(
                    f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    part,
                )

    writers: dict[str, Callable[[str], None]] = {
        EACH: lambda run_id: tutorial.log_each(uris[EACH], run_id, losses),
        BATCH: lambda run_id: tutorial.log_in_batches(uris[BATCH], run_id, losses),
        OURS: lambda run_id: bulk.write_metrics(engine, run_id, series, 0),
        RAW: raw,
    }
    runs = {name: [tutorial.new_run(uri) for _ in range(settings.repeats + 1)] for name, uri in uris.items()}
    for name, write in writers.items():  # the first, which sets up connections, is not measured
        if name != EACH:
            write(runs[name][-1])
    left = {name: iter(ids) for name, ids in runs.items()}
    samples = interleave(
        {name: lambda name=name: writers[name](next(left[name])) for name in writers},  # type: ignore[misc]
        settings.repeats,
    )
    off = {
        name: float(np.abs(tutorial.history(uris[name], runs[name][0]) - losses).max()) for name in writers
    }
    connection.close()
    engine.dispose()
    rows = [
        Row(
            *("tracking", group, name, f"{epochs} losses in a store of its own", "ms/run"),
            *samples[name].per(1),
            difference=off[name],
        )
        for name in writers
    ]
    targets = (
        Target("tracking", f"ours against `log_batch`: {group}", ratio(rows, group, BATCH, OURS), least=8),
        Target("tracking", f"ours against `log_metric`: {group}", ratio(rows, group, EACH, OURS)),
        Target(
            "tracking",
            f"ours, time over that of raw `sqlite3`: {group}",
            ratio(rows, group, OURS, RAW),
            most=2,
        ),
    )
    return Found(tuple(rows), targets)


def _new_stores(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Make an empty store for each name; MLflow takes seconds to set one up, so the others are copies of it."""
    paths = [folder / f"{i}.db" for i in range(len(names))]
    bare = folder / "bare.db"
    Store(f"sqlite:///{bare}")
    old = sqlite3.connect(bare)
    for path in paths:
        new = sqlite3.connect(path)
        old.backup(new)
        new.close()
    old.close()
    return {name: f"sqlite:///{path}" for name, path in zip(names, paths, strict=True)}


# A whole network


def measure_network(settings: Settings, folder: Path) -> Found:
    """Train, draw and track: one network by the notebook's loop, and ours, in one process of one thread."""
    from benchmarks import tutorial

    epochs = 110 if settings.quick else 2000
    together = QUICK_TOGETHER if settings.quick else TOGETHER
    config, group = Config(epochs=epochs), f"a tracked network, {epochs} epochs"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    names = (TUTORIAL, GOOD, SINGLE, SWEPT)
    uris = _new_stores(folder, names)
    stores = {name: _Writer(uris[name], config) for name in (SINGLE, SWEPT)}
    ways: dict[str, Callable[[], str]] = {
        TUTORIAL: lambda: tutorial.track_network(uris[TUTORIAL], folder / "a", config, batched=False),
        GOOD: lambda: tutorial.track_network(uris[GOOD], folder / "b", config, batched=True),
        SINGLE: stores[SINGLE].single,
        SWEPT: lambda: stores[SWEPT].swept(together),
    }
    set_up, last = {}, {}
    for name, way in ways.items():
        began = time.perf_counter()
        if name != TUTORIAL:  # as the good way, but slow
            way()
        set_up[name] = time.perf_counter() - began

    def go(name: str) -> None:
        last[name] = ways[name]()

    samples = interleave({name: lambda name=name: go(name) for name in ways}, settings.repeats)  # type: ignore[misc]
    notebook = tutorial.history(uris[GOOD], last[GOOD])
    off = {
        name: float(np.abs(tutorial.history(uris[name], last[name]) - notebook).max())
        for name in (TUTORIAL, GOOD, SINGLE)
    }
    torch.set_num_threads(threads)
    works = {
        TUTORIAL: "1 network: the notebook's loop, `log_metric`, two `savefig`",
        GOOD: "1 network: the notebook's loop, `log_batch`, two `savefig`",
        SINGLE: "1 network: uncompiled, scored, whole curve, two pictures",
        SWEPT: f"1 run of {together} networks: scored, mean curve, each network's loss at up to 200 epochs in a file, "
        "pictures, exemplars",
    }
    rows = [
        Row(
            *("network", group, name, works[name], "ms/network"),
            *samples[name].per(together if name == SWEPT else 1),
            set_up=None if name == TUTORIAL else set_up[name],
            difference=off.get(name),
        )
        for name in ways
    ]
    targets = tuple(
        Target("network", f"{fast} against {slow}: {group}", ratio(rows, group, slow, fast))
        for fast in (SINGLE, SWEPT)
        for slow in (TUTORIAL, GOOD)
    )
    return Found(tuple(rows), targets)


class _Writer:
    """Trains and tracks by our own means, into a store of its own."""

    def __init__(self, uri: str, config: Config) -> None:
        self.store, self.config = Store(uri), config
        self.experiment_id = self.store.experiment("bench", {})

    def single(self) -> str:
        from qwerties.study.runs import network_record
        from qwerties.training.trainer import train

        seeds = Seeds(0, 1)
        trained = train([self.config], seeds, compiled=False)[0]
        scores = scoring.score(self.config, seeds, trained.losses, trained.checkpoints, trained.weights)
        return self.store.write(self.experiment_id, network_record(trained, scores, 0))

    def swept(self, networks: int) -> str:
        from qwerties.study.runs import train_records

        (record,) = train_records([self.config], Seeds(0, networks))
        return self.store.write(self.experiment_id, record)
