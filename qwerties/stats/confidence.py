"""Confidence sequence for the mean of bounded values, valid at every count at once.

Hedged capital with predictable plug-in bets (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random
variables by betting", JRSS-B 86:1, doi 10.1093/jrsssb/qkad009, section 4). For every candidate mean m, one gambler
bets that the mean is larger and one that the mean is smaller, each with half of the capital. Under the true mean the
capital is a nonnegative martingale that starts at 1, so it ever reaches 1/alpha with probability at most alpha
(Ville 1939). The interval holds every m at which no gambler has become that rich.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

TRUNCATION = 0.5  # the largest share of the capital that one bet can lose
EDGE = 1e-9  # candidate means this close to a bound are not tried
TOLERANCE = 1e-9  # of the root, in units of the range


def confidence_sequence(
    values: ArrayLike,
    *,
    alpha: float,
    bounds: tuple[float, float] = (-1.0, 1.0),
    counts: Sequence[int] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lower and upper confidence bounds for the mean after each count.

    All intervals hold the true mean together with probability at least 1 − alpha, for any distribution within the
    bounds. Each interval is the intersection of those at all smaller counts, whichever counts are asked for, so that
    the bounds at a count depend on the values up to that count alone and never widen. Where the values contradict
    each other so much that the intersection would be empty, the last one that is not empty stays: this happens with
    probability at most alpha, or the values drift.

    Parameters
    ----------
    values : array_like, shape (n,)
        Observations, in an order that was fixed before they were seen.
    alpha : float
        Probability that the true mean is ever outside, in (0, 1).
    bounds : tuple of float
        The smallest and the largest value that is possible, not that was seen.
    counts : sequence of int, optional
        Numbers of values, each from 0 to n; by default n alone.

    Returns
    -------
    lower, upper : ndarray, shape (counts,)
        In the unit of the values; the bounds themselves where nothing is excluded yet.

    Raises
    ------
    ValueError
        If alpha, the bounds or a count is out of range, or a value is outside the bounds or NaN.

    Examples
    --------
    >>> lower, upper = confidence_sequence([0.5] * 100, alpha=0.05, counts=[0, 100])
    >>> lower[0], upper[0]
    (np.float64(-1.0), np.float64(1.0))
    """
    values = np.asarray(values, float)  # (n,)
    low, high = check(values, alpha, bounds)
    counts = [len(values)] if counts is None else list(counts)
    if any(not 0 <= count <= len(values) for count in counts):
        raise ValueError(f"counts must be from 0 to the {len(values)} values, got {counts}")

    def bounds_at(counts: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # One function gives both bounds, so that values with the opposite sign get exactly mirrored bounds.
        lower = low + (high - low) * _lower_bounds((values - low) / (high - low), alpha, counts)  # (counts,)
        upper = high - (high - low) * _lower_bounds(
            (high - values) / (high - low), alpha, counts
        )  # (counts,)
        return np.clip(lower, low, high), np.clip(upper, low, high)

    def is_empty(count: int) -> bool:
        lower, upper = bounds_at([count])
        return bool(lower[0] > upper[0])

    lower, upper = bounds_at(counts)
    if (lower > upper).any():
        first_empty = bisect_left(range(max(counts)), True, key=is_empty)
        lower, upper = bounds_at([min(count, first_empty - 1) for count in counts])
    return lower, upper


def check(values: NDArray[np.float64], alpha: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the bounds as floats; raise ValueError unless alpha, the bounds and the values fit together."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha!r}")
    low, high = map(float, bounds)
    if not (math.isfinite(high - low) and low < high):
        raise ValueError(
            f"bounds must be two finite numbers, the smaller one first, got {low:g} and {high:g}"
        )
    if values.ndim != 1:
        raise ValueError(f"values must have one dimension, got shape {values.shape}")
    if len(outside := values[~((low <= values) & (values <= high))]):
        raise ValueError(f"values must be from {low:g} to {high:g}, got {outside[0]:g}")
    return low, high


def bet_sizes(y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Return the bet on each value, shape (n,), from the values before it (equation 26 of the paper).

    Parameters
    ----------
    y : ndarray, shape (n,)
        Values scaled to [0, 1].
    """
    t = np.arange(1, len(y) + 1)
    mean = (0.5 + np.cumsum(y)) / (t + 1)  # (n,)
    variance = (0.25 + np.cumsum((y - np.append(0.5, mean[:-1])) ** 2)) / (t + 1)  # (n,)
    variance_before = np.append(0.25, variance[:-1])  # (n,)
    return np.sqrt(2 * math.log(2 / alpha) / (variance_before * t * np.log(t + 1)))


def log_wealth(
    y: NDArray[np.float64], bets: NDArray[np.float64], mean: float, alpha: float
) -> NDArray[np.float64]:
    """Return the log capital of the gambler who bets on a larger mean, over the capital that excludes `mean`.

    Parameters
    ----------
    y, bets : ndarray, shape (n,)
        Values scaled to [0, 1], and the bets on them.
    mean : float
        Candidate mean, in (0, 1).

    Returns
    -------
    ndarray, shape (n,)
        Positive from the first count at which the mean is known to be larger; falls as `mean` rises.
    """
    limited = np.minimum(bets, TRUNCATION / mean)  # (n,)
    return np.cumsum(np.log1p(limited * (y - mean))) - math.log(2 / alpha)


def _lower_bounds(y: NDArray[np.float64], alpha: float, counts: Sequence[int]) -> NDArray[np.float64]:
    """Return the largest mean that is excluded at each count, shape (counts,); 0 where none is."""
    bets = bet_sizes(y, alpha)

    def excess(mean: float, count: int) -> float:
        return float(log_wealth(y[:count], bets[:count], mean, alpha).max())

    lower = np.zeros(len(counts))
    known = EDGE  # excluded at a smaller count, hence here
    for k in np.argsort(counts, kind="stable"):
        count = counts[k]
        if count:
            known = _last_positive(partial(excess, count=count), known, 1 - EDGE)
        lower[k] = known if known > EDGE else 0.0
    return lower


def _last_positive(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the largest number, to `TOLERANCE`, at which a decreasing function is positive; `low` if none is.

    Secant steps that halve a stale end (Illinois), and a bisection every third step. `scipy.optimize.brentq` does the
    same, but its import takes 0.4 s, which is longer than a whole comparison from the command line.
    """
    at_low, at_high = function(low), function(high)
    if at_low <= 0:
        return low
    step, kept = 0, ""
    while high - low > TOLERANCE:
        step += 1
        middle = (low * at_high - high * at_low) / (at_high - at_low) if step % 3 else (low + high) / 2
        middle = min(max(middle, low + TOLERANCE / 2), high - TOLERANCE / 2)
        if (at_middle := function(middle)) > 0:
            low, at_low = middle, at_middle
            at_high, kept = at_high / 2 if kept == "high" else at_high, "high"
        else:
            high, at_high = middle, at_middle
            at_low, kept = at_low / 2 if kept == "low" else at_low, "low"
    return low
