"""The coverage: every run is counted once and rightly, and what cannot be read is missing, not a crash."""

import json
from types import SimpleNamespace

import pytest
from factories import tracked_run

from qwerties.config import Config, Seeds, fingerprint
from qwerties.scoring.digest import code_digest
from qwerties.study.coverage import make_coverage
from qwerties.tracking.tags import FINGERPRINT, PROCESS, SPEC, STUDY, SUPERSEDED, TRIAL, TUNING

CODE = "code"
SEEDS = Seeds(0, 10)
A, B, C = (Config(epochs=epochs) for epochs in (1, 2, 3))


def plan(*configs, seeds=SEEDS, code=CODE):
    keys = {fingerprint(config, seeds, code): config.label() for config in configs}
    return {"qwerties.plan": json.dumps({"seeds": str(seeds), "code": code, "configs": keys})}


def run(config, seeds="0-9", code=CODE, **fields):
    return tracked_run(config, seeds, code=code, **fields)


def cover(tags, runs, damaged=()):
    store = SimpleNamespace(damaged=lambda run: ["seeds.csv"] if run.run_id in damaged else [])
    return make_coverage("x", "1", tags, runs, store)


def states(coverage):
    return [entry.state for entry in coverage.entries]


def test_a_config_is_done_when_its_runs_cover_every_planned_seed():
    runs = [run(A, "0-3"), run(A, "4-9"), run(B, "0-8"), run(C, "0-499")]
    coverage = cover(plan(A, B, C), runs)
    assert states(coverage) == ["done", "missing", "done"]
    assert len(coverage.entries[0].runs) == 2
    assert not coverage.complete
    assert coverage.count("done") == 2
    assert coverage.find(B) is coverage.entries[1]
    assert coverage.find(Config()) is None
    assert cover(plan(A, B), [run(B), run(A)]).complete


@pytest.mark.parametrize(
    ("status", "state"),
    [("FAILED", "failed"), ("KILLED", "failed"), ("RUNNING", "running"), ("SCHEDULED", "running")],
)
def test_a_run_that_is_not_finished_says_what_became_of_its_config(status, state):
    assert states(cover(plan(A, B), [run(A, status=status), run(B)])) == [state, "done"]
    assert states(cover(plan(A), [run(A, status=status), run(A)])) == ["done"], (
        "a later run makes good for it"
    )


def test_a_run_whose_writer_is_gone_is_not_running():
    gone = run(A, status="RUNNING", tags={PROCESS: "another-host:1:1"})  # since 1970
    assert states(cover(plan(A), [gone])) == ["failed"]


def test_stale_unplanned_superseded_and_example_runs_do_not_count():
    runs = [
        run(A, code="older"),
        run(C),
        run(A, parent="r0"),
        run(A, "nonsense"),
        run(A, epochs="many"),
        run(A, tags={SUPERSEDED: "r1"}),
    ]
    coverage = cover(plan(A), runs)
    assert states(coverage) == ["missing"]
    assert (coverage.stale, coverage.unplanned, coverage.superseded) == (1, 3, 1)


def test_params_that_were_altered_are_another_config():
    honest = run(A, tags={FINGERPRINT: fingerprint(A, SEEDS, CODE)})
    assert states(cover(plan(A), [honest])) == ["done"]
    altered = run(A, tags={FINGERPRINT: fingerprint(B, SEEDS, CODE)})
    assert states(cover(plan(A), [altered])) == ["missing"]


def test_a_crossed_layout_adds_up_with_nothing():
    crossed = Seeds(0, 3, crossed=3)
    one = cover(plan(A, seeds=crossed), [run(A, "0-8"), run(A, Seeds(0, 4, crossed=4))])
    assert states(one) == ["missing"]
    assert states(cover(plan(A, seeds=crossed), [run(A, crossed)])) == ["done"]
    assert states(cover(plan(A), [run(A, Seeds(0, 5, crossed=2))])) == ["missing"]


