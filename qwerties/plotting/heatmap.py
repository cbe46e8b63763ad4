"""Pictures of maps: arrays -> PNG. One pixel of the map is a whole number of the picture's, so that none is smeared."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from qwerties.plotting import style as theme
from qwerties.plotting.axes import fixed_ticks, log_ticks, short
from qwerties.plotting.style import CARD, FAINT, INK, MUTED, SPINE, STATES, look

DOTS = 150
"""Of the picture per inch; on the page, 100 of them are an inch."""

WIDE = 1080
"""Dots that a picture's panels and margins may take."""

SHADES = 64
"""Colours of a scale: one less than the eye tells apart, and a small file."""

UNDEFINED = "#c9c4bb"
"""A pixel without a value."""

GAIN = LinearSegmentedColormap.from_list(
    "gain",
    [
        (0.0, "#f6c9a0"),
        (0.25, "#b8622b"),
        (0.5, "#1d1f27"),
        (0.7, STATES["learned"]),
        (0.86, STATES["slow"]),
        (1.0, "#f3f9fa"),
    ],
    N=SHADES,
)
"""From −1, always wrong, by 0, a guess, to 1, the best possible; told apart by lightness and by blue against orange."""

LABELS = {
    "gain": "gain: 0 a guess, 1 the best possible",
    **{state: f"share of networks that {state}" for state in ("learned", "diverged")},
    "constant": "share of networks that answer one class",
    "dead": "share of networks that died",
}
UNITS = {"distance": "distance, in standard deviations", "samples": "points per class"}

STYLES = ("o", "D", "s", "^", "v", "P")


