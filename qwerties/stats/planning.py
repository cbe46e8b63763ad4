"""What a comparison still needs: how many units would decide it, and which margin is within reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwerties.stats.confidence import bet_sizes, check, confidence_sequence, log_wealth

if TYPE_CHECKING:
    import pandas as pd

CONTINUATIONS = 7  # an odd number, so that the median is one of them
GROWTH = 4  # how many times longer the next, longer continuation is
LIMIT, FARTHEST = 100_000, 1_000_000  # units within reach, in any case and where many were seen


def units_needed(
    differences: ArrayLike,
    *,
    alpha: float,
    margin: float,
    bounds: tuple[float, float],
    limit: int = LIMIT,
    seed: int = 0,
) -> int | None:
    """Return about how many units in all would decide a comparison, or None where that is beyond reach.

    Within reach are `limit` units or, where that is more, four times as many as were seen, at most `FARTHEST`.

    The differences are continued with values resampled from them, a few times; the answer is the median of the
    counts at which the continued sequences say "better" or "equivalent". What the differences, shape (n,), have not
    shown, such as a rare flip, the continuations do not show either: the number is a guide.
    """
    seen = np.asarray(differences, float)  # (n,)
    check(seen, alpha, bounds)
    if not len(seen):
        return None
    length = max(len(seen), 16)
    limit = max(limit, min(GROWTH * len(seen), FARTHEST))
    while length < limit:
        length = min(GROWTH * length, limit)
        rng = np.random.default_rng(seed)
        counts = []
        for _ in range(CONTINUATIONS):
            drawn = rng.choice(seen, max(length - len(seen), 0))
            counts.append(first_decided(np.append(seen, drawn), alpha, margin, bounds))
        if (count := sorted(counts)[CONTINUATIONS // 2]) <= length:
            return count
    return None


def narrowing(
    differences: ArrayLike, *, alpha: float, margin: float, bounds: tuple[float, float]
) -> tuple[pd.DataFrame, int | None]:
    """Show how an interval narrowed as units came in.

    Returns
    -------
    frame : DataFrame
        A row for each of up to 80 counts of units from 1 to n, evenly spaced on a log axis: ``count``, ``low``,
        ``high`` and ``estimate``, and ``t_low`` and ``t_high``, what Student's t would have claimed at this count
        alone (NaN at the first).
    decided : int or None
        The count from which the verdict is final.
    """
    import pandas as pd
    from scipy.special import stdtrit

    values = np.asarray(differences, float)  # (n,)
    n = len(values)
    counts = np.unique(np.geomspace(1, n, 80).round()).astype(int) if n else np.empty(0, int)  # (counts,)
    low, high = confidence_sequence(values, alpha=alpha, bounds=bounds, counts=counts.tolist())
    estimate = np.cumsum(values)[counts - 1] / counts  # (counts,)
    sd = np.array([values[:count].std(ddof=1) if count > 1 else np.nan for count in counts])
    half = stdtrit(np.maximum(counts - 1, 1), 1 - alpha / 2) * sd / np.sqrt(counts)  # (counts,)
    frame = pd.DataFrame({"count": counts, "low": low, "high": high, "estimate": estimate})
    decided = first_decided(values, alpha, margin, bounds)
    return frame.assign(t_low=estimate - half, t_high=estimate + half), decided if decided <= n else None


def first_decided(
    values: NDArray[np.float64], alpha: float, margin: float, bounds: tuple[float, float]
) -> int:
    """Return the first count at which the sequence says "better" or "equivalent"; one beyond all if none does."""
    low, high = bounds

    def first_above(values: NDArray[np.float64], low: float, high: float, mean: float) -> int:
        """Return the first count at which the mean is known to be larger than `mean`."""
        if not low < mean < high:
            return 1 if mean <= low else len(values) + 1
        y = (values - low) / (high - low)  # (n,)
        above = log_wealth(y, bet_sizes(y, alpha), (mean - low) / (high - low), alpha) > 0  # (n,)
        return int(above.argmax()) + 1 if above.any() else len(y) + 1

    a_better = first_above(values, low, high, margin)
    b_better = first_above(-values, -high, -low, margin)
    not_worse = first_above(values, low, high, -margin)
    not_better = first_above(-values, -high, -low, -margin)
    return min(a_better, b_better, max(not_worse, not_better))
