"""Per-seed tables: runs are joined, no seed counts twice, and what cannot be read is named."""

import io

import numpy as np
import pandas as pd
import pytest

from qwerties.analysis.tables import SeedTable, parse_scores, read_curves, read_seed_table
from qwerties.config import DEFAULT, Config
from qwerties.study.coverage import PlannedConfig
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import StoreError

A = Config(epochs=1)


def table(seeds, value=0.5):
    n = len(seeds)
    return pd.DataFrame(
        {
            "seed": seeds,
            "state": ["learned"] * n,
            "train_accuracy": value,
            "phi": np.where(np.arange(n) == 0, np.nan, value),
            "population_accuracy": value,
            "gain": value,
        }
    )


class Shelf:
    """Stands for the store: artifacts by run and path."""

    def __init__(self, files):
        self.files = files

    def read(self, run, path):
        if (run.run_id, path) not in self.files:
            raise StoreError(f"run {run.run_id} ({run.name}): artifact {path} cannot be read")
        return self.files[run.run_id, path]


def csv(frame):
    return frame.to_csv(index=False).encode()


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return (tmp_path / "a.npz").read_bytes()


def two_runs():
    return tuple(Tracked(name, "1", A.label(), "FINISHED", None, {}, {}, {}, "") for name in ("one", "two"))


def test_runs_are_joined_and_no_seed_counts_twice(tmp_path):
    first, second = table([0, 1, 2], 0.5), table([2, 3], 0.9)
    losses = {"one": np.arange(6.0).reshape(3, 2), "two": np.array([[50.0, 60], [70, 80]])}
    files = {("one", "seeds.csv"): csv(first), ("two", "seeds.csv"): csv(second)}
    for name, loss in losses.items():
        files[name, "curves.npz"] = npz(tmp_path, epochs=np.array([1, 9]), loss=loss)
    found, problems = read_seed_table(Shelf(files), PlannedConfig("a", A, two_runs(), "done"))
    assert problems == []
    assert found.frame["seed"].tolist() == [0, 1, 2, 3]
    assert found.frame["population_accuracy"].tolist() == [0.5, 0.5, 0.5, 0.9]
    epochs, loss = read_curves(Shelf(files), found, "loss")
    assert epochs.tolist() == [1, 9]
    assert loss.tolist() == [[0, 1], [2, 3], [4, 5], [70, 80]]


def test_a_run_without_scores_is_named_and_the_other_read():
    found, problems = read_seed_table(
        Shelf({("two", "seeds.csv"): csv(table([5]))}), PlannedConfig("a", A, two_runs(), "done")
    )
    assert found.frame["seed"].tolist() == [5]
    assert len(problems) == 1
    assert "one" in problems[0]
    assert read_seed_table(Shelf({}), PlannedConfig("a", A, two_runs(), "done"))[0] is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "No columns"),
        (b"\xff\xfe\x00", "decode"),
        (b"seed,state\n0,learned\n", "lacks the columns gain, phi"),
        (csv(table([0, 1])).replace(b"\n1,", b"\nx,"), "whole numbers"),
        (csv(table([0, 1])).replace(b"\n1,learned", b"\n1,<b>"), "states must be among"),
        (csv(table([0, 1])).replace(b"0.5\n1", b"half\n1"), "half"),
    ],
)
def test_a_table_that_is_none_is_told(content, said):
    with pytest.raises(ValueError, match=said):
        parse_scores(content)


def test_curves_that_cannot_be_read_are_told(tmp_path):
    found = SeedTable(DEFAULT, two_runs()[:1], (np.arange(2),), table([0, 1]))
    pickled = npz(tmp_path, epochs=np.array([1]), loss=np.array([{}, {}], dtype=object))
    short = npz(tmp_path, epochs=np.array([1]), loss=np.zeros((1, 1)))
    array = io.BytesIO()
    np.save(array, np.zeros(2))
    without = npz(tmp_path, epochs=np.array([1]))
    for content in (b"", b"PK", b"PK\x03\x04xx", array.getvalue(), pickled, short, without):
        with pytest.raises(StoreError, match=r"run one .* curves\.npz cannot be read"):
            read_curves(Shelf({("one", "curves.npz"): content}), found, "loss")
