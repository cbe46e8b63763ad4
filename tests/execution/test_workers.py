"""Every task is done once, by one process or several, however many of them die."""

import errno
import os
import time

import psutil
import pytest
import torch
from tasks import die_always, die_once, double, fail, nap, threads

from qwerties.errors import FailedError, UsageError
from qwerties.execution.calls import LOST
from qwerties.execution.workers import WorkerLostError, Workers, cores, run_tasks


@pytest.mark.parametrize(("count", "tasks"), [(1, 0), (1, 3), (2, 0), (2, 1), (2, 10)])
def test_every_task_is_done_once_and_something_else_before_the_first_result(count, tasks):
    order = []
    todo = ((i,) for i in range(tasks))
    for index, result in run_tasks(double, todo, Workers(count), meanwhile=lambda: order.append("else")):
        order.append((index, result))
    assert order[0] == "else"
    assert sorted(order[1:]) == [(i, 2 * i) for i in range(tasks)]


def test_workers_work_meanwhile(tmp_path):
    def wait():
        end = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        done.extend(tmp_path.iterdir())

    done = []
    assert len(list(run_tasks(double, [(i, tmp_path) for i in range(4)], Workers(2), meanwhile=wait))) == 4
    assert len(done) >= 2


def test_results_that_wait_to_be_written_are_few(tmp_path):
    """A writer that is slower than two workers finds at most three results ready."""
    read = []
    tasks = ((read.append(i) or i, tmp_path) for i in range(12))
    for taken, _ in enumerate(run_tasks(double, tasks, Workers(2)), 1):
        time.sleep(0.1)
        assert len(read) <= taken + 3
        assert len(list(tmp_path.iterdir())) <= taken + 3
    assert taken == 12


def test_the_work_of_a_worker_that_dies_is_done_again(tmp_path):
    lines = []
    found = list(run_tasks(die_once, [(i, tmp_path) for i in range(8)], Workers(2), log=lines.append))
    assert sorted(found) == [(i, 2 * i) for i in range(8)]
    assert lines == [LOST]


def test_a_task_that_kills_every_worker_is_named_and_the_others_are_not(tmp_path):
    lines = []
    tasks = [(i, tmp_path) for i in range(5)]
    with pytest.raises(WorkerLostError) as lost:
        list(run_tasks(die_always, tasks, Workers(2), log=lines.append, name=lambda task: f"task {task[0]}"))
    assert str(lost.value) == (
        "task 3: every worker process that took it was lost, perhaps for want of memory"
    )
    assert lines == [LOST, LOST]
    assert len(list(tmp_path.glob("3-*"))) == 3


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_task_is_not_swallowed(count):
    with pytest.raises(ArithmeticError, match="task"):
        list(run_tasks(fail, [(i,) for i in range(3)], Workers(count)))
    assert not workers_here()
    assert dict(run_tasks(double, [(1,), (2,)], Workers(count))) == {0: 2, 1: 4}  # and others can be done


def workers_here():
    return {p.pid for p in psutil.Process().children() if "popen_loky" in " ".join(p.cmdline())}


def test_workers_end_when_nobody_takes_their_results():
    results = run_tasks(nap, [(0,), (30,), (30,)], Workers(2))
    next(results)
    assert workers_here()
    results.close()
    assert not workers_here()


@pytest.mark.slow
def test_processes_that_are_started_early_do_the_tasks_or_end_with_the_error(tmp_path):
    with Workers(2).started("tasks"):
        deadline = time.monotonic() + 30
        while (
            len(early := workers_here()) < 2 and time.monotonic() < deadline
        ):  # a loaded machine takes a moment
            time.sleep(0.01)
        assert len(early) == 2
        assert dict(run_tasks(double, [(1, tmp_path), (2, tmp_path)], Workers(2))) == {0: 2, 1: 4}
    assert workers_here() == early
    with pytest.raises(KeyboardInterrupt), Workers(2).started("torch"):
        raise KeyboardInterrupt
    assert not workers_here()


def test_processes_that_cannot_be_started_are_no_fault_of_the_store(monkeypatch):
    """As where /dev/shm is read-only: an OSError would be taken for the database's."""

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("joblib.externals.loky.get_reusable_executor", refuse)
    with pytest.raises(FailedError, match=r"^worker processes cannot be started, --jobs 1 needs none: "):
        list(run_tasks(double, [(1,), (2,)], Workers(2)))
    with Workers(2).started("tasks"):  # not needed yet
        pass


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])  # two import torch
def test_a_task_has_one_thread_and_leaves_the_others_theirs(count):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert dict(run_tasks(threads, [(), ()], Workers(count))) == {0: 1, 1: 1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_number_of_cores_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "many")
    with pytest.raises(UsageError, match="LOKY_MAX_CPU_COUNT must be a whole number above 0, got 'many'"):
        cores()
