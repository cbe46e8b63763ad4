"""A Dask cluster does what this machine's processes do, and only workers like this process get tasks."""

import threading
import time

import pytest
import torch
from tasks import die_always, double, fail, nap

from qwerties.errors import UsageError
from qwerties.execution import cluster
from qwerties.execution.calls import LOST, LostError
from qwerties.execution.workers import run_tasks

pytestmark = pytest.mark.server


def test_a_cluster_does_every_task_once_and_few_results_wait(dask_cluster, tmp_path):
    assert cluster.check(dask_cluster.uri, print) is torch.cuda.is_available()
    read = []
    tasks = ((read.append(i) or i, tmp_path) for i in range(12))
    found = {}
    for index, result in run_tasks(double, tasks, dask_cluster.as_workers):
        found[index] = result
        time.sleep(0.05)
        assert len(read) <= len(found) + 3
        assert len(list(tmp_path.iterdir())) <= len(found) + 3
    assert found == {i: 2 * i for i in range(12)}


def test_an_error_of_a_task_of_a_cluster_is_not_swallowed(dask_cluster):
    with pytest.raises(ArithmeticError, match="task"):
        list(run_tasks(fail, [(i,) for i in range(3)], dask_cluster.as_workers))


def test_workers_of_other_code_are_refused(dask_cluster, monkeypatch):
    ours = cluster.environment()
    monkeypatch.setattr(cluster, "environment", lambda: {**ours, "code": "another"})
    for attempt in (
        lambda: cluster.check(dask_cluster.uri, print),
        lambda: list(run_tasks(double, [(1,)], dask_cluster.as_workers)),
    ):
        with pytest.raises(UsageError) as refused:
            attempt()
        assert str(refused.value).startswith(
            "--scheduler must have workers like this process, got tcp://127.0.0.1:"
        )
        assert str(refused.value).endswith(f": code {ours['code']} where it is another here")


def test_a_cluster_without_workers_is_refused(start_cluster, monkeypatch):
    deserted = start_cluster(0)
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    with pytest.raises(UsageError) as refused:
        cluster.check(deserted.uri, print)
    assert str(refused.value) == (
        f"--scheduler must have one worker or more, got {deserted.uri}, which has none"
    )


def test_a_scheduler_that_goes_away_ends_the_sweep_in_one_line(start_cluster):
    fragile = start_cluster(1)
    killer = threading.Timer(1, fragile.scheduler.kill)
    with pytest.raises(LostError, match=f"^the scheduler {fragile.uri} was lost: "):
        list(run_tasks(nap, [(60,), (60,)], fragile.as_workers, meanwhile=killer.start))
    killer.join()


def test_a_worker_of_another_version_that_joins_late_gets_no_task(start_cluster, tmp_path):
    """Its work is left to the others; and when they die, to those like them that come."""
    other = tmp_path / "other" / "qwerties"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('another version')\n")
    joined, lines = start_cluster(1), []

    def tasks():
        joined.start_worker(path=str(other.parent))
        while len(lines) < 3:
            yield (0.1,)

    def log(line):
        lines.append(line)
        if "gets no task" in line:
            joined.workers[0].kill()
        elif "no worker left" in line:
            joined.start_worker()

    results = list(run_tasks(nap, tasks(), joined.as_workers, log=log))
    assert sorted(results) == [(i, None) for i in range(len(results))]
    assert lines[0].startswith("worker tcp://127.0.0.1:")
    assert " gets no task, it is unlike this process: " in lines[0]
    list(run_tasks(nap, [(0.1,)], joined.as_workers, log=log))  # the worker is named only once
    assert lines[1:] == [LOST, f"{joined.uri} has no worker left: waiting for one"]


def test_a_task_that_kills_every_worker_of_a_cluster_is_named(start_cluster, tmp_path):
    fragile = start_cluster(2)
    cluster.check(fragile.uri, print)
    with pytest.raises(LostError) as lost:
        list(run_tasks(die_always, [(3, tmp_path)], fragile.as_workers, name=lambda task: "task 3"))
    assert str(lost.value).startswith("task 3: every worker process that took it was lost")
