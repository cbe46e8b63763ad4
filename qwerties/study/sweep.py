"""Train and track what is not tracked yet: workers train, score and draw; this process writes to the store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qwerties.config import Config, Seeds, fingerprint
from qwerties.execution.signals import finishing_first, stop_if_asked
from qwerties.execution.workers import Workers, run_tasks
from qwerties.scoring.digest import code_digest
from qwerties.study.batches import MissingRun, make_batches, missing_runs, train_batch
from qwerties.study.coverage import Coverage, make_coverage
from qwerties.study.experiment import Experiment, config_names
from qwerties.study.plan import plan_tags, planned_contrasts
from qwerties.study.plan_changes import revise
from qwerties.study.sweep_lock import is_abandoned, sweep_lock
from qwerties.tracking.records import Record
from qwerties.tracking.store import Store
from qwerties.tracking.tags import CODE, EXAMPLES, FINGERPRINT, NOTE, STATE, SUPERSEDED, made_with


@dataclass
class Progress:
    """How far a sweep is; ``cost`` as in `Batch`."""

    configs_planned: int
    runs_planned: int
    networks_planned: int
    cost_planned: float
    runs: int = 0
    networks: int = 0
    cost: float = 0.0


def sweep(
    experiments: Mapping[str, Experiment],
    store: Store,
    n_seeds: int,
    *,
    workers: Workers,
    progress: Callable[[Progress], None],
    device: str = "cpu",
    more: Mapping[str, Mapping[Config, int]] | None = None,
    log: Callable[[str], None] = lambda line: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Progress:
    """Train and track every planned run that is not in the store yet.

    Parameters
    ----------
    experiments : mapping of experiment name to Experiment
    store : Store
    n_seeds : int
        Seeds per config; an experiment may take a share of them, or cross its own.
    workers : Workers
        Who trains; this process writes to the store.
    progress : callable
        Called with the progress, at first and after each run.
    device : {"cpu", "cuda"}
        What to train on.
    more : mapping of experiment name to mapping of Config to int, optional
        Configs that need at least so many seeds.
    log : callable
        Called with each message, one line.
    meanwhile : callable
        Called once, while workers train.

    Returns
    -------
    Progress
        As it was at the end.

    Raises
    ------
    WorkerLostError
        If work killed every worker that took it; what is tracked stays.
    LostError
        If the cluster's scheduler went away.
    """
    ids = [store.experiment(name, {}) for name in experiments]

    def waiting(holder: str) -> None:
        log(f"waiting for another sweep, {holder}, to end")

    names = {  # of each config's runs, by what differs within the experiment: MLflow's list cuts long names
        name: dict(zip(experiment.configs, config_names(experiment.configs), strict=True))
        for name, experiment in experiments.items()
    }
    with sweep_lock(store, ids, waiting) as check_lock:  # only then: others train by the plan that stands
        coverages = _plan(experiments, store, n_seeds, log)
        takers: dict[tuple[Config, Seeds], list[MissingRun]] = {}  # experiments may share networks
        for name, experiment in experiments.items():
            for run in missing_runs(experiment, coverages[name], n_seeds, (more or {}).get(name)):
                takers.setdefault((run.config, run.seeds), []).append(run)
        missing = [run for runs in takers.values() for run in runs]
        batches = make_batches(missing, device)
        state = Progress(
            configs_planned=sum(len(experiment.configs) for experiment in experiments.values()),
            runs_planned=len(missing),
            networks_planned=sum(batch.networks for batch in batches),
            cost_planned=sum(batch.cost for batch in batches),
        )
        progress(state)
        sharers = 1 if workers.is_cluster else workers.count
        tasks = [(batch, device, sharers) for batch in batches]
        trained = run_tasks(
            train_batch, tasks, workers, log=log, name=lambda task: task[0].label, meanwhile=meanwhile
        )
        for index, records in trained:
            batch = batches[index]
            for config, record in zip(batch.configs, records, strict=True):
                for run in takers[config, batch.seeds]:
                    stop_if_asked()
                    check_lock()
                    name = names[run.experiment_name][config]
                    _track(store, coverages[run.experiment_name], run, described(record, run, name))
                    state.runs += 1
            state.networks += batch.networks
            state.cost += batch.cost
            progress(state)
    return state


def _plan(
    experiments: Mapping[str, Experiment], store: Store, n_seeds: int, log: Callable[[str], None]
) -> dict[str, Coverage]:
    """Store each experiment's plan, end abandoned runs, and return what is there already."""
    known = store.experiments()
    coverages = {}
    for name, experiment in experiments.items():
        experiment_id, before = known[name]
        runs = store.runs(experiment_id)
        if store.end_abandoned(runs, is_abandoned):
            runs = store.runs(experiment_id)
        tags = revise(
            plan_tags(experiment, experiment.seeds(n_seeds)), planned_contrasts(experiment), before, runs
        )
        store.experiment(name, tags)
        coverages[name] = make_coverage(name, experiment_id, {**before, **tags}, runs, store)
        for entry in coverages[name].entries:
            for run_id, lost in entry.damage.items():
                log(
                    f"{name}: training {entry.name} again, because {', '.join(lost)} of run {run_id} is lost or altered"
                )
    return coverages


def _track(store: Store, coverage: Coverage, run: MissingRun, record: Record) -> None:
    """Write a run, and supersede those that it replaces."""
    old = coverage.superseded_by(run.config, run.seeds)
    with finishing_first():
        run_id = store.write(coverage.experiment_id, record)
        for replaced in old:
            store.tag_run(replaced.run_id, SUPERSEDED, run_id)


def described(record: Record, run: MissingRun, name: str) -> Record:
    """Return the record under a name, which its examples bear too, and with the tags that say what they are."""
    common = {**made_with(f"experiments/{run.experiment_name}.py"), CODE: code_digest()}
    own = {
        FINGERPRINT: fingerprint(run.config, run.seeds, code_digest()),
        EXAMPLES: json.dumps([int(child.params["seed"]) for child in record.children]),
        NOTE: f"{run.config.label()}, trained on seeds {run.seeds}. Every seed's scores are in `seeds.csv`; the runs "
        "below show one network of each kind by itself.",
    }
    children = [
        dataclasses.replace(
            child,
            name=f"seed {child.params['seed']} · {child.tags[STATE]} · {name}",
            tags={**child.tags, **common},
        )
        for child in record.children
    ]
    return dataclasses.replace(record, name=name, tags={**record.tags, **common, **own}, children=children)
