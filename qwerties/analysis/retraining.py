"""Per-seed scores -> what one gets by training k networks and keeping the one with the least training loss.

Exact over all choices of k of the tracked networks; only the intervals are resampled, with a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb

from qwerties.stats.intervals import LEVEL
from qwerties.stats.scores import scores

RETRAININGS = (1, 2, 3, 5, 10, 20)
RESAMPLES, SEED = 1000, 0
COLUMNS = ("learned", "any_learned", "train_accuracy", "population_accuracy", "overstated")


def best_of(frame: pd.DataFrame, retrainings: Iterable[int] = RETRAININGS) -> pd.DataFrame:
    """Return what one gets by training k networks and keeping the one with the least training loss.

    Each network has its own data and its own initial weights, as when a notebook is run again. Networks of one loss
    rank by their seeds. A diverged network ranks last, with the accuracy of a guess.

    Parameters
    ----------
    frame : DataFrame
        One row per network: `train_loss`, `state`, `train_accuracy`, `population_accuracy`.
    retrainings : iterable of int
        Values of k, from 1; those above the number of networks are left out.

    Returns
    -------
    DataFrame
        Index: k. Columns: `learned`, the chance that the kept network learned; `any_learned`, the chance that any of
        the k did; `train_accuracy` and `population_accuracy`, the means over the kept networks; `overstated`, the
        former minus the latter. Each with `_lo` and `_hi`, 95% bounds from a bootstrap over the networks.
    """
    values, n = _ranked(frame), len(frame)
    k = np.array([k for k in retrainings if k <= n], int)[:, None]  # (counts, 1)
    index = pd.Index(k[:, 0], name="k")
    if not len(k):
        return pd.DataFrame(index=index)
    # The r-th network (from 0) is the best of the draw if it is drawn and the other k − 1 come from those behind it.
    best = comb(np.arange(n - 1, -1, -1), k - 1) / comb(n, k)  # (counts, networks)
    # The chance that none learned, by how many of the networks did not
    none = comb(np.arange(n + 1), k) / comb(n, k)  # (counts, networks + 1)
    rng = np.random.default_rng(SEED)
    again = (np.sort(rng.integers(0, n, n)) for _ in range(RESAMPLES))  # sorted: the networks stay ranked
    resampled = [_summary(values[rows], best, none) for rows in again]  # each (counts, columns)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    parts = {"": _summary(values, best, none), "_lo": low, "_hi": high}
    return pd.concat(
        [pd.DataFrame(part, index, [f"{name}{end}" for name in COLUMNS]) for end, part in parts.items()],
        axis=1,
    )


def _ranked(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return learned (0 or 1) and the accuracies in training and on the population, (networks, 3), best loss first."""
    loss = frame["train_loss"].mask(frame["state"].eq("diverged"), math.inf).fillna(math.inf)
    accuracies = (scores(frame, column) for column in ("train_accuracy", "population_accuracy"))
    values = np.column_stack([frame["state"].eq("learned"), *accuracies])
    return values[np.argsort(loss.to_numpy(float), kind="stable")]


def _summary(
    values: NDArray[np.float64], best: NDArray[np.float64], none: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return `COLUMNS` for each k, given ranked networks (networks, 3): (counts, columns)."""
    learned, train, population = (best @ values).T  # (counts,) each
    others = round(float((1 - values[:, 0]).sum()))  # networks that did not learn
    return np.stack([learned, 1 - none[:, others], train, population, train - population], axis=1)
