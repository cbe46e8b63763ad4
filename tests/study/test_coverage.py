"""The coverage: every run is counted once and rightly, and what cannot be read is missing, not a crash."""

import dataclasses
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from qwerties.analysis.tables import SeedTable, parse_scores, read_curves, read_seed_table
from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.study.coverage import PlannedConfig, make_coverage, parse_tables
from qwerties.study.plan import FigureSpec
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import StoreError

CODE = "code"
SEEDS = Seeds(0, 10)
A, B, C = (Config(epochs=epochs) for epochs in (1, 2, 3))


def plan(*configs, seeds=SEEDS):
    keys = {fingerprint(config, seeds, CODE): config.label() for config in configs}
    return {"qwerties.plan": json.dumps({"seeds": str(seeds), "code": CODE, "configs": keys})}


def run(config, seeds="0-9", status="FINISHED", code=CODE, parent=None, **params):
    params = {**config.to_params(), "seeds": str(seeds), **params}
    return Tracked(
        f"r{id(params)}", "1", config.label(), status, parent, params, {}, {"qwerties.code": code}, ""
    )


def states(coverage):
    return [entry.state for entry in coverage.entries]


def test_a_config_is_done_when_its_runs_cover_every_planned_seed():
    runs = [run(A, "0-3"), run(A, "4-9"), run(B, "0-8"), run(C, "0-499")]
    coverage = make_coverage("x", "1", plan(A, B, C), runs)
    assert states(coverage) == ["done", "missing", "done"]
    assert len(coverage.entries[0].runs) == 2
    assert not coverage.complete
    assert coverage.count("done") == 2


def test_a_complete_plan():
    assert make_coverage("x", "1", plan(A, B), [run(B), run(A)]).complete


@pytest.mark.parametrize(
    ("status", "state"),
    [("FAILED", "failed"), ("KILLED", "failed"), ("RUNNING", "running"), ("SCHEDULED", "running")],
)
def test_a_run_that_is_not_finished_says_what_became_of_its_config(status, state):
    assert states(make_coverage("x", "1", plan(A, B), [run(A, status=status), run(B)])) == [state, "done"]
    again = make_coverage("x", "1", plan(A), [run(A, status=status), run(A)])
    assert states(again) == ["done"], "a later run makes good for it"


def test_stale_unplanned_and_exemplar_runs_do_not_count():
    runs = [
        run(A, code="older"),
        run(C),
        run(A, parent="r0"),
        run(A, seeds="nonsense"),
        run(A, epochs="many"),
    ]
    coverage = make_coverage("x", "1", plan(A), runs)
    assert states(coverage) == ["missing"]
    assert (coverage.stale, coverage.unplanned) == (1, 3)


def test_a_crossed_layout_is_joined_with_nothing():
    crossed = Seeds(0, 3, crossed=3)
    one = make_coverage("x", "1", plan(A, seeds=crossed), [run(A, "0-8"), run(A, Seeds(0, 4, crossed=4))])
    assert states(one) == ["missing"]
    assert states(make_coverage("x", "1", plan(A, seeds=crossed), [run(A, crossed)])) == ["done"]
    assert states(make_coverage("x", "1", plan(A), [run(A, Seeds(0, 5, crossed=2))])) == ["missing"]


def test_a_config_is_found_by_what_it_is():
    coverage = make_coverage("x", "1", plan(A, B), [run(B)])
    assert coverage.find(B) is coverage.entries[1]
    assert coverage.find(C) is None


def test_tags_are_read():
    contrast = {"a": A.to_params(), "b": B.to_params(), "delta": 0.02, "primary": True}
    tags = {
        "qwerties.title": "T",
        "qwerties.order": "7",
        "qwerties.figures": json.dumps([{"kind": "lines", "x": "epochs", "score": "gain"}]),
        "qwerties.contrasts": json.dumps([contrast]),
    }
    coverage = make_coverage("x", "1", {**plan(A, B), **tags}, [])
    assert (coverage.title, coverage.order) == ("T", 7)
    assert coverage.figures == (FigureSpec("lines", "epochs", "gain"),)
    assert [(c.a, c.b, c.delta, c.primary) for c in coverage.contrasts] == [(A, B, 0.02, True)]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '{"seeds": "all"}', '[{"kind": 1}, 2]', "[[]]", '"x"']
)
@pytest.mark.parametrize("tag", ["plan", "figures", "contrasts", "order"])
def test_a_tag_that_cannot_be_read_is_named(tag, text):
    coverage = make_coverage("x", "1", {**plan(A), f"qwerties.{tag}": text}, [run(A)])
    told = [f"the tag qwerties.{tag} cannot be read"]
    if (tag, text) in {("figures", "[]"), ("contrasts", "[]"), ("order", "3")}:
        told = []
    assert list(coverage.problems) == told
    assert coverage.complete == (not told)


