"""One sweep at a time in one store, by a lock or by a lease; and which RUNNING runs nobody writes any more."""

import json
import os
import socket
import subprocess
import threading
import time

import pytest
from factories import new_store

from qwerties.execution.processes import process_words, this_process
from qwerties.study import sweep_lock as module
from qwerties.study.sweep_lock import ABANDONED, LeaseLostError, is_abandoned, sweep_lock
from qwerties.tracking.records import Tracked
from qwerties.tracking.tags import LEASE, PROCESS


class Tags:
    """Tags of experiments, as a server's store keeps them."""

    file = None

    def __init__(self):
        self.tags = {"1": {}, "2": {}}

    def experiment_tags(self):
        return {key: dict(value) for key, value in self.tags.items()}

    def tag_experiment(self, experiment_id, key, value):
        self.tags[experiment_id][key] = value

    def untag_experiment(self, experiment_id, key):
        del self.tags[experiment_id][key]


def lease(process="elsewhere:1:2:3", token="theirs", seconds=60.0, until=None):
    return json.dumps({"process": process, "token": token, "until": until or time.time() + seconds})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("SETTLES", "POLLED"):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(module.random, "random", lambda: 0.0)


def never(holder):
    raise AssertionError(f"nobody holds the lease, got {holder}")


def test_a_lease_is_there_for_the_block_and_gone_after_it():
    store = Tags()
    with sweep_lock(store, ["1", "2"], never) as check:
        assert all(json.loads(tags[LEASE])["process"] == this_process() for tags in store.tags.values())
        check()
    assert store.tags == {"1": {}, "2": {}}


def test_a_lease_that_another_has_taken_is_noticed_and_left_to_them():
    store = Tags()
    with sweep_lock(store, ["1", "2"], never) as check:
        store.tag_experiment("2", LEASE, lease())
        with pytest.raises(LeaseLostError, match="another sweep, process 1 on elsewhere, has taken over"):
            check()
    assert store.tags["1"] == {}
    assert json.loads(store.tags["2"][LEASE])["token"] == "theirs"


def test_another_sweep_of_this_very_process_is_another():
    """As in two threads, or two containers whose processes have one number."""
    store = Tags()
    store.tag_experiment("1", LEASE, lease(process=this_process(), seconds=0.2))
    waited = []
    with sweep_lock(store, ["1"], waited.append):
        pass
    assert waited == [process_words(this_process())]


@pytest.mark.parametrize("tag", ["", "no json", "[]", '{"until": "soon"}', lease(until=1.0)])
def test_a_tag_that_holds_no_lease_is_nobody_s(tag):
    store = Tags()
    store.tag_experiment("1", LEASE, tag)
    with sweep_lock(store, ["1"], never) as check:
        check()


def test_a_lease_of_another_is_waited_for():
    store, waited = Tags(), []
    store.tag_experiment("1", LEASE, lease(seconds=0.3))
    started = time.monotonic()
    with sweep_lock(store, ["1"], waited.append):
        assert time.monotonic() - started >= 0.2
    assert waited == ["process 1 on elsewhere"]


def test_a_sweep_that_is_stopped_while_it_takes_a_lease_leaves_none(monkeypatch):
    def stop(seconds):
        assert all(LEASE in tags for tags in store.tags.values())
        raise KeyboardInterrupt

    store = Tags()
    monkeypatch.setattr(module.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt), sweep_lock(store, ["1", "2"], never):
        pass
    assert store.tags == {"1": {}, "2": {}}


# The lock of a store that is a file


def test_the_second_waits_for_the_first_and_is_told_who_it_is(tmp_path):
    store, order, waits = new_store(tmp_path), [], threading.Event()

    def second():
        with sweep_lock(store, [], lambda holder: (order.append(holder), waits.set())):
            order.append("second")

    with sweep_lock(store, [], pytest.fail):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join(60)
    assert order == [process_words(this_process()), "first", "second"]
    with sweep_lock(store, [], pytest.fail):  # free again
        pass


def test_parts_do_not_wait_for_each_other(tmp_path):
    store = new_store(tmp_path)
    with sweep_lock(store, [], pytest.fail), sweep_lock(store, [], pytest.fail, part="map"):
        pass


# Runs without a writer


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
