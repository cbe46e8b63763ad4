"""Measurements: interleaved repeats, rows of results, the bounds they are held to, and worker processes."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

# One thread in a worker, as in a sweep's workers (NPROC is XLA's)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NPROC": "1"}


@dataclass(frozen=True)
class Settings:
    """How much to measure."""

    root: Path
    repeats: int  # of each way
    quick: bool  # whether sizes are small
    processes: int  # of one thread each
    log: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Row:
    """One way to do a piece of work, measured."""

    group: str  # rows of one group are ways to the same work
    name: str
    work: str = ""  # what one repeat did: networks, epochs, processes
    unit: str = ""  # of the values, such as ``ms/network``
    values: tuple[float, ...] = ()  # wall time of each repeat
    set_up: float | None = None  # seconds of what was done once before, compiling above all
    difference: float | None = None  # largest one of its losses from the notebook's loop's
    skipped: str = ""  # why there are no values

    @property
    def median(self) -> float:
        """Median of the repeats; NaN where skipped."""
        return statistics.median(self.values) if self.values else float("nan")


@dataclass(frozen=True)
class Target:
    """A ratio (``×``) or figure, NaN if not measured, and its bound, if it has one."""

    claim: str
    value: float
    least: float | None = None
    most: float | None = None
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        """Whether it is within its bound; None if there is none, or nothing was measured."""
        if self.value != self.value or (self.least is None and self.most is None):
            return None
        return (self.least or 0) <= self.value <= (self.most or float("inf"))


@dataclass(frozen=True)
class Result:
    """What a part measured."""

    rows: Sequence[Row]
    targets: Sequence[Target]


def seconds_of(way: Callable[[], Any]) -> float:
    """Return the seconds that a way to do something takes, or those that it has measured itself: a float."""
    began = time.perf_counter()
    own = way()
    return own if isinstance(own, float) else time.perf_counter() - began


def interleave(
    ways: Mapping[str, Callable[[], Any]], repeats: int, once: Sequence[str] = ()
) -> dict[str, tuple[float, ...]]:
    """Time several ways to the same work in turns, so that a busy minute meets all of them.

    Every other round goes backwards (A B C C B A ...), as what one way leaves behind may cost the next one. Ways that
    take long are measured ``once``, in the first round. Return the seconds of each repeat.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            if turn == 0 or name not in once:
                seconds[name].append(seconds_of(way))
    return {name: tuple(values) for name, values in seconds.items()}


def milliseconds(seconds: Sequence[float], units: float) -> tuple[float, ...]:
    """Return milliseconds per unit of work."""
    return tuple(1000 * value / units for value in seconds)


def ratio(rows: Sequence[Row], group: str, slow: str, fast: str) -> float:
    """Return how many times the median of one row is that of another; NaN if either is missing."""
    medians = {row.name: row.median for row in rows if row.group == group}
    return medians.get(slow, float("nan")) / medians.get(fast, float("nan"))


def make_project(folder: Path, sources: Mapping[str, str]) -> Path:
    """Make a project with nothing tracked, whose experiments are given by their names."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.qwerties]\n")
    for name, source in sources.items():
        (folder / "experiments" / f"{name}.py").write_text(source)
    return folder


@contextmanager
def team(processes: int, environment: Mapping[str, str]) -> Iterator[list[ProcessPoolExecutor]]:
    """Start pools of one worker process each under these settings: each keeps what it has drawn and compiled."""
    members = [
        ProcessPoolExecutor(1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_DFL))
        for _ in range(processes)
    ]  # a Ctrl-C ends them silently: the waiting process reports it
    try:
        with patch.dict(os.environ, environment):
            for started in [member.submit(os.getpid) for member in members]:
                started.result()
        yield members
    finally:
        for member in members:
            member.shutdown(cancel_futures=True)
