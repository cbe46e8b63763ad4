"""The registered model: which network it is, and what replaces it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from factories import new_store
from mlflow import MlflowClient

from qwerties.analysis.tables import read_seed_table
from qwerties.config import Config
from qwerties.execution.processes import this_process
from qwerties.execution.workers import Workers
from qwerties.scoring.digest import code_digest
from qwerties.study.coverage import make_coverage
from qwerties.study.experiment import Experiment
from qwerties.study.sweep import sweep
from qwerties.tracking import models
from qwerties.tuning import champion
from qwerties.verify.retrain import verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

GOOD = Config(epochs=60, learning_rate=0.3, activation="linear")
BAD = [Config(epochs=1, learning_rate=rate, activation="linear") for rate in (1e-6, 2e-6)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with three confirmed configs, one of which learns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("champion"))
        store = new_store(Path.cwd(), writer=this_process())
        train(store, {"rates": Experiment("t", "q", (GOOD, *BAD), share=2.0)})
        yield store
    mlflow.set_tracking_uri(None)


def train(store, experiments):
    sweep(experiments, store, 50, workers=Workers(), progress=lambda state: None)


def challenge(config, store):
    return champion.challenge("rates", config, store, lambda experiments: train(store, experiments))


def test_the_median_network_by_hand():
    accuracies = [0.9, 0.7, 0.95, 0.8, 0.99, 0.85]
    states = ["learned", "slow", "learned", "learned", "constant", "learned"]
    frame = pd.DataFrame({"state": states, "population_accuracy": accuracies})
    assert champion.median_network(frame) == 5  # of .8, .85, .9, .95
    assert champion.median_network(frame[:4]) == 0
    assert champion.median_network(frame[frame["state"] != "learned"]) is None


def test_the_model_is_replaced_by_a_verdict_only(store):
    """The tests below go on with what this one has registered."""
    assert models.champion(store.uri) is None
    assert (
        challenge(Config(epochs=7), store)
        == "rates: its winner is not confirmed yet, the registered model stays"
    )
    assert challenge(BAD[0], store).startswith(
        ("registered version 1", "rates: none of its winner's networks learned")
    )
    first = models.champion(store.uri)
    number = "2" if first else "1"  # bad starts may have learned by luck
    assert challenge(GOOD, store).startswith(f"registered version {number} of the model, seed ")
    registered = models.champion(store.uri)
    assert json.loads(registered.tags["qwerties.config"]) == GOOD.to_params()
    assert float(registered.tags["qwerties.confirmation"]) > 0.9
    assert challenge(GOOD, store) is None
    assert models.champion(store.uri) == registered


def test_the_registered_network_is_the_median_and_says_so(store):
    registered = models.champion(store.uri)
    experiment_id, tags = store.experiments()["rates"]
    runs = store.runs(experiment_id)
    table, _ = read_seed_table(store, make_coverage("rates", experiment_id, tags, runs).find(GOOD))
    learned = table.frame[table.frame["state"] == "learned"].sort_values("population_accuracy", kind="stable")
    median = learned.iloc[(len(learned) - 1) // 2]
    assert registered.tags["qwerties.seed"] == str(median["seed"])
    run = [run for run in runs if run.name.startswith("model: ")][-1]
    assert run.params["seed"] == registered.tags["qwerties.seed"]
    assert run.metrics["population_accuracy"] == median["population_accuracy"]
    assert run.parent == registered.tags["qwerties.confirmation_run"] == table.runs[0].run_id
    assert registered.tags["qwerties.code"] == code_digest()
    texts = [
        registered.tags["qwerties.network"],
        run.tags["mlflow.note.content"],
        MlflowClient(store.uri).get_registered_model(models.NAME).description,
    ]
    assert all("networks that learned, the one of median accuracy" in text for text in texts)


def test_a_sound_store_with_a_model_is_verified_without_a_remark(store):
    lines = []
    assert verify(store, 1, 0, workers=1, echo=lines.append)
    assert lines[0].startswith("retraining 1 network of ")


def test_repeated_challenges_are_counted(store):
    """The same config on the same seeds is the same challenge."""
    number = models.champion(store.uri).number
    for config, count in ((BAD[1], 1), (BAD[1], 1), (BAD[0], 2), (BAD[1], 1)):
        message = challenge(config, store)
        assert message.startswith(f"the registered model stays, version {number}: ")
        assert message.endswith(f"(challenge {count} of version {number})")
        question = store.experiments()[champion.EXPERIMENT_NAME][1]["qwerties.question"]
        assert f"This is challenge {count} of version {number}." in question


def test_the_registered_model_predicts_in_a_fresh_process(store):
    script = (
        "import mlflow, numpy as np; model = mlflow.pyfunc.load_model('models:/qwerties@champion'); "
        "p = model.predict(np.array([[0.0, 1.0], [6.0, 1.0]], np.float32)); "
        "assert p.shape == (2, 1) and p[0, 0] < 0.5 < p[1, 0], p; "
        "assert model.metadata.signature is not None"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    process = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
