"""Trained networks of many configs at once -> skill score and state: what `score` gives, without its other columns.

A map has tens of thousands of configs with two seeds each; `score` would take longer than the training does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from qwerties.scoring import theory
from qwerties.scoring.score import population_scores
from qwerties.scoring.states import LEARNED_GAIN, LEAST_LEAD
from qwerties.training import data, networks
from qwerties.training.networks import ACTIVATIONS, LOSSES, Weights
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
    y = data.labels(first.samples)  # (points,)
    weights: Weights = {
        name: torch.from_numpy(np.concatenate([each.final[name] for each in trained]))
        for name in trained[0].weights
    }  # (networks, ...)
    activate, loss_of = ACTIVATIONS[first.activation], LOSSES[first.loss]

    def on_training_points(w: Weights, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        activity, logit = networks.forward(w, x, activate)
        predicted = torch.sigmoid(logit) > 0.5  # (points,)
        is_active = torch.stack([(layer > 0).any() for layer in activity]).all()
        return (predicted == predicted[:1]).all(), is_active, networks.loss(w, x, y, activate, loss_of)

    constant, active, loss = (value.numpy() for value in vmap(on_training_points)(weights, points))
    finite = torch.stack([value.isfinite().flatten(1).all(1) for value in weights.values()]).all(0).numpy()
    diverged = ~np.isfinite(loss)
    dead = ~active & (first.activation == "relu") & finite
    lead = theory.bayes_accuracy(distance, first.data) - 0.5
    gain = (_accuracy(trained, weights, distance) - 0.5) / np.maximum(lead, LEAST_LEAD)
    state = np.select(
        [diverged, dead, constant, gain >= LEARNED_GAIN], ["diverged", "dead", "constant", "learned"], "slow"
    )
    gain = np.where(diverged, 0.0, gain)
    gain[lead < LEAST_LEAD] = np.nan
    shape = len(configs), len(seeds)
    return gain.reshape(shape), state.reshape(shape)


def _accuracy(
    trained: Sequence[Trained], weights: Weights, distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the accuracy on the true distribution, (networks,): in closed form for one hidden unit."""
    config, n = trained[0].config, len(trained[0].seeds)
    if config.hidden == (1,) and config.activation in theory.ACTIVATIONS:
        w = [value.double().numpy() for value in weights.values()]
        return theory.population_accuracy(
            config.activation, w[0][:, 0], w[1][:, 0], w[2][:, 0, 0], w[3][:, 0], distance, config.data
        )
    parts = []
    for i, each in enumerate(trained):  # Sobol points depend on the distance
        own = {name: value[i * n : (i + 1) * n, None] for name, value in weights.items()}  # (seeds, 1, ...)
        parts.append(population_scores(each.config, own)[0][:, -1])
    return np.concatenate(parts)
