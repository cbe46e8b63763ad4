"""Trained networks of many configs -> gain and state, together: what `scoring` gives, and no more than a map shows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from qwerties.maps.spec import STATES
from qwerties.scoring import score as scoring
from qwerties.scoring import theory
from qwerties.training import data, networks
from qwerties.training.networks import ACTIVATIONS, LOSSES, Weights
from qwerties.training.trainer import Trained

UNDEFINED_BELOW = 1e-12
"""Of Bayes accuracy less one half: there is nothing to gain where the clusters lie upon one another."""

TOGETHER = 2**22
"""Hidden values worked on at a time."""


@dataclass(frozen=True)
class Measured:
    """How networks ended.

    Attributes
    ----------
    gain : ndarray, (configs, seeds), float
        0 for a network that diverged, which is a guess; NaN where it is undefined.
    state : ndarray, (configs, seeds), int
        Place in `maps.STATES`.
    """

    gain: NDArray[np.float64]
    state: NDArray[np.intp]


@torch.no_grad()
def measure(trained: Sequence[Trained]) -> Measured:
    """Score the final weights of configs that were trained on the same seeds, as `scoring.score` does one by one."""
    shape = len(trained), len(trained[0].seeds)
    gain, state = np.empty(shape), np.empty(shape, np.intp)

    def alike(i: int) -> tuple[str, int, str, tuple[int, ...]]:
        config = trained[i].config
        return config.data, config.samples, config.activation, config.hidden

    for _, group in itertools.groupby(sorted(range(shape[0]), key=alike), key=alike):
        members = list(group)
        hidden = 2 * trained[members[0]].config.samples * max(trained[members[0]].config.hidden)
        together = max(1, TOGETHER // (hidden * shape[1]))
        for first in range(0, len(members), together):
            some = members[first : first + together]
            gain[some], state[some] = _measure([trained[i] for i in some])
    return Measured(gain, state)


def _measure(trained: Sequence[Trained]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Score configs of one arrangement of the data, activation and shape."""
    configs, seeds = [one.config for one in trained], trained[0].seeds
    first, shape = configs[0], (len(configs), len(seeds))
    noise = data.draw_noise(seeds.data, first.samples)
    distance = np.repeat([config.distance for config in configs], len(seeds))  # (networks,)
    points = data.place(
        noise.repeat(len(configs), 1, 1), torch.from_numpy(distance), first.data
    )  # (networks, 2, points)
    y = data.labels(first.samples)  # (points,)
    weights: Weights = {
        name: torch.from_numpy(np.concatenate([one.final[name] for one in trained]))
        for name in trained[0].weights
    }
    activate, loss_of = ACTIVATIONS[first.activation], LOSSES[first.loss]

    def ending(w: Weights, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        activity, logit = networks.forward(w, x, activate)
        predicted = torch.sigmoid(logit) > 0.5  # (points,)
        active = torch.stack([(layer > 0).any() for layer in activity]).all()
        return (predicted == predicted[:1]).all(), active, networks.loss(w, x, y, activate, loss_of)

    constant, active, loss = (value.numpy() for value in vmap(ending)(weights, points))
    finite = torch.stack([value.isfinite().flatten(1).all(1) for value in weights.values()]).all(0).numpy()
    dead = ~active & (first.activation == "relu") & finite
    diverged = ~np.isfinite(loss)
    possible = theory.bayes_accuracy(distance, first.data) - 0.5
    gain = (_accuracy(trained, weights, distance) - 0.5) / np.maximum(possible, UNDEFINED_BELOW)
    ended = np.select(
        [diverged, dead, constant, gain >= scoring.LEARNED_GAIN],
        [STATES.index(name) for name in ("diverged", "dead", "constant", "learned")],
        STATES.index("slow"),
    )
    gain = np.where(diverged, 0.0, gain)
    gain[possible < UNDEFINED_BELOW] = np.nan
    return gain.reshape(shape), ended.reshape(shape)


def _accuracy(
    trained: Sequence[Trained], weights: Weights, distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Accuracy on the true distribution, (networks,): in closed form for one hidden unit."""
    config, n = trained[0].config, len(trained[0].seeds)
    if config.hidden == (1,) and config.activation in theory.ACTIVATIONS:
        w = [value.double().numpy() for value in weights.values()]
        return theory.population_accuracy(
            config.activation, w[0][:, 0], w[1][:, 0], w[2][:, 0, 0], w[3][:, 0], distance, config.data
        )
    accuracy = np.empty(len(distance))
    for i, one in enumerate(trained):  # on points that depend on the distance
        own = {
            name: value[i * n : (i + 1) * n, None] for name, value in weights.items()
        }  # (networks, 1, ...)
        accuracy[i * n : (i + 1) * n] = scoring._population_scores(one.config, own)[0][:, -1]
    return accuracy
