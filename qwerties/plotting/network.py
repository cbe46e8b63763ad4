"""Pictures of one run: its data, a decision boundary, its loss, its seeds.

The plots draw ready numbers on given axes (`view_network` makes those of a boundary); the ``*_picture`` functions blit
them into a PNG, as a sweep needs many.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from contourpy import FillType, contour_generator  # as `Axes.contour` does, at a third of its price
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path
from numpy.typing import NDArray
from scipy.special import logit

from qwerties.config import Config
from qwerties.errors import plural
from qwerties.plotting.axes import (
    end_labels,
    epoch_ticks,
    legend_above,
    log_axis,
    nice_limits,
    separate_labels,
    short,
    top_labels,
)
from qwerties.plotting.background import Box, Size, blitted_png
from qwerties.plotting.style import (
    BAND,
    CARD,
    CLASSES,
    FAINT,
    INK,
    MUTED,
    PROBABILITY,
    REFERENCE,
    SPINE,
    STATES,
    plain,
)
from qwerties.scoring import theory
from qwerties.scoring.predict import Layers, answer

Extent = tuple[float, float, float, float]  # left, right, bottom, top of a part of the plane
Levels = tuple[tuple[str, float], ...]

PLANE: tuple[Size, Box] = ((7.2, 5.3), (0.62, 0.62, 6.4, 4.0))
CURVE: tuple[Size, Box] = ((7.2, 4.4), (0.78, 0.62, 4.84, 3.1))
SEEDS: tuple[Size, Box] = ((7.2, 4.4), (0.95, 0.62, 5.0, 3.1))
# Rows and columns that show a network; even, so that no node lies on an axis of symmetry
GRID_SHAPE = (60, 96)

SHADES = 16  # of the probability: bands compress to a third of a smooth shading
SHADE_LEVELS = logit(np.arange(SHADES + 1) / SHADES)  # where a shade begins and ends, in log-odds
SHADE_COLORS = [to_hex(PROBABILITY((k + 0.5) / SHADES)) for k in range(SHADES)]

SQUARE: dict[str, Any] = {"marker": "s", "mfc": (*to_rgb(CARD), 0.8), "ls": ""}
CROSS: dict[str, Any] = {"marker": "x", "mec": INK, "ls": ""}
SIZES: dict[str, Any] = {"ms": 5.6, "mew": 1.25}
BOUNDARY: dict[str, Any] = {"color": INK, "lw": 1.6}
LEGEND: dict[str, dict[str, Any]] = {
    "qwerties A": {"mec": CLASSES[0], **SQUARE, **SIZES},
    "qwerties B": {"mec": CLASSES[1], **SQUARE, **SIZES},
    "misclassified": {**CROSS, "ms": 8, "mew": 1.3},
    "p = ½": BOUNDARY,
    "best possible cut": REFERENCE,
}
MEAN: dict[str, Any] = {"color": INK, "lw": 1.9}
MEDIAN: dict[str, Any] = {"color": CLASSES[0], "lw": 1.4, "ls": (0, (1.5, 1.2))}

# ---------------------------------------------------------------------------------- the plane of the data


def view(distance: float, data: str = "clusters") -> Extent:
    """Choose the part of the plane to show.

    It is 1.6 times as wide as high, with room for at least 3.5 standard deviations around the cluster centres. It
    depends on the data alone, so that pictures of one setting share a background.
    """
    centres = np.concatenate(theory.centres(data, distance))  # (clusters, 2)
    (x, y), (across, up) = (centres.min(0) + centres.max(0)) / 2, np.ptp(centres, axis=0)
    width = max(12.8, across + 8.0, 1.6 * (up + 7.0))
    height = width / 1.6
    return float(x - width / 2), float(x + width / 2), float(y - height / 2), float(y + height / 2)


def grid_points(extent: Extent) -> NDArray[np.float64]:
    """Return the points of a regular grid over part of the plane, row by row upwards: (2, rows * columns)."""
    return np.stack(np.meshgrid(*_grid(extent))).reshape(2, -1)


def _grid(extent: Extent) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    (rows, columns), (left, right, bottom, top) = GRID_SHAPE, extent
    return np.linspace(left, right, columns), np.linspace(bottom, top, rows)


class NetworkView(NamedTuple):
    """What a network answers over part of the plane, and on its training points.

    Attributes
    ----------
    extent : (left, right, bottom, top)
        The part of the plane to show.
    log_odds : ndarray, shape (rows, columns)
        Of class 1, on the grid of `grid_points`. Contours of the log-odds are exact for linear networks and, unlike
        those of the probability, smooth for steep ones. Values that are not finite leave the shading out.
    best : ndarray, shape (rows, columns)
        Log-odds of the Bayes classifier.
    x : ndarray, shape (2, points)
        The training points.
    y, predicted : ndarray, shape (points,)
        Their labels, 0 for qwerties A and 1 for qwerties B, and the network's answers.
    """

    extent: Extent
    log_odds: NDArray[Any]
    best: NDArray[Any]
    x: NDArray[Any]
    y: NDArray[Any]
    predicted: NDArray[Any]


def view_network(config: Config, layers: Layers, x: NDArray[Any], y: NDArray[Any]) -> NetworkView:
    """Compute what a network answers in the view of its data; x is (2, points), y is (points,)."""
    extent = view(config.distance, config.data)
    log_odds = answer(config.activation, layers, grid_points(extent)).reshape(GRID_SHAPE)
    predicted = answer(config.activation, layers, x) > 0
    return NetworkView(extent, log_odds, _best_log_odds(config.distance, config.data), x, y, predicted)


@functools.cache
def _best_log_odds(distance: float, data: str) -> NDArray[np.float64]:
    return theory.log_odds(grid_points(view(distance, data)), distance, data).reshape(GRID_SHAPE)


def decision_boundary(ax: Axes, shown: NetworkView, scale: float = 1.0) -> Axes:
    """Draw what a network answers: shading for its probability, a line at one half, crosses on its errors.

    The boundary of the Bayes classifier is dashed. Marks and lines are `scale` times as large as in a run's picture.
    """
    own, best = (_contours(shown.extent, odds) for odds in (shown.log_odds, shown.best))
    outlines, colors = [], []
    for (low, high), color in zip(itertools.pairwise(SHADE_LEVELS), SHADE_COLORS, strict=True):
        vertices, codes = own.filled(low, high)
        outlines += list(map(Path, vertices, codes))
        colors += [color] * len(vertices)
    ax.add_artist(PathCollection(outlines, facecolors=colors, lw=0, antialiased=False, zorder=1))
    dashed: dict[str, Any] = {**REFERENCE, "lw": REFERENCE["lw"] * scale}
    ax.add_artist(LineCollection(best.lines(0.0), zorder=2, **dashed))
    ax.add_artist(LineCollection(own.lines(0.0), zorder=3, color=INK, lw=BOUNDARY["lw"] * scale))
    data_points(ax, shown, scale=scale)
    ax.set(xlim=shown.extent[:2], ylim=shown.extent[2:])
    return ax


def _contours(extent: Extent, log_odds: NDArray[Any]) -> Any:
    odds = np.ma.masked_invalid(log_odds)
    return contour_generator(*_grid(extent), odds, fill_type=FillType.OuterCode)


def data_points(ax: Axes, shown: NetworkView, *, scale: float = 1.0, crossed: bool = True) -> Axes:
    """Draw the training points, as the notebook does, and cross out what is classified wrongly."""
    sizes: dict[str, Any] = {name: size * scale for name, size in SIZES.items()}
    for label, color in enumerate(CLASSES):
        across, up = shown.x[:, shown.y == label]
        ax.add_artist(Line2D(across, up, mec=color, zorder=4 + label, **SQUARE, **sizes))
    if crossed:
        across, up = shown.x[:, shown.predicted != shown.y]
        crosses: dict[str, Any] = {"ms": 8 * scale, "mew": 1.3 * scale}
        ax.add_artist(Line2D(across, up, zorder=6, **CROSS, **crosses))
    return ax


def plane(ax: Axes, extent: Extent, entries: int) -> None:
    """Draw axes for the plane of the data, and so many entries of `LEGEND`."""
    ax.grid(False)
    ax.spines[:].set(visible=True, zorder=0)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal", xlabel="x₀", ylabel="x₁")
    step = max(2, 2 * round((extent[1] - extent[0]) / 16))
    for axis, low, high in ((ax.xaxis, *extent[:2]), (ax.yaxis, *extent[2:])):
        axis.set_ticks(np.arange(np.ceil(low / step) * step, high + 1e-9, step))
    handles = [Line2D([], [], label=name, **look) for name, look in LEGEND.items()]
    legend_above(ax, handles[:entries])


def boundary_picture(shown: NetworkView, title: str = "") -> bytes:
    """Draw `decision_boundary` as PNG, and note what it cannot show."""
    odds = shown.log_odds[np.isfinite(shown.log_odds)]
    notes = [] if len(odds) else ["weights not finite"]
    if len(odds) and not odds.min() < 0 < odds.max():
        notes = ["no boundary in view"]

    def foreground(ax: Axes) -> None:
        decision_boundary(ax, shown)
        _words(ax, title, notes + _outside(shown))

    return blitted_png(*PLANE, plane, (shown.extent, len(LEGEND)), foreground)


def data_picture(shown: NetworkView, title: str = "", *, crossed: bool = False) -> bytes:
    """Draw `data_points` as PNG: one of the notebook's two scatter plots."""

    def foreground(ax: Axes) -> None:
        data_points(ax, shown, crossed=crossed)
        _words(ax, title, _outside(shown))

    return blitted_png(*PLANE, plane, (shown.extent, 2 + crossed), foreground)


