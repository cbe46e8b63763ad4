"""A config's scores over its seeds: an interval for each, and the levels that it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from qwerties.analysis.tables import SeedTable
from qwerties.config import Config
from qwerties.scoring import theory
from qwerties.stats.intervals import Interval, mean_interval, share_interval
from qwerties.stats.scores import CHANCE, scores

RANGES = {  # of scores that have one; all of them are shares or losses, or differences of these
    **dict.fromkeys(("population_accuracy", "train_accuracy", "regret", "brier"), (0.0, 1.0)),
    "phi": (-1.0, 1.0),
    "gain": (-math.inf, 1.0),
    **dict.fromkeys(("bce", "train_loss"), (0.0, math.inf)),
}


def score_interval(frame: pd.DataFrame, score: str, config: Config) -> Interval:
    """Estimate a score of a config over seeds with its 95% interval: Wilson for a share, t for a mean.

    The bounds stay within the range of the score. Networks of a crossed layout share data and starts and are not
    independent: no interval.

    Raises
    ------
    ValueError
        If there is no such score.
    """
    if score == "learned":
        values = frame["state"].to_numpy() == "learned"
    elif score == "regret":
        best = theory.bayes_accuracy(config.distance, config.data)
        values = best - scores(frame, "population_accuracy").to_numpy()
    elif score in CHANCE:
        values = scores(frame, score).to_numpy()
    elif score in frame and pd.api.types.is_numeric_dtype(frame[score]):  # also of booleans
        values = frame[score].to_numpy()
    else:
        raise ValueError(
            f"the score must be learned, regret or a column of numbers in seeds.csv, got {score!r}"
        )
    if values.dtype == bool:
        interval = share_interval(values)
    else:
        interval = within(mean_interval(values), *RANGES.get(score, (-math.inf, math.inf)))
    return replace(interval, lo=math.nan, hi=math.nan) if "weight_seed" in frame else interval


def within(interval: Interval, low: float, high: float) -> Interval:
    """Cut an interval off at the ends of its score's range; NaN stays NaN."""
    lo, hi = np.clip([interval.lo, interval.hi], low, high).tolist()
    return replace(interval, lo=lo, hi=hi)


def references_of(score: str, config: Config) -> dict[str, float]:
    """Name the levels that a config's score is compared with: its limit, and what simpler classifiers reach."""
    at = (config.distance, config.data)
    match score:
        case "population_accuracy" | "train_accuracy":
            return theory.reference_accuracies(*at)
        case "phi":
            return {"Bayes phi": float(theory.bayes_phi(*at))}
        case "gain":
            return {"Bayes": 1.0}
        case "regret":
            return {"Bayes": 0.0}
        case "bce":
            return {"floor": float(theory.bce_floor(*at))}
        case "brier":
            return {"floor": float(theory.brier_floor(*at))}
    return {}


def shared_references(score: str, tables: Sequence[SeedTable]) -> dict[str, float]:
    """Return the levels that are the same for all configs."""
    levels = [references_of(score, table.config) for table in tables]
    return levels[0] if all(own == levels[0] for own in levels) else {}
