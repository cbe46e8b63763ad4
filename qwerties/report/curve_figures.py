"""Arrays of ``curves.npz`` -> figures: losses by epoch, and how much of the gradient reaches the first layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, Config
from qwerties.errors import plural
from qwerties.plotting import compare as plots
from qwerties.plotting.axes import Panel
from qwerties.plotting.style import Style, styles
from qwerties.report.figure_words import names
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.text import display
from qwerties.scoring import theory
from qwerties.stats.formats import number
from qwerties.study.plan import FigureSpec

MAX_LINES = 6  # loss curves in one panel

Curves = Callable[[SeedTable, str], tuple[np.ndarray, np.ndarray]]


def loss_lines(spec: FigureSpec, tables: Sequence[SeedTable], curves: Curves) -> ReportFigure:
    """Show mean training losses by epoch, a panel for each loss; of configs that differ in epochs, the longest."""
    longest: dict[Config, SeedTable] = {}
    for table in tables:
        kept = longest.get(table.config.without_epochs)
        if kept is None or kept.config.epochs < table.config.epochs:
            longest[table.config.without_epochs] = table
    by_loss: dict[str, list[SeedTable]] = {}
    for table in longest.values():
        by_loss.setdefault(table.config.loss, []).append(table)
    left_out = sum(max(0, len(members) - MAX_LINES) for members in by_loss.values())
    parts: list[Panel] = []
    described, rows = [], []
    for loss, members in by_loss.items():
        members = members[:MAX_LINES]
        labels = names(members) if len(members) > 1 else ["mean"]
        lines = {}
        for label, table in zip(labels, members, strict=True):
            epochs, losses = per_network(curves, table, "loss")
            with np.errstate(over="ignore", invalid="ignore"):
                mean = losses.mean(0, dtype=np.float64)
            lines[label] = pd.DataFrame({"train_loss": mean}, index=epochs)
            ends = f"from {number(mean[0])} to {number(mean[-1])} after {epochs[-1]:,}"
            described.append(f"{display(loss)}, {label}: {ends}")
            rows.append(lines[label].rename_axis("epoch").reset_index().assign(loss=loss, config=label))
        references = loss_levels(loss, members)
        words = "" if parts else "training loss, mean over seeds"
        arguments = {"curves": lines, "references": references, "title": display(loss), "ylabel": words}
        parts.append((plots.loss_lines, arguments))
    apart = ", a panel for each loss, as their values cannot be compared" if len(parts) > 1 else ""
    rest = f" ({plural(left_out, 'more line')} not drawn)" if left_out else ""
    return figure_of(
        parts,
        "Training loss, mean over seeds, on log axes; the floor is the least that any classifier can expect"
        f"{apart}{rest}.",
        f"Falling curves. {'; '.join(described)}.",
        pd.concat(rows, ignore_index=True),
        height=3.9,
    )


def per_network(curves: Curves, table: SeedTable, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the epochs kept and one array of ``curves.npz``, (networks, ...).

    Raises
    ------
    ValueError
        If the array is not one row per network.
    """
    epochs, values = curves(table, name)
    if values.ndim != 2 or 0 in values.shape or len(values) != len(table.frame):
        raise ValueError(f"{name} in curves.npz must be (networks, ...), got {values.shape}")
    if name == "loss" and values.shape[1] != len(epochs):
        raise ValueError(f"loss in curves.npz must be (networks, {len(epochs)}), got {values.shape}")
    return epochs, values


def loss_levels(loss: str, tables: Sequence[SeedTable]) -> dict[str, float]:
    """Return the levels that a loss is compared with."""
    floor = theory.bce_floor if loss == "bce" else theory.brier_floor
    floors = {float(floor(table.config.distance, table.config.data)) for table in tables}
    levels = {"Bayes floor": floors.pop()} if len(floors) == 1 and loss in theory.DEAD_PLATEAU else {}
    return levels | ({"dead plateau": theory.DEAD_PLATEAU[loss]} if loss in theory.DEAD_PLATEAU else {})


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
        _, rms = per_network(curves, table, "gradient_rms")  # (networks, layers)
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
    frame = gradient_ratios(tables, curves)
    parts, described = gradient_panels(frame, styles(frame["activation"]))
    return figure_of(
        parts,
        "Before the first update: RMS gradient of the first layer over that of the last, median over seeds; "
        "on the dashed line both are equally large.",
        f"Lines of the gradient ratio against the number of hidden layers. {described}.",
        frame,
        height=3.9,
        sharey=True,
    )


def gradient_panels(ratios: pd.DataFrame, shared: Mapping[str, Style]) -> tuple[list[Panel], str]:
    """Return a panel of gradient ratios for each initialisation, and the ratios in words."""
    parts: list[Panel] = []
    described = []
    inits = list(dict.fromkeys(ratios["init"]))
    for init in inits:
        own = ratios[(ratios["init"] == init)]
        title = init_words(init, inits)
        line = own["activation"].map(display)
        frame = pd.DataFrame({"x": own["depth"], "y": own["ratio"].where(own["ratio"] > 0), "line": line})
        looks = {display(name): look for name, look in shared.items()}
        axes = {"log_y": True, "log_from": 0.5, "xlabel": "hidden layers", "styles": looks}
        ylabel = "" if parts else "gradient: first ÷ last layer"
        arguments = {"frame": frame, "references": {"": 1.0}, "title": title, "ylabel": ylabel, **axes}
        parts.append((plots.score_lines, arguments))
        for name, part in own.groupby("activation", sort=False):
            values = ", ".join(f"{r:.2g} at {d}" for d, r in zip(part["depth"], part["ratio"], strict=True))
            described.append(f"{title}, {display(name)}: {values}")
    return parts, "; ".join(described)


def init_words(init: str, among: Sequence[str]) -> str:
    """Name an initialisation as configs do."""
    return replace(DEFAULT, init=init).label([replace(DEFAULT, init=other) for other in among]) or init
