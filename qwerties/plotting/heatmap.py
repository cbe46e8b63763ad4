"""Figures of maps: two settings spread over panels, a score in every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from qwerties.plotting.axes import log_ticks, short
from qwerties.plotting.style import CARD, INK, STATES, plain, style

UNDEFINED = "#c9c4bb"  # a pixel without a value
EXACT = "#ffd84d"  # fill of a mark that is a config of the map

# From −1, always wrong, by 0, a guess, to 1, the best possible; lightness alone distinguishes 0 to 1
_WRONG = [(0.0, "#f6c9a0"), (0.25, "#b8622b"), (0.5, "#1d1f27")]
_RIGHT = [(0.7, STATES["learned"]), (0.86, STATES["slow"]), (1.0, "#f3f9fa")]
GAIN = LinearSegmentedColormap.from_list("gain", _WRONG + _RIGHT)
LABELS = {
    "gain": "gain: 0 a guess, 1 the best possible",
    "learned": "share of networks that learned",
    "constant": "share of networks that answer one class",
    "dead": "share of networks that died",
    "diverged": "share of networks that diverged",
}
UNITS = {"distance": "distance, in standard deviations", "samples": "points per class"}
MARKERS = ("o", "D", "s", "^", "v", "P")


@dataclass(frozen=True)
class MapAxis:
    """One axis of a map: what it is called, and the values at its two ends."""

    label: str
    low: float
    high: float
    log: bool

    def ticks(self, points: float) -> tuple[list[float], list[str]]:
        """Return round values for an axis so many points long: as shares of the way up, and as texts."""
        values = log_ticks(self.low, self.high) if self.log else []
        if len(values) < 2:  # linear, or a narrow range
            values = list(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(self.low, self.high))
            values = [float(v) for v in values if self.low <= v <= self.high]
        texts = [short(value) for value in values]
        if len(set(texts)) < len(texts):  # too much alike when written briefly
            texts = [f"{value:.10g}" for value in values]
        step = int(np.ceil(len(values) * (6 * max(map(len, texts), default=1) + 10) / points))
        values, texts = values[::step], texts[::step]
        scale = np.log if self.log else np.asarray
        low, high = scale(self.low), scale(self.high)
        return [float((scale(v) - low) / (high - low)) for v in values], texts


@dataclass(frozen=True)
class MapMark:
    """A config on a map: its name, its panel (row, column), its place as shares of both axes, from 0 to 1."""

    name: str
    panel: tuple[int, int]
    x: float
    y: float
    exact: bool  # whether the panel's networks differ from it in nothing else


def scale(measure: str) -> tuple[Colormap, float]:
    """Return the colours of a measure, and what the first of them stands for; the last stands for 1."""
    if measure == "gain":
        return GAIN, -1.0
    if measure == "learned":
        return LinearSegmentedColormap.from_list(measure, GAIN(np.linspace(0.5, 1, 64))), 0.0
    return LinearSegmentedColormap.from_list(measure, ["#f6f5f2", STATES[measure]]), 0.0


def map_figure(
    values: NDArray[Any],
    names: Sequence[Sequence[str]],
    x: MapAxis,
    y: MapAxis,
    measure: str,
    marks: Sequence[MapMark] = (),
) -> Figure:
    """Draw one measure: a panel for each loss and activation, one scale for all, and the marks.

    Parameters
    ----------
    values : ndarray, (rows, columns, pixels upwards, pixels to the right)
        NaN where undefined.
    names : rows of str
        Names of the panels, (rows, columns).
    x, y : MapAxis
    measure : str
        A key of `LABELS`.
    marks : sequence of MapMark
    """
    rows, columns = values.shape[:2]
    side = min(3.1, 7.4 / columns)
    width = columns * side + 1.6
    texts = [plain(mark.name + ("" if mark.exact else " (other settings differ)")) for mark in marks]
    longest = 0.4 + 0.065 * max(map(len, texts), default=0)  # inches of a mark's name in the legend
    abreast = min(max(int(width / longest), 1), 3, max(len(marks), 1))
    legend = 0.28 * -(-len(marks) // abreast)
    with style():
        fig = Figure((width, rows * (side + 0.35) + 0.5 + legend))
        axes: Any = fig.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for i, j in np.ndindex(rows, columns):
            image = _panel(axes[i, j], values[i, j], measure)
            axes[i, j].set_title(plain(names[i][j], 40), size=10.5, pad=5)
        _label(fig, axes, x, y, side)
        low = float(np.nanmin(values, initial=0))
        _colorbar(fig, image, axes, LABELS[measure], low, 0.25)
        for number, mark in enumerate(marks):
            axes[mark.panel].add_line(_mark(mark, number))
        if marks:
            handles = [_mark(mark, number, shown=False) for number, mark in enumerate(marks)]
            fig.legend(handles, texts, loc="outside upper left", ncols=abreast, handletextpad=0.3)
    return fig


def shares_figure(
    values: NDArray[Any], names: Sequence[str], x: MapAxis, y: MapAxis, measures: Sequence[str]
) -> Figure:
    """Draw several shares: a row for each, a column for each panel of the map.

    Parameters
    ----------
    values : ndarray, (measures, panels, pixels upwards, pixels to the right)
    names : sequence of str
        Names of the panels.
    x, y : MapAxis
    measures : sequence of str
        Keys of `LABELS`.
    """
    columns = len(names)
    side = min(1.9, 7.6 / columns)
    with style():
        fig = Figure((columns * side + 1.4, len(measures) * side + 0.9))
        axes: Any = fig.subplots(len(measures), columns, squeeze=False, sharex=True, sharey=True)
        for i, measure in enumerate(measures):
            for j in range(columns):
                image = _panel(axes[i, j], values[i, j], measure)
                if i == 0:
                    axes[i, j].set_title(plain(names[j], 40), size=9.5, pad=5)
            _colorbar(fig, image, axes[i], measure, 0.0, 0.5)
        _label(fig, axes, x, y, side)
    return fig


def _panel(ax: Axes, values: NDArray[Any], measure: str) -> AxesImage:
    colors, low = scale(measure)
    ax.grid(False)
    ax.spines[:].set(visible=True)
    return ax.imshow(
        np.ma.masked_invalid(values.astype(float)), cmap=colors.with_extremes(bad=UNDEFINED), vmin=low, vmax=1,
        origin="lower", extent=(0, 1, 0, 1), aspect="auto",
    )  # fmt: skip


def _label(fig: Figure, axes: Any, x: MapAxis, y: MapAxis, side: float) -> None:
    """Put ticks on panels `side` inches long that share their axes, and name the axes once."""
    for ax in axes.flat:
        ax.set_xticks(*x.ticks(60 * side))
        ax.set_yticks(*y.ticks(180 * side))
    for ax in axes[-1]:
        for at, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True):
            # neighbours' labels keep apart
            text.set_horizontalalignment("left" if at < 0.05 else "right" if at > 0.95 else "center")
    fig.supxlabel(x.label, size=9.5, color=INK)
    fig.supylabel(y.label, size=9.5, color=INK)


def _colorbar(fig: Figure, image: AxesImage, axes: Any, label: str, low: float, step: float) -> None:
    """Draw the scale from the least value that occurs on (0 at most)."""
    bar = fig.colorbar(image, ax=axes, aspect=28 if step < 0.5 else 12, pad=0.02, fraction=0.06, label=label)
    bottom = max(-1.0, float(np.floor(4 * low) / 4)) if low < 0 else 0.0
    bar.ax.set_ylim(bottom, 1)
    bar.set_ticks([float(tick) for tick in np.arange(-1, 1.01, step) if tick >= bottom])
    bar.outline.set_visible(False)


def _mark(mark: MapMark, number: int, *, shown: bool = True) -> Line2D:
    """A mark to be seen on light and on dark: filled where it is a config of the map, hollow where it is near one."""
    looks: dict[str, Any] = {"ms": 7.5, "mew": 1.5, "mec": INK, "mfc": EXACT if mark.exact else "none"}
    looks |= {"ls": "", "marker": MARKERS[number % len(MARKERS)], "zorder": 5, "clip_on": False}
    line = Line2D([mark.x if shown else 0], [mark.y if shown else 0], **looks)
    line.set_path_effects([withStroke(linewidth=3.6, foreground=CARD)])
    return line
