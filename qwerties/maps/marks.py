"""What is marked on a map: the notebook's default, and what the searches of the store chose."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from qwerties.analysis.searches import read_searches
from qwerties.config import DEFAULT, FIELDS, Config
from qwerties.errors import clean
from qwerties.maps.spec import MapSpec
from qwerties.plotting.heatmap import MapMark
from qwerties.tracking.store import Store

MAX_MARKS = 6


def marks_of(store: Store) -> dict[Config, str]:
    """Return the notebook's default, and the config that each arm of every search chose, with their names."""
    marks = {DEFAULT: "the notebook’s default"}
    for experiment_id, tags in store.experiments().values():
        try:
            searches = read_searches(tags, store.runs(experiment_id))
        except ValueError:
            continue  # the report names what cannot be read
        for search in searches:
            if search.winner is not None and not search.is_baseline:
                marks.setdefault(search.winner, clean(f"tuned: {search.arm}", 40))
    return dict(itertools.islice(marks.items(), MAX_MARKS))


def place(spec: MapSpec, marks: Mapping[Config, str]) -> dict[Config, MapMark]:
    """Return the marks that lie on a map's panels."""
    placed = {}
    for config, name in marks.items():
        x, y = (axis.share(axis.number(config)) for axis in (spec.x, spec.y))
        has_panel = config.loss in spec.losses and config.activation in spec.activations
        if has_panel and x is not None and y is not None:
            panel = spec.losses.index(config.loss), spec.activations.index(config.activation)
            is_of_map = replace(config, **{field: FIELDS[field] for field in spec.varied}) == spec.base
            placed[config] = MapMark(name, panel, x, y, is_of_map)
    return placed
