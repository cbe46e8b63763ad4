"""Train and track what is not tracked yet: workers train, score and draw; this process writes to the store."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import platform
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from qwerties.config import Config, Seeds, fingerprint
from qwerties.execution.signals import finishing_first, stop_if_asked
from qwerties.execution.workers import Workers, run_tasks, warming_up
from qwerties.scoring.digest import code_digest
from qwerties.study.budget import mark_late
from qwerties.study.chunks import contrasts_of, contrasts_tags, contrasts_text
from qwerties.study.experiment import (
    EMPTY,
    Experiment,
    Job,
    are_several,
    is_complete,
    make_shards,
    missing_jobs,
    plan_changes,
    replaced,
)
from qwerties.study.sweep_lock import is_abandoned, turn
from qwerties.study.tasks import SECONDS_BETWEEN_REPORTS, SHARD, TRAINS, Task, train_shard
from qwerties.tracking.records import Record, Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import NOTE, SUPERSEDED

PLAN_CHANGES = "qwerties.plan_changes"
"""Tag of an experiment: what was changed in its contrasts after there were data."""

MAX_HISTORY = 15_000
"""Characters; MLflow takes up to 20,000 in a tag of an experiment."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is; costs are as in :class:`Shard`, those of work in hand included."""

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
    wanted: int,
    *,
    workers: Workers,
    progress: Callable[[Progress], None],
    device: str = "cpu",
    more: Mapping[str, Mapping[Config, int]] = EMPTY,
    tell: Callable[[str], None] = lambda line: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Progress:
    """Train and track every planned run that is not in the store yet.

    Parameters
    ----------
    experiments : mapping of experiment name to Experiment
    store : Store
    wanted : int
        Seeds per config; an experiment may take a share of them, or cross its own.
    workers : Workers
        Who trains; this process writes to the store.
    progress : callable
        Called with the state of things, now and then, from another thread.
    device : {"cpu", "cuda"}
        What to train on.
    more : mapping of experiment name to mapping of Config to int
        Configs that need at least so many seeds, whatever the others have.
    tell : callable
        Called with what there is to say besides, a line each.
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
    ClusterLostError
        If the cluster's scheduler went away.
    """
    ids = _plan(experiments, store, wanted)

    def waiting(holder: str) -> None:
        tell(f"waiting for another sweep, {holder}, to end")

    with turn(store, list(ids.values()), waiting) as check_turn:
        tracked = {
            experiment_name: store.runs(experiment_id) for experiment_name, experiment_id in ids.items()
        }
        jobs = []
        for experiment_name, experiment in experiments.items():
            store.end_abandoned(tracked[experiment_name], is_abandoned)
            sound = _sound(experiment_name, tracked[experiment_name], store, tell)
            jobs += missing_jobs(experiment_name, experiment, wanted, sound, more.get(experiment_name, EMPTY))
        planned = sum(len(experiment.configs) for experiment in experiments.values())
        return _work(
            jobs, planned, ids, tracked, store, workers, device, progress, tell, meanwhile, check_turn
        )


def _plan(experiments: Mapping[str, Experiment], store: Store, wanted: int) -> dict[str, str]:
    """Tell the store what is planned, before anything runs; returns the ids of the MLflow experiments."""
    known = store.experiments()
    ids = {}
    for experiment_name, experiment in experiments.items():
        tags = experiment.tags(experiment.seeds(wanted))
        found, before = known.get(experiment_name, (None, {}))
        runs = functools.partial(store.runs, found) if found else list
        tags |= contrasts_tags(mark_late(contrasts_of(tags), before, runs))
        changed = {}
        if contrasts_text(before) != contrasts_text(tags) and found:
            changed = _plan_history(before, tags, store.runs(found))
        ids[experiment_name] = store.experiment(experiment_name, {**tags, **changed})
    return ids


def _sound(
    experiment_name: str, runs: Sequence[Tracked], store: Store, tell: Callable[[str], None]
) -> list[Tracked]:
    """Those of the tracked runs whose artifacts are as they were written; the others are made anew."""
    sound = []
    for run in runs:
        damaged = store.damaged(run) if is_complete(run) else []
        if damaged:
            tell(
                f"{experiment_name}: training {run.name} again, because {', '.join(damaged)} of run {run.run_id} "
                "is lost or altered"
            )
        else:
            sound.append(run)
    return sound


