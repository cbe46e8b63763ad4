"""The random numbers of the panel's seeds: noise of the data and initial weights, as training draws them.

The page needs them and loads no torch, so they are package data. ``python -m qwerties.report.panel_seeds`` writes them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from qwerties.config import DEFAULT, Config

PATH = Path(__file__).with_name("panel_seeds.json")
SEEDS = range(24)  # the study's first seeds; under the notebook's config they end in all four states
WIDTHS = (1, 2, 4, 8)  # hidden units on offer


def draw_seeds() -> str:
    """Draw the numbers of every seed and return them as JSON.

    Returns
    -------
    str
        ``noise`` is (seeds, 2, points), and ``weights`` of each width (seeds, weights), in the order of
        ``nn.Sequential``: base64 of little-endian float32.
    """
    from qwerties.training import data, networks

    noise = data.draw_noise(SEEDS, DEFAULT.samples).numpy()
    weights = {}
    for width in WIDTHS:
        layers = networks.stacked_weights(Config(hidden=(width,)), list(SEEDS)).values()
        weights[str(width)] = np.concatenate([value.flatten(1).numpy() for value in layers], axis=1)
    numbers = {
        "seeds": list(SEEDS),
        "noise": _pack(noise),
        "weights": {width: _pack(value) for width, value in weights.items()},
    }
    return json.dumps(numbers) + "\n"


def _pack(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


if __name__ == "__main__":
    PATH.write_text(draw_seeds(), encoding="utf-8")
