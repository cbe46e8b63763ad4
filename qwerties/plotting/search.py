"""Figures of studies: frames with ready numbers -> axes, and the pictures that a study's run keeps.

As in `figures`, nothing is computed here but places on paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from qwerties.plotting import style as theme
from qwerties.plotting.axes import end_labels, fixed_ticks, log_ticks, log_y, short
from qwerties.plotting.style import CARD, INK, MUTED, SPINE, STATES, Style, dress, look, plain

WORDS = {
    "population_accuracy": "accuracy on the true distribution",
    "regret": "regret: Bayes accuracy − accuracy",
    "cost": "cost: network-epochs × parameters",
}
FAILED = STATES["diverged"]

Styles = Mapping[Any, Style]


def _log_x(ax: Axes, values: NDArray[Any]) -> None:
    """Make x logarithmic, with a few round ticks, about the positive values."""
    values = values[np.isfinite(values) & (values > 0)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 1.0)
    low, high = (low / 2, high * 2) if low == high else (low, high)
    room = (high / low) ** 0.04
    ax.set_xscale("log")
    ax.set_xlim(low / room, high * room)
    fixed_ticks(ax.xaxis, log_ticks(low / room, high * room))
    ax.xaxis.set_minor_locator(NullLocator())


def _linear_y(ax: Axes) -> None:
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))


@look
def rate_points(
    ax: Axes,
    frames: Mapping[str, pd.DataFrame],
    *,
    references: Mapping[str, float] | None = None,
    title: str = "",
    styles: Styles | None = None,
) -> Axes:
    """Draw every trial's score against its learning rate, with the range of most of its networks.

    Parameters
    ----------
    ax : Axes
    frames : mapping of side to DataFrame
        One row per trial: ``learning_rate``, ``y``, ``lo`` and ``hi``; y is missing where the trial diverged.
    references : mapping of label to level, optional
    title : str
    styles : mapping of side to Style, optional

    Returns
    -------
    Axes
    """
    dress(ax, grid="both", title=title, xlabel="learning rate", ylabel=WORDS["population_accuracy"])
    _log_x(ax, np.concatenate([frame["learning_rate"].to_numpy(float) for frame in frames.values()]))
    styles = styles or theme.styles(frames)
    labels = []
    for name, frame in frames.items():
        style, frame = styles[name], frame.sort_values("learning_rate", kind="stable")
        scored = frame[frame["y"].notna()]
        rate, y = scored["learning_rate"].to_numpy(float), scored["y"].to_numpy(float)
        ax.vlines(rate, scored["lo"], scored["hi"], color=style.color, lw=1.1, alpha=0.3, zorder=2)
        ax.plot(rate, y, ls=style.dash, lw=1.2, color=style.color, alpha=0.7, zorder=3)
        ax.plot(rate, y, style.marker, ms=4.5, color=style.color, mec=CARD, mew=0.6, zorder=4)
        _failures(ax, frame.loc[frame["y"].isna(), "learning_rate"].to_numpy(float))
        if len(y):
            labels.append((float(y[-1]), plain(name, 26), style.color))
    for name, level in (references or {}).items():
        ax.axhline(level, **theme.REFERENCE)
        labels.append((level, plain(name, 26), MUTED))
    ax.margins(y=0.05)
    _linear_y(ax)
    end_labels(ax, labels)
    return ax


def _failures(ax: Axes, at: NDArray[Any]) -> None:
    """Mark the trials that diverged, at the foot of the axes."""
    if len(at):
        foot = np.full(len(at), 0.012)
        ax.plot(at, foot, "x", ms=5, color=FAILED, transform=ax.get_xaxis_transform(), zorder=4)


@look
def history_lines(
    ax: Axes,
    frames: Mapping[str, pd.DataFrame],
    *,
    ylabel: str = "",
    title: str = "",
    styles: Styles | None = None,
) -> Axes:
    """Draw the best score up to each trial, a line for each search, and the trials' own scores as dots.

    Parameters
    ----------
    ax : Axes
    frames : mapping of label to DataFrame
        One row per trial: ``number``, ``y`` (missing where it diverged) and ``best``, the best so far.
    ylabel, title : str
    styles : mapping of label to Style, optional

    Returns
    -------
    Axes
    """
    dress(ax, title=title, xlabel="trials", ylabel=ylabel)
    styles = styles or theme.styles(frames)
    labels = []
    for name, frame in frames.items():
        style = styles[name]
        at, y, best = (frame[column].to_numpy(float) for column in ("number", "y", "best"))
        ax.plot(at + 1, y, style.marker, ms=3, color=style.color, alpha=0.35, mew=0, zorder=2)
        ax.step(at + 1, best, where="post", color=style.color, ls=style.dash, lw=1.7, zorder=4)
        _failures(ax, at[np.isnan(y)] + 1)
        finite = best[np.isfinite(best)]
        if len(finite):
            labels.append((float(finite[-1]), plain(name, 26), style.color))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _linear_y(ax)
    end_labels(ax, labels)
    return ax


@look
def share_bars(ax: Axes, shares: pd.Series, *, title: str = "") -> Axes:
    """Draw shares that sum to 1 as bars, a named row each, downwards.

    Parameters
    ----------
    ax : Axes
        About `theme.rows_height` tall.
    shares : Series
        Index: the names.
    title : str

    Returns
    -------
    Axes
    """
    dress(ax, grid="x", title=title, xlabel="importance")
    rows = np.arange(len(shares))
    ax.barh(rows, shares.to_numpy(float), 0.6, color=STATES["slow"], zorder=2)
    ax.set_ylim(max(len(shares), 1) - 0.4, -0.6)
    fixed_ticks(ax.yaxis, rows, [plain(str(name).replace("_", " "), 40) for name in shares.index])
    ax.tick_params(axis="y", length=0, labelcolor=INK, pad=6)
    ax.spines["left"].set_visible(False)
    for row, share in enumerate(shares.to_numpy(float)):
        ax.annotate(
            f"{100 * share:.0f}%",
            xy=(share, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=8.5,
            color=MUTED,
        )
    ax.set_xlim(0, 1.1 * float(np.nanmax(shares.to_numpy(float), initial=0.1)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    return ax


@look
def front_points(
    ax: Axes, frame: pd.DataFrame, marks: Mapping[str, tuple[float, float]] | None = None, *, title: str = ""
) -> Axes:
    """Draw cost against regret, both on log axes, the front as a line, and some networks by name.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        One row per trial: ``cost``, ``regret`` (above 0) and ``front``, whether no other trial beats it in both.
    marks : mapping of label to (cost, regret), optional
    title : str

    Returns
    -------
    Axes
    """
    dress(ax, grid="both", title=title, xlabel=WORDS["cost"], ylabel=WORDS["regret"])
    marks = marks or {}
    front = frame[frame["front"]].sort_values("cost", kind="stable")
    costs = np.append(frame["cost"].to_numpy(float), [at for at, _ in marks.values()])
    _log_x(ax, costs)
    log_y(ax)
    color = theme.STYLES[0].color
    ax.plot(frame["cost"], frame["regret"], "o", ms=4, color=SPINE, mew=0, zorder=2)
    ax.step(front["cost"], front["regret"], where="post", color=color, lw=1.2, zorder=3)
    ax.plot(front["cost"], front["regret"], "o", ms=5.5, color=color, mec=CARD, mew=0.8, zorder=4)
    for i, (name, (at, regret)) in enumerate(marks.items()):
        style = theme.STYLES[1 + i % (len(theme.STYLES) - 1)]
        ax.plot([at], [regret], style.marker, ms=9, color=style.color, mec=CARD, mew=1, zorder=5)
        right = at > np.sqrt(np.prod(ax.get_xlim()))
        ax.annotate(
            plain(name, 40),
            xy=(at, regret),
            xytext=(-9 if right else 9, 9),
            textcoords="offset points",
            ha="right" if right else "left",
            size=9,
            color=theme.readable(style.color),
            zorder=6,
        )
    ax.margins(y=0.08)
    return ax


@look
def slice_points(ax: Axes, frame: pd.DataFrame, name: str, dimension: Any, *, ylabel: str = "") -> Axes:
    """Draw every trial's score against one of its parameters.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        One row per trial that has the parameter: ``x``, and ``y``, missing where it diverged.
    name : str
        Of the parameter.
    dimension : Float, Int or Categorical
    ylabel : str

    Returns
    -------
    Axes
    """
    dress(ax, xlabel=name.replace("_", " "), ylabel=ylabel)
    y = frame["y"].to_numpy(float)
    if hasattr(dimension, "choices"):
        choices = list(dimension.choices)
        x = np.array([choices.index(value) for value in frame["x"]], float)
        fixed_ticks(ax.xaxis, np.arange(len(choices)), [plain(choice, 10) for choice in choices])
        ax.set_xlim(-0.6, len(choices) - 0.4)
    else:
        x = frame["x"].to_numpy(float)
        if dimension.log:
            _log_x(ax, np.array([dimension.low, dimension.high], float))
            ticks = log_ticks(dimension.low, dimension.high)
            fixed_ticks(ax.xaxis, ticks[:: max(1, len(ticks) // 3)])
        else:
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.plot(x, y, "o", ms=4, color=theme.STYLES[0].color, mec=CARD, mew=0.5, alpha=0.8, zorder=3)
    _failures(ax, x[np.isnan(y)])
    _linear_y(ax)
    return ax


def study_pictures(
    frame: pd.DataFrame,
    trials: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any],
    objectives: Sequence[str],
    shares: Mapping[str, float],
    title: str,
) -> dict[str, bytes]:
    """Draw what a study's run keeps, as PNG by path.

    Parameters
    ----------
    frame : DataFrame
        From `studies.trial_frame`, with ``best`` and, where there is a cost, ``front``.
    trials : sequence of mapping
        Each trial's parameters, and its ``number``.
    space : mapping of name to dimension
    objectives : sequence of str
    shares : mapping of parameter to share
        May be empty.
    title : str
    """
    first = objectives[0]
    values = frame.set_index("number")[first]
    fig, (ax,) = theme.figure(height=3.8)
    history = frame.assign(y=frame[first])
    history_lines(ax, {"best so far": history}, ylabel=WORDS[first], title=title)
    drawn = {"plots/history.png": theme.png(fig)}
    fig, axes = theme.figure(width=max(5.0, 2.4 * len(space)), height=3.0, panels=len(space), sharey=True)
    for ax, (name, dimension) in zip(axes, space.items(), strict=True):
        having = [trial for trial in trials if name in trial and trial["number"] in values.index]
        points = pd.DataFrame(
            {
                "x": [trial[name] for trial in having],
                "y": [values[trial["number"]] for trial in having],
            }
        )
        slice_points(ax, points, name, dimension, ylabel=WORDS[first] if ax is axes[0] else "")
    drawn["plots/slice.png"] = theme.png(fig)
    if shares:
        fig, (ax,) = theme.figure(height=theme.rows_height(len(shares)))
        share_bars(ax, pd.Series(dict(shares)), title=title)
        drawn["plots/importance.png"] = theme.png(fig)
    if "front" in frame:
        fig, (ax,) = theme.figure(height=4.2)
        front_points(ax, frame[frame[first].notna()], title=title)
        drawn["plots/pareto.png"] = theme.png(fig)
    return drawn
