"""Artifacts that do not lie on this machine are fetched ahead, each once, and no more than a few runs ahead."""

import json
import threading

import pytest

from qwerties.tracking.records import Tracked
from qwerties.tracking.store import StoreError
from qwerties.tracking.tags import ARTIFACTS
from qwerties.verify import fetch
from qwerties.verify.fetch import is_inside, readers

FILES = ("seeds.csv", "plots/a.png")


def tracked(number, tag=None, uri="mlflow-artifacts:/1"):
    digests = json.dumps(dict.fromkeys(FILES, "digest")) if tag is None else tag
    return Tracked(str(number), "1", "name", "FINISHED", None, {}, {}, {ARTIFACTS: digests}, uri)


class Far:
    """A store that counts what it is asked for."""

    def __init__(self, lost=()):
        self.asked, self.lost, self.lock = [], lost, threading.Lock()

    def read(self, run, path):
        with self.lock:
            self.asked.append((run.run_id, path))
        if path in self.lost:
            raise StoreError(f"{path} is lost")
        return f"{run.run_id} {path}".encode()


def test_each_is_asked_for_once_however_often_it_is_read():
    store, runs = Far(), [tracked(i) for i in range(20)]
    for run, read in zip(runs, readers(store, runs), strict=True):
        for path in (*FILES, *FILES):
            assert read(path) == f"{run.run_id} {path}".encode()
    assert sorted(store.asked) == sorted((run.run_id, path) for run in runs for path in FILES)


def test_no_more_than_a_few_runs_are_under_way():
    store, taken = Far(), []

    def runs():
        for i in range(100):
            taken.append(i)
            yield tracked(i)

    for done, read in enumerate(readers(store, runs()), 1):
        assert len(taken) <= done + fetch.AHEAD
        read(FILES[0])
        if done == 40:
            break
    assert {int(run_id) for run_id, _ in store.asked} <= set(range(40 + fetch.AHEAD))


def test_what_is_lost_is_told_when_it_is_read():
    store = Far(lost=FILES[:1])
    (read,) = readers(store, [tracked(0)])
    assert read(FILES[1])
    for _ in range(2):
        with pytest.raises(StoreError, match=r"seeds\.csv is lost"):
            read(FILES[0])


@pytest.mark.parametrize(
    "tag", ["", "[]", "[1]", "no JSON", "[" * 100_000, json.dumps({"../x": "", "/y": ""})]
)
def test_what_the_tag_does_not_name_is_read_when_it_is_asked_for(tag):
    store = Far()
    (read,) = readers(store, [tracked(0, tag)])
    assert store.asked == []
    assert read("curves.npz") == b"0 curves.npz"


def test_what_lies_on_this_machine_is_read_when_it_is_asked_for():
    store = Far()
    (read,) = readers(store, [tracked(0, uri="/here")])
    assert store.asked == []
    read(FILES[0])
    read(FILES[0])
    assert len(store.asked) == 2


def test_a_path_lies_within_its_run_or_not():
    assert is_inside("plots/a.png")
    assert not is_inside("/plots/a.png")
    assert not is_inside("plots/../../a.png")
