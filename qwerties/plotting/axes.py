"""Panels, ticks and direct labels: round numbers as people write them, and names that never overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from qwerties.plotting.style import MUTED, STATES, WIDTH, plain, readable, style

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
END, TOP = "end label", "top label"  # labels of the annotations that `separate_labels` moves

# A plot of this room, and its arguments after the axes; of any plot, xlabel, ylabel and title too
Panel = tuple[Callable[..., Any], Mapping[str, Any]]
WORDS = ("xlabel", "ylabel", "title")
Label = tuple[float, str, str]  # height in data units, text, colour


def panels(parts: Sequence[Panel], width: float = WIDTH, height: float = 4.2, **kwargs: Any) -> Figure:
    """Draw plots side by side on one figure.

    Parameters
    ----------
    parts : sequence of (callable, mapping)
        Each plot, called as ``plot(ax, **arguments)``. Any text may be ``xlabel``, ``ylabel`` and ``title``.
    width, height : float
        Of the figure, in inches of 100 CSS pixels.
    **kwargs
        For `Figure.subplots`, such as ``sharey=True``.
    """
    with style():
        fig = Figure((width, height))
        FigureCanvasAgg(fig)  # seaborn asks it how large texts are
        axes = fig.subplots(1, len(parts), squeeze=False, **kwargs)[0]
        for ax, (plot, arguments) in zip(axes, parts, strict=True):
            plot(ax, **{name: value for name, value in arguments.items() if name not in WORDS})
            name_axes(ax, **{name: arguments[name] for name in WORDS if name in arguments})
        if any(text.get_label() in (END, TOP) for ax in axes for text in ax.texts):
            engine: Any = fig.get_layout_engine()
            engine.execute(fig)  # labels are separated at the size that the axes will have
            for ax in axes:
                separate_labels(ax)
    return fig


# -------------------------------------------------------------------------------------------------- labels


def name_axes(ax: Axes, **words: str) -> None:
    """Write `WORDS`, whatever text they are."""
    ax.set(**{name: plain(text, 104 if name == "title" else 72) for name, text in words.items()})


def end_labels(ax: Axes, labels: Iterable[Label], size: float = 9) -> None:
    """Name lines at the right edge of the axes, each at its height; `separate_labels` moves them apart."""
    leader = {"arrowstyle": "-", "lw": 0.7, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
    for level, text, color in labels:
        if np.isfinite(level):
            ax.annotate(
                text,
                xy=(1, level),
                xytext=(9, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                color=readable(color),
                size=size,
                annotation_clip=False,
                arrowprops=leader | {"color": color},
                label=END,
            )


def top_labels(ax: Axes, labels: Iterable[tuple[float, str]]) -> None:
    """Name vertical lines above the axes, each at its place; `separate_labels` moves them apart."""
    for x, text in labels:
        ax.annotate(
            text,
            xy=(x, 1),
            xytext=(0, 5),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color=MUTED,
            size=8.5,
            annotation_clip=False,
            label=TOP,
        )


def separate_labels(ax: Axes) -> None:
    """Move the labels of `end_labels` and `top_labels` until none overlaps another; limits must be final."""
    fig: Any = ax.get_figure(root=True)
    points = 72 / fig.dpi
    for side, along in ((END, 1), (TOP, 0)):
        notes = [t for t in ax.texts if isinstance(t, Annotation) and t.get_label() == side]
        if not notes:
            continue
        low, high = sorted((ax.get_xlim, ax.get_ylim)[along]())
        for note in notes:  # what lies outside is named at the edge
            x, y = note.xy
            note.xy = (x, min(max(y, low), high)) if side == END else (min(max(x, low), high), y)
        start, end = ax.bbox.get_points()[:, along]
        length = end - start
        at = ax.transData.transform([note.xy for note in notes])[:, along] - start
        for note in notes if side == END else ():
            note.set_fontsize(max(min(note.get_fontsize(), length * points / (1.45 * len(notes))), 5))
        boxes = [Text.get_window_extent(note) for note in notes]
        sizes = [1.12 * box.height if side == END else box.width + 8 for box in boxes]
        for note, here, there in zip(notes, at, spread(at, sizes, 0, length), strict=True):
            move = (there - here) * points
            note.set_position((note.get_position()[0], move) if side == END else (move, 5))
            if note.arrow_patch is not None:
                note.arrow_patch.set_visible(abs(move) > 2.5)


def spread(centres: ArrayLike, sizes: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """Move labels as little as possible (least squares) until none lies over another.

    Parameters
    ----------
    centres : array_like, shape (n,)
        Where the middle of each label would be without the others.
    sizes : array_like, shape (n,)
        Length of each label. Without room for all, the sizes shrink until they fit.
    low, high : float
        The middles stay in this range.

    Returns
    -------
    ndarray, shape (n,)
        The middles, in the order of `centres`.
    """
    y = np.asarray(centres, float)
    order = np.argsort(y, kind="stable")
    size = np.asarray(sizes, float)[order]
    steps = np.append(0, np.cumsum((size[1:] + size[:-1]) / 2))
    if steps[-1] > high - low:
        steps *= (high - low) / steps[-1]
    placed = np.empty_like(y)
    placed[order] = np.clip(isotonic_regression(y[order] - steps).x, low, high - steps[-1]) + steps
    return placed


# --------------------------------------------------------------------------------------------------- ticks


def short(value: float) -> str:
    """Write a number as on an axis: 0.05, 2,000, 10⁻⁶."""
    size = abs(value)
    digits = 3 if size < 1e-3 or size >= 1e5 else 4
    rounded = float(f"{value:.0f}") if 1e3 <= size < 1e5 else float(f"{value:.{digits}g}")  # may reach 10⁵
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e5:
        text = f"{rounded + 0.0:,.0f}" if rounded == int(rounded) else f"{rounded:.4g}"
    else:
        mantissa, exponent = f"{rounded:.2e}".split("e")
        power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
        factor = f"{float(mantissa):g}"
        text = {"1": power, "-1": f"-{power}"}.get(factor, f"{factor}·{power}")
    return text.replace("-", "−")


def log_ticks(low: float, high: float) -> list[float]:
    """Return about four to eight round values between two ends of a log axis, evenly spaced where the ends are near."""
    decades = np.log10(high / low)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    digits = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3.2 else (1,)
    step = int(np.ceil(decades / 7)) if digits == (1,) else 1
    rounds = [float(f"{d}e{e}") for e in range(first, last + 1) if e % step == 0 for d in digits]
    ticks = [tick for tick in rounds if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
    return ticks if len(ticks) > 1 else [t for t in MaxNLocator(4).tick_values(low, high) if low <= t <= high]


class _RoundLogLocator(LogLocator):
    """Ticks at `log_ticks` of the limits."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        low, high = sorted((vmin, vmax))
        return log_ticks(max(low, 1e-300), min(high, 1e300))


