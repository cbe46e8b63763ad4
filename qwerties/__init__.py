"""Small networks, hundreds of paired seeds, and verdicts with evidence.

Public: `Config`, `Contrast`, `Experiment`, `Figure` and `grid` declare a question in ``experiments/``. They are loaded
when they are first used, so that importing the package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwerties.config import DEFAULT, Config
    from qwerties.study.experiment import Contrast, Experiment, Figure, grid

_PUBLIC = {
    "DEFAULT": "qwerties.config",
    "Config": "qwerties.config",
    "Contrast": "qwerties.study.experiment",
    "Experiment": "qwerties.study.experiment",
    "Figure": "qwerties.study.experiment",
    "grid": "qwerties.study.experiment",
}

__all__ = ["DEFAULT", "Config", "Contrast", "Experiment", "Figure", "grid"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'qwerties' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
