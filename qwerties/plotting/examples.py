"""The figure of exemplars: networks that ended in different ways, side by side, by their weights and training points.

Needs neither the store nor torch, so that a process that only draws starts fast. All panels are drawn on the bare
figure, in inches from its upper left corner: so many axes and images that are fitted to them would take their time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D, Transform
from numpy.typing import NDArray
from scipy.special import expit

from qwerties.config import Config
from qwerties.errors import clean
from qwerties.plotting import network as plots
from qwerties.plotting import style as theme
from qwerties.scoring.predict import Layers, accuracy, answer
from qwerties.stats.formats import percent

DOTS = 150  # per inch
GRID = (101, 161)
"""Rows and columns on which boundaries are found; shading has those of its dots."""

LEVELS = 16
"""Shades of the probability: bands take a third of the bytes of a smooth shading."""

SHOWN = tuple(state for state in theme.STATES if state != "diverged")
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
    place = Affine2D().scale(1, -1).translate(0, height) + fig.dpi_scale_trans
    marks = _Marks()
    for i, (config, found, label) in enumerate(rows):
        top = MARGIN[1] + i * down
        name: dict[str, Any] = {"size": 9, "color": theme.INK, "weight": "bold", "transform": place}
        fig.text(MARGIN[0], top + 0.16, theme.plain(label, 96), **name)
        for j, state in enumerate(columns):
            if state not in found:
                continue
            one, left, upper = found[state], MARGIN[0] + j * across, top + 0.42
            marks.add(config, one, left, upper)
            told: dict[str, Any] = {"size": 8, "color": theme.MUTED, "transform": place}
            fig.text(left, upper - 0.06, f"seed {one.seed:,} · {state}", **told)
            fig.text(left + PANEL[0], upper - 0.06, percent(_share(config, one)), ha="right", **told)
    marks.put_on(fig, place)
    return fig


def _share(config: Config, one: Exemplar) -> float:
    """Share of its training points that a network gets right."""
    return float(accuracy(answer(config.activation, one.layers, one.points)[None])[0])


@functools.cache
def _shades() -> NDArray[np.uint32]:
    """The probability's colours in `LEVELS` bands, four bytes of RGBA each as one number."""
    colors = theme.PROBABILITY((np.arange(LEVELS) + 0.5) / LEVELS, bytes=True)
    return np.ascontiguousarray(colors, np.uint8).view(np.uint32)[:, 0]


class _Shading(Artist):
    """The shading of all panels, dot by dot."""

    def __init__(self, panels: Sequence[tuple[float, float, NDArray[np.uint8]]]) -> None:
        super().__init__()
        self.panels = panels  # left and lower edge in inches from the lower left; RGBA, downwards
        self.set_zorder(1)

    def draw(self, renderer: Any) -> None:
        gc = renderer.new_gc()
        for left, lower, shade in self.panels:
            renderer.draw_image(gc, round(left * DOTS), round(lower * DOTS), shade[::-1])
        gc.restore()


class _Marks:
    """Shading, and what lies over it, of all panels in inches: one artist of each kind costs little."""

    def __init__(self) -> None:
        self.shades: list[tuple[float, float, NDArray[np.uint8]]] = []
        self.boundaries: list[NDArray[Any]] = []  # each (points, 2)
        self.cuts: list[NDArray[Any]] = []
        self.frames: list[NDArray[Any]] = []
        self.classes: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])  # each (2, points)
        self.rings: list[NDArray[Any]] = []

    def add(self, config: Config, one: Exemplar, x0: float, y0: float) -> None:
        """Shade one network's panel, of which this is the upper left corner, and mark its points and boundary."""
        left, right, bottom, top = extent = plots.view(config.distance, config.data)
        wide, tall = PANEL

        def place(points: NDArray[Any]) -> NDArray[Any]:
            """From the plane to the figure, (2, points)."""
            return np.stack(
                [
                    x0 + (points[0] - left) / (right - left) * wide,
                    y0 + (top - points[1]) / (top - bottom) * tall,
                ]
            )

        def over(across: NDArray[Any], up: NDArray[Any]) -> NDArray[np.float64]:
            """Log-odds on a grid, (up, across)."""
            plane = np.stack([axis.ravel() for axis in np.meshgrid(across, up)])
            return np.nan_to_num(answer(config.activation, one.layers, plane)).reshape(len(up), len(across))

        rows, columns = round(tall * DOTS), round(wide * DOTS)
        middles = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
        chance = expit(over(left + middles[0] * (right - left), top - middles[1] * (top - bottom)))
        band = np.minimum(chance * LEVELS, LEVELS - 1).astype(np.uint8)
        self.shades.append((x0, y0 + tall, _shades()[band].view(np.uint8).reshape(rows, columns, 4)))
        across, up = np.linspace(left, right, GRID[1]), np.linspace(bottom, top, GRID[0])
        grid = over(across, up)
        if grid.min() < 0 < grid.max():
            found: Any = contour_generator(across, up, grid).lines(0.0)
            self.boundaries += [place(line.T).T for line in found]
        self.cuts += [place(line.T).T for line in plots.best_boundary(config.distance, config.data, extent)]
        self._add_points(one, answer(config.activation, one.layers, one.points) > 0, extent, place)
        corners = [(x0, y0), (x0 + wide, y0), (x0 + wide, y0 + tall), (x0, y0 + tall), (x0, y0)]
        self.frames.append(np.array(corners))

    def _add_points(
        self,
        one: Exemplar,
        answered: NDArray[np.bool_],
        view: plots.Extent,
        place: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> None:
        left, right, bottom, top = view
        half = one.points.shape[1] // 2
        own = np.arange(2 * half) >= half
        inside = (one.points > [[left], [bottom]]).all(0) & (one.points < [[right], [top]]).all(0)
        at = place(one.points)
        for points, members in zip(self.classes, (~own, own), strict=True):
            points.append(at[:, members & inside])
        wrong = answered != own
        if 0 < wrong.sum() <= half / 2:  # more rings than that would hide the points
            self.rings.append(at[:, wrong & inside])

    def put_on(self, fig: Figure, place: Transform) -> None:
        """Draw all that was added; ``place`` leads from inches, downwards, to the figure."""
        height = float(fig.get_figheight())
        fig.add_artist(_Shading([(left, height - lower, shade) for left, lower, shade in self.shades]))
        dashed = {"colors": theme.REFERENCE["color"], "linestyles": theme.REFERENCE["ls"], "linewidths": 0.8}
        for lines, look, zorder in (
            (self.cuts, dashed, 3),
            (self.boundaries, {"colors": theme.INK, "linewidths": 1.2}, 4),
            (self.frames, {"colors": theme.SPINE, "linewidths": 0.8}, 7),
        ):
            fig.add_artist(LineCollection(lines, zorder=zorder, transform=place, **look))
        square: dict[str, Any] = {"marker": "s", "ms": 1.9, "mew": 0, "aa": False, "zorder": 5}
        ring: dict[str, Any] = {"marker": "o", "ms": 3.8, "mew": 0.6, "mec": theme.INK, "mfc": "none"}
        for points, style in (
            *(
                (own, square | {"color": color})
                for own, color in zip(self.classes, theme.CLASSES, strict=True)
            ),
            (self.rings, ring | {"zorder": 6}),
        ):
            x, y = np.concatenate([np.empty((2, 0)), *points], axis=1)
            fig.add_artist(Line2D(x, y, ls="", transform=place, **style))
