"""Ticks and labels for axes: round numbers, written as people write them, and names that keep apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike, NDArray

from qwerties.plotting.lettering import width
from qwerties.plotting.style import GRID, MUTED, SPINE, readable

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def spread(wanted: ArrayLike, sizes: ArrayLike, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
    """Move labels as little as possible (least squares) until none lies over another.

    Parameters
    ----------
    wanted : array_like, shape (n,)
        Where the middle of each label would like to be.
    sizes : array_like, shape (n,) or ()
        How much room each takes. Where there is not enough for all, the sizes shrink until there is.
    low, high : float
        The middles stay in this range.

    Returns
    -------
    ndarray, shape (n,)
        Where each goes, in the order of `wanted`.
    """
    y = np.asarray(wanted, float)
    order = np.argsort(y, kind="stable")
    size = np.broadcast_to(np.asarray(sizes, float), y.shape)[order]
    steps = np.append(0, np.cumsum((size[1:] + size[:-1]) / 2))[: len(y)]
    if len(y) and steps[-1] > high - low:
        steps *= (high - low) / steps[-1]
    blocks: list[tuple[float, int]] = []  # (mean, length) of labels that touch: isotonic regression
    for value in y[order] - steps:
        mean, length = float(value), 1
        while blocks and blocks[-1][0] > mean:
            last, count = blocks.pop()
            mean, length = (mean * length + last * count) / (length + count), length + count
        blocks.append((mean, length))
    means = np.repeat([mean for mean, _ in blocks], [length for _, length in blocks])
    placed = np.empty_like(y)
    placed[order] = np.clip(means, low, high - steps[-1:]) + steps
    return placed


def end_labels(
    ax: Axes, labels: Iterable[tuple[float, str, str]], size: float = 9, zorder: float | None = None
) -> None:
    """Write labels at the right edge of the axes, each at its height, none over another.

    They find their places when they are drawn, so limits and layout may still change.

    Parameters
    ----------
    ax : Axes
    labels : iterable of (height in data units, text, colour)
        Heights outside the limits are put at the edge.
    size : float
        In points; smaller where there are too many.
    zorder : float, optional
        Of the labels; matplotlib's own for text otherwise.
    """
    entries = list(labels)
    leader = {"arrowstyle": "-", "lw": 0.7, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
    notes = [
        ax.annotate(
            text,
            xy=(1, 0),
            xytext=(9, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=readable(color),
            size=size,
            annotation_clip=False,
            arrowprops=leader | {"color": color},
        )
        for _, text, color in entries
    ]
    if entries:
        arrange = _Arrange(notes, [level for level, _, _ in entries], size, above=False)
        if zorder is not None:  # labels are drawn where they were put just before
            arrange.set_zorder(zorder)
            for note in notes:
                note.set_zorder(zorder + 0.5)
        ax.add_artist(arrange)


def top_labels(ax: Axes, labels: Iterable[tuple[float, str]], size: float = 8.5) -> None:
    """Write labels above the axes, each over its place on x, none over another (as `end_labels` does)."""
    entries = list(labels)
    notes = [
        ax.annotate(
            text,
            xy=(0, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            color=MUTED,
            size=size,
        )
        for _, text in entries
    ]
    if entries:
        ax.add_artist(_Arrange(notes, [x for x, _ in entries], size, above=True))


class _Arrange(Artist):
    """Draws nothing: moves labels apart just before they are drawn."""

    def __init__(self, notes: list[Annotation], at: list[float], size: float, above: bool) -> None:
        super().__init__()
        self.notes, self.at, self.size, self.above = notes, at, size, above
        self.set(zorder=-1, in_layout=False)

    def draw(self, renderer: Any) -> None:
        ax, fig = self.axes, self.get_figure(root=True)
        assert ax is not None
        assert fig is not None
        points = [(x, ax.get_ylim()[1]) if self.above else (ax.get_xlim()[1], x) for x in self.at]
        wanted = ax.transLimits.transform(ax.transScale.transform(points))[:, 0 if self.above else 1]
        wanted = np.clip(np.nan_to_num(wanted), 0, 1)
        room = (ax.bbox.width if self.above else ax.bbox.height) * 72 / fig.dpi
        if self.above:
            sizes = [0.6 * self.size * len(note.get_text()) + 8 for note in self.notes]
            for note, place in zip(self.notes, spread(wanted, np.array(sizes) / room), strict=True):
                note.xy = (float(place), 1)
            return
        size = max(min(self.size, room / (1.45 * len(self.notes))), 5)
        tall = np.array([1.2 * (note.get_text().count("\n") + 1) + 0.25 for note in self.notes]) * size / room
        places = spread(wanted, tall, 0.3 * tall.max(), 1 - 0.3 * tall.max())
        for note, at, place in zip(self.notes, wanted, places, strict=True):
            note.xy = (1, float(at))
            note.set(position=(9, (place - at) * room), size=size)
            assert note.arrow_patch is not None
            note.arrow_patch.set_visible(abs(place - at) * room > 0.25 * size)


def width_in_points(ax: Axes) -> float:
    """How wide axes are on paper (before constrained layout has moved them)."""
    fig = ax.get_figure(root=True)
    assert fig is not None
    return float(ax.get_position(original=True).width * fig.get_figwidth() * 72)


def short(value: float) -> str:
    """A number as people write it on an axis: 0.05, 2,000, 10⁻⁶."""
    if value and not 1e-3 * (1 - 1e-9) <= abs(value) < 1e5:
        exponent = int(np.floor(np.log10(abs(value)) + 1e-9))
        mantissa, power = value / 10.0**exponent, "10" + str(exponent).translate(SUPERSCRIPTS)
        text = power if abs(mantissa - 1) < 1e-6 else f"{mantissa:.3g}·{power}"
    else:
        text = f"{value + 0.0:,.0f}" if value == int(value) else f"{value:.4g}"
    return text.replace("-", "−")


def fixed_ticks(axis: Axis, at: ArrayLike, labels: Iterable[str] | None = None) -> None:
    """Put ticks at the given values and nowhere else."""
    values = [float(v) for v in np.asarray(at, float)]
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FixedFormatter([short(v) for v in values] if labels is None else list(labels)))


def rule(
    ax: Axes,
    name: str,
    at: ArrayLike,
    labels: Iterable[str] | None = None,
    *,
    grid: bool = True,
    marks: bool = True,
    color: str = MUTED,
    size: float = 9,
    gap: float = 4,
) -> list[Text]:
    """Put fixed ticks on an axis as `fixed_ticks` after `theme.dress` does, at a third of the cost.

    Ticks of matplotlib's are three lines and two texts each, whatever is shown of them, and are measured for the
    axis's label. Here all lines are one artist, and the label keeps off the longest text, so wide as texts usually are.

    Parameters
    ----------
    ax : Axes
        Dressed without a grid, its scales set.
    name : {"x", "y"}
    at, labels
        As in `fixed_ticks`.
    grid, marks : bool
        Whether lines go through the axes, and short ones out of it.
    color, size
        Of the labels.
    gap : float
        Between them and the axes, or the short lines, in points.

    Returns
    -------
    list of Text
        The labels.
    """
    values = np.asarray(at, float)
    texts = [short(value) for value in values] if labels is None else list(labels)
    fig, pad = ax.get_figure(root=True), gap + 3 if marks else gap
    assert fig is not None
    axis: Axis
    if name == "x":
        axis, mark = ax.xaxis, TICKDOWN
        along, (place, va, ha) = ax.get_xaxis_transform(), ax.get_xaxis_text1_transform(pad)
        feet, tips = ([(value, end) for value in values] for end in (0, 1))
        middle, off = (0.5, 0.0), (0.0, -(pad + 6 + size) / 72)
    else:
        axis, mark = ax.yaxis, TICKLEFT
        along, (place, va, ha) = ax.get_yaxis_transform(), ax.get_yaxis_text1_transform(pad)
        feet, tips = ([(end, value) for value in values] for end in (0, 1))
        middle, off = (0.0, 0.5), (-(pad + 6 + 0.6 * size * max(map(len, texts), default=0)) / 72, 0.0)
    axis.set_major_locator(NullLocator())
    axis.set_label_coords(*middle, transform=ax.transAxes + ScaledTranslation(*off, fig.dpi_scale_trans))
    if grid:
        lines = list(zip(feet, tips, strict=True))
        faint: dict[str, Any] = {"colors": GRID, "lw": 0.8, "capstyle": "projecting", "zorder": 0.5}
        ax.add_artist(LineCollection(lines, transform=along, **faint))
    if marks:
        short_ones: dict[str, Any] = {"marker": mark, "ms": 3, "mew": 0.8, "ls": "", "color": SPINE}
        ends = np.reshape(feet, (-1, 2)).T
        ax.add_artist(Line2D(*ends, transform=along, clip_on=False, zorder=2, **short_ones))
    look: dict[str, Any] = {"transform": place, "va": va, "ha": ha, "color": color, "size": size}
    return [ax.text(*foot, text, **look) for foot, text in zip(feet, texts, strict=True)]


def widest_only(texts: Sequence[Text]) -> None:
    """Let a layout make room for the widest of texts that begin, or end, on one line: the others fit with it."""
    for text in sorted(texts, key=lambda text: width(text.get_text(), text.get_fontproperties()))[:-1]:
        text.set_in_layout(False)


def nice_limits(low: float, high: float) -> tuple[float, float]:
    """A range on a log axis, widened to 1, 2 or 5 times powers of ten: many curves share few axes."""
    low, high = max(low, 1e-300), min(high, 1e300)
    digits = np.array([0.5, 1, 2, 5, 10, 20])
    below = 10.0 ** np.floor(np.log10(low / 1.05)) * digits
    above = 10.0 ** np.floor(np.log10(high * 1.05)) * digits
    return float(below[below <= low / 1.05].max()), float(above[above >= high * 1.05].min())


def log_ticks(low: float, high: float) -> list[float]:
    """About four to eight round values on a log axis."""
    decades = np.log10(high / low)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    digits = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3.2 else (1,)
    step = int(np.ceil(decades / 7)) if digits == (1,) else 1
    ticks = [float(f"{d}e{e}") for e in range(first, last + 1) if e % step == 0 for d in digits]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def epoch_ticks(epochs: float) -> list[float]:
    """Powers of ten up to the last epoch, and the last epoch itself."""
    powers = [10.0**e for e in range(int(np.log10(max(epochs, 1))) + 1)]
    room = 0.085 * np.log10(max(epochs, 10))
    return [p for p in powers if np.log10(epochs / p) > room] + [float(epochs)]


class _LogTicks(LogLocator):
    """`log_ticks` of whatever the axis shows."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        low, high = sorted((vmin, vmax))
        return log_ticks(max(low, 1e-300), min(high, 1e300))


def log_y(ax: Axes) -> None:
    """Make y logarithmic, with a few round ticks."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(_LogTicks())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.yaxis.set_minor_locator(NullLocator())
