"""The notebook's three questions: what the words mean, one figure each, and links to where the answer is measured.

The explanations (``templates/questions.md``) and the first two figures are mathematics. The third figure shows how the
loss of tracked networks fell.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from markupsafe import Markup
from scipy.special import expit

from qwerties.analysis.tables import SeedTable
from qwerties.config import CHOICES, DEFAULT
from qwerties.errors import command, plural
from qwerties.plotting import compare as plots
from qwerties.plotting.style import STATES, styles
from qwerties.report.curve_figures import loss_levels
from qwerties.report.elements import Block, Heading, Notice, Section, Text
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.results import Results
from qwerties.report.text import display, markdown, source
from qwerties.scoring.predict import activation
from qwerties.stats.formats import number
from qwerties.tracking.store import StoreError

TITLE, ANCHOR = "The notebook’s questions explained", "questions"
LAST = 0.25  # the last part of the training, over which the fall of the loss is measured
HEIGHT = 3.4  # inches of a figure


def build(results: Results) -> Section | None:
    """Explain, and link to the measurements; None for a study without any of these experiments."""
    if not any(name in results.by_name for _, _, names, _ in QUESTIONS.values() for name in names):
        return None
    parts = re.split(r"^# (\w+)\n", source("questions.md").replace("'", "’"), flags=re.MULTILINE)[1:]
    explanations = dict(zip(parts[::2], parts[1::2], strict=True))
    blocks: list[Block] = []
    for key, (question, quote, experiment_names, make_figure) in QUESTIONS.items():
        blocks += [
            Heading(question),
            Text(Markup("<p>“{}”</p>").format(quote), "asked"),
            Text(markdown(explanations[key])),
        ]
        if figure := make_figure(results):
            blocks.append(figure)
        if links := results.section_links(experiment_names):
            blocks.append(Text(Markup("<p>Measured in: {}.</p>").format(links)))
        if missing := list(filter(None, (_missing(results, name) for name in experiment_names))):
            blocks.append(Notice(missing))
    return Section(blocks)


def _missing(results: Results, name: str) -> str:
    """Tell what is missing of an experiment that an answer rests on; nothing where nothing is."""
    result = results.by_name.get(name)
    if result is None:
        what = "is not in the store"
    elif not result.networks:
        what = "has no network in the store yet"
    elif result.incomplete or not result.coverage.complete:
        planned = len(result.coverage.entries)
        what = (
            f"is not complete, with {planned - len(result.incomplete)} of {plural(planned, 'config')} tracked"
        )
    else:
        return ""
    return f"experiments/{name}.py {what}: {command('sweep', name)} trains it."


def _slopes(results: Results) -> ReportFigure:
    names, x, step = CHOICES["activation"], np.linspace(-5, 5, 121), 1e-4
    slopes = {name: (activation(name)(x + step) - activation(name)(x - step)) / (2 * step) for name in names}
    frame = pd.DataFrame({display(name): slope for name, slope in slopes.items()}, index=x)
    frame.loc[x == 0, display("relu")] = np.nan  # the jump
    looks = {display(name): look for name, look in styles(names).items()}
    words = {"xlabel": "input of the unit", "title": "slope of the activation"}
    return figure_of(
        [(plots.curve_lines, {"frame": frame, "styles": looks, "dashed": 0.25, **words})],
        "Slope of each activation, by what goes into it; dashed: ¼.",
        "Curves. linear 1 everywhere, ReLU 0 below zero and 1 above, tanh at most 1, sigmoid at most ¼.",
        height=HEIGHT,
    )


def _gradients(results: Results) -> ReportFigure:
    z = np.linspace(-8, 8, 121)
    sizes = {"bce": expit(-z), "mse": 2 * expit(-z) ** 2 * expit(z)}
    frame = pd.DataFrame({display(name): size for name, size in sizes.items()}, index=z)
    words = {"xlabel": "sure and wrong  ←  logit  →  sure and right", "title": "gradient at the logit"}
    return figure_of(
        [(plots.curve_lines, {"frame": frame, "styles": styles(frame.columns), **words})],
        "Size of the gradient at the logit of a point whose label is 1: |p − y| under BCE, 2|p − y|p(1 − p) under MSE.",
        "Two curves. |p − y| falls from 1 to 0; 2|p − y|p(1 − p) is near 0 at both ends and at most 0.30 between.",
        height=HEIGHT,
    )


def _family(results: Results) -> list[SeedTable]:
    """Return configs of `epochs` that differ in epochs alone, by epochs: the notebook's, else those of the first."""
    experiment = results.by_name.get("epochs")
    tables = [t for t in experiment.networks.values() if "weight_seed" not in t.frame] if experiment else []
    rest = [table.config.without_epochs for table in tables]
    base = DEFAULT.without_epochs if DEFAULT.without_epochs in rest else rest[0] if rest else None
    family = (table for table, other in zip(tables, rest, strict=True) if other == base)
    return sorted(family, key=lambda table: table.config.epochs)


