"""The turn of a store that several machines share: a lease that its holder checks."""

import json
import socket
import time

import pytest

from qwerties.execution.processes import is_gone, is_local, this_process
from qwerties.study import sweep_lock
from qwerties.study.sweep_lock import LEASE, LeaseLostError, turn


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


def lease(process="elsewhere:1:2:3", token="theirs", seconds=60.0):
    return json.dumps({"process": process, "token": token, "until": time.time() + seconds})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("SETTLES", "POLLED"):
        monkeypatch.setattr(sweep_lock, name, 0.01)
    monkeypatch.setattr(sweep_lock.random, "random", lambda: 0.0)


def never(holder):
    raise AssertionError(f"nobody holds it, got {holder}")


def test_a_lease_is_there_for_the_block_and_gone_after_it():
    store = Tags()
    with turn(store, ["1", "2"], never) as check:
        assert all(json.loads(tags[LEASE])["process"] == this_process() for tags in store.tags.values())
        check()
    assert store.tags == {"1": {}, "2": {}}


def test_a_lease_that_another_has_taken_is_noticed_and_left_to_them():
    store = Tags()
    with turn(store, ["1", "2"], never) as check:
        store.tag_experiment("2", LEASE, lease())
        with pytest.raises(LeaseLostError, match="another sweep, elsewhere:1:2:3, has taken over"):
            check()
    assert store.tags["1"] == {}
    assert json.loads(store.tags["2"][LEASE])["token"] == "theirs"


def test_another_sweep_of_this_very_process_is_another():
    """As in two threads, or two containers whose processes have one number."""
    store = Tags()
    store.tag_experiment("1", LEASE, lease(process=this_process(), seconds=0.2))
    waited = []
    with turn(store, ["1"], waited.append):
        pass
    assert waited == [this_process()]


@pytest.mark.parametrize("tag", ["", "no json", "[]", '{"until": "soon"}', lease(seconds=-1)])
def test_a_tag_that_holds_no_lease_is_nobody_s(tag):
    store = Tags()
    store.tag_experiment("1", LEASE, tag)
    with turn(store, ["1"], never) as check:
        check()


def test_the_holder_waits_for_its_turn():
    store, waited = Tags(), []
    store.tag_experiment("1", LEASE, lease(seconds=0.3))
    started = time.monotonic()
    with turn(store, ["1"], waited.append):
        assert time.monotonic() - started >= 0.2
    assert waited == ["elsewhere:1:2:3"]


def test_a_process_of_another_container_with_this_host_s_name_is_not_local():
    host, pid, start, namespace = this_process().split(":")
    assert host == socket.gethostname()
    assert is_local(this_process())
    assert not is_gone(this_process())
    assert not is_local(f"{host}:{pid}:{start}:{int(namespace or 1) + 1}")
    assert not is_gone(f"{host}:999999999:{start}:{int(namespace or 1) + 1}")
    assert is_gone(f"{host}:{pid}:{start}1:{namespace}")  # another process has its number
    assert is_gone(f"{host}:999999999:1")  # as older versions wrote it
