"""What of a finished run is lost or altered, by the run's own tags."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qwerties.study.plan import ALWAYS_TRACKED
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import ARTIFACTS, EXAMPLES


def damage_of(store: Store, run: Tracked, children: Sequence[Tracked]) -> list[str]:
    """Return what of a finished run is lost or altered, in words: artifacts, metrics, examples.

    Artifacts that do not lie on this machine are not looked at.
    """
    lost = own_damage(store, run)
    examples = {child.params.get("seed"): child for child in children if child.status == "FINISHED"}
    try:
        seeds = [str(seed) for seed in json.loads(run.tags.get(EXAMPLES, "[]"))]
    except (ValueError, TypeError, RecursionError):
        return [*lost, f"the tag {EXAMPLES}"]
    for seed in seeds:
        if (example := examples.get(seed)) is None:
            lost.append(f"the example of seed {seed}")
        else:
            lost += [f"{words} of the example of seed {seed}" for words in own_damage(store, example)]
            lost += [] if ALWAYS_TRACKED in example.metrics else [f"a metric of the example of seed {seed}"]
    return lost


def own_damage(store: Store, run: Tracked) -> list[str]:
    """Return what of a run is lost or altered, its children aside: artifacts, and the metric of every training."""
    if ARTIFACTS not in run.tags:
        return [f"the tag {ARTIFACTS}"]
    is_whole = EXAMPLES not in run.tags or ALWAYS_TRACKED in run.metrics  # only a sweep's runs have that tag
    return [*store.damaged(run), *([] if is_whole else [f"the metric {ALWAYS_TRACKED}"])]
