"""What is marked on a map: the notebook's default, and what the searches of the store chose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qwerties.analysis.searches import read_searches
from qwerties.config import DEFAULT, FIELDS, Config
from qwerties.errors import clean
from qwerties.maps.spec import MapSpec
from qwerties.tracking.store import Store

DEFAULT_NAME = "the notebook’s default"
MAX_MARKS = 6


@dataclass(frozen=True)
class Mark:
    """A config to be marked, and what it is called."""

    name: str
    config: Config


@dataclass(frozen=True)
class Placed:
    """A mark that lies on a map.

    Attributes
    ----------
    panel : (int, int)
        Indices of its loss and activation.
    x, y : float
        Shares of the way along the axes.
    exact : bool
        Whether it is a config of this map; otherwise it differs from all pixels in other settings.
    """

    mark: Mark
    panel: tuple[int, int]
    x: float
    y: float
    exact: bool


def marks_of(store: Store) -> list[Mark]:
    """Return the notebook's default, and the config that each arm of every search chose, no config twice."""
    marks = {DEFAULT: Mark(DEFAULT_NAME, DEFAULT)}
    for experiment_id, tags in store.experiments().values():
        try:
            searches = read_searches(tags, store.runs(experiment_id))
        except ValueError:
            continue  # the report names what cannot be read
        for search in searches:
            if search.winner is not None and not search.is_baseline:
                marks.setdefault(search.winner, Mark(clean(f"tuned: {search.arm}", 40), search.winner))
    return list(marks.values())[:MAX_MARKS]


def place(spec: MapSpec, marks: Iterable[Mark]) -> list[Placed]:
    """Return the marks that lie on a map's panels."""
    placed = []
    for mark in marks:
        config = mark.config
        x, y = (axis.share(axis.number(config)) for axis in (spec.x, spec.y))
        if config.loss in spec.losses and config.activation in spec.activations and None not in (x, y):
            panel = spec.losses.index(config.loss), spec.activations.index(config.activation)
            is_of_map = replace(config, **{name: FIELDS[name] for name in spec.varied}) == spec.base
            placed.append(Placed(mark, panel, float(x or 0), float(y or 0), is_of_map))
    return placed
