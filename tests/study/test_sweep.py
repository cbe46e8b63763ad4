"""Sweep, status and page agree on what is lost, and a sweep mends it; the plan is stored under the lock."""

import json
import shutil
import sqlite3
from contextlib import chdir, closing

import pytest
from factories import call, make_folder, new_store
from projects import TINY

from qwerties.analysis.contrasts import load_results
from qwerties.config import Config
from qwerties.execution.workers import Workers
from qwerties.study.coverage import read_coverages
from qwerties.study.experiment import Experiment, grid
from qwerties.study.sweep import sweep
from qwerties.study.sweep_lock import sweep_lock
from qwerties.tracking.tags import ARTIFACTS, CODE, EXAMPLES, PLAN, SPEC, STUDY, SUPERSEDED, TRIAL, TUNING

SWEEP = ("sweep", "--seeds", "3", "--max-seeds", "3", "--jobs", "1", "--no-report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, empty_database):
    """A swept project, which every case damages and mends again."""
    path = make_folder(tmp_path_factory.mktemp("agree") / "project", tiny=TINY)
    shutil.copy(empty_database, path / "mlflow.db")
    call(path, *SWEEP)
    return path


class WaitedError(Exception):
    """Ends a sweep that waits."""


def run_of(folder):
    """A run that counts, and its first example."""
    store = new_store(folder)
    experiment_id, _ = store.experiments()["tiny"]
    runs = store.runs(experiment_id)
    (coverage,) = read_coverages(store)
    run = coverage.entries[0].runs[0]
    return run, next(child for child in runs if child.parent == run.run_id)


def damage(folder, run, change):
    """Change a store by SQL, or delete an artifact of a run, or alter it."""
    if change.startswith(("UPDATE", "DELETE")):
        with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
            assert database.execute(change, {"run": run.run_id}).rowcount
        return
    action, name = change.split()
    path = next((folder / "mlruns" / run.experiment_id / run.run_id / "artifacts").rglob(name))
    if action == "lose":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))


RUN, EXAMPLE = 0, 1
GONE = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = :run"
FAILED = "UPDATE runs SET status = 'FAILED' WHERE run_uuid = :run"
NO_LOSS = "DELETE FROM latest_metrics WHERE key = 'train_loss' AND run_uuid = :run"
NO_TAG = "DELETE FROM tags WHERE key = '{}' AND run_uuid = :run"
NO_PARAM = "DELETE FROM params WHERE key = '{}' AND run_uuid = :run"
BROKEN_TAG = "UPDATE experiment_tags SET value = '{{' WHERE key = '{}'"
DAMAGES = {
    "the run deleted": (RUN, GONE),
    "an example deleted": (EXAMPLE, GONE),
    "the run failed": (RUN, FAILED),
    "an example failed": (EXAMPLE, FAILED),
    "seeds.csv deleted": (RUN, "lose seeds.csv"),
    "seeds.csv altered": (RUN, "alter seeds.csv"),
    "a picture deleted": (RUN, "lose loss_curve.png"),
    "a picture of an example deleted": (EXAMPLE, "lose loss_curve.png"),
    "a metric deleted": (RUN, NO_LOSS),
    "a metric of an example deleted": (EXAMPLE, NO_LOSS),
    "the digests deleted": (RUN, NO_TAG.format(ARTIFACTS)),
    "the code's tag deleted": (RUN, NO_TAG.format(CODE)),
    "a param deleted": (RUN, NO_PARAM.format("epochs")),
    "the seeds deleted": (RUN, NO_PARAM.format("seeds")),
    "the plan deleted": (RUN, f"DELETE FROM experiment_tags WHERE key = '{PLAN}'"),
    "the plan broken": (RUN, BROKEN_TAG.format(PLAN)),
}


def verdicts(folder):
    with chdir(folder):
        (result,) = load_results(new_store(folder))
    found = [finding.verdict for finding in result.findings]
    assert not any(found) or (result.incomplete, result.problems) == ((), ())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("what", DAMAGES)
def test_sweep_status_and_page_agree_about_what_is_lost(folder, what):
    of, change = DAMAGES[what]
    damage(folder, run_of(folder)[of], change)
    assert not json.loads(call(folder, "status", "--json", status=1)[0])["complete"]
    assert not any(verdicts(folder))
    out, _ = call(folder, *SWEEP)
    assert ("nothing to do" if "plan" in what else "1 run of 2 ") in out
    assert json.loads(call(folder, "status", "--json")[0])["complete"]
    assert verdicts(folder) == ["open"]


