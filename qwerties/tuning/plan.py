"""The plan of a tuning in the store: what is searched and compared, and which searches are finished."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qwerties.analysis.searches import read_search
from qwerties.config import Config
from qwerties.study.budget import mark_late
from qwerties.study.chunks import CONTRASTS, contrasts_tags, contrasts_text
from qwerties.study.experiment import plan_changes
from qwerties.study.sweep import history
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import NOTE, SPEC, SUPERSEDED, TUNING
from qwerties.tuning.declaration import CONFIRMATION, Tuning
from qwerties.tuning.search import Search, differences


def winner_of(search: Search, runs: Sequence[Tracked], store: Store) -> Config | None:
    """Return the winner of a search that needs no more work; None of any other."""
    tracked = read_search(search.spec(), runs)
    run = tracked.run
    if run is None or run.status != "FINISHED" or run.tags.get(SPEC) != json.dumps(search.spec()):
        return None
    return None if store.damaged(run) else tracked.winner


def plan_tags(tuning: Tuning, searches: Sequence[Search], n_seeds: int) -> dict[str, str]:
    """Return the tags of the MLflow experiment that say what is searched."""
    return {
        NOTE: tuning.question,
        "qwerties.title": tuning.title,
        "qwerties.question": tuning.question,
        "qwerties.order": str(tuning.order),
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
    configs = {**{search.confirmed_as: search.examples[0] for search in searches}, **tuning.fixed}
    contrasts = [
        {
            "a": configs[contrast.a].to_params(),
            "b": configs[contrast.b].to_params(),
            "delta": contrast.delta,
            "primary": contrast.primary,
            "names": [contrast.a, contrast.b],
        }
        for contrast in tuning.all_contrasts()
    ]
    contrasts = mark_late(contrasts, before, lambda: runs)
    tags = plan_tags(tuning, searches, n_seeds)
    changed = plan_changes(contrasts_text(before), json.dumps(contrasts))
    if changed or CONTRASTS not in before:  # otherwise the tag may hold the chosen configs already
        tags |= contrasts_tags(contrasts)
    changed += _search_changes(before.get(TUNING, ""), tags[TUNING])
    n_runs = sum(run.status == "FINISHED" and SUPERSEDED not in run.tags for run in runs)
    if changed and n_runs:
        tags |= history(before, changed, n_runs)
    store.experiment(experiment_name, tags)


def _search_changes(before: str, now: str) -> list[str]:
    """Return in words how the planned searches differ from the stored ones; nothing where these cannot be read."""
    try:
        old, new = (
            {f"{spec['arm']} by {spec['sampler']}": spec for spec in json.loads(text)["searches"]}
            for text in (before, now)
        )
        return [f"search for {x}: {text}" for x in new if x in old for text in differences(old[x], new[x])]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
