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
import torch

from benchmarks.measure import Found, Row, Target, interleave, ratio
from benchmarks.settings import Settings
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.tracking.store import Store
from qwerties.tuning import TunedArm, Tuning, trials, tuner
from qwerties.tuning.trials import TrialResult, train_trials

PART = "tuning"
OVERHEAD, TRAINING = "proposing, storing and tracking", "training"
SEEDS = Seeds(10**7, 10**7 + 64)


def measure(settings: Settings, folder: Path) -> Found:
    """Search one learning rate with a stub in place of the training; and train a batch of trials."""
    n_trials, epochs, together = (8, 110, 2) if settings.quick else (60, 2000, 8)
    base = dataclasses.replace(DEFAULT, epochs=epochs)
    seeds = Seeds(SEEDS.start, SEEDS.start + 4) if settings.quick else SEEDS
    store = Store(f"sqlite:///{folder / 'mlflow.db'}")
    stub = _stub(train_trials([dataclasses.replace(base, epochs=20)], seeds)[0])

    def space(trial: Any) -> Config:
        rate = trial.suggest_float("learning_rate", 1e-3, 10, log=True)
        return dataclasses.replace(base, learning_rate=rate)

    tuning = Tuning("T", "?", (TunedArm("a", space),), trials=n_trials)
    batch = [dataclasses.replace(base, learning_rate=0.01 * (1 + i / together)) for i in range(together)]
    spans: list[tuple[float, float]] = []
    numbers = itertools.count()

    def search() -> None:
        seen: list[tuple[float, float, int]] = []

        def step(label: str, done: int, of: int) -> None:
            seen.append((time.perf_counter(), time.process_time(), done))

        i = next(numbers)
        storage = folder / f"optuna{i}.journal"
        with patch.object(trials, "train_trials", stub):
            tuner.run_searches(f"t{i}", tuning, store, storage, 500, workers=1, step=step)
        (start, start_cpu, none), (end, end_cpu, done) = seen[0], seen[-1]
        assert (none, done) == (0, n_trials)
        spans.append(((end - start) / n_trials, (end_cpu - start_cpu) / n_trials))

    def training() -> None:
        train_trials(batch, seeds)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.perf_counter()
    training()
    set_up = time.perf_counter() - start
    search()  # imports, once
    spans.clear()
    samples = interleave({OVERHEAD: search, TRAINING: training}, settings.repeats)
    torch.set_num_threads(threads)
    group = f"a trial, {len(seeds)} networks"
    rows = (
        Row(
            *(PART, group, OVERHEAD, f"{n_trials} trials by TPE, their training made up", "ms/trial"),
            wall=tuple(1000 * wall for wall, _ in spans),
            cpu=tuple(1000 * cpu for _, cpu in spans),
            note="from the first proposal to the last tracked run; importances and pictures at the end are left out",
        ),
        Row(
            *(PART, group, TRAINING, f"{together} trials together, {epochs} epochs, 1 thread", "ms/trial"),
            *samples[TRAINING].per(together),
            set_up=set_up,
        ),
    )
    target = Target(
        PART, "Optuna and MLflow, time over that of training", ratio(rows, group, OVERHEAD, TRAINING)
    )
    return Found(rows, (target,))


def _stub(example: TrialResult) -> Callable[[Sequence[Config], Seeds], list[TrialResult]]:
    """Return a training that costs nothing, with a score that peaks at a learning rate of 1."""
    generator = np.random.default_rng(0)

    def train(configs: Sequence[Config], seeds: Seeds) -> list[TrialResult]:
        scores = [float(np.exp(-(np.log10(config.learning_rate) ** 2))) for config in configs]
        return [
            TrialResult(
                config,
                generator.random(config.epochs),
                {**example.metrics, "population_accuracy": score},
                is_diverged=False,
            )
            for config, score in zip(configs, scores, strict=True)
        ]

    return train
