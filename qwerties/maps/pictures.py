"""A map's arrays and marks -> its pictures as PNG."""

from __future__ import annotations

from collections.abc import Sequence

from qwerties.maps.marks import Mark, place
from qwerties.maps.spec import Arrays, MapSpec
from qwerties.plotting.heatmap import encode, map_figure


def pictures(spec: MapSpec, arrays: Arrays, marks: Sequence[Mark]) -> dict[str, bytes]:
    """Draw every measure that can be asked for, by the path of its artifact."""
    measures = ("gain", "learned", "constant", "dead", "diverged")
    return {f"plots/{measure}.png": draw_map(spec, arrays, measure, marks) for measure in measures}


def draw_map(spec: MapSpec, arrays: Arrays, measure: str, marks: Sequence[Mark] = ()) -> bytes:
    """Draw one measure: a panel for each loss (rows) and activation (columns), one scale for all, and the marks."""
    return encode(map_figure(spec, arrays[measure], measure, place(spec, marks)), measure)