def _outside(shown: NetworkView) -> list[str]:
    (low, high), points = np.transpose(np.reshape(shown.extent, (2, 2))), shown.x.T
    count = int(((points < low) | (points > high)).any(axis=1).sum())
    return [f"{plural(count, 'point')} outside"] if count else []


# ----------------------------------------------------------------------------------------------- the loss


def loss_curve(ax: Axes, curve: pd.DataFrame, optimum: float) -> Axes:
    """Draw the training loss against the epoch over `loss_axes`; arguments as of `loss_picture`."""
    epoch, limits = curve.index.to_numpy(float), ax.get_ylim()
    if optimum > 0:
        ax.axhline(optimum, zorder=2, **REFERENCE)
        where: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "bottom", "size": 8.5}
        ax.text(0, optimum, f"  this sample's optimum {optimum:.3g}", color=MUTED, zorder=5, **where)
    if "p50" in curve:
        low, high = (np.clip(curve[name].to_numpy(float), *limits) for name in ("p10", "p90"))
        both = np.isfinite(low + high)  # an infinite bound was clipped to the edge, and stays
        ax.fill_between(epoch, low, high, both, color=CLASSES[0], alpha=BAND, lw=0, zorder=3)
        _curve(ax, epoch, curve["p50"].to_numpy(float), zorder=4, **MEDIAN)
    _curve(ax, epoch, curve["train_loss"].to_numpy(float), zorder=5, **MEAN)
    return ax


