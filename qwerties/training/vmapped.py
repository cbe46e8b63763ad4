"""Train networks by PyTorch: one network's step, lifted over a batch by ``vmap``.

For a GPU, for networks that are too large for the C++ kernel, and where there is no kernel.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from qwerties.config import Config
from qwerties.training import data, networks
from qwerties.training.networks import ACTIVATIONS, LOSSES, Hyperparameters, Weights
from qwerties.training.optimizers import OPTIMIZERS, State, bias_corrections, initial_state

log = logging.getLogger(__name__)

# A longer training runs its step as a graph of plain operations: half a second to trace, half the time of each call
EPOCHS_WORTH_TRACING = 100

# One epoch of a batch, flat, as the tracer and PyTorch's compiler take it: (weights..., first moments..., second
# moments..., hyperparameters, x, y, correction) -> the same weights and moments, updated, and the losses
Step = Callable[..., Sequence[Tensor]]

_prepared: dict[tuple[Any, ...], Step] = {}  # steps by all that they depend on


def _loss(config: Config) -> Callable[[Weights, Tensor, Tensor], Tensor]:
    activate, loss_of = ACTIVATIONS[config.activation], LOSSES[config.loss]
    return lambda weights, x, y: networks.loss(weights, x, y, activate, loss_of)


def _step(config: Config, names: Sequence[str]) -> Step:
    gradients_and_loss, update = grad_and_value(_loss(config)), OPTIMIZERS[config.optimizer]

    def step_one(
        weights: Weights, state: State, hyper: Tensor, x: Tensor, y: Tensor, correction: Tensor
    ) -> tuple[Weights, State, Tensor]:
        gradients, loss = gradients_and_loss(weights, x, y)
        return *update(weights, gradients, state, Hyperparameters(*hyper), correction), loss

    lifted = vmap(step_one, in_dims=(0, 0, 0, 0, None, None))

    def step(*values: Tensor) -> tuple[Tensor, ...]:
        *moved, hyper, x, y, correction = values
        weights, first, second = (
            dict(zip(names, part, strict=True)) for part in zip(*[iter(moved)] * len(names), strict=True)
        )
        weights, (first, second), losses = lifted(weights, (first, second), hyper, x, y, correction)
        return (*weights.values(), *first.values(), *second.values(), losses)

    return step


def _prepare(config: Config, step: Step, arguments: Sequence[Tensor], is_compiled: bool) -> Step:
    """Trace a step for arguments of these shapes, and compile it for a GPU, once for each kind of step."""
    from torch.fx.experimental.proxy_tensor import make_fx  # and PyTorch's compiler, which takes two seconds

    shapes = ((value.shape, value.dtype, value.device) for value in arguments)
    key = (config.activation, config.loss, config.optimizer, *shapes)
    if key in _prepared:
        return _prepared[key]
    traced = make_fx(step)(*arguments)
    prepared: Step = traced
    if is_compiled:
        try:
            with warnings.catch_warnings():
                # a GPU would be faster with 10 of 23 bits, but its numbers must agree with the CPU's
                warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")
                prepared = torch._inductor.compile(traced, list(arguments))
            prepared(*arguments)
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
            log.warning("PyTorch's compiler failed (%s): training is slower", type(error).__name__)
            prepared = step
    _prepared[key] = prepared
    return prepared


def _size(networks: int, max_networks: int) -> int:
    """Return how many networks a GPU trains for so many: a power of two, as each size is compiled by itself."""
    return max(networks, min(1 << (networks - 1).bit_length(), max_networks))


def _pad(value: Tensor, size: int) -> Tensor:
    """Repeat the last network until there are ``size``; the copies' results are dropped."""
    return torch.cat([value, value[-1:].expand(size - len(value), *value.shape[1:])])


def train(
    config: Config,
    weights: Weights,
    hyper: Tensor,
    x: Tensor,
    stops: Tensor,
    progress: Callable[[int], None],
    max_networks: int,
) -> tuple[Tensor, Weights, Weights]:
    """Train networks of one batch on the device that holds them; parameters and results as in `native.train`.

    Parameters
    ----------
    config : Config
        Any of the batch.
    max_networks : int
        Networks that there is room for.
    """
    y, n, epochs = data.labels(config.samples).to(x.device), len(hyper), int(stops[-1])
    gradients = vmap(grad(_loss(config)), in_dims=(0, 0, None))(weights, x, y)
    is_gpu = x.device.type != "cpu"
    size = _size(n, max_networks) if is_gpu else n
    fixed = [_pad(hyper, size), _pad(x, size), y]
    padded = {name: _pad(value, size) for name, value in weights.items()}
    state = [value for moment in initial_state(padded) for value in moment.values()]
    moved: Sequence[Tensor] = [*padded.values(), *state]
    corrections = bias_corrections(epochs).to(x.device)
    step = _step(config, list(weights))
    if is_gpu or epochs > EPOCHS_WORTH_TRACING:
        step = _prepare(config, step, [*moved, *fixed, corrections[0]], is_gpu)
    losses = torch.empty(epochs, size, device=x.device, dtype=torch.float32)  # rows are written whole
    kept = [list(weights.values())]
    for begin, end in itertools.pairwise(stops.tolist()):
        for epoch in range(begin, end):
            *moved, losses[epoch] = step(*moved, *fixed, corrections[epoch])
        kept.append([value[:n] for value in moved[: len(weights)]])
        progress((end - begin) * n)
    named = zip(weights, zip(*kept, strict=True), strict=True)
    return losses[:, :n].T, {name: torch.stack(values, dim=1) for name, values in named}, gradients
