"""One network's step by torch, lifted over a block of networks by ``vmap``: eager, traced, or compiled by torch.

For a GPU, for networks that are too large for `native`, and where there is no compiler.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from qwerties.config import Config
from qwerties.training import native, networks
from qwerties.training.networks import SQUASHING, Knobs, Weights, activation_of
from qwerties.training.optimizers import OPTIMIZERS, State, initial_state

log = logging.getLogger(__name__)

SIZES = 64
"""On the CPU, blocks of torch's own compiled steps hold a multiple of so many networks."""

EPOCHS_WORTH_TRACING = 100
"""Without the compiler, a longer training runs the step as a graph of plain operations: half the calls' cost."""

Step = Callable[..., Sequence[Tensor]]
"""One epoch of a block: (weights..., first moments..., second moments..., k, x, y, correction) -> the same, moved, and
the losses; all flat, as the compiler and the tracer take it."""


def _step(names: Sequence[str], optimizer: str, squashing: bool | None, is_mse: bool | None) -> Step:
    update = OPTIMIZERS[optimizer]

    def step_one(
        weights: Weights, state: State, k: Tensor, x: Tensor, y: Tensor, correction: Tensor
    ) -> tuple[Weights, State, Tensor]:
        knobs = Knobs(*k)
        activate = activation_of(knobs, squashing)
        gradients, value = networks.gradients_and_loss(weights, knobs, x, y, activate, is_mse)
        return *update(weights, gradients, state, knobs, correction), value

    lifted = vmap(step_one, in_dims=(0, 0, 0, 0, None, None))

    def step(*values: Tensor) -> tuple[Tensor, ...]:
        *moved, k, x, y, correction = values
        weights, first, second = (
            dict(zip(names, part, strict=True)) for part in zip(*[iter(moved)] * len(names), strict=True)
        )
        weights, (first, second), losses = lifted(weights, (first, second), k, x, y, correction)
        return (*weights.values(), *first.values(), *second.values(), losses)

    return step


_traced: dict[tuple[Any, ...], torch.fx.GraphModule] = {}
"""Steps as graphs of plain operations, by all that they depend on."""

_compiled: dict[tuple[Any, ...], Step] = {}
"""Compiled steps likewise; an eager one where the compiler failed."""


def _key(arguments: Sequence[Tensor], kind: tuple[Any, ...]) -> tuple[Any, ...]:
    """All that a step depends on: its ``kind``, and its arguments' shapes and types."""
    return (*kind, *((value.shape, value.dtype, value.device) for value in arguments))


def _traced_step(step: Step, arguments: Sequence[Tensor], kind: tuple[Any, ...]) -> torch.fx.GraphModule:
    """Trace a step for arguments of these shapes, once for each kind of step."""
    from torch.fx.experimental.proxy_tensor import make_fx  # and torch's compiler, which takes two seconds

    key = _key(arguments, kind)
    if key not in _traced:
        _traced[key] = make_fx(step)(*arguments)
    return _traced[key]


def _compiled_step(step: Step, arguments: Sequence[Tensor], kind: tuple[Any, ...]) -> Step:
    """Compile a step by torch for arguments of these shapes, once for each kind of step.

    For a GPU, and for networks that are too large for `native`. The step is traced without the guards of
    ``torch.compile``, which take longer than the arithmetic of 200 networks, epoch by epoch: shapes and types are
    checked here, once for a block.
    """
    key = _key(arguments, kind)
    if key not in _compiled:
        try:
            with warnings.catch_warnings():
                # a GPU would be faster with 10 of 23 bits: its numbers are to agree with the CPU's
                warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")
                _compiled[key] = torch._inductor.compile(_traced_step(step, arguments, kind), list(arguments))
            _compiled[key](*arguments)
        except (
            RuntimeError,
            torch._dynamo.exc.TorchDynamoException,
        ) as error:  # the compiler there is does not do
            log.warning("the compiler failed (%s): %s", type(error).__name__, native.SLOWER)
            _compiled[key] = step
    return _compiled[key]


def _common(answers: Iterable[bool]) -> bool | None:
    """Return what all answers are; None where they differ."""
    found = set(answers)
    return found.pop() if len(found) == 1 else None


def _size(networks: int, device: str, most: int) -> int:
    """Size of the block that so many networks are trained in: sizes are few, as each is compiled by itself."""
    if device == "cpu":
        return -(-networks // SIZES) * SIZES
    # a GPU has idle places; memory it may not have
    return max(networks, min(1 << (networks - 1).bit_length(), most))


def _padded(value: Tensor, size: int) -> Tensor:
    """Repeat the last network until there are ``size``; what becomes of the copies is not looked at."""
    return (
        torch.cat([value, value[-1:].expand(size - len(value), *value.shape[1:])])
        if size > len(value)
        else value
    )


class Lifted:
    """A block of configs of one structure, trained by torch: one call of the lifted step for each epoch.

    Parameters
    ----------
    configs : sequence of Config
    weights : Weights, (networks, ...)
    k, x, y : Tensor
        Knobs (networks, knobs), points (networks, 2, points) and labels (points,).
    corrections : Tensor, (epochs, 2)
        Of Adam's bias.
    compiled : bool
        Whether torch compiles the step.
    most : int
        Networks that there is room for.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        weights: Weights,
        k: Tensor,
        x: Tensor,
        y: Tensor,
        corrections: Tensor,
        compiled: bool,
        most: int,
    ) -> None:
        self._names, self._networks, self._done = list(weights), len(k), 0
        self._inputs = k, x, y
        self._corrections = corrections
        # a step for each loss saves a sixth of it; compiled, it would be as much again to compile
        is_mse = None if compiled else _common(config.loss == "mse" for config in configs)
        kind = (configs[0].optimizer, _common(config.activation in SQUASHING for config in configs), is_mse)
        self._step = _step(self._names, *kind)
        size = _size(len(k), x.device.type, most) if compiled else len(k)
        padded = {name: _padded(value, size) for name, value in weights.items()}
        moments = [value for moment in initial_state(padded) for value in moment.values()]
        self._moved: list[Tensor] = [*padded.values(), *moments]
        self._fixed = (_padded(k, size), _padded(x, size), y)
        self._losses = torch.empty(len(corrections), size, device=x.device)  # rows are written whole
        example = (*self._moved, *self._fixed, corrections[0])
        if compiled:
            self._step = _compiled_step(self._step, example, kind)
        elif len(corrections) > EPOCHS_WORTH_TRACING:
            self._step = _traced_step(self._step, example, kind)

    def advance(self, epochs: int) -> None:
        """Train for so many more epochs."""
        for epoch in range(self._done, self._done + epochs):
            *self._moved, self._losses[epoch] = self._step(
                *self._moved, *self._fixed, self._corrections[epoch]
            )
        self._done += epochs

    @property
    def weights(self) -> Weights:
        """Weights as they are now, (networks, ...)."""
        return {n: value[: self._networks] for n, value in zip(self._names, self._moved, strict=False)}

    @property
    def losses(self) -> Tensor:
        """Losses of the epochs that are done, (networks, epochs)."""
        return self._losses[:, : self._networks].T

    @property
    def gradients(self) -> Weights:
        """Gradients of the loss, by the weights as they are now, (networks, ...)."""
        k, x, y = self._inputs

        def of_one(w: Weights, k: Tensor, x: Tensor) -> Weights:
            knobs = Knobs(*k)
            return networks.gradients_and_loss(w, knobs, x, y, activation_of(knobs, None))[0]

        return vmap(of_one)(self.weights, k, x)
