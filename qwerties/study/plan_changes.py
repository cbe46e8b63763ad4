"""What a new plan changes: margins and primary contrasts must not change unseen once there are runs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

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

    A primary contrast that is declared, or given another margin, after runs of both arms existed is late: it becomes
    exploratory, and stays so.

    Parameters
    ----------
    tags : mapping
        All but the contrasts, as from `plan_tags`.
    contrasts : sequence of PlannedContrast
    before : mapping
        Tags of the experiment with the stored plan; empty for a new experiment.
    runs : sequence of Tracked
        All of the experiment's.
    changes : sequence of str
        What else changes, in words.
    """
    today = datetime.date.today().isoformat()
    finished = [run for run in runs if run.status == "FINISHED" and (run.parent is None or TRIAL in run.tags)]
    trained = {config for run in finished if run.parent is None and (config := config_of(run)) is not None}
    old = {contrast.key: contrast for contrast in readable_contrasts(before)}
    revised, changed = [], []
    for contrast in contrasts:
        previous = old.pop(contrast.key, None)
        was_primary = previous is not None and previous.declared_primary
        if contrast.primary and not was_primary:
            changed.append(f"primary contrast added: {contrast.label}, margin {contrast.delta:g}")
        elif was_primary and not contrast.primary:
            changed.append(f"made exploratory: {contrast.label}")
        if previous is not None and contrast.delta != previous.delta:
            margins = f"from {previous.delta:g} to {contrast.delta:g}"
            changed.append(f"margin of {contrast.label} changed {margins}")
        if contrast.primary and previous is not None and was_primary and previous.delta == contrast.delta:
            contrast = replace(contrast, late=previous.late)
        elif contrast.primary and trained.issuperset((contrast.a, contrast.b)):
            what = "got this margin" if was_primary else "was declared primary"
            contrast = replace(contrast, late=f"{what} on {today}, when runs of both arms existed")
        revised.append(contrast)
    changed += [f"primary contrast removed: {c.label}" for c in old.values() if c.declared_primary]
    changed += changes

    tags = {**tags, **to_chunks(CONTRASTS, json.dumps([contrast.to_json() for contrast in revised]))}
    if not (changed and finished):
        return tags
    try:
        history = list(json.loads(before.get(PLAN_CHANGES, "[]")))
    except UNREADABLE_JSON:
        history = []
    history.append({"when": today, "runs": len(finished), "what": changed})
    while len(text := json.dumps(history)) > MAX_TAG and len(history) > 1:
        del history[len(history) // 2]  # the first and the latest say most
    return {**tags, PLAN_CHANGES: text}
