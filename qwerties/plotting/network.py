"""The pictures of one run: its data, its decision boundary, its loss, its seeds. Numbers come in ready.

Every plot takes axes, or a `canvas.Renderer` in their place, draws, and returns the axes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from contourpy import contour_generator  # what matplotlib itself contours with
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from qwerties.plotting.axes import end_labels, epoch_ticks, log_ticks, nice_limits, rule, short, top_labels
from qwerties.plotting.background import INK_ORDER, Page, Renderer, frame
from qwerties.plotting.style import (
    BAND,
    CARD,
    CLASSES,
    FAINT,
    INK,
    MUTED,
    PROBABILITY,
    REFERENCE,
    SHADES,
    SPINE,
    STATES,
    dress,
    look,
    plain,
)
from qwerties.scoring import theory

PLANE = Page(7.2, 5.3, (0.62, 0.62, 6.4, 4.0))
CURVE = Page(7.2, 4.4, (0.78, 0.62, 4.84, 3.1))
SEEDS = Page(7.2, 4.4, (0.95, 0.62, 5.0, 3.1))

Extent = tuple[float, float, float, float]
Levels = tuple[tuple[str, float], ...]  # references, as a frame can be told apart by

SQUARE: dict[str, Any] = {"marker": "s", "ms": 5.6, "mew": 1.25, "mfc": (*to_rgb(CARD), 0.8), "ls": ""}
A, B = ({**SQUARE, "mec": color} for color in CLASSES)
CROSS: dict[str, Any] = {"marker": "x", "ms": 8, "mec": INK, "mew": 1.3, "ls": ""}
BOUNDARY: dict[str, Any] = {"color": INK, "lw": 1.6}
MEAN: dict[str, Any] = {"color": INK, "lw": 1.9}
BEST_GRID = (
    200,
    320,
)  # rows and columns; even, so that a boundary on an axis of symmetry lies between two nodes
MEDIAN: dict[str, Any] = {"color": CLASSES[0], "lw": 1.4, "ls": (0, (1.5, 1.2))}

# ----------------------------------------------------------------------------------- the plane of the data


def view(distance: float, data: str = "clusters") -> Extent:
    """Choose the part of the plane to show.

    It has the proportions of `PLANE` and room for at least 3.5 standard deviations around the cluster centres.
    It depends on the data alone, so that pictures of one setting can be laid over each other, and share a frame.
    """
    centres = np.concatenate(theory.centres(data, distance))  # (clusters, 2)
    (x, y), (across, up) = (centres.min(0) + centres.max(0)) / 2, np.ptp(centres, axis=0)
    width = max(12.8, across + 8.0, 1.6 * (up + 7.0))
    height = width / 1.6
    return _floats((x - width / 2, x + width / 2, y - height / 2, y + height / 2))


def best_boundary(distance: float, data: str, extent: Extent) -> list[NDArray[np.float64]]:
    """Find the Bayes classifier's boundary in a part of the plane, as lines of (points, 2)."""
    left, right, bottom, top = extent
    if data == "clusters":
        return [np.array([[1 + distance / 2, bottom], [1 + distance / 2, top]])]
    across, up = np.linspace(left, right, BEST_GRID[1]), np.linspace(bottom, top, BEST_GRID[0])
    plane = np.stack([axis.ravel() for axis in np.meshgrid(across, up)])
    odds = theory.log_odds(plane, distance, data).reshape(BEST_GRID)
    lines: Any = contour_generator(across, up, odds).lines(0.0) if odds.min() < 0 < odds.max() else []
    return list(lines)


@look
def data_scatter(
    ax: Axes | Renderer, x: ArrayLike, y: ArrayLike, extent: Extent | None = None, *, title: str = ""
) -> Axes:
    """Draw the two clusters, as the notebook shows them first.

    Parameters
    ----------
    ax : Axes or Renderer
    x : array_like, shape (2, points)
    y : array_like, shape (points,)
        0 for qwerties A, 1 for qwerties B.
    extent : (left, right, bottom, top), optional
        The part of the plane to show, as from `view`; otherwise just around the points.
    title : str

    Returns
    -------
    Axes
    """
    return _scatter(ax, x, y, None, extent, title)


