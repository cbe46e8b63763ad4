"""What a sweep would train, about how long it would take and how much disk; nothing is written."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from qwerties.config import Config
from qwerties.errors import plural
from qwerties.study.batches import Batch, MissingRun, make_batches, missing_runs
from qwerties.study.coverage import read_coverage
from qwerties.study.experiment import Experiment
from qwerties.study.plan import config_of, plan_tags, seeds_of
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import STUDY

# Measured on the store of a default sweep; what a run leaves does not depend on the machine
BYTES_PER_SEED = 1_400  # artifacts: scores, curves and weights of one network
BYTES_PER_LOSS = 300  # database: a loss at one epoch
CURVES_PER_RUN = 3.5  # losses at every epoch: the mean, and those of the examples
SECONDS_PER_TRIAL = 0.2

DEFAULT_RATE = 0.6e6  # cost per second and worker, as `Batch.cost`, of a default sweep on two busy cores
SESSION_GAP = 60.0  # seconds between two runs from which on they count as those of two sweeps
FEWEST_SECONDS = 5.0  # of measured sweeps; less says nothing of a rate


@dataclass(frozen=True)
class Work:
    """What is to be trained.

    Attributes
    ----------
    configs, runs, networks : int
        Configs that lack seeds; MLflow runs, trials included; networks, where configs that differ in epochs alone
        count once.
    cost : float
        As `Batch.cost`.
    trials : int
        Of searches.
    size : float
        Bytes of disk.
    """

    configs: int = 0
    runs: int = 0
    networks: int = 0
    cost: float = 0.0
    trials: int = 0
    size: float = 0.0

    def __add__(self, other: Work) -> Work:
        return self._combined(other, operator.add)

    def __sub__(self, other: Work) -> Work:
        return self._combined(other, operator.sub)

    def _combined(self, other: Work, combine: Callable) -> Work:
        return Work(*map(combine, astuple(self), astuple(other)))


@dataclass(frozen=True)
class Forecast:
    """What a sweep would train.

    Attributes
    ----------
    work : dict of str to Work
        By experiment, searches included.
    total : Work
        Of all: networks that two experiments share are trained once.
    topup : Work
        At most this is added while contrasts are open.
    rate : float
        Cost per second, of all workers.
    source : str
        Where the rate comes from, in words.
    """

    work: dict[str, Work]
    total: Work
    topup: Work
    rate: float
    source: str

    def seconds(self, work: Work) -> float:
        """Return about how long some work takes."""
        return work.cost / self.rate + work.trials * SECONDS_PER_TRIAL


def forecast(
    experiments: Mapping[str, Experiment],
    store: Store | None,
    n_seeds: int,
    more: Mapping[str, Mapping[Config, int]],
    searches: Mapping[str, Work],
    workers: int,
) -> Forecast:
    """Return what a sweep would train.

    Parameters
    ----------
    experiments : mapping of str to Experiment
        By the names of their files.
    store : Store or None
        None where there is none yet.
    n_seeds : int
        Seeds per config that the sweep asks for.
    more : mapping of str to mapping of Config to int
        By experiment, the seeds that arms of open contrasts may get.
    searches : mapping of str to Work
        By experiment, what is searched first.
    workers : int
    """
    stored = store.experiments() if store else {}
    base: dict[str, list[MissingRun]] = {}
    topup = Work()
    tracked: list[Tracked] = []
    for name, experiment in experiments.items():
        experiment_id, tags = stored.get(name, ("", {}))
        runs = store.runs(experiment_id) if store and experiment_id else []
        tags = {**tags, **plan_tags(experiment, experiment.seeds(n_seeds))}
        coverage = read_coverage(store, name, experiment_id, tags, runs)
        base[name] = missing_runs(experiment, coverage, n_seeds)
        topup += work_of(missing_runs(experiment, coverage, n_seeds, more.get(name))) - work_of(base[name])
        tracked += [
            run for run in runs if run.status == "FINISHED" and run.parent is None and STUDY not in run.tags
        ]
    rate = _measured_rate(tracked)
    return Forecast(
        work={name: work_of(runs) + searches.get(name, Work()) for name, runs in base.items()},
        total=work_of([run for runs in base.values() for run in runs]) + sum(searches.values(), Work()),
        topup=topup,
        rate=rate or DEFAULT_RATE * workers,
        source=f"of the {plural(len(tracked), 'tracked run')}" if rate else "of a default sweep on 2 cores",
    )


def work_of(missing: Sequence[MissingRun]) -> Work:
    """Return what missing runs amount to."""
    batches = make_batches(missing)
    losses = sum(CURVES_PER_RUN * run.config.epochs for run in missing)
    return Work(
        configs=len({run.config for run in missing}),
        runs=len(missing),
        networks=sum(batch.networks for batch in batches),
        cost=sum(batch.cost for batch in batches),
        size=BYTES_PER_LOSS * losses + BYTES_PER_SEED * sum(len(run.seeds) for run in missing),
    )


def _measured_rate(runs: Iterable[Tracked]) -> float | None:
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
