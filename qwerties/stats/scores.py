"""What each network counts for: its score, or a guess's where it diverged."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CHANCE = {"population_accuracy": 0.5, "train_accuracy": 0.5, "gain": 0.0}
"""The scores of which more is better, and what a guess gets."""


def scores(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return what each network counts for in `column`, as `score_values`, by the frame's index."""
    return pd.Series(score_values(frame, column), index=frame.index, name=column)


def score_values(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return what each network counts for in `column`, (rows,): its score, or a guess's if it diverged without one.

    Raises
    ------
    ValueError
        If `column` is not in CHANCE, where more is better and a guess has a value.
    """
    if column not in CHANCE:
        raise ValueError(f"column must be one of {sorted(CHANCE)}, not {column!r}")
    values = frame[column].to_numpy(float)
    if (undefined := np.isnan(values)).any():
        diverged = frame["state"].eq("diverged").to_numpy(bool)
        values = np.where(undefined & diverged, CHANCE[column], values)
    return values
