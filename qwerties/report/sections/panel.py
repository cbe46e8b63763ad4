"""The store -> "Train it yourself": what the page's script needs to train networks and to place them among the tracked.

The script trains; nothing is trained here. Random numbers come from `panel_seeds`, limits from `scoring.theory`, names of
losses and activations from `config`: the script offers those that it knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.config import CHOICES, DEFAULT, Config
from qwerties.report import panel_seeds
from qwerties.scoring import theory
from qwerties.study.coverage import STATES
from qwerties.training.data import ARRANGEMENTS, ORIGIN

ANCHOR = "train"
BINS = 200  # of an accuracy from 0 to 1
LEARNED_GAIN = 0.8  # as in scoring, which loads torch

# Fields that the panel sets, and what it offers; all other fields have their defaults
OFFERED: dict[str, tuple[Any, ...]] = {
    "data": CHOICES["data"],
    "distance": (0.5, 1.0, 2.0, 3.0, 4.0, 6.0),
    "epochs": (500, 1000, 2000, 4000, 8000),
    "loss": CHOICES["loss"],
    "activation": CHOICES["activation"],
    "hidden": panel_seeds.WIDTHS,
    "learning_rate": (0.001, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0),
}
WORDS = {"bce": "BCE", "mse": "MSE", "relu": "ReLU", "clusters": "two clusters", "xor": "XOR"}

_XOR = Config(data="xor", hidden=(8,), learning_rate=0.1)


@dataclass(frozen=True)
class Preset:
    """Two configs that are worth a comparison, and a seed that shows why; the first preset opens the panel."""

    name: str
    first: Config
    second: Config
    seed: int


PRESETS = (
    Preset("BCE or MSE?", DEFAULT, replace(DEFAULT, loss="mse"), 14),
    Preset("ReLU or linear?", DEFAULT, replace(DEFAULT, activation="linear"), 10),
    Preset("ReLU or linear, on XOR?", _XOR, replace(_XOR, activation="linear"), 7),
    Preset("One unit or eight?", DEFAULT, replace(DEFAULT, hidden=(8,)), 15),
    Preset("Small steps or large?", DEFAULT, replace(DEFAULT, learning_rate=0.1), 11),
)


@dataclass(frozen=True)
class Panel:
    """The panel as the template embeds it: the script's data, as JSON that no markup can end, and names of presets."""

    data: Markup
    presets: tuple[str, ...]
    seeds: int


def build(results: Sequence[ExperimentResult]) -> Panel | None:
    """Make the panel; None where no network is tracked."""
    tables = [table for result in results for table in result.networks.values()]
    if not tables:
        return None
    data = {
        **json.loads(panel_seeds.PATH.read_text(encoding="utf-8")),
        "offered": OFFERED,
        "words": WORDS,
        "origin": ORIGIN,
        "centres": ARRANGEMENTS,
        "limits": {
            f"{name} {distance:g}": _limits(name, distance)
            for name in OFFERED["data"]
            for distance in OFFERED["distance"]
        },
        "plateau": theory.DEAD_PLATEAU,
        "learned": LEARNED_GAIN,
        "states": STATES,
        "presets": [
            {"seed": preset.seed, "networks": [_fields(preset.first), _fields(preset.second)]}
            for preset in PRESETS
        ],
        "bins": BINS,
        "tracked": tracked((table.config, table.frame) for table in tables),
    }
    return Panel(_embed(data), tuple(preset.name for preset in PRESETS), len(panel_seeds.SEEDS))


def _limits(data: str, distance: float) -> dict[str, float]:
    """Return the Bayes accuracy and the floor of each loss."""
    limits = {
        "accuracy": theory.bayes_accuracy(distance, data),
        "bce": theory.bce_floor(distance, data),
        "mse": theory.brier_floor(distance, data),
    }
    return {name: round(float(value), 6) for name, value in limits.items()}


def _fields(config: Config) -> dict[str, Any]:
    """Return the values of the panel's fields; the width stands for one hidden layer."""
    return {
        name: config.hidden[0] if name == "hidden" else getattr(config, name) for name in OFFERED
    }


def key(config: Config) -> str:
    """Name a setting of the panel's fields as the script names it."""
    return " ".join(value if isinstance(value, str) else f"{value:g}" for value in _fields(config).values())


def tracked(tables: Iterable[tuple[Config, pd.DataFrame]]) -> dict[str, list[list[int]]]:
    """Count the tracked networks of every setting that the panel offers.

    Parameters
    ----------
    tables : iterable of (Config, DataFrame)
        Scores by seed. Of tables of one setting the largest counts; crossed layouts do not, whose networks share seeds.

    Returns
    -------
    dict
        By `key`, (state, bin, count) of the population accuracy: states as numbers in `STATES`, `BINS` bins from 0 to 1.
        A diverged network counts as a guess.
    """
    largest: dict[str, pd.DataFrame] = {}
    for config, frame in tables:
        offered = len(config.hidden) == 1 and all(
            value in OFFERED[name] for name, value in _fields(config).items()
        )
        if not offered or "weight_seed" in frame or config != _with_defaults(config):
            continue
        name = key(config)
        if name not in largest or len(frame) > len(largest[name]):
            largest[name] = frame
    return {name: _histogram(frame) for name, frame in sorted(largest.items())}


def _with_defaults(config: Config) -> Config:
    return replace(DEFAULT, **{name: getattr(config, name) for name in OFFERED})


def _histogram(frame: pd.DataFrame) -> list[list[int]]:
    accuracy = frame["population_accuracy"].fillna(0.5).to_numpy(float)
    bins = np.clip(accuracy * BINS, 0, BINS - 1).astype(int)
    counts = pd.Series(bins).groupby([frame["state"].map(STATES.index).to_numpy(), bins]).size()
    return [[state, position, count] for (state, position), count in counts.items()]


def _embed(value: Any) -> Markup:
    """Write JSON that no markup can end: it may stand between script tags."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII alone
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
