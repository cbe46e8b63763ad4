"""What the mathematics fixes before anything is trained: the best possible accuracy and losses, and reference levels.

The two classes are equally likely, each an equal mixture of unit-variance isotropic Gaussians around the centres that
`training.data.ARRANGEMENTS` gives for a name ``data`` and a ``distance``. Points are columns: x is (2, points), y is
(points,) in {0, 1}. Class 1 is predicted where the logit is above zero.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logsumexp, ndtr

from qwerties.training.data import centres

FloatArray = NDArray[np.float64]
Real = TypeVar("Real", float, FloatArray)  # a number or an array of them

# Loss of a network that answers ½ everywhere, the best that a dead one can do
DEAD_PLATEAU = {"bce": math.log(2), "mse": 0.25}

FAR = 9.0  # standard deviations: 2e-19 of a Gaussian lies beyond

LIMIT_ERROR = 1e-9  # absolute, of each limit that is integrated over the plane


def bayes_accuracy(distance: Real, data: str = "clusters") -> Real:
    """Return the accuracy of the best possible classifier.

    For ``clusters`` it is Φ(d/2), reached by a straight cut halfway between the centres. For any other arrangement it
    is integrated from the density (`LIMIT_ERROR`).

    Parameters
    ----------
    distance
        Between neighbouring cluster centres, in standard deviations; a number or an array.
    data
        A key of `ARRANGEMENTS`.

    Returns
    -------
    Fraction right, shaped as `distance`.
    """
    if data == "clusters":
        return ndtr(distance / 2)
    if isinstance(distance, np.ndarray):
        unique, index = np.unique(distance, return_inverse=True)
        return np.array([_limits(float(value), data).accuracy for value in unique])[index].reshape(
            distance.shape
        )
    return _limits(float(distance), data).accuracy


def bayes_phi(distance: Real, data: str = "clusters") -> Real:
    """Return the correlation of label and prediction of the Bayes classifier, 2A* − 1 (both errors equally likely).

    The two errors are equally likely wherever a reflection or rotation swaps the classes, as in every arrangement here.
    """
    return 2 * bayes_accuracy(distance, data) - 1


@cache
def bce_floor(distance: float, data: str = "clusters") -> float:
    """Return the least expected log loss of any classifier, in nats: E[log(1 + e^−s)].

    s is the log-likelihood ratio in favour of the true class; for ``clusters`` s ~ N(d²/2, d²).
    """
    if data == "clusters":
        return _expected_loss(lambda s: np.logaddexp(0, -s), distance)
    return _limits(float(distance), data).bce


@cache
def brier_floor(distance: float, data: str = "clusters") -> float:
    """Return the least expected Brier score (squared error) of any classifier: E[σ(−s)²], s as in `bce_floor`."""
    if data == "clusters":
        return _expected_loss(lambda s: expit(-s) ** 2, distance)
    return _limits(float(distance), data).brier


def _expected_loss(loss: Callable[[float], float], distance: float) -> float:
    """E[loss(s)], integrated over r = s/d: for every distance the bulk of the integral lies at r = 0."""
    from scipy.integrate import quad  # half a second

    return quad(lambda r: density(r - distance / 2) * loss(distance * r), -FAR, FAR, points=[0], epsabs=0)[0]


def density(z: Real) -> Real:
    """Density of the standard normal distribution."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def log_densities(x: ArrayLike, distance: float, data: str = "clusters") -> FloatArray:
    """Return the logarithm of each class's density at points x (2, points): (2, points), class 0 first."""
    points = np.asarray(x, float)
    rows = []
    for own in centres(data, distance):  # (clusters, 2)
        square = ((points[None] - own[:, :, None]) ** 2).sum(1)  # (clusters, points)
        rows.append(logsumexp(-square / 2, axis=0) - math.log(2 * math.pi * len(own)))
    return np.stack(rows)


def log_odds(x: ArrayLike, distance: float, data: str = "clusters") -> FloatArray:
    """Return the exact log-odds of class 1 at points x (2, points), (points,): the Bayes rule is its sign."""
    first, second = log_densities(x, distance, data)
    return second - first


class _Limits(NamedTuple):
    """Accuracy, log loss and Brier score of the Bayes classifier."""

    accuracy: float
    bce: float
    brier: float


