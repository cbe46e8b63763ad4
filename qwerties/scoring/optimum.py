"""What a sample allows: whether a straight line separates its classes, and the least log loss of any line.

Points are columns: x is (2, points), y is (points,) in {0, 1}.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from qwerties.scoring.theory import FloatArray

NEWTON_STEPS = 25  # enough for samples that overlap: the steps converge quadratically
STATIONARY = 1e-9  # largest component of the summed gradient at a minimum
TINY_RIDGE = 1e-12  # keeps the curvature of separable samples, which vanishes, invertible


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
    from scipy.optimize import linprog  # half a second

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
