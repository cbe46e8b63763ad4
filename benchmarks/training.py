"""Part ``training``: networks per second, by every way to train them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import baselines, handwritten_cpp, jaxed
from benchmarks.measure import (
    ONE_THREAD,
    Result,
    Row,
    Settings,
    Target,
    interleave,
    milliseconds,
    ratio,
    seconds_of,
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
class Way:
    """One of `baselines.WAYS` to train a config on the first seeds, each process of a team a part of them."""

    name: str
    config: Config
    networks: int
    team: list[ProcessPoolExecutor]
    library: Path | None = None
    set_up: float | None = None  # seconds of the first training, which compiled

    def call(self, function: Any = baselines.run) -> np.ndarray:
        """Call a function of `baselines` in all processes at once; return the losses of seed 0, (epochs,)."""
        stops = np.linspace(0, self.networks, len(self.team) + 1).astype(int).tolist()
        futures = [
            member.submit(function, self.name, baselines.Work(self.config, start, stop - start), self.library)
            for member, (start, stop) in zip(self.team, itertools.pairwise(stops), strict=True)
        ]
        first, *_ = [future.result() for future in futures]
        return first

    def warm_up(self) -> None:
        """Draw and compile, unless that was done; where it is worth telling, by a first training."""
        if self.name in baselines.INTERPRETED:
            self.call(baselines.prepare)
        elif self.set_up is None:
            self.set_up = seconds_of(self.call)


def measure(settings: Settings, folder: Path) -> Result:
    """Train in as many single-thread processes as there are cores (two at most), all ways in turns."""
    rows: list[Row] = []
    targets: list[Target] = []
    library, no_library = handwritten_cpp.build(folder)
    # cold, so that set-up is reported
    cache = {} if settings.quick else {"QWERTIES_KERNELS": str(folder / "kernels")}
    with (
        team(settings.processes, {**ONE_THREAD, **cache}) as singles,
        team(1, {**ONE_THREAD, "NPROC": str(settings.processes)}) as threaded,
    ):
        for hidden, networks, epochs in QUICK_CELLS if settings.quick else CELLS:
            group = f"{networks} networks, width {'x'.join(map(str, hidden))}"
            settings.log(group)
            way = partial(Way, config=Config(hidden=hidden, epochs=epochs), networks=networks)
            whole = Config(hidden=hidden, epochs=epochs if settings.quick else WHOLE)
            ways = {
                NOTEBOOK: Way("notebook", whole, (1 if settings.quick else 2) * len(singles), singles),
                EAGER: way("eager", team=singles),
                PLAIN: way("plain", team=singles),
                COMPILED: way("compiled", team=singles),
                ALONE: way("compiled", team=singles[:1]),
                DRAWING: way("drawing", team=singles),
            }
            skipped = {}
            if library is None or len(hidden) > 1:
                skipped[CPP] = no_library or "written for one hidden layer"
            else:
                ways[CPP] = way("c++", team=singles, library=library)
            if reason := jaxed.missing():
                skipped[JAX] = reason
            else:  # in one process with threads, or in several without
                teams = (singles, threaded)
                ways[JAX] = fastest([way(f"jax {form}", team=some) for form in jaxed.FORMS for some in teams])
            rows += measure_ways(group, ways, settings.repeats)
            rows += [Row(group, name, skipped=reason) for name, reason in skipped.items()]
            # bounds are for the notebook's width; how fast eager PyTorch is depends on the machine
            bounds = {(NOTEBOOK, COMPILED): 500.0, (JAX, COMPILED): 1.5} if hidden == (1,) else {}
            targets += [
                Target(
                    f"{fast} against {slow}: {group}",
                    ratio(rows, group, slow, fast),
                    bounds.get((slow, fast)),
                )
                for slow, fast in ((NOTEBOOK, COMPILED), (JAX, COMPILED), (NOTEBOOK, PLAIN), (CPP, COMPILED))
            ]
    return Result(rows, targets)


def fastest(ways: list[Way]) -> Way:
    """Return the fastest by one try each."""
    for way in ways:
        way.warm_up()
    seconds = interleave({str(i): way.call for i, way in enumerate(ways)}, 1)
    return ways[int(np.argmin(list(seconds.values())))]


def measure_ways(group: str, ways: Mapping[str, Way], repeats: int) -> list[Row]:
    """Train by each way, in turns, and compare the losses with those of the notebook's loop."""
    losses: dict[str, np.ndarray] = {}

    def train(name: str) -> None:
        losses[name] = ways[name].call()

    for way in ways.values():
        way.warm_up()
    seconds = interleave({name: partial(train, name) for name in ways}, repeats)
    return [
        Row(
            group,
            name,
            f"{way.networks:,} networks, {way.config.epochs} epochs, processes: {len(way.team)}",
            UNIT,
            milliseconds(seconds[name], way.networks * way.config.epochs / WHOLE),
            way.set_up,
            difference(losses[name], way.config),
        )
        for name, way in ways.items()
    ]


def difference(losses: np.ndarray, config: Config) -> float | None:
    """Return how far losses of seed 0, (epochs,), are from the notebook's loop's; None where there are none."""
    return float(np.abs(losses - train_reference(config, 0).losses.numpy()).max()) if len(losses) else None
