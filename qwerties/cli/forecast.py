"""What a sweep would train, about how long it would take and how much disk: ``qwerties sweep --dry-run``."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from qwerties.analysis.contrasts import load_results
from qwerties.analysis.searches import read_search
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
SECONDS_PER_TRIAL = 0.2

DEFAULT_RATE = 0.6e6  # cost per second and worker, as `Batch.cost`, of a default sweep on two busy cores
SESSION_GAP = 60.0  # seconds between two runs from which on they count as those of two sweeps
FEWEST_SECONDS = 5.0  # of measured sweeps; less says nothing of a rate

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
    findings = [finding for result in load_results(store) for finding in result.findings] if store else []
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
        settled = [c for c in experiment.contrasts if settle == "all" or (settle == "primary" and c.primary)]
        arms = [(c.a, c.b) for c in settled if (name, c.a, c.b) not in decided]
        more = dict.fromkeys(itertools.chain(*arms), max_seeds)
        topup += work_of(missing_runs(experiment, coverage, n_seeds, more)) - work_of(missing)
        n_open += len(arms)
        work[name] = work_of(missing) + trials
        searched += trials
        everything += missing
        tracked += [r for r in runs if r.status == "FINISHED" and r.parent is None and STUDY not in r.tags]
    work["in all"] = work_of(everything) + searched

    measured = measured_rate(tracked)
    rate = measured or DEFAULT_RATE * workers
    rows: list[Sequence[str]] = [("experiment", "configs", "runs", "networks", "about", "disk")]
    rows += [(name, *_cells(some, rate)) for name, some in work.items()]
    lines = aligned(rows)
    if n_open and topup["networks"]:
        *_, networks, about, disk = _cells(topup, rate)
        lines.append(
            f"while contrasts are open ({n_open}), up to {max_seeds:,} seeds of their configs: at most {networks} more "
            f"networks, about {about}, {disk}"
        )
    source = f"of the {plural(len(tracked), 'tracked run')}" if measured else "of a default sweep on 2 cores"
    lines.append(
        f"rates {source}: {rate / 1e6:.1f} million epochs of the smallest network per second, with "
        f"{plural(workers, 'worker')}; dry run: nothing was written"
    )
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


def measured_rate(runs: Iterable[Tracked]) -> float | None:
    """Return the cost per second of finished runs; None where there are too few of them."""
    costs = sorted(
        (run.start_time, Batch((config,), seeds).cost)
        for run in runs
        if (config := config_of(run)) is not None and (seeds := seeds_of(run)) is not None
    )
    seconds = cost = 0.0
    for (before, _), (start, own) in itertools.pairwise(costs):
        if start - before < SESSION_GAP:  # a sweep's first run was trained before it began
            seconds += start - before
            cost += own
    return cost / seconds if seconds >= FEWEST_SECONDS and cost else None


def _cells(work: Work, rate: float) -> tuple[str, ...]:
    seconds = work["cost"] / rate + work["trials"] * SECONDS_PER_TRIAL
    about = f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
    return (
        *(f"{work[name]:,}" for name in ("configs", "runs", "networks")),
        about,
        f"{work['size'] / 1e6:,.0f} MB",
    )