def _work(
    jobs: Sequence[Job],
    configs_planned: int,
    ids: Mapping[str, str],
    tracked: Mapping[str, Sequence[Tracked]],
    store: Store,
    workers: Workers,
    device: str,
    progress: Callable[[Progress], None],
    tell: Callable[[str], None],
    meanwhile: Callable[[], None],
    check_turn: Callable[[], None],
) -> Progress:
    """Train what is to be trained and track it as it comes, as long as the store's turn is this process's."""
    with warming_up(workers, TRAINS) if are_several(job.config for job in jobs) else nullcontext():
        shards = make_shards(jobs, SHARD[device])
    takers: dict[tuple[Config, Seeds], list[str]] = {}
    for job in jobs:
        takers.setdefault((job.config, job.seeds), []).append(job.experiment_name)
    state = Progress(
        configs_planned=configs_planned,
        runs_planned=len(jobs),
        networks_planned=sum(shard.networks for shard in shards),
        cost_planned=sum(shard.cost for shard in shards),
    )
    with tempfile.TemporaryDirectory(prefix="qwerties-") as folder:
        # a cluster's workers may have other disks: there, progress goes by whole shards
        meters = [None if workers.is_cluster else Path(folder, str(i)) for i in range(len(shards))]
        sharers = 1 if workers.is_cluster else workers.count
        tasks = [Task(shard, device, meter, sharers) for shard, meter in zip(shards, meters, strict=True)]
        with _reporting(lambda: progress(_with_work_in_hand(state, tasks))):
            done = run_tasks(
                train_shard,
                [(task,) for task in tasks],
                workers,
                tell=tell,
                name=_in_words,
                meanwhile=meanwhile,
            )
            for place, records in done:
                task = tasks[place]
                seeds = task.shard.seeds
                for config, record in zip(task.shard.configs, records, strict=True):
                    for experiment_name in takers[config, seeds]:
                        stop_if_asked()
                        check_turn()
                        old = replaced(tracked[experiment_name], config, seeds)
                        with finishing_first():
                            run_id = store.write(
                                ids[experiment_name], _tagged(record, experiment_name, config, seeds)
                            )
                            for run in old:
                                store.tag_run(run.run_id, SUPERSEDED, run_id)
                        state = dataclasses.replace(state, runs=state.runs + 1)
                if task.meter:
                    task.meter.unlink(missing_ok=True)
                state = dataclasses.replace(
                    state,
                    networks=state.networks + task.shard.networks,
                    cost=state.cost + task.shard.cost,
                )
    return state


def _plan_history(
    before: Mapping[str, str], tags: Mapping[str, str], tracked: Sequence[Tracked]
) -> dict[str, str]:
    """The tag that tells what was changed in the plan's contrasts after there were data, if anything was."""
    finished = sum(run.status == "FINISHED" and run.parent is None for run in tracked)
    changed = plan_changes(contrasts_text(before), contrasts_text(tags)) if finished else []
    return history(before, changed, finished) if changed else {}


def history(before: Mapping[str, str], changed: Sequence[str], runs: int) -> dict[str, str]:
    """The tag that tells what was changed in a plan, with what was told before."""
    try:
        told = list(json.loads(before.get(PLAN_CHANGES, "[]")))
    except (ValueError, TypeError):
        told = []  # overwritten by somebody: what is new is told all the same
    told.append({"when": datetime.date.today().isoformat(), "runs": runs, "what": list(changed)})
    while len(text := json.dumps(told)) > MAX_HISTORY and len(told) > 1:
        del told[len(told) // 2]  # the first and the latest tell most
    return {PLAN_CHANGES: text}


@contextmanager
def _reporting(report: Callable[[], None]) -> Iterator[None]:
    """Call ``report`` at once, every half second, and at the end."""
    over = threading.Event()

    def run() -> None:
        report()
        while not over.wait(SECONDS_BETWEEN_REPORTS):
            report()
        report()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _with_work_in_hand(state: Progress, tasks: Sequence[Task]) -> Progress:
    """Add what workers have done of shards that are not through."""
    part = 0.0
    for task in tasks:
        if task.meter is None:
            continue
        try:
            part += task.shard.cost * int(task.meter.read_text() or 0) / task.shard.network_epochs
        except OSError:
            continue  # not begun, or through
    return dataclasses.replace(state, cost=min(state.cost + part, state.cost_planned))


def _in_words(arguments: tuple[Task]) -> str:
    shard = arguments[0].shard
    more = f" and {len(shard.configs) - 1} more" if len(shard.configs) > 1 else ""
    return f"{shard.configs[0].label()}{more} on seeds {shard.seeds}"


def _tagged(record: Record, experiment_name: str, config: Config, seeds: Seeds) -> Record:
    """The record with the tags that say what it is, on it and on its exemplars."""
    common = {
        "qwerties.version": version("qwerties"),
        "qwerties.python": platform.python_version(),
        **{f"qwerties.{name}": version(name) for name in ("torch", "numpy", "mlflow")},
        "qwerties.code": code_digest(),
        "mlflow.source.name": f"experiments/{experiment_name}.py",
    }
    own = {
        "qwerties.fingerprint": fingerprint(config, seeds, code_digest()),
        NOTE: f"{config.label()}, trained on seeds {seeds}. Every seed's scores are in `seeds.csv`; the runs below "
        "show one network of each kind by itself.",
    }
    children = [dataclasses.replace(child, tags={**child.tags, **common}) for child in record.children]
    return dataclasses.replace(record, tags={**record.tags, **common, **own}, children=children)
