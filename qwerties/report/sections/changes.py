"""Which verdicts differ from those of the previous report, and why."""

from __future__ import annotations

from qwerties.errors import clean
from qwerties.report.elements import Section, Statement, Statements
from qwerties.report.results import Results

TITLE, ANCHOR = "Changes since the previous report", "changes"


def build(results: Results) -> Section | None:
    """List the changes; None where there are none."""
    items = [
        Statement(
            f"{clean(change['contrast'], 300)} ({clean(change['experiment'], 300)}): {clean(change['now'], 300)}",
            settled=change["flipped"],
            label="flipped" if change["flipped"] else "",
            receipts=(
                f"before: {clean(change['before'], 300)}",
                f"why: {clean('; '.join(change['why']), 300)}",
            ),
        )
        for change in results.changes
    ]
    return Section([Statements(items, "verdicts changes")]) if items else None
