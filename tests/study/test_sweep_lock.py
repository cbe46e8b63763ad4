"""One sweep at a time in one store, and which RUNNING runs nobody writes any more."""

import os
import socket
import subprocess
import threading
import time

import pytest
from factories import new_store

from qwerties.execution.processes import this_process
from qwerties.study import sweep_lock
from qwerties.study.sweep_lock import ABANDONED, is_abandoned, turn
from qwerties.tracking.records import Tracked
from qwerties.tracking.tags import PROCESS


def running(process, seconds):
    tags = {PROCESS: process} if process else {}
    return Tracked("id", "1", "a run", "RUNNING", None, {}, {}, tags, "uri", start_time=time.time() - seconds)


def test_runs_of_this_host_are_abandoned_as_soon_as_their_process_has_ended():
    with subprocess.Popen(["true"]) as process:
        pass
    host = socket.gethostname()
    assert is_abandoned(running(f"{host}:{process.pid}", 0))
    assert not is_abandoned(running(this_process(), 10 * ABANDONED))
    assert not is_abandoned(running(f"{host}:{os.getpid()}", 10 * ABANDONED))


@pytest.mark.parametrize("process", ["another-host:1:1", ""])
def test_runs_of_others_are_abandoned_after_a_while(process):
    assert not is_abandoned(running(process, ABANDONED - 60))
    assert is_abandoned(running(process, ABANDONED + 60))


def test_the_second_waits_for_the_first_and_is_told_who_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_lock, "POLLED", 0.01)
    store, order, waits = new_store(tmp_path), [], threading.Event()

    def second():
        with turn(store, [], lambda holder: (order.append(holder), waits.set())):
            order.append("second")

    with turn(store, [], pytest.fail):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join(60)
    assert order == [this_process(), "first", "second"]
    with turn(store, [], pytest.fail):  # free again
        pass


def test_parts_do_not_wait_for_each_other(tmp_path):
    store = new_store(tmp_path)
    with turn(store, [], pytest.fail), turn(store, [], pytest.fail, part="map"):
        pass
