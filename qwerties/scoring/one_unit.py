"""Exact scores of networks with one hidden unit on the true distribution: closed forms and quadrature.

Points are columns, x is (2, points). Class 1 is predicted where the logit is above zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr

from qwerties.config import Config
from qwerties.scoring.theory import FAR, FloatArray, density
from qwerties.training.data import ARRANGEMENTS, ORIGIN

_x, _w = np.polynomial.legendre.leggauss(80)
# Gauss-Legendre on [-1, 1] after x -> (3x − x³)/2, which crowds the nodes at both ends, where integrands bend
NODES, NODE_WEIGHTS = (3 * _x - _x**3) / 2, _w * 1.5 * (1 - _x**2)

quietly = np.errstate(divide="ignore", invalid="ignore", over="ignore")  # infinite thresholds, nan weights

ACTIVATIONS: dict[str, tuple[Callable[[FloatArray], FloatArray], Callable[..., FloatArray]]] = {
    # a(u), and the u where v·(a(u) − level) changes sign (infinite where it never does)
    "relu": (
        lambda u: np.maximum(u, 0),
        lambda level, v: np.where((level > 0) | (level == 0) & (v > 0), level, -np.inf),
    ),
    "linear": (lambda u: u, lambda level, v: level),
    "sigmoid": (expit, lambda level, v: logit(np.clip(level, 0, 1))),
    "tanh": (np.tanh, lambda level, v: np.arctanh(np.clip(level, -1, 1))),
}


def has_exact_scores(config: Config) -> bool:
    """Tell whether this module scores the config's networks."""
    return config.hidden == (1,) and config.activation in ACTIVATIONS


def columns(weights: Mapping[str, Any]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return w, b, v and c of networks, as `population_accuracy` takes them, from arrays or tensors (networks, ...)."""
    w, b, v, c = (np.asarray(value, float) for value in weights.values())
    return w[:, 0], b[:, 0], v[:, 0, 0], c[:, 0]


@quietly
def population_accuracy(
    activation: str,
    weight: ArrayLike,
    bias: ArrayLike,
    out_weight: ArrayLike,
    out_bias: ArrayLike,
    distance: ArrayLike,
    data: str = "clusters",
) -> FloatArray:
    """Accuracy of width-1 networks on the true distribution, in closed form.

    The hidden unit's input u = w·x + b is Gaussian in each cluster, with mean μ and deviation n = ‖w‖. All activations
    a are monotone, so the logit v·a(u) + c changes sign at one threshold t at most. With P₁ the mean of Φ((μ − t)/n)
    over the clusters of class 1, and P₀ that of class 0, accuracy is ½[P₁ + 1 − P₀] for v > 0, one minus that for
    v < 0. A constant prediction is right half the time; a logit of exactly zero counts as class 0.

    Parameters
    ----------
    activation
        a: `relu`, `linear`, `sigmoid` or `tanh`.
    weight
        w, (networks, 2). This and the next three may be as large as float32 holds.
    bias, out_weight, out_bias
        b, v and c, each (networks,).
    distance
        Between neighbouring cluster centres, in standard deviations: one number, or (networks,).
    data
        A key of `ARRANGEMENTS`.

    Returns
    -------
    (networks,): fraction right; nan where a weight is not finite.

    Raises
    ------
    ValueError
        If the activation is none of the four.
    """
    mean, n, threshold, v, _ = _hidden_unit(activation, weight, bias, out_weight, out_bias, distance, data)
    above, first = ndtr((mean - threshold) / n), len(ARRANGEMENTS[data][0])  # (clusters, networks): P(u > t)
    lead = above[first:].mean(0) - above[:first].mean(0)
    accuracy = (1 + np.sign(v) * lead) / 2  # (networks,)
    return np.where((n == 0) | (v == 0), 0.5, accuracy)


@quietly
def population_losses(
    activation: str,
    weight: ArrayLike,
    bias: ArrayLike,
    out_weight: ArrayLike,
    out_bias: ArrayLike,
    distance: ArrayLike,
    data: str = "clusters",
) -> tuple[FloatArray, FloatArray]:
    """Expected log loss and Brier score of width-1 networks on the true distribution.

    Quadrature over u in each cluster, in pieces that end where the integrand may bend sharply: at u = 0 (the
    kink of the ReLU, the flank of a steep sigmoid or tanh) and where the logit changes sign. The absolute
    error is below 1e-7 up to logits as steep as |v|·n = 100.

    Parameters
    ----------
    activation, weight, bias, out_weight, out_bias, distance, data
        As for `population_accuracy`.

    Returns
    -------
    bce
        (networks,): expected log loss in nats, from the logit itself and never clamped.
    brier
        (networks,): expected squared error of the probability. Both are nan where a weight is not finite.

    Raises
    ------
    ValueError
        If the activation is none of the four.
    """
    mean, n, threshold, v, c = _hidden_unit(activation, weight, bias, out_weight, out_bias, distance, data)
    far = np.full_like(mean, FAR)
    ends = np.stack([-far, -mean / n, (threshold - mean) / n, far])  # z-scores (4, clusters, networks)
    ends = np.sort(np.clip(np.nan_to_num(ends), -FAR, FAR), axis=0)
    middle, half = (ends[1:] + ends[:-1]) / 2, np.diff(ends, axis=0) / 2  # (3, clusters, networks)

    activate, _ = ACTIVATIONS[activation]
    sizes = [len(own) for own in ARRANGEMENTS[data]]
    sign = np.repeat([-1, 1], sizes)[:, None]  # (clusters, 1): of the logit that is right
    share = np.repeat([0.5 / size for size in sizes], sizes)[:, None]  # (clusters, 1): of all points
    bce, brier = np.zeros_like(half), np.zeros_like(half)
    for node, node_weight in zip(NODES, NODE_WEIGHTS, strict=True):  # one by one: memory stays O(networks)
        z = middle + half * node  # (3, clusters, networks)
        mass = node_weight * half * density(z)
        wrong = -sign * (v * activate(mean + n * z) + c)
        bce += mass * np.logaddexp(0, wrong)
        brier += mass * expit(wrong) ** 2
    return (bce * share).sum(axis=(0, 1)), (brier * share).sum(axis=(0, 1))


def _hidden_unit(
    activation: str,
    weight: ArrayLike,
    bias: ArrayLike,
    out_weight: ArrayLike,
    out_bias: ArrayLike,
    distance: ArrayLike,
    data: str,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean of u in each cluster (clusters, networks); its deviation, its threshold, v and c, each (networks,).

    Clusters of class 0 come first. A network with any weight that is not finite is nan throughout.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    weights = np.column_stack([weight, bias, out_weight, out_bias]).astype(float)  # (networks, 5)
    weights[~np.isfinite(weights).all(axis=1)] = np.nan
    w0, w1, b, v, c = weights.T
    at_origin = ORIGIN[0] * w0 + ORIGIN[1] * w1 + b
    offsets = [offset for own in ARRANGEMENTS[data] for offset in own]
    mean = np.stack([at_origin + np.asarray(distance) * (x * w0 + y * w1) for x, y in offsets])
    _, threshold_at = ACTIVATIONS[activation]
    return mean, np.hypot(w0, w1), threshold_at(-c / v, v), v, c