# Searches

TUNED = """
from qwerties import Config
from qwerties.tuning import ArmContrast, TunedArm, Tuning

experiment = Tuning(
    title="Tuned", question="Which?", seeds=20, trials=2, batch=2, fixed={"plain": Config(epochs=20)},
    arms=(TunedArm("best", lambda trial: Config(epochs=20, learning_rate=trial.suggest_float("rate", 0.01, 1))),),
    contrasts=(ArmContrast("best", "plain"),),
)
"""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, empty_database):
    path = make_folder(tmp_path_factory.mktemp("agree") / "tuned", tuned=TUNED)
    shutil.copy(empty_database, path / "mlflow.db")
    call(path, *SWEEP)
    return path


def search_run(folder, trial):
    """The run of the search, or the first of its trials' runs."""
    store = new_store(folder)
    runs = store.runs(store.experiments()["tuned"][0])
    return next(
        r for r in runs if STUDY in r.tags and (r.parent is not None) == trial and SUPERSEDED not in r.tags
    )


SEARCH, A_TRIAL = False, True
SEARCH_DAMAGES = {
    "a trial deleted": (A_TRIAL, GONE),
    "a trial killed": (A_TRIAL, FAILED.replace("FAILED", "KILLED")),
    "a trial's losses deleted": (A_TRIAL, NO_LOSS),
    "a trial's number deleted": (A_TRIAL, NO_TAG.format(TRIAL)),
    "the search deleted": (SEARCH, GONE),
    "the search failed": (SEARCH, FAILED),
    "the search's plan deleted": (SEARCH, NO_TAG.format(SPEC)),
    "a picture of the search deleted": (SEARCH, "lose *.png"),
    "the plan of searches broken": (SEARCH, BROKEN_TAG.format(TUNING)),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", SEARCH_DAMAGES)
def test_they_agree_about_searches_too(tuned, what):
    of, change = SEARCH_DAMAGES[what]
    damage(tuned, search_run(tuned, of), change)
    assert not json.loads(call(tuned, "status", "--json", status=1)[0])["complete"]
    assert not any(verdicts(tuned))
    call(tuned, *SWEEP)
    assert json.loads(call(tuned, "status", "--json")[0])["complete"]
    assert verdicts(tuned) == ["open"]


# What a sweep says and stores


def test_a_sweep_says_what_it_trains_again_and_supersedes_it(folder):
    run, _ = run_of(folder)
    damage(folder, run, "lose weights.npz")
    out, _ = call(folder, *SWEEP)
    assert out.startswith(
        f"tiny: training {run.params['loss']} · relu · d=4 · 20 epochs again, because weights.npz of run "
    )
    assert "is lost or altered\n1 run of 2 planned configs tracked" in out
    (new,) = [r for r in new_store(folder).runs(run.experiment_id) if r.run_id == run_of(folder)[0].run_id]
    old = next(r for r in new_store(folder).runs(run.experiment_id) if r.run_id == run.run_id)
    assert old.tags[SUPERSEDED] == new.run_id
    examples = json.loads(new.tags[EXAMPLES])
    assert examples
    assert new.name == run.params["loss"], "named by what differs"


def test_the_plan_is_stored_only_under_the_lock(tmp_path):
    """A second sweep that waits must not replace the plan that the first one trains and reports by."""
    experiments = {"a": Experiment("A", "?", grid(Config(epochs=3), loss=("bce", "mse")))}
    with chdir(make_folder(tmp_path / "study")):
        store = new_store(tmp_path / "study")

        def waiting(line):
            raise WaitedError(line)

        def train(n_seeds):
            sweep(experiments, store, n_seeds, workers=Workers(1), progress=lambda p: None, log=waiting)

        train(2)
        first = store.experiments()["a"][1][PLAN]
        with (
            sweep_lock(store, [], pytest.fail),
            pytest.raises(WaitedError, match="waiting for another sweep"),
        ):
            train(5)
        assert store.experiments()["a"][1][PLAN] == first
        (coverage,) = read_coverages(store)
        assert coverage.complete
