"""Part ``training``: networks per second, by every way to train them."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import jaxed
from benchmarks.baselines import Work, prepare, run
from benchmarks.handwritten_cpp import build
from benchmarks.measure import (
    ONE_THREAD,
    Result,
    Row,
    Settings,
    Target,
    Team,
    interleave,
    milliseconds,
    ratio,
    team,
)
from qwerties.config import Config
from qwerties.training.reference import train_reference

WHOLE = (
    2000  # epochs of a network; values of shorter trainings are scaled to it, and the row says what was run
)

# Hidden layers, networks and epochs of all ways but the notebook's loop, which trains few networks for 2000 epochs
CELLS = (
    *(((1,), networks, epochs) for networks, epochs in ((64, 2000), (1024, 2000), (16_384, 110))),
    *(((8,), networks, epochs) for networks, epochs in ((64, 2000), (1024, 400), (16_384, 40))),
    ((32, 32), 1024, 40),
)
QUICK_CELLS = (((1,), 16, 110),)

NOTEBOOK, EAGER, PLAIN = "the notebook's loop", "eager `vmap`", "ours, without a compiler"
COMPILED, ALONE, JAX, CPP = "ours, compiled", "ours, compiled, 1 process", "JAX, its best", "C++ by hand"
DRAWING = "drawing, within ours alone"
UNIT = f"ms/network of {WHOLE} epochs"


@dataclasses.dataclass
class _Way:
    """One way with its parts, one for each process; ``losses`` are those of the last call."""

    name: str
    config: Config
    networks: int
    workers: Team
    library: Path | None
    processes: int
    set_up: float | None = None
    losses: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))

    @property
    def parts(self) -> list[tuple[str, Work, Path | None]]:
        stops = np.linspace(0, self.networks, self.processes + 1).astype(int).tolist()
        return [
            (self.name, Work(self.config, first, stop - first), self.library)
            for first, stop in itertools.pairwise(stops)
        ]

    def call(self) -> None:
        self.losses = self.workers.call(run, self.parts)[0]

    def warm_up(self) -> None:
        """Draw and compile; where that is worth telling, by a first training."""
        if self.name in ("compiled", "c++") or self.name.startswith("jax"):
            began = time.perf_counter()
            self.call()
            self.set_up = time.perf_counter() - began
        else:
            self.workers.call(prepare, self.parts)


def measure(settings: Settings, folder: Path) -> Result:
    """Train in as many single-thread processes as there are cores (two at most), all ways in turns."""
    rows: list[Row] = []
    targets: list[Target] = []
    library, no_library = build(folder)
    cache = (
        {} if settings.quick else {"QWERTIES_KERNELS": str(folder / "kernels")}
    )  # cold: set-up is reported
    with (
        team(settings.processes, {**ONE_THREAD, **cache}) as singles,
        team(1, {**ONE_THREAD, "NPROC": str(settings.processes)}) as threaded,
    ):
        for hidden, networks, epochs in QUICK_CELLS if settings.quick else CELLS:
            group = f"{networks} networks, width {'x'.join(map(str, hidden))}"
            settings.log(group)
            config = Config(hidden=hidden, epochs=epochs)
            some = _cell(group, config, networks, settings, singles, threaded, library, no_library)
            rows += some
            targets += _targets(some, group, is_bound=hidden == (1,))
    return Result(rows, targets)


def _targets(rows: list[Row], group: str, is_bound: bool) -> list[Target]:
    """Compare; bounds are for the notebook's width, elsewhere the ratio is only reported."""
    pairs = (
        (NOTEBOOK, COMPILED, 500.0),
        (JAX, COMPILED, 1.5),
        (NOTEBOOK, PLAIN, 80.0),
        (CPP, COMPILED, None),
    )
    return [
        Target(f"{fast} against {slow}: {group}", ratio(rows, group, slow, fast), least if is_bound else None)
        for slow, fast, least in pairs
    ]


def _cell(
    group: str,
    config: Config,
    networks: int,
    settings: Settings,
    singles: Team,
    threaded: Team,
    library: Path | None,
    no_library: str,
) -> list[Row]:
    """Train one shape and number of networks by all ways."""

    def way(name: str, workers: Team = singles, processes: int | None = None) -> _Way:
        return _Way(name, config, networks, workers, library, processes or len(workers))

    loop = dataclasses.replace(config, epochs=110 if settings.quick else WHOLE)
    few = (1 if settings.quick else 2) * len(singles)
    ways = {
        NOTEBOOK: _Way("notebook", loop, few, singles, None, len(singles)),
        EAGER: way("eager"),
        PLAIN: way("plain"),
        COMPILED: way("compiled"),
        ALONE: way("compiled", processes=1),
        DRAWING: way("drawing"),
    }
    skipped = {}
    if library is None or len(config.hidden) > 1:
        skipped[CPP] = no_library or "written for one hidden layer"
    else:
        ways[CPP] = way("c++")
    if reason := jaxed.missing():
        skipped[JAX] = reason
    else:
        ways[JAX] = _fastest([way(f"jax {form}", w) for form in jaxed.FORMS for w in (singles, threaded)])
    for each in ways.values():
        each.warm_up()
    calls: dict[str, Callable[[], None]] = {name: each.call for name, each in ways.items()}
    seconds = interleave(calls, settings.repeats)
    rows = [_row(group, name, each, seconds[name]) for name, each in ways.items()]
    return rows + [Row(group, name, skipped=reason) for name, reason in skipped.items()]


def _fastest(ways: list[_Way]) -> _Way:
    """Return the fastest by one try each: JAX in one process with threads, or in several without."""
    seconds = []
    for way in ways:
        way.warm_up()
        began = time.perf_counter()
        way.call()
        seconds.append(time.perf_counter() - began)
    return ways[int(np.argmin(seconds))]


def _row(group: str, name: str, way: _Way, seconds: tuple[float, ...]) -> Row:
    kind = "process" if way.processes == 1 else "processes"
    difference = None
    if len(way.losses):
        difference = float(np.abs(way.losses - train_reference(way.config, 0).losses.numpy()).max())
    return Row(
        group,
        name,
        f"{way.networks} networks, {way.config.epochs} epochs, {way.processes} {kind}",
        UNIT,
        milliseconds(seconds, way.networks * way.config.epochs / WHOLE),
        way.set_up,
        difference,
    )
