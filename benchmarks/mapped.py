"""Part ``map``: what a pixel of ``qwerties map`` costs, and what the default map would take."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import torch

from benchmarks.measure import Found, Row, Target, interleave, ratio
from benchmarks.peak import spent
from benchmarks.settings import Settings
from qwerties.cli.main import build_parser
from qwerties.cli.map import SIZE as WHOLE
from qwerties.cli.map import spec_of
from qwerties.maps.make import train_map
from qwerties.maps.spec import MapSpec
from qwerties.training.reference import train_reference

PART = "map"
LOOP, OURS = "the notebook's loop", "ours"

SIZE, QUICK_SIZE = 32, 4
"""Pixels a side; 32 makes 8 whole blocks, which two processes share evenly."""


def measure(settings: Settings, folder: Path) -> Found:
    """Train a small map with the default axes and panels, and the networks of a few of its pixels by the loop."""
    epochs = 110 if settings.quick else 2000
    size = QUICK_SIZE if settings.quick else SIZE
    spec = default_map(size, epochs)
    numbers = itertools.count()

    def ours(spec: MapSpec = spec) -> float:
        before, own = _spent(), time.process_time()
        train_map(spec, folder / f"blocks{next(numbers)}", workers=settings.processes)
        return max(0.0, _spent() - before - (time.process_time() - own))

    middle = [(i, j, size // 2, size // 2) for i, j, _ in spec.panels]

    def loop() -> None:
        for place in middle:
            for seed in range(spec.seeds):
                train_reference(spec.config(place), seed)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.perf_counter()
    ours(default_map(size // 2, epochs))  # starts the processes and compiles
    set_up = time.perf_counter() - began
    samples = interleave({LOOP: loop, OURS: ours}, settings.repeats)
    torch.set_num_threads(threads)
    panels, each = len(middle), f"{spec.seeds} networks a pixel, {epochs} epochs"
    group = f"a map of {size}×{size} pixels, {panels} panels"
    kind = "process" if settings.processes == 1 else "processes"
    rows = (
        Row(
            *(PART, group, LOOP, f"{panels} pixels, one of each panel, {each}, 1 process", "ms/pixel"),
            *samples[LOOP].per(panels),
        ),
        Row(
            *(PART, group, OURS, f"{spec.pixels} pixels, {each}, {settings.processes} {kind}", "ms/pixel"),
            *samples[OURS].per(spec.pixels),
            set_up=set_up,
            note="trained, scored, blocks kept; without the run and its pictures",
        ),
    )
    whole = default_map(WHOLE, epochs)
    estimate = Target(
        PART,
        f"a map of {WHOLE}×{WHOLE} pixels, {panels} panels, {whole.networks:,} networks, estimated from that",
        rows[1].value * whole.pixels / 1000,
        unit="s",
    )
    return Found(rows, (Target(PART, f"{OURS} against {LOOP}", ratio(rows, group, LOOP, OURS)), estimate))


def default_map(size: int, epochs: int) -> MapSpec:
    """The plan of ``qwerties map --size ... --epochs ...``."""
    return spec_of(build_parser().parse_args(["map", "--size", str(size), "--epochs", str(epochs)]))


def _spent() -> float:
    return spent(os.getpid()) or 0.0
