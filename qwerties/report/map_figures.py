"""A map's arrays -> the page's figures of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qwerties.maps.marks import Placed
from qwerties.maps.pictures import DPI, map_arguments, map_axes
from qwerties.maps.spec import Arrays, MapSpec
from qwerties.plotting.heatmap import map_figure, shares_figure
from qwerties.report.rendering import ReportFigure
from qwerties.report.text import display


def map_gain_figure(
    spec: MapSpec, arrays: Arrays, placed: Sequence[Placed], caption: str, alt: str
) -> ReportFigure:
    """Show the mean gain of every pixel, a panel for each loss and activation, with marked configs."""
    arguments = map_arguments(spec, arrays, "gain", placed)
    arguments["names"] = [list(map(display, row)) for row in arguments["names"]]
    return ReportFigure(map_figure, arguments, caption, alt, dpi=DPI)


def map_shares_figure(
    spec: MapSpec, arrays: Arrays, measures: Sequence[str], caption: str, alt: str
) -> ReportFigure:
    """Show shares of each pixel's networks: a row for each state, a column for each panel."""
    arguments = {
        "values": np.stack([[arrays[measure][i, j] for i, j, _ in spec.panels] for measure in measures]),
        "names": [display(name) for *_, name in spec.panels],
        **map_axes(spec),
        "measures": list(measures),
    }
    return ReportFigure(shares_figure, arguments, caption, alt, dpi=DPI)
