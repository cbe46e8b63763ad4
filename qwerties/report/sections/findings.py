"""The primary contrasts on one scale, with the margin shaded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from qwerties.analysis.contrasts import ContrastResult
from qwerties.errors import plural
from qwerties.plotting import compare as plots
from qwerties.report.answers import points_of
from qwerties.report.contrasts import contrast_name
from qwerties.report.elements import Section, Text
from qwerties.report.figure_words import MAX_ROWS
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.results import Results
from qwerties.report.text import typeset
from qwerties.stats.formats import bounds, number

TITLE, ANCHOR = "Findings on one scale", "findings"
TITLE_LENGTH = 36  # of an experiment, in the figure: a line, so that there is room for the contrast


def build(results: Results) -> Section | None:
    """Draw the primary contrasts; None where nothing was to be compared."""
    contrasts = results.primary
    if not contrasts:
        return None
    decided = sum(result.decided for result in contrasts)
    kind = "primary contrast" if contrasts[0].contrast.primary else "exploratory contrast"
    summary = Markup("<p>{} of {} decided. The section of its experiment has the evidence: {}.</p>").format(
        decided,
        plural(len(contrasts), kind),
        results.section_links(result.experiment_name for result in contrasts),
    )
    if changed := [result for result in contrasts if result.plan_changes]:
        summary += Markup("<p><strong>The plan was changed after data were seen</strong> in {}.</p>").format(
            results.section_links(result.experiment_name for result in changed)
        )
    figure = contrasts_figure(contrasts)
    return Section((Text(summary), *([figure] if figure else [])))


def contrasts_figure(contrasts: Sequence[ContrastResult]) -> ReportFigure | None:
    """Show the mean paired differences on one scale, with the margin shaded where it is the same for all.

    Of more than `MAX_ROWS` those with the largest differences, to either side. None where nothing was compared.
    """
    shown = [
        (f"{typeset(result.title, TITLE_LENGTH)}: {contrast_name(result)}", interval, result.contrast.delta)
        for result in contrasts
        if (interval := result.difference) and not np.isnan(interval.estimate)
    ]
    if not shown:
        return None
    every = len(shown)
    if every > MAX_ROWS:
        sizes = [abs(interval.estimate) for _, interval, _ in shown]
        shown = [shown[i] for i in sorted(np.argsort(sizes, kind="stable")[-MAX_ROWS:].tolist())]
    points = [(label, *(100 * end for end in (i.estimate, i.lo, i.hi))) for label, i, _ in shown]
    margins = {delta for *_, delta in shown}
    margin = margins.pop() if len(margins) == 1 else None
    arguments = {
        "frame": pd.DataFrame(points, columns=["label", "y", "lo", "hi"]),
        "references": {"no difference": 0.0},
        "xlabel": "difference in accuracy, A − B, in points",
        "band": None if margin is None else (-100 * margin, 100 * margin),
        "digits": 1,
    }
    listed = "; ".join(
        f"{label} {number(100 * interval.estimate, 1, sign=True)} {bounds(interval, 1, sign=True, scale=100)}"
        for label, interval, _ in shown
    )
    band = f" The band is ±δ = {points_of(margin)}, differences too small to matter." if margin else ""
    left_out = f" The {MAX_ROWS} largest of {every:,}, in the plan's order; the others are in the table."
    return figure_of(
        [(plots.score_points, arguments)],
        "Mean paired difference of each contrast, A − B, with the interval that its verdict comes from."
        f"{band}{left_out if every > MAX_ROWS else ''}",
        f"Dots with intervals, one row per contrast: {listed}.",
        height=plots.rows_height(len(shown)),
    )
