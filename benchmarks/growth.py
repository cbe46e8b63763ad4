"""Part ``growth``: what becomes dearer as a study grows; cost of a run, memory of a sweep, time of a report."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from types import MappingProxyType

from benchmarks.measure import Found, Row, Target, interleave, ratio
from benchmarks.settings import Settings
from qwerties.config import DEFAULT, Seeds, fingerprint
from qwerties.errors import FailedError, reason_of
from qwerties.scoring.digest import code_digest
from qwerties.study.experiment import Contrast, Experiment
from qwerties.study.runs import train_records
from qwerties.tracking.records import Record
from qwerties.tracking.store import Store

PART = "growth"
SEEDS, EPOCHS = Seeds(0, 50), 200
"""Of the runs that fill the store; really trained once, and then written under as many learning rates."""

STORED, QUICK_STORED = (10, 100, 1000), (2, 4)
REPORTED, QUICK_REPORTED = (50, 500, 2000), (4,)
TOGETHER = 100
"""Configs of an experiment."""

WRITES, TURNS = 2, 5
"""Runs written at a time, to measure a write at a store's size, and how often in a repeat: few runs, as they stay, and
many turns, as a disk has its moods."""

SWEPT: tuple[tuple[int, int], ...] = ((1_000, 400), (10_000, 400), (100_000, 400), (10_000, 2000))
QUICK_SWEPT: tuple[tuple[int, int], ...] = ((8, 20),)
"""SeedTable and epochs; 500 networks a config."""

MAX_SECONDS, MAX_GIB, FLAT = 15, 2, 1.2


def measure(settings: Settings, folder: Path) -> Found:
    """Fill one store run by run, stop at each size to measure; then sweep in folders of their own."""
    writes, reports = _grow(settings, folder)
    memory = _memory(settings, folder)
    stored = QUICK_STORED if settings.quick else STORED
    most = max((row.value for row in memory if row.wall), default=float("nan"))
    last = memory[2 if len(memory) > 2 else -1]
    targets = [
        Target(
            *(PART, f"a run's write at {stored[-1]} runs over that at {stored[0]}"),
            ratio(writes, "writing a run", f"at {stored[-1]} runs", f"at {stored[0]} runs"),
            most=FLAT,
        ),
        Target(PART, f"the report {reports[-1].name}", reports[-1].value, most=MAX_SECONDS, unit="s"),
        Target(
            PART,
            "largest peak of memory of a sweep, over all its processes",
            most / 1024,
            most=MAX_GIB,
            unit="GiB",
        ),
    ]
    if len(memory) > 1:
        claim = f"peak of memory with {last.name} over that with {memory[0].name}"
        targets.append(Target(PART, claim, last.value / memory[0].value, most=FLAT))
    return Found((*writes, *reports, *memory), tuple(targets))


# One store that grows


def _grow(settings: Settings, folder: Path) -> tuple[list[Row], list[Row]]:
    stored, reported = (QUICK_STORED, QUICK_REPORTED) if settings.quick else (STORED, REPORTED)
    study = folder / "study"
    _make_study(study)
    with chdir(study):  # where MLflow puts artifacts, of its default experiment too
        store = Store(f"sqlite:///{study / 'mlflow.db'}")
    runs_made = _runs(store, study)
    copies: dict[int, Path] = {}
    reports: list[Row] = []
    for runs in range(1, max(*stored, *reported) + 1):
        experiment_id, record = next(runs_made)
        store.write(experiment_id, record)
        if runs in stored:
            copies[runs] = folder / f"{runs}.db"
            _copy(study / "mlflow.db", copies[runs])
        if runs in reported:
            settings.tell(f"the report from {runs} runs")
            reports.append(_report(study, runs, 1 if runs == max(reported) else settings.repeats))
    settings.tell("writing runs")
    return _writes(copies, [next(runs_made)[1] for _ in range(WRITES)], settings), reports


def _make_study(study: Path, sources: Mapping[str, str] = MappingProxyType({})) -> None:
    (study / "experiments").mkdir(parents=True)
    (study / "pyproject.toml").write_text("[tool.qwerties]\n")
    for stem, source in sources.items():
        (study / "experiments" / f"{stem}.py").write_text(source)


def _experiment(number: int, configs: int, epochs: int) -> Experiment:
    """Declare one of many experiments: of one learning rate after the other, no two alike."""
    rates = (round(0.01 + 1e-6 * (number * TOGETHER + i), 6) for i in range(configs))
    settings = tuple(dataclasses.replace(DEFAULT, epochs=epochs, learning_rate=rate) for rate in rates)
    contrasts = (Contrast(settings[0], settings[-1]),) if configs > 1 else ()
    return Experiment(f"Growth {number}", "What does a large study cost?", settings, contrasts)


def _runs(store: Store, study: Path) -> Iterator[tuple[str, Record]]:
    """Experiment and record of one run after the other, without end; only the first ten have exemplars."""
    (record,) = train_records(_experiment(0, 1, EPOCHS).configs, SEEDS)
    for number in itertools.count():
        experiment = _experiment(number, TOGETHER, EPOCHS)
        with chdir(study):
            experiment_id = store.experiment(f"growth{number}", experiment.tags(SEEDS))
        for place, config in enumerate(experiment.configs):
            yield (
                experiment_id,
                dataclasses.replace(
                    record,
                    name=config.label(),
                    params={**config.to_params(), "seeds": str(SEEDS)},
                    tags={
                        "qwerties.code": code_digest(),
                        "qwerties.fingerprint": fingerprint(config, SEEDS, code_digest()),
                    },
                    children=record.children if number == 0 and place < 10 else [],
                ),
            )


def _copy(source: Path, target: Path) -> None:
    old, new = sqlite3.connect(source), sqlite3.connect(target)
    old.backup(new)
    old.close()
    new.close()


def _writes(copies: dict[int, Path], parts: Sequence[Record], settings: Settings) -> list[Row]:
    """Write the same runs into a copy of each size, in turns."""
    stores = {runs: Store(f"sqlite:///{path}") for runs, path in copies.items()}
    ids = {store: store.experiments()["growth0"][0] for store in stores.values()}

    def write(store: Store) -> None:
        for record in parts:
            store.write(ids[store], record)

    for store in stores.values():
        store.write(ids[store], parts[0])  # connects
    samples = interleave(
        {f"at {runs} runs": lambda store=store: write(store) for runs, store in stores.items()},  # type: ignore[misc]
        settings.repeats * TURNS,
    )
    work = f"{len(parts)} runs at a time, of {len(SEEDS)} networks and {EPOCHS} epochs, without exemplars, into a copy"
    return [
        Row(PART, "writing a run", name, work, "ms/run", *found.per(len(parts)))
        for name, found in samples.items()
    ]


def _report(study: Path, runs: int, repeats: int) -> Row:
    """Write the report by its command, in a process of its own."""
    command = [sys.executable, "-m", "qwerties", "report"]
    wall, cpu = [], []
    for _ in range(repeats):
        began, before = time.perf_counter(), _children_cpu()
        _call(command, study)
        wall.append(time.perf_counter() - began)
        cpu.append(_children_cpu() - before)
    work = f"`qwerties report` on {runs} runs of {len(SEEDS)} networks, once in a fresh process each time"
    return Row(PART, "the report", f"at {runs} runs", work, "s", tuple(wall), tuple(cpu))


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _call(command: Sequence[str], study: Path) -> str:
    """Run a command in a study's folder, on its own store; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, cwd=study, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FailedError(
            f"{' '.join(command[1:])} failed: {reason_of(done.stderr.strip().rpartition(chr(10))[2])}"
        )
    return done.stdout


