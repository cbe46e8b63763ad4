"""What is marked on a map: the notebook's default, and what the tuned studies of the store chose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qwerties.analysis.searches import read_searches
from qwerties.config import DEFAULT, FIELDS, Config
from qwerties.errors import clean
from qwerties.maps.spec import MapSpec
from qwerties.tracking.store import Store

DEFAULT_NAME = "the notebook’s default"
MOST = 6
"""Configs that are marked."""


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
        Places of its loss and activation.
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
    """The notebook's default, and the config that the search for each arm chose, no config twice."""
    found = {DEFAULT: Mark(DEFAULT_NAME, DEFAULT)}
    for experiment_id, tags in store.experiments().values():
        try:
            searches = read_searches(tags, store.runs(experiment_id))
        except ValueError:
            continue  # the report names what cannot be read
        for search in searches:
            if search.winner is not None and not search.is_baseline:
                found.setdefault(search.winner, Mark(clean(f"tuned: {search.arm}", 40), search.winner))
    return list(found.values())[:MOST]


def place(spec: MapSpec, marks: Iterable[Mark]) -> list[Placed]:
    """Those marks that lie on a map's panels."""
    found = []
    for mark in marks:
        config = mark.config
        x, y = (axis.share(getattr(config, axis.field)) for axis in (spec.x, spec.y))
        if config.loss in spec.losses and config.activation in spec.activations and None not in (x, y):
            panel = spec.losses.index(config.loss), spec.activations.index(config.activation)
            shared = replace(config, **{name: FIELDS[name] for name in spec.varied}) == spec.base
            found.append(Placed(mark, panel, float(x or 0), float(y or 0), shared))
    return found
