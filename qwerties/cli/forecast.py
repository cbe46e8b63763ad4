"""What a sweep would train, about how long it would take and how much disk: ``qwerties sweep --dry-run``."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwerties.analysis.searches import read_search
from qwerties.cli.status import read_status
from qwerties.config import Config, Seeds
from qwerties.errors import plural
from qwerties.study.experiment import EMPTY, Experiment, Job, Shard, is_complete, make_shards, missing_jobs
from qwerties.tracking.records import Tracked, curve_epochs
from qwerties.tracking.tags import TRIAL
from qwerties.tuning.declaration import Tuning

if TYPE_CHECKING:
    from qwerties.tracking.store import Store

SESSION_GAP = 60.0  # seconds between two runs from which on they count as those of two sweeps
FIRST_SHARDS = 1.0  # seconds: runs at the start of a sweep, whose training came before the first of them
FEWEST_SECONDS = 5.0  # of measured sweeps; less says nothing of a rate


@dataclass(frozen=True)
class Rates:
    """How fast a sweep is, and how much disk it takes.

    Attributes
    ----------
    cost_per_second : float
        Work per second and worker, in the unit of `Shard.cost`: epochs of the smallest network.
    seconds_per_trial : float
        Of a search, with all of its work.
    bytes_per_network : float
        Artifacts: scores, curves and weights of every seed.
    bytes_per_point : float
        Database: one loss at one epoch.
    curves_per_run : float
        Losses that are tracked at every epoch: the mean of a run, and those of its examples.
    source : str
        Where the rates come from, in words.
    """

    cost_per_second: float
    seconds_per_trial: float
    bytes_per_network: float
    bytes_per_point: float
    curves_per_run: float
    source: str


# Measured by `qwerties sweep` with its defaults on two cores that had other work beside it, then `--dry-run` there.
DEFAULT_RATES = Rates(
    cost_per_second=0.6e6,
    seconds_per_trial=0.2,
    bytes_per_network=1_400.0,
    bytes_per_point=300.0,
    curves_per_run=3.5,
    source="of a default sweep on 2 cores",
)


@dataclass(frozen=True)
class Work:
    """What is to be trained of one experiment, or in one step.

    Attributes
    ----------
    name : str
    configs, networks : int
        Configs that lack seeds; networks to be trained, where configs that differ in epochs alone count once.
    cost : float
        As in `Shard.cost`.
    runs : int
        MLflow runs.
    seeds : int
        Rows of ``seeds.csv`` over all runs.
    epochs : int
        Epochs over all runs.
    trials : int
        Trials of searches.
    points : int
        Losses that are tracked of trials.
    """

    name: str
    configs: int = 0
    networks: int = 0
    cost: float = 0.0
    runs: int = 0
    seeds: int = 0
    epochs: int = 0
    trials: int = 0
    points: int = 0

    def __add__(self, other: Work) -> Work:
        numbers = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
            if field.name != "name"
        }
        return Work(self.name, **numbers)


@dataclass(frozen=True)
class Forecast:
    """What a sweep would train.

    Attributes
    ----------
    work : tuple of Work
        Per experiment.
    total : Work
        Of all of them: networks that two experiments share are trained once.
    topup : Work
        At most this is added while contrasts are open.
    open : int
        Contrasts that may get more seeds.
    max_seeds : int
    workers : int
    rates : Rates
    """

    work: tuple[Work, ...]
    total: Work
    topup: Work
    open: int
    max_seeds: int
    workers: int
    rates: Rates


def forecast(
    declared: Mapping[str, Experiment | Tuning],
    store: Store | None,
    n_seeds: int,
    settle: str,
    max_seeds: int,
    workers: int,
) -> Forecast:
    """Tell what a sweep would train; nothing is written.

    Parameters
    ----------
    declared : mapping of str to Experiment or Tuning
        By the names of their files.
    store : Store or None
        None where there is none yet.
    n_seeds, settle, max_seeds, workers
        As the sweep's options.
    """
    stored = store.experiments() if store else {}
    decided = _decided(store) if store else set()
    work, topup, n_open = [], Work("open contrasts"), 0
    searches, every_job = Work("in all"), []
    for name, experiment in declared.items():
        experiment_id, _ = stored.get(name, ("", {}))
        runs = store.runs(experiment_id) if store and experiment_id else []
        search = Work(name)
        if isinstance(experiment, Tuning):
            experiment, search = _tuned(name, experiment, runs, n_seeds)
        jobs = missing_jobs(name, experiment, n_seeds, runs)
        base = _work(name, jobs)
        work.append(search + base)
        searches += search
        every_job += jobs
        needs: dict[Config, int] = {}
        for contrast in experiment.contrasts:
            wanted = settle == "all" or (settle == "primary" and contrast.primary)
            if wanted and (name, contrast.a, contrast.b) not in decided:
                n_open += 1
                needs |= {contrast.a: max_seeds, contrast.b: max_seeds}
        rest = _work(name, missing_jobs(name, experiment, n_seeds, runs, needs or EMPTY))
        topup += Work(
            "",
            rest.configs,
            rest.networks - base.networks,
            rest.cost - base.cost,
            rest.runs - base.runs,
            rest.seeds - base.seeds,
            rest.epochs - base.epochs,
        )
    rates = _measured(store, workers) if store else None
    total = searches + _work("in all", every_job)
    return Forecast(tuple(work), total, topup, n_open, max_seeds, workers, rates or DEFAULT_RATES)


def _decided(store: Store) -> set[tuple[str, Config, Config]]:
    """Contrasts whose verdict more seeds cannot change."""
    from qwerties.analysis.contrasts import load_results

    return {
        (finding.experiment_name, finding.contrast.a, finding.contrast.b)
        for experiment in load_results(store)
        for finding in experiment.findings
        if finding.decided
    }


def _work(name: str, jobs: Sequence[Job]) -> Work:
    shards = make_shards(jobs)
    return Work(
        name,
        configs=len({job.config for job in jobs}),
        networks=sum(shard.networks for shard in shards),
        cost=sum(shard.cost for shard in shards),
        runs=len(jobs),
        seeds=sum(len(job.seeds) for job in jobs),
        epochs=sum(job.config.epochs for job in jobs),
    )


def _tuned(name: str, tuning: Tuning, runs: Sequence[Tracked], n_seeds: int) -> tuple[Experiment, Work]:
    """Return a tuning's comparison on fresh seeds, and what its searches still train.

    Where a search is not finished, one of its longest examples stands in for the config that it will choose.
    """
    from qwerties.tuning.search import make_searches

    total, arms = Work(name), {}
    for i, search in enumerate(make_searches(name, tuning, n_seeds)):
        tracked = read_search(search.spec(), runs)
        longest = sorted(search.examples, key=lambda config: config.epochs, reverse=True)
        example = longest[i % len(longest)]
        arms[search.confirmed_as] = tracked.winner or example
        if tracked.winner is None:
            left = tuning.trials - len(tracked.trials)
            points = left * len(curve_epochs(example.epochs))
            total += Work("", left, left * len(search.seeds), runs=left, trials=left, points=points)
    return tuning.experiment(arms), total


def _measured(store: Store, workers: int) -> Rates | None:
    """Measure the rates of the tracked runs; None where there are too few of them."""
    every = [run for experiment_id, _ in store.experiments().values() for run in store.runs(experiment_id)]
    runs = [
        (run, Config.from_params(run.params), Seeds.parse(run.params["seeds"]))
        for run in every
        if is_complete(run) and "seeds" in run.params
    ]
    runs.sort(key=lambda each: each[0].start_time)
    seconds = cost = 0.0
    began = previous = -SESSION_GAP
    for run, config, seeds in runs:
        gap, previous = run.start_time - previous, run.start_time
        if gap > SESSION_GAP:
            began = run.start_time
            continue
        seconds += gap
        if run.start_time - began > FIRST_SHARDS:
            cost += Shard((config,), seeds).cost
    disk = read_status(store)
    if seconds < FEWEST_SECONDS or not cost or disk.database is None or disk.artifacts is None:
        return None
    epochs = sum(config.epochs for _, config, _ in runs)
    trials = sum(len(curve_epochs(_epochs(run))) for run in every if TRIAL in run.tags)
    examples = sum(_epochs(run) for run in every if run.parent is not None and TRIAL not in run.tags)
    return Rates(
        cost / seconds / workers,
        _gap([run for run in every if TRIAL in run.tags]) or DEFAULT_RATES.seconds_per_trial,
        disk.artifacts / sum(len(seeds) for _, _, seeds in runs),
        disk.database / (epochs + examples + trials),
        (epochs + examples) / epochs,
        f"of the {plural(len(runs), 'tracked run')}",
    )


def _gap(runs: Sequence[Tracked]) -> float:
    """Mean seconds between two runs that were tracked one after the other; 0 where there are none."""
    times = sorted(run.start_time for run in runs)
    gaps = [gap for gap in map(operator.sub, times[1:], times) if gap < SESSION_GAP]
    return sum(gaps) / len(gaps) if gaps else 0.0


def _epochs(run: Tracked) -> int:
    text = run.params.get("epochs", "1")
    return int(text) if text.isdigit() else 1


def table(found: Forecast) -> str:
    """Lay a forecast out in plain text."""
    rows = [("experiment", "configs", "runs", "networks", "about", "disk")]
    for work in (*found.work, found.total):
        rows.append(
            (work.name, f"{work.configs:,}", f"{work.runs:,}", f"{work.networks:,}", *_costs(work, found))
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]
    if found.open and found.topup.networks:
        about, disk = _costs(found.topup, found)
        lines.append(
            f"while contrasts are open ({found.open}), up to {found.max_seeds:,} seeds of their configs: at most "
            f"{found.topup.networks:,} more networks, about {about}, {disk}"
        )
    rates = found.rates
    lines.append(
        f"rates {rates.source}: {rates.cost_per_second / 1e6:.1f} million epochs of the smallest network per second "
        f"and worker, {plural(found.workers, 'worker')}; dry run: nothing was written"
    )
    return "\n".join(lines)


def _costs(work: Work, found: Forecast) -> tuple[str, str]:
    seconds = work.cost / found.rates.cost_per_second / found.workers
    seconds += work.trials * found.rates.seconds_per_trial
    points = work.epochs * found.rates.curves_per_run + work.points
    size = work.seeds * found.rates.bytes_per_network + points * found.rates.bytes_per_point
    return (f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"), f"{size / 1e6:,.0f} MB"
