"""Descriptive intervals: a share's by Wilson, a mean's by Student's t. What is undefined is NaN, None in JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

LEVEL = 0.95
SAME = 1e-12  # scores no further apart are equal: rounding


def plain(value: Any) -> Any:
    """Make the output of `dataclasses.asdict` fit for JSON: NaN (undefined) becomes None, a tuple a list."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True)
class Interval:
    """An estimate from `n` seeds with its confidence bounds at `level`; what is undefined is NaN."""

    estimate: float
    lo: float
    hi: float
    n: int
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, fit for JSON."""
        return plain(asdict(self))


def share_interval(outcomes: ArrayLike) -> Interval:
    """Return the share of true `outcomes`, shape (n,), with Wilson's 95% interval (Wilson 1927).

    The formula stands here because SciPy has it in `scipy.stats`, which takes half a second to import.
    """
    outcomes = np.asarray(outcomes, bool)
    n = outcomes.size
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, LEVEL)
    share, z = float(outcomes.mean()), float(ndtri((1 + LEVEL) / 2))
    centre, shrink = share + z**2 / (2 * n), 1 + z**2 / n
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = (centre - half) / shrink if outcomes.any() else 0.0  # but for rounding
    high = 1.0 if outcomes.all() else (centre + half) / shrink
    return Interval(share, low, high, n, LEVEL)


def mean_interval(values: ArrayLike) -> Interval:
    """Return the mean of `values`, shape (n,), with its 95% t interval.

    The bounds are NaN with fewer than two values, and equal the mean where all values are the SAME. A NaN
    among the values makes the mean NaN: nothing is left out.
    """
    values = np.asarray(values, float)
    n = values.size
    estimate = float(values.mean()) if n else math.nan
    if n < 2 or math.isnan(estimate):
        return Interval(estimate, math.nan, math.nan, n, LEVEL)
    if np.ptp(values) <= SAME:
        return Interval(estimate, estimate, estimate, n, LEVEL)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2) * values.std(ddof=1)) / math.sqrt(n)
    return Interval(estimate, estimate - half, estimate + half, n, LEVEL)
