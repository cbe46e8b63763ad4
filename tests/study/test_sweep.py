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
def folders(tmp_path_factory, empty_database):
    """Two swept projects, by the names of their experiments, which every case damages and mends again."""
    made = {}
    for name, source in {"tiny": TINY, "tuned": TUNED}.items():
        made[name] = make_folder(tmp_path_factory.mktemp("agree") / name, **{name: source})
        shutil.copy(empty_database, made[name] / "mlflow.db")
        call(made[name], *SWEEP)
    return made


class WaitedError(Exception):
    """Ends a sweep that waits."""


def run_of(folder, what="a run"):
    """A run that counts, its first example; the run of a search, or the first of its trials'."""
    store = new_store(folder)
    (coverage,) = read_coverages(store)
    runs = [run for run in store.runs(coverage.experiment_id) if SUPERSEDED not in run.tags]
    run = coverage.entries[0].runs[0]
    found = {
        "a run": [run],
        "an example": [child for child in runs if child.parent == run.run_id],
        "a search": [own for own in runs if STUDY in own.tags and own.parent is None],
        "a trial": [own for own in runs if STUDY in own.tags and own.parent is not None],
    }
    return found[what][0]


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


GONE = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = :run"
STATUS = "UPDATE runs SET status = '{}' WHERE run_uuid = :run"
NO_LOSS = "DELETE FROM latest_metrics WHERE key = 'train_loss' AND run_uuid = :run"
NO_TAG = "DELETE FROM tags WHERE key = '{}' AND run_uuid = :run"
NO_PARAM = "DELETE FROM params WHERE key = '{}' AND run_uuid = :run"
NO_PLAN = "DELETE FROM experiment_tags WHERE key = '{}'"
BROKEN_TAG = "UPDATE experiment_tags SET value = '{{' WHERE key = '{}'"
DAMAGES = {  # by what is lost: the experiment, whose run, and how
    "the run": ("tiny", "a run", GONE),
    "the run's end": ("tiny", "a run", STATUS.format("FAILED")),
    "an example": ("tiny", "an example", GONE),
    "an example's end": ("tiny", "an example", STATUS.format("FAILED")),
    "seeds.csv": ("tiny", "a run", "lose seeds.csv"),
    "a digit of seeds.csv": ("tiny", "a run", "alter seeds.csv"),
    "a picture": ("tiny", "a run", "lose loss_curve.png"),
    "a picture of an example": ("tiny", "an example", "lose loss_curve.png"),
    "a metric": ("tiny", "a run", NO_LOSS),
    "a metric of an example": ("tiny", "an example", NO_LOSS),
    "the digests": ("tiny", "a run", NO_TAG.format(ARTIFACTS)),
    "the code's tag": ("tiny", "a run", NO_TAG.format(CODE)),
    "a param": ("tiny", "a run", NO_PARAM.format("epochs")),
    "the seeds": ("tiny", "a run", NO_PARAM.format("seeds")),
    "the plan": ("tiny", "a run", NO_PLAN.format(PLAN)),
    "the plan's end": ("tiny", "a run", BROKEN_TAG.format(PLAN)),
    "a trial": ("tuned", "a trial", GONE),
    "a trial's end": ("tuned", "a trial", STATUS.format("KILLED")),
    "a trial's losses": ("tuned", "a trial", NO_LOSS),
    "a trial's number": ("tuned", "a trial", NO_TAG.format(TRIAL)),
    "the search": ("tuned", "a search", GONE),
    "the search's end": ("tuned", "a search", STATUS.format("FAILED")),
    "the search's plan": ("tuned", "a search", NO_TAG.format(SPEC)),
    "a picture of the search": ("tuned", "a search", "lose *.png"),
    "the end of the plan of searches": ("tuned", "a search", BROKEN_TAG.format(TUNING)),
}


def verdicts(folder):
    with chdir(folder):
        (result,) = load_results(new_store(folder))
    found = [finding.verdict for finding in result.findings]
    assert not any(found) or (result.incomplete, result.problems) == ((), ())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("lost", DAMAGES)
def test_sweep_status_and_page_agree_about_what_is_lost(folders, lost):
    name, whose, change = DAMAGES[lost]
    folder = folders[name]
    damage(folder, run_of(folder, whose), change)
    assert not json.loads(call(folder, "status", "--json", status=1)[0])["complete"]
    assert not any(verdicts(folder))
    out, _ = call(folder, *SWEEP)
    if name == "tiny":
        assert ("nothing to do" if "the plan" in lost else "1 run of 2 ") in out
    assert json.loads(call(folder, "status", "--json")[0])["complete"]
    assert verdicts(folder) == ["open"]


# What a sweep says and stores


def test_a_sweep_says_what_it_trains_again_and_supersedes_it(folders):
    folder = folders["tiny"]
    run = run_of(folder)
    damage(folder, run, "lose weights.npz")
    out, _ = call(folder, *SWEEP)
    assert out.startswith(
        f"tiny: training {run.params['loss']} · relu · d=4 · 20 epochs again, because weights.npz of run "
    )
    assert "is lost or altered\n1 run of 2 planned configs tracked" in out
    new = run_of(folder)
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