@cache
def _limits(distance: float, data: str) -> _Limits:
    """Integrate the Bayes classifier's scores over the plane, for any arrangement.

    The plane is cut halfway between neighbouring coordinates of the centres, where the Bayes boundary of a regular
    arrangement bends the integrand; what bends elsewhere is left to the adaptive rule.
    """
    from scipy.integrate import cubature  # a third of a second

    def scores(points: FloatArray) -> FloatArray:
        first, second = log_densities(points.T, distance, data)
        p0, p1, s = np.exp(first), np.exp(second), second - first
        right = np.maximum(p0, p1)
        bce = p0 * np.logaddexp(0, s) + p1 * np.logaddexp(0, -s)
        brier = p0 * expit(s) ** 2 + p1 * expit(-s) ** 2
        return np.stack([right, bce, brier], axis=-1) / 2  # (points, 3)

    edges = []
    for coordinates in np.concatenate(centres(data, distance)).T:
        at = np.unique(coordinates)
        edges.append([at[0] - FAR, *(at[1:] + at[:-1]) / 2, at[-1] + FAR])
    total = np.zeros(3)
    for left, right in zip(edges[0], edges[0][1:], strict=False):
        for bottom, top in zip(edges[1], edges[1][1:], strict=False):
            integral = cubature(scores, [left, bottom], [right, top], rtol=0, atol=LIMIT_ERROR)
            total += integral.estimate
    return _Limits(*map(float, total))


def best_line(distance: float, data: str) -> float:
    """Return the accuracy of the best straight line: of any linear network, and of one hidden unit."""
    return _best_cuts(float(distance), data, 1)


def best_strip(distance: float, data: str) -> float:
    """Return the accuracy of the best strip between two parallel lines, which two ReLU units can draw."""
    return _best_cuts(float(distance), data, 2)


@cache
def _best_cuts(distance: float, data: str, cuts: int) -> float:
    """Accuracy of the best classifier by one or two cuts across one direction.

    Along the direction of angle θ, G(t) = P(u < t | class 1) − P(u < t | class 0) is a sum of Φ. A cut at t is right
    with probability ½ + ½|G(t)|, a strip from t to t' with ½ + ½|G(t') − G(t)|. The best of a grid is polished.
    """
    from scipy.optimize import minimize

    first, second = centres(data, distance)
    middle = np.concatenate([first, second]).mean(0)

    def lead(angle: ArrayLike, t: ArrayLike) -> FloatArray:
        """G at angles (n,) and cuts (m,), (n, m)."""
        direction = np.stack([np.cos(angle), np.sin(angle)])  # (2, n)
        at = np.asarray(t, float)[None, :, None]
        class_0, class_1 = (
            ndtr(at - ((own - middle) @ direction).T[:, None, :]).mean(-1) for own in (first, second)
        )
        return class_1 - class_0

    reach = np.abs(np.concatenate([first, second]) - middle).sum(1).max() + FAR
    angles, t = np.linspace(0, math.pi, 91), np.linspace(-reach, reach, 801)
    grid = lead(angles, t)  # (angles, cuts)
    if cuts == 1:
        i, j = np.unravel_index(np.abs(grid).argmax(), grid.shape)
        start = [angles[i], t[j]]
    else:
        i = np.ptp(grid, axis=1).argmax()
        start = [angles[i], t[grid[i].argmin()], t[grid[i].argmax()]]

    def error(place: FloatArray) -> float:
        return -abs(float((lead(place[:1], place[1:]) @ [1.0, -1.0][:cuts])[0]))

    best = minimize(error, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    return float((1 - best.fun) / 2)


def reference_accuracies(distance: float, data: str = "clusters") -> dict[str, float]:
    """Return the accuracies that a network's is compared with, by name, the highest first.

    The best strip and the best line are named only where they fall short of the best possible.
    """
    best = float(bayes_accuracy(distance, data))
    levels = {"Bayes accuracy": best}
    if data != "clusters":  # whose best classifier is a line
        simpler = {"best strip": best_strip(distance, data), "best line": best_line(distance, data)}
        levels |= {name: level for name, level in simpler.items() if level < best - LIMIT_ERROR}
    return levels
