"""Part ``gpu``: networks trained by a GPU, beside the CPU's processes; and what a million of the notebook's take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.baselines import Done, Work, run
from benchmarks.measure import ONE_THREAD, Found, Row, Target, Team, interleave, ratio, team
from benchmarks.settings import Settings
from qwerties.config import Config
from qwerties.execution import devices
from qwerties.execution.workers import cores
from qwerties.training.reference import train_reference

PART = "gpu"
EPOCHS, QUICK_EPOCHS = 2000, 110
CELLS, QUICK_CELLS = ((1, 16384), (8, 16384)), ((1, 16),)
"""Width and networks, of every way."""

MILLION = 10**6
MAX_SECONDS = 30
"""For a million of the notebook's networks, by a GPU of a data centre."""

UNIT = "ms/network"


def measure(settings: Settings, folder: Path) -> Found:
    """Train in single-thread processes of the CPU, as many as there are cores, and in those that share the GPU."""
    if not torch.cuda.is_available():
        reason = "no CUDA device that PyTorch can use"
        return Found(tuple(Row(PART, _group(*cell), "GPU", "", UNIT, skipped=reason) for cell in CELLS), ())
    rows: list[Row] = []
    epochs = QUICK_EPOCHS if settings.quick else EPOCHS
    with team(cores(), ONE_THREAD) as crew, team(min(cores(), devices.SHARERS), ONE_THREAD) as sharers:
        for width, networks in QUICK_CELLS if settings.quick else CELLS:
            settings.tell(_group(width, networks))
            rows += _cell(Config(hidden=(width,), epochs=epochs), networks, crew, sharers, settings)
        targets = [
            Target(PART, f"GPU against CPU: {group}", ratio(rows, group, _cpu(crew), _gpu(sharers)))
            for group in dict.fromkeys(row.group for row in rows)
        ]
        million = 64 if settings.quick else MILLION
        settings.tell(f"{million} networks")
        rows.append(_whole(Config(epochs=epochs), million, sharers))
    seconds = rows[-1].value
    targets.append(Target(PART, rows[-1].group, seconds, most=MAX_SECONDS, unit="s"))
    return Found(tuple(rows), tuple(targets))


def _group(width: int, networks: int) -> str:
    return f"{networks} networks, width {width}"


def _cpu(crew: Team) -> str:
    return f"CPU, {_processes(crew)}"


def _gpu(sharers: Team) -> str:
    return f"{torch.cuda.get_device_name()}, {_processes(sharers)}"


def _processes(workers: Team) -> str:
    return "1 process" if len(workers) == 1 else f"{len(workers)} processes"


def _cell(config: Config, networks: int, crew: Team, sharers: Team, settings: Settings) -> list[Row]:
    """Train the same networks by both."""
    ways = {_cpu(crew): ("compiled", crew), _gpu(sharers): ("gpu", sharers)}
    done: dict[str, list[Done]] = {}
    set_up: dict[str, float] = {}

    def timed(name: str) -> Callable[[], float]:
        way, workers = ways[name]

        def go() -> float:
            done[name] = workers.call(run, _parts(way, config, networks, len(workers)))
            return sum(one.cpu for one in done[name])

        return go

    for name in ways:
        began = time.perf_counter()
        timed(name)()  # compiles
        set_up[name] = time.perf_counter() - began
    samples = interleave({name: timed(name) for name in ways}, settings.repeats)
    expected = train_reference(config, 0).losses.numpy()
    return [
        Row(
            *(PART, _group(config.hidden[0], networks), name),
            *(f"{networks} networks, {config.epochs} epochs", UNIT),
            *samples[name].per(networks),
            set_up=set_up[name],
            difference=float(np.abs(done[name][0].losses - expected).max()),
        )
        for name in ways
    ]


def _whole(config: Config, networks: int, sharers: Team) -> Row:
    """Train a great many, once; the GPU's processes have compiled already."""
    began = time.perf_counter()
    done = sharers.call(run, _parts("gpu", config, networks, len(sharers)))
    seconds = time.perf_counter() - began
    return Row(
        *(PART, f"{networks:,} networks of the notebook's, drawn and trained", _gpu(sharers)),
        *(f"{networks} networks, {config.epochs} epochs, once", "s"),
        wall=(seconds,),
        cpu=(sum(one.cpu for one in done),),
        difference=float(np.abs(done[0].losses - train_reference(config, 0).losses.numpy()).max()),
    )


def _parts(way: str, config: Config, networks: int, processes: int) -> list[tuple[str, Work]]:
    stops = np.linspace(0, networks, processes + 1).astype(int)
    return [(way, Work(config, first, stop - first)) for first, stop in itertools.pairwise(map(int, stops))]
