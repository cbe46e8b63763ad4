"""Evidence over units: how the interval of a mean difference narrowed as units came in."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from qwerties.plotting.axes import end_labels, epoch_ticks, fixed_ticks
from qwerties.plotting.style import BAND, CLASSES, FAINT, INK, MUTED, REFERENCE, dress, look


@look
def evidence(
    ax: Axes,
    counts: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    estimate: ArrayLike,
    margin: float,
    t_low: ArrayLike | None = None,
    t_high: ArrayLike | None = None,
    decided: int | None = None,
    *,
    unit: str = "seed",
    ylabel: str = "mean difference, A − B",
    title: str = "",
) -> Axes:
    """Draw the interval against the number of units, on a log axis, with the margin and the point of decision.

    Parameters
    ----------
    ax : Axes
    counts : array_like, shape (k,)
        Numbers of units, increasing, from 1.
    low, high, estimate : array_like, shape (k,)
        Bounds of the interval and the mean at each count, in the unit of the metric.
    margin : float
        Differences within ±margin do not matter: the grey band.
    t_low, t_high : array_like, shape (k,), optional
        Bounds of Student's t interval, drawn faintly; NaN where it is undefined.
    decided : int, optional
        The count from which the verdict is final.
    unit : str
        What a unit is, in the singular.
    ylabel, title : str

    Returns
    -------
    Axes
    """
    counts, low, high, estimate = (
        np.asarray(values, float) for values in (counts, low, high, estimate)
    )  # (k,)
    dress(ax, title=title, xlabel=f"{unit}s compared", ylabel=ylabel)
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_xlim(counts[0], max(counts[-1], counts[0] + 1))
    fixed_ticks(ax.xaxis, epoch_ticks(counts[-1]))
    reach = max(3 * margin, 1.8 * abs(low[-1]), 1.8 * abs(high[-1]))  # early intervals come in from beyond
    ax.set_ylim(-reach, reach)
    ax.axhspan(-margin, margin, color=MUTED, alpha=0.14, lw=0, zorder=0.6)
    ax.axhline(0, color=MUTED, lw=0.8, zorder=1)
    if t_low is not None and t_high is not None:
        for bound in (np.asarray(t_low, float), np.asarray(t_high, float)):
            ax.plot(counts, bound, color=FAINT, lw=1, ls=REFERENCE["ls"], zorder=2)
    ax.fill_between(counts, low, high, color=CLASSES[0], alpha=BAND, lw=0, zorder=1.5)
    for bound in (low, high):
        ax.plot(counts, bound, color=CLASSES[0], lw=1.4, zorder=3)
    ax.plot(counts, estimate, color=INK, lw=1.2, zorder=3)
    if decided is not None:
        ax.axvline(decided, color=CLASSES[1], lw=1.4, zorder=2.5)
    _name(ax, low, high, estimate, margin, t_low, t_high, decided, unit)
    return ax


def _name(
    ax: Axes,
    low: np.ndarray,
    high: np.ndarray,
    estimate: np.ndarray,
    margin: float,
    t_low: ArrayLike | None,
    t_high: ArrayLike | None,
    decided: int | None,
    unit: str,
) -> None:
    """Name each line where it ends, and the point of decision above the axes."""
    labels = [(float(high[-1]), "interval", CLASSES[0]), (float(estimate[-1]), "mean", INK)]
    if abs(margin) < ax.get_ylim()[1]:
        labels.append((-margin, "margin", MUTED))
    if t_low is not None and t_high is not None:
        labels.append((float(np.asarray(t_low)[-1]), "Student’s t", MUTED))
    end_labels(ax, [label for label in labels if np.isfinite(label[0])])
    if decided is not None:
        place = ax.get_xaxis_transform()
        text = f"decided at {decided:,} {unit}s "
        ax.text(decided, 0.03, text, transform=place, ha="right", va="bottom", color=CLASSES[1], size=9)