# Sweeps of many networks

SOURCE = """
from benchmarks.growth import swept

experiment = swept({number}, {configs}, {epochs})
"""


def swept(number: int, configs: int, epochs: int) -> Experiment:
    """Declare an experiment of a sweep whose memory is measured."""
    return _experiment(number, configs, epochs)


def _memory(settings: Settings, folder: Path) -> list[Row]:
    rows = []
    for networks, epochs in QUICK_SWEPT if settings.quick else SWEPT:
        settings.tell(f"a sweep of {networks} networks")
        seeds = 4 if settings.quick else 500
        study = folder / f"swept-{networks}-{epochs}"
        configs = networks // seeds
        parts = [min(TOGETHER, configs - first) for first in range(0, configs, TOGETHER)]
        _make_study(
            study,
            {
                f"growth{number}": SOURCE.format(number=number, configs=part, epochs=epochs)
                for number, part in enumerate(parts)
            },
        )
        workers = settings.processes
        command = [sys.executable, "-m", "benchmarks.peak", "sweep", "--no-report"]
        began = time.perf_counter()
        told = json.loads(
            _call([*command, "--seeds", str(seeds), "--jobs", str(workers)], study).splitlines()[-1]
        )
        seconds = time.perf_counter() - began
        peak, note = _peak(told, workers)
        rows.append(
            Row(
                *(PART, "memory of a sweep", f"{networks} networks, {epochs} epochs"),
                f"`qwerties sweep`, {configs} configs on {seeds} seeds, {workers} workers; {seconds:.0f} s",
                "MiB",
                (peak,),
                note=note,
            )
        )
    return rows


def _peak(told: Mapping[str, float | None], workers: int) -> tuple[float, str]:
    """Make one figure of what `peak` tells, in MiB; returns it, and how it was measured."""
    own, child, together = told["own"] or 0.0, told["largest_child"] or 0.0, told["together"]
    alone = f"by themselves {own:.0f} where runs are written and {child:.0f} in the largest worker"
    if together is not None:
        return together, f"measured: PSS of all processes at once, a shared page counted once; {alone}"
    return own + workers * child, f"upper bound: a shared page counted for each process; {alone}"
