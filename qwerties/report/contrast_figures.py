"""Comparisons -> figures: contrasts on one scale, and how the evidence of one came in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qwerties.errors import plural
from qwerties.plotting import compare as plots
from qwerties.plotting.axes import Panel
from qwerties.plotting.evidence import evidence
from qwerties.report.answers import points_of
from qwerties.report.figure_words import MAX_LISTED, MAX_ROWS, spaced
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
    part, described, frame, margin = contrast_panel(compared, "difference in accuracy, A − B, in points")
    band = (
        "" if margin is None else f" The band is ±δ = {points_of(margin)}, differences too small to matter."
    )
    rest = f" The {MAX_ROWS} largest of {every:,}, in the plan's order; the others are in the table."
    return figure_of(
        [part],
        "Mean paired difference of each contrast, A − B, with the interval that its verdict comes from."
        f"{band}{rest if every > MAX_ROWS else ''}",
        f"Dots with intervals, one row per contrast: {described}.",
        frame,
        height=plots.rows_height(len(frame)),
    )


def contrast_panel(
    compared: Sequence[tuple[str, Comparison]], xlabel: str
) -> tuple[Panel, str, pd.DataFrame, float | None]:
    """Return the panel of contrasts on one scale, its content in words, its numbers, and the margin if all share it."""
    rows = [
        (label, 100 * c.estimate, 100 * c.low, 100 * c.high) for label, c in compared
    ]  # in points of accuracy
    frame = pd.DataFrame(rows, columns=["label", "y", "lo", "hi"])
    margins = {comparison.margin for _, comparison in compared}
    margin = margins.pop() if len(margins) == 1 else None
    described = "; ".join(
        f"{label} {number(y, 1, sign=True)} [{number(lo, 1, sign=True)}, {number(hi, 1, sign=True)}]"
        for label, y, lo, hi in rows
    )
    band = None if margin is None else (-100 * margin, 100 * margin)
    arguments = {
        "frame": frame,
        "references": {"no difference": 0.0},
        "xlabel": xlabel,
        "band": band,
        "digits": 1,
    }
    return (plots.score_points, arguments), described, frame, margin


def evidence_figure(name: str, comparison: Comparison) -> ReportFigure:
    """Show how the interval of a contrast narrowed as seeds came in, beside what Student's t would have claimed."""
    course = narrowing(
        comparison.differences, alpha=comparison.alpha, margin=comparison.margin, bounds=comparison.bounds
    )
    frame = pd.DataFrame(course._asdict()).drop(columns="decided").rename(columns={"counts": "count"})
    decided = "not decided yet" if course.decided is None else f"decided after {course.decided:,} seeds"
    listed = "; ".join(
        f"{plural(int(course.counts[i]), 'seed')} [{number(course.low[i], sign=True)}, "
        f"{number(course.high[i], sign=True)}]"
        for i in spaced(len(frame), MAX_LISTED)
    )
    return figure_of(
        [(evidence, {"frame": frame, "margin": comparison.margin, "decided": course.decided})],
        f"How the evidence came in: {name}, {decided}. The mean difference and its interval at α = "
        f"{comparison.alpha:g}, which holds at every number of seeds at once; dashed, Student’s t interval at the same "
        f"level, which holds at one number alone. The band is ±δ = {comparison.margin:g}.",
        f"An interval that narrows as seeds come in, {decided}: {listed}.",
        frame,
        height=3.6,
    )
