"""ONE network in plain torch: initial weights, forward pass, loss. Batches are made of it by ``vmap`` elsewhere.

Weights are a dict under the names that ``nn.Sequential`` gives them in the notebook's model: ``0.weight``
(out, in), ``0.bias`` (out,), ``2.weight``, ... in module order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qwerties.config import Config

Weights = dict[str, Tensor]
Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "linear": lambda u: u,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


class Knobs(NamedTuple):
    """The numeric settings of one network; with a leading networks axis, of a batch.

    Activations come in two families, each one formula with numbers in it: ``u * (1 if u > 0 else slope)`` is ReLU
    at slope 0 and linear at slope 1; ``height * sigmoid(steepness * u) - offset`` is sigmoid at (1, 1, 0) and tanh
    at (2, 2, 1).
    """

    is_mse: Tensor
    is_squashing: Tensor
    slope: Tensor
    steepness: Tensor
    height: Tensor
    offset: Tensor
    learning_rate: Tensor
    momentum: Tensor


ELEMENTWISE = 16
"""Largest layer, in weights, whose product is worked out elementwise."""

# is_squashing, slope, steepness, height, offset
_ACTIVATION_KNOBS = {
    "relu": (0.0, 0.0, 1.0, 1.0, 0.0),
    "linear": (0.0, 1.0, 1.0, 1.0, 0.0),
    "sigmoid": (1.0, 1.0, 1.0, 1.0, 0.0),
    "tanh": (1.0, 1.0, 2.0, 2.0, 1.0),
}
SQUASHING = frozenset({"sigmoid", "tanh"})


def knobs(configs: Iterable[Config]) -> Tensor:
    """Numeric settings of a batch as one tensor, (networks, knobs), columns in the order of :class:`Knobs`."""
    rows = [
        (float(c.loss == "mse"), *_ACTIVATION_KNOBS[c.activation], c.learning_rate, c.momentum)
        for c in configs
    ]
    return torch.tensor(rows, dtype=torch.float32)


def initial_weights(config: Config, seed: int) -> Weights:
    """Draw one network's initial weights, as ``torch.manual_seed(2 * seed + 1)`` and the notebook's model would.

    He's initialisation draws normal weights of variance 2 / fan_in, for every activation, and sets biases to zero
    (He et al. 2015, arXiv 1502.01852).
    """
    return {name: value[0] for name, value in stacked_weights(config, [seed]).items()}


def stacked_weights(config: Config, seeds: Sequence[int]) -> Weights:
    """Initial weights of a network for each seed, (networks, ...), as in `initial_weights`."""
    weights: Weights = {}
    draws: list[Callable[[int, torch.Generator], object]] = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise((2, *config.hidden, 1))):
        weight, bias = torch.empty(len(seeds), fan_out, fan_in), torch.zeros(len(seeds), fan_out)
        weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"] = weight, bias
        if config.init == "he":
            draws.append(_normal(weight, math.sqrt(2) / math.sqrt(fan_in)))
        else:  # the two draws of nn.Linear.reset_parameters
            gain = nn.init.calculate_gain("leaky_relu", math.sqrt(5))
            draws.append(_uniform(weight, math.sqrt(3) * (gain / math.sqrt(fan_in))))
            draws.append(_uniform(bias, 1 / math.sqrt(fan_in)))
    generator = torch.Generator()
    for i, seed in enumerate(seeds):
        generator.manual_seed(2 * int(seed) + 1)
        for draw in draws:
            draw(i, generator)
    weights[f"{2 * len(config.hidden)}.weight"] *= config.output_scale
    return weights


def _uniform(tensor: Tensor, bound: float) -> Callable[[int, torch.Generator], object]:
    """What draws the tensor's i-th part anew, when it is called with i."""
    parts = tensor.unbind()
    return lambda i, generator: parts[i].uniform_(-bound, bound, generator=generator)


def _normal(tensor: Tensor, deviation: float) -> Callable[[int, torch.Generator], object]:
    parts = tensor.unbind()
    return lambda i, generator: parts[i].normal_(0, deviation, generator=generator)