def _curve(ax: Axes, epoch: NDArray[Any], loss: NDArray[Any], **kwargs: Any) -> None:
    finite = np.flatnonzero(np.isfinite(loss))
    if 0 < len(finite) < max(len(loss), 2):
        kwargs |= {"marker": "o", "markersize": 5, "markevery": [int(finite[-1])]}
    ax.plot(epoch, np.where(np.isfinite(loss), loss, np.nan), solid_joinstyle="round", **kwargs)


def loss_axes(ax: Axes, last: float, limits: tuple[float, float], levels: Levels, quantiles: bool) -> None:
    """Draw log axes for a loss, its reference levels, and a legend where there are quantiles.

    On linear axes the first hundred epochs squeeze the rest into a line that looks flat, which is how the notebook's
    reader came to wonder whether training had ended. On these, twice as many epochs is always the same step to the
    right, and a loss that still falls still slopes.
    """
    log_axis(ax.xaxis)
    log_axis(ax.yaxis)
    ax.set(xlabel="epoch (log scale)", ylabel="loss (log scale)", ylim=limits)
    ax.set_xlim((1, last) if last > 1 else (0.5, 2))
    ax.set_xticks(ticks := epoch_ticks(last), [short(tick) for tick in ticks])
    for _, level in levels:
        ax.axhline(level, zorder=2, **REFERENCE)
    end_labels(ax, [(at, f"{name} {at:.3g}", MUTED) for name, at in levels], size=8.5)
    separate_labels(ax)
    if quantiles:
        lines = [Line2D([], [], label="mean over seeds", **MEAN), Line2D([], [], label="median", **MEDIAN)]
        legend_above(ax, [*lines, Patch(color=CLASSES[0], alpha=BAND, label="10% to 90% of seeds")])


def loss_picture(
    curve: pd.DataFrame, references: Mapping[str, float], optimum: float = np.nan, *, title: str = ""
) -> bytes:
    """Draw a training loss as PNG, with a note where it is not finite.

    Parameters
    ----------
    curve : DataFrame
        Index: epoch, from 1. Column ``train_loss``, and no other or the quantiles ``p10``, ``p50``, ``p90`` over seeds.
        Values that are not finite leave a gap, and a dot marks the last value before it.
    references : mapping of label to level
        Levels that are not finite and positive are left out.
    optimum : float
        The least loss that the network's own sample allows; NaN where it is undefined.
    title : str
    """
    levels = _levels(references, above=0)
    shown = np.append(curve.to_numpy(float), [*(at for _, at in levels), optimum])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    limits = nice_limits(shown.min(), shown.max()) if len(shown) else (0.01, 1.0)
    bad = curve.index[~np.isfinite(curve["train_loss"].to_numpy(float))]
    notes = [f"not finite from epoch {short(float(bad[0]))}"] if len(bad) else []
    quantiles = "p50" in curve

    def foreground(ax: Axes) -> None:
        loss_curve(ax, curve, optimum)
        _words(ax, title, notes, legend=quantiles)

    settings = (float(max(curve.index, default=1)), limits, levels, quantiles)
    return blitted_png(*CURVE, loss_axes, settings, foreground)


