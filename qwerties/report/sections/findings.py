"""The primary contrasts on one scale, with the margin shaded."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from qwerties.errors import clean, plural
from qwerties.report.contrast_figures import contrasts_figure
from qwerties.report.contrasts import contrast_name
from qwerties.report.elements import Section, Text
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
        decided,
        plural(len(contrasts), kind),
        results.section_links(result.experiment_name for result in contrasts),
    )
    if changed := [result for result in contrasts if result.plan_changes]:
        summary += Markup("<p><strong>The plan was changed after data were seen</strong> in {}.</p>").format(
            results.section_links(result.experiment_name for result in changed)
        )
    return Section(TITLE, (Text(summary), *([contrasts_figure(drawn)] if drawn else [])))
