"""Part ``sweep``, on request alone: the default sweep, cold and warm, in the notebook's own currency."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import Found, Row, Target, ratio
from benchmarks.settings import Settings
from qwerties.config import Config
from qwerties.errors import FailedError, reason_of
from qwerties.training.reference import train_reference

PART, GROUP = "sweep", "the default sweep"
COLD, WARM, LOOP = "cold cache of compiled steps", "warm cache", "a notebook network"
MAX_COLD, MAX_WARM = 150, 110
"""Notebook networks that could be trained meanwhile."""


def measure(settings: Settings, folder: Path) -> Found:
    """Sweep all experiments into an empty store, twice, and train by the notebook's loop before, between and after."""
    epochs = 110 if settings.quick else 2000
    options = ["notebook", "--seeds", "4"] if settings.quick else []
    loop: list[float] = []
    loop_cpu: list[float] = []
    taken: dict[str, tuple[float, float]] = {}
    _train(epochs, 1 if settings.quick else 5, loop, loop_cpu)
    for name in (COLD, WARM):
        settings.tell(f"the default sweep, {name}")
        study = folder / ("cold" if name == COLD else "warm")
        shutil.copytree(
            settings.root / "experiments", study / "experiments", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(settings.root / "pyproject.toml", study)
        taken[name] = _sweep(study, folder / "inductor", options)
        _train(epochs, 1 if settings.quick else 5, loop, loop_cpu)
    work = f"`{' '.join(('qwerties sweep', *options))}` with its report, empty store"
    turns = f"1 network, {epochs} epochs, 1 thread; before, between and after"
    rows = [
        Row(PART, GROUP, LOOP, turns, "s", tuple(loop), tuple(loop_cpu)),
        *(Row(PART, GROUP, name, work, "s", (wall,), (cpu,)) for name, (wall, cpu) in taken.items()),
    ]
    targets = tuple(
        Target(PART, f"{GROUP}, {name}, in notebook networks", ratio(rows, GROUP, name, LOOP), most=most)
        for name, most in ((COLD, MAX_COLD), (WARM, MAX_WARM))
    )
    return Found(tuple(rows), targets)


def _train(epochs: int, networks: int, wall: list[float], cpu: list[float]) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for seed in range(networks):
        began, began_cpu = time.perf_counter(), time.process_time()
        train_reference(Config(epochs=epochs), seed)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    torch.set_num_threads(threads)


def _sweep(study: Path, cache: Path, options: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of the command."""
    left_out = ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"QWERTIES_KERNELS": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "qwerties", "sweep", *options],
        cwd=study,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode != 0:
        raise FailedError(f"qwerties sweep failed: {reason_of(done.stderr.strip().rpartition(chr(10))[2])}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent
