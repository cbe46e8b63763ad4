"""Ways to train the same networks, each as a function of a worker process: ours, and its baselines.

Ours draws data and initial weights, keeps the weights of its checkpoints and stacks its results within the measured
time; the others but the notebook's loop get their arrays before.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from benchmarks import handwritten_cpp, jaxed
from qwerties.config import Config, Seeds
from qwerties.execution import devices
from qwerties.training import data, networks
from qwerties.training.reference import train_reference
from qwerties.training.trainer import train

GPU_BATCH = 2**12  # networks that a sweep trains at a time on a GPU


class Work(NamedTuple):
    """Networks that one process trains: a config on seeds ``first`` to ``first + networks - 1``."""

    config: Config
    first: int
    networks: int

    @property
    def seeds(self) -> Seeds:
        """Their seeds."""
        return Seeds(self.first, self.first + self.networks)


Train = Callable[[], np.ndarray]  # trains, and returns the first network's losses, (epochs,), or nothing


def run(way: str, work: Work, library: Path | None = None) -> np.ndarray:
    """Train by one of `WAYS`; what is drawn and compiled the first time is kept for the next."""
    return _prepare(way, work, library)()


def prepare(way: str, work: Work, library: Path | None = None) -> None:
    """Draw what the way is given, and train two of the networks shortly: for ways that compile nothing."""
    _prepare(way, work, library)
    config = dataclasses.replace(work.config, epochs=min(work.config.epochs, 100))
    WAYS[way](Work(config, work.first, min(work.networks, 2)), library)()


@functools.lru_cache(maxsize=12)
def _prepare(way: str, work: Work, library: Path | None) -> Train:
    torch.set_num_threads(1)
    return WAYS[way](work, library)


def _notebook(work: Work, _: Path | None) -> Train:
    def go() -> np.ndarray:
        losses = [train_reference(work.config, seed).losses for seed in work.seeds.data.tolist()]
        return losses[0].numpy()

    return go


def _ours(compiled: bool, work: Work, _: Path | None) -> Train:
    return lambda: train([work.config], work.seeds, compiled=compiled)[0].losses[0]


def ours_on(device: str, work: Work, _: Path | None) -> Train:
    """Ours as a sweep has it on a device: batch by batch, of whose results nothing is kept."""

    def go() -> np.ndarray:
        losses = []
        stops = [*range(0, work.networks, GPU_BATCH), work.networks]
        for start, stop in itertools.pairwise(stops):
            seeds = Seeds(work.first + start, work.first + stop)
            with devices.resident(device, work.config, devices.SHARERS):
                (trained,) = train([work.config], seeds, compiled=True, device=device)
            losses.append(trained.losses[0].copy())
        return losses[0]

    return go


def _draw(work: Work) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return points (networks, 2, points), labels (points,) and initial weights (networks, ...)."""
    config = work.config
    return (
        data.draw(map(int, work.seeds.data), config.distance, config.samples, config.data),
        data.labels(config.samples),
        networks.stacked_weights(config, work.seeds.weights.tolist()),
    )


def _eager(work: Work, _: Path | None) -> Train:
    """``vmap`` as its documentation shows it: a batch of all networks, a call per epoch."""
    x, y, start = _draw(work)
    config = work.config

    def loss(w: dict[str, Tensor], x: Tensor) -> Tensor:
        *hidden, (weight, bias) = networks.layers(w)
        for own, shift in hidden:
            x = torch.relu(own @ x + shift[:, None])  # (hidden, points)
        z = (weight @ x + bias[:, None])[0]  # (points,)
        return torch.nn.functional.binary_cross_entropy(torch.sigmoid(z), y)

    step = vmap(grad_and_value(loss))

    def go() -> np.ndarray:
        w = dict(start)
        losses = torch.empty(config.epochs, work.networks)
        for epoch in range(config.epochs):
            gradients, losses[epoch] = step(w, x)
            w = {name: w[name] - config.learning_rate * gradients[name] for name in w}
        return losses[:, 0].numpy()

    return go


def arrays(work: Work) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return what `_draw` draws as arrays."""
    x, y, start = _draw(work)
    return x.numpy(), y.numpy(), {name: value.numpy() for name, value in start.items()}


def _jax(form: str, work: Work, _: Path | None) -> Train:
    go = jaxed.trainer(form, *arrays(work), work.config.epochs, work.config.learning_rate)
    return lambda: go()[0]


def _cpp(work: Work, library: Path | None) -> Train:
    assert library is not None
    x, _, start = arrays(work)
    loop = handwritten_cpp.Loop(library, x, start)
    return lambda: loop.train(work.config.epochs, work.config.learning_rate)[0]


def _drawing(work: Work, _: Path | None) -> Train:
    """No training: only what ours alone has within its time."""

    def go() -> np.ndarray:
        _draw(work)
        return np.empty(0)

    return go


# Name -> function that prepares a training; of those that compile nothing, a short one is enough to warm up
INTERPRETED = ("notebook", "eager", "plain", "drawing")
WAYS: dict[str, Callable[[Work, Path | None], Train]] = {
    "notebook": _notebook,
    "eager": _eager,
    "plain": functools.partial(_ours, False),
    "compiled": functools.partial(_ours, True),
    "gpu": functools.partial(ours_on, "cuda"),
    **{f"jax {form}": functools.partial(_jax, form) for form in jaxed.FORMS},
    "c++": _cpp,
    "drawing": _drawing,
}
