"""The figure of each of the notebook's questions: what the mathematics says, beside what the store measured.

Slopes and gradients of the losses are formulas; every other line and dot is a number of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from qwerties.config import CHOICES
from qwerties.plotting import compare as plots
from qwerties.plotting.axes import Panel
from qwerties.plotting.style import STATES, WIDE, Style, styles
from qwerties.report.answers import points_of
from qwerties.report.contrast_figures import contrast_panel
from qwerties.report.curve_figures import gradient_panels
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.text import display
from qwerties.scoring.predict import activation
from qwerties.stats.compare import Comparison
from qwerties.stats.formats import number, percent

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

NARROW = 6.0  # inches of a figure with one panel
SLOPES: dict[str, Curve] = {
    "relu": lambda u: np.where(u > 0, 1.0, 0.0),
    "linear": np.ones_like,
    "tanh": lambda u: 1 - np.tanh(u) ** 2,
    "sigmoid": lambda u: expit(u) * expit(-u),
}
GRADIENTS: dict[str, Curve] = {"bce": lambda z: expit(-z), "mse": lambda z: 2 * expit(-z) ** 2 * expit(z)}
SLOPE_WORDS = "linear 1 everywhere, ReLU 0 below zero and 1 above, tanh at most 1, sigmoid at most ¼"
SLOPE_CAPTION = "Slope of each activation, by what goes into it; dashed: ¼."
GRADIENT_WORDS = "|p − y| falls from 1 to 0; 2|p − y|p(1 − p) is near 0 at both ends and at most 0.30 between"
GRADIENT_CAPTION = (
    "Size of the gradient at the logit of a point whose label is 1: "
    "|p − y| under BCE, 2|p − y|p(1 − p) under MSE."
)


def _slope(name: str, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an activation's slope; by differences where no formula is given."""
    return SLOPES[name](u) if name in SLOPES else np.gradient(activation(name)(u), u)


def gradients_figure(ratios: pd.DataFrame | None) -> ReportFigure:
    """Show the slopes of the activations, and how much of the gradient reaches the first layer.

    Parameters
    ----------
    ratios : DataFrame or None
        From `curve_figures.gradient_ratios`; None where nothing was measured.
    """
    names = CHOICES["activation"]
    shared = styles(names)
    x = np.linspace(-5, 5, 121)
    frame = pd.DataFrame({display(name): _slope(name, x) for name in names}, index=x)
    frame.loc[x == 0, display("relu")] = np.nan  # the jump
    looks = {display(name): shared[name] for name in names}
    words = {"xlabel": "input of the unit", "title": "slope of the activation"}
    slopes: Panel = (plots.curve_lines, {"frame": frame, "styles": looks, "dashed": 0.25, **words})
    if ratios is None:
        data = frame.rename_axis("input").reset_index()
        return figure_of([slopes], SLOPE_CAPTION, f"Curves. {SLOPE_WORDS}.", data, width=NARROW, height=3.5)
    measured, described = gradient_panels(ratios, shared)
    return figure_of(
        [slopes, *measured],
        f"{SLOPE_CAPTION} Beside it, measured before the first update: RMS gradient of the first layer over that of "
        "the last, median over seeds, by the number of hidden layers; on the dashed line both are equally large.",
        f"Curves of the slopes: {SLOPE_WORDS}. Lines of the gradient ratio against the number of hidden layers. "
        f"{described}.",
        ratios,
        width=WIDE,
        height=3.5,
    )


