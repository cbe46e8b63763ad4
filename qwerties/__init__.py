"""Small networks, hundreds of paired seeds, and verdicts with evidence.

Public: `Config`, `Contrast`, `Experiment`, `Figure` and `grid` declare a question in ``experiments/``; `train` trains
configs on `Seeds`; `compare` gives the verdict on two paired tables. They are loaded when they are first used, so that
importing the package takes no time.
"""

import sys

# `python experiments/x.py` puts its folder first, and a file there named `json.py` would take the place of Python's own
if sys.path[0].endswith("experiments"):
    sys.path.append(sys.path.pop(0))

from importlib import import_module
from typing import TYPE_CHECKING

import qwerties.training  # noqa: F401 - tells `config` the names of activations, losses, optimizers and data

if TYPE_CHECKING:
    from qwerties.config import DEFAULT, Config, Seeds
    from qwerties.stats.compare import compare
    from qwerties.study.experiment import Contrast, Experiment, Figure, grid
    from qwerties.training.trainer import train

_PUBLIC = {
    "DEFAULT": "qwerties.config",
    "Config": "qwerties.config",
    "Contrast": "qwerties.study.experiment",
    "Experiment": "qwerties.study.experiment",
    "Figure": "qwerties.study.experiment",
    "Seeds": "qwerties.config",
    "compare": "qwerties.stats.compare",
    "grid": "qwerties.study.experiment",
    "train": "qwerties.training.trainer",
}

__all__ = ["DEFAULT", "Config", "Contrast", "Experiment", "Figure", "Seeds", "compare", "grid", "train"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'qwerties' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
