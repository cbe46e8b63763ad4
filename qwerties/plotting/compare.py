"""The report's figures: frames with ready numbers -> axes. Which column is what, the caller says.

Lines are told apart by colour, marker and dash, and named where they end; rows are named on the left;
references are dashed, grey and named as well. Meant for `theme.figure` and `theme.svg`.
"""

import textwrap
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from qwerties.plotting import style as theme
from qwerties.plotting.axes import (
    end_labels,
    epoch_ticks,
    fixed_ticks,
    log_y,
    rule,
    short,
    top_labels,
    widest_only,
    width_in_points,
)
from qwerties.plotting.style import CARD, GRID, INK, MUTED, SPINE, STATES, STYLES, Style, dress, look, plain

DASHED = theme.REFERENCE | {"zorder": 1.5}
LOG_FROM = 1.2  # decades that make an axis logarithmic: a grid of doublings, 1 to 16, spans them
BINS = 60  # of a distribution, from the lowest score of a figure to the highest
NARROWER = 0.75  # what labels beside the axes leave of their width, once the figure has laid itself out

SCORE = LinearSegmentedColormap.from_list("score", [INK, STATES["learned"], STATES["slow"], "#eef6f8"])

Styles = Mapping[Any, Style]
Label = tuple[float, str, str]  # height, text, colour

# --------------------------------------------------------------------------------- lines over a numeric axis


@look
def score_lines(
    ax: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    lo: str | None = None,
    hi: str | None = None,
    hue: str | None = None,
    references: Mapping[str, float | pd.Series] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    *,
    title: str = "",
    styles: Styles | None = None,
) -> Axes:
    """Draw a score with its interval against a numeric setting, one line for each value of another.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        One row per point.
    x, y : str
        Columns: the setting and the score. The axis of x has its ticks at the values that occur, and is
        logarithmic where they span `LOG_FROM` decades.
    lo, hi : str, optional
        Columns: the interval. Where it is missing, the point stands alone.
    hue : str, optional
        Column: one line for each of its values, in order of appearance. Lines stand a little apart, so that
        two intervals at the same x can both be seen.
    references : mapping of label to level, optional
        A number, or a Series over x. Levels that are not finite are left out.
    xlabel, ylabel, title : str
        Instead of the columns' names.
    styles : mapping of hue to Style, optional
        From `theme.styles`, where figures share their lines.

    Returns
    -------
    Axes
    """
    dress(ax, title=title, xlabel=xlabel or x, ylabel=ylabel or y)
    logarithmic = _numeric_axis(ax, frame[x].to_numpy(float))
    parts = [("", frame)] if hue is None else list(frame.groupby(hue, sort=False, dropna=False))
    styles = styles or theme.styles(name for name, _ in parts)
    low, high = np.log10(ax.get_xlim()) if logarithmic else ax.get_xlim()
    labels: list[Label] = []
    for i, (name, part) in enumerate(parts):
        style, part = styles[name], part.sort_values(x)
        aside = 0.005 * (i - (len(parts) - 1) / 2) * (high - low)
        at = part[x].to_numpy(float)
        at = at * 10**aside if logarithmic else at + aside
        if lo and hi:
            low_ends, high_ends = part[lo].to_numpy(float), part[hi].to_numpy(float)
            ax.vlines(at, low_ends, high_ends, color=style.color, lw=1.5, zorder=3)
        labels += _line(ax, at, part[y].to_numpy(float), style, name)
    for name, level in (references or {}).items():
        labels += _reference(ax, name, level)
    ax.margins(y=0.06)
    _score_ticks(ax.yaxis)
    end_labels(ax, labels)
    return ax