def scale(measure: str) -> tuple[Colormap, float]:
    """The colours of a measure, and what the first of them stands for; the last stands for 1."""
    if measure == "gain":
        return GAIN, -1.0
    if measure == "learned":
        return LinearSegmentedColormap.from_list(
            measure, GAIN(np.linspace(0.5, 1, SHADES)), N=SHADES // 2
        ), 0.0
    colors = ["#f6f5f2", STATES[measure]]
    return LinearSegmentedColormap.from_list(measure, colors, N=SHADES // 2), 0.0


@look
def map_figure(spec: Any, values: NDArray[np.float32], measure: str, placed: Sequence[Any] = ()) -> Figure:
    """Make the figure of one measure.

    Parameters
    ----------
    spec : object
        With ``x``, ``y``, ``shape`` and ``panels``, as `maps.spec.MapSpec` has them.
    values : ndarray, `MapSpec.shape`
        NaN where undefined.
    measure : str
    placed : sequence of Placed
        Each with ``panel``, ``x``, ``y``, ``exact`` and ``mark.name``, as `maps.marks.place` returns them.

    Returns
    -------
    Figure
        Of `DOTS` per inch.
    """
    rows, cols = spec.shape[:2]
    room = (WIDE - 270 - 44 * (cols - 1)) / max(cols, 1.6)
    legend = 34 * math.ceil(len(placed) / 3)
    sheet = _Sheet(spec, rows, cols, room, left=116, right=154, top=52, bottom=88 + legend, gap=(44, 62))
    colors, low = scale(measure)
    for i, j, name in spec.panels:
        ax = sheet.panel(i, j)
        _shade(ax, sheet.fitted(values[i, j]), colors, low)
        ax.set_title(name, loc="left", color=INK, size=10.5, pad=6)
        _axes(ax, spec, sheet, left=j == 0, bottom=i == rows - 1)
        for number, one in enumerate(placed):
            if one.panel == (i, j):
                ax.add_line(_mark(one, number))
    _bar(sheet.beside(rows, 26), colors, low, float(np.nanmin(values, initial=0)), LABELS[measure], 1)
    if placed:
        handles = [_mark(one, number, shown=False) for number, one in enumerate(placed)]
        names = [one.mark.name + ("" if one.exact else " (other settings differ)") for one in placed]
        sheet.fig.legend(
            handles,
            [theme.plain(name) for name in names],
            loc="lower left",
            bbox_to_anchor=(100 / sheet.width, 4 / sheet.height),
            ncols=min(3, len(placed)),
            frameon=False,
            labelcolor=INK,
            fontsize=9,
            handletextpad=0.3,
            columnspacing=1.6,
        )
    return sheet.fig


@look
def shares_figure(spec: Any, arrays: Mapping[str, NDArray[np.float32]], measures: Sequence[str]) -> Figure:
    """Make the figure of several shares: a row for each, a column for each loss and activation."""
    panels = list(spec.panels)
    rows, cols = len(measures), len(panels)
    room = (WIDE - 250 - 30 * (cols - 1)) / max(cols, 4)
    sheet = _Sheet(spec, rows, cols, room, left=116, right=134, top=46, bottom=82, gap=(30, 30))
    for row, measure in enumerate(measures):
        colors, low = scale(measure)
        for column, (i, j, name) in enumerate(panels):
            ax = sheet.panel(row, column)
            _shade(ax, sheet.fitted(arrays[measure][i, j]), colors, low)
            if row == 0:
                ax.set_title(name, loc="left", color=INK, size=9.5, pad=6)
            _axes(ax, spec, sheet, left=column == 0, bottom=row == rows - 1, small=True)
        _bar(sheet.beside(1, 20, row), colors, low, 0.0, measure, 0.5)
    return sheet.fig


class _Sheet:
    """A card whose panels are whole multiples of a map's pixels, laid out in dots."""

    def __init__(
        self,
        spec: Any,
        rows: int,
        cols: int,
        room: float,
        *,
        left: int,
        right: int,
        top: int,
        bottom: int,
        gap: tuple[int, int],
    ) -> None:
        self.shape = spec.y.size, spec.x.size
        self.shrink = [max(1, math.ceil(n / (1.3 * room))) for n in self.shape]
        small = [math.ceil(n / by) for n, by in zip(self.shape, self.shrink, strict=True)]
        self.tall, self.broad = (n * max(1, round(room / n)) for n in small)
        self.rows, self.left, self.right, self.bottom, self.gap = rows, left, right, bottom, gap
        self.width = left + cols * self.broad + (cols - 1) * gap[0] + right
        self.height = bottom + rows * self.tall + (rows - 1) * gap[1] + top
        self.fig = Figure((self.width / DOTS, self.height / DOTS), dpi=DOTS, facecolor=CARD)

    def _box(self, left: float, bottom: float, width: float, height: float) -> Axes:
        return self.fig.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def panel(self, row: int, column: int) -> Axes:
        """Axes of a panel; row 0 is on top."""
        up = (self.rows - 1 - row) * (self.tall + self.gap[1])
        return self._box(
            self.left + column * (self.broad + self.gap[0]), self.bottom + up, self.broad, self.tall
        )

    def beside(self, rows: int, width: int, row: int | None = None) -> Axes:
        """Axes of a scale, to the right of a row, or of so many together."""
        up = 0 if row is None else (self.rows - 1 - row) * (self.tall + self.gap[1])
        tall = rows * self.tall + (rows - 1) * self.gap[1]
        return self._box(self.width - self.right + 30, self.bottom + up, width, tall)

    def fitted(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """A panel's values, averaged over squares where there are more than dots."""
        by = self.shrink
        if by == [1, 1]:
            return values.astype(float)
        pad = [(0, -n % step) for n, step in zip(values.shape, by, strict=True)]
        whole = np.pad(values.astype(float), pad, constant_values=np.nan)
        known = np.isfinite(whole)
        tiles = whole.shape[0] // by[0], by[0], whole.shape[1] // by[1], by[1]
        count = known.reshape(tiles).sum((1, 3))
        total = np.where(known, whole, 0).reshape(tiles).sum((1, 3))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _shade(ax: Axes, values: NDArray[np.float64], colors: Colormap, low: float) -> None:
    painted = colors.with_extremes(bad=UNDEFINED)
    ax.imshow(
        np.ma.masked_invalid(values),
        cmap=painted,
        vmin=low,
        vmax=1,
        origin="lower",
        extent=(0, 1, 0, 1),
        aspect="auto",
        interpolation="none",
    )


def _axes(ax: Axes, spec: Any, sheet: _Sheet, *, left: bool, bottom: bool, small: bool = False) -> None:
    """Ticks and names of both axes, along the panel's edges where it is an outer one."""
    for spine in ax.spines.values():
        spine.set(color=SPINE, linewidth=0.8)
    ax.tick_params(length=3, width=0.8, color=SPINE, labelcolor=MUTED, labelsize=8.5, pad=3)
    for axis, own, outer, dots in (
        (ax.xaxis, spec.x, bottom, sheet.broad),
        (ax.yaxis, spec.y, left, sheet.tall),
    ):
        ticks = _ticks(own, max(2, min(6, dots // 64)))
        fixed_ticks(
            axis, [own.share(tick) or 0 for tick in ticks], [short(t) if outer else "" for t in ticks]
        )
        if outer and not small:
            axis.set_label_text(UNITS.get(own.field, own.words), color=INK, size=9.5)
        elif outer:
            axis.set_label_text(own.words, color=INK, size=8.5)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    for at, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True):  # neighbours' labels keep apart
        label.set_horizontalalignment("left" if at < 0.02 else "right" if at > 0.98 else "center")


def _ticks(axis: Any, most: int) -> list[float]:
    ticks: list[float] = []
    if axis.scale == "log":
        ticks = log_ticks(axis.low, axis.high)
        ticks = ticks[:: max(1, math.ceil(len(ticks) / most))]
    if len(ticks) < 2:  # a narrow range
        near = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(axis.low, axis.high)
        ticks = [float(value) for value in near]
    return [tick for tick in ticks if axis.share(tick) is not None]


def _mark(one: Any, number: int, *, shown: bool = True) -> Line2D:
    """A mark to be seen on light and on dark: filled where it is a config of the map, hollow where it is near one."""
    line = Line2D(
        [one.x if shown else 0],
        [one.y if shown else 0],
        ls="",
        marker=STYLES[number % len(STYLES)],
        ms=7.5,
        mew=1.5,
        mec=INK,
        mfc="#ffd84d" if one.exact else "none",
        zorder=5,
        clip_on=False,
    )
    line.set_path_effects([withStroke(linewidth=3.6, foreground=CARD)])
    return line


def _bar(ax: Axes, colors: Colormap, low: float, least: float, label: str, step: float) -> None:
    """The scale, from the least value that occurs on (0 at most)."""
    shown = max(low, math.floor(4 * least) / 4) if low < 0 else 0.0
    strip = np.linspace(shown, 1, 256)[:, None]
    ax.imshow(strip, cmap=colors, vmin=low, vmax=1, origin="lower", extent=(0, 1, shown, 1), aspect="auto")
    ticks = [tick for tick in np.arange(-1, 1.01, 0.25 if step == 1 else step) if tick >= shown]
    fixed_ticks(ax.yaxis, ticks, [short(float(tick)) for tick in ticks])
    ax.set_xticks([])
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.set_ylabel(label, color=INK, size=9, labelpad=6)
    ax.tick_params(length=3, width=0.8, color=SPINE, labelcolor=MUTED, labelsize=8.5, pad=3)
    for spine in ax.spines.values():
        spine.set(color=SPINE, linewidth=0.8)


# Bytes


@look
def encode(fig: Figure, *measures: str) -> bytes:
    """Draw a figure of these measures as PNG of few colours, with the same bytes each time."""
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    out = io.BytesIO()
    few = drawn.convert("RGB").quantize(palette=_palette(measures), dither=Image.Dither.NONE)
    few.save(out, "png", optimize=True, dpi=(DOTS, DOTS))
    return out.getvalue()


def _palette(measures: Sequence[str]) -> Image.Image:
    """The scales' colours, and each ink in steps over the card."""
    colors = [np.array([to_rgb(color) for color in (UNDEFINED, "#ffd84d", SPINE, FAINT)])]
    for ink, steps in ((INK, 16), (MUTED, 12)):
        share = np.linspace(0, 1, steps)[:, None]
        colors.append(share * to_rgb(ink) + (1 - share) * np.array(to_rgb(CARD)))
    for measure in measures:
        own = scale(measure)[0]
        colors.append(own(np.arange(own.N))[:, :3])
    levels = np.unique(np.rint(255 * np.vstack(colors)).astype(np.uint8), axis=0)
    image = Image.new("P", (1, 1))
    image.putpalette(levels.tobytes())
    return image
