"""The figure of exemplars: networks that ended in different ways, side by side, by their weights and training points.

Needs neither the store nor torch, so that a process that only draws starts fast. All panels are one drawing, as a
figure of so many axes would take its time.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit

from qwerties import plots, theme
from qwerties.answers import Layers, accuracy, answer
from qwerties.config import Config
from qwerties.markup import clean, percent

DOTS = 150  # per inch
GRID = (101, 161)
"""Rows and columns on which boundaries are found."""

LEVELS = 16
"""Shades of the probability: bands take a third of the bytes of a smooth shading."""

SHOWN = ("learned", "slow", "constant", "dead")
"""States in the order of the columns; what diverged has nothing to show."""

PANEL, GAP, MARGIN = (1.74, 1.0875), (0.08, 0.3), (0.06, 0.06)
"""In inches: a panel, what lies between two (a line of text fits), and around all."""


@dataclass(frozen=True)
class Exemplar:
    """One network as it ended.

    Attributes
    ----------
    seed : int
    state : str
    points : ndarray, (2, points)
        What it was trained on; the first half is class 0.
    layers : Layers
    """

    seed: int
    state: str
    points: NDArray[Any]
    layers: Layers


Row = tuple[Config, Mapping[str, Exemplar], str]
"""A config, its exemplars by their states, and its name."""


def size_of(rows: Sequence[Row]) -> tuple[float, float]:
    """Width and height in inches; as wide with fewer columns, so that panels are of one size on the page."""
    across, down = _step()
    return 2 * MARGIN[0] + 4 * across - GAP[0], 2 * MARGIN[1] + len(rows) * down


def _step() -> tuple[float, float]:
    """From one panel to the next, in inches."""
    return PANEL[0] + GAP[0], PANEL[1] + GAP[1] + 0.22


def describe(rows: Sequence[Row]) -> str:
    """Say in words what `draw_exemplars` shows."""
    told = [
        f"{clean(label)}: "
        + "; ".join(
            f"seed {one.seed:,} {state}, {percent(_share(config, one))} of its training points right"
            for state in SHOWN
            if (one := found.get(state))
        )
        for config, found, label in rows
    ]
    return f"Decision boundaries, one row per config. {'. '.join(told)}."


@theme.look
def draw_exemplars(rows: Sequence[Row]) -> Figure:
    """Draw a row of panels for each config, a column for each state."""
    columns = [state for state in SHOWN if any(state in found for _, found, _ in rows)]
    (width, height), (across, down) = size_of(rows), _step()
    fig = Figure((width, height), dpi=DOTS, facecolor=theme.CARD)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))  # inches, downwards
    ax.set_axis_off()
    marks = _Marks()
    for i, (config, found, label) in enumerate(rows):
        top = MARGIN[1] + i * down
        ax.text(MARGIN[0], top + 0.16, theme.plain(label, 96), size=9, color=theme.INK, weight="bold")
        for j, state in enumerate(columns):
            if state not in found:
                continue
            one = found[state]
            box = (MARGIN[0] + j * across, top + 0.42, *PANEL)
            _panel(ax, config, one, box, marks)
            share = percent(_share(config, one))
            ax.text(box[0], box[1] - 0.06, f"seed {one.seed:,} · {state}", size=8, color=theme.MUTED)
            ax.text(box[0] + PANEL[0], box[1] - 0.06, share, size=8, color=theme.MUTED, ha="right")
    marks.draw(ax)
    return fig


def _share(config: Config, one: Exemplar) -> float:
    """Share of its training points that a network gets right."""
    return float(accuracy(answer(config.activation, one.layers, one.points)[None])[0])


class _Marks:
    """What lies over the shading, of all panels in inches: one artist of each kind costs little."""

    def __init__(self) -> None:
        self.boundaries: list[NDArray[Any]] = []  # each (points, 2)
        self.cuts: list[NDArray[Any]] = []
        self.frames: list[NDArray[Any]] = []
        self.classes: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])  # each (2, points)
        self.rings: list[NDArray[Any]] = []

    def draw(self, ax: Any) -> None:
        dashed = {"colors": theme.REFERENCE["color"], "linestyles": theme.REFERENCE["ls"], "linewidths": 0.8}
        for lines, look, zorder in (
            (self.cuts, dashed, 3),
            (self.boundaries, {"colors": theme.INK, "linewidths": 1.2}, 4),
            (self.frames, {"colors": theme.SPINE, "linewidths": 0.8}, 7),
        ):
            ax.add_collection(LineCollection(lines, zorder=zorder, **look), autolim=False)
        for points, color in zip(self.classes, theme.CLASSES, strict=True):
            if points:
                at = np.concatenate(points, axis=1)
                ax.plot(*at, "s", ms=1.9, mew=0, color=color, ls="", aa=False, zorder=5)
        if self.rings:
            at = np.concatenate(self.rings, axis=1)
            ax.plot(*at, "o", ms=3.8, mew=0.6, mec=theme.INK, mfc="none", ls="", zorder=6)


@functools.cache
def _shades() -> ListedColormap:
    """The probability's colours in `LEVELS` bands."""
    return ListedColormap(theme.PROBABILITY((np.arange(LEVELS) + 0.5) / LEVELS))


def _panel(
    ax: Any, config: Config, one: Exemplar, box: tuple[float, float, float, float], marks: _Marks
) -> None:
    """Shade one network's box (left, top, width, height) and mark the rest."""
    left, right, bottom, top = plots.view(config.distance)
    x0, y0, wide, tall = box

    def place(points: NDArray[Any]) -> NDArray[Any]:
        """From the plane to the figure, (2, points)."""
        return np.stack(
            [x0 + (points[0] - left) / (right - left) * wide, y0 + (top - points[1]) / (top - bottom) * tall]
        )

    across, up = np.linspace(left, right, GRID[1]), np.linspace(bottom, top, GRID[0])
    plane = np.stack([axis.ravel() for axis in np.meshgrid(across, up)])
    grid = np.nan_to_num(answer(config.activation, one.layers, plane)).reshape(GRID)
    ax.imshow(
        expit(grid),
        extent=(x0, x0 + wide, y0 + tall, y0),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
        interpolation_stage="data",
        cmap=_shades(),
        vmin=0,
        vmax=1,
        zorder=1,
    )
    if grid.min() < 0 < grid.max():
        found: Any = contour_generator(across, up, grid).lines(0.0)
        marks.boundaries += [place(line.T).T for line in found]
    marks.cuts.append(place(np.array([[1 + config.distance / 2] * 2, [bottom, top]])).T)
    half = one.points.shape[1] // 2
    logit = answer(config.activation, one.layers, one.points)
    inside = (one.points > [[left], [bottom]]).all(0) & (one.points < [[right], [top]]).all(0)
    at = place(one.points)
    own = np.arange(2 * half) >= half
    marks.classes[0].append(at[:, ~own & inside])
    marks.classes[1].append(at[:, own & inside])
    wrong = (logit > 0) != (np.arange(2 * half) >= half)
    if 0 < wrong.sum() <= half / 2:  # more rings than that would hide the points
        marks.rings.append(at[:, wrong & inside])
    corners = [(x0, y0), (x0 + wide, y0), (x0 + wide, y0 + tall), (x0, y0 + tall), (x0, y0)]
    marks.frames.append(np.array(corners))
