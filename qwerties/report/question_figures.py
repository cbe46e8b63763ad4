"""The figure of each of the notebook's questions: what the mathematics says, beside what the store measured.

Slopes and gradients of the losses are formulas; every other line and dot is a number of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit

from qwerties.config import CHOICES, DEFAULT
from qwerties.plotting import compare as figures
from qwerties.plotting import style as theme
from qwerties.plotting.axes import end_labels, fixed_ticks, short
from qwerties.report.figures import Picture, as_picture
from qwerties.scoring.predict import activation
from qwerties.stats.compare import Comparison
from qwerties.stats.formats import number, percent

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

WIDE = 9.6
REACH = {"slopes": 5.0, "gradients": 8.0}
"""How far the curves of the formulas go to either side."""

SLOPES: dict[str, Curve] = {
    "relu": lambda u: np.where(u > 0, 1.0, 0.0),
    "linear": np.ones_like,
    "tanh": lambda u: 1 - np.tanh(u) ** 2,
    "sigmoid": lambda u: expit(u) * expit(-u),
}
GRADIENTS: dict[str, Curve] = {
    "bce": lambda z: expit(-z),
    "mse": lambda z: 2 * expit(-z) ** 2 * expit(z),
}


def _slope(name: str, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an activation's slope; by differences where no formula is given."""
    return SLOPES[name](u) if name in SLOPES else np.gradient(activation(name)(u), u)


SAID_SLOPES = "Slope of each activation, by what goes into it"
SAID_GRADIENTS = (
    "Size of the gradient at the logit of a point whose label is 1: "
    "|p − y| under bce, 2|p − y|p(1 − p) under mse"
)


