"""Update rules of ONE network, as in ``torch.optim``: a new one is a function and an entry of `OPTIMIZERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from qwerties.training.networks import Hyperparameters, Weights

BETAS = (0.9, 0.999)
EPSILON = 1e-8

# First and second moment of every weight; zeros before the first update
State: TypeAlias = "tuple[Weights, Weights]"


def bias_corrections(epochs: int) -> Tensor:
    """Adam's ``1 - beta1**t`` and ``sqrt(1 - beta2**t)`` for t = 1, 2, ..., (epochs, 2)."""
    import torch

    t = torch.arange(1, epochs + 1, dtype=torch.float64)
    return torch.stack((1 - BETAS[0] ** t, (1 - BETAS[1] ** t).sqrt()), dim=1).float()


def sgd(
    weights: Weights, gradients: Weights, state: State, k: Hyperparameters, correction: Tensor
) -> tuple[Weights, State]:
    """Gradient descent with heavy-ball momentum, ``torch.optim.SGD``."""
    velocity = {name: k.momentum * state[0][name] + g for name, g in gradients.items()}
    return {name: w - k.learning_rate * velocity[name] for name, w in weights.items()}, (velocity, state[1])


def adam(
    weights: Weights, gradients: Weights, state: State, k: Hyperparameters, correction: Tensor
) -> tuple[Weights, State]:
    """``torch.optim.Adam`` with its default betas and epsilon (Kingma & Ba 2015, arXiv 1412.6980)."""
    first = {name: BETAS[0] * state[0][name] + (1 - BETAS[0]) * g for name, g in gradients.items()}
    second = {name: BETAS[1] * state[1][name] + (1 - BETAS[1]) * g * g for name, g in gradients.items()}
    updated = {
        name: w
        - k.learning_rate / correction[0] * first[name] / (second[name].sqrt() / correction[1] + EPSILON)
        for name, w in weights.items()
    }
    return updated, (first, second)


Optimizer: TypeAlias = "Callable[[Weights, Weights, State, Hyperparameters, Tensor], tuple[Weights, State]]"
OPTIMIZERS: dict[str, Optimizer] = {"sgd": sgd, "adam": adam}


def initial_state(weights: Weights) -> State:
    """Zero moments in the shape of the weights."""
    import torch

    return (
        {name: torch.zeros_like(w) for name, w in weights.items()},
        {name: torch.zeros_like(w) for name, w in weights.items()},
    )
