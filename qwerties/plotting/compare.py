"""Plots of several configs or contrasts: frames with ready numbers -> axes.

Each plot draws on ``ax``, and returns it. Lines differ in colour, marker and dash, and are named where they end;
``styles`` maps their names to what `style.styles` gave, where figures share lines. Rows are named on the left.
``references`` maps names to levels of y, which are dashed: a number, or a Series over x; levels that are not finite are
left out. `axes.panels` makes figures of plots.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from qwerties.plotting import style as theme
from qwerties.plotting.axes import (
    Label,
    end_labels,
    epoch_ticks,
    legend_above,
    log_axis,
    mark_missing,
    name_axes,
    short,
    ticks_at,
    top_labels,
)
from qwerties.plotting.style import CARD, GRID, INK, MUTED, REFERENCE, STATES, STYLES, Style, plain
from qwerties.stats.formats import percent

LOG_FROM = 1.2  # decades that make an axis logarithmic: a grid of doublings, 1 to 16, spans them
SCORE = LinearSegmentedColormap.from_list("score", [INK, STATES["learned"], STATES["slow"], "#eef6f8"])
NAME = 26  # characters of a line's name
BOXES = {"handlelength": 0.9, "handleheight": 0.9, "columnspacing": 1.4}  # of a legend that shows colours

Styles = Mapping[Any, Style]
References = Mapping[str, float | pd.Series]

# --------------------------------------------------------------------------------- lines over a numeric axis


def score_lines(
    ax: Axes,
    frame: pd.DataFrame,
    *,
    references: References | None = None,
    styles: Styles | None = None,
    log_y: bool = False,
    log_from: float = LOG_FROM,
) -> Axes:
    """Draw a score with its interval against a numeric setting, one line for each value of another.

    Parameters
    ----------
    frame : DataFrame
        One row per point: ``x``, ``y``, ``line`` and, where there are intervals, ``lo`` and ``hi``. Lines without a
        name have ``line`` "". A row without a score is marked at the foot of the axes.
    log_y : bool
        Whether y is logarithmic; scores of zero and below are left out then.
    log_from : float
        Decades of x from which on its axis is logarithmic.
    """
    import seaborn as sns  # loads pyplot: only where such a figure is drawn

    frame = frame.astype({"x": float, "y": float})
    numeric_axis(ax, frame["x"], log_from)
    if log_y:
        log_axis(ax.yaxis)
    styles = styles or theme.styles(frame["line"])
    scored = frame[np.isfinite(frame["y"])]
    if len(scored):
        by = {"x": "x", "y": "y", "hue": "line", "style": "line", "estimator": None}
        looks = {
            "palette": {name: style.color for name, style in styles.items()},
            "markers": {name: style.marker for name, style in styles.items()},
            "dashes": {name: "" if style.ls == "-" else style.ls[1] for name, style in styles.items()},
        }
        sns.lineplot(scored, ax=ax, legend=False, markeredgecolor=CARD, zorder=4, **by, **looks)
    labels: list[Label] = []
    for name, part in scored.groupby("line", sort=False):
        part, color = part.sort_values("x", kind="stable"), styles[name].color
        x, y = part[["x", "y"]].to_numpy().T
        if "lo" in part:
            low, high = part[["lo", "hi"]].to_numpy(float).T
            ax.fill_between(x, low, high, color=color, alpha=0.16, zorder=2)
            if len(x) == 1:  # a band needs two points
                ax.vlines(x, low, high, color=color, lw=1.5, zorder=3)
        labels += [(float(y[-1]), plain(name, NAME), color)] if name != "" else []
    labels += draw_references(ax, references)
    mark_missing(ax, frame.loc[~np.isfinite(frame["y"]), "x"])
    ax.margins(y=0.06)
    end_labels(ax, labels)
    return ax


def score_distributions(
    ax: Axes, frame: pd.DataFrame, *, references: Mapping[str, float] | None = None
) -> Axes:
    """Draw the whole distribution of a score at each value of a setting, as violins of equal width, and its mean.

    Outcomes pile up in two places, which a mean hides. The violins' bandwidth is small, so that both piles stay apart.

    Parameters
    ----------
    frame : DataFrame
        One row per network: ``x``, the setting, whose values stand side by side in order of appearance; ``y``, the
        score; ``line``, a second setting or "". Rows without a score are left out.
    """
    import seaborn as sns

    frame = frame[np.isfinite(frame["y"].to_numpy(float))]
    values, lines = list(dict.fromkeys(frame["x"])), list(dict.fromkeys(frame["line"]))
    styles = theme.styles(lines)
    texts = [short(value) if isinstance(value, int | float) else plain(value, 12) for value in values]
    if len(set(texts)) < len(texts):  # in full, where two would look the same
        texts = [plain(f"{value:.10g}" if isinstance(value, int | float) else value, 60) for value in values]
    frame = frame.assign(x=frame["x"].map(dict(zip(values, texts, strict=True))))
    if len(frame):
        by = {"x": "x", "y": "y", "hue": "line", "order": texts, "hue_order": lines}
        shape = {"cut": 0, "bw_adjust": 0.15, "density_norm": "width", "inner": None, "width": 0.86}
        colors = {"palette": {name: styles[name].color for name in lines}, "saturation": 1}
        looks = {"linewidth": 0.7, "linecolor": "auto", "legend": False, "zorder": 3}
        sns.violinplot(frame, ax=ax, **by, **shape, **colors, **looks)
    lane = 0.86 / max(len(lines), 1)
    means = frame.groupby(["line", "x"], sort=False)["y"].mean()
    places = [texts.index(x) + (lines.index(line) - (len(lines) - 1) / 2) * lane for line, x in means.index]
    ax.plot(places, means, ls="", marker="o", ms=4.2, color=CARD, mec=INK, mew=1.1, zorder=5)
    step = max(1, int(np.ceil(len(texts) * (max(map(len, texts), default=1) + 1) / 110)))
    ax.set_xticks(range(len(texts)), [text if i % step == 0 else "" for i, text in enumerate(texts)])
    ax.set(xlabel="", ylabel="", xlim=(-0.6, max(len(texts), 1) - 0.4))
    ax.grid(False, axis="x")
    end_labels(ax, draw_references(ax, references))
    if len(lines) > 1:
        legend_above(ax, [Patch(color=styles[name].color, label=plain(name, 40)) for name in lines], **BOXES)
    return ax


def loss_lines(
    ax: Axes,
    curves: Mapping[Any, pd.Series],
    *,
    references: Mapping[str, float] | None = None,
    styles: Styles | None = None,
) -> Axes:
    """Draw several configs' loss against the epoch, on log axes (`network.loss_axes` says why).

    Parameters
    ----------
    curves : mapping of label to Series
        Losses by epoch, from 1. Values that are not finite leave a gap.
    """
    name_axes(ax, xlabel="epoch", ylabel="training loss, mean over seeds")
    log_axis(ax.xaxis)
    log_axis(ax.yaxis)
    last = max((float(curve.index[-1]) for curve in curves.values() if len(curve)), default=1.0)
    ax.set_xlim((1, last) if last > 1 else (0.5, 2))
    ticks_at(ax, epoch_ticks(last))
    references = {name: level for name, level in (references or {}).items() if level > 0}
    if not references and not any((curve > 0).any() for curve in curves.values()):
        ax.set_ylim(0.01, 1)  # nothing that a log axis could show
    styles = styles or theme.styles(curves)
    labels: list[Label] = []
    for name, curve in curves.items():
        look, color = styles[name], styles[name].color
        epoch, loss = curve.index.to_numpy(float), curve.to_numpy(float)
        finite = np.flatnonzero(np.isfinite(loss))
        marks = np.searchsorted(epoch, np.geomspace(1, last, 9)[1:-1])  # evenly spaced to the eye
        every = [int(mark) for mark in marks if mark < len(epoch)]
        shown = np.where(np.isfinite(loss), loss, np.nan)
        ax.plot(epoch, shown, look.marker, color=color, ls=look.ls, mec=CARD, markevery=every, zorder=4)
        if len(finite):  # a thin line from where a curve ends early to its label
            end = float(loss[finite[-1]])
            ax.hlines(end, epoch[finite[-1]], last, color=color, lw=0.7, alpha=0.5)
            labels += [(end, plain(name, NAME), color)] if end > 0 else []
    ax.margins(y=0.06)
    low, high = ax.get_ylim()
    if high < 1.01 * low:  # a single value
        ax.set_ylim(low / 2, 2 * high)
    end_labels(ax, labels + draw_references(ax, references))
    return ax


def curve_lines(ax: Axes, frame: pd.DataFrame, *, styles: Styles, dashed: float | None = None) -> Axes:
    """Draw smooth curves, named where they end.

    Parameters
    ----------
    frame : DataFrame
        Index: x, evenly spaced. A column for each curve.
    dashed : float, optional
        A level of y to point out.
    """
    ax.set_xlim(frame.index[0], frame.index[-1])
    if dashed is not None:
        ax.axhline(dashed, zorder=1.5, **REFERENCE)
    for i, (name, y) in enumerate(frame.items()):
        look = styles[name]
        marks: dict[str, Any] = {"mec": CARD, "markevery": (5 * i + 4, max(len(frame) // 6, 1))}
        ax.plot(frame.index, y, look.marker, color=look.color, ls=look.ls, zorder=3 + i, **marks)
    ax.margins(y=0.06)
    end_labels(ax, [(float(y.iloc[-1]), str(name), styles[name].color) for name, y in frame.items()])
    return ax


def numeric_axis(ax: Axes, values: Iterable[float], log_from: float = LOG_FROM) -> None:
    """Fit x to the values that occur, with a tick at each; logarithmic where they span enough decades."""
    ticks = np.unique([float(v) for v in values if np.isfinite(v)])
    if not len(ticks):
        return
    logarithmic = bool(ticks[0] > 0 and np.log10(ticks[-1] / ticks[0]) >= log_from - 1e-9)
    ends = np.log10(ticks[[0, -1]]) if logarithmic else ticks[[0, -1]]
    room = 0.05 * (ends[1] - ends[0]) or 0.5
    low, high = ends[0] - room, ends[1] + room
    if logarithmic:
        log_axis(ax.xaxis)
    ax.set_xlim(*((10**low, 10**high) if logarithmic else (low, high)))
    ticks_at(ax, ticks)


def draw_references(ax: Axes, references: References | None) -> list[Label]:
    """Draw dashed lines, and return their labels: where each leaves the axes."""
    labels = []
    for name, level in (references or {}).items():
        if isinstance(level, pd.Series):
            level = level.dropna().sort_index()
            ax.plot(level.index.to_numpy(float), level.to_numpy(float), zorder=1.5, **REFERENCE)
            shown = level[level.index <= ax.get_xlim()[1]]
            labels += [(float(shown.iloc[-1]), plain(name, NAME), MUTED)] if len(shown) else []
        elif np.isfinite(level):
            ax.axhline(level, zorder=1.5, **REFERENCE)
            labels.append((float(level), plain(name, NAME), MUTED))
    return labels


# ------------------------------------------------------------------------------------------------ named rows


def rows_height(rows: int) -> float:
    """Return the height in inches of a figure of so many named rows."""
    return 1.15 + 0.36 * max(rows, 2)


def score_points(
    ax: Axes,
    frame: pd.DataFrame,
    *,
    references: Mapping[str, float] | None = None,
    band: tuple[float, float] | None = None,
    digits: int = 3,
) -> Axes:
    """Draw a dot and an interval for each row, downwards in the frame's order, with the numbers on the right.

    Parameters
    ----------
    frame : DataFrame
        One row per config or contrast: ``label``, ``y``, ``lo``, ``hi``. A row without a score has a dash for it.
    band : (low, high), optional
        A range to shade, such as the differences too small to matter.
    digits : int
        After the point, in the numbers on the right. Where any is negative, all have their sign.
    """
    _rows(ax, frame["label"])
    score, low, high = (frame[column].to_numpy(float) for column in ("y", "lo", "hi"))
    row, color = np.arange(len(frame)), STYLES[0].color
    if band is not None:
        ax.axvspan(*band, color=GRID, lw=0, zorder=0.4)
    ax.hlines(row, low, high, color=color, lw=2.2, zorder=3)
    ax.plot(score, row, "o", ms=7, color=color, mec=CARD, mew=1.1, zorder=4)
    levels = [(at, plain(name, NAME)) for name, at in (references or {}).items() if np.isfinite(at)]
    for at, _ in levels:
        ax.axvline(at, zorder=1.5, **REFERENCE)
    ax.margins(x=0.05)
    top_labels(ax, levels)
    sign = "+" if np.nanmin(np.append(low, np.append(score, 0))) < 0 else ""
    intervals = zip(score, low, high, strict=True)
    _beside(ax, [_interval_text(*interval, f"{{:{sign}.{digits}f}}".format) for interval in intervals])
    return ax


def outcome_bars(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Draw how each config's seeds ended, as one bar of shares.

    Parameters
    ----------
    frame : DataFrame
        Index: the config's name. Columns: any of `style.STATES`, as fractions of one.
    """
    _rows(ax, frame.index)
    ax.grid(False)
    start, states = np.zeros(len(frame)), [state for state in STATES if state in frame]
    for state in states:
        share, color = np.nan_to_num(frame[state].to_numpy(float)), STATES[state]
        bars = ax.barh(range(len(frame)), share, 0.66, left=start, color=color, ec=CARD, lw=0.4, label=state)
        ink = CARD if theme.contrast(CARD, color) > theme.contrast(INK, color) else INK
        texts = [percent(s) if s >= 0.075 else "" for s in share.tolist()]
        ax.bar_label(bars, texts, label_type="center", size=9, color=ink)
        start = start + share
    ax.set(xlim=(0, 1), xticks=np.arange(5) / 4, xlabel="share of seeds")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    legend_above(ax, [Patch(color=STATES[state], label=state) for state in states], **BOXES)
    return ax