@look
def score_distributions(
    ax: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    hue: str | None = None,
    references: Mapping[str, float] | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    styles: Styles | None = None,
) -> Axes:
    """Draw the whole distribution of a score at each value of a setting, as a mirrored histogram.

    Outcomes pile up in two places. A mean hides that, and a kernel density smears it, so the bars have sharp edges.
    A bar's width is the square root of its share of the seeds: one seed in 500 is still visible. A dot marks the mean.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        One row per network. Rows without a score are left out.
    x, y : str
        Columns: the setting, whose values stand side by side in order of appearance, and the score.
    hue : str, optional
        Column: its values share a place of x, side by side, in order of appearance.
    references : mapping of label to level, optional
    xlabel, ylabel, title : str
        Instead of the columns' names.
    styles : mapping of hue to Style, optional

    Returns
    -------
    Axes
    """
    dress(ax, title=title, xlabel=xlabel or x, ylabel=ylabel or y)
    values = list(dict.fromkeys(frame[x]))
    hues = [""] if hue is None else list(dict.fromkeys(frame[hue]))
    styles = styles or theme.styles(hues)
    lane = 0.86 / len(hues)
    finite = frame[y].to_numpy(float)
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.005, low + 0.005])
    for k, name in enumerate(hues):
        own = frame if hue is None else frame[frame[hue] == name]
        middles, means = np.arange(len(values)) + (k - (len(hues) - 1) / 2) * lane, []
        bars = []
        for middle, value in zip(middles, values, strict=True):
            scores = own.loc[own[x] == value, y].to_numpy(float)
            scores = scores[np.isfinite(scores)]
            means.append(scores.mean() if len(scores) else np.nan)
            counts = np.histogram(scores, edges)[0]
            half = 0.46 * lane * np.sqrt(counts / max(len(scores), 1))
            bars += [
                [
                    (middle - w, edges[i]),
                    (middle + w, edges[i]),
                    (middle + w, edges[i + 1]),
                    (middle - w, edges[i + 1]),
                ]
                for i, w in enumerate(half)
                if w > 0
            ]
        ax.add_collection(
            PolyCollection(bars, facecolors=styles[name].color, alpha=0.75, lw=0, zorder=3, label=f"_{name}")
        )
        ax.plot(middles, means, ls="", marker="o", ms=4.2, color=CARD, mec=INK, mew=1.1, zorder=5)
    ax.set_xlim(-0.6, max(len(values), 1) - 0.4)
    room = width_in_points(ax) * NARROWER / max(len(values), 1)
    texts = [short(value) if isinstance(value, int | float) else str(value) for value in values]
    widest = max(map(len, texts), default=1)
    step = max(1, int(np.ceil((5.2 * widest + 4) / room)))
    fixed_ticks(
        ax.xaxis, np.arange(len(values)), [text if i % step == 0 else "" for i, text in enumerate(texts)]
    )
    if high > low:
        ax.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    labels: list[Label] = []
    for name, level in (references or {}).items():
        labels += _reference(ax, name, level)
    _score_ticks(ax.yaxis)
    end_labels(ax, labels)
    if hue is not None and len(hues) > 1:
        handles = [Patch(color=styles[name].color, alpha=0.75, label=plain(name, 40)) for name in hues]
        ax.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderpad=0,
            borderaxespad=0.4,
            ncols=len(hues),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            handlelength=0.9,
            handleheight=0.9,
            columnspacing=1.4,
        )
    return ax


@look
def gradient_lines(ax: Axes, frame: pd.DataFrame, *, title: str = "", styles: Styles | None = None) -> Axes:
    """Draw how much of the gradient reaches the first layer, against the depth.

    Parameters
    ----------
    ax : Axes
        One for each initialisation; let them share y.
    frame : DataFrame
        Index: hidden layers. A column for each activation: RMS gradient of the first layer over that of the
        last.
    title : str
        The initialisation.
    styles : mapping of activation to Style, optional

    Returns
    -------
    Axes
    """
    place = ax.get_subplotspec()
    ylabel = "gradient: first layer ÷ last layer" if place is None or place.is_first_col() else ""
    dress(ax, title=title, xlabel="hidden layers", ylabel=ylabel)
    _numeric_axis(ax, frame.index.to_numpy(float), log_from=0.5)
    log_y(ax)
    styles = styles or theme.styles(frame.columns)
    labels: list[Label] = []
    for name, ratio in frame.items():
        labels += _line(ax, frame.index.to_numpy(float), ratio.to_numpy(float), styles[name], name)
    ax.axhline(1, **DASHED)
    ax.margins(y=0.06)
    end_labels(ax, labels)
    return ax


