"""Part ``server``: what a run costs to write through a real MLflow server with PostgreSQL, and into a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers, tutorial
from benchmarks.measure import Found, Row, Target, interleave, ratio
from benchmarks.peak import spent
from benchmarks.settings import Settings
from benchmarks.tracking import QUICK_TOGETHER, TOGETHER
from qwerties.config import Config, Seeds
from qwerties.study.runs import train_records
from qwerties.tracking.records import Record
from qwerties.tracking.store import Store

PART, GROUP = "server", "writing a run with its exemplars"
FILE, BARE, SERVED = "SQLite, a file", "PostgreSQL, without a server", "`mlflow server` with PostgreSQL"


def measure(settings: Settings, folder: Path) -> Found:
    """Write the very same run into each store, in turns; without PostgreSQL, into the file alone."""
    config = Config(epochs=110 if settings.quick else 2000)
    seeds = Seeds(0, QUICK_TOGETHER if settings.quick else TOGETHER)
    (record,) = train_records([config], seeds)
    reason = servers.missing()
    with ExitStack() as stack:
        ways = {FILE: _Way(record, lambda: (f"sqlite:///{folder / 'mlflow.db'}", []))}
        if not reason:
            settings.tell("starting PostgreSQL and a server")
            ways[BARE] = _Way(record, lambda: _bare(stack))
            ways[SERVED] = _Way(record, lambda: _served(stack, folder))
        samples = interleave({name: way.write for name, way in ways.items()}, settings.repeats)
        off = {name: way.difference() for name, way in ways.items()}
    runs = [record, *record.children]
    points = sum(len(series.steps) for run in runs for series in run.series.values())
    work = (
        f"1 run of {len(seeds)} networks, {config.epochs} epochs, {len(record.children)} exemplars: {points:,} metric "
        f"points, {sum(len(run.files) for run in runs)} files"
    )
    rows = [
        Row(
            *(PART, GROUP, name, work, "ms/run"),
            *samples[name].per(1),
            set_up=way.set_up,
            difference=off[name],
        )
        for name, way in ways.items()
    ]
    rows += [
        Row(PART, GROUP, name, "", "ms/run", skipped=reason) for name in (BARE, SERVED) if name not in ways
    ]
    targets = tuple(
        Target(PART, f"{name}, time over that of {FILE}", ratio(rows, GROUP, name, FILE))
        for name in (BARE, SERVED)
    )
    return Found(tuple(rows), targets)


def _postgres(stack: ExitStack) -> servers.Postgres:
    """A PostgreSQL that waits for the disk, as it does unless it is told otherwise."""
    postgres = servers.Postgres()
    stack.callback(postgres.stop)
    postgres.start(syncs=True)
    return postgres


def _bare(stack: ExitStack) -> tuple[str, Sequence[int]]:
    postgres = _postgres(stack)
    return postgres.create("bare"), [postgres.pid]


def _served(stack: ExitStack, folder: Path) -> tuple[str, Sequence[int]]:
    postgres = _postgres(stack)
    place = folder / "server"
    place.mkdir()
    server = servers.Server(place, postgres.create("mlflow"))
    stack.callback(server.kill)
    server.start()
    assert server.process is not None
    return server.uri, [postgres.pid, server.process.pid]


class _Way:
    """A store of its own; ``start`` makes it and tells its URI, and the processes that work for it.

    The first run, which sets up connections, is not measured.
    """

    def __init__(self, record: Record, start: Callable[[], tuple[str, Sequence[int]]]) -> None:
        began = time.perf_counter()
        self.record = record
        self.uri, self.processes = start()
        self.store = Store(self.uri)
        self.experiment_id = self.store.experiment("bench", {})
        self.write()
        self.set_up = time.perf_counter() - began

    def write(self) -> float:
        """Write the run; returns the CPU seconds that others spent for it, where they are known."""
        before = self._spent()
        self.run_id = self.store.write(self.experiment_id, self.record)
        return self._spent() - before

    def _spent(self) -> float:
        return sum(spent(pid) or 0.0 for pid in self.processes)

    def difference(self) -> float:
        """How far the losses that the store gives back are from those that it was given."""
        given = self.record.series["train_loss"].values
        return float(abs(tutorial.history(self.uri, self.run_id) - given).max())