def share_bars(ax: Axes, frame: pd.DataFrame, *, full: bool = True) -> Axes:
    """Draw shares as bars, a named row each, downwards, with the numbers on the right.

    Parameters
    ----------
    frame : DataFrame
        Index: the names. Column ``share`` and, where there are intervals, ``lo`` and ``hi``; fractions of one.
    full : bool
        Whether the axis reaches from 0 to 100%, whatever the shares.
    """
    _rows(ax, frame.index)
    ax.grid(False, axis="y")
    share, row = frame["share"].to_numpy(float), np.arange(len(frame))
    bars = ax.barh(row, share, 0.55, color=STATES["slow"], zorder=2)
    high = float(np.nanmax(share, initial=0.05))
    if "lo" in frame:
        bounds = frame["lo"].to_numpy(float), frame["hi"].to_numpy(float)
        ax.hlines(row, *bounds, color=INK, lw=1.6, zorder=3)
        high = float(np.nanmax(bounds[1], initial=high))
        _beside(ax, [_interval_text(*interval, percent) for interval in zip(share, *bounds, strict=True)])
    else:
        ax.bar_label(bars, [percent(s) for s in share.tolist()], padding=5, size=8.5, color=MUTED)
    ax.set_xlim(0, max(1.0, high) if full else 1.1 * high)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return ax


