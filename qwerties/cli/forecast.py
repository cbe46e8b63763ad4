"""What a sweep would train, about how long it would take and how much disk: ``qwerties sweep --dry-run``."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from qwerties.analysis.contrasts import load_results
from qwerties.analysis.searches import read_search
from qwerties.analysis.topup import gets_more
from qwerties.cli.status import aligned
from qwerties.errors import plural
from qwerties.study.batches import Batch, MissingRun, make_batches, missing_runs
from qwerties.study.coverage import make_coverage
from qwerties.study.experiment import Experiment
from qwerties.study.plan import config_of, plan_tags, seeds_of
from qwerties.tracking.records import Tracked, curve_epochs
from qwerties.tracking.store import Store
from qwerties.tracking.tags import STUDY
from qwerties.tuning.declaration import Tuning
from qwerties.tuning.search import make_searches

# Measured on the store of a default sweep; what a run leaves does not depend on the machine
BYTES_PER_SEED = 1_400  # artifacts: scores, curves and weights of one network
BYTES_PER_LOSS = 300  # database: a loss at one epoch
CURVES_PER_RUN = 3.5  # losses at every epoch: the mean, and those of the examples

# Of one worker on a core of an Intel Xeon, measured on a default sweep by two workers
SECONDS_PER_RUN = 0.23  # pictures and tracking
SECONDS_PER_TRIAL = 0.12  # of a search, its training included
COST_PER_SECOND = 5.8e6  # of training and scores, as `Batch.cost`
SECONDS_BESIDES = 15.0  # start, and the report

LONGEST_GAP = 4.0  # times what a run should take: a longer gap between two runs lies between two sweeps
FEWEST_SECONDS = 5.0  # of measured sweeps; less says nothing of a machine

# Of what is to be trained: configs that lack seeds, MLflow runs (with trials), networks (those of configs that differ
# in epochs alone count once), cost as `Batch.cost`, trials of searches, and size in bytes
Work = Counter[str]


def forecast_table(
    store: Store | None,
    declared: Mapping[str, Experiment | Tuning],
    n_seeds: int,
    settle: str,
    max_seeds: int,
    workers: int,
) -> str:
    """Return what a sweep with these options would train, as a table.

    ``store`` is None where there is none yet. Before a search is finished, one of its longest examples stands in for
    the config that it will choose.
    """
    stored = store.experiments() if store else {}
    findings = (
        [finding for result in load_results(store, declared) for finding in result.findings] if store else []
    )
    decided = {(f.experiment_name, f.contrast.a, f.contrast.b) for f in findings if f.decided}
    work: dict[str, Work] = {}
    everything: list[MissingRun] = []  # what two experiments share is trained once
    topup, searched, n_open = Work(), Work(), 0
    tracked: list[Tracked] = []
    for name, declaration in declared.items():
        experiment_id, tags = stored.get(name, ("", {}))
        runs = store.runs(experiment_id) if store and experiment_id else []
        if isinstance(declaration, Experiment):
            experiment, trials = declaration, Work()
        else:
            experiment, trials = _tuned(name, declaration, runs, n_seeds)
        tags = {**tags, **plan_tags(experiment, experiment.seeds(n_seeds))}
        coverage = make_coverage(name, experiment_id, tags, runs, store)
        missing = missing_runs(experiment, coverage, n_seeds)
        settled = [c for c in experiment.contrasts if gets_more(c, settle)]
        arms = [(c.a, c.b) for c in settled if (name, c.a, c.b) not in decided]
        more = dict.fromkeys(itertools.chain(*arms), max_seeds)
        topup += work_of(missing_runs(experiment, coverage, n_seeds, more)) - work_of(missing)
        n_open += len(arms)
        work[name] = work_of(missing) + trials
        searched += trials
        everything += missing
        tracked += [r for r in runs if r.status == "FINISHED" and r.parent is None and STUDY not in r.tags]
    work["in all"] = work_of(everything) + searched

    measured = measured_pace(tracked)
    pace = measured or workers
    rows: list[Sequence[str]] = [("experiment", "configs", "runs", "networks", "about", "disk")]
    rows += [(name, *_cells(some, pace, SECONDS_BESIDES * (name == "in all"))) for name, some in work.items()]
    lines = aligned(rows)
    if n_open and topup["networks"]:
        *_, networks, about, disk = _cells(topup, pace)
        lines.append(
            f"while contrasts are open ({n_open}), up to {max_seeds:,} seeds of their configs: at most {networks} more "
            f"networks, about {about}, {disk}"
        )
    source = plural(len(tracked), "tracked run") if measured else "a default sweep on another machine"
    lines.append(f"times are estimated from {source}, with {plural(workers, 'worker')}; nothing was written")
    return "\n".join(lines)


def _tuned(name: str, tuning: Tuning, runs: Sequence[Tracked], n_seeds: int) -> tuple[Experiment, Work]:
    """Return a tuning's comparison on fresh seeds, and what its searches still train."""
    trials, arms = Work(), {}
    for i, search in enumerate(make_searches(name, tuning, n_seeds)):
        tracked = read_search(search.spec(), runs)
        longest = sorted(search.examples, key=lambda config: config.epochs, reverse=True)
        example = longest[i % len(longest)]
        arms[search.confirmed_as] = tracked.winner or example
        if tracked.winner is None:
            left = tuning.trials - len(tracked.trials)
            size = left * len(curve_epochs(example.epochs)) * BYTES_PER_LOSS
            trials += Work(configs=left, runs=left, networks=left * len(search.seeds), trials=left, size=size)
    return tuning.experiment(arms), trials


def work_of(missing: Sequence[MissingRun]) -> Work:
    """Return what missing runs amount to."""
    batches = make_batches(missing)
    losses = sum(CURVES_PER_RUN * run.config.epochs for run in missing)
    return Work(
        configs=len({run.config for run in missing}),
        runs=len(missing),
        networks=sum(batch.networks for batch in batches),
        cost=round(sum(batch.cost for batch in batches)),
        size=round(BYTES_PER_LOSS * losses + BYTES_PER_SEED * sum(len(run.seeds) for run in missing)),
    )


def _worker_seconds(work: Work) -> float:
    """Return how long one worker should take."""
    runs = work["runs"] - work["trials"]
    return runs * SECONDS_PER_RUN + work["trials"] * SECONDS_PER_TRIAL + work["cost"] / COST_PER_SECOND


def measured_pace(runs: Iterable[Tracked]) -> float | None:
    """Return how many seconds' work of one worker were done per second of finished runs; None if these are too few."""
    works = sorted(
        (run.start_time, _worker_seconds(Work(runs=1, cost=round(Batch((config,), seeds).cost))))
        for run in runs
        if (config := config_of(run)) is not None and (seeds := seeds_of(run)) is not None
    )
    seconds = done = 0.0
    for (before, _), (start, own) in itertools.pairwise(works):
        if start - before < LONGEST_GAP * max(own, 1.0):  # a sweep's first run was trained before it began
            seconds += start - before
            done += own
    return done / seconds if seconds >= FEWEST_SECONDS else None


def _cells(work: Work, pace: float, besides: float = 0.0) -> tuple[str, ...]:
    seconds = _worker_seconds(work) / pace + besides
    about = f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
    counts = (f"{work[name]:,}" for name in ("configs", "runs", "networks"))
    return (*counts, about, f"{work['size'] / 1e6:,.0f} MB")
