"""Differences between really trained networks, trained once and cached block by block.

The seeds start far beyond those of any study, so that no network behind a verdict also judges the method. A pool that
was stopped goes on, and a larger pool reuses the blocks of a smaller one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.execution.workers import Workers, run_tasks

FIRST_SEED = 2_000_000
BLOCK = 500  # seeds that one task trains, in some ten seconds
CHANCE = 0.5  # accuracy of a diverged network, which counts as a guess

_MSE = dataclasses.replace(DEFAULT, loss="mse")
_FAST = dataclasses.replace(DEFAULT, learning_rate=0.1)  # in place of a tuned config, which differs by study

CONTRASTS: dict[str, tuple[Config, Config]] = {
    "BCE − MSE": (DEFAULT, _MSE),
    "BCE − MSE at twice the rate": (DEFAULT, dataclasses.replace(_MSE, learning_rate=0.02)),
    "BCE − MSE, fast": (_FAST, dataclasses.replace(_MSE, learning_rate=0.2)),
    "ReLU − linear": (DEFAULT, dataclasses.replace(DEFAULT, activation="linear")),
    "4000 − 2000 epochs": (dataclasses.replace(DEFAULT, epochs=4000), DEFAULT),
    "fast − default": (_FAST, DEFAULT),
}


def load_differences(size: int, *, cache: Path, workers: int) -> dict[str, NDArray[np.float64]]:
    """Return the differences of every contrast on ``size`` seeds, a multiple of `BLOCK`, training what is not cached.

    Each pool has a subfolder of ``cache`` that names its code and configs.
    """
    from qwerties.scoring.digest import code_digest

    configs = tuple(dict.fromkeys(config for pair in CONTRASTS.values() for config in pair))
    key = json.dumps([[config.to_params() for config in configs], code_digest()])
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    blocks = [Seeds(first, first + BLOCK) for first in range(FIRST_SEED, FIRST_SEED + size, BLOCK)]
    paths = [folder / f"{block}.npy" for block in blocks]
    tasks = [(configs, block, path) for block, path in zip(blocks, paths, strict=True) if not path.exists()]
    done = run_tasks(train_block, tasks, Workers(workers))
    for _ in tqdm(done, total=len(tasks), desc="training", unit="block", disable=None):
        pass
    accuracy = np.concatenate([np.load(path) for path in paths], axis=1)  # (configs, size)
    return {
        name: accuracy[configs.index(a)] - accuracy[configs.index(b)] for name, (a, b) in CONTRASTS.items()
    }


def train_block(configs: Sequence[Config], seeds: Seeds, path: Path) -> None:
    """Train every config on a block of seeds and save their population accuracies, shape (configs, seeds)."""
    from qwerties.scoring.score import score
    from qwerties.training.trainer import train

    rows = []
    for trained in train(configs, seeds):
        final = {name: value[:, -1:] for name, value in trained.weights.items()}
        table = score(trained.config, seeds, trained.losses, trained.checkpoints[-1:], final).table
        rows.append(table["population_accuracy"].fillna(CHANCE).to_numpy(float))
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.save(file, np.stack(rows))
    part.replace(path)  # a block is there whole or not at all
