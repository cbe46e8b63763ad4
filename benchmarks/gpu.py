"""Part ``gpu``: networks trained by a GPU, beside the CPU's processes; and what a million of the notebook's take."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from benchmarks.measure import ONE_THREAD, Result, Row, Settings, Target, ratio, team
from benchmarks.training import Way, difference, measure_ways
from qwerties.config import Config
from qwerties.execution import devices
from qwerties.execution.workers import cores

CELLS, QUICK_CELLS = ((1, 16384), (8, 16384)), ((1, 16),)  # width and networks, of every way
MILLION, MAX_SECONDS = 10**6, 30  # for a million of the notebook's networks, by a GPU of a data centre


def measure(settings: Settings, folder: Path) -> Result:
    """Train in single-thread processes of the CPU, as many as there are cores, and in those that share the GPU."""
    cells = {
        f"{n} networks, width {width}": (width, n) for width, n in (QUICK_CELLS if settings.quick else CELLS)
    }
    if not torch.cuda.is_available():
        reason = "no CUDA device that PyTorch can use"
        return Result([Row(group, "GPU", skipped=reason) for group in cells], ())
    rows: list[Row] = []
    targets: list[Target] = []
    epochs = 110 if settings.quick else 2000
    gpu, cpu = torch.cuda.get_device_name(), f"CPU, {cores()} processes"
    with team(cores(), ONE_THREAD) as crew, team(min(cores(), devices.SHARERS), ONE_THREAD) as sharers:
        for group, (width, networks) in cells.items():
            settings.log(group)
            config = Config(hidden=(width,), epochs=epochs)
            ways = {cpu: Way("compiled", config, networks, crew), gpu: Way("gpu", config, networks, sharers)}
            rows += measure_ways(group, ways, settings.repeats)
            targets.append(Target(f"GPU against CPU: {group}", ratio(rows, group, cpu, gpu)))
        networks = 64 if settings.quick else MILLION
        group, config = f"{networks:,} networks of the notebook's, drawn and trained", Config(epochs=epochs)
        settings.log(group)
        began = time.perf_counter()
        losses = Way("gpu", config, networks, sharers).call()
        seconds = time.perf_counter() - began
    work = f"{epochs} epochs, once"
    rows.append(Row(group, gpu, work, "s", (seconds,), difference=difference(losses, config)))
    return Result(rows, [*targets, Target(group, seconds, most=MAX_SECONDS, unit="s")])
