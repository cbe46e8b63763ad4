"""What the mathematics fixes before anything is trained: limits, exact scores, each sample's own optimum.

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
from scipy.special import expit, logit, logsumexp, ndtr

from qwerties.training.data import ARRANGEMENTS, ORIGIN, centres

FloatArray = NDArray[np.float64]
Real = TypeVar("Real", float, FloatArray)  # a number or an array of them

DEAD_PLATEAU = {"bce": math.log(2), "mse": 0.25}
"""Loss of a network that answers ½ everywhere, the best that a dead one can do."""

FAR = 9.0  # standard deviations: 2e-19 of a Gaussian lies beyond

LIMIT_ERROR = 1e-9  # absolute, of each limit that is integrated over the plane

_x, _w = np.polynomial.legendre.leggauss(80)
# Gauss-Legendre on [-1, 1] after x -> (3x − x³)/2, which crowds the nodes at both ends, where integrands bend
NODES, NODE_WEIGHTS = (3 * _x - _x**3) / 2, _w * 1.5 * (1 - _x**2)


# Limits of any classifier


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
        return np.array([_limits(float(one), data).accuracy for one in unique])[index].reshape(distance.shape)
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

    return quad(lambda r: _density(r - distance / 2) * loss(distance * r), -FAR, FAR, points=[0], epsabs=0)[0]


def _density(z: Real) -> Real:
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
            found = cubature(scores, [left, bottom], [right, top], rtol=0, atol=LIMIT_ERROR)
            total += found.estimate
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
    found = {"Bayes accuracy": best}
    if data != "clusters":  # whose best classifier is a line
        simpler = {"best strip": best_strip(distance, data), "best line": best_line(distance, data)}
        found |= {name: level for name, level in simpler.items() if level < best - LIMIT_ERROR}
    return found


# Exact scores of networks with one hidden unit

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
        mass = node_weight * half * _density(z)
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


# What a sample allows

NEWTON_STEPS = 25
"""Enough for samples that overlap: the steps converge quadratically."""

STATIONARY = 1e-9
"""Largest component of the summed gradient at a minimum."""

TINY_RIDGE = 1e-12
"""Keeps the curvature of separable samples, which vanishes, invertible."""


def is_separable(x: ArrayLike, y: ArrayLike) -> bool:
    """Whether some straight line has every point of class 1 on one side and all of class 0 on the other.

    The log loss then has no finite minimiser (Albert & Anderson 1984) and training lets it fall for ever
    (Soudry et al. 2018). Decided by a feasibility LP: is there a linear logit that is right by 1 or more at
    every point? Points on the line itself, where continuous draws never all lie, do not count as separated.

    Parameters
    ----------
    x
        (2, points).
    y
        (points,), 0 or 1.
    """
    sign = np.where(np.asarray(y) == 1, 1.0, -1.0)  # (points,)
    rows = sign * np.vstack([x, np.ones_like(sign)])  # (3, points): (x, 1), flipped for class 0
    from scipy.optimize import linprog  # likewise

    line = linprog(np.zeros(3), A_ub=-rows.T, b_ub=-np.ones_like(sign), bounds=(None, None), method="highs")
    return line.status == 0  # 2: infeasible


def sample_optimum(x: ArrayLike, y: ArrayLike) -> float:
    """Least mean log loss, in nats, of any linear logit on this sample: logistic maximum likelihood.

    Parameters
    ----------
    x
        (2, points).
    y
        (points,), 0 or 1.

    Returns
    -------
    The loss, to 1e-8; nan if the sample is separable, as the infimum, zero, is then never reached.
    """
    from sklearn.linear_model import LogisticRegression  # takes a while: only where a sample is fitted

    if is_separable(x, y):
        return math.nan
    points = np.asarray(x, float).T  # (points, 2), as scikit-learn has them; float32 would not reach 1e-8
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(points, y)
    sign = np.where(np.asarray(y) == 1, 1.0, -1.0)
    return float(np.logaddexp(0, -sign * model.decision_function(points)).mean())


def sample_optima(x: ArrayLike, y: ArrayLike) -> FloatArray:
    """`sample_optimum` of each sample: x (samples, 2, points) and y (points,) -> (samples,).

    Newton's method on all samples at once, which is a hundred times faster than a fit and a linear program each,
    settles a sample by either of two proofs: a stationary point of the convex loss is its minimum, and a line that
    is right everywhere separates. What neither settles goes to `sample_optimum`.
    """
    samples = np.asarray(x, float)
    sign = np.where(np.asarray(y) == 1, 1.0, -1.0)
    rows = sign * np.concatenate([samples, np.ones_like(samples[:, :1])], axis=1)  # (samples, 3, points)
    beta = np.zeros(rows.shape[:2])  # (samples, 3)
    for _ in range(NEWTON_STEPS):
        wrong = expit(-np.einsum("sip,si->sp", rows, beta))  # (samples, points)
        gradient = -np.einsum("sip,sp->si", rows, wrong)
        curvature = np.einsum("sip,sp,sjp->sij", rows, wrong * (1 - wrong), rows, optimize=True)
        beta -= np.linalg.solve(curvature + TINY_RIDGE * np.eye(3), gradient[..., None])[..., 0]
    margin = np.einsum("sip,si->sp", rows, beta)
    separated = (margin > 0).all(1)
    stationary = np.abs(np.einsum("sip,sp->si", rows, expit(-margin))).max(1) < STATIONARY
    optima = np.where(separated, math.nan, np.logaddexp(0, -margin).mean(1))
    for i in np.flatnonzero(~separated & ~stationary):
        optima[i] = sample_optimum(samples[i], y)
    return optima