def log_axis(axis: Axis) -> None:
    """Make an axis logarithmic, with a few round ticks written as numbers."""
    axes: Any = axis.axes
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    axis.set_major_locator(_RoundLogLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_locator(NullLocator())


def epoch_ticks(epochs: float) -> list[float]:
    """Return powers of ten up to the last epoch, and the last epoch itself."""
    powers = [10.0**e for e in range(int(np.log10(max(epochs, 1))) + 1)]
    room = 0.085 * np.log10(max(epochs, 10))
    return [p for p in powers if np.log10(epochs / p) > room] + [float(epochs)]


def nice_limits(low: float, high: float) -> tuple[float, float]:
    """Widen a range on a log axis to 1, 2 or 5 times powers of ten, so that many curves share few axes."""
    low, high = max(low, 1e-300), min(high, 1e300)
    digits = np.array([0.5, 1, 2, 5, 10, 20])
    below = 10.0 ** np.floor(np.log10(low / 1.05)) * digits
    above = 10.0 ** np.floor(np.log10(high * 1.05)) * digits
    return float(below[below <= low / 1.05].max()), float(above[above >= high * 1.05].min())


def ticks_at(ax: Axes, values: Iterable[float]) -> None:
    """Put a tick at each value of x, and a label at each that has room; the last always has one."""
    ticks = np.unique([v for v in values if np.isfinite(v)])
    fig: Any = ax.get_figure(root=True)
    room = 0.72 * ax.get_position(original=True).width * fig.get_figwidth() * 72  # labels take the rest
    points = ax.transAxes.inverted().transform(ax.transData.transform([(v, ax.get_ylim()[1]) for v in ticks]))
    labels, edge = [short(v) for v in ticks], np.inf
    for i in range(len(ticks) - 1, -1, -1):
        middle, half = points[i, 0] * room, 2.9 * len(labels[i]) + 2.5
        labels[i], edge = (labels[i], middle - half) if middle + half <= edge else ("", edge)
    ax.set_xticks(ticks, labels)
    ax.set_xticks([], minor=True)


def mark_missing(ax: Axes, x: ArrayLike) -> None:
    """Mark by crosses at the foot of the axes where a score is undefined because networks diverged."""
    if np.size(x):
        foot = np.full(np.size(x), 0.015)
        marks: dict[str, Any] = {"ls": "", "ms": 5, "mew": 1.2, "color": STATES["diverged"]}
        where = ax.get_xaxis_transform()
        ax.plot(np.asarray(x, float), foot, "x", transform=where, clip_on=False, zorder=4, **marks)


def legend_above(ax: Axes, handles: Sequence[Any], **kwargs: Any) -> None:
    """Put a legend in one line above the axes."""
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=max(len(handles), 1), **kwargs)
