"""A map's arrays and marks -> its pictures as PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from qwerties.config import Config
from qwerties.maps.marks import place
from qwerties.maps.spec import SHOWN, Arrays, Axis, MapSpec
from qwerties.plotting.heatmap import UNITS, MapAxis, MapMark, map_figure
from qwerties.plotting.style import png

DPI = 150


def pictures(spec: MapSpec, arrays: Arrays, marks: Mapping[Config, str]) -> dict[str, bytes]:
    """Draw every measure, by the path of its artifact."""
    return {f"plots/{measure}.png": draw_map(spec, arrays, measure, marks) for measure in SHOWN}


def draw_map(spec: MapSpec, arrays: Arrays, measure: str, marks: Mapping[Config, str]) -> bytes:
    """Draw one measure: a panel for each loss (rows) and activation (columns), one scale for all, and the marks."""
    return png(map_figure(**map_arguments(spec, arrays, measure, place(spec, marks).values())), DPI)


def map_arguments(
    spec: MapSpec, arrays: Arrays, measure: str, marks: Iterable[MapMark] = ()
) -> dict[str, Any]:
    """Return the arguments of `plotting.heatmap.map_figure`."""
    names = {(i, j): name for i, j, name in spec.panels}
    rows, columns = spec.shape[:2]
    return {
        "values": np.asarray(arrays[measure]),
        "names": [[names[i, j] for j in range(columns)] for i in range(rows)],
        **map_axes(spec),
        "measure": measure,
        "marks": list(marks),
    }


def map_axes(spec: MapSpec) -> dict[str, MapAxis]:
    """Return the axes of a map's figures."""

    def axis(own: Axis) -> MapAxis:
        return MapAxis(UNITS.get(own.field, own.words), own.low, own.high, own.scale == "log")

    return {"x": axis(spec.x), "y": axis(spec.y)}
