"""Part ``sweep``, on request alone: the default sweep, cold and warm, in the notebook's own currency."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.growth import run_command
from benchmarks.measure import Result, Row, Settings, Target, ratio, seconds_of
from qwerties.config import Config
from qwerties.training.reference import train_reference

GROUP = "the default sweep"
COLD, WARM, LOOP = "no kernel compiled", "kernels compiled", "a notebook network"
MAX_COLD, MAX_WARM = 150, 110  # notebook networks that could be trained meanwhile


def measure(settings: Settings, folder: Path) -> Result:
    """Sweep all experiments into an empty store, twice, and train by the notebook's loop before, between and after."""
    options = ["notebook", "--seeds", "4", "--no-report", "--jobs", "1"] if settings.quick else []
    config, networks = Config(epochs=110 if settings.quick else 2000), 1 if settings.quick else 5
    loop: list[float] = []
    rows = []
    cache = {"QWERTIES_KERNELS": str(folder / "kernels"), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    for name in ("", COLD, WARM):
        if name:
            settings.log(f"{GROUP}, {name}")
            study = folder / name.split()[0]
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(settings.root / "experiments", study / "experiments", ignore=ignored)
            shutil.copy(settings.root / "pyproject.toml", study)
            command = [sys.executable, "-m", "qwerties", "sweep", *options]
            seconds = seconds_of(partial(run_command, command, study, {**os.environ, **cache}))
            work = f"`{' '.join(('qwerties sweep', *options))}`, empty store"
            rows.append(Row(GROUP, name, work, "s", (seconds,)))
        loop += [seconds_of(partial(train_reference, config, seed)) for seed in range(networks)]
    work = f"1 network, {config.epochs} epochs, 1 thread; before, between and after"
    rows.insert(0, Row(GROUP, LOOP, work, "s", tuple(loop)))
    bounds = {COLD: MAX_COLD, WARM: MAX_WARM}
    return Result(
        rows,
        [
            Target(f"{GROUP}, {name}, in notebook networks", ratio(rows, GROUP, name, LOOP), most=most)
            for name, most in bounds.items()
        ],
    )