@look
def misclassified(
    ax: Axes | Renderer,
    x: ArrayLike,
    y: ArrayLike,
    predicted: ArrayLike,
    extent: Extent | None = None,
    *,
    title: str = "",
) -> Axes:
    """Draw the two clusters and cross out what is classified wrongly: the notebook's second picture.

    Parameters
    ----------
    ax, x, y, extent, title
        As in `data_scatter`.
    predicted : array_like, shape (points,)
        Predicted classes, 0 or 1.

    Returns
    -------
    Axes
    """
    return _scatter(ax, x, y, np.asarray(predicted), extent, title)


@look
def decision_boundary(
    ax: Axes | Renderer,
    x: ArrayLike,
    y: ArrayLike,
    predicted: ArrayLike,
    probability: ArrayLike,
    extent: Extent,
    *,
    distance: float | None = None,
    data: str = "clusters",
    title: str = "",
) -> Axes:
    """Draw what a network answers everywhere: shading for its probability, a line where it is one half.

    Parameters
    ----------
    ax, x, y, predicted, title
        As in `misclassified`.
    probability : array_like, shape (rows, cols)
        Of class 1, on a regular grid whose outer rows and columns lie on the edges of `extent`: rows
        upwards, columns to the right, as from two `linspace`. About 60 × 96 is enough. In float64 the
        line stays smooth for steeper networks.
    extent : (left, right, bottom, top)
        As from `view`.
    distance : float, optional
        Between neighbouring cluster centres; draws the best possible boundary.
    data : str
        Arrangement of the cluster centres (`Config.data`).

    Returns
    -------
    Axes
    """
    x, y = np.asarray(x), np.asarray(y)
    left, right, bottom, top = extent = _floats(extent)
    grid = np.asarray(probability, np.float64)
    known = np.isfinite(grid)
    grid = np.clip(np.where(known, grid, 0.5), 0, 1)
    ax = frame(ax, PLANE, _plane, extent, True, True, distance is not None)

    shading = _Shading(ax, cmap=PROBABILITY, extent=extent, origin="lower", zorder=INK_ORDER)
    shading.set_data(grid)
    shading.set_clim(0, 1)
    shading.set_clip_path(ax.patch)
    ax.add_artist(shading)

    p = np.clip(grid, 1e-12, 1 - 1e-12)
    logit = np.log(p / (1 - p))  # nearly linear between grid points, where the probability is not
    across, up = np.linspace(left, right, grid.shape[1]), np.linspace(bottom, top, grid.shape[0])
    crosses = logit.min() < 0 < logit.max()
    lines: Any = contour_generator(across, up, logit).lines(0.0) if crosses else []
    ax.add_artist(
        LineCollection(lines, zorder=INK_ORDER + 2, capstyle="round", label="_boundary", **BOUNDARY)
    )
    if distance is not None:
        for line in best_boundary(distance, data, extent):
            ax.add_artist(Line2D(*line.T, zorder=INK_ORDER + 1, label="_best", **REFERENCE))
    _points(ax, x, y, np.asarray(predicted))
    missing = "no boundary in view" if known.any() else "weights not finite"
    _words(ax, title, ([] if crosses else [missing]) + _outside(x, extent))
    return ax


def _scatter(
    ax: Axes | Renderer,
    x: ArrayLike,
    y: ArrayLike,
    predicted: NDArray[Any] | None,
    extent: Extent | None,
    title: str,
) -> Axes:
    x, y = np.asarray(x), np.asarray(y)
    low, high = np.floor(x.min(axis=1) - 0.4), np.ceil(x.max(axis=1) + 0.4)
    extent = _floats(extent or (low[0], high[0], low[1], high[1]))
    ax = frame(ax, PLANE, _plane, extent, predicted is not None, False, False)
    _points(ax, x, y, predicted)
    _words(ax, title, _outside(x, extent))
    return ax