def test_a_damaged_run_does_not_count_until_its_seeds_are_there_again():
    lost = run(A, "0-19", run_id="lost")
    coverage = cover(plan(A), [lost], damaged=["lost"])
    assert states(coverage) == ["damaged"]
    assert coverage.entries[0].damage == {"lost": ("seeds.csv",)}
    assert states(cover(plan(A), [lost, run(A)], damaged=["lost"])) == ["damaged"], (
        "seeds 10 to 19 are missing"
    )
    assert states(cover(plan(A), [lost, run(A), run(A, "10-19")], damaged=["lost"])) == ["done"]


def test_a_new_run_supersedes_what_does_not_count_of_the_same_config_and_seeds():
    lost, stale = run(A, run_id="lost"), run(A, "5-30", code="older")
    others = [
        run(B, code="older"),
        run(A, "20-30", code="older"),
        run(A, Seeds(0, 3, crossed=3), code="older"),
    ]
    coverage = cover(plan(A, B), [lost, stale, *others, run(A, "10-19")], damaged=["lost"])
    assert coverage.superseded_by(A, SEEDS) == [lost, stale]
    assert coverage.superseded_by(C, SEEDS) == []


def test_a_plan_of_other_code_is_outdated():
    assert cover(plan(A), [run(A)]).outdated
    assert not cover(plan(A, code=code_digest()), []).outdated
    assert not cover({}, []).outdated


def test_an_experiment_without_a_plan_shows_its_runs_as_they_are():
    coverage = cover({}, [run(A), run(A, parent="r"), run(A, tags={SUPERSEDED: "r"})])
    assert coverage.plan is None
    assert len(coverage.loose) == 1
    assert coverage.title == "x"
    assert coverage.complete


def test_a_plan_that_was_deleted_is_missed():
    coverage = cover({}, [run(A, tags={FINGERPRINT: "f"})])
    assert coverage.problems == ("the tag qwerties.plan is missing",)
    assert not coverage.complete


# Searches

SEARCH = {"name": "x/best by tpe", "arm": "best", "sampler": "tpe", "trials": 2}
TAGS = {TUNING: json.dumps({"searches": [SEARCH]})}


def search_runs(*numbers, spec=SEARCH, status="FINISHED"):
    parent = run(A, run_id="parent", status=status, tags={STUDY: SEARCH["name"], SPEC: json.dumps(spec)})
    trial = {STUDY: SEARCH["name"]}
    return [parent, *(run(A, parent="parent", tags={**trial, TRIAL: str(number)}) for number in numbers)]


@pytest.mark.parametrize(
    ("runs", "n_tracked", "is_done"),
    [
        ([], 0, False),
        (search_runs(0, 1), 2, True),
        (search_runs(0), 1, False),
        (search_runs(0, 0, 7, "x"), 1, False),
        (search_runs(0, 1, status="RUNNING"), 2, False),
        (search_runs(0, 1, spec={**SEARCH, "trials": 3}), 2, False),
        (search_runs(0, 1)[1:], 0, False),
    ],
)
def test_a_search_is_done_when_its_run_and_all_trials_are_there(runs, n_tracked, is_done):
    coverage = cover(TAGS, runs)
    (search,) = coverage.searches
    assert (search.label, search.n_trials, search.n_tracked, search.is_done) == (
        "best by tpe",
        2,
        n_tracked,
        is_done,
    )
    assert coverage.complete == is_done
    assert not cover(TAGS, runs, damaged=["parent"]).complete


@pytest.mark.parametrize("text", ["", "[]", '{"searches": [3]}', '{"searches": [{"name": "x"}]}'])
def test_searches_that_cannot_be_read_are_named(text):
    coverage = cover({TUNING: text}, [])
    assert coverage.problems == (f"the tag {TUNING} cannot be read",)
    assert not coverage.complete
