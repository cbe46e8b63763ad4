"""Train every config on every seed, many networks at once: by the C++ kernel, or by PyTorch where that cannot.

Axes: ``networks`` leads every batched array; then ``epochs`` or ``checkpoints``; then a weight's own shape.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from qwerties.config import Config, Seeds
from qwerties.training import data, native, networks, vmapped
from qwerties.training.networks import Weights

# Networks trained together: their data of 1.6 KB each fit a core's second-level cache
BLOCK = 512


@dataclass(frozen=True)
class Trained:
    """What training left of one config on a block of seeds.

    Attributes
    ----------
    losses : ndarray, (networks, epochs), float32
        Loss of the forward pass before each update; epoch 1 comes first.
    checkpoints : ndarray, (checkpoints,), int
        Updates made when weights were kept: 0 first, ``config.epochs`` last.
    weights : dict of ndarray, (networks, checkpoints, ...), float32
        Under the names of ``nn.Sequential``'s state dict.
    gradient_rms : ndarray, (networks, layers), float32
        Root mean square of each layer's weight gradient before the first update.
    """

    config: Config
    seeds: Seeds
    losses: np.ndarray
    checkpoints: np.ndarray
    weights: dict[str, np.ndarray]
    gradient_rms: np.ndarray

    @property
    def final(self) -> dict[str, np.ndarray]:
        """Weights after the last update, (networks, ...)."""
        return {name: value[:, -1] for name, value in self.weights.items()}

    def until(self, epochs: int) -> Trained:
        """Read off what a training of fewer epochs would have given; exact, as nothing here depends on the end."""
        kept = np.isin(self.checkpoints, checkpoints(epochs))
        return dataclasses.replace(
            self,
            config=dataclasses.replace(self.config, epochs=epochs),
            losses=self.losses[:, :epochs],
            checkpoints=self.checkpoints[kept],
            weights={name: value[:, kept] for name, value in self.weights.items()},
        )


def checkpoints(epochs: int) -> np.ndarray:
    """Epochs at which weights are kept: 0, about 50 evenly spaced on a log scale, and the last."""
    grid = np.unique(np.round(10 ** np.arange(0, 8, 1 / 18)).astype(int))
    return np.unique(np.concatenate(([0], grid[grid < epochs], [epochs])))


def train(
    configs: Sequence[Config],
    seeds: Seeds,
    *,
    compiled: bool = True,
    device: str = "cpu",
    progress: Callable[[int], None] = lambda network_epochs: None,
) -> list[Trained]:
    """Train every config on every seed; configs of one structure train in one batch.

    Configs that differ in ``epochs`` alone train once, to the longest; the shorter ones are prefixes of it. A
    network's numbers do not depend on what else is in the batch.

    Parameters
    ----------
    configs : sequence of Config
    seeds : Seeds
    compiled : bool
        Whether the C++ kernel trains, where it can; else PyTorch does.
    device : str
        A torch device.
    progress : callable
        Called now and then with the number of network-epochs done since the last call.

    Returns
    -------
    list of Trained
        One per config, in order.

    Examples
    --------
    >>> from qwerties import Config, Seeds, train
    >>> relu, linear = train([Config(epochs=50), Config(epochs=50, activation="linear")], Seeds(0, 3))
    >>> relu.losses.shape  # (networks, epochs)
    (3, 50)
    >>> linear.final["0.weight"].shape  # (networks, units, inputs)
    (3, 1, 2)
    """
    epoch_counts: dict[Config, set[int]] = {}
    for config in configs:
        epoch_counts.setdefault(config.without_epochs, set()).add(config.epochs)
    batches: dict[tuple, list[Config]] = {}
    for without_epochs, counts in epoch_counts.items():
        config = dataclasses.replace(without_epochs, epochs=max(counts))
        batches.setdefault((config.batch_key, config.epochs), []).append(config)

    done: dict[Config, Trained] = {}
    together = max(1, BLOCK // len(seeds))
    chunks = np.array_split(np.arange(len(seeds)), -(-len(seeds) // BLOCK))
    for batch in batches.values():
        counts = set().union(*(epoch_counts[config.without_epochs] for config in batch))
        stops = np.unique(np.concatenate([checkpoints(count) for count in counts]))
        for first in range(0, len(batch), together):
            group = batch[first : first + together]
            blocks = [
                _train_block(group, seeds, chunk, stops, compiled, device, progress) for chunk in chunks
            ]
            for i, config in enumerate(group):
                done[config.without_epochs] = Trained(
                    config,
                    seeds,
                    np.concatenate([block.losses[i] for block in blocks]),
                    stops,
                    {n: np.concatenate([block.weights[n][i] for block in blocks]) for n in blocks[0].weights},
                    np.concatenate([block.gradient_rms[i] for block in blocks]),
                )
    return [done[config.without_epochs].until(config.epochs) for config in configs]


def _rms(gradients: Weights) -> Tensor:
    """Root mean square of each layer's weight gradient, (networks, layers)."""
    return torch.stack([g.flatten(1).square().mean(1).sqrt() for g, _ in networks.layers(gradients)], dim=1)


def _train_block(
    configs: Sequence[Config],
    seeds: Seeds,
    chunk: np.ndarray,
    stops: np.ndarray,
    compiled: bool,
    device: str,
    progress: Callable[[int], None],
) -> _Block:
    """Train configs of one structure on a chunk of the seeds, to the last stop."""
    data_seeds, weight_seeds, first = seeds.data[chunk], seeds.weights[chunk], configs[0]
    own, place = np.unique(data_seeds, return_inverse=True)
    noise = data.draw_noise(own, first.samples)  # (data seeds, 2, points)
    noise = noise if len(own) == len(chunk) else noise[place]  # (seeds, 2, points)

    def spread(values: Tensor) -> Tensor:
        """Repeat a config's values for each of its networks, (configs, ...) -> (networks, ...)."""
        return values[:, None].expand(-1, len(chunk), *values.shape[1:]).flatten(0, 1)

    distance = torch.tensor([config.distance for config in configs], dtype=torch.float64)
    x = data.place(
        noise.expand(len(configs), *noise.shape).flatten(0, 1),
        spread(distance),
        first.data,
    )  # (networks, 2, points)
    hyper = spread(networks.hyperparameters(configs))  # (networks, fields)
    drawn = functools.cache(networks.stacked_weights)
    starts = [drawn(config.init_key, tuple(weight_seeds.tolist())) for config in configs]
    weights = {name: torch.cat([w[name] for w in starts]).to(device) for name in starts[0]}  # (networks, ...)
    arrays = (weights, hyper.to(device), x.to(device), torch.from_numpy(stops), progress)
    library = native.load(first) if compiled and device == "cpu" else None
    with torch.no_grad():
        if library:
            losses, kept, gradients = native.train(library, *arrays)
        else:
            losses, kept, gradients = vmapped.train(first, *arrays, BLOCK)

    def unstack(value: Tensor) -> np.ndarray:
        return value.cpu().numpy().reshape(len(configs), len(chunk), *value.shape[1:])

    return _Block(
        unstack(losses), {name: unstack(value) for name, value in kept.items()}, unstack(_rms(gradients))
    )


class _Block(NamedTuple):
    """Arrays of :class:`Trained` for several configs, (configs, networks, ...)."""

    losses: np.ndarray
    weights: dict[str, np.ndarray]
    gradient_rms: np.ndarray
