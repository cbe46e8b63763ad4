"""What is planned, and what of it is in the store: the one rule that sweep, status and report ask.

A run counts towards a planned config if it is finished, was made by the plan's code, is no example and no trial, was
not superseded, and nothing of it is lost or altered. Runs of one config on different blocks of seeds add up. Everything
read here was written by somebody else: what cannot be read is named, and counts as missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from qwerties.config import Config, Seeds, fingerprint
from qwerties.scoring.digest import code_digest
from qwerties.study.plan import (
    ALWAYS_TRACKED,
    UNREADABLE_JSON,
    Declaration,
    Plan,
    config_of,
    is_whole_trial,
    read_declaration,
    runs_of_search,
    seeds_of,
)
from qwerties.study.sweep_lock import is_abandoned
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import (
    ARTIFACTS,
    CODE,
    EXAMPLES,
    FAILURE,
    FINGERPRINT,
    PLAN,
    PROCESS,
    SPEC,
    STUDY,
    SUPERSEDED,
    TRIAL,
    TUNING,
)

NUMBER = re.compile("0|[1-9][0-9]{0,8}")  # of a trial, as its tag holds it

CONFIG_STATES = ("done", "missing", "running", "failed", "damaged")

Damage = Callable[[Tracked], Sequence[str]]  # returns what of a finished run is lost or altered, in words


@dataclass(frozen=True)
class PlannedConfig:
    """One planned config, and its runs.

    Attributes
    ----------
    name : str
        The config in words.
    config : Config or None
        None where no run of it is tracked.
    runs : tuple of Tracked
        Those that count.
    state : str
        One of `CONFIG_STATES`: ``done`` where the runs cover every planned seed and every seed of damaged runs; else
        ``running``, ``damaged`` or ``failed`` where a run of the config is; else ``missing``.
    others : tuple of Tracked
        Those that do not count: running, failed, damaged.
    damage : mapping of str to sequence of str
        By the ids of damaged runs: what is lost or altered.
    """

    name: str
    config: Config | None
    runs: tuple[Tracked, ...]
    state: str
    others: tuple[Tracked, ...] = ()
    damage: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def missing(self, planned: Seeds, n_seeds: int = 0) -> list[Seeds]:
        """Return the blocks of seeds that no run covers.

        Parameters
        ----------
        planned : Seeds
        n_seeds : int
            Seeds that the config needs at least, beyond the plan.
        """
        blocks = [Seeds.parse(run.params["seeds"]) for run in self.runs]
        if planned.crossed is not None:
            return [] if planned in blocks else [planned]
        needed = np.arange(planned.start, max(planned.stop, n_seeds))
        damaged = [Seeds.parse(run.params["seeds"]) for run in self.others if run.run_id in self.damage]
        for block in damaged:
            needed = np.union1d(needed, block.numbers)
        for block in blocks:
            needed = np.setdiff1d(needed, block.numbers)
        stretches = np.split(needed, np.flatnonzero(np.diff(needed) > 1) + 1)
        return [Seeds(int(piece[0]), int(piece[-1]) + 1) for piece in stretches if len(piece)]


@dataclass(frozen=True)
class PlannedSearch:
    """One planned search of hyperparameters: its label, its budget, its tracked trials, and whether it is done."""

    label: str
    n_trials: int
    n_tracked: int
    is_done: bool


@dataclass(frozen=True)
class Coverage(Declaration):
    """One experiment: what its tags declare, and what became of it.

    Attributes
    ----------
    entries : tuple of PlannedConfig
        In the plan's order; empty where `plan` is None, because there never was one (single networks) or it cannot be
        read (see `problems`).
    stale, unplanned, superseded : int
        Finished runs that count nowhere: of other code, of configs that are not in the plan, re-run since.
    loose : tuple of Tracked
        Runs of an experiment without a plan.
    searches : tuple of PlannedSearch
        Of a tuning, whose configs are planned when they are done.
    replaceable : tuple of Tracked
        Finished runs that a new run of the same config and seeds supersedes: the stale and the damaged ones.
    """

    experiment_name: str = ""
    experiment_id: str = ""
    entries: tuple[PlannedConfig, ...] = ()
    stale: int = 0
    unplanned: int = 0
    superseded: int = 0
    loose: tuple[Tracked, ...] = ()
    searches: tuple[PlannedSearch, ...] = ()
    replaceable: tuple[Tracked, ...] = ()

    def count(self, state: str) -> int:
        """Count the planned configs in a state."""
        return sum(entry.state == state for entry in self.entries)

    @property
    def complete(self) -> bool:
        """Whether every planned config is done, and every search."""
        is_trained = self.count("done") == len(self.entries)
        return is_trained and all(search.is_done for search in self.searches) and not self.problems

    @property
    def outdated(self) -> bool:
        """Whether the plan is that of other code than today's, so that a sweep re-runs everything."""
        return self.plan is not None and self.plan.code != code_digest()

    def find(self, config: Config) -> PlannedConfig | None:
        """Return a config's entry; None where it is not planned."""
        if self.plan is None:
            return None
        return dict(zip(self.plan.configs, self.entries, strict=True)).get(self.plan.key(config))

    def superseded_by(self, config: Config, seeds: Seeds) -> list[Tracked]:
        """Return the finished runs that a new run of this config on these seeds supersedes."""
        return [
            run
            for run in self.replaceable
            if config_of(run) == config and _overlap(Seeds.parse(run.params["seeds"]), seeds)
        ]


