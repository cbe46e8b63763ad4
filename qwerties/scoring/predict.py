"""What a network answers, by the weights that a run kept: NumPy alone, as the page is made without torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "relu": lambda u: np.maximum(u, 0),
    "linear": lambda u: u,
    "sigmoid": expit,
    "tanh": np.tanh,
}


def activation(name: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return an activation over NumPy arrays: of `ACTIVATIONS`, else the entry of `networks`, which imports torch."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    import torch

    from qwerties.training import networks

    return lambda u: networks.ACTIVATIONS[name](torch.from_numpy(u)).numpy()


Layers = tuple[tuple[NDArray[Any], NDArray[Any]], ...]
"""Weights (out, in) and biases (out,), the first layer first."""


def answer(name: str, layers: Layers, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the log-odds of class 1 at points x (2, points), of a network of any width and depth: (points,)."""
    function, value = activation(name), x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (weight, bias) in enumerate(layers):
            value = weight @ value + bias[:, None]  # (out, points)
            if k < len(layers) - 1:
                value = function(value)
    return value[0]


def accuracy(logit: NDArray[Any]) -> NDArray[Any]:
    """Share of the training points that are on their side of one half; (n, points) -> (n,)."""
    half = logit.shape[1] // 2
    return ((logit[:, :half] <= 0).mean(1) + (logit[:, half:] > 0).mean(1)) / 2