def score_map(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw a score of every data seed with every weight seed as a heatmap, light where it is high.

    Parameters
    ----------
    table : DataFrame
        A row per data seed, a column per weight seed, drawn in their order.
    """
    import seaborn as sns

    bar, labels = {"pad": 0.03, "aspect": 28}, {"xticklabels": False, "yticklabels": False}
    sns.heatmap(table, ax=ax, cmap=SCORE, cbar_kws=bar, rasterized=True, **labels)
    ax.grid(False)
    colorbar: Any = ax.collections[0].colorbar
    colorbar.outline.set_visible(False)
    return ax


def _rows(ax: Axes, names: Iterable[Hashable]) -> None:
    """Make a named row each, downwards."""
    labels = [_wrapped(plain(name, 96)) for name in names]
    ax.set_yticks(range(len(labels)), labels, color=INK, size=9.5)
    ax.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    ax.tick_params("y", length=0)
    ax.spines["left"].set_visible(False)


def _wrapped(name: str) -> str:
    """Break a name into at most two lines: between its parts (`MSE · ReLU · d=4`), if it has any."""
    parts = name.split(" · ")
    whole = " · ".join(part.replace(" ", "\u00a0") for part in parts) if len(parts) > 1 else name
    lines = textwrap.wrap(whole, 36, max_lines=2, placeholder=" …")
    return "\n".join(line.strip(" ·").replace("\u00a0", " ") for line in lines)


def _interval_text(middle: float, low: float, high: float, write: Callable[[float], str]) -> str:
    middle_text, low_text, high_text = (write(v).replace("-", "−") for v in (middle, low, high))
    interval = f"  [{low_text}, {high_text}]" if np.isfinite([low, high]).all() else ""
    return middle_text + interval if np.isfinite(middle) else "–"


def _beside(ax: Axes, texts: Iterable[str]) -> None:
    """Write a text for each row, on the right of the axes."""
    for row, text in enumerate(texts):
        ax.annotate(
            text, (1, row), (8, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", size=8.5, color=MUTED, annotation_clip=False,
        )  # fmt: skip
