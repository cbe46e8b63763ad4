"""Part ``growth``: what becomes dearer as a study grows; a run's write, the report, the memory of a sweep."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measure import (
    Result,
    Row,
    Settings,
    Target,
    interleave,
    make_project,
    milliseconds,
    ratio,
    seconds_of,
)
from qwerties.config import DEFAULT, Seeds, fingerprint
from qwerties.errors import FailedError, reason_of
from qwerties.portability.relocate import copy_database
from qwerties.scoring.digest import code_digest
from qwerties.study.experiment import Contrast, Experiment
from qwerties.study.plan import plan_tags
from qwerties.study.runs import train_records
from qwerties.tracking.records import Record
from qwerties.tracking.store import Store

# Of the runs that fill the store: really trained once, and then written under as many learning rates
SEEDS, EPOCHS = Seeds(0, 50), 200
STORED, QUICK_STORED = (10, 100, 1000), (2, 4)  # runs, at which a write is measured
REPORTED, QUICK_REPORTED = (50, 500), (4,)  # runs, at which a report is
WRITES, TURNS = 2, 5  # runs written at a time, and how often in a repeat: a disk has its moods
TOGETHER = 100  # configs of an experiment

SWEPT, QUICK_SWEPT = ((1_000, 400), (10_000, 400)), ((8, 20),)  # networks and epochs; 500 networks a config
SECONDS_BETWEEN_LOOKS = 0.2  # at the memory of a sweep

MAX_SECONDS, MAX_GIB, FLAT = 15, 2, 1.2


def measure(settings: Settings, folder: Path) -> Result:
    """Fill one store run by run, stop at each size to measure; then sweep in folders of their own."""
    writes, reports = _grow(settings, folder)
    memory = [_memory(settings, folder, *size) for size in (QUICK_SWEPT if settings.quick else SWEPT)]
    first, last = writes[0].name, writes[-1].name
    growth = ratio(writes, "writing a run", last, first)
    peak = max(row.median for row in memory) / 1024
    flat = memory[-1].median / memory[0].median
    targets = [
        Target(f"a run's write {last} over that {first}", growth, most=FLAT),
        Target(f"the report {reports[-1].name}", reports[-1].median, most=MAX_SECONDS, unit="s"),
        Target("peak of memory of a sweep, over all its processes", peak, most=MAX_GIB, unit="GiB"),
        Target("peak of memory, largest sweep over smallest", flat, most=FLAT),
    ]
    return Result([*writes, *reports, *memory], targets)


def _grow(settings: Settings, folder: Path) -> tuple[list[Row], list[Row]]:
    stored, reported = (QUICK_STORED, QUICK_REPORTED) if settings.quick else (STORED, REPORTED)
    study = make_project(folder / "study", {})
    with chdir(study):  # where MLflow puts artifacts, of its default experiment too
        store = Store(f"sqlite:///{study / 'mlflow.db'}")
    endless = _runs(store, study)
    stores: dict[str, Store] = {}
    reports: list[Row] = []
    for runs in range(1, max(*stored, *reported) + 1):
        store.write(*next(endless))
        if runs in stored:
            copy_database(study / "mlflow.db", folder / f"{runs}.db")
            stores[f"at {runs} runs"] = Store(f"sqlite:///{folder / f'{runs}.db'}")
        if runs in reported:
            settings.log(f"the report from {runs} runs")
            seconds = seconds_of(partial(run_command, [sys.executable, "-m", "qwerties", "report"], study))
            work = f"`qwerties report`, runs of {len(SEEDS)} networks"
            reports.append(Row("the report", f"at {runs} runs", work, "s", (seconds,)))
    settings.log("writing runs")
    records = [next(endless)[1] for _ in range(WRITES)]

    def write(store: Store) -> None:
        for record in records:
            store.write(store.experiments()["growth0"][0], record)

    for copy in stores.values():
        write(copy)  # connects
    ways = {name: partial(write, copy) for name, copy in stores.items()}
    each = interleave(ways, settings.repeats * TURNS)
    work = f"{WRITES} runs at a time, of {len(SEEDS)} networks and {EPOCHS} epochs, without examples"
    rows = [Row("writing a run", name, work, "ms/run", milliseconds(each[name], WRITES)) for name in ways]
    return rows, reports


def experiment(number: int, configs: int, epochs: int) -> Experiment:
    """Declare one of many experiments: of one learning rate after the other, no two alike."""
    rates = (round(0.01 + 1e-6 * (number * TOGETHER + i), 6) for i in range(configs))
    settings = tuple(dataclasses.replace(DEFAULT, epochs=epochs, learning_rate=rate) for rate in rates)
    contrasts = (Contrast(settings[0], settings[-1]),) if configs > 1 else ()
    return Experiment(f"Growth {number}", "What does a large study cost?", settings, contrasts)


def _runs(store: Store, study: Path) -> Iterator[tuple[str, Record]]:
    """Yield experiment and record of one run after the other, without end; only the first ten have examples."""
    (record,) = train_records(experiment(0, 1, EPOCHS).configs, SEEDS)
    for number in itertools.count():
        declared = experiment(number, TOGETHER, EPOCHS)
        with chdir(study):
            experiment_id = store.experiment(f"growth{number}", plan_tags(declared, SEEDS))
        for i, config in enumerate(declared.configs):
            digest = fingerprint(config, SEEDS, code_digest())
            own = dataclasses.replace(
                record,
                name=config.label(),
                params={**config.to_params(), "seeds": str(SEEDS)},
                tags={"qwerties.code": code_digest(), "qwerties.fingerprint": digest},
                children=record.children if number == 0 and i < 10 else [],
            )
            yield experiment_id, own


def run_command(
    command: Sequence[str],
    study: Path,
    environment: Mapping[str, str] = os.environ,
    watch: Callable[[int], object] = lambda pid: None,
) -> None:
    """Run a command in a study's folder on its own store, and watch it; FailedError if it fails."""
    own = {k: v for k, v in environment.items() if k not in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE")}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(command, cwd=study, env=own, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while process.poll() is None:
                watch(process.pid)
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            errors.seek(0)
            reason = reason_of(errors.read().strip().rpartition("\n")[2])
            raise FailedError(f"{' '.join(command[1:])} failed: {reason}")


SOURCE = "from benchmarks.growth import experiment as declare\n\nexperiment = declare({}, {}, {})\n"


def _memory(settings: Settings, folder: Path, networks: int, epochs: int) -> Row:
    """Sweep many networks; measure the peak over all processes, a page that several share counted once (PSS)."""
    settings.log(f"a sweep of {networks} networks")
    seeds = 4 if settings.quick else 500
    configs = networks // seeds
    sizes = [min(TOGETHER, configs - first) for first in range(0, configs, TOGETHER)]
    sources = {f"growth{i}": SOURCE.format(i, size, epochs) for i, size in enumerate(sizes)}
    study = make_project(folder / f"swept-{networks}", sources)
    options = f"--no-report --seeds {seeds} --max-seeds {seeds} --jobs {settings.processes}".split()
    looks = [0.0]
    command = [sys.executable, "-m", "qwerties", "sweep", *options]
    run_command(command, study, watch=lambda pid: looks.append(memory_of(pid)))
    work = f"`qwerties sweep`, {configs} configs on {seeds} seeds, {settings.processes} workers; PSS"
    return Row("memory of a sweep", f"{networks} networks, {epochs} epochs", work, "MiB", (max(looks),))


def memory_of(pid: int) -> float:
    """Return the memory of a process and all below it, a shared page counted once where the system tells, in MiB."""
    total = 0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.uss)
    except (psutil.Error, OSError):  # one ended meanwhile
        return 0.0
    return total / 2**20
