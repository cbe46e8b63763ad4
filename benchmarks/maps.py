"""Part ``map``: what a pixel of ``qwerties map`` costs, and what the default map would take."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

from benchmarks.measure import Result, Row, Settings, Target, interleave, milliseconds, ratio, seconds_of
from qwerties.cli.main import build_parser
from qwerties.cli.map import SIZE as WHOLE
from qwerties.cli.map import spec_of
from qwerties.maps.make import train_map
from qwerties.maps.spec import MapSpec
from qwerties.training.reference import train_reference

LOOP, OURS = "the notebook's loop", "ours"
SIZE, QUICK_SIZE = 32, 4  # pixels a side; 32 makes 8 whole blocks, which two processes share evenly


def measure(settings: Settings, folder: Path) -> Result:
    """Train a small map with the default axes and panels, and the networks of a few of its pixels by the loop."""
    epochs = 110 if settings.quick else 2000
    size = QUICK_SIZE if settings.quick else SIZE
    spec, numbers = default_map(size, epochs), itertools.count()
    middle = [(i, j, size // 2, size // 2) for i, j, _ in spec.panels]

    def ours(spec: MapSpec = spec) -> None:
        train_map(spec, folder / f"blocks{next(numbers)}", workers=settings.processes)

    def loop() -> None:
        for pixel in middle:
            for seed in range(spec.seeds):
                train_reference(spec.config(pixel), seed)

    set_up = seconds_of(partial(ours, default_map(size // 2, epochs)))  # starts the processes and compiles
    seconds = interleave({LOOP: loop, OURS: ours}, settings.repeats)
    panels, each = len(middle), f"{spec.seeds} networks a pixel, {epochs} epochs"
    group = f"a map of {size}×{size} pixels, {panels} panels"
    work = f"{spec.pixels} pixels, {each}, {settings.processes} processes; without the run and its pictures"
    rows = (
        Row(group, LOOP, f"{panels} pixels, {each}", "ms/pixel", milliseconds(seconds[LOOP], panels)),
        Row(group, OURS, work, "ms/pixel", milliseconds(seconds[OURS], spec.pixels), set_up),
    )
    whole = default_map(WHOLE, epochs)
    claim = (
        f"a map of {WHOLE}×{WHOLE} pixels, {panels} panels, {whole.networks:,} networks, estimated from that"
    )
    estimate = Target(claim, rows[1].median * whole.pixels / 1000, unit="s")
    return Result(rows, (Target(f"{OURS} against {LOOP}", ratio(rows, group, LOOP, OURS)), estimate))


def default_map(size: int, epochs: int) -> MapSpec:
    """Return the plan of ``qwerties map --size ... --epochs ...``."""
    return spec_of(build_parser().parse_args(["map", "--size", str(size), "--epochs", str(epochs)]))
