"""ONE network in plain torch: initial weights, forward pass, loss. Batches are made of it by ``vmap`` elsewhere.

Weights are a dict under the names that ``nn.Sequential`` gives them in the notebook's model: ``0.weight``
(out, in), ``0.bias`` (out,), ``2.weight``, ... in module order. The module is imported without torch, so that the names
of the entries are known everywhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from qwerties.config import Config

Weights: TypeAlias = "dict[str, Tensor]"
Activation: TypeAlias = "Callable[[Tensor], Tensor]"
Loss: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"

# An entry is all that a new activation needs, from `Config` to the report. Lines of its own in kernel.cpp make it
# many times faster. The same holds for losses.
ACTIVATIONS: dict[str, Activation] = {
    "relu": lambda u: u.relu(),
    "linear": lambda u: u,
    "tanh": lambda u: u.tanh(),
    "sigmoid": lambda u: u.sigmoid(),
}


def bce(p: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of each point in nats, as ``nn.BCELoss`` has it, which refuses NaN; here NaN stays NaN."""
    import torch
    from torch.nn.functional import binary_cross_entropy

    is_nan = p.isnan()
    return torch.where(is_nan, p, binary_cross_entropy(torch.where(is_nan, 0.5, p), y, reduction="none"))


# Loss of each point, (points,), from the probability of class 1 and the label, both (points,)
LOSSES: dict[str, Loss] = {"bce": bce, "mse": lambda p, y: (p - y).square()}


class Hyperparameters(NamedTuple):
    """Numbers that may differ between the networks of a batch; with a leading networks axis, of a batch."""

    learning_rate: Tensor
    momentum: Tensor


# Largest layer, in weights, whose product is computed elementwise
ELEMENTWISE = 16


def hyperparameters(configs: Iterable[Config]) -> Tensor:
    """Return :class:`Hyperparameters` as one tensor, (networks, fields)."""
    import torch

    rows = [[getattr(config, name) for name in Hyperparameters._fields] for config in configs]
    return torch.tensor(rows, dtype=torch.float32)


def initial_weights(config: Config, seed: int) -> Weights:
    """Draw one network's initial weights, as ``torch.manual_seed(2 * seed + 1)`` and the notebook's model would.

    He's initialisation draws normal weights of variance 2 / fan_in, for every activation, and sets biases to zero
    (He et al. 2015, arXiv 1502.01852).
    """
    return {name: value[0] for name, value in stacked_weights(config, [seed]).items()}


def stacked_weights(config: Config, seeds: Sequence[int]) -> Weights:
    """Draw initial weights of a network for each seed, (networks, ...), as in `initial_weights`."""
    import torch
    from torch import Tensor

    weights: Weights = {}
    draws: list[tuple[Sequence[Tensor], Callable[..., Tensor], float, float]] = []
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise((2, *config.hidden, 1))):
        values = torch.zeros(len(seeds), fan_out * (fan_in + 1), dtype=torch.float32)
        weight, bias = values.split((fan_out * fan_in, fan_out), dim=1)
        weights[f"{2 * layer}.weight"] = weight.view(-1, fan_out, fan_in)
        weights[f"{2 * layer}.bias"] = bias
        if config.init == "he":
            draws.append((weight.unbind(), Tensor.normal_, 0.0, math.sqrt(2) / math.sqrt(fan_in)))
        else:  # nn.Linear draws the weights and then the biases, both from U(-bound, bound): one after the other
            bound = 1 / math.sqrt(fan_in)
            draws.append((values.unbind(), Tensor.uniform_, -bound, bound))
    generator = torch.Generator()
    for i, seed in enumerate(seeds):
        generator.manual_seed(2 * int(seed) + 1)
        for rows, draw, first, second in draws:
            draw(rows[i], first, second, generator=generator)
    weights[f"{2 * len(config.hidden)}.weight"] *= config.output_scale
    return weights


def layers(weights: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """(weight, bias) of every layer, from the input to the output."""
    values = list(weights.values())
    return list(zip(values[::2], values[1::2], strict=True))


def _affine(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Return ``weight @ x + bias``, (out, points); tiny products elementwise, which is faster for a batch."""
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


def loss(weights: Weights, x: Tensor, y: Tensor, activate: Activation, loss_of: Loss) -> Tensor:
    """Mean training loss of one network over its points, ()."""
    return loss_of(logit(weights, x, activate).sigmoid(), y).mean()
