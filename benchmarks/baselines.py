"""Ways to train the same networks, each as a function of a worker process: ours, and what it is measured against."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from benchmarks import jaxed
from benchmarks.handwritten_cpp import Floor
from qwerties.config import Config, Seeds
from qwerties.execution import devices
from qwerties.study.batches import MAX_NETWORKS
from qwerties.training import data, networks
from qwerties.training.reference import train_reference
from qwerties.training.trainer import train
from qwerties.training.vmapped import EPOCHS_WORTH_TRACING


class Work(NamedTuple):
    """Networks that one process trains: a config on seeds ``first`` to ``first + networks - 1``."""

    config: Config
    first: int
    networks: int

    @property
    def seeds(self) -> Seeds:
        """Their seeds."""
        return Seeds(self.first, self.first + self.networks)


class Done(NamedTuple):
    """What a process spent, and the first network's losses, (epochs,), to be compared."""

    cpu: float
    losses: np.ndarray


def run(way: str, work: Work, library: Path | None = None) -> Done:
    """Train by one of :data:`WAYS`; what is drawn and compiled the first time is kept for the next."""
    go = _prepare(way, work, library)
    began = time.process_time()
    first = go()
    return Done(time.process_time() - began, first)


def prepare(way: str, work: Work, library: Path | None = None) -> None:
    """Draw what the way is given, and train two of the networks: for ways that compile nothing."""
    _prepare(way, work, library)
    config = dataclasses.replace(work.config, epochs=min(work.config.epochs, EPOCHS_WORTH_TRACING + 1))
    WAYS[way](Work(config, work.first, min(work.networks, 2)), library)()


@functools.lru_cache(maxsize=12)
def _prepare(way: str, work: Work, library: Path | None) -> Callable[[], np.ndarray]:
    torch.set_num_threads(1)
    return WAYS[way](work, library)


def _notebook(work: Work, _: Path | None) -> Callable[[], np.ndarray]:
    def go() -> np.ndarray:
        losses = [train_reference(work.config, seed).losses for seed in map(int, work.seeds.data)]
        return losses[0].numpy()

    return go


def _ours(compiled: bool) -> Callable[[Work, Path | None], Callable[[], np.ndarray]]:
    def prepare(work: Work, _: Path | None) -> Callable[[], np.ndarray]:
        return lambda: train([work.config], work.seeds, compiled=compiled)[0].losses[0]

    return prepare


def _ours_on(device: str) -> Callable[[Work, Path | None], Callable[[], np.ndarray]]:
    """Ours as a sweep has it on a device: shard by shard, of whose results nothing is kept."""

    def prepare(work: Work, _: Path | None) -> Callable[[], np.ndarray]:
        def go() -> np.ndarray:
            first = np.empty(0)
            stops = [*range(0, work.networks, MAX_NETWORKS["cuda"]), work.networks]
            for start, stop in itertools.pairwise(stops):
                seeds = Seeds(work.first + start, work.first + stop)
                with devices.resident(device, work.config, devices.SHARERS):
                    (trained,) = train([work.config], seeds, compiled=True, device=device)
                first = first if start else trained.losses[0].copy()
            return first

        return go

    return prepare


def _drawn(work: Work) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Points (networks, 2, points), labels (points,) and initial weights (networks, ...)."""
    config = work.config
    return (
        data.draw(map(int, work.seeds.data), config.distance, config.samples, config.data),
        data.labels(config.samples),
        networks.stacked_weights(config, work.seeds.weights.tolist()),
    )


def _eager(work: Work, _: Path | None) -> Callable[[], np.ndarray]:
    """``vmap`` as its documentation shows it: a batch of all networks, a call per epoch."""
    x, y, start = _drawn(work)
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


def _arrays(work: Work) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    x, y, start = _drawn(work)
    return x.numpy(), y.numpy(), {name: value.numpy() for name, value in start.items()}


def _jax(form: str) -> Callable[[Work, Path | None], Callable[[], np.ndarray]]:
    def prepare(work: Work, _: Path | None) -> Callable[[], np.ndarray]:
        go = jaxed.trainer(form, *_arrays(work), work.config.epochs, work.config.learning_rate)
        return lambda: go()[0]

    return prepare


def _floor(work: Work, library: Path | None) -> Callable[[], np.ndarray]:
    assert library is not None
    x, _, start = _arrays(work)
    floor = Floor(library, x, start)
    return lambda: floor.train(work.config.epochs, work.config.learning_rate)[0]


def _drawing(work: Work, _: Path | None) -> Callable[[], np.ndarray]:
    """No training: only what ours alone has within its time."""

    def go() -> np.ndarray:
        _drawn(work)
        return np.empty(0)

    return go


WAYS: dict[str, Callable[[Work, Path | None], Callable[[], np.ndarray]]] = {
    "notebook": _notebook,
    "eager": _eager,
    "plain": _ours(compiled=False),
    "compiled": _ours(compiled=True),
    "gpu": _ours_on("cuda"),
    **{f"jax {form}": _jax(form) for form in jaxed.FORMS},
    "floor": _floor,
    "drawing": _drawing,
}
"""Name -> function that prepares a training; what it returns trains and returns the first network's losses.

Ours draws data and initial weights, keeps the weights of its checkpoints and stacks its results within the time
that is measured; the others but the notebook's loop are given their arrays before.
"""