def _floats(extent: Any) -> Extent:
    left, right, bottom, top = map(float, extent)
    return (left, right, bottom, top)


def _plane(ax: Axes, extent: Extent, crosses: bool, shaded: bool, best: bool) -> None:
    dress(ax, grid=None, xlabel="x₀", ylabel="x₁")
    ax.spines[:].set(visible=True, color=SPINE)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    for name, low, high in (("x", *extent[:2]), ("y", *extent[2:])):
        step = max(2, 2 * round((high - low) / 16))
        rule(ax, name, np.arange(np.ceil(low / step) * step, high + 1e-9, step), grid=False)
    handles = [Line2D([], [], label="qwerties A", **A), Line2D([], [], label="qwerties B", **B)]
    if crosses:
        handles.append(Line2D([], [], label="misclassified", **CROSS))
    if shaded:
        handles.append(Line2D([], [], label="p = ½", **BOUNDARY))
    if best:
        handles.append(Line2D([], [], label="best possible cut", **REFERENCE))
    _legend(ax, handles)


def _points(ax: Axes, x: NDArray[Any], y: NDArray[Any], predicted: NDArray[Any] | None) -> None:
    for label, look_of in ((0, A), (1, B)):
        ax.add_artist(
            Line2D(*x[:, y == label], zorder=INK_ORDER + 3 + label, label=f"_{'AB'[label]}", **look_of)
        )
    if predicted is not None:
        ax.add_artist(Line2D(*x[:, predicted != y], zorder=INK_ORDER + 5, label="_misclassified", **CROSS))


def _outside(x: NDArray[Any], extent: Extent) -> list[str]:
    left, right, bottom, top = extent
    inside = (left <= x[0]) & (x[0] <= right) & (bottom <= x[1]) & (x[1] <= top)
    count = int((~inside).sum())
    return [f"{count} point{'s' * (count > 1)} outside"] if count else []


class _Shading(AxesImage):
    """A probability grid as smooth colour: as `imshow(interpolation="bilinear")`, five times as fast."""

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> Any:
        assert self.axes is not None
        box = self.axes.bbox
        size = (round(box.width * magnification), round(box.height * magnification))
        grid = np.asarray(self.get_array())
        levels = Image.fromarray(np.rint(grid * 255).astype(np.uint8))
        nodes = (0.5, 0.5, grid.shape[1] - 0.5, grid.shape[0] - 0.5)  # the outer grid points lie on the edges
        smooth = levels.resize(size, Image.Resampling.BILINEAR, box=nodes)
        rgba = SHADES.take(np.asarray(smooth), axis=0)  # a tenth of what an index takes
        return rgba, round(box.x0), round(box.y0), None


# ------------------------------------------------------------------------------------------------ the loss


