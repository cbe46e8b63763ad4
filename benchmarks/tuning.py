"""Part ``tuning``: what Optuna and MLflow together cost per trial, and what training one costs."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.measure import Result, Row, Settings, Target, interleave, milliseconds, ratio
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.tracking.store import Store
from qwerties.tuning import TunedArm, Tuning
from qwerties.tuning import trials as trial_results
from qwerties.tuning.trials import TrialResult, train_trials
from qwerties.tuning.tuner import run_searches

OVERHEAD, TRAINING = "proposing, storing and tracking", "training"
FIRST_SEED = 10**7


def measure(settings: Settings, folder: Path) -> Result:
    """Search one learning rate with a training that is made up; and train a batch of trials."""
    trials, epochs, together, n_seeds = (8, 110, 2, 4) if settings.quick else (60, 2000, 8, 64)
    base = dataclasses.replace(DEFAULT, epochs=epochs)
    seeds = Seeds(FIRST_SEED, FIRST_SEED + n_seeds)
    store = Store(f"sqlite:///{folder / 'mlflow.db'}")
    example, rng = train_trials([dataclasses.replace(base, epochs=20)], seeds)[0], np.random.default_rng(0)

    def space(trial: Any) -> Config:
        rate = trial.suggest_float("learning_rate", 1e-3, 10, log=True)
        return dataclasses.replace(base, learning_rate=rate)

    def made_up(configs: Sequence[Config], seeds: Seeds) -> list[TrialResult]:
        """Cost nothing, with a score that peaks at a learning rate of 1."""
        scores = [float(np.exp(-(np.log10(config.learning_rate) ** 2))) for config in configs]
        return [
            TrialResult(config, rng.random(epochs), {**example.metrics, "population_accuracy": score}, False)
            for config, score in zip(configs, scores, strict=True)
        ]

    tuning = Tuning("T", "?", (TunedArm("a", space),), trials=trials)
    numbers = itertools.count()

    def search() -> float:
        times: list[float] = []
        number = next(numbers)
        with patch.object(trial_results, "train_trials", made_up):
            run_searches(
                f"t{number}",
                tuning,
                store,
                folder / f"optuna{number}.journal",
                500,
                workers=1,
                step=lambda done, total: times.append(time.perf_counter()),
            )
        return (times[-1] - times[0]) * together / trials  # for as many trials as are trained together

    batch = [dataclasses.replace(base, learning_rate=0.01 * (1 + i / together)) for i in range(together)]
    ways: dict[str, Callable[[], Any]] = {OVERHEAD: search, TRAINING: lambda: train_trials(batch, seeds)}
    for way in ways.values():
        way()  # imports and compiles
    seconds = interleave(ways, settings.repeats)
    group = f"a trial, {len(seeds)} networks"
    works = {
        OVERHEAD: f"a search of {trials} trials by TPE, their training made up; without importances and pictures",
        TRAINING: f"{together} trials together, {epochs} epochs, 1 thread",
    }
    rows = [Row(group, name, works[name], "ms/trial", milliseconds(seconds[name], together)) for name in ways]
    claim = "Optuna and MLflow, time over that of training"
    return Result(rows, (Target(claim, ratio(rows, group, OVERHEAD, TRAINING)),))