def _endings(results: Results) -> ReportFigure | None:
    """Show the mean loss of the networks that ended alike, after the longest training; None without curves."""
    curves: dict[str, pd.Series] = {}
    falls = []
    for table in _family(results):
        try:
            epochs, losses = results.curves(table, "loss")  # (networks, epochs)
        except StoreError:  # the experiment's own section says so
            continue
        mean = losses.mean(0, dtype=np.float64)
        before = float(np.interp(np.log((1 - LAST) * table.config.epochs), np.log(epochs), mean))
        fall = 100 * (1 - float(mean[-1]) / before) if before > 0 else np.nan
        falls += [f"{fall:.1f}% ({plural(table.config.epochs, 'epoch')})"] if np.isfinite(fall) else []
        curves = {
            state: pd.Series(losses[own].mean(0, dtype=np.float64), index=epochs)
            for state in STATES
            if state != "diverged" and (own := table.frame["state"].eq(state).to_numpy()).any()
        }
        levels = loss_levels(table.config.loss, [table])
        if {"train_loss", "excess_loss"} <= set(table.frame):
            loss, excess = (
                pd.to_numeric(table.frame[name], errors="coerce") for name in ("train_loss", "excess_loss")
            )
            if (known := np.isfinite(loss) & np.isfinite(excess)).any():
                levels["sample’s optimum"] = float((loss - excess)[known].mean())
    if not curves:
        return None
    looks = {name: look._replace(color=STATES[name]) for name, look in styles(curves).items()}
    fell = (
        f" Over the last quarter of the training, the mean loss of all networks fell by {', '.join(falls)}."
    )
    ends = "; ".join(f"{name} {number(float(loss.iloc[-1]))}" for name, loss in curves.items())
    marks = ", ".join(f"{name} {number(level)}" for name, level in levels.items())
    return figure_of(
        [(plots.loss_lines, {"curves": curves, "references": levels, "styles": looks})],
        f"Mean training loss of the networks trained longest, by how they ended.{fell if falls else ''}",
        f"Curves of the mean loss by final state, which end at {ends}. Dashed: {marks}.",
        height=HEIGHT,
    )


QUESTIONS: dict[str, tuple[str, str, tuple[str, ...], Callable[[Results], ReportFigure | None]]] = {
    "gradients": (
        "Why ReLU inside and a sigmoid at the end?",
        "… it helps to mitigate the vanishing gradient (Need to know what is this) problem.",
        ("depth", "activation", "xor"),
        _slopes,
    ),
    "losses": (
        "Why BCELoss and not MSELoss?",
        "This problem is a BCELoss problem. What does that mean?",
        ("loss", "tune_loss"),
        _gradients,
    ),
    "training": (
        "The curve has not flattened: train for longer?",
        "… with 1500 epochs, the curve has still not yet asymptoted. So the model can still learn.",
        ("epochs", "width"),
        _endings,
    ),
}
