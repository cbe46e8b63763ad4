"""What a new plan changes: margins and primary contrasts must not change unseen once there are runs."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence

from qwerties.study.plan import (
    MAX_TAG,
    UNREADABLE_JSON,
    PlannedContrast,
    config_of,
    readable_contrasts,
    to_chunks,
)
from qwerties.tracking.records import Tracked
from qwerties.tracking.tags import CONTRASTS, PLAN_CHANGES, TRIAL


def revise(
    tags: Mapping[str, str],
    contrasts: Sequence[PlannedContrast],
    before: Mapping[str, str],
    runs: Sequence[Tracked],
    changes: Sequence[str] = (),
) -> dict[str, str]:
    """Return an experiment's new tags, with its contrasts, and with what they change once there are runs.

    Parameters
    ----------
    tags : mapping
        All but the contrasts, as from `plan_tags`.
    contrasts : sequence of PlannedContrast
        Those that are primary, and late by `mark_late`, become exploratory.
    before : mapping
        Tags of the experiment with the stored plan; empty for a new experiment.
    runs : sequence of Tracked
        All of the experiment's.
    changes : sequence of str
        What else changes, in words.
    """
    finished = [run for run in runs if run.status == "FINISHED" and (run.parent is None or TRIAL in run.tags)]
    stored = readable_contrasts(before)
    contrasts = mark_late(contrasts, stored, finished)
    changes = [*contrast_changes(stored, contrasts), *changes]
    tags = {**tags, **to_chunks(CONTRASTS, json.dumps([c.to_json() for c in contrasts]))}
    if not (changes and finished):
        return tags
    try:
        history = list(json.loads(before.get(PLAN_CHANGES, "[]")))
    except UNREADABLE_JSON:
        history = []
    history.append({"when": datetime.date.today().isoformat(), "runs": len(finished), "what": changes})
    while len(text := json.dumps(history)) > MAX_TAG and len(history) > 1:
        del history[len(history) // 2]  # the first and the latest say most
    return {**tags, PLAN_CHANGES: text}


def contrast_changes(before: Sequence[PlannedContrast], now: Sequence[PlannedContrast]) -> list[str]:
    """Return in words what must not change unseen once there are runs: margins, and which contrasts are primary."""
    old = {contrast.key: contrast for contrast in before}
    changes = []
    for contrast in now:
        previous = old.pop(contrast.key, None)
        was_primary = previous is not None and previous.declared_primary
        if contrast.declared_primary and not was_primary:
            changes.append(f"primary contrast added: {contrast.label}, margin {contrast.delta:g}")
        elif was_primary and not contrast.declared_primary:
            changes.append(f"made exploratory: {contrast.label}")
        if previous is not None and contrast.delta != previous.delta:
            changes.append(
                f"margin of {contrast.label} changed from {previous.delta:g} to {contrast.delta:g}"
            )
    removed = [contrast for contrast in old.values() if contrast.declared_primary]
    return changes + [f"primary contrast removed: {contrast.label}" for contrast in removed]


def mark_late(
    contrasts: Sequence[PlannedContrast], before: Sequence[PlannedContrast], runs: Sequence[Tracked]
) -> list[PlannedContrast]:
    """Make exploratory the primary contrasts declared, or given another margin, after runs of both arms existed.

    Parameters
    ----------
    contrasts, before : sequence of PlannedContrast
        The new plan's, and the stored plan's.
    runs : sequence of Tracked
        Finished runs of the experiment.
    """
    old = {contrast.key: contrast for contrast in before if contrast.declared_primary}
    trained = {config for run in runs if run.parent is None and (config := config_of(run)) is not None}
    marked = []
    for contrast in contrasts:
        previous = old.get(contrast.key)
        if contrast.primary and previous is not None and previous.delta == contrast.delta:
            contrast = dataclasses.replace(contrast, primary=not previous.late, late=previous.late)
        elif contrast.primary and trained.issuperset((contrast.a, contrast.b)):
            what = "got this margin" if previous is not None else "was declared primary"
            late = f"{what} on {datetime.date.today().isoformat()}, when runs of both arms existed"
            contrast = dataclasses.replace(contrast, primary=False, late=late)
        marked.append(contrast)
    return marked
