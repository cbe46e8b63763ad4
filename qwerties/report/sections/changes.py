"""Which verdicts differ from those of the previous report, and why."""

from __future__ import annotations

from typing import Any

from qwerties.errors import clean
from qwerties.report.elements import Section, Statement, Statements
from qwerties.report.results import Results

TITLE, ANCHOR = "Changes since the previous report", "changes"


def build(results: Results) -> Section | None:
    """List the changes; None where there are none."""
    items = tuple(
        Statement(
            f"{_text(change['contrast'])} ({_text(change['experiment'])}): {_text(change['now'])}",
            settled=bool(change["flipped"]),
            label="flipped" if change["flipped"] is True else "",
            receipts=(f"before: {_text(change['before'])}", f"why: {_text(change['why'])}"),
        )
        for change in results.changes
    )
    return Section(TITLE, (Statements(items, "verdicts changes"),)) if items else None


def _text(value: Any) -> str:
    """Text of an earlier report, made harmless."""
    return clean("; ".join(map(str, value)) if isinstance(value, list) else value, 300)