@look
def loss_lines(
    ax: Axes,
    frames_by_label: Mapping[Any, pd.DataFrame],
    references: Mapping[str, float] | None = None,
    *,
    ylabel: str = "training loss, mean over seeds",
    title: str = "",
    styles: Styles | None = None,
) -> Axes:
    """Draw several configs' loss against the epoch, on log axes (`plots.loss_curve` says why).

    Parameters
    ----------
    ax : Axes
    frames_by_label : mapping of label to DataFrame
        Index: epoch, from 1; column `train_loss`. Values that are not finite leave a gap.
    references : mapping of label to level, optional
        Levels that are not finite and positive are left out.
    ylabel, title : str
    styles : mapping of label to Style, optional

    Returns
    -------
    Axes
    """
    dress(ax, grid="both", title=title, xlabel="epoch", ylabel=ylabel)
    last = max((float(frame.index[-1]) for frame in frames_by_label.values() if len(frame)), default=1.0)
    ax.set(xscale="log", xlim=(1, last) if last > 1 else (0.5, 2))
    ax.minorticks_off()
    room = width_in_points(ax) * NARROWER / max(np.log10(last), 0.1)  # for a decade
    ticks = epoch_ticks(last)
    fixed_ticks(ax.xaxis, [tick for tick in ticks[:-1] if room * np.log10(last / tick) > 32] + ticks[-1:])
    log_y(ax)
    references = {name: level for name, level in (references or {}).items() if level > 0}
    if not references and not any((frame["train_loss"] > 0).any() for frame in frames_by_label.values()):
        ax.set_ylim(0.01, 1)  # nothing that a log axis could show
    styles = styles or theme.styles(frames_by_label)
    labels: list[Label] = []
    for label, frame in frames_by_label.items():
        loss, epoch = frame["train_loss"].to_numpy(float), frame.index.to_numpy(float)
        marks = np.searchsorted(epoch, np.geomspace(1, last, 9)[1:-1])  # markers, evenly spaced to the eye
        marks = marks[marks < len(epoch)]
        ends = _line(ax, epoch, loss, styles[label], label, [int(mark) for mark in marks])
        for level, _, color in ends:  # a thin line from where a curve ends early to its label
            ax.hlines(level, epoch[np.isfinite(loss)][-1], last, color=color, lw=0.7, alpha=0.5)
        labels += ends
    for name, level in references.items():
        labels += _reference(ax, name, level)
    ax.margins(y=0.06)
    end_labels(ax, labels)
    return ax


def _line(
    ax: Axes, x: NDArray[Any], y: NDArray[Any], style: Style, name: Hashable, marks: list[int] | None = None
) -> list[Label]:
    """One line, and the label at its end."""
    y = np.where(np.isfinite(y), y, np.nan)
    ax.plot(
        x,
        y,
        color=style.color,
        ls=style.dash,
        lw=1.7,
        marker=style.marker,
        ms=5.5,
        mec=CARD,
        mew=0.8,
        markevery=marks,
        dash_capstyle="butt",
        zorder=4,
        label=f"_{name}",
    )
    finite = y[np.isfinite(y)]
    return [(float(finite[-1]), plain(name, 26), style.color)] if len(finite) and name != "" else []


def _reference(ax: Axes, name: str, level: float | pd.Series) -> list[Label]:
    """A dashed line, and its label: where it leaves the axes."""
    if isinstance(level, pd.Series):
        level = level.dropna().sort_index()
        ax.plot(level.index.to_numpy(float), level.to_numpy(float), label=f"_{name}", **DASHED)
        shown = level[level.index <= ax.get_xlim()[1]]
        return [(float(shown.iloc[-1]), plain(name, 26), MUTED)] if len(shown) else []
    if not np.isfinite(level):
        return []
    ax.axhline(level, label=f"_{name}", **DASHED)
    return [(float(level), plain(name, 26), MUTED)]


