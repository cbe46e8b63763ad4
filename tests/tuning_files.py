"""Small tunings, what a store holds of them, and processes that are killed in the middle of one."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import optuna
import pytest

from qwerties.config import Config
from qwerties.execution.processes import this_process
from qwerties.plotting import search as figures
from qwerties.scoring import score as scoring
from qwerties.study.plan import is_whole_trial
from qwerties.tracking.store import Store
from qwerties.tracking.tags import STUDY, SUPERSEDED, TRIAL
from qwerties.tuning import ArmContrast, TunedArm, Tuning, trials
from qwerties.tuning.declaration import MIN_SEEDS
from qwerties.tuning.tuner import run_searches

BASE = Config(epochs=20, hidden=(1, 1, 1, 1, 1), activation="linear")
TRIALS = 6


def rates(trial):
    """Suggest a learning rate; networks of the last quarter diverge."""
    return dataclasses.replace(BASE, learning_rate=trial.suggest_float("learning_rate", 0.01, 9e15, log=True))


def mse_rates(trial):
    return dataclasses.replace(rates(trial), loss="mse")


def nested(trial):
    """Suggest a conditional space of all kinds of parameters."""
    optimizer = trial.suggest_categorical("optimizer", ("sgd", "adam"))
    momentum = trial.suggest_float("momentum", 0, 0.9) if optimizer == "sgd" else 0.0
    depth = trial.suggest_int("depth", 1, 2)
    hidden = tuple(trial.suggest_int(f"width_{layer + 1}", 1, 2) for layer in range(depth))
    rate = trial.suggest_float("learning_rate", 0.1, 10, log=True)
    return Config(optimizer=optimizer, momentum=momentum, hidden=hidden, learning_rate=rate, epochs=20)


def declare(*spaces, **fields):
    """Declare a tuning of one arm, "best", or of the given arms, against the base."""
    arms = tuple(TunedArm(name, space) for name, space in spaces) or (TunedArm("best", rates),)
    settings = {
        "title": "Rates",
        "question": "Which?",
        "arms": arms,
        "fixed": {"plain": BASE},
        "contrasts": (ArmContrast(arms[0].name, "plain", primary=True),),
        "seeds": MIN_SEEDS,
        "trials": TRIALS,
    }
    return Tuning(**{**settings, **fields})


def small():
    """One arm, by TPE and at random."""
    return declare(baselines=("random",))


def journal():
    return Path.cwd() / "mlruns" / "optuna.journal"


def tune(tuning, store, n_seeds=4, storage=None, **options):
    return run_searches("rates", tuning, store, storage or journal(), n_seeds, workers=1, **options)


def runs_of(store, experiment_name="rates"):
    return store.runs(store.experiments()[experiment_name][0])


def tracked(store):
    """Return what must not depend on interruptions: every trial once, and every search with its winner."""
    runs = [run for run in runs_of(store) if SUPERSEDED not in run.tags]
    searches = {run.run_id: run for run in runs if STUDY in run.tags and TRIAL not in run.tags}
    rows = [
        (run.tags[STUDY], int(run.tags[TRIAL]), run.status, run.params, repr(sorted(run.metrics.items())))
        for run in runs
        if TRIAL in run.tags and is_whole_trial(run)
    ]
    winners = {run.tags[STUDY]: json.loads(run.tags["qwerties.winner"]) for run in searches.values()}
    assert len(winners) == len(searches)
    assert {run.status for run in searches.values()} == {"FINISHED"}
    assert all(run.params["study"] == run.tags[STUDY] for run in searches.values())
    assert {run.parent for run in runs if TRIAL in run.tags and is_whole_trial(run)} <= set(searches)
    return sorted(rows, key=lambda row: row[:2]), winners


draw_pictures = figures.study_pictures


def make_quick(patch):
    """Score wider nets on fewer points, and draw nothing: both take most of the time."""
    patch.setattr(scoring, "SOBOL_POINTS", 2**11)
    patch.setattr(figures, "study_pictures", lambda *arguments: {"plots/history.png": b"picture"})


# Killed


def die(call, count, *, after):
    """Wrap a function, so that its process is killed before or after a call of it."""
    left = [count]

    def dying(*arguments, **keywords):
        left[0] -= 1
        if left[0] or after:
            result = call(*arguments, **keywords)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return dying


KILL_POINTS = {
    "train": (trials, "train_trials"),
    "tell": (optuna.Study, "add_trial"),
    "create": (Store, "_create_run"),
    "write": (Store, "write"),
    "begin": (Store, "begin"),
    "end": (Store, "end"),
}


def tune_and_die(folder, point, count, after):
    os.chdir(folder)
    make_quick(pytest.MonkeyPatch())
    where, name = KILL_POINTS[point]
    store = Store.open(folder, writer=this_process())
    setattr(where, name, die(getattr(where, name), count, after=after))
    tune(small(), store)
