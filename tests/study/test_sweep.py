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


def execute(folder, statement, *values):
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        assert database.execute(statement, values).rowcount


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


def delete_artifact(path, of=0):
    def damage(folder):
        run = run_of(folder)[of]
        (folder / "mlruns" / run.experiment_id / run.run_id / "artifacts" / path).unlink()

    return damage


def alter_artifact(folder):
    run, _ = run_of(folder)
    path = folder / "mlruns" / run.experiment_id / run.run_id / "artifacts" / "seeds.csv"
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))


def delete_run(of):
    return lambda folder: execute(
        folder, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", run_of(folder)[of].run_id
    )


def delete_row(table, key, of=0):
    return lambda folder: execute(
        folder, f"DELETE FROM {table} WHERE key = ? AND run_uuid = ?", key, run_of(folder)[of].run_id
    )


def fail_run(of):
    return lambda folder: execute(
        folder, "UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", run_of(folder)[of].run_id
    )


def delete_plan(folder):
    execute(folder, "DELETE FROM experiment_tags WHERE key = ?", PLAN)


def break_plan(folder):
    execute(folder, "UPDATE experiment_tags SET value = '{' WHERE key = ?", PLAN)


DAMAGES = {
    "the run deleted": delete_run(0),
    "an example deleted": delete_run(1),
    "the run failed": fail_run(0),
    "an example failed": fail_run(1),
    "seeds.csv deleted": delete_artifact("seeds.csv"),
    "seeds.csv altered": alter_artifact,
    "a picture deleted": delete_artifact("plots/loss_curve.png"),
    "a picture of an example deleted": delete_artifact("plots/loss_curve.png", of=1),
    "a metric deleted": delete_row("latest_metrics", "train_loss"),
    "a metric of an example deleted": delete_row("latest_metrics", "train_loss", of=1),
    "the digests deleted": delete_row("tags", ARTIFACTS),
    "the code's tag deleted": delete_row("tags", CODE),
    "a param deleted": delete_row("params", "epochs"),
    "the seeds deleted": delete_row("params", "seeds"),
    "the plan deleted": delete_plan,
    "the plan broken": break_plan,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_sweep_status_and_page_agree_about_what_is_lost(folder, damage):
    DAMAGES[damage](folder)
    status = json.loads(call(folder, "status", "--json", status=1)[0])
    assert not status["complete"]
    with chdir(folder):
        (result,) = load_results(new_store(folder))
    assert all(finding.verdict is None for finding in result.findings)
    out, _ = call(folder, *SWEEP)
    n_lost = 0 if "plan" in damage else 1
    assert (
        out.startswith(f"{n_lost} runs of 2 " if n_lost else "nothing to do")
        or f"\n{n_lost} runs of 2 " in out
    )
    assert json.loads(call(folder, "status", "--json")[0])["complete"]
    with chdir(folder):
        (result,) = load_results(new_store(folder))
    assert [finding.verdict for finding in result.findings] == ["open"]
    assert (result.incomplete, result.problems) == ((), ())


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


def search_run(folder, trial=False):
    """The run of the search, or the first of its trials' runs."""
    store = new_store(folder)
    runs = store.runs(store.experiments()["tuned"][0])
    return next(
        r for r in runs if STUDY in r.tags and (r.parent is not None) == trial and SUPERSEDED not in r.tags
    )


def change_search(statement, trial=False):
    return lambda folder: execute(folder, statement, search_run(folder, trial).run_id)


def delete_search_picture(folder):
    run = search_run(folder)
    next((folder / "mlruns" / run.experiment_id / run.run_id / "artifacts").rglob("*.png")).unlink()


SEARCH_DAMAGES = {
    "a trial deleted": change_search("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", True),
    "a trial killed": change_search("UPDATE runs SET status = 'KILLED' WHERE run_uuid = ?", True),
    "a trial's losses deleted": change_search(
        "DELETE FROM latest_metrics WHERE key = 'train_loss' AND run_uuid = ?", True
    ),
    "a trial's number deleted": change_search(
        f"DELETE FROM tags WHERE key = '{TRIAL}' AND run_uuid = ?", True
    ),
    "the search deleted": change_search("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?"),
    "the search failed": change_search("UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?"),
    "the search's plan deleted": change_search(f"DELETE FROM tags WHERE key = '{SPEC}' AND run_uuid = ?"),
    "a picture of the search deleted": delete_search_picture,
    "the plan of searches broken": lambda folder: execute(
        folder, "UPDATE experiment_tags SET value = '{' WHERE key = ?", TUNING
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", SEARCH_DAMAGES)
def test_they_agree_about_searches_too(tuned, damage):
    SEARCH_DAMAGES[damage](tuned)
    assert not json.loads(call(tuned, "status", "--json", status=1)[0])["complete"]
    with chdir(tuned):
        (result,) = load_results(new_store(tuned))
    assert all(finding.verdict is None for finding in result.findings)
    call(tuned, *SWEEP)
    assert json.loads(call(tuned, "status", "--json")[0])["complete"]
    with chdir(tuned):
        (result,) = load_results(new_store(tuned))
    assert [finding.verdict for finding in result.findings] == ["open"]


# What a sweep says and stores


def test_a_sweep_says_what_it_trains_again_and_supersedes_it(folder):
    run, _ = run_of(folder)
    delete_artifact("weights.npz")(folder)
    out, _ = call(folder, *SWEEP)
    assert out.startswith(
        f"tiny: training {run.params['loss']} · relu · d=4 · 20 epochs again, because weights.npz of run "
    )
    assert "is lost or altered\n1 runs of 2 planned configs tracked" in out
    (new,) = [r for r in new_store(folder).runs(run.experiment_id) if r.run_id == run_of(folder)[0].run_id]
    old = next(r for r in new_store(folder).runs(run.experiment_id) if r.run_id == run.run_id)
    assert old.tags[SUPERSEDED] == new.run_id
    examples = json.loads(new.tags[EXAMPLES])
    assert examples
    assert new.name == run.params["loss"], "named by what differs"


def test_the_plan_is_stored_only_under_the_lock(tmp_path):
    """A second sweep that waits must not replace the plan that the first one trains and reports by."""
    configs = grid(Config(epochs=3), loss=("bce", "mse"))
    with chdir(make_folder(tmp_path / "study")):
        store = new_store(tmp_path / "study")

        def train(n_seeds, waits=()):
            sweep(
                {"a": Experiment("A", "?", configs)},
                store,
                n_seeds,
                workers=Workers(1),
                progress=lambda p: None,
            )

        train(2)
        first = store.experiments()["a"][1][PLAN]

        def waiting(line):
            raise WaitedError(line)

        with (
            sweep_lock(store, [], pytest.fail),
            pytest.raises(WaitedError, match="waiting for another sweep"),
        ):
            sweep(
                {"a": Experiment("A", "?", configs)},
                store,
                5,
                workers=Workers(1),
                progress=lambda p: None,
                log=waiting,
            )
        assert store.experiments()["a"][1][PLAN] == first
        (coverage,) = read_coverages(store)
        assert coverage.complete