def _score_ticks(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(ScalarFormatter(useOffset=False))


def _numeric_axis(ax: Axes, values: NDArray[Any], log_from: float = LOG_FROM) -> bool:
    """Limits and ticks for the values that occur; whether the axis is logarithmic."""
    values = np.unique(values[np.isfinite(values)])
    if not len(values):
        return False
    logarithmic = bool(values[0] > 0 and np.log10(values[-1] / values[0]) >= log_from - 1e-9)
    shown = np.log10(values) if logarithmic else values
    room = 0.05 * (shown[-1] - shown[0]) or 0.5
    low, high = shown[0] - room, shown[-1] + room
    if logarithmic:
        ax.set_xscale("log")
    ax.set_xlim(*((10**low, 10**high) if logarithmic else (low, high)))
    labels = [short(value) for value in values]
    at = (shown - low) / (high - low) * width_in_points(ax) * NARROWER
    kept = [len(values) - 1]  # a label gives way to the one on its right, the last to none
    for i in range(len(values) - 2, -1, -1):
        if at[kept[-1]] - at[i] >= 2.9 * (len(labels[kept[-1]]) + len(labels[i])) + 5:
            kept.append(i)
    fixed_ticks(ax.xaxis, values, [label if i in kept else "" for i, label in enumerate(labels)])
    ax.minorticks_off()
    return logarithmic


# ------------------------------------------------------------------------------------------------ named rows


@look
def score_points(
    ax: Axes,
    frame: pd.DataFrame,
    label: str,
    y: str,
    lo: str,
    hi: str,
    references: Mapping[str, float] | None = None,
    *,
    xlabel: str = "",
    title: str = "",
    band: tuple[float, float] | None = None,
    digits: int = 3,
) -> Axes:
    """Draw a dot and an interval for each row, downwards in the frame's order, with the numbers on the right.

    Parameters
    ----------
    ax : Axes
        About `theme.rows_height` tall.
    frame : DataFrame
        One row per config or contrast.
    label, y, lo, hi : str
        Columns: its name, the score, the interval. A row without a score has a dash for it.
    references : mapping of label to level, optional
    xlabel, title : str
    band : (low, high), optional
        A range to shade, such as the differences too small to matter.
    digits : int
        After the point, in the numbers on the right. Where any is negative, all have their sign.

    Returns
    -------
    Axes
    """
    dress(ax, grid="x", title=title, xlabel=xlabel or y, pad=24 if references else 12)
    _rows(ax, frame[label], grid=True)
    score, low, high = (frame[column].to_numpy(float) for column in (y, lo, hi))
    row = np.arange(len(frame))
    if band is not None:
        ax.axvspan(*band, color=GRID, lw=0, zorder=0.4)
    ax.hlines(row, low, high, color=STYLES[0].color, lw=2.2, zorder=3)
    ax.plot(score, row, "o", ms=7, color=STYLES[0].color, mec=CARD, mew=1.1, zorder=4)
    levels = [(at, plain(name, 26)) for name, at in (references or {}).items() if np.isfinite(at)]
    for at, name in levels:
        ax.axvline(at, label=f"_{name}", **DASHED)
    ax.margins(x=0.05)
    top_labels(ax, levels)
    _score_ticks(ax.xaxis)
    sign = "+" if np.nanmin(np.append(low, np.append(score, 0))) < 0 else ""
    texts = []
    for values in zip(score, low, high, strict=True):
        middle, left, right = (f"{value:{sign}.{digits}f}".replace("-", "−") for value in values)
        interval = f"  [{left}, {right}]" if np.isfinite(values[1:]).all() else ""
        texts.append(middle + interval if np.isfinite(values[0]) else "–")
    _beside(ax, texts)
    return ax


def points_figure(
    frame: pd.DataFrame,
    references: Mapping[str, float],
    xlabel: str,
    band: tuple[float, float] | None = None,
) -> Figure:
    """Make the figure of `score_points` alone; columns ``label``, ``y``, ``lo``, ``hi``."""
    fig, (ax,) = theme.figure(*size_of_rows(len(frame)))
    score_points(ax, frame, "label", "y", "lo", "hi", references, xlabel=xlabel, band=band)
    return fig


def size_of_rows(rows: int) -> tuple[float, float]:
    """Width and height in inches of a figure of so many rows."""
    return theme.WIDTH, theme.rows_height(rows)


@look
def outcome_bars(ax: Axes, frame: pd.DataFrame, *, xlabel: str = "share of seeds", title: str = "") -> Axes:
    """Draw how each config's seeds ended, as one bar of shares.

    Parameters
    ----------
    ax : Axes
        About `theme.rows_height` tall.
    frame : DataFrame
        Index: the config's name. Columns: any of `theme.STATES`, as fractions of one.
    xlabel, title : str

    Returns
    -------
    Axes
    """
    dress(ax, grid=None, xlabel=xlabel)
    _rows(ax, frame.index)
    ax.set_xlim(0, 1)
    fixed_ticks(ax.xaxis, np.arange(5) / 4, ["0", "25%", "50%", "75%", "100%"])
    start = np.zeros(len(frame))
    room = width_in_points(ax) * NARROWER
    states = [state for state in STATES if state in frame]
    for state in states:
        share = np.nan_to_num(frame[state].to_numpy(float))
        color = STATES[state]
        ax.barh(range(len(frame)), share, 0.66, left=start, color=color, ec=CARD, lw=0.4, label=f"_{state}")
        ink = CARD if theme.contrast(CARD, color) > theme.contrast(INK, color) else INK
        for row in range(len(frame)):
            text = f"{100 * share[row]:.0f}%" if share[row] >= 0.095 else f"{100 * share[row]:.1f}%"
            if share[row] * room > 6 * len(text) + 4:
                middle = start[row] + share[row] / 2
                ax.text(middle, row, text, ha="center", va="center_baseline", size=9, color=ink)
        start = start + share
    ax.legend(
        handles=[Patch(color=STATES[state], label=state) for state in states],
        title=plain(title, 104) or None,
        title_fontsize=11,
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderpad=0,
        borderaxespad=0.4,
        ncols=max(len(states), 1),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.5,
        columnspacing=1.4,
    )
    return ax


@look
def variance_bars(
    ax: Axes, components: pd.DataFrame, *, xlabel: str = "share of the variance", title: str = ""
) -> Axes:
    """Draw how much of a spread each source accounts for.

    Parameters
    ----------
    ax : Axes
        About `theme.rows_height` tall.
    components : DataFrame
        Index: the source's name. Columns `share`, `lo`, `hi`, as fractions of one.
    xlabel, title : str

    Returns
    -------
    Axes
    """
    dress(ax, grid="x", title=title, xlabel=xlabel)
    _rows(ax, components.index)
    share, low, high = (components[column].to_numpy(float) for column in ("share", "lo", "hi"))
    row = np.arange(len(components))
    ax.barh(row, share, 0.5, color=STATES["slow"], zorder=2)
    ax.hlines(row, low, high, color=INK, lw=1.6, zorder=3)
    ax.set_xlim(min(0, float(np.nanmin(low, initial=0))), max(1, float(np.nanmax(high, initial=1))))
    fixed_ticks(ax.xaxis, np.arange(5) / 4, ["0", "25%", "50%", "75%", "100%"])
    texts = []
    for values in zip(share, low, high, strict=True):
        middle, left, right = (f"{100 * value:.0f}" for value in values)
        interval = f"  [{left}, {right}]" if np.isfinite(values[1:]).all() else ""
        texts.append(f"{middle}%{interval}" if np.isfinite(values[0]) else "–")
    _beside(ax, texts)
    return ax


@look
def score_map(ax: Axes, table: pd.DataFrame, *, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Draw a score of every data seed with every weight seed as a map, light where it is high.

    Parameters
    ----------
    ax : Axes
    table : DataFrame
        A row per data seed, a column per weight seed, drawn in their order.
    xlabel, ylabel, title : str

    Returns
    -------
    Axes
    """
    import seaborn as sns  # takes pyplot and a second along: only where a map is drawn

    sns.heatmap(
        table,
        ax=ax,
        cmap=SCORE,
        xticklabels=False,
        yticklabels=False,
        cbar_kws={"pad": 0.03, "aspect": 28},
        rasterized=True,
    )
    dress(ax, grid=None, title=title, xlabel=xlabel, ylabel=ylabel)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.collections[0].colorbar
    assert bar is not None
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=3, width=0.8, color=SPINE, labelcolor=MUTED, labelsize=9)
    _score_ticks(bar.ax.yaxis)
    return ax


def _rows(ax: Axes, names: Iterable[Hashable], *, grid: bool = False) -> None:
    """Make a named row each, downwards."""
    labels = [_wrapped(plain(name, 96)) for name in names]
    ax.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    widest_only(rule(ax, "y", range(len(labels)), labels, grid=grid, marks=False, color=INK, gap=6))
    ax.spines["left"].set_visible(False)


def _wrapped(name: str) -> str:
    """Break a name into at most two lines: between its parts (`mse · relu · d=4`), if it has any."""
    parts = name.split(" · ")
    whole = " · ".join(part.replace(" ", "\u00a0") for part in parts) if len(parts) > 1 else name
    lines = textwrap.wrap(whole, 36, max_lines=2, placeholder=" …")
    return "\n".join(line.strip(" ·").replace("\u00a0", " ") for line in lines)


def _beside(ax: Axes, texts: Iterable[str]) -> None:
    """Write a text for each row, on the right of the axes."""
    fig = ax.get_figure(root=True)
    assert fig is not None
    place = ax.get_yaxis_transform() + ScaledTranslation(8 / 72, 0, fig.dpi_scale_trans)
    style: dict[str, Any] = {"transform": place, "va": "center", "size": 8.5, "color": MUTED}
    widest_only([ax.text(1, row, text, **style) for row, text in enumerate(texts)])
