"""The figure of examples: networks that ended in different ways, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from qwerties.plotting.network import NetworkView, decision_boundary
from qwerties.plotting.style import INK, MUTED, plain, style

PANEL = (1.82, 1.39)  # inches for a panel with its title
NAME_ROW = 0.24  # inches for a config's name
SCALE = 0.42  # of marks and lines, against a run's own picture
PANEL_DPI = 150  # of the picture: as SVG its points and shades would be large


class ExamplePanel(NamedTuple):
    """One network as it ended, and what is written above it."""

    shown: NetworkView
    name: str
    share: str  # of the training points that it gets right


def examples(rows: Sequence[tuple[str, Sequence[ExamplePanel | None]]]) -> Figure:
    """Draw a named row of panels for each config, a column for each state; None leaves a place empty."""
    columns = max(4, *(len(row) for _, row in rows))
    width, height = columns * PANEL[0], len(rows) * (PANEL[1] + NAME_ROW)
    with style():
        fig = Figure((width, height))
        fig.set_layout_engine("none")  # panels have places of their own
        for i, (name, row) in enumerate(rows):
            top = height - i * (PANEL[1] + NAME_ROW)
            fig.text(0.05 / width, (top - 0.17) / height, plain(name, 96), size=10, weight="bold")
            for j, panel in enumerate(row):
                if panel is not None:
                    bottom = top - NAME_ROW - PANEL[1] + 0.08
                    left, wide = j * PANEL[0] + 0.05, PANEL[0] - 0.1
                    ax = fig.add_axes((left / width, bottom / height, wide / width, wide / 1.6 / height))
                    decision_boundary(ax, panel.shown, SCALE)
                    ax.grid(False)
                    ax.spines[:].set(visible=True)
                    ax.set(xticks=[], yticks=[])
                    ax.set_title(panel.name, size=8.5, color=INK, pad=4)
                    ax.set_title(panel.share, size=8.5, color=MUTED, pad=4, loc="right")
    return fig