@theme.look
def curve_lines(
    ax: Axes,
    frame: pd.DataFrame,
    styles: Mapping[str, theme.Style],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
) -> Axes:
    """Draw smooth curves, named where they end.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        Index: x, evenly spaced. A column for each curve.
    styles : mapping of column to Style
    xlabel, ylabel, title : str

    Returns
    -------
    Axes
    """
    theme.dress(ax, grid="both", title=title, xlabel=xlabel, ylabel=ylabel)
    labels = []
    for i, (name, y) in enumerate(frame.items()):
        style = styles[str(name)]
        every = (5 * i + 4, max(len(frame) // 6, 1))
        look = {"color": style.color, "ls": style.dash, "marker": style.marker, "markevery": every}
        ax.plot(frame.index, y, lw=1.8, ms=5, mec=theme.CARD, mew=0.8, zorder=3 + i, **look)
        labels.append((float(y.iloc[-1]), str(name), style.color))
    ax.set_xlim(frame.index[0], frame.index[-1])
    ax.margins(y=0.06)
    end_labels(ax, labels)
    return ax


def _axes(height: float, *ratios: float) -> tuple[Figure, list[Axes]]:
    """Panels side by side, narrower figures where there are few."""
    width = WIDE if len(ratios) > 1 else 6.0
    return theme.figure(width, height, panels=len(ratios), width_ratios=ratios)


def _grid(reach: float) -> NDArray[np.float64]:
    return np.linspace(-reach, reach, 121)


def gradients(ratios: pd.DataFrame | None) -> Picture:
    """Draw the slopes of the activations, and how much of the gradient reaches the first layer.

    Parameters
    ----------
    ratios : DataFrame or None
        From `illustrations.gradient_ratios`; None where nothing was measured.
    """
    inits = [] if ratios is None else list(dict.fromkeys(ratios["init"]))
    styles = theme.styles(CHOICES["activation"])
    fig, axes = _axes(3.5, *[1.0] * (1 + len(inits)))
    x = _grid(REACH["slopes"])
    frame = pd.DataFrame({name: _slope(name, x) for name in CHOICES["activation"]}, index=x)
    frame.loc[x == 0, "relu"] = np.nan  # the jump
    curve_lines(
        axes[0], frame, styles, xlabel="input of the unit", ylabel="", title="slope of the activation"
    )
    axes[0].axhline(0.25, **figures.DASHED)
    fixed_ticks(axes[0].yaxis, [0, 0.25, 0.5, 0.75, 1])
    if ratios is None:
        return as_picture(fig, f"{SAID_SLOPES}; dashed: ¼.", f"Curves. {_slopes()}.")
    told = []
    for i, (ax, init) in enumerate(zip(axes[1:], inits, strict=True)):
        part = ratios[ratios["init"] == init]
        table = part.pivot_table(index="depth", columns="activation", values="ratio")
        table = table[[name for name in CHOICES["activation"] if name in table]]
        title = replace(DEFAULT, init=init).label([replace(DEFAULT, init=other) for other in CHOICES["init"]])
        figures.gradient_lines(ax, table, title=title, styles=styles)
        if i:
            ax.sharey(axes[1])
            ax.autoscale(axis="y")
        ax.set_ylabel("gradient: first ÷ last layer" if i == 0 else "")
        told += [
            f"{title}, {name}: "
            + ", ".join(f"{short(float(f'{v:.2g}'))} at {depth}" for depth, v in column.items())
            for name, column in table.items()
        ]
    return as_picture(
        fig,
        f"{SAID_SLOPES}; dashed: ¼. Beside it, measured before the first update: RMS gradient of the first layer over "
        "that of the last, median over seeds, by the number of hidden layers; on the dashed line both are equally "
        "large.",
        f"Curves of the slopes: {_slopes()}. Lines of the gradient ratio against the number of hidden layers. "
        f"{'; '.join(told)}.",
    )


def _slopes() -> str:
    return "linear 1 everywhere, relu 0 below zero and 1 above, tanh at most 1, sigmoid at most ¼"


def losses(compared: Sequence[tuple[str, Comparison]]) -> Picture:
    """Draw the gradient at the logit under both losses, and the contrasts of the experiment."""
    fig, axes = _axes(3.6, *((1.3, 1.0) if compared else (1.0,)))
    z = _grid(REACH["gradients"])
    frame = pd.DataFrame({name: size(z) for name, size in GRADIENTS.items()}, index=z)
    styles = theme.styles(GRADIENTS)
    curve_lines(
        axes[0],
        frame,
        styles,
        xlabel="sure and wrong  ←  logit  →  sure and right",
        ylabel="",
        title="gradient at the logit",
    )
    formulas = "|p − y| falls from 1 to 0; 2|p − y|p(1 − p) is near 0 at both ends and at most 0.30 between"
    if not compared:
        return as_picture(fig, f"{SAID_GRADIENTS}.", f"Two curves. {formulas}.")
    frame = pd.DataFrame(
        [(label, c.estimate, c.low, c.high) for label, c in compared],
        columns=["label", "y", "lo", "hi"],
    )
    deltas = {found.margin for _, found in compared}
    delta = deltas.pop() if len(deltas) == 1 else None
    figures.score_points(
        axes[1],
        frame,
        "label",
        "y",
        "lo",
        "hi",
        {"no difference": 0.0},
        xlabel="difference in accuracy, A − B",
        band=None if delta is None else (-delta, delta),
    )
    told = "; ".join(
        f"{label} {number(y, sign=True)} [{number(lo, sign=True)}, {number(hi, sign=True)}]"
        for label, y, lo, hi in frame.itertuples(index=False)
    )
    band = "" if delta is None else f"; the band is ±δ = {delta:g}"
    return as_picture(
        fig,
        f"{SAID_GRADIENTS}. Beside it, measured: mean paired difference in population accuracy of each contrast, with "
        f"its interval{band}.",
        f"Two curves: {formulas}. Dots with intervals, one row per contrast: {told}.",
    )


def training(
    shares: pd.DataFrame | None,
    curves: Mapping[str, pd.DataFrame],
    levels: Mapping[str, float],
    by_width: pd.DataFrame | None,
) -> Picture | None:
    """Draw what longer training and more units did; None where neither was measured.

    Parameters
    ----------
    shares, by_width : DataFrame or None
        Columns `x`, `what`, `y`, `lo`, `hi`: shares of seeds by epochs, and by hidden units.
    curves : mapping of state to DataFrame
        Mean loss of the networks that ended in it, as `figures.loss_lines` takes it.
    levels : mapping of name to float
        Reference levels of the loss.
    """
    panels = [(shares is not None, 1.0), (bool(curves), 1.15), (by_width is not None, 1.0)]
    if not any(there for there, _ in panels):
        return None
    fig, found = _axes(3.7, *[ratio for there, ratio in panels if there])
    axes = iter(found)
    captions, told = [], []
    named = [] if shares is None else list(shares["what"])
    named += [] if by_width is None else list(by_width["what"])
    styles = theme.styles(named)
    styles = {name: look._replace(color=theme.STATES.get(name, look.color)) for name, look in styles.items()}
    if shares is not None:
        _shares(next(axes), shares, "epochs", styles)
        captions.append("shares of the networks, with 95% intervals, by how long they were trained")
        told.append(f"Lines of shares against epochs. {_listed(shares)}")
    if curves:
        looks = theme.styles(curves)
        looks = {name: look._replace(color=theme.STATES[name]) for name, look in looks.items()}
        figures.loss_lines(
            next(axes), curves, levels, title="loss, by how they ended", ylabel="", styles=looks
        )
        captions.append("mean training loss of those that ended alike, with its reference levels")
        ends = "; ".join(f"{name} {number(float(c['train_loss'].iloc[-1]))}" for name, c in curves.items())
        marks = ", ".join(f"{name} {number(level)}" for name, level in levels.items())
        told.append(f"Curves of the mean loss by final state, which end at {ends}. Dashed: {marks}")
    if by_width is not None:
        _shares(next(axes), by_width, "hidden units", styles)
        captions.append("shares by the number of hidden units")
        told.append(f"Lines of shares against hidden units. {_listed(by_width)}")
    caption = "; ".join(captions)
    return as_picture(fig, f"{caption[0].upper()}{caption[1:]}.", f"{'. '.join(told)}.")


def _shares(ax: Axes, frame: pd.DataFrame, xlabel: str, styles: figures.Styles) -> None:
    figures.score_lines(
        ax,
        frame,
        "x",
        "y",
        "lo",
        "hi",
        "what",
        xlabel=xlabel,
        ylabel=" ",
        title="share of seeds",
        styles=styles,
    )
    ax.set_ylabel("")
    ax.set_ylim(-0.03, 1.03)
    fixed_ticks(ax.yaxis, np.arange(5) / 4, ["0", "25%", "50%", "75%", "100%"])


def _listed(frame: pd.DataFrame) -> str:
    return "; ".join(
        f"{what}: " + ", ".join(f"{percent(y)} at {x:g}" for x, y in zip(part["x"], part["y"], strict=True))
        for what, part in frame.groupby("what", sort=False)
    )
