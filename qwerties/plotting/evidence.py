"""Evidence over units: how the interval of a mean difference narrowed as units came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from qwerties.errors import plural
from qwerties.plotting.axes import end_labels, epoch_ticks, log_axis, name_axes, ticks_at
from qwerties.plotting.style import BAND, CARD, CLASSES, FAINT, INK, MUTED, REFERENCE


def evidence(
    ax: Axes,
    frame: pd.DataFrame,
    *,
    margin: float,
    decided: int | None = None,
    unit: str = "seed",
) -> Axes:
    """Draw the interval against the number of units, on a log axis, with the margin and the point of decision.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        One row per number of units: ``count``, increasing from 1; ``low``, ``high`` and ``estimate``, the bounds of the
        interval and the mean, in the unit of the metric; ``t_low`` and ``t_high``, the bounds of Student's t interval,
        drawn faintly, NaN where they are undefined.
    margin : float
        Differences within ±margin do not matter: the grey band.
    decided : int, optional
        The count from which the verdict is final.
    unit : str
        What a unit is, in the singular.
    """
    name_axes(ax, xlabel=f"{unit}s compared", ylabel="mean difference, A − B")
    counts, low, high, estimate, t_low, t_high = (
        frame[name].to_numpy(float) for name in ("count", "low", "high", "estimate", "t_low", "t_high")
    )  # (counts,)
    log_axis(ax.xaxis)
    ax.set_xlim(counts[0], max(counts[-1], counts[0] + 1))
    ticks_at(ax, epoch_ticks(counts[-1]))
    reach = max(3 * margin, 1.8 * abs(low[-1]), 1.8 * abs(high[-1]))  # early intervals come in from beyond
    ax.set_ylim(-reach, reach)
    ax.axhspan(-margin, margin, color=MUTED, alpha=0.14, lw=0, zorder=0.6)
    ax.axhline(0, color=MUTED, lw=0.8, zorder=1)
    for bound in (t_low, t_high):
        ax.plot(counts, bound, color=FAINT, lw=1, ls=REFERENCE["ls"], zorder=2)
    ax.fill_between(counts, low, high, color=CLASSES[0], alpha=BAND, lw=0, zorder=1.5)
    for bound in (low, high):
        ax.plot(counts, bound, color=CLASSES[0], lw=1.4, zorder=3)
    ax.plot(counts, estimate, color=INK, lw=1.2, zorder=3)
    labels = [(high[-1], "interval", CLASSES[0]), (estimate[-1], "mean", INK)]
    labels.append((t_low[-1], "Student’s t", MUTED))
    labels += [(-margin, "margin", MUTED)] if abs(margin) < reach else []
    end_labels(ax, labels)
    if decided is not None:
        ax.axvline(decided, color=CLASSES[1], lw=1.4, zorder=2.5)
        side = "right" if decided > np.sqrt(counts[0] * counts[-1]) else "left"  # the side with more room
        place: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": side, "va": "bottom", "size": 9}
        text = ax.text(decided, 0.03, f" decided at {plural(decided, unit)} ", color=CLASSES[1], **place)
        text.set_bbox({"fc": CARD, "ec": "none", "alpha": 0.85, "pad": 0.5})  # an interval may pass behind it
    return ax
