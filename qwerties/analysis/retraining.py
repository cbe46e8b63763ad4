"""Per-seed scores -> what one gets by training k networks and keeping the one with the least training loss.

Exact over all choices of k of the tracked networks; only the intervals are resampled, with a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

RETRAININGS = (1, 2, 3, 5, 10, 20)
RESAMPLES, SEED = 1000, 0
LEVEL = 0.95
COLUMNS = ("learned", "any_learned", "train_accuracy", "population_accuracy", "overstated")


def chance_of_being_best(n: int, k: int) -> NDArray[np.float64]:
    """Return the chance that each of n ranked networks is the best of k drawn without replacement, best first: (n,).

    The r-th (from 0) is the best of the draw if it is drawn and the other k − 1 come from the n − 1 − r behind it:
    C(n − 1 − r, k − 1) / C(n, k).

    Raises
    ------
    ValueError
        If k is not from 1 to n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to the number of networks, {n}, got {k}")
    behind = np.arange(n - 1, -1, -1.0)  # (n,)
    log = _log_choose(behind, k - 1) - _log_choose(np.array(float(n)), k)
    return np.where(behind >= k - 1, np.exp(log), 0.0)


def _log_choose(n: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    room = np.maximum(n - k, 0)  # where n < k, the caller puts 0
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(room + 1)


def best_of(frame: pd.DataFrame, retrainings: Iterable[int] = RETRAININGS) -> pd.DataFrame:
    """Return what one gets by training k networks and keeping the one with the least training loss.

    Each network has its own data and its own initial weights, as when a notebook is run again. Networks of one loss
    rank by their seeds. A diverged network ranks last, with the accuracy of a guess.

    Parameters
    ----------
    frame : DataFrame
        One row per network: `train_loss`, `state`, `train_accuracy`, `population_accuracy`.
    retrainings : iterable of int
        Values of k; those above the number of networks are left out.

    Returns
    -------
    DataFrame
        Index: k. Columns: `learned`, the chance that the kept network learned; `any_learned`, the chance that any of
        the k did; `train_accuracy` and `population_accuracy`, the means over the kept networks; `overstated`, the
        former minus the latter. Each with `_lo` and `_hi`, 95% bounds from a bootstrap over the networks.
    """
    values, n = _values(frame), len(frame)
    counts = [k for k in retrainings if k <= n]
    index = pd.Index(counts, name="k")
    if not counts:
        return pd.DataFrame(index=index)
    best = np.stack([chance_of_being_best(n, k) for k in counts])  # (counts, networks)
    none = np.stack([_chance_of_none(n, k) for k in counts])  # (counts, networks + 1)
    rng = np.random.default_rng(SEED)
    again = (np.sort(rng.integers(0, n, n)) for _ in range(RESAMPLES))  # sorted: the networks stay ranked
    resampled = np.stack(
        [_summary(values[rows], best, none) for rows in again]
    )  # (resamples, counts, columns)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    parts = {"": _summary(values, best, none), "_lo": low, "_hi": high}
    return pd.concat(
        [pd.DataFrame(part, index, [f"{name}{end}" for name in COLUMNS]) for end, part in parts.items()],
        axis=1,
    )


def _values(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return learned (0 or 1) and the accuracies in training and on the population, (networks, 3), best loss first."""
    diverged = frame["state"].eq("diverged")
    loss = frame["train_loss"].where(~diverged, math.inf).fillna(math.inf)
    columns = [
        frame["state"].eq("learned").astype(float),
        *(frame[name].where(~diverged, 0.5) for name in ("train_accuracy", "population_accuracy")),
    ]
    return np.stack([column.to_numpy(float) for column in columns], axis=1)[
        np.argsort(loss.to_numpy(float), kind="stable")
    ]


def _chance_of_none(n: int, k: int) -> NDArray[np.float64]:
    """Return the chance that none of k networks drawn from n learned, by the number that did not, (n + 1,)."""
    others = np.arange(n + 1.0)
    log = _log_choose(others, k) - _log_choose(np.array(float(n)), k)
    return np.where(others >= k, np.exp(log), 0.0)


def _summary(
    values: NDArray[np.float64], best: NDArray[np.float64], none: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return `COLUMNS` for each k, given ranked networks (networks, 3): (counts, columns)."""
    learned, train, population = (best @ values).T  # (counts,) each
    others = round(float((1 - values[:, 0]).sum()))  # networks that did not learn
    return np.stack([learned, 1 - none[:, others], train, population, train - population], axis=1)
