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
from qwerties.scoring import theory
from qwerties.scoring.states import LEARNED_GAIN, skill_score
from qwerties.scoring.states import STATES as STATES
from qwerties.training import data, native, networks
from qwerties.training.networks import ACTIVATIONS, LOSSES, Weights

SETTLED_FALL = 0.01
"""Loss has settled when it fell by less than this part over the last tenth of the epochs."""

SOBOL_POINTS = 2**16
"""Normal points per class on which networks of more than one hidden unit are scored; error about 2e-4."""

SOBOL_POINTS_ON_THE_WAY = 2**10
"""The first of them, used at the checkpoints before the last; error about 4e-3."""


# Points per class of one call: sums in float32 stay exact enough, and Ctrl-C is handled between calls
SOBOL_CHUNK = 2**11

CACHED_VALUES = 2**18
"""Points, and hidden values, worked on at a time: about what a core's cache holds."""


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
    activate, loss_of = ACTIVATIONS[config.activation], LOSSES[config.loss]
    kept: Weights = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}

    def on_training_points(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
        activity, logit = networks.forward(w, x, activate)
        is_active = torch.stack([(layer > 0).any() for layer in activity]).all()
        return torch.sigmoid(logit) > 0.5, is_active  # (points,), ()

    chunk = max(1, 4 * CACHED_VALUES // (len(checkpoints) * points.shape[-1] * max(config.hidden)))
    predicted, active = vmap(vmap(on_training_points, in_dims=(0, None)), chunk_size=chunk)(kept, points)
    last = {name: value[:, -1] for name, value in kept.items()}
    train_loss = (
        vmap(lambda w, x: networks.loss(w, x, y, activate, loss_of))(last, points).numpy().astype(float)
    )
    finite = _is_finite(kept)  # (networks, checkpoints)
    right = np.count_nonzero(
        predicted.numpy() == y.bool().numpy(), axis=-1
    )  # by numpy in a tenth of torch's time
    train_accuracy = np.where(finite, right / len(y), np.nan)
    dead = ~active.numpy() & (config.activation == "relu") & finite
    is_constant = (predicted[:, -1] == predicted[:, -1, :1]).all(-1).numpy()
    population, bce, brier = population_scores(config, kept)

    gain = skill_score(population, config)
    learned = gain >= LEARNED_GAIN
    diverged = ~np.isfinite(train_loss)
    earlier = losses[:, -1 - max(1, losses.shape[1] // 10)] if losses.shape[1] > 1 else losses[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        settled = (earlier - losses[:, -1] <= SETTLED_FALL * earlier) & ~dead[:, -1] & ~diverged
    settled &= losses.shape[1] > 1
    table = pd.DataFrame(
        {
            "seed": seeds.numbers,
            "state": np.select(
                [diverged, dead[:, -1], is_constant, learned[:, -1]],
                ["diverged", "dead", "constant", "learned"],
                "slow",
            ),
            "dead_at_init": dead[:, 0],
            "train_loss": train_loss,
            "train_accuracy": train_accuracy[:, -1],
            "phi": _phi(predicted[:, -1].numpy(), y.double().numpy()),
            "population_accuracy": population[:, -1],
            "gain": gain[:, -1],
            "bce": bce,
            "brier": brier,
            "epochs_to_learn": pd.array(
                np.where(learned.any(1), checkpoints[learned.argmax(1)], -1), dtype="Int64"
            ),
            "settled": settled,
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


def draw_points(seeds: Seeds, config: Config) -> Tensor:
    """Training points of every network, (networks, 2, points)."""
    return data.draw(seeds.data, config.distance, config.samples, config.data)


def _phi(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation of prediction and label over the points, (networks,); NaN where all predictions agree."""
    share, base = predicted.mean(1), y.mean()
    together = (predicted * y).mean(1) - share * base
    with np.errstate(divide="ignore", invalid="ignore"):
        phi = together / np.sqrt(share * (1 - share) * base * (1 - base))
    return np.where((share == 0) | (share == 1), np.nan, phi)


@functools.lru_cache(maxsize=32)
def _sample_optima(seeds: Seeds, distance: float, samples: int) -> np.ndarray:
    """Least BCE that a line reaches on each network's own points, (networks,); NaN where they are separable."""
    unique, row = np.unique(seeds.data, return_inverse=True)
    x = data.draw(unique, distance, samples).double().numpy()
    return theory.sample_optima(x, data.labels(samples).numpy())[row]


def _one_unit(
    config: Config, weights: Weights
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, str]:
    """Arguments of theory's closed forms for hidden = (1,)."""
    w = [value.double().numpy() for value in weights.values()]
    return config.activation, w[0][:, 0], w[1][:, 0], w[2][:, 0, 0], w[3][:, 0], config.distance, config.data


def population_scores(config: Config, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy at every checkpoint, (networks, checkpoints), and BCE (nats) and Brier score at the last, (networks,).

    All on the true distribution: in closed form for one hidden unit, on Sobol points for more.
    """
    n, checkpoints = next(iter(weights.values())).shape[:2]
    flat = {name: value.flatten(0, 1) for name, value in weights.items()}
    last = {name: value[:, -1] for name, value in weights.items()}
    if config.hidden == (1,) and config.activation in theory.ACTIVATIONS:
        accuracy = theory.population_accuracy(*_one_unit(config, flat)).reshape(n, checkpoints)
        return accuracy, *theory.population_losses(*_one_unit(config, last))
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
