"""Words of figures: names of configs and scores, and how captions and descriptions list values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qwerties.analysis.tables import SeedTable
from qwerties.report.text import display_all
from qwerties.stats.formats import number
from qwerties.study.experiment import config_names

MAX_LISTED = 12  # points of one line that a figure's description lists
MAX_ROWS = 16  # named rows of one figure; more are unreadable, and stand in the table

WORDS = {
    "population_accuracy": "accuracy on the true distribution",
    "train_accuracy": "accuracy on the training points",
    "train_loss": "training loss",
    "bce": "BCE on the true distribution",
    "brier": "MSE on the true distribution",
    "learned": "share of seeds that learned",
    "regret": "regret: Bayes accuracy − accuracy",
    "settled": "share of seeds whose loss has settled",
    "gain": "gain: way from a coin toss to Bayes accuracy",
    "hidden": "hidden units",
    "distance": "distance between the cluster centres",
}


def words_of(name: str) -> str:
    """Return what a score or a field of a config is, in words."""
    return WORDS.get(name, name.replace("_", " "))


def value_words(value: str | float) -> str:
    """Write a value of a setting."""
    return value if isinstance(value, str) else f"{value:g}"


def names(tables: Sequence[SeedTable]) -> list[str]:
    """Name configs by what differs among them."""
    return display_all(config_names([table.config for table in tables]))


def spaced(n: int, count: int = MAX_LISTED) -> list[int]:
    """Return at most so many of n indices, evenly spaced, with both ends."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, count)).tolist()}) if n else []


def capitalised(words: str) -> str:
    """Return the words as the beginning of a sentence."""
    return words[:1].upper() + words[1:]


def line_words(frame: pd.DataFrame, write: Callable[[float], str] = number) -> str:
    """List points of a figure's lines for its description: columns `x`, `y` and `line`."""
    return "; ".join(
        (f"{name!s}: " if name else "")
        + ", ".join(f"{write(part['y'].iloc[i])} at {part['x'].iloc[i]:g}" for i in spaced(len(part)))
        for name, part in frame.sort_values("x", kind="stable").groupby("line", sort=False)
    )


def limit_words(references: Mapping[str, Any]) -> str:
    """Name the levels that a figure shows, for its caption."""
    return f"; dashed: {', '.join(map(str, references))}" if references else ""


def level_words(references: Mapping[str, Any]) -> str:
    """List the levels that a figure shows with their values, for its description."""
    listed = [
        f"{name} {number(level)}" if isinstance(level, float) else f"{name} as a dashed curve"
        for name, level in references.items()
    ]
    return f". Dashed: {', '.join(listed)}" if listed else ""