def _overlap(a: Seeds, b: Seeds) -> bool:
    """Return whether blocks share seeds; crossed networks are others, whatever their numbers."""
    return (a.crossed is None) == (b.crossed is None) and bool(np.isin(a.numbers, b.numbers).any())


def read_coverages(store: Store, experiment_names: Collection[str] | None = None) -> list[Coverage]:
    """Read every experiment of the store, or some, in the report's order."""
    coverages = [
        make_coverage(experiment_name, experiment_id, tags, store.runs(experiment_id), store)
        for experiment_name, (experiment_id, tags) in store.experiments().items()
        if experiment_names is None or experiment_name in experiment_names
    ]
    return sorted(coverages, key=lambda coverage: (coverage.order, coverage.experiment_name))


def make_coverage(
    experiment_name: str,
    experiment_id: str,
    tags: Mapping[str, str],
    runs: Sequence[Tracked],
    store: Store | None = None,
) -> Coverage:
    """Join an experiment's plan with its runs; what these have lost is looked up in the store, if one is given."""
    children: dict[str, list[Tracked]] = {}
    for run in runs:
        if run.parent is not None:
            children.setdefault(run.parent, []).append(run)

    def damage(run: Tracked) -> Sequence[str]:
        return _damage_of(store, run, children.get(run.run_id, ())) if store else ()

    declared = read_declaration(experiment_name, tags)
    plan, problems = declared.plan, list(declared.problems)
    searches: tuple[PlannedSearch, ...] = ()
    if TUNING in tags:
        try:
            searches = tuple(_search(spec, runs, damage) for spec in json.loads(tags[TUNING])["searches"])
        except UNREADABLE_JSON:
            problems.append(f"the tag {TUNING} cannot be read")
    own = [run for run in runs if STUDY not in run.tags and run.parent is None]
    current = [run for run in own if SUPERSEDED not in run.tags]
    if PLAN not in tags and any(FINGERPRINT in run.tags for run in current):
        problems.append(f"the tag {PLAN} is missing")

    entries: list[PlannedConfig] = []
    stale, unplanned = [], 0
    if plan is not None:
        by_key: dict[str, list[Tracked]] = {key: [] for key in plan.configs}
        for run in current:
            key = _key_of(run, plan)
            if run.tags.get(CODE) != plan.code:
                stale += [run] if run.status == "FINISHED" else []
            elif key in by_key:
                by_key[key].append(run)
            else:
                unplanned += run.status == "FINISHED"
        entries = [_make_entry(name, by_key[key], plan, damage) for key, name in plan.configs.items()]
    damaged = [run for entry in entries for run in entry.others if run.run_id in entry.damage]
    return Coverage(
        **(vars(declared) | {"problems": tuple(problems)}),
        experiment_name=experiment_name,
        experiment_id=experiment_id,
        entries=tuple(entries),
        stale=len(stale),
        unplanned=unplanned,
        superseded=len(own) - len(current),
        loose=() if plan else tuple(current),
        searches=searches,
        replaceable=(*damaged, *(run for run in stale if seeds_of(run) is not None)),
    )


def _key_of(run: Tracked, plan: Plan) -> str:
    """Return the fingerprint of a run's config in the plan; empty where the run's seeds do not fit the plan's.

    A crossed layout must be the very same; blocks of seeds add up.
    """
    config, seeds = config_of(run), seeds_of(run)
    if config is None or seeds is None:
        return ""
    fits = seeds == plan.seeds or (seeds.crossed is None and plan.seeds.crossed is None)
    if run.tags.get(FINGERPRINT, own := fingerprint(config, seeds, plan.code)) != own:
        return ""  # its params were altered: it was trained by others
    return plan.key(config) if fits else ""


