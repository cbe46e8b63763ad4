"""What each network counts for: its score, or a guess's where it diverged."""

from __future__ import annotations

import numpy as np
import pandas as pd

CHANCE = {"population_accuracy": 0.5, "train_accuracy": 0.5, "gain": 0.0}


def scores(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return what each network counts for in `column`: its score, or a guess's if it diverged and has none.

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
    return pd.Series(values, index=frame.index, name=column)
