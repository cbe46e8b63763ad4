"""Fresh networks by the ten thousand, trained once and kept, for `calibration` to draw families from.

The seeds start far beyond those of any study, so that no network that a verdict rests on also judges it. A pool
is kept block by block under ``.cache/calibration/``, in a folder that names the code and the configs: a pool that
was stopped goes on, a larger one takes over what a smaller one has, and one of other code is trained anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.execution.workers import Workers, run_tasks

FIRST_SEED = 2_000_000
"""Of every pool; studies begin at 0, and none is so large."""

SEEDS_TOGETHER = 512
"""Seeds of a block, trained by one worker and kept in one file: some ten seconds' work."""

_MSE = dataclasses.replace(DEFAULT, loss="mse")
_FAST = 0.1
"""The rate of both sides' stand-ins for a tuned setting: what tuning finds differs from study to study."""

CONTRASTS: dict[str, tuple[Config, Config]] = {
    "BCE − MSE": (DEFAULT, _MSE),
    "BCE − MSE at twice the rate": (DEFAULT, dataclasses.replace(_MSE, learning_rate=0.02)),
    "BCE − MSE, fast": (
        dataclasses.replace(DEFAULT, learning_rate=_FAST),
        dataclasses.replace(_MSE, learning_rate=2 * _FAST),
    ),
    "ReLU − linear": (DEFAULT, dataclasses.replace(DEFAULT, activation="linear")),
    "4000 − 2000 epochs": (dataclasses.replace(DEFAULT, epochs=4000), DEFAULT),
    "fast − default": (dataclasses.replace(DEFAULT, learning_rate=_FAST), DEFAULT),
}
"""The six primary contrasts, with a fast setting in place of a tuned one."""

CONFIGS: tuple[Config, ...] = tuple(dict.fromkeys(side for pair in CONTRASTS.values() for side in pair))


@dataclass(frozen=True)
class Pool:
    """What paired networks of several configs score.

    Attributes
    ----------
    configs : tuple of Config
    score : ndarray, (configs, seeds), float
        Exact population accuracy; a diverged network counts as a guess, as in `stats.scores`.
    learned : ndarray, (configs, seeds), bool
        Whether its state is "learned".
    """

    configs: tuple[Config, ...]
    score: np.ndarray
    learned: np.ndarray

    def __len__(self) -> int:
        """Seeds."""
        return self.score.shape[1]

    def of(self, config: Config) -> np.ndarray:
        """Scores of one config, (seeds,)."""
        return self.score[self.configs.index(config)]

    def has_learned(self, config: Config) -> np.ndarray:
        """Whether each network of one config has learned, (seeds,)."""
        return self.learned[self.configs.index(config)]


class Block(NamedTuple):
    """A pool's arrays on one block of seeds, (configs, seeds)."""

    score: np.ndarray
    learned: np.ndarray


def train_block(configs: Sequence[Config], seeds: Seeds) -> Block:
    """Train and score every config on a block of seeds; only the final weights are scored."""
    from qwerties.scoring.score import score
    from qwerties.stats.scores import scores
    from qwerties.training.trainer import train

    tables = [
        score(
            trained.config,
            seeds,
            trained.losses,
            trained.checkpoints[-1:],
            {name: value[:, -1:] for name, value in trained.weights.items()},
        ).table
        for trained in train(configs, seeds)
    ]
    return Block(
        np.stack([scores(table, "population_accuracy").to_numpy(float) for table in tables]),
        np.stack([(table["state"] == "learned").to_numpy(bool) for table in tables]),
    )


def blocks(size: int) -> list[Seeds]:
    """Blocks of seeds of a pool of ``size`` seeds; all but the last are those of any larger pool."""
    stops = [*range(SEEDS_TOGETHER, size, SEEDS_TOGETHER), size]
    return [
        Seeds(FIRST_SEED + first, FIRST_SEED + stop)
        for first, stop in zip([0, *stops[:-1]], stops, strict=True)
    ]


def folder_of(configs: Sequence[Config], code: str, cache: Path) -> Path:
    """Folder that holds the blocks of these configs, trained by the code with this digest."""
    text = json.dumps([[config.to_params() for config in configs], code])
    return cache / hashlib.sha256(text.encode()).hexdigest()[:16]


def load_pool(
    size: int,
    *,
    configs: Sequence[Config] = CONFIGS,
    cache: Path,
    workers: int,
    code: str | None = None,
) -> Pool:
    """Return a pool of ``size`` seeds; what of it is not kept yet is trained, and kept block by block.

    Parameters
    ----------
    size : int
        Seeds, each of which trains every config.
    configs : sequence of Config
        Configs that differ in ``epochs`` alone train once.
    cache : Path
        Folder of pools.
    workers : int
        Processes that train.
    code : str, optional
        Digest of the code that decides numbers; that of today unless given.

    Returns
    -------
    Pool
    """
    from qwerties.scoring.digest import code_digest
    from qwerties.study.experiment import Shard

    folder = folder_of(configs, code or code_digest(), cache)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = blocks(size)
    kept = {seeds: block for seeds in wanted if (block := _read(_file(folder, seeds), len(configs), seeds))}
    missing = [seeds for seeds in wanted if seeds not in kept]
    if missing:
        costs = [Shard(tuple(configs), seeds) for seeds in missing]
        tasks = [(tuple(configs), seeds) for seeds in missing]
        networks = [cost.networks for cost in costs]
        for i, block in show(run_tasks(train_block, tasks, Workers(workers)), networks, "networks"):
            _write(_file(folder, missing[i]), block)
            kept[missing[i]] = block
    found = [kept[seeds] for seeds in wanted]
    return Pool(tuple(configs), *(np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True)))


def _file(folder: Path, seeds: Seeds) -> Path:
    return folder / f"{seeds}.npz"


def _write(path: Path, block: Block) -> None:
    """Write a block whole or not at all."""
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, score=block.score, learned=block.learned)
    part.replace(path)


def _read(path: Path, configs: int, seeds: Seeds) -> Block | None:
    """Read a block; None where there is none that can be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            block = Block(arrays["score"], arrays["learned"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = block.score.shape == block.learned.shape == (configs, len(seeds))
    return block if whole and np.isfinite(block.score).all() else None


def show(done: Iterable[tuple[int, Any]], sizes: Sequence[int], unit: str) -> Iterator[tuple[int, Any]]:
    """Pass results on, and show how far it is: a bar on a terminal, a plain line a tenth elsewhere."""
    total, seen, said = sum(sizes), 0, 0
    with tqdm(total=total, unit=f" {unit}", dynamic_ncols=True, disable=not sys.stderr.isatty()) as bar:
        for i, result in done:
            yield i, result
            bar.update(sizes[i])
            seen += sizes[i]
            if bar.disable and seen * 10 // total > said:
                said = seen * 10 // total
                print(f"{100 * seen // total:3d}%  {seen:,}/{total:,} {unit}", file=sys.stderr, flush=True)
