"""The plan of a tuning in the store: what is searched and compared, and which searches are finished."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qwerties.analysis.searches import read_search
from qwerties.config import Config
from qwerties.study.coverage import is_search_done
from qwerties.study.plan import (
    UNREADABLE_JSON,
    PlannedContrast,
    arms_by_name,
    question_tags,
    readable_contrasts,
)
from qwerties.study.plan_changes import revise
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import TUNING
from qwerties.tuning.declaration import CONFIRMATION, Tuning
from qwerties.tuning.search import Search, differences


def winners_of(searches: Sequence[Search], runs: Sequence[Tracked], store: Store) -> dict[str, Config]:
    """Return the winners of searches that need no more work, by `Search.confirmed_as`."""
    specs = {search.confirmed_as: search.spec() for search in searches}
    return {
        name: winner
        for name, spec in specs.items()
        if is_search_done(spec, runs, store) and (winner := read_search(spec, runs).winner) is not None
    }


def plan_tags(tuning: Tuning, searches: Sequence[Search], n_seeds: int) -> dict[str, str]:
    """Return the tags of the MLflow experiment that say what is searched."""
    return {
        **question_tags(tuning.title, tuning.question, tuning.order),
        TUNING: json.dumps(
            {
                "confirmation": f"0-{round(CONFIRMATION * n_seeds) - 1}",
                "searches": [search.spec() for search in searches],
            }
        ),
    }


def write_plan(
    experiment_name: str,
    tuning: Tuning,
    searches: Sequence[Search],
    n_seeds: int,
    store: Store,
    runs: Sequence[Tracked],
) -> None:
    """Store the searches and the contrasts, before any trial; note what changed after there were data."""
    before = store.experiments().get(experiment_name, ("", {}))[1]
    # an example stands in for a config that is not chosen yet
    examples = {search.confirmed_as: search.examples[0] for search in searches}
    configs = {**examples, **arms_by_name(readable_contrasts(before)), **tuning.fixed}
    contrasts = [
        PlannedContrast(configs[c.a], configs[c.b], c.delta, c.primary, (c.a, c.b))
        for c in tuning.all_contrasts()
    ]
    tags = plan_tags(tuning, searches, n_seeds)
    changes = _search_changes(before.get(TUNING, ""), tags[TUNING])
    store.experiment(experiment_name, revise(tags, contrasts, before, runs, changes))


def _search_changes(before: str, now: str) -> list[str]:
    """Return in words how the planned searches differ from the stored ones; nothing where these cannot be read."""
    try:
        old, new = (
            {f"{spec['arm']} by {spec['sampler']}": spec for spec in json.loads(text)["searches"]}
            for text in (before, now)
        )
        return [f"search for {x}: {text}" for x in new if x in old for text in differences(old[x], new[x])]
    except UNREADABLE_JSON:
        return []
