"""Train and track what is not tracked yet: workers train, score and draw; this process writes to the store."""

from __future__ import annotations

import dataclasses
import datetime
import json
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from joblib import Parallel, delayed, parallel_config

from qwerties.config import Config, Seeds, fingerprint
from qwerties.experiment import (
    EMPTY,
    Experiment,
    Shard,
    code_digest,
    make_shards,
    missing_jobs,
    plan_changes,
)
from qwerties.record import Record
from qwerties.results import train_records
from qwerties.tracking import NOTE, Store, Tracked

SECONDS_BETWEEN_REPORTS = 0.5

CONTRASTS = "qwerties.contrasts"
PLAN_CHANGES = "qwerties.plan_changes"
"""Tag of an experiment: what was changed in its contrasts after there were data."""

MOST_HISTORY = 15_000
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
    workers: int,
    progress: Callable[[Progress], None],
    more: Mapping[str, Mapping[Config, int]] = EMPTY,
) -> Progress:
    """Train and track every planned run that is not in the store yet.

    Parameters
    ----------
    experiments : mapping of file stem to Experiment
    store : Store
    wanted : int
        Seeds per config; an experiment may take a share of them, or cross its own.
    workers : int
        Processes that train; this one writes to the store.
    progress : callable
        Called with the state of things, now and then, from another thread.
    more : mapping of file stem to mapping of Config to int
        Configs that need at least so many seeds, whatever the others have.

    Returns
    -------
    Progress
        As it was at the end.
    """
    ids, jobs = {}, []
    known = store.experiments()
    for stem, experiment in experiments.items():
        tags = experiment.tags(experiment.seeds(wanted))
        found, before = known.get(stem, (None, {}))
        tracked = store.runs(found) if found else []
        ids[stem] = store.experiment(stem, {**tags, **_plan_history(before, tags, tracked)})
        store.end_abandoned(tracked)
        jobs += missing_jobs(stem, experiment, wanted, tracked, more.get(stem, EMPTY))
    shards = make_shards(jobs)
    takers: dict[tuple[Config, Seeds], list[str]] = {}
    for job in jobs:
        takers.setdefault((job.config, job.seeds), []).append(job.stem)

    state = Progress(
        configs_planned=sum(len(experiment.configs) for experiment in experiments.values()),
        runs_planned=len(jobs),
        networks_planned=sum(shard.networks for shard in shards),
        cost_planned=sum(shard.cost for shard in shards),
    )
    with tempfile.TemporaryDirectory(prefix="qwerties-") as folder:
        tasks = [Task(shard, Path(folder, str(i))) for i, shard in enumerate(shards)]
        with _reporting(lambda: progress(_with_work_in_hand(state, tasks))):
            for task, records in run_tasks(tasks, workers):
                for config, record in zip(task.shard.configs, records, strict=True):
                    for stem in takers[config, task.shard.seeds]:
                        store.write(ids[stem], _tagged(record, stem, config, task.shard.seeds))
                        state = dataclasses.replace(state, runs=state.runs + 1)
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
    changed = plan_changes(before.get(CONTRASTS, "[]"), tags[CONTRASTS]) if finished else []
    if not changed:
        return {}
    try:
        history = list(json.loads(before.get(PLAN_CHANGES, "[]")))
    except (ValueError, TypeError):
        history = []  # overwritten by somebody: what is new is told all the same
    history.append({"when": datetime.date.today().isoformat(), "runs": finished, "what": changed})
    while len(text := json.dumps(history)) > MOST_HISTORY and len(history) > 1:
        del history[len(history) // 2]  # the first and the latest tell most
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


@dataclass(frozen=True)
class Task:
    """A shard on its way, and the file in which its worker says how many network-epochs are done."""

    shard: Shard
    meter: Path


def _with_work_in_hand(state: Progress, tasks: Sequence[Task]) -> Progress:
    """Add what workers have done of shards that are not through."""
    part = 0.0
    for task in tasks:
        try:
            part += task.shard.cost * int(task.meter.read_text() or 0) / task.shard.network_epochs
        except OSError:
            continue  # not begun, or through
    return dataclasses.replace(state, cost=min(state.cost + part, state.cost_planned))


def run_tasks(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, list[Record]]]:
    """Train shards in worker processes of one thread each; yields results as they come, few at a time in memory."""
    if workers == 1 or len(tasks) == 1:
        yield from map(_run_task, tasks)
        return
    warnings.filterwarnings(
        "ignore", r"\d+ tasks ", UserWarning
    )  # joblib's, about work that a Ctrl-C leaves undone
    with parallel_config(backend="loky", inner_max_num_threads=1, initializer=_ignore_interrupts):
        parallel = Parallel(
            n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch=workers + 1
        )
        yield from parallel(delayed(_run_task)(task) for task in tasks)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that writes: it ends the workers, and nobody prints a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_task(task: Task) -> tuple[Task, list[Record]]:
    done, said = 0, 0.0

    def progress(network_epochs: int) -> None:
        nonlocal done, said
        done += network_epochs
        if time.monotonic() - said > SECONDS_BETWEEN_REPORTS:
            said = time.monotonic()
            task.meter.write_text(str(done))

    shard = task.shard
    return task, train_records(shard.configs, shard.seeds, compiled=shard.compiled, progress=progress)


def _tagged(record: Record, stem: str, config: Config, seeds: Seeds) -> Record:
    """The record with the tags that say what it is, on it and on its exemplars."""
    common = {
        "qwerties.version": version("qwerties"),
        "qwerties.code": code_digest(),
        "mlflow.source.name": f"experiments/{stem}.py",
    }
    own = {
        "qwerties.fingerprint": fingerprint(config, seeds, code_digest()),
        NOTE: f"{config.label()}, trained on seeds {seeds}. Every seed's scores are in `seeds.csv`; the runs below "
        "show one network of each kind by itself.",
    }
    children = [dataclasses.replace(child, tags={**child.tags, **common}) for child in record.children]
    return dataclasses.replace(record, tags={**record.tags, **common, **own}, children=children)
