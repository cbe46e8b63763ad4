"""Measurements: interleaved repeats, what they are of, and what they are held to."""

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
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Row:
    """One way to do a piece of work, measured.

    Attributes
    ----------
    part, group, name : str
        Rows of one group are ways to the same work.
    work : str
        What one repeat did, in full: networks, epochs, processes.
    unit : str
        Of the values, such as ``ms/network``.
    wall, cpu : tuple of float
        Of each repeat, in that unit; CPU is that of all processes, where it is known.
    set_up : float, optional
        Seconds of what was done once before, and is not in the values: compiling, above all.
    difference : float, optional
        Largest difference between a loss that it gave and the notebook's loop's.
    note : str
        What else there is to say.
    skipped : str
        Why there are no values.
    """

    part: str
    group: str
    name: str
    work: str
    unit: str
    wall: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    set_up: float | None = None
    difference: float | None = None
    note: str = ""
    skipped: str = ""

    @property
    def value(self) -> float:
        """Median of the repeats; NaN where skipped."""
        return statistics.median(self.wall) if self.wall else float("nan")


@dataclass(frozen=True)
class Target:
    """A ratio or figure that is held to a bound.

    Attributes
    ----------
    claim : str
        What is compared with what.
    value : float
        NaN where one side was skipped.
    least, most : float, optional
        Bound; without either the figure is only told.
    unit : str
        ``×`` for a ratio.
    """

    part: str
    claim: str
    value: float
    least: float | None = None
    most: float | None = None
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        """Whether it is within its bound; None where there is none, or nothing was measured."""
        if self.value != self.value or (self.least is None and self.most is None):
            return None
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )


@dataclass(frozen=True)
class Found:
    """What a part found: its rows, and what they are held to."""

    rows: tuple[Row, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Samples:
    """Seconds of each repeat."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def per(self, units: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Milliseconds per unit, wall and CPU, as :class:`Row` takes them."""
        wall = tuple(1000 * seconds / units for seconds in self.wall)
        return wall, tuple(1000 * seconds / units for seconds in self.cpu)


def interleave(ways: Mapping[str, Callable[[], float | None]], repeats: int) -> dict[str, Samples]:
    """Time several ways to the same work in turns, so that a busy minute meets all of them.

    Every other round goes backwards (A B C C B A ...), as what one way leaves behind may cost the next one.

    Parameters
    ----------
    ways : mapping of name to callable
        Returns the CPU seconds that other processes spent for it, if any did.
    repeats : int

    Returns
    -------
    dict of Samples
    """
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            began, began_cpu = time.perf_counter(), time.process_time()
            elsewhere = way() or 0.0
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - began_cpu + elsewhere)
    return {name: Samples(tuple(wall[name]), tuple(cpu[name])) for name in ways}


def ratio(rows: Sequence[Row], group: str, slow: str, fast: str) -> float:
    """How many times the median of one row is that of another; NaN where either is missing."""
    found = {row.name: row.value for row in rows if row.group == group}
    return found.get(slow, float("nan")) / found.get(fast, float("nan"))


# Worker processes


ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NPROC": "1"}
"""Settings of the libraries in a worker: one thread, as a sweep's workers have (NPROC is XLA's)."""


class Team:
    """Worker processes that keep what they have compiled, each of which gets its own part of the work."""

    def __init__(self, members: Sequence[ProcessPoolExecutor]) -> None:
        self.members = members

    def __len__(self) -> int:
        """Processes."""
        return len(self.members)

    def call(self, function: Callable[..., Any], parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a function in as many processes as there are parts, at once; returns what came of each part."""
        futures = [member.submit(function, *part) for member, part in zip(self.members, parts, strict=False)]
        return [future.result() for future in futures]


def _end_silently() -> None:
    """Die of a Ctrl-C, as the one that waits tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def team(processes: int, environment: Mapping[str, str]) -> Iterator[Team]:
    """Start worker processes under these settings, and end them."""
    members = [
        ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_silently)
        for _ in range(processes)
    ]
    try:
        with patch.dict(os.environ, environment):
            for future in [member.submit(os.getpid) for member in members]:
                future.result()
        yield Team(members)
    finally:
        for member in members:
            member.shutdown(cancel_futures=True)
