"""Arrays of ``curves.npz`` -> figures: losses by epoch, and how much of the gradient reaches the first layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, Config
from qwerties.errors import plural
from qwerties.plotting import compare as plots
from qwerties.plotting.axes import Panel
from qwerties.plotting.style import styles
from qwerties.report.figure_words import line_words, names
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.text import display
from qwerties.scoring import theory
from qwerties.stats.formats import number
from qwerties.study.plan import FigureSpec

MAX_LINES = 6  # loss curves in one panel

Curves = Callable[[SeedTable, str], tuple[np.ndarray, np.ndarray]]  # as `Results.curves`


def loss_lines(spec: FigureSpec, tables: Sequence[SeedTable], curves: Curves) -> ReportFigure:
    """Show mean training losses by epoch, a panel for each loss; of configs that differ in epochs, the longest."""
    longest: dict[Config, SeedTable] = {}
    for table in tables:
        key = table.config.without_epochs
        longest[key] = max(longest.get(key, table), table, key=lambda each: each.config.epochs)
    by_loss: dict[str, list[SeedTable]] = {}
    for table in longest.values():
        by_loss.setdefault(table.config.loss, []).append(table)
    left_out = sum(max(0, len(members) - MAX_LINES) for members in by_loss.values())
    parts: list[Panel] = []
    described = []
    for loss, members in by_loss.items():
        members = members[:MAX_LINES]
        labels = names(members) if len(members) > 1 else ["mean"]
        lines = {}
        for label, table in zip(labels, members, strict=True):
            epochs, losses = curves(table, "loss")
            with np.errstate(over="ignore", invalid="ignore"):
                mean = losses.mean(0, dtype=np.float64)
            lines[label] = pd.Series(mean, index=epochs)
            ends = f"from {number(mean[0])} to {number(mean[-1])} after {epochs[-1]:,}"
            described.append(f"{display(loss)}, {label}: {ends}")
        words = {"title": display(loss), "ylabel": "" if parts else "training loss, mean over seeds"}
        parts.append((plots.loss_lines, {"curves": lines, "references": loss_levels(loss, members), **words}))
    apart = ", a panel for each loss, as their values cannot be compared" if len(parts) > 1 else ""
    rest = f" ({plural(left_out, 'more line')} not drawn)" if left_out else ""
    return figure_of(
        parts,
        "Training loss, mean over seeds, on log axes; the floor is the least that any classifier can expect"
        f"{apart}{rest}.",
        f"Falling curves. {'; '.join(described)}.",
        height=3.9,
    )


def loss_levels(loss: str, tables: Sequence[SeedTable]) -> dict[str, float]:
    """Return the levels that a loss is compared with."""
    if loss not in theory.DEAD_PLATEAU:
        return {}
    floor = theory.bce_floor if loss == "bce" else theory.brier_floor
    floors = {float(floor(table.config.distance, table.config.data)) for table in tables}
    levels = {"Bayes floor": floors.pop()} if len(floors) == 1 else {}
    return levels | {"dead plateau": theory.DEAD_PLATEAU[loss]}


def gradient_ratios(tables: Sequence[SeedTable], curves: Curves) -> pd.DataFrame:
    """Measure how much of the gradient reaches the first layer before the first update.

    Returns
    -------
    DataFrame
        A row per config: `init`, `activation`, `depth`, and `ratio`, the RMS gradient of the first layer over that
        of the last, median over seeds.

    Raises
    ------
    ValueError
        If two configs differ in something else.
    """
    rows = []
    for table in tables:
        _, rms = curves(table, "gradient_rms")  # (networks, layers)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = rms[:, 0] / rms[:, -1]
        middle = np.median(np.where(np.isfinite(ratio), ratio, 0))  # no gradient at all: the lowest rank
        rows.append((table.config.init, table.config.activation, len(table.config.hidden), float(middle)))
    frame = pd.DataFrame(rows, columns=["init", "activation", "depth", "ratio"])
    if frame.duplicated(["init", "activation", "depth"]).any():
        raise ValueError("its configs differ in more than activation, depth and initial weights")
    return frame


def gradient_lines(spec: FigureSpec, tables: Sequence[SeedTable], curves: Curves) -> ReportFigure:
    """Show gradient ratios by depth, a line for each activation, a panel for each initialisation."""
    ratios = gradient_ratios(tables, curves).rename(columns={"depth": "x", "ratio": "y"})
    ratios["line"] = ratios["activation"].map(display)
    looks = styles(ratios["line"])
    inits = [replace(DEFAULT, init=init) for init in dict.fromkeys(ratios["init"])]
    parts: list[Panel] = []
    described = []
    for config in inits:
        frame = ratios[ratios["init"] == config.init]
        title = config.label(inits) or config.init
        arguments = {
            "frame": frame.assign(y=frame["y"].where(frame["y"] > 0)),  # on a log axis
            "references": {"": 1.0},
            "title": title,
            "xlabel": "hidden layers",
            "ylabel": "" if parts else "gradient: first ÷ last layer",
            "styles": looks,
            "log_y": True,
            "log_from": 0.5,
        }
        parts.append((plots.score_lines, arguments))
        described.append(f"{title}: {line_words(frame, '{:.2g}'.format)}")
    return figure_of(
        parts,
        "Before the first update: RMS gradient of the first layer over that of the last, median over seeds; "
        "on the dashed line both are equally large.",
        f"Lines of the gradient ratio against the number of hidden layers. {'; '.join(described)}.",
        height=3.9,
        sharey=True,
    )
