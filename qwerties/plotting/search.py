"""Plots of hyperparameter searches: frames with ready numbers -> axes, and the pictures that a search's run keeps.

``ax``, ``references`` and ``styles`` are as in `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from qwerties.plotting import style as theme
from qwerties.plotting.axes import Label, Panel, end_labels, log_axis, mark_missing, name_axes, panels
from qwerties.plotting.compare import NAME, draw_references, rows_height, share_bars
from qwerties.plotting.style import CARD, SPINE, STYLES, Style, plain

WORDS = {
    "population_accuracy": "accuracy on the true distribution",
    "regret": "regret: Bayes accuracy − accuracy",
    "cost": "cost: network-epochs × parameters",
}

Styles = Mapping[Any, Style]


def _log_x(ax: Axes, values: ArrayLike) -> None:
    """Make x logarithmic about the positive values."""
    x = np.asarray(values, float)
    x = x[np.isfinite(x) & (x > 0)]
    low, high = (float(x.min()), float(x.max())) if len(x) else (0.1, 1.0)
    low, high = (low / 2, high * 2) if low == high else (low, high)
    room = (high / low) ** 0.04
    log_axis(ax.xaxis)
    ax.set_xlim(low / room, high * room)


def rate_points(ax: Axes, frames: Mapping[str, pd.DataFrame], *, references: Mapping[str, float]) -> Axes:
    """Draw every trial's score against its learning rate, with a band for most of its networks.

    Parameters
    ----------
    frames : mapping of arm to DataFrame
        One row per trial: ``learning_rate``, ``y``, ``lo`` and ``hi``; y is missing where the trial diverged.
    """
    name_axes(ax, xlabel="learning rate", ylabel=WORDS["population_accuracy"])
    _log_x(ax, np.concatenate([frame["learning_rate"].to_numpy(float) for frame in frames.values()]))
    styles = theme.styles(frames)
    labels: list[Label] = []
    for name, frame in frames.items():
        look, frame = styles[name], frame.sort_values("learning_rate", kind="stable")
        scored = frame[frame["y"].notna()]
        rate, y, low, high = (scored[c].to_numpy(float) for c in ("learning_rate", "y", "lo", "hi"))
        ax.fill_between(rate, low, high, color=look.color, alpha=0.12, zorder=2)
        ax.plot(rate, y, color=look.color, ls=look.ls, lw=1.3, zorder=4)
        ax.plot(rate, y, look.marker, color=look.color, ms=4.5, mec=CARD, mew=0.6, zorder=4)
        mark_missing(ax, frame.loc[frame["y"].isna(), "learning_rate"])
        labels += [(float(y[-1]), plain(name, NAME), look.color)] if len(y) else []
    ax.margins(y=0.05)
    end_labels(ax, labels + draw_references(ax, references))
    return ax


def history_lines(ax: Axes, frames: Mapping[str, pd.DataFrame], *, styles: Styles | None = None) -> Axes:
    """Draw the best score up to each trial, a line for each search, and the trials' own scores as dots.

    Parameters
    ----------
    frames : mapping of label to DataFrame
        One row per trial: ``number``, ``y`` (missing where it diverged) and ``best``, the best so far.
    """
    ax.set_xlabel("trials")
    styles = styles or theme.styles(frames)
    labels: list[Label] = []
    for name, frame in frames.items():
        look = styles[name]
        at, y, best = (frame[column].to_numpy(float) for column in ("number", "y", "best"))
        ax.plot(at + 1, y, look.marker, ms=3, color=look.color, alpha=0.35, mew=0, zorder=2)
        ax.step(at + 1, best, where="post", color=look.color, ls=look.ls, zorder=4)
        mark_missing(ax, at[np.isnan(y)] + 1)
        finite = best[np.isfinite(best)]
        labels += [(float(finite[-1]), plain(name, NAME), look.color)] if len(finite) else []
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    end_labels(ax, labels)
    return ax


def front_points(ax: Axes, frame: pd.DataFrame, marks: Mapping[str, tuple[float, float]]) -> Axes:
    """Draw cost against regret, both on log axes, the front as a line, and some networks by name.

    Parameters
    ----------
    frame : DataFrame
        One row per trial: ``cost``, ``regret`` (above 0) and ``front``, whether no other trial beats it in both.
    marks : mapping of label to (cost, regret)
    """
    name_axes(ax, xlabel=WORDS["cost"], ylabel=WORDS["regret"])
    front = frame[frame["front"]].sort_values("cost", kind="stable")
    _log_x(ax, np.append(frame["cost"].to_numpy(float), [cost for cost, _ in marks.values()]))
    log_axis(ax.yaxis)
    color = STYLES[0].color
    ax.plot(frame["cost"], frame["regret"], "o", ms=4, color=SPINE, mew=0, zorder=2)
    ax.step(front["cost"], front["regret"], where="post", color=color, lw=1.2, zorder=3)
    ax.plot(front["cost"], front["regret"], "o", ms=5.5, color=color, mec=CARD, zorder=4)
    ax.margins(y=0.12)
    middle = np.sqrt(np.prod(ax.get_xlim())), np.sqrt(np.prod(ax.get_ylim()))
    for i, (name, (cost, regret)) in enumerate(marks.items()):
        mark = STYLES[1 + i % (len(STYLES) - 1)]
        ax.plot([cost], [regret], mark.marker, ms=9, color=mark.color, mec=CARD, mew=1, zorder=5)
        aside, above = (-9 if cost > middle[0] else 9), (-15 if regret > middle[1] else 9)
        place: dict[str, Any] = {"xytext": (aside, above), "textcoords": "offset points"}
        text = ax.annotate(
            plain(name, 40), (cost, regret), **place, color=theme.readable(mark.color), zorder=6
        )
        text.set(ha="right" if aside < 0 else "left", bbox={"fc": CARD, "alpha": 0.8, "pad": 1})
    return ax


def slice_points(ax: Axes, frame: pd.DataFrame, name: str, distribution: Any) -> Axes:
    """Draw every trial's score against one of its parameters.

    Parameters
    ----------
    frame : DataFrame
        One row per trial that has the parameter: ``x``, and ``y``, missing where it diverged.
    name : str
        Of the parameter.
    distribution : object
        With ``choices``, or with ``low``, ``high`` and ``log``, as Optuna's distributions have them.
    """
    name_axes(ax, xlabel=plain(name.replace("_", " "), 40))
    y = frame["y"].to_numpy(float)
    if hasattr(distribution, "choices"):
        choices = list(distribution.choices)
        x = np.array([choices.index(value) for value in frame["x"]], float)
        ax.set_xticks(range(len(choices)), [plain(choice, 10) for choice in choices])
        ax.set_xlim(-0.6, len(choices) - 0.4)
    else:
        x = frame["x"].to_numpy(float)
        if distribution.log:
            _log_x(ax, [distribution.low, distribution.high])
        else:
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=isinstance(distribution.low, int)))
    ax.plot(x, y, "o", ms=4, color=STYLES[0].color, mec=CARD, mew=0.5, alpha=0.8, zorder=3)
    mark_missing(ax, x[np.isnan(y)])
    return ax


def study_pictures(
    frame: pd.DataFrame, space: Mapping[str, Any], objective: str, shares: Mapping[str, float], title: str
) -> dict[str, bytes]:
    """Draw what a search's run keeps, as PNG by path.

    Parameters
    ----------
    frame : DataFrame
        One row per trial: ``number``; ``y``, the objective; ``best``, the best so far; ``params_*``, the parameters;
        ``front``, ``cost`` and ``regret`` where there is a cost.
    space : mapping of parameter to distribution
    objective : str
        A key of `WORDS`.
    shares : mapping of parameter to share
        May be empty.
    title : str
    """
    slices: list[Panel] = []
    for name, distribution in space.items():
        points = frame.assign(x=frame[f"params_{name}"]).dropna(subset="x")
        ylabel = "" if slices else WORDS[objective]
        part = {"frame": points, "name": name, "distribution": distribution, "ylabel": ylabel}
        slices.append((slice_points, part))
    history = {"frames": {"best so far": frame}, "ylabel": WORDS[objective], "title": title}
    figures = {
        "history": panels([(history_lines, history)], height=3.8),
        "slice": panels(slices, max(5.0, 2.4 * len(space)), 3.0, sharey=True),
    }
    if shares:
        ranked = sorted(shares, key=lambda name: (-shares[name], name))  # Optuna's order of equals varies
        names = [name.replace("_", " ") for name in ranked]
        bars = pd.DataFrame({"share": [shares[name] for name in ranked]}, index=names)
        importance = {"frame": bars, "xlabel": "importance", "title": title, "full": False}
        figures["importance"] = panels([(share_bars, importance)], height=rows_height(len(shares)))
    if "front" in frame:
        front = {"frame": frame.dropna(subset="y"), "marks": {}, "title": title}
        figures["pareto"] = panels([(front_points, front)])
    return {f"plots/{name}.png": theme.png(figure) for name, figure in figures.items()}