def _levels(references: Mapping[str, float], above: float = -np.inf) -> Levels:
    return tuple((plain(name, 26), at) for name, at in references.items() if above < at < np.inf)


# ---------------------------------------------------------------------------------------------- the seeds

ROW = 0.74  # height of the tallest possible bar in a state's row


def accuracy_distribution(ax: Axes, scores: pd.DataFrame) -> Axes:
    """Draw how the seeds of one run ended, over `state_rows`: a row per state, a bar per hundredth of accuracy.

    Seeds pile up in two places, at one half and near the best possible, and the rare ones matter. So every state has
    its own row with its count, and heights are logarithmic: one seed among 500 can still be seen.
    """
    accuracy, state = scores["population_accuracy"].to_numpy(float), scores["state"].to_numpy()
    finite = np.isfinite(accuracy)
    # The last bin ends at the best seed, so that no bar passes the Bayes line
    top = accuracy[finite].max(initial=0.505)
    width = (top - 0.5) / (round((top - 0.5) / 0.01 - 0.5) + 0.5)  # and one bin is centred on one half
    edges = top - width * np.arange(int(np.ceil(top / width)) + 1)[::-1]
    edges[-1] += 1e-12
    bars, colors = [], []
    for row, (name, color) in enumerate(STATES.items()):
        own = state == name
        counts = np.histogram(accuracy[own & finite], edges)[0]
        for k in np.flatnonzero(counts):
            left, right = edges[k] + 0.0008, edges[k + 1] - 0.0008
            tip = row - ROW * np.log1p(counts[k]) / np.log1p(len(scores))
            bars.append([(left, row), (left, tip), (right, tip), (right, row)])
            colors.append(color)
        count = f"{own.sum()}  ·  {100 * own.mean():.1f}%" if own.any() else "0"
        where: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
        ax.text(1.2, row - 0.22, count, color=INK if own.any() else FAINT, zorder=5, **where)
    ax.add_collection(PolyCollection(bars, facecolors=colors, zorder=4), autolim=False)
    return ax


def state_rows(ax: Axes, low: float, levels: Levels) -> None:
    """Draw axes with a row for each state, and reference accuracies named above."""
    ax.set(xlim=(low, 1.0), ylim=(len(STATES) - 0.86, -0.86))
    ax.set_xlabel("population accuracy (a bar's height is the log of its seeds)")
    ax.set_xticks(np.arange(round(low * 10), 11) / 10)
    ax.set_yticks([row - 0.22 for row in range(len(STATES))], list(STATES))
    ax.tick_params("y", length=0, labelcolor=INK, labelsize=9.5)
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.hlines(range(len(STATES)), low, 1, color=SPINE, lw=0.8, zorder=2)
    for _, level in levels:
        ax.axvline(level, zorder=3, **REFERENCE)
    top_labels(ax, [(level, f"{name} {level:.3f}") for name, level in levels])
    separate_labels(ax)


def accuracy_picture(scores: pd.DataFrame, references: Mapping[str, float], *, title: str = "") -> bytes:
    """Draw `accuracy_distribution` as PNG, with reference accuracies.

    Parameters
    ----------
    scores : DataFrame
        One row per seed: ``population_accuracy`` and ``state``, a key of `style.STATES`. A seed without an accuracy is
        counted, but has no bar.
    references : mapping of label to level
    title : str
    """
    levels, accuracy = _levels(references), scores["population_accuracy"].to_numpy(float)
    lowest = min(accuracy[np.isfinite(accuracy)].min(initial=1) - 0.005, *(at for _, at in levels), 0.4)
    low = max(float(np.floor(10 * lowest + 1e-9)) / 10, 0.0)

    def foreground(ax: Axes) -> None:
        accuracy_distribution(ax, scores)
        _words(ax, title, [], legend=bool(levels))

    return blitted_png(*SEEDS, state_rows, (low, levels), foreground)


# -------------------------------------------------------------------------------------------------- words


def _words(ax: Axes, title: str, notes: list[str], legend: bool = True) -> None:
    """Write a title above the legend, and what must not be overlooked at the lower right."""
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "color": INK}
    if title:
        title = plain(title, 104)
        size = 11.5 * min(1, 72 / len(title))  # one line, whatever it takes
        ax.annotate(title, (0, 1), (0, 29 if legend else 12), size=size, **above)
    if notes:
        where: dict[str, Any] = {"ha": "right", "va": "top", "size": 9, "style": "italic"}
        ax.annotate(" · ".join(notes), (1, 0), (0, -24), **where, **above)