def _make_entry(name: str, runs: Sequence[Tracked], plan: Plan, damage: Damage) -> PlannedConfig:
    finished = [run for run in runs if run.status == "FINISHED"]
    lost = {run.run_id: words for run in finished if (words := tuple(damage(run)))}
    counted = tuple(run for run in finished if run.run_id not in lost)
    others = tuple(run for run in runs if run not in counted)
    config = config_of(runs[0]) if runs else None
    entry = PlannedConfig(name, config, counted, "done", others, lost)
    if not entry.missing(plan.seeds):
        return entry
    alive = {run.status for run in others if PROCESS not in run.tags or not is_abandoned(run)}
    is_running = bool(alive & {"RUNNING", "SCHEDULED"})
    state = "running" if is_running else "damaged" if lost else "failed" if others else "missing"
    return replace(entry, state=state)


def _search(spec: Mapping[str, Any], runs: Sequence[Tracked], damage: Damage) -> PlannedSearch:
    """Join a search's plan with its run and its trials'; those of an earlier plan do not count."""
    n_trials = int(spec["trials"])
    run, trials = runs_of_search(spec["name"], runs)
    own = [trial for trial in trials if run and trial.parent == run.run_id and is_whole_trial(trial)]
    numbers = {trial.tags[TRIAL] for trial in own if NUMBER.fullmatch(trial.tags[TRIAL])}
    n_tracked = sum(int(number) < n_trials for number in numbers)
    is_done = (
        run is not None
        and run.status == "FINISHED"
        and run.tags.get(SPEC) == json.dumps(spec)
        and n_tracked == n_trials
        and not damage(run)
    )
    return PlannedSearch(f"{spec['arm']} by {spec['sampler']}", n_trials, n_tracked, is_done)


def is_search_done(spec: Mapping[str, Any], runs: Sequence[Tracked], store: Store) -> bool:
    """Return whether a search, as a plan describes it, needs no more work."""
    return _search(spec, runs, lambda run: _own_damage(store, run)).is_done


def _damage_of(store: Store, run: Tracked, children: Sequence[Tracked]) -> list[str]:
    """Return what of a finished run is lost or altered, in words: artifacts, metrics, examples.

    Artifacts that do not lie on this machine are not looked at.
    """
    lost = _own_damage(store, run)
    examples = {child.params.get("seed"): child for child in children if child.status == "FINISHED"}
    try:
        seeds = [str(seed) for seed in json.loads(run.tags.get(EXAMPLES, "[]"))]
    except (ValueError, TypeError, RecursionError):
        return [*lost, f"the tag {EXAMPLES}"]
    for seed in seeds:
        if (example := examples.get(seed)) is None:
            lost.append(f"the example of seed {seed}")
        else:
            lost += [f"{words} of the example of seed {seed}" for words in _own_damage(store, example)]
            lost += [] if ALWAYS_TRACKED in example.metrics else [f"a metric of the example of seed {seed}"]
    return lost


def _own_damage(store: Store, run: Tracked) -> list[str]:
    """Return what of a run is lost or altered, its children aside: artifacts, and the metric of every training."""
    if ARTIFACTS not in run.tags:
        return [f"the tag {ARTIFACTS}"]
    is_whole = EXAMPLES not in run.tags or ALWAYS_TRACKED in run.metrics  # only a sweep's runs have that tag
    return [*store.damaged(run), *([] if is_whole else [f"the metric {ALWAYS_TRACKED}"])]


def experiment_json(coverage: Coverage) -> dict[str, Any]:
    """Return one experiment as an object for JSON; ``cli.status.read_status`` names its fields."""
    return {
        "experiment": coverage.experiment_name,
        "title": coverage.title,
        "complete": coverage.complete,
        "outdated": coverage.outdated,
        "planned": None if coverage.plan is None else len(coverage.entries),
        **{state: coverage.count(state) for state in CONFIG_STATES},
        "stale": coverage.stale,
        "superseded": coverage.superseded,
        "unplanned": coverage.unplanned,
        "loose": len(coverage.loose),
        "searches": [asdict(search) for search in coverage.searches],
        "problems": list(coverage.problems),
        "configs": [
            {
                "config": entry.name,
                "state": entry.state,
                "runs": [run.run_id for run in entry.runs],
                "others": [
                    {
                        "run": run.run_id,
                        "status": run.status,
                        "process": run.tags.get(PROCESS),
                        "failure": run.tags.get(FAILURE),
                        "damage": list(entry.damage.get(run.run_id, ())),
                    }
                    for run in entry.others
                ],
            }
            for entry in coverage.entries
        ],
    }
