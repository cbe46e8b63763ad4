"""Part ``gpu``: networks trained by a GPU, beside the CPU's processes; and what a million of the notebook's take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.baselines import Work, run
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
from qwerties.execution import devices
from qwerties.execution.workers import cores
from qwerties.training.reference import train_reference

CELLS, QUICK_CELLS = ((1, 16384), (8, 16384)), ((1, 16),)  # width and networks, of every way
MILLION, MAX_SECONDS = 10**6, 30  # for a million of the notebook's networks, by a GPU of a data centre


def measure(settings: Settings, folder: Path) -> Result:
    """Train in single-thread processes of the CPU, as many as there are cores, and in those that share the GPU."""
    cells = QUICK_CELLS if settings.quick else CELLS
    if not torch.cuda.is_available():
        reason = "no CUDA device that PyTorch can use"
        return Result([Row(_group(*cell), "GPU", skipped=reason) for cell in cells], ())
    rows: list[Row] = []
    targets: list[Target] = []
    epochs = 110 if settings.quick else 2000
    gpu = torch.cuda.get_device_name()
    with team(cores(), ONE_THREAD) as crew, team(min(cores(), devices.SHARERS), ONE_THREAD) as sharers:
        for width, networks in cells:
            group = _group(width, networks)
            settings.log(group)
            config = Config(hidden=(width,), epochs=epochs)
            ways = {f"CPU, {len(crew)} processes": ("compiled", crew), gpu: ("gpu", sharers)}
            some = _measure(group, config, networks, ways, settings.repeats)
            rows += some
            targets.append(Target(f"GPU against CPU: {group}", ratio(some, group, *ways)))
        networks = 64 if settings.quick else MILLION
        settings.log(f"{networks} networks")
        began = time.perf_counter()
        losses = sharers.call(run, _parts("gpu", Config(epochs=epochs), networks, len(sharers)))[0]
        seconds = time.perf_counter() - began
    group = f"{networks:,} networks of the notebook's, drawn and trained"
    difference = _difference(losses, Config(epochs=epochs))
    rows.append(Row(group, gpu, f"{epochs} epochs, once", "s", (seconds,), difference=difference))
    return Result(rows, [*targets, Target(group, seconds, most=MAX_SECONDS, unit="s")])


def _group(width: int, networks: int) -> str:
    return f"{networks} networks, width {width}"


def _measure(
    group: str, config: Config, networks: int, ways: dict[str, tuple[str, Team]], repeats: int
) -> list[Row]:
    """Train the same networks by each way."""
    losses: dict[str, np.ndarray] = {}
    set_up: dict[str, float] = {}

    def call(name: str) -> Callable[[], None]:
        way, workers = ways[name]
        parts = _parts(way, config, networks, len(workers))
        return lambda: losses.update({name: workers.call(run, parts)[0]})

    for name in ways:
        began = time.perf_counter()
        call(name)()  # compiles
        set_up[name] = time.perf_counter() - began
    seconds = interleave({name: call(name) for name in ways}, repeats)
    work = f"{networks} networks, {config.epochs} epochs"
    return [
        Row(
            group,
            name,
            work,
            "ms/network",
            milliseconds(seconds[name], networks),
            set_up[name],
            _difference(losses[name], config),
        )
        for name in ways
    ]


def _difference(losses: np.ndarray, config: Config) -> float:
    return float(np.abs(losses - train_reference(config, 0).losses.numpy()).max())


def _parts(way: str, config: Config, networks: int, processes: int) -> list[tuple[str, Work]]:
    stops = np.linspace(0, networks, processes + 1).astype(int).tolist()
    return [(way, Work(config, first, stop - first)) for first, stop in itertools.pairwise(stops)]