def losses_figure(compared: Sequence[tuple[str, Comparison]]) -> ReportFigure:
    """Show the gradient at the logit under both losses, and the contrasts of the experiment."""
    z = np.linspace(-8, 8, 121)
    frame = pd.DataFrame({display(name): size(z) for name, size in GRADIENTS.items()}, index=z)
    words = {"xlabel": "sure and wrong  ←  logit  →  sure and right", "title": "gradient at the logit"}
    curves: Panel = (plots.curve_lines, {"frame": frame, "styles": styles(frame.columns), **words})
    if not compared:
        data = frame.rename_axis("logit").reset_index()
        return figure_of(
            [curves], GRADIENT_CAPTION, f"Two curves. {GRADIENT_WORDS}.", data, width=NARROW, height=3.6
        )
    part, described, data, margin = contrast_panel(compared, "difference in accuracy, A − B, in points")
    band = "" if margin is None else f"; the band is ±δ = {points_of(margin)}"
    return figure_of(
        [curves, part],
        f"{GRADIENT_CAPTION} Beside it, measured: mean paired difference in population accuracy of each contrast, "
        f"with its interval{band}.",
        f"Two curves: {GRADIENT_WORDS}. Dots with intervals, one row per contrast: {described}.",
        data,
        width=WIDE,
        height=3.6,
        ratios=(1.3, 1.0),
    )


def training_figure(
    shares: pd.DataFrame | None,
    curves: Mapping[str, pd.DataFrame],
    levels: Mapping[str, float],
    by_width: pd.DataFrame | None,
) -> ReportFigure | None:
    """Show what longer training and more units did; None where neither was measured.

    Parameters
    ----------
    shares, by_width : DataFrame or None
        Columns `x`, `what`, `y`, `lo`, `hi`: shares of seeds by epochs, and by hidden units.
    curves : mapping of state to DataFrame
        Mean loss of the networks that ended in it, as `plotting.compare.loss_lines` takes it.
    levels : mapping of name to float
        Reference levels of the loss.
    """
    parts: list[Panel] = []
    captions, described = [], []
    what = [name for frame in (shares, by_width) if frame is not None for name in frame["what"]]
    looks: dict[str, Style] = {
        name: look._replace(color=STATES.get(name, look.color))
        for name, look in styles([*curves, *what]).items()
    }
    if shares is not None:
        parts.append(_shares(shares, "epochs", looks))
        captions.append("shares of the networks, with 95% intervals, by how long they were trained")
        described.append(f"Lines of shares against epochs. {_listed(shares)}")
    if curves:
        words = {"title": "loss, by how they ended", "ylabel": ""}
        parts.append((plots.loss_lines, {"curves": curves, "references": levels, "styles": looks, **words}))
        captions.append("mean training loss of those that ended alike, with its reference levels")
        ends = "; ".join(f"{name} {number(float(c['train_loss'].iloc[-1]))}" for name, c in curves.items())
        marks = ", ".join(f"{name} {number(level)}" for name, level in levels.items())
        described.append(f"Curves of the mean loss by final state, which end at {ends}. Dashed: {marks}")
    if by_width is not None:
        parts.append(_shares(by_width, "hidden units", looks))
        captions.append("shares by the number of hidden units")
        described.append(f"Lines of shares against hidden units. {_listed(by_width)}")
    if not parts:
        return None
    caption = "; ".join(captions)
    measured = {"epochs": shares, "hidden units": by_width}
    data = [frame.assign(by=by) for by, frame in measured.items() if frame is not None]
    return figure_of(
        parts,
        f"{caption[0].upper()}{caption[1:]}.",
        f"{'. '.join(described)}.",
        pd.concat(data, ignore_index=True) if data else None,
        width=WIDE if len(parts) > 1 else NARROW,
        height=3.7,
    )


def _shares(frame: pd.DataFrame, xlabel: str, looks: Mapping[str, Style]) -> Panel:
    lines = frame.rename(columns={"what": "line"})
    words = {"xlabel": xlabel, "title": "share of seeds", "percent": True}
    return plots.score_lines, {"frame": lines, "styles": looks, **words}


def _listed(frame: pd.DataFrame) -> str:
    return "; ".join(
        f"{what}: " + ", ".join(f"{percent(y)} at {x:g}" for x, y in zip(part["x"], part["y"], strict=True))
        for what, part in frame.groupby("what", sort=False)
    )
