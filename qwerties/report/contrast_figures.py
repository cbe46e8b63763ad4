"""Comparisons -> figures: contrasts on one scale, and how the evidence of one came in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qwerties.errors import plural
from qwerties.plotting import compare as plots
from qwerties.plotting.evidence import evidence
from qwerties.report.answers import points_of
from qwerties.report.figure_words import MAX_ROWS, spaced
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.stats.compare import Comparison
from qwerties.stats.formats import number
from qwerties.stats.planning import narrowing


def contrasts_figure(compared: Sequence[tuple[str, Comparison]]) -> ReportFigure:
    """Show the mean paired difference of each contrast on one scale, with the margin shaded where it is the same.

    Of more than `MAX_ROWS` those with the largest differences, to either side.
    """
    every = len(compared)
    if every > MAX_ROWS:
        sizes = [abs(comparison.estimate) for _, comparison in compared]
        compared = [compared[i] for i in sorted(np.argsort(sizes, kind="stable")[-MAX_ROWS:].tolist())]
    points = [(label, 100 * c.estimate, 100 * c.low, 100 * c.high) for label, c in compared]
    margins = {comparison.margin for _, comparison in compared}
    margin = margins.pop() if len(margins) == 1 else None
    arguments = {
        "frame": pd.DataFrame(points, columns=["label", "y", "lo", "hi"]),
        "references": {"no difference": 0.0},
        "xlabel": "difference in accuracy, A − B, in points",
        "band": None if margin is None else (-100 * margin, 100 * margin),
        "digits": 1,
    }
    listed = "; ".join(
        f"{label} {number(y, 1, sign=True)} {_bounds(low, high, 1)}" for label, y, low, high in points
    )
    return figure_of(
        [(plots.score_points, arguments)],
        "Mean paired difference of each contrast, A − B, with the interval that its verdict comes from."
        + (f" The band is ±δ = {points_of(margin)}, differences too small to matter." if margin else "")
        + (
            f" The {MAX_ROWS} largest of {every:,}, in the plan's order; the others are in the table."
            if every > MAX_ROWS
            else ""
        ),
        f"Dots with intervals, one row per contrast: {listed}.",
        height=plots.rows_height(len(points)),
    )


def evidence_figure(name: str, comparison: Comparison) -> ReportFigure:
    """Show how the interval of a contrast narrowed as seeds came in, beside what Student's t would have claimed."""
    course = narrowing(
        comparison.differences, alpha=comparison.alpha, margin=comparison.margin, bounds=comparison.bounds
    )
    decided = "not decided yet" if course.decided is None else f"decided after {course.decided:,} seeds"
    listed = "; ".join(
        f"{plural(int(course.counts[i]), 'seed')} {_bounds(course.low[i], course.high[i])}"
        for i in spaced(len(course.counts))
    )
    return figure_of(
        [(evidence, {"course": course, "margin": comparison.margin})],
        f"How the evidence came in: {name}, {decided}. The mean difference and its interval at α = "
        f"{comparison.alpha:g}, which holds at every number of seeds at once; dashed, Student’s t interval at the same "
        f"level, which holds at one number alone. The band is ±δ = {comparison.margin:g}.",
        f"An interval that narrows as seeds come in, {decided}: {listed}.",
        height=3.6,
    )


def _bounds(low: float, high: float, digits: int = 3) -> str:
    return f"[{number(low, digits, sign=True)}, {number(high, digits, sign=True)}]"
