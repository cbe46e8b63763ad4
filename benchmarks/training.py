"""Part ``training``: networks per second, by every way there is to train them."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import jaxed
from benchmarks.baselines import Done, Work, prepare, run
from benchmarks.handwritten_cpp import build
from benchmarks.measure import ONE_THREAD, Found, Row, Target, Team, interleave, ratio, team
from benchmarks.settings import Settings
from qwerties.config import Config
from qwerties.training.reference import train_reference

PART = "training"
WHOLE = 2000
"""Epochs of a network; values of shorter trainings are scaled to it, and the row says what was run."""

# Hidden layers, networks and epochs; all in a cell train that many epochs, but for the notebook's loop with its 2000
CELLS = (
    *(((1,), 64, 2000), ((1,), 1024, 2000), ((1,), 16384, 110)),
    *(((8,), 64, 400), ((8,), 1024, 400), ((8,), 16384, 110)),
    ((32, 32), 1024, 20),
)
QUICK_CELLS = (((1,), 16, 110),)

NOTEBOOK, EAGER, PLAIN = "the notebook's loop", "eager `vmap`", "ours, without a compiler"
DRAWING = "drawing, within ours alone"
COMPILED, ALONE, JAX, FLOOR = "ours, compiled", "ours, compiled, 1 process", "JAX, its best", "C++ by hand"

UNIT = f"ms/network of {WHOLE} epochs"


def measure(settings: Settings, folder: Path) -> Found:
    """Train in as many single-thread processes as there are cores (two at most), all ways in turns."""
    rows: list[Row] = []
    targets: list[Target] = []
    library, no_floor = build(folder)
    cache = {} if settings.quick else {"QWERTIES_KERNELS": str(folder / "kernels")}  # cold: it is told
    with (
        team(settings.processes, {**ONE_THREAD, **cache}) as singles,
        team(1, {**ONE_THREAD, "NPROC": str(settings.processes)}) as threaded,
    ):
        for hidden, networks, epochs in QUICK_CELLS if settings.quick else CELLS:
            cell = _Cell(hidden, networks, epochs, settings, singles, threaded, library, no_floor)
            settings.tell(cell.group)
            found = cell.measure()
            rows += found
            targets += _targets(found, cell)
    return Found(tuple(rows), tuple(targets))


def _targets(rows: list[Row], cell: _Cell) -> list[Target]:
    """Bounds are for the notebook's width and 1024 networks or more; elsewhere the ratio is only told."""

    def times(slow: str, fast: str, least: float | None = None) -> Target:
        bound = least if cell.networks >= 1024 and cell.hidden == (1,) else None
        return Target(
            PART, f"{fast} against {slow}: {cell.group}", ratio(rows, cell.group, slow, fast), bound
        )

    distance = Target(
        PART, f"{COMPILED}, time over that of {FLOOR}: {cell.group}", ratio(rows, cell.group, COMPILED, FLOOR)
    )
    return [times(NOTEBOOK, COMPILED, 500), times(JAX, COMPILED, 1.5), times(NOTEBOOK, PLAIN, 80), distance]


@dataclasses.dataclass
class _Way:
    """One row on its way."""

    work: str
    calls: Callable[[], list]
    units: float
    parts: list[tuple]
    config: Config
    workers: Team
    set_up: float | None = None
    done: list[Done] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Cell:
    """One shape and number of networks."""

    hidden: tuple[int, ...]
    networks: int
    epochs: int
    settings: Settings
    singles: Team
    threaded: Team
    library: Path | None
    no_floor: str

    @property
    def group(self) -> str:
        return f"{self.networks} networks, width {'x'.join(map(str, self.hidden))}"

    @property
    def config(self) -> Config:
        return Config(hidden=self.hidden, epochs=self.epochs)

    def measure(self) -> list[Row]:
        loop = dataclasses.replace(self.config, epochs=110 if self.settings.quick else WHOLE)
        each = 1 if self.settings.quick else 2
        ways = {
            NOTEBOOK: self._way("notebook", self.singles, each * len(self.singles), loop),
            EAGER: self._way("eager", self.singles),
            PLAIN: self._way("plain", self.singles),
            COMPILED: self._way("compiled", self.singles),
            ALONE: self._way("compiled", self.singles, processes=1),
            DRAWING: self._way("drawing", self.singles),
        }
        skipped = {}
        if self.library is None or len(self.hidden) > 1:
            skipped[FLOOR] = self.no_floor or "written for one hidden layer"
        else:
            ways[FLOOR] = self._way("floor", self.singles)
        note = ""
        if reason := jaxed.missing():
            skipped[JAX] = reason
        else:
            ways[JAX], note = self._best_of_jax()
        for name, way in ways.items():
            if name in (COMPILED, ALONE, FLOOR):
                self._warm_up(way)
            elif name != JAX:
                way.workers.call(prepare, way.parts)
        samples = interleave({name: _timed(way) for name, way in ways.items()}, self.settings.repeats)
        references: dict[Config, np.ndarray] = {}
        rows = [
            Row(
                *(PART, self.group, name, way.work, UNIT),
                *samples[name].per(way.units),
                set_up=way.set_up,
                difference=_difference(way, references),
                note=note if name == JAX else "",
            )
            for name, way in ways.items()
        ]
        return rows + [
            Row(PART, self.group, name, "", UNIT, skipped=reason) for name, reason in skipped.items()
        ]

    def _way(
        self,
        way: str,
        workers: Team,
        networks: int | None = None,
        config: Config | None = None,
        processes: int | None = None,
    ) -> _Way:
        config, networks = config or self.config, networks or self.networks
        processes = processes or len(workers)
        stops = np.linspace(0, networks, processes + 1).astype(int)
        parts = [
            (way, Work(config, first, stop - first), self.library)
            for first, stop in itertools.pairwise(map(int, stops))
        ]
        kind = "process" if processes == 1 else "processes"
        return _Way(
            f"{networks} networks, {config.epochs} epochs, {processes} {kind}",
            lambda: workers.call(run, parts),
            networks * config.epochs / WHOLE,
            parts,
            config,
            workers,
        )

    def _warm_up(self, way: _Way) -> None:
        """Draw, compile and train once, and tell how long that took."""
        began = time.perf_counter()
        way.calls()
        way.set_up = time.perf_counter() - began

    def _best_of_jax(self) -> tuple[_Way, str]:
        """The faster of all forms, in processes of one thread or in one of several, by one try each."""
        tries: dict[str, tuple[float, _Way]] = {}
        for form in jaxed.FORMS:
            for kind, workers in (("single-thread processes", self.singles), ("threads", self.threaded)):
                way = self._way(f"jax {form}", workers)
                self._warm_up(way)
                began = time.perf_counter()
                way.calls()
                tries[f"{form}, {kind}"] = time.perf_counter() - began, way
        best = min(tries, key=lambda name: tries[name][0])
        told = "; ".join(f"{name} {seconds:.2f} s" for name, (seconds, _) in tries.items())
        return tries[best][1], f"best of one try each: {told}"


def _timed(way: _Way) -> Callable[[], float]:
    """What is measured: the CPU of all processes; their losses are looked at outside."""

    def go() -> float:
        way.done = way.calls()
        return sum(done.cpu for done in way.done)

    return go


def _difference(way: _Way, references: dict[Config, np.ndarray]) -> float | None:
    """Largest difference of the first network's losses from the notebook's loop."""
    losses = way.done[0].losses
    if not len(losses):
        return None
    if way.config not in references:
        references[way.config] = train_reference(way.config, 0).losses.numpy()
    return float(np.abs(losses - references[way.config]).max())
