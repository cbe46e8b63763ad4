"""Weights and data -> per-seed scores and states, the columns of ``seeds.csv``."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.func import vmap

from qwerties.config import Config, Seeds
from qwerties.scoring import one_unit, optimum
from qwerties.scoring.states import LEARNED_GAIN, skill_score, state_names
from qwerties.training import data, native, networks
from qwerties.training.networks import ACTIVATIONS, LOSSES, Weights

# The loss has settled when it fell by less than this part over the last tenth of the epochs
SETTLED_FALL = 0.01

# Normal points per class on which networks of more than one hidden unit are scored (error about 2e-4), and those of
# them that score the checkpoints before the last (error about 4e-3)
SOBOL_POINTS = 2**16
SOBOL_POINTS_ON_THE_WAY = 2**10

# Points per class of one call: sums in float32 stay exact enough, and Ctrl-C is handled between calls
SOBOL_CHUNK = 2**11

# Points, and hidden values, worked on at a time: about what a core's cache holds
CACHED_VALUES = 2**18


@dataclass(frozen=True)
class Scores:
    """Scores of one config's networks.

    Attributes
    ----------
    table : DataFrame
        One row per seed, the columns of ``seeds.csv``; undefined is empty (NaN), never 0.
    checkpoints : ndarray, (checkpoints,)
        Epochs of the arrays below.
    train_accuracy, population_accuracy : ndarray, (networks, checkpoints), float
    dead : ndarray, (networks, checkpoints), bool
    """

    table: pd.DataFrame
    checkpoints: np.ndarray
    train_accuracy: np.ndarray
    population_accuracy: np.ndarray
    dead: np.ndarray


@torch.no_grad()
def score(
    config: Config, seeds: Seeds, losses: np.ndarray, checkpoints: np.ndarray, weights: dict[str, np.ndarray]
) -> Scores:
    """Score every network of one config, on its training points and on the true distribution.

    Parameters
    ----------
    config : Config
    seeds : Seeds
    losses : ndarray, (networks, epochs)
    checkpoints : ndarray, (checkpoints,)
        Epochs of the weights: 0 first, the last last.
    weights : dict of ndarray, (networks, checkpoints, ...)

    Returns
    -------
    Scores
    """
    points = draw_points(seeds, config)  # (networks, 2, points)
    y = data.labels(config.samples)  # (points,)
    kept: Weights = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
    finite = _is_finite(kept)  # (networks, checkpoints)
    positives, active = on_training_points(config, kept, points)
    right = config.samples - positives[..., 0] + positives[..., 1]  # (networks, checkpoints)
    train_accuracy = np.where(finite, right / len(y), np.nan)
    dead = ~active & (config.activation == "relu") & finite
    population, bce, brier = population_scores(config, kept)
    gain = skill_score(population, config)
    learned = gain >= LEARNED_GAIN
    train_loss = final_loss(config, {name: value[:, -1] for name, value in kept.items()}, points, y)
    diverged = ~np.isfinite(train_loss)
    is_constant = np.isin(positives[:, -1].sum(-1), (0, len(y)))
    table = pd.DataFrame(
        {
            "seed": seeds.numbers,
            "state": state_names(diverged, dead[:, -1], is_constant, learned[:, -1]),
            "dead_at_init": dead[:, 0],
            "train_loss": train_loss,
            "train_accuracy": train_accuracy[:, -1],
            "phi": _phi(positives[:, -1], config.samples),
            "population_accuracy": population[:, -1],
            "gain": gain[:, -1],
            "bce": bce,
            "brier": brier,
            "epochs_to_learn": pd.array(
                np.where(learned.any(1), checkpoints[learned.argmax(1)], -1), dtype="Int64"
            ),
            "settled": _is_settled(losses) & ~dead[:, -1] & ~diverged,
            "excess_loss": train_loss - _sample_optima(seeds, config.distance, config.samples)
            if config.loss == "bce" and config.data == "clusters"  # whose best classifier is a line
            else np.nan,
        }
    )
    table.loc[~learned.any(1), "epochs_to_learn"] = pd.NA
    table.loc[diverged, ["train_accuracy", "phi", "population_accuracy", "gain", "bce", "brier"]] = np.nan
    if seeds.crossed is not None:
        table.insert(1, "data_seed", seeds.data)
        table.insert(2, "weight_seed", seeds.weights)
    return Scores(table, checkpoints, train_accuracy, population, dead)


def on_training_points(config: Config, weights: Weights, points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return points of each class that are put into class 1, (networks, checkpoints, 2), and whether every hidden
    layer is active on some point, (networks, checkpoints).
    """
    if library := native.load(config):
        positives, active = native.classify(library, weights, points)
        return positives.numpy(), active.numpy()
    activate = ACTIVATIONS[config.activation]

    def classify(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
        activity, logit = networks.forward(w, x, activate)
        is_active = torch.stack([(layer > 0).any() for layer in activity]).all()
        return (logit > 0).unflatten(0, (2, -1)).sum(-1), is_active  # (2,), ()

    checkpoints = next(iter(weights.values())).shape[1]
    chunk = max(1, 4 * CACHED_VALUES // (checkpoints * points.shape[-1] * max(config.hidden)))
    positives, active = vmap(vmap(classify, in_dims=(0, None)), chunk_size=chunk)(weights, points)
    return positives.numpy(), active.numpy()


def final_loss(config: Config, last: Weights, points: Tensor, y: Tensor) -> np.ndarray:
    """Return the loss with the final weights, (networks,)."""
    activate, loss_of = ACTIVATIONS[config.activation], LOSSES[config.loss]
    return vmap(lambda w, x: networks.loss(w, x, y, activate, loss_of))(last, points).numpy().astype(float)


def _is_settled(losses: np.ndarray) -> np.ndarray:
    """Return whether the loss fell by less than SETTLED_FALL over the last tenth of the epochs, (networks,)."""
    epochs = losses.shape[1]
    if epochs < 2:
        return np.zeros(len(losses), bool)
    earlier, last = losses[:, -1 - max(1, epochs // 10)], losses[:, -1]
    with np.errstate(invalid="ignore"):
        return earlier - last <= SETTLED_FALL * earlier


def draw_points(seeds: Seeds, config: Config) -> Tensor:
    """Training points of every network, (networks, 2, points)."""
    return data.draw(seeds.data, config.distance, config.samples, config.data)


def _phi(positives: np.ndarray, samples: int) -> np.ndarray:
    """Return the Matthews correlation of prediction and label, (networks,); NaN where all predictions agree.

    Parameters
    ----------
    positives : ndarray, (networks, 2)
        Points of class 0 and of class 1 that are put into class 1.
    samples : int
        Points per class.
    """
    false, true = positives.T / samples
    share = (false + true) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        phi = (true - false) / (2 * np.sqrt(share * (1 - share)))
    return np.where((share == 0) | (share == 1), np.nan, phi)


@functools.lru_cache(maxsize=32)
def _sample_optima(seeds: Seeds, distance: float, samples: int) -> np.ndarray:
    """Least BCE that a line reaches on each network's own points, (networks,); NaN where they are separable."""
    unique, row = np.unique(seeds.data, return_inverse=True)
    x = data.draw(unique, distance, samples).double().numpy()
    return optimum.sample_optima(x, data.labels(samples).numpy())[row]


def population_scores(config: Config, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy at every checkpoint, (networks, checkpoints), and BCE (nats) and Brier score at the last, (networks,).

    All on the true distribution: in closed form for one hidden unit, on Sobol points for more.
    """
    n, checkpoints = next(iter(weights.values())).shape[:2]
    flat = {name: value.flatten(0, 1) for name, value in weights.items()}
    last = {name: value[:, -1] for name, value in weights.items()}
    if one_unit.has_exact_scores(config):
        name, at = config.activation, (config.distance, config.data)
        accuracy = one_unit.population_accuracy(name, *one_unit.columns(flat), *at).reshape(n, checkpoints)
        return accuracy, *one_unit.population_losses(name, *one_unit.columns(last), *at)
    accuracy = _on_sobol_points(config, flat, SOBOL_POINTS_ON_THE_WAY)[0].reshape(n, checkpoints)
    accuracy[:, -1], bce, brier = _on_sobol_points(config, last, SOBOL_POINTS)
    return accuracy, bce, brier


@functools.cache
def _sobol_normals() -> Tensor:
    """One fixed set of standard normal points for all networks, (2, points)."""
    from scipy.stats import qmc  # two seconds, for wide networks alone

    points = qmc.MultivariateNormalQMC(np.zeros(2), rng=0).random(SOBOL_POINTS)
    return torch.from_numpy(points.T).float()


def _population_points(config: Config, n: int) -> Tensor:
    """First n points of the normal set for each class, placed at the config's centres, (2, 2 n): class 0, then class 1.

    A class's clusters share its points as they share training points, by consecutive stretches: a stretch of a Sobol
    sequence is evenly spread, every other point of one is not.
    """
    normals = _sobol_normals()[:, :n]
    distance = torch.tensor([config.distance], dtype=torch.float64)
    return data.place(torch.cat((normals, normals), dim=1)[None], distance, config.data)[0]


def _point_scores(w: Weights, x: Tensor, y: Tensor, activate: networks.Activation) -> Tensor:
    """Score one network on points x (2, points) of class y: right or not, BCE (nats) and Brier score, (3, points)."""
    z = networks.logit(w, x, activate)
    wrong = torch.where(y > 0.5, -z, z)  # log-odds of the other class
    right = (z > 0) == (y > 0.5)  # a logit of 0 is class 0
    return torch.stack(
        (right.float(), torch.logaddexp(wrong, torch.zeros_like(z)), torch.sigmoid(wrong) ** 2)
    )


def _on_sobol_points(config: Config, weights: Weights, n: int) -> np.ndarray:
    """Return accuracy, BCE and Brier score on n quasi-random points per class, (3, networks)."""
    classes = _population_points(config, n).split(n, dim=1)
    chunks = [torch.cat(pair, 1) for pair in zip(*(x.split(SOBOL_CHUNK, 1) for x in classes), strict=True)]
    size = len(next(iter(weights.values())))
    total = torch.zeros(size, 3, dtype=torch.float64)
    if library := native.load(config):
        for x in chunks:  # (2, points)
            total += native.score(library, weights, x) * (x.shape[1] // 2)
    else:
        activate = ACTIVATIONS[config.activation]
        scored = vmap(lambda w, x, y: _point_scores(w, x, y, activate).mean(1), (0, None, None))
        together = max(1, CACHED_VALUES // (2 * SOBOL_CHUNK * max(config.hidden)))
        for first in range(0, size, together):
            some = slice(first, first + together)
            part = {name: value[some] for name, value in weights.items()}
            for x in chunks:
                half = x.shape[1] // 2
                total[some] += scored(part, x, data.labels(half)) * half
    total[torch.from_numpy(~_is_finite(weights))] = torch.nan  # no comparison with NaN holds
    return (total / n).numpy().T


def _is_finite(weights: Weights) -> np.ndarray:
    """Whether all of a network's weights are finite, (networks,) or (networks, checkpoints)."""
    layers = [value.isfinite().all(-1) for name, value in weights.items() if name.endswith("bias")]
    layers += [
        value.isfinite().flatten(-2).all(-1) for name, value in weights.items() if name.endswith("weight")
    ]
    return torch.stack(layers).all(0).numpy()
