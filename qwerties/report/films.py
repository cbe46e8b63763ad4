"""The store -> films: networks of one hidden unit that kept their weights at every checkpoint, to be watched.

Everything is worked out again from those weights, without torch: what a network answers, and how it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwerties.analysis.tables import UNREADABLE, SeedTable
from qwerties.config import Config
from qwerties.scoring import theory
from qwerties.scoring.predict import ACTIVATIONS
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError

LEARNED_GAIN = 0.8
"""As in ``scoring``, which needs torch; a test holds them together."""

NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")
MOST = 1000
"""Checkpoints, and epochs of a loss curve, that a film may have."""


@dataclass(frozen=True)
class Film:
    """One network from its first weights to its last.

    Attributes
    ----------
    state : str
        How it ended, as its run says.
    points : ndarray, (2, points), float32
        What it was trained on; the first half is class 0.
    weights : ndarray, (checkpoints, 5), float32
        w₀, w₁, b, v, c: the logit of class 1 is v · act(w·x + b) + c.
    losses : ndarray, (epochs kept,), float32
        Of the forward passes before the updates of the reel's `epochs`.
    """

    state: str
    points: NDArray[Any]
    weights: NDArray[Any]
    losses: NDArray[Any]


@dataclass(frozen=True)
class Reel:
    """The films of one config, by seed.

    Attributes
    ----------
    checkpoints : ndarray, (checkpoints,), int
        Updates made when weights were kept: 0 first, ``config.epochs`` last.
    epochs : ndarray, (epochs kept,), int
        Where losses were kept, from 1 on.
    """

    config: Config
    checkpoints: NDArray[Any]
    epochs: NDArray[Any]
    films: Mapping[int, Film]


def read_reel(store: Store, networks: SeedTable) -> Reel | None:
    """Read the films of a config of one hidden unit.

    Returns
    -------
    Reel or None
        None where no run kept any, as older ones did not.

    Raises
    ------
    StoreError
        If what they kept cannot be read, or is not what a run writes.
    """
    if networks.config.hidden != (1,) or "weight_seed" in networks.frame:
        return None
    states = dict(zip(networks.frame["seed"].tolist(), networks.frame["state"], strict=True))
    found: Reel | None = None
    start = 0
    for run, rows in zip(networks.runs, networks.rows, strict=True):
        own = networks.frame["seed"].iloc[start : start + len(rows)].tolist()
        start += len(rows)
        arrays = _read(store, run)
        if not {"checkpoints", "exemplars", "exemplar_points"} <= set(arrays):
            continue
        try:
            reel = _make_reel(networks.config, arrays, dict(zip(own, rows.tolist(), strict=True)), states)
        except (*UNREADABLE, KeyError, IndexError) as error:
            raise StoreError(
                f"run {run.run_id} ({run.name}): the weights in curves.npz make no sense: {error}"
            ) from error
        if found is None:
            found = reel
        elif _same_times(found, reel):
            found = Reel(found.config, found.checkpoints, found.epochs, {**reel.films, **found.films})
    return found


def _same_times(one: Reel, other: Reel) -> bool:
    return np.array_equal(one.checkpoints, other.checkpoints) and np.array_equal(one.epochs, other.epochs)


def _read(store: Store, run: Tracked) -> dict[str, NDArray[Any]]:
    content = store.read(run, "curves.npz")
    wanted = {"epochs", "loss", "checkpoints", "exemplars", "exemplar_points"}
    wanted |= {f"exemplar.{name}" for name in NAMES}
    try:
        return read_arrays(content, wanted)
    except (*UNREADABLE, KeyError, AttributeError) as error:
        raise StoreError(f"run {run.run_id} ({run.name}): curves.npz cannot be read") from error


def _make_reel(
    config: Config, arrays: Mapping[str, NDArray[Any]], rows: Mapping[int, int], states: Mapping[int, str]
) -> Reel:
    checkpoints = _times(arrays["checkpoints"], "checkpoints")
    epochs = _times(arrays["epochs"], "epochs")
    if checkpoints[0] != 0 or checkpoints[-1] != config.epochs:
        raise ValueError(f"checkpoints must run from 0 to {config.epochs}")
    if epochs[0] != 1 or epochs[-1] > config.epochs:
        raise ValueError(f"epochs must run from 1 to {config.epochs} at most")
    seeds = arrays["exemplars"]
    if seeds.ndim != 1 or not np.issubdtype(seeds.dtype, np.integer) or len(set(seeds.tolist())) < len(seeds):
        raise ValueError("exemplars must be seeds, each once")
    n, p = len(seeds), len(checkpoints)
    shapes = {"exemplar_points": (n, 2, 2 * config.samples), "loss": (len(arrays["loss"]), len(epochs))}
    for name, shape in zip(NAMES, ((n, p, 1, 2), (n, p, 1), (n, p, 1, 1), (n, p, 1)), strict=True):
        shapes[f"exemplar.{name}"] = shape
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.issubdtype(arrays[name].dtype, np.floating):
            raise ValueError(f"{name} must be numbers of shape {shape}, got {arrays[name].shape}")
    points = arrays["exemplar_points"].astype(np.float32)
    if not np.isfinite(points).all():
        raise ValueError("points must be finite")
    weights = np.concatenate([arrays[f"exemplar.{name}"].reshape(n, p, -1) for name in NAMES], axis=2)
    films = {
        seed: Film(
            states[seed],
            points[i],
            weights[i].astype(np.float32),
            arrays["loss"][rows[seed]].astype(np.float32),
        )
        for i, seed in enumerate(seeds.tolist())
        if seed in rows
    }
    return Reel(config, checkpoints, epochs, films)


def _times(found: NDArray[Any], name: str) -> NDArray[Any]:
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer) or not 2 <= len(found) <= MOST:
        raise ValueError(f"{name} must be 2 to {MOST} whole numbers")
    if (np.diff(found) <= 0).any():
        raise ValueError(f"{name} must grow")
    return found


# What a network answers


def logits(activation: str, weights: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Log-odds of class 1 at points x (2, points), by weights (checkpoints, 5): (checkpoints, points), float64."""
    w, b, v, c = np.split(weights.astype(float), [2, 3, 4], axis=1)  # (checkpoints, 2), (checkpoints, 1) each
    with np.errstate(over="ignore", invalid="ignore"):
        return v * ACTIVATIONS[activation](w @ x.astype(float) + b) + c


def states(config: Config, film: Film) -> list[str]:
    """How the network stands at each checkpoint; at the last, what its run says."""
    w = film.weights.astype(float)  # (checkpoints, 5)
    finite = np.isfinite(w).all(1)
    with np.errstate(over="ignore", invalid="ignore"):
        active = (w[:, :2] @ film.points.astype(float) + w[:, 2:3] > 0).any(1)
    right = logits(config.activation, film.weights, film.points) > 0
    population = theory.population_accuracy(
        config.activation, w[:, :2], w[:, 2], w[:, 3], w[:, 4], config.distance, config.data
    )
    gain = (population - 0.5) / max(theory.bayes_accuracy(config.distance, config.data) - 0.5, 1e-12)
    with np.errstate(invalid="ignore"):
        found = np.select(
            [
                ~finite,
                ~active & (config.activation == "relu"),
                (right == right[:, :1]).all(1),
                gain >= LEARNED_GAIN,
            ],
            ["diverged", "dead", "constant", "learned"],
            "slow",
        ).tolist()
    return [*found[:-1], film.state]
