"""The primary contrasts on one scale, with the margin shaded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from qwerties.analysis.contrasts import ContrastResult
from qwerties.errors import clean, plural
from qwerties.report import figures
from qwerties.report.contrasts import contrast_name
from qwerties.report.elements import Figure, Section, Text
from qwerties.report.results import Results

TITLE, ANCHOR = "Findings on one scale", "findings"


def build(results: Results) -> Section | None:
    """Draw the primary contrasts; None where nothing was to be compared."""
    contrasts = results.primary
    if not contrasts:
        return None
    drawn = [
        (f"{clean(result.title)}: {contrast_name(result)}", result.comparison)
        for result in contrasts
        if result.comparison is not None and not np.isnan(result.comparison.estimate)
    ]
    decided = sum(result.decided for result in contrasts)
    kind = "primary contrast" if contrasts[0].contrast.primary else "exploratory contrast"
    summary = Markup("<p>{} of {} decided. The section of its experiment has the evidence: {}.</p>").format(
        decided, plural(len(contrasts), kind), _links(results, contrasts)
    )
    if changed := [result for result in contrasts if result.plan_changes]:
        summary += Markup("<p><strong>The plan was changed after data were seen</strong> in {}.</p>").format(
            _links(results, changed)
        )
    return Section(TITLE, (Text(summary), *([Figure(figures.contrasts_figure(drawn))] if drawn else [])))


def _links(results: Results, contrasts: Iterable[ContrastResult]) -> Markup:
    """Link to the sections of the contrasts' experiments."""
    names = dict.fromkeys(result.experiment_name for result in contrasts)
    return Markup(", ").join(
        Markup('<a href="#{}"><bdi>{}</bdi></a>').format(
            results.anchors[name], clean(results.by_name[name].coverage.title)
        )
        for name in names
    )
