"""What each network counts for: its score, or a guess's where it diverged."""

import pandas as pd

# The scores of which more is better, and what a guess gets
CHANCE = {"population_accuracy": 0.5, "train_accuracy": 0.5, "gain": 0.0}


def scores(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return what each network counts for in `column`: its score, or a guess's if it diverged without one.

    Raises
    ------
    ValueError
        If `column` is not in CHANCE.
    """
    if column not in CHANCE:
        raise ValueError(f"column must be one of {sorted(CHANCE)}, not {column!r}")
    values = frame[column].astype(float)
    return values.mask(values.isna() & frame["state"].eq("diverged"), CHANCE[column])
