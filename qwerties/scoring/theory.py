"""What the mathematics fixes before anything is trained: limits, exact scores, each sample's own optimum.

The classes are unit-variance isotropic Gaussians around (1, 1) and (1 + distance, 1), equally likely. Points
are columns: x is (2, points), y is (points,) in {0, 1}. Class 1 is predicted where the logit is above zero.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr

FloatArray = NDArray[np.float64]
Real = TypeVar("Real", float, FloatArray)  # a number or an array of them

DEAD_PLATEAU = {"bce": math.log(2), "mse": 0.25}
"""Loss of a network that answers ½ everywhere, the best that a dead one can do."""

FAR = 9.0  # standard deviations: 2e-19 of a Gaussian lies beyond

_x, _w = np.polynomial.legendre.leggauss(80)
# Gauss-Legendre on [-1, 1] after x -> (3x − x³)/2, which crowds the nodes at both ends, where integrands bend
NODES, NODE_WEIGHTS = (3 * _x - _x**3) / 2, _w * 1.5 * (1 - _x**2)


# Limits of any classifier


def bayes_accuracy(distance: Real) -> Real:
    """Accuracy of the best possible classifier, Φ(d/2): a straight cut halfway between the centres.

    Parameters
    ----------
    distance
        Between the cluster centres, in standard deviations; a number or an array.

    Returns
    -------
    Fraction right, shaped as `distance`.
    """
    return ndtr(distance / 2)


def bayes_phi(distance: Real) -> Real:
    """Correlation of label and prediction at the Bayes cut, 2Φ(d/2) − 1 (both errors are equally likely)."""
    return 2 * bayes_accuracy(distance) - 1


@cache
def bce_floor(distance: float) -> float:
    """Least expected log loss of any classifier, in nats: E[log(1 + e^−s)].

    s ~ N(d²/2, d²) is the log-likelihood ratio in favour of the true class.
    """
    return _expected_loss(lambda s: np.logaddexp(0, -s), distance)


@cache
def brier_floor(distance: float) -> float:
    """Least expected Brier score (squared error) of any classifier: E[σ(−s)²], s as in `bce_floor`."""
    return _expected_loss(lambda s: expit(-s) ** 2, distance)


def _expected_loss(loss: Callable[[float], float], distance: float) -> float:
    """E[loss(s)], integrated over r = s/d: for every distance the bulk of the integral lies at r = 0."""
    from scipy.integrate import quad  # half a second

    return quad(lambda r: _density(r - distance / 2) * loss(distance * r), -FAR, FAR, points=[0], epsabs=0)[0]


def _density(z: Real) -> Real:
    """Density of the standard normal distribution."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


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
) -> FloatArray:
    """Accuracy of width-1 networks on the true distribution, in closed form.

    The hidden unit's input u = w·x + b is Gaussian in each class, with means μ₀, μ₁ and deviation n = ‖w‖.
    All activations a are monotone, so the logit v·a(u) + c changes sign at one threshold t at most. Accuracy
    is ½[Φ((μ₁ − t)/n) + Φ((t − μ₀)/n)] for v > 0 and one minus that for v < 0. A constant prediction is
    right half the time; a logit of exactly zero counts as class 0.

    Parameters
    ----------
    activation
        a: `relu`, `linear`, `sigmoid` or `tanh`.
    weight
        w, (networks, 2). This and the next three may be as large as float32 holds.
    bias, out_weight, out_bias
        b, v and c, each (networks,).
    distance
        Between the cluster centres, in standard deviations: one number, or (networks,).

    Returns
    -------
    (networks,): fraction right; nan where a weight is not finite.

    Raises
    ------
    ValueError
        If the activation is none of the four.
    """
    mean, n, threshold, v, _ = _hidden_unit(activation, weight, bias, out_weight, out_bias, distance)
    above = ndtr((mean - threshold) / n)  # (2, networks): P(u > t) in each class
    accuracy = (1 + np.sign(v) * (above[1] - above[0])) / 2  # (networks,)
    return np.where((n == 0) | (v == 0), 0.5, accuracy)


@quietly
def population_losses(
    activation: str,
    weight: ArrayLike,
    bias: ArrayLike,
    out_weight: ArrayLike,
    out_bias: ArrayLike,
    distance: ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Expected log loss and Brier score of width-1 networks on the true distribution.

    Quadrature over u in each class, in pieces that end where the integrand may bend sharply: at u = 0 (the
    kink of the ReLU, the flank of a steep sigmoid or tanh) and where the logit changes sign. The absolute
    error is below 1e-7 up to logits as steep as |v|·n = 100.

    Parameters
    ----------
    activation, weight, bias, out_weight, out_bias, distance
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
    mean, n, threshold, v, c = _hidden_unit(activation, weight, bias, out_weight, out_bias, distance)
    far = np.full_like(mean, FAR)
    ends = np.stack([-far, -mean / n, (threshold - mean) / n, far])  # z-scores (4, 2, networks)
    ends = np.sort(np.clip(np.nan_to_num(ends), -FAR, FAR), axis=0)
    middle, half = (ends[1:] + ends[:-1]) / 2, np.diff(ends, axis=0) / 2  # (3, 2, networks)

    activate, _ = ACTIVATIONS[activation]
    sign = np.array([[-1], [1]])  # of the logit that is right, in each class
    bce, brier = np.zeros_like(half), np.zeros_like(half)
    for node, share in zip(NODES, NODE_WEIGHTS, strict=True):  # one by one: memory stays O(networks)
        z = middle + half * node  # (3, 2, networks)
        mass = share * half * _density(z)
        wrong = -sign * (v * activate(mean + n * z) + c)
        bce += mass * np.logaddexp(0, wrong)
        brier += mass * expit(wrong) ** 2
    return bce.sum(axis=(0, 1)) / 2, brier.sum(axis=(0, 1)) / 2


def _hidden_unit(
    activation: str,
    weight: ArrayLike,
    bias: ArrayLike,
    out_weight: ArrayLike,
    out_bias: ArrayLike,
    distance: ArrayLike,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean of u in each class (2, networks), its deviation, its threshold, v and c, each (networks,).

    A network with any weight that is not finite is nan throughout.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    weights = np.column_stack([weight, bias, out_weight, out_bias]).astype(float)  # (networks, 5)
    weights[~np.isfinite(weights).all(axis=1)] = np.nan
    w0, w1, b, v, c = weights.T
    mean = np.stack([w0 + w1 + b, w0 + w1 + b + np.asarray(distance) * w0])
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
