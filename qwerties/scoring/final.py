"""Trained networks of many configs at once -> skill score and state: what `score` gives, without its other columns.

A map has tens of thousands of configs with two seeds each; `score` would take longer than the training does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from qwerties.scoring import one_unit, theory
from qwerties.scoring.score import final_loss, on_training_points, population_scores
from qwerties.scoring.states import LEARNED_GAIN, LEAST_LEAD, state_names
from qwerties.training import data
from qwerties.training.networks import Weights
from qwerties.training.trainer import Trained

MAX_VALUES = 2**22  # hidden values of one call


@torch.no_grad()
def final_scores(trained: Sequence[Trained]) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Score the final weights of configs that were trained on the same seeds.

    Parameters
    ----------
    trained : sequence of Trained
        One per config.

    Returns
    -------
    gain : ndarray, (configs, seeds)
        0 for a network that diverged, which is a guess; NaN where it is undefined, as the classes lie on each other.
    state : ndarray, (configs, seeds)
        Names from `states.STATES`.
    """
    shape = len(trained), len(trained[0].seeds)
    gain, state = np.empty(shape), np.empty(shape, "<U8")

    def key(i: int) -> tuple[object, ...]:
        config = trained[i].config
        return config.data, config.samples, config.activation, config.loss, config.hidden

    for _, group in itertools.groupby(sorted(range(shape[0]), key=key), key=key):
        members = list(group)
        config = trained[members[0]].config
        size = max(1, MAX_VALUES // (2 * config.samples * max(config.hidden) * shape[1]))
        for first in range(0, len(members), size):
            some = members[first : first + size]
            gain[some], state[some] = _score([trained[i] for i in some])
    return gain, state


def _score(trained: Sequence[Trained]) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Score configs of one arrangement of the data, loss, activation and shape; both results (configs, seeds)."""
    configs, seeds = [each.config for each in trained], trained[0].seeds
    first = configs[0]
    distance = np.repeat([config.distance for config in configs], len(seeds))  # (networks,)
    noise = data.draw_noise(seeds.data, first.samples).repeat(len(configs), 1, 1)
    points = data.place(noise, torch.from_numpy(distance), first.data)  # (networks, 2, points)
    weights: Weights = {
        name: torch.from_numpy(np.concatenate([each.final[name] for each in trained]))
        for name in trained[0].weights
    }  # (networks, ...)
    positives, active = on_training_points(first, {n: value[:, None] for n, value in weights.items()}, points)
    constant = np.isin(positives[:, 0].sum(-1), (0, 2 * first.samples))
    finite = torch.stack([value.isfinite().flatten(1).all(1) for value in weights.values()]).all(0).numpy()
    dead = ~active[:, 0] & (first.activation == "relu") & finite
    diverged = ~np.isfinite(final_loss(first, weights, points, data.labels(first.samples)))
    lead = theory.bayes_accuracy(distance, first.data) - 0.5
    gain = (_accuracy(trained, weights, distance) - 0.5) / np.maximum(lead, LEAST_LEAD)
    state = state_names(diverged, dead, constant, gain >= LEARNED_GAIN)
    gain = np.where(diverged, 0.0, gain)
    gain[lead < LEAST_LEAD] = np.nan
    shape = len(configs), len(seeds)
    return gain.reshape(shape), state.reshape(shape)


def _accuracy(
    trained: Sequence[Trained], weights: Weights, distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the accuracy on the true distribution, (networks,): in closed form for one hidden unit."""
    config, n = trained[0].config, len(trained[0].seeds)
    if one_unit.has_exact_scores(config):
        return one_unit.population_accuracy(
            config.activation, *one_unit.columns(weights), distance, config.data
        )
    parts = []
    for i, each in enumerate(trained):  # Sobol points depend on the distance
        own = {name: value[i * n : (i + 1) * n, None] for name, value in weights.items()}  # (seeds, 1, ...)
        parts.append(population_scores(each.config, own)[0][:, -1])
    return np.concatenate(parts)