def layers(weights: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """(weight, bias) of every layer, from the input to the output."""
    values = list(weights.values())
    return list(zip(values[::2], values[1::2], strict=True))


def activation_of(k: Knobs, squashing: bool | None) -> Activation:
    """The activation that a network's knobs ask for.

    ``squashing`` says that all (True) or none (False) of a batch squash, and spares the other family's work; None
    works out both and chooses per network.
    """

    def bend(u: Tensor) -> Tensor:
        return u * torch.where(u > 0, 1.0, k.slope)

    def squash(u: Tensor) -> Tensor:
        return k.height * torch.sigmoid(k.steepness * u) - k.offset

    if squashing is None:
        return lambda u: torch.where(k.is_squashing > 0.5, squash(u), bend(u))
    return squash if squashing else bend


def _affine(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """``weight @ x + bias``, (out, points); tiny products elementwise, so that the compiler can fuse them."""
    if weight.numel() <= ELEMENTWISE:
        return (weight[:, :, None] * x[None]).sum(1) + bias[:, None]
    return weight @ x + bias[:, None]


def forward(weights: Weights, x: Tensor, activate: Activation) -> tuple[list[Tensor], Tensor]:
    """Run one network on points x (2, points).

    Returns
    -------
    activity : list of Tensor, (width, points)
        Output of every hidden layer, from the input on.
    logit : Tensor, (points,)
        Log-odds of class 1.
    """
    *hidden, output = layers(weights)
    activity = []
    for weight, bias in hidden:
        x = activate(_affine(weight, bias, x))  # (width, points)
        activity.append(x)
    return activity, _affine(*output, x)[0]


def logit(weights: Weights, x: Tensor, activate: Activation) -> Tensor:
    """Log-odds of class 1 at points x (2, points), (points,)."""
    return forward(weights, x, activate)[1]


def at_logit(z: Tensor, y: Tensor, is_mse: Tensor | bool) -> tuple[Tensor, Tensor]:
    """Loss of each point, and its derivative by the logit, both of z's shape.

    They are those of ``nn.Sigmoid`` followed by ``nn.BCELoss`` or ``nn.MSELoss``, float32 corners included: BCELoss
    clamps a point's log at -100, and divides its gradient by at least 1e-12, so that a saturated output stops
    learning. That is why the derivative, ``p - y`` for BCE and ``2 (p - y) p (1 - p)`` for MSE, is written out; it also
    spares the compiler a second exp and log. With ``is_mse`` a bool only that loss is worked out, to the same bits.
    """
    p = torch.sigmoid(z)
    error, slope = p - y, p * (1 - p)
    if is_mse is True:
        return error * error, error * (2 * slope)
    likelihood = torch.where(y > 0.5, p, 1 - p)
    bce, flat = -torch.log(likelihood).clamp_min(-100.0), (slope * 1e12).clamp_max(1.0)
    if is_mse is False:
        return bce, error * flat
    return torch.where(is_mse, error * error, bce), error * torch.where(is_mse, 2 * slope, flat)


def loss(weights: Weights, k: Knobs, x: Tensor, y: Tensor, activate: Activation) -> Tensor:
    """Mean training loss of one network over its points, () — BCE in nats, or MSE of the probability."""
    return at_logit(logit(weights, x, activate), y, k.is_mse > 0.5)[0].mean()


def gradients_and_loss(
    weights: Weights, k: Knobs, x: Tensor, y: Tensor, activate: Activation, is_mse: bool | None = None
) -> tuple[Weights, Tensor]:
    """Gradient of the mean training loss of one network by each of its weights, and the loss, ().

    ``is_mse`` says that all (True) or none (False) of a batch have that loss, and spares the other's work.
    """
    z, back = torch.func.vjp(lambda w: logit(w, x, activate), weights)[:2]
    value, slope = at_logit(z, y, k.is_mse > 0.5 if is_mse is None else is_mse)
    (gradients,) = back(slope / len(slope))
    return gradients, value.mean()
