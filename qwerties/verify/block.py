"""Read what the store holds of a run: artifacts, and its block of networks. What belongs not together is refused."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qwerties.analysis.tables import UNREADABLE, parse_scores
from qwerties.config import Config, Seeds
from qwerties.errors import reason_of
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.artifacts import stored_digests
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.uri import is_on_disk

THREADS = 4  # requests to a server at once
FLOATS = ("train_loss", "bce", "brier", "excess_loss", "epochs_to_learn")
FLAGS = ("dead_at_init", "settled")

# Raised on files that are not what they should be
BROKEN = (*UNREADABLE, AttributeError, RuntimeError, MemoryError)

Read = Callable[[str], bytes]  # path of an artifact -> its bytes; StoreError if it cannot be read


@dataclass(frozen=True)
class Block:
    """A run of one config on a block of seeds, as the store holds it."""

    run: Tracked
    config: Config
    seeds: Seeds
    table: pd.DataFrame  # ``seeds.csv``
    curves: dict[str, np.ndarray]  # of ``curves.npz``
    weights: dict[str, np.ndarray]  # of ``weights.npz``, (networks, ...)


def artifact_reader(store: Store, run: Tracked) -> Read:
    """Return a function that reads a run's artifacts; those of a server are fetched here, a few at a time."""

    def fetch(path: str) -> bytes | None:
        with suppress(StoreError, ValueError):  # whoever asks for it gets the error
            return store.read(run, path)
        return None

    if is_on_disk(run.artifact_uri):
        return functools.partial(store.read, run)
    paths = list(stored_digests(run.tags) or ())
    with ThreadPoolExecutor(THREADS) as pool:
        fetched = dict(zip(paths, pool.map(fetch, paths), strict=True))
    return lambda path: fetched.get(path) or store.read(run, path)


def read_block(run: Tracked, read: Read) -> Block:
    """Read a run's config, seeds, scores, curves and weights.

    Raises
    ------
    ValueError
        If they cannot be read, or do not belong together.
    """
    config, seeds = Config.from_params(run.params), Seeds.parse(run.params["seeds"])
    shapes: dict[str, tuple[int, ...]] = {}  # of one network
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise((2, *config.hidden, 1))):
        shapes |= {f"{2 * layer}.weight": (fan_out, fan_in), f"{2 * layer}.bias": (fan_out,)}
    name = "seeds.csv"
    try:
        table = _read_table(read(name), seeds)
        name = "curves.npz"
        curves = read_arrays(read(name))
        _check_curves(curves, config, seeds, shapes)
        name = "weights.npz"
        weights = read_arrays(read(name), shapes)
        _check_shapes(weights, {key: (len(seeds), *shape) for key, shape in shapes.items()})
    except StoreError:
        raise ValueError(f"{name} cannot be read") from None
    except BROKEN as error:
        raise ValueError(f"{name} cannot be read: {reason_of(error)}") from None
    return Block(run, config, seeds, table, curves, weights)


def _read_table(content: bytes, seeds: Seeds) -> pd.DataFrame:
    table = parse_scores(content)
    expected = {"seed": seeds.numbers}
    if seeds.crossed is not None:
        expected |= {"data_seed": seeds.data, "weight_seed": seeds.weights}
    if not all(np.array_equal(table[name], numbers) for name, numbers in expected.items()):
        raise ValueError(f"its seeds are not {seeds}")
    if any(table[name].dtype != bool for name in FLAGS):
        raise ValueError(f"{' and '.join(FLAGS)} must be True or False")
    return table.astype(dict.fromkeys(FLOATS, float))


def _check_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32:
            raise ValueError(f"{name} must be float32 of shape {shape}, got {array.dtype} of {array.shape}")


def _check_curves(
    curves: Mapping[str, np.ndarray], config: Config, seeds: Seeds, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    for name, first in (("epochs", 1), ("checkpoints", 0)):
        steps = curves[name]
        rises = steps.ndim == 1 and steps.dtype.kind == "i" and (np.diff(steps) > 0).all()
        if not (rises and len(steps) and steps[0] == first and steps[-1] == config.epochs):
            raise ValueError(f"its {name} must rise from {first} to {config.epochs}")
    examples = curves["exemplars"]
    if not (examples.ndim == 1 and examples.dtype.kind == "i" and np.isin(examples, seeds.numbers).all()):
        raise ValueError("its exemplars must be seeds of the run")
    n, kept = len(examples), len(curves["checkpoints"])
    expected = {
        "loss": (len(seeds), len(curves["epochs"])),
        "gradient_rms": (len(seeds), len(config.hidden) + 1),
        "exemplar_points": (n, 2, 2 * config.samples),
    }
    _check_shapes(curves, expected | {f"exemplar.{name}": (n, kept, *s) for name, s in shapes.items()})