@look
def loss_curve(
    ax: Axes | Renderer,
    curve: pd.DataFrame,
    references: Mapping[str, float] | None = None,
    *,
    title: str = "",
) -> Axes:
    """Draw the training loss against the epoch, on log axes.

    On linear axes the first hundred epochs squeeze the rest into a line that looks flat, which is how the
    notebook's reader came to wonder whether training had ended. On these, twice as many epochs is always
    the same step to the right, and a loss that still falls still slopes.

    Parameters
    ----------
    ax : Axes or Renderer
    curve : DataFrame
        Index: epoch, from 1. Column `train_loss`; with `p10`, `p50`, `p90` a band over seeds as well.
        Values that are not finite leave a gap, and a note says where they begin; a zero runs off the
        lower edge.
    references : mapping of label to level, optional
        Such as the Bayes floor. Levels that are not finite and positive are left out.
    title : str

    Returns
    -------
    Axes
    """
    epoch = curve.index.to_numpy(float)
    columns = [name for name in ("train_loss", "p10", "p50", "p90") if name in curve]
    values = {name: curve[name].to_numpy(float) for name in columns}
    levels = _levels(references, above=0)
    shown = np.concatenate([*values.values(), [level for _, level in levels]])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    limits = nice_limits(shown.min(), shown.max()) if len(shown) else (0.01, 1.0)
    band, median = "p10" in values and "p90" in values, "p50" in values
    ax = frame(ax, CURVE, _loss_axes, float(max(epoch, default=1)), limits, band, median)

    across = ax.get_xlim()
    lines = [[(x, level) for x in across] for _, level in levels]  # they differ from network to network
    ax.add_artist(LineCollection(lines, zorder=INK_ORDER, **REFERENCE))
    broken = [name + (" " if len(name) < 14 else "\n") for name, _ in levels]
    names = [(at, f"{name}{at:.3g}", MUTED) for name, (_, at) in zip(broken, levels, strict=True)]
    end_labels(ax, names, size=8.5, zorder=INK_ORDER)
    if band:
        low, high = (np.clip(values[name], *limits) for name in ("p10", "p90"))
        both = np.isfinite(low + high)  # an infinite one was clipped to the edge, and stays
        ax.fill_between(epoch, low, high, both, color=CLASSES[0], alpha=BAND, lw=0, zorder=INK_ORDER)
    if median:
        _curve(ax, epoch, values["p50"], label="_p50", zorder=INK_ORDER + 1, **MEDIAN)
    _curve(ax, epoch, values["train_loss"], label="_train_loss", zorder=INK_ORDER + 2, **MEAN)
    bad = epoch[~np.isfinite(values["train_loss"])]
    notes = [f"not finite from epoch {short(bad[0])}"] if len(bad) else []
    _words(ax, title, notes, legend=band or median)
    return ax


def _levels(references: Mapping[str, float] | None, above: float = -np.inf) -> Levels:
    items = (references or {}).items()
    return tuple((plain(name, 22), float(at)) for name, at in items if np.isfinite(at) and at > above)


def _loss_axes(ax: Axes, epochs: float, limits: tuple[float, float], band: bool, median: bool) -> None:
    dress(ax, grid=None, xlabel="epoch (log scale)", ylabel="loss (log scale)")
    ax.set(xscale="log", yscale="log", xlim=(1, epochs) if epochs > 1 else (0.5, 2), ylim=limits)
    ax.minorticks_off()
    rule(ax, "x", epoch_ticks(epochs))
    rule(ax, "y", log_ticks(*limits))
    handles: list[Any] = [Line2D([], [], label="mean over seeds", **MEAN)]
    if median:
        handles.append(Line2D([], [], label="median", **MEDIAN))
    if band:
        handles.append(Patch(color=CLASSES[0], alpha=BAND, lw=0, label="10% to 90% of seeds"))
    if len(handles) > 1:
        _legend(ax, handles)


def _curve(ax: Axes, epoch: NDArray[Any], loss: NDArray[Any], **kwargs: Any) -> None:
    """Draw one loss curve; where it breaks off, a dot marks the last value (or the only one)."""
    finite = np.flatnonzero(np.isfinite(loss))
    line = Line2D(epoch, np.where(np.isfinite(loss), loss, np.nan), solid_joinstyle="round", **kwargs)
    if len(finite) and (len(finite) == 1 or len(finite) < len(loss)):
        line.set(marker="o", markersize=5, markevery=[int(finite[-1])])
    ax.add_artist(line)


# ----------------------------------------------------------------------------------------------- the seeds

ROW = 0.74  # of the height of a state's row, for its tallest possible bar


