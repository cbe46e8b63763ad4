"""Train every config on every seed: one network's step, written out as a loop for many at once, or lifted over them.

Axes: ``networks`` leads every batched array; then ``epochs`` or ``checkpoints``; then a weight's own shape.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from qwerties.config import Config, Seeds
from qwerties.training import compiler as compiling
from qwerties.training import data, native, networks
from qwerties.training.kernels import Kernel
from qwerties.training.networks import SQUASHING, Knobs, Weights, activation_of
from qwerties.training.optimizers import OPTIMIZERS, bias_corrections
from qwerties.training.vmapped import EPOCHS_WORTH_TRACING, Lifted

log = logging.getLogger(__name__)

BLOCK = 512
"""Networks trained together: their data of 1.6 KB each fit a core's second-level cache."""

IMPORT_COST, EAGER_COST, CALL_COST, TRACE_COST = 1.5, 1e-8, 3e-4, 0.3
"""Seconds without the compiler, roughly: for what ``torch.func`` imports of torch's own; per point, hidden unit and
epoch; per epoch and layer; and per layer to trace the step for a long training."""

COMPILE_COST = 8.0
"""Seconds to compile a step of networks that are too large for `native`, roughly."""


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
    compiled: bool | None = None,
    device: str = "cpu",
    progress: Callable[[int], None] = lambda network_epochs: None,
) -> list[Trained]:
    """Train every config on every seed; configs whose shapes agree train in one batch.

    Configs that differ in ``epochs`` alone train once, to the longest; the shorter ones are prefixes of it. A
    network's numbers do not depend on what else is in the batch.

    Parameters
    ----------
    configs : sequence of Config
    seeds : Seeds
    compiled : bool, optional
        Whether to compile; None decides by the amount of work, and by whether there is a compiler.
    device : str
        A torch device.
    progress : callable
        Called now and then with the number of network-epochs done since the last call.

    Returns
    -------
    list of Trained
        One per config, in order.
    """
    longest: dict[Config, int] = {}
    wanted: dict[Config, set[int]] = {}
    for config in configs:
        longest[config.trajectory] = max(config.epochs, longest.get(config.trajectory, 0))
        wanted.setdefault(config.trajectory, set()).add(config.epochs)
    batches: dict[tuple, list[Config]] = {}
    for trajectory, epochs in longest.items():
        config = dataclasses.replace(trajectory, epochs=epochs)
        batches.setdefault((config.structure, epochs), []).append(config)

    done: dict[Config, Trained] = {}
    for batch in batches.values():
        stops = np.unique(
            np.concatenate([checkpoints(n) for config in batch for n in wanted[config.trajectory]])
        )
        decided = compiled
        if decided is None:
            decided = pays_to_compile(batch[0], len(batch) * len(seeds) * int(stops[-1]))
        together = max(1, BLOCK // len(seeds))
        for group in _groups(batch, together, by_kind=decided and device == "cpu"):
            chunks = np.array_split(np.arange(len(seeds)), -(-len(seeds) // BLOCK))
            blocks = [_train_block(group, seeds, chunk, stops, decided, device, progress) for chunk in chunks]
            for i, config in enumerate(group):
                done[config.trajectory] = Trained(
                    config,
                    seeds,
                    np.concatenate([block.losses[i] for block in blocks]),
                    stops,
                    {n: np.concatenate([block.weights[n][i] for block in blocks]) for n in blocks[0].weights},
                    np.concatenate([block.gradient_rms[i] for block in blocks]),
                )
    return [done[config.trajectory].until(config.epochs) for config in configs]


class Kind(NamedTuple):
    """What compiled networks have in common beside their structure: loss, how they bend, and their activation.

    None for networks that are not small: those of one family share a loop, as it takes seconds to compile.
    """

    loss: str
    squashing: bool
    activation: str | None


def kind_of(config: Config) -> Kind:
    """Kind of a config, if it is compiled."""
    is_small = config.weights <= native.FEW_WEIGHTS
    return Kind(config.loss, config.activation in SQUASHING, config.activation if is_small else None)


def _groups(configs: list[Config], most: int, *, by_kind: bool) -> Iterator[list[Config]]:
    """Split a batch into groups of at most ``most`` configs, of one kind each or of all.

    A compiled group of one kind spares the others' work; where steps are not compiled, groups are small, and the calls
    cost more than the arithmetic; and a GPU wants many networks at once.
    """

    def kind(config: Config) -> tuple[Any, ...]:
        return kind_of(config) if by_kind else ()

    for _, alike in itertools.groupby(sorted(configs, key=kind), key=kind):
        members = list(alike)
        yield from (members[i : i + most] for i in range(0, len(members), most))


@functools.cache
def has_compiler() -> bool:
    """Whether there is a C++ compiler; says once if not."""
    found = compiling.compiler() is not None
    if not found:
        log.warning("no C++ compiler found: %s (install g++ or clang)", native.SLOWER)
    return found


def pays_to_compile(config: Config, network_epochs: int) -> bool:
    """Whether compiling saves more than it costs for this many network-epochs of a config's structure."""
    epochs, layers = min(config.epochs, network_epochs), 1 + len(config.hidden)
    eager = EAGER_COST * network_epochs * 2 * config.samples * sum(config.hidden)
    eager += IMPORT_COST + CALL_COST * epochs * layers
    eager += TRACE_COST * layers * (epochs > EPOCHS_WORTH_TRACING)
    weights, twice = config.weights, 1 + (config.weights <= native.FEW_WEIGHTS)
    cost = twice * (0.15 + 6e-3 * weights + 1.5e-5 * weights**2)
    cost = cost if weights <= native.MOST_WEIGHTS else COMPILE_COST
    return eager > cost and has_compiler()


def _rms(gradients: Weights) -> Tensor:
    """Root mean square of each layer's weight gradient, (networks, layers)."""
    return torch.stack([g.flatten(1).square().mean(1).sqrt() for g, _ in networks.layers(gradients)], dim=1)


class _Training(Protocol):
    """A block on its way, whoever does the arithmetic.

    Attributes
    ----------
    weights : Weights, (networks, ...)
        As they are now.
    losses : Tensor, (networks, epochs)
        Of the epochs that are done.
    gradients : Weights, (networks, ...)
        Of the loss, by the weights as they are now.
    """

    @property
    def weights(self) -> Weights: ...
    @property
    def losses(self) -> Tensor: ...
    @property
    def gradients(self) -> Weights: ...
    def advance(self, epochs: int) -> None: ...


@functools.cache
def _kernel(hidden: tuple[int, ...], optimizer: str, kind: Kind) -> Kernel | None:
    """The compiled training loop of a structure and kind; None where it cannot be compiled."""
    weights = networks.initial_weights(Config(hidden=hidden), 0)

    def of_point(w: Weights, k: Knobs, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        # gradients_and_loss by plain autograd, of a product that stands for slope as grad_outputs: torch.func, and
        # grad_outputs, would bring parts of torch's own compiler, which take one to two seconds
        w = {name: value.requires_grad_() for name, value in w.items()}
        activate = (
            networks.ACTIVATIONS[kind.activation] if kind.activation else activation_of(k, kind.squashing)
        )
        z = networks.logit(w, x, activate)
        value, slope = networks.at_logit(z.detach(), y, k.is_mse > 0.5)
        return *torch.autograd.grad(z * slope, list(w.values())), value

    with torch.enable_grad():
        return native.training(
            of_point, OPTIMIZERS[optimizer], weights, {"is_mse": float(kind.loss == "mse")}
        )


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
    data_seeds, weight_seeds = seeds.data[chunk], seeds.weights[chunk]
    first, epochs, block = configs[0], int(stops[-1]), len(configs) * len(chunk)
    own, place = np.unique(data_seeds, return_inverse=True)
    noise = data.draw_noise(own, first.samples)[place]  # (seeds, 2, points)

    distance = torch.tensor([config.distance for config in configs], dtype=torch.float64)
    x = data.place(
        noise.repeat(len(configs), 1, 1),
        distance.repeat_interleave(len(chunk)),
        first.data,
    ).to(device)  # (networks, 2, points)
    y = data.labels(first.samples).to(device)  # (points,)
    k = networks.knobs(configs).repeat_interleave(len(chunk), dim=0).to(device)  # (networks, knobs)
    drawn = functools.cache(networks.stacked_weights)
    starts = [drawn(config.start, tuple(map(int, weight_seeds))) for config in configs]
    weights = {name: torch.cat([w[name] for w in starts]).to(device) for name in starts[0]}  # (networks, ...)
    corrections = bias_corrections(epochs).to(device)  # (epochs, 2)
    is_native = device == "cpu" and first.weights <= native.MOST_WEIGHTS
    kernel = _kernel(first.hidden, first.optimizer, kind_of(first)) if compiled and is_native else None
    kept: list[Weights] = []
    with torch.no_grad():
        training: _Training = (
            kernel.start(weights, k, x, corrections)
            if kernel
            else Lifted(configs, weights, k, x, y, corrections, compiled and not is_native, BLOCK)
        )
        gradient_rms = _rms(training.gradients)
        for begin, end in itertools.pairwise((0, *stops.tolist())):
            training.advance(end - begin)
            kept.append(training.weights)
            progress((end - begin) * block)

    def unstack(value: Tensor) -> np.ndarray:
        return value.cpu().numpy().reshape(len(configs), len(chunk), *value.shape[1:])

    return _Block(
        unstack(training.losses),
        {name: unstack(torch.stack([w[name] for w in kept], dim=1)) for name in weights},
        unstack(gradient_rms),
    )


class _Block(NamedTuple):
    """Arrays of :class:`Trained` for several configs, (configs, networks, ...)."""

    losses: np.ndarray
    weights: dict[str, np.ndarray]
    gradient_rms: np.ndarray