def test_an_experiment_without_a_plan_shows_its_runs_as_they_are():
    coverage = make_coverage("train", "1", {}, [run(A), run(A, parent="r")])
    assert coverage.plan is None
    assert len(coverage.loose) == 1
    assert coverage.title == "train"


# What runs hold


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
    return tuple(dataclasses.replace(run(A), run_id=name) for name in ("one", "two"))


def test_runs_are_joined_and_no_seed_counts_twice(tmp_path):
    first, second = table([0, 1, 2], 0.5), table([2, 3], 0.9)
    losses = {"one": np.arange(6.0).reshape(3, 2), "two": np.array([[50.0, 60], [70, 80]])}
    files = {("one", "seeds.csv"): csv(first), ("two", "seeds.csv"): csv(second)}
    for name, loss in losses.items():
        files[name, "curves.npz"] = npz(tmp_path, epochs=np.array([1, 9]), loss=loss)
    networks, problems = read_seed_table(Shelf(files), PlannedConfig("a", A, two_runs(), "done"))
    assert problems == []
    assert networks.frame["seed"].tolist() == [0, 1, 2, 3]
    assert networks.frame["population_accuracy"].tolist() == [0.5, 0.5, 0.5, 0.9]
    epochs, loss = read_curves(Shelf(files), networks, "loss")
    assert epochs.tolist() == [1, 9]
    assert loss.tolist() == [[0, 1], [2, 3], [4, 5], [70, 80]]


def test_a_run_without_scores_is_named_and_the_other_read():
    networks, problems = read_seed_table(
        Shelf({("two", "seeds.csv"): csv(table([5]))}), PlannedConfig("a", A, two_runs(), "done")
    )
    assert networks.frame["seed"].tolist() == [5]
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


WORSE = [
    b"",
    csv(table([0, 1])).replace(b"\n1,learned", b"\n1,<b>"),
    csv(table([0, 1])).replace(b"\n1,", b"\nx,"),
    csv(table([0, 1])).replace(b"\n1,", b'\n1,"') + b"\n\n",  # a quote that nobody closes
    csv(table([])),
    csv(table([0, 1])).replace(b"0.5\n1", b"0.5,7\n1"),
]


@pytest.mark.parametrize("worse", WORSE)
def test_tables_read_together_are_those_read_one_by_one(worse):
    others = table([5, 6], 0.25).assign(settled=[True, False]), table([0], 0.1).assign(settled="maybe")
    contents = [
        csv(table([0, 1, 2], 0.5)),
        worse,
        csv(table([2, 3], 0.1 + 0.2))[:-1],
        *map(csv, others),
        csv(table([7, 8])).replace(b"\n", b"\r\n"),
    ]
    for content, found in zip(contents, parse_tables(contents), strict=True):
        if isinstance(found, ValueError):
            assert content == worse
            with pytest.raises(ValueError, match=re.escape(str(found))):
                parse_scores(content)
        else:
            pd.testing.assert_frame_equal(
                found.reset_index(drop=True), parse_scores(content), check_exact=True
            )


def test_curves_that_cannot_be_read_are_told(tmp_path):
    networks = SeedTable(DEFAULT, two_runs()[:1], (np.arange(2),), table([0, 1]))
    pickled = npz(tmp_path, epochs=np.array([1]), loss=np.array([{}, {}], dtype=object))
    short = npz(tmp_path, epochs=np.array([1]), loss=np.zeros((1, 1)))
    array = io.BytesIO()
    np.save(array, np.zeros(2))
    for content in (
        b"",
        b"PK",
        b"PK\x03\x04xx",
        array.getvalue(),
        pickled,
        short,
        npz(tmp_path, epochs=np.array([1])),
    ):
        with pytest.raises(StoreError, match=r"run one .* curves\.npz cannot be read"):
            read_curves(Shelf({("one", "curves.npz"): content}), networks, "loss")