@look
def accuracy_distribution(
    ax: Axes | Renderer,
    scores: pd.DataFrame,
    references: Mapping[str, float] | None = None,
    *,
    title: str = "",
) -> Axes:
    """Draw how the seeds of one run ended: a row for each state, a bar for each hundredth of accuracy.

    Seeds pile up in two places, at one half and near the best possible, and the rare ones matter. So every
    state has its own row, with its count beside it, and heights are logarithmic: one seed among 500 can
    still be seen.

    Parameters
    ----------
    ax : Axes or Renderer
    scores : DataFrame
        One row per seed: `population_accuracy` and `state`. A seed without an accuracy is counted, but has
        no bar.
    references : mapping of label to accuracy, optional
        Such as the Bayes accuracy.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a state is none of `theme.STATES`.
    """
    unknown = sorted(set(scores["state"]) - set(STATES), key=str)
    if unknown:
        raise ValueError(f"state must be one of {', '.join(STATES)}; got {', '.join(map(repr, unknown))}")
    accuracy, state = scores["population_accuracy"].to_numpy(float), scores["state"].to_numpy()
    levels = _levels(references)
    finite = accuracy[np.isfinite(accuracy)]
    lowest = min(finite.min(initial=1) - 0.005, *(at for _, at in levels), 0.4)
    low = max(float(np.floor(10 * lowest + 1e-9)) / 10, 0.0)
    ax = frame(ax, SEEDS, _state_rows, low, levels)

    top = finite.max(initial=0.505)  # the last bin ends at the best seed: no bar reaches past the Bayes line
    width = (top - 0.5) / (round((top - 0.5) / 0.01 - 0.5) + 0.5)  # and one bin is centred on one half
    edges = top - width * np.arange(int(np.ceil(top / width)) + 1)[::-1]
    edges[-1] += 1e-12
    bars, colors = [], []
    for row, (name, color) in enumerate(STATES.items()):
        own = state == name
        counts = np.histogram(accuracy[own & np.isfinite(accuracy)], edges)[0]
        for k in np.flatnonzero(counts):
            left, right = edges[k] + 0.0008, edges[k + 1] - 0.0008
            tip = row - ROW * np.log1p(counts[k]) / np.log1p(len(scores))
            bars.append([(left, row), (left, tip), (right, tip), (right, row)])
            colors.append(color)
        count = f"{own.sum()}  ·  {100 * own.mean():.1f}%" if own.any() else "0"
        beside = ax.text(1.2, row - 0.22, count, ha="right", va="center", size=9.5, zorder=INK_ORDER)
        beside.set(transform=ax.get_yaxis_transform(), color=INK if own.any() else FAINT)
    ax.add_artist(PolyCollection(bars, facecolors=colors, lw=0, zorder=INK_ORDER, label="_seeds"))
    _words(ax, title, [], legend=bool(levels))
    return ax


def _state_rows(ax: Axes, low: float, levels: Levels) -> None:
    dress(ax, grid=None, xlabel="population accuracy (a bar's height is the log of its seeds)")
    ax.set(xlim=(low, 1.0), ylim=(len(STATES) - 0.86, -0.86))
    tenths = np.arange(round(low * 10), 11) / 10
    rule(ax, "x", tenths, [f"{tenth:.1f}" for tenth in tenths])
    rows = [row - 0.22 for row in range(len(STATES))]
    rule(ax, "y", rows, STATES, grid=False, marks=False, color=INK, size=9.5)
    ax.spines["left"].set_visible(False)
    ax.hlines(range(len(STATES)), low, 1, color=SPINE, lw=0.8, zorder=2)
    for _, level in levels:
        ax.axvline(level, zorder=3, **REFERENCE)
    top_labels(ax, [(level, f"{name} {level:.3f}") for name, level in levels])


# ---------------------------------------------------------------------------------------------------- words


def _words(ax: Axes, title: str, notes: list[str], legend: bool = True) -> None:
    """Ink a title above the legend, and what must not be overlooked at the lower right."""
    if title:
        title = plain(title, 104)
        size = 11.5 * min(1, 72 / len(title))  # one line, whatever it takes
        pad = 29 if legend else 12
        ax.set_title(title, loc="left", y=1, pad=pad, size=size, color=INK, zorder=INK_ORDER)
    if notes:
        ax.annotate(
            " · ".join(notes),
            xy=(1, 0),
            xytext=(0, -24),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="top",
            size=9,
            style="italic",
            color=INK,
            zorder=INK_ORDER,
        )


def _legend(ax: Axes, handles: list[Any]) -> None:
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.5,
        borderpad=0,
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.5,
        handletextpad=0.5,
        columnspacing=1.6,
    )
