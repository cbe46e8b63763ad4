"""The store -> "Train it yourself": the data of the script that trains networks in the page.

Nothing is trained here. Random numbers come from `panel_seeds`, limits from `scoring.theory`, distributions of tracked
networks from the store, and names of losses and activations from `config`: the script offers those that it knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jinja2.utils import htmlsafe_json_dumps

from qwerties.analysis.contrasts import LEARNED_GAINS
from qwerties.config import CHOICES, DEFAULT, Config
from qwerties.report import panel_seeds
from qwerties.report.elements import Section, Text
from qwerties.report.results import Results
from qwerties.report.text import NAMES, fill, source
from qwerties.scoring import theory
from qwerties.scoring.states import STATES
from qwerties.training.data import centres

TITLE, ANCHOR = "Train it yourself", "train"
BINS = 200  # of an accuracy from 0 to 1
GRID, MARGIN = (120, 80), 3.6  # cells of the plane, and its margin around the centres in standard deviations

# Fields that the panel sets, and what it offers; all other fields have their defaults
OFFERED: dict[str, tuple[Any, ...]] = {
    "data": tuple(CHOICES["data"]),
    "distance": (0.5, 1.0, 2.0, 3.0, 4.0, 6.0),
    "epochs": (500, 1000, 2000, 4000, 8000),
    "loss": tuple(CHOICES["loss"]),
    "activation": tuple(CHOICES["activation"]),
    "hidden": panel_seeds.WIDTHS,
    "learning_rate": (0.001, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0),
}
WORDS = {**NAMES, "clusters": "two clusters"}

_XOR = Config(data="xor", hidden=(8,), learning_rate=0.1)


class Preset(NamedTuple):
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


def build(results: Results) -> Section | None:
    """Make the section; None where no network is tracked."""
    tables = [table for result in results.experiments for table in result.networks.values()]
    if not tables:
        return None
    data = script_data((table.config, table.frame) for table in tables)
    safe = htmlsafe_json_dumps(data, allow_nan=False, separators=(",", ":"))  # no markup can end it
    html = fill("panel.html", data=safe, presets=PRESETS, seeds=panel_seeds.SEEDS)
    return Section((Text(html),), style=source("panel.css"), script=source("panel.js"))


def script_data(tables: Iterable[tuple[Config, pd.DataFrame]]) -> dict[str, Any]:
    """Gather what the script needs; `tables` as in `tracked`."""
    return {
        **json.loads(panel_seeds.PATH.read_text(encoding="utf-8")),
        "offered": OFFERED,
        "words": WORDS,
        "grid": GRID,
        "scenes": {
            f"{name} {distance:g}": _scene(name, distance)
            for name in OFFERED["data"]
            for distance in OFFERED["distance"]
        },
        "plateau": theory.DEAD_PLATEAU,
        "learned": LEARNED_GAINS[0],
        "states": STATES,
        "presets": [
            {"seed": preset.seed, "networks": [_fields(preset.first), _fields(preset.second)]}
            for preset in PRESETS
        ],
        "bins": BINS,
        "tracked": tracked(tables),
    }


def _scene(data: str, distance: float) -> dict[str, Any]:
    """Return what is known of an arrangement: centres, the part of the plane to show, accuracy and losses at best."""
    own = centres(data, distance)
    low, high = np.concatenate(own).min(0), np.concatenate(own).max(0)
    return {
        "centres": [np.float32(of_class).tolist() for of_class in own],
        "middle": ((low + high) / 2).tolist(),
        "cell": round(float(np.max((high - low + 2 * MARGIN) / GRID)), 6),
        "accuracy": round(float(theory.bayes_accuracy(distance, data)), 6),
        "bce": round(theory.bce_floor(distance, data), 6),
        "mse": round(theory.brier_floor(distance, data), 6),
    }


def _fields(config: Config) -> dict[str, Any]:
    """Return the values of the panel's fields; the width stands for one hidden layer."""
    return {name: config.hidden[0] if name == "hidden" else getattr(config, name) for name in OFFERED}


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
        By `key`, (state, bin, count): the state's position in `STATES`, and the population accuracy in `BINS` bins from
        0 to 1. A diverged network counts as a guess.
    """
    largest: dict[str, pd.DataFrame] = {}
    for config, frame in tables:
        fields = _fields(config)
        offered = all(value in OFFERED[name] for name, value in fields.items())
        same = config == Config(**fields | {"hidden": (fields["hidden"],)})  # in what the panel does not set
        if offered and same and "weight_seed" not in frame and len(frame) > len(largest.get(key(config), ())):
            largest[key(config)] = frame
    histograms = {name: _histogram(frame) for name, frame in sorted(largest.items())}
    return {name: bars for name, bars in histograms.items() if bars}


def _histogram(frame: pd.DataFrame) -> list[list[int]]:
    frame = frame[frame["state"].isin(STATES)]
    accuracy = frame["population_accuracy"].fillna(0.5).to_numpy(float)
    bins = np.clip(accuracy * BINS, 0, BINS - 1).astype(int)
    states = [STATES.index(state) for state in frame["state"]]
    rows, counts = np.unique(np.column_stack((states, bins)).astype(int), axis=0, return_counts=True)
    return np.column_stack((rows, counts)).tolist()
