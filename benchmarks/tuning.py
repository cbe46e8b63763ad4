"""Part ``tuning``: what Optuna and MLflow together cost per trial, and what training one costs."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from qwerties.study.search_space import Float

from benchmarks.measure import Found, Row, Target, interleave, ratio
from benchmarks.settings import Settings
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.tracking.store import Store
from qwerties.tuning import trials as outcomes
from qwerties.tuning import tuner
from qwerties.tuning.declaration import Tuned, Tuning
from qwerties.tuning.trials import Outcome, train_trials

PART = "tuning"
OVERHEAD, TRAINING = "proposing, storing and tracking", "training"
SEEDS = Seeds(10**7, 10**7 + 64)


def measure(settings: Settings, folder: Path) -> Found:
    """Search one learning rate with a training that is made up; and train a batch of trials."""
    trials, epochs, together = (8, 110, 2) if settings.quick else (60, 2000, 8)
    base = dataclasses.replace(DEFAULT, epochs=epochs)
    seeds = Seeds(SEEDS.start, SEEDS.start + 4) if settings.quick else SEEDS
    store = Store(f"sqlite:///{folder / 'mlflow.db'}")
    example = train_trials([dataclasses.replace(base, epochs=20)], seeds)[0]
    made_up = _Stub(example)
    tuning = Tuning("T", "?", {"a": Tuned(base, {"learning_rate": Float(1e-3, 10, log=True)}, trials)}, ())
    batch = [dataclasses.replace(base, learning_rate=0.01 * (1 + i / together)) for i in range(together)]
    spans: list[tuple[float, float]] = []
    numbers = itertools.count()

    def search() -> None:
        seen: list[tuple[float, float, int]] = []

        def step(label: str, done: int, of: int) -> None:
            seen.append((time.perf_counter(), time.process_time(), done))

        number = next(numbers)
        with patch.object(outcomes, "train_trials", made_up):
            tuner.tune(
                f"t{number}", tuning, store, folder / f"optuna{number}.journal", 500, workers=1, step=step
            )
        (began, began_cpu, none), (ended, ended_cpu, done) = seen[0], seen[-1]
        assert (none, done) == (0, trials)
        spans.append(((ended - began) / trials, (ended_cpu - began_cpu) / trials))

    def training() -> None:
        train_trials(batch, seeds)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.perf_counter()
    training()
    set_up = time.perf_counter() - began
    search()  # imports, once
    spans.clear()
    ways = {OVERHEAD: search, TRAINING: training}
    samples = interleave(ways, settings.repeats)
    torch.set_num_threads(threads)
    group = f"a trial, {len(seeds)} networks"
    rows = (
        Row(
            *(
                PART,
                group,
                OVERHEAD,
                f"a study of {trials} trials by TPE, their training made up",
                "ms/trial",
            ),
            wall=tuple(1000 * wall for wall, _ in spans),
            cpu=tuple(1000 * cpu for _, cpu in spans),
            note="from the first proposal to the last tracked run; importances and pictures at the end are left out",
        ),
        Row(
            *(
                PART,
                group,
                TRAINING,
                f"{together} trials together, {epochs} epochs, 1 thread",
                "ms/trial",
            ),
            *samples[TRAINING].per(together),
            set_up=set_up,
        ),
    )
    told = Target(
        PART, "Optuna and MLflow, time over that of training", ratio(rows, group, OVERHEAD, TRAINING)
    )
    return Found(rows, (told,))


class _Stub:
    """A training that costs nothing, with a score that peaks at a learning rate of 1."""

    def __init__(self, example: Outcome) -> None:
        self.example, self.generator = example, np.random.default_rng(0)

    def __call__(self, configs: Sequence[Config], seeds: Seeds) -> list[Outcome]:
        return [
            Outcome(
                config,
                self.generator.random(config.epochs),
                {
                    **self.example.metrics,
                    "population_accuracy": float(np.exp(-(np.log10(config.learning_rate) ** 2))),
                },
                False,
            )
            for config in configs
        ]
