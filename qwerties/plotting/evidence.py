"""Evidence over units: how the interval of a mean difference narrowed as units came in."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from qwerties.plotting.axes import end_labels, epoch_ticks, log_axis, name_axes, ticks_at
from qwerties.plotting.style import BAND, CLASSES, FAINT, INK, MUTED, REFERENCE
from qwerties.stats.planning import Narrowing


def evidence(ax: Axes, course: Narrowing, *, margin: float, unit: str = "seed") -> Axes:
    """Draw the interval against the number of units, on a log axis, with the margin and the point of decision.

    Parameters
    ----------
    course : Narrowing
        In the unit of the metric, with counts that increase from 1. Student's t interval is drawn faintly.
    margin : float
        Differences within ±margin do not matter: the grey band.
    unit : str
        What a unit is, in the singular.
    """
    name_axes(ax, xlabel=f"{unit}s compared", ylabel="mean difference, A − B")
    counts, low, high, estimate, t_low, t_high, decided = course
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
    named = [(high[-1], "interval", CLASSES[0]), (estimate[-1], "mean", INK)]
    end_labels(ax, [*named, (t_low[-1], "Student’s t", MUTED), (-margin, "margin", MUTED)])
    if decided is not None:
        ax.axvline(decided, color=CLASSES[1], lw=1.4, zorder=2.5)
        side = "right" if decided > np.sqrt(counts[0] * counts[-1]) else "left"  # the side with more room
        place: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": side, "va": "bottom", "size": 9}
        ax.text(decided, 0.03, f" decided at {decided:,} {unit}s ", color=CLASSES[1], **place)
    return ax
