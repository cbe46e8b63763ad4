"""Whole studies in fresh repositories: real processes, MLflow's real store, MLflow's real UI."""

import functools
import io
import json
import os
import re
import signal
import time
import urllib.parse
import urllib.request
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import torch
from factories import artifacts, call, make_folder, make_study, runs_of
from mlflow import MlflowClient
from processes import finish, started_python
from projects import copy_project

from benchmarks.servers import free_port
from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.errors import plural
from qwerties.scoring.digest import code_digest
from qwerties.study.experiment import config_names
from qwerties.tracking.uri import default_uri
from qwerties.training.reference import train_reference

pytestmark = pytest.mark.slow

HEAD = """
from qwerties.config import Config
from qwerties.study.experiment import Contrast, Experiment, grid

CONFIGS = {configs}

experiment = Experiment(
    title="{title}", question="Which **one**?", configs=CONFIGS, contrasts=(Contrast(CONFIGS[1], CONFIGS[0]),)
)

if __name__ == "__main__":
    experiment.main()
"""
LOSSES = HEAD.format(title="Losses", configs='grid(loss=("bce", "mse"))')
LENGTHS = HEAD.format(title="Lengths", configs="grid(epochs=(500, 1000))")
WIDTHS = HEAD.format(
    title="Widths", configs="grid(Config(epochs=200), hidden=[(1,), (2,), (3,), (4,), (5,), (6,)])"
)

TUNED = """
from qwerties.config import Config
from qwerties.tuning import ArmContrast, TunedArm, Tuning


def space(trial):
    return Config(epochs=30, learning_rate=trial.suggest_float("learning_rate", 0.01, HIGH))


experiment = Tuning(
    title="Tuned", question="Which?", seeds=20, trials=4, champion="best",
    arms=(TunedArm("best", space),),
    fixed={"plain": Config(epochs=30)}, contrasts=(ArmContrast("best", "plain"),),
)
"""

PLANNED = {
    "losses": [DEFAULT, Config(loss="mse")],
    "lengths": [Config(epochs=500), Config(epochs=1000)],
}
SEEDS = range(4)
ARTIFACTS = {
    "seeds.csv",
    "curves.npz",
    "weights.npz",
    "plots/decision_boundary.png",
    "plots/loss_curve.png",
    "plots/accuracy_distribution.png",
}
SWEEP = ("-m", "qwerties", "sweep", "--seeds", str(len(SEEDS)))


@functools.cache
def reference(config, seed):
    """The notebook's own loop."""
    return train_reference(config, seed)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A fresh repository after one sweep by two workers, and what it said."""
    folder = make_folder(tmp_path_factory.mktemp("study") / "study", losses=LOSSES, lengths=LENGTHS)
    with started_python(folder, *SWEEP, "--jobs", "2", "--no-report") as process:
        return folder, *finish(process)


@pytest.fixture(scope="module")
def study(swept):
    """The repository; nothing writes to it."""
    return swept[0]


@pytest.fixture
def copy(study, tmp_path):
    """The study's store, to be written to."""
    return copy_project(study, tmp_path / "copy")


# A sweep


def test_a_sweep_says_what_it_did_and_leaves_only_what_it_should(swept):
    folder, out, _ = swept
    assert re.match(r"4 runs of 4 planned configs tracked, 8 networks trained in \d+ s\n", out)
    left = {path.name for path in folder.iterdir()} - {"mlflow.db-shm", "mlflow.db-wal"}
    assert left <= {"pyproject.toml", "experiments", "reports", "mlflow.db", "mlruns", ".cache"}
    assert list((folder / "reports").iterdir()) == []


def test_a_sweep_makes_the_report_of_what_is_tracked(copy):
    out, _ = call(copy, *SWEEP[2:], "--jobs", "1")
    assert [path.name for path in sorted((copy / "reports").iterdir())] == [
        *("figures", "runs.csv", "summary.html", "tables", "verdicts.json"),
    ]
    page = copy / "reports" / "summary.html"
    assert f"report: {page}\n" in out
    assert {"Losses", "Lengths"} <= set(re.findall(r"\w+", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("experiment_name", PLANNED)
def test_every_planned_config_has_one_finished_run(study, experiment_name):
    runs = runs_of(study, experiment_name)
    assert {run.info.status for run in runs} == {"FINISHED"}
    names = config_names(PLANNED[experiment_name])  # what differs comes first: MLflow's list cuts names
    assert {run.info.run_name: run.data.params for run in runs} == {
        name: {**config.to_params(), "seeds": "0-3"}
        for name, config in zip(names, PLANNED[experiment_name], strict=True)
    }


@pytest.mark.parametrize("experiment_name", PLANNED)
def test_the_experiment_tells_its_plan(study, experiment_name):
    found = MlflowClient(default_uri(study)).get_experiment_by_name(f"qwerties/{experiment_name}")
    assert found.tags["mlflow.note.content"] == found.tags["qwerties.question"] == "Which **one**?"
    plan = json.loads(found.tags["qwerties.plan"])
    assert plan["seeds"] == "0-3"
    assert set(plan["configs"].values()) == {config.label() for config in PLANNED[experiment_name]}
    assert set(plan["configs"]) == {
        run.data.tags["qwerties.fingerprint"] for run in runs_of(study, experiment_name)
    }
    (contrast,) = json.loads(found.tags["qwerties.contrasts"])
    assert [Config.from_params(contrast[side]) for side in "ab"] == PLANNED[experiment_name][::-1]


@pytest.mark.parametrize("experiment_name", PLANNED)
def test_every_run_has_its_tags_and_its_dataset(study, experiment_name):
    for run in runs_of(study, experiment_name):
        tags, config = run.data.tags, Config.from_params(run.data.params)
        assert tags["qwerties.fingerprint"] == fingerprint(config, Seeds(0, 4), code_digest())
        assert tags["qwerties.code"] == code_digest()
        assert tags["qwerties.version"] == version("qwerties")
        assert {f"qwerties.{name}" for name in ("python", "torch", "numpy", "mlflow")} <= set(tags)
        assert tags["mlflow.source.name"] == f"experiments/{experiment_name}.py"
        assert {"mlflow.user", "mlflow.source.type", "mlflow.note.content"} <= set(tags)
        (given,) = run.inputs.dataset_inputs
        assert given.dataset.name == "qwerties d=4"


@pytest.mark.parametrize("experiment_name", PLANNED)
def test_the_mean_loss_is_there_at_every_epoch(study, experiment_name):
    client = MlflowClient(default_uri(study))
    for run in runs_of(study, experiment_name):
        config = Config.from_params(run.data.params)
        history = client.get_metric_history(run.info.run_id, "train_loss")
        assert [m.step for m in history] == list(range(1, config.epochs + 1))
        expected = np.mean([reference(config, seed).losses.numpy() for seed in SEEDS], axis=0)
        np.testing.assert_allclose([m.value for m in history], expected, atol=1e-5)
        for name in ("train_loss_p10", "train_loss_p50", "train_loss_p90"):
            assert client.get_metric_history(run.info.run_id, name)[-1].step == config.epochs
        for name in ("train_accuracy", "population_accuracy", "learned_fraction", "dead_fraction"):
            steps = [m.step for m in client.get_metric_history(run.info.run_id, name)]
            assert 20 <= len(steps) <= 80
            assert steps == sorted(set(steps))
            assert steps[-1] == config.epochs


@pytest.mark.parametrize("experiment_name", PLANNED)
def test_artifacts_are_those_of_the_design_and_final_metrics_agree_with_the_table(study, experiment_name):
    for run in runs_of(study, experiment_name):
        files = artifacts(run)
        assert set(files) == ARTIFACTS
        table, metrics = pd.read_csv(files["seeds.csv"]), run.data.metrics
        assert table["seed"].tolist() == list(SEEDS)
        for name in ("train_accuracy", "population_accuracy", "gain", "bce", "brier"):
            assert metrics[name] == pytest.approx(table[name].mean(), abs=1e-6)
        assert ("phi" in metrics) == (table["phi"].notna().all())
        config = Config.from_params(run.data.params)
        losses = [reference(config, seed).losses[-1] for seed in SEEDS]
        assert metrics["train_loss"] == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("experiment_name", PLANNED)
def test_exemplars_hang_below_their_run_one_of_each_state_that_occurs(study, experiment_name):
    client, children = MlflowClient(default_uri(study)), runs_of(study, experiment_name, children=True)
    for run in runs_of(study, experiment_name):
        own = [child for child in children if child.data.tags["mlflow.parentRunId"] == run.info.run_id]
        table = pd.read_csv(artifacts(run)["seeds.csv"])
        lowest = {state: str(group["seed"].min()) for state, group in table.groupby("state")}
        assert {child.data.tags["qwerties.state"]: child.data.params["seed"] for child in own} == lowest
        for child in own:
            assert child.info.status == "FINISHED"
            assert set(artifacts(child)) == {"plots/decision_boundary.png", "plots/loss_curve.png"}
            config = Config.from_params(child.data.params)
            history = client.get_metric_history(child.info.run_id, "train_loss")
            expected = reference(config, int(child.data.params["seed"])).losses.numpy()
            np.testing.assert_allclose([m.value for m in history], expected, atol=1e-5)


# Once more


def test_a_second_sweep_trains_nothing_and_adds_no_run(copy, monkeypatch):
    def train(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr("qwerties.study.runs.train_records", train)
    before = {run.info.run_id for experiment_name in PLANNED for run in runs_of(copy, experiment_name)}
    out, err = call(copy, *SWEEP[2:], "--jobs", "2", "--no-report")
    assert out.splitlines()[0] == "nothing to do: 4 planned configs, all tracked"
    assert err == ""
    assert {
        run.info.run_id for experiment_name in PLANNED for run in runs_of(copy, experiment_name)
    } == before


def test_more_seeds_train_only_those_that_are_new(copy):
    out, _ = call(copy, "sweep", "losses", "--seeds", "6", "--jobs", "1", "--no-report")
    assert out.startswith("2 runs of 2 planned configs tracked, 4 networks trained in ")
    found = sorted((run.data.params["loss"], run.data.params["seeds"]) for run in runs_of(copy, "losses"))
    assert found == [("bce", "0-3"), ("bce", "4-5"), ("mse", "0-3"), ("mse", "4-5")]
    for run in runs_of(copy, "losses")[2:]:
        assert pd.read_csv(artifacts(run)["seeds.csv"])["seed"].tolist() == [4, 5]
    assert len(runs_of(copy, "lengths")) == 2


# Stopped


def test_a_sweep_that_is_stopped_goes_on_with_the_same_command(tmp_path):
    """Ctrl-C in the middle of ``python experiments/widths.py``, which also shows that a file runs alone."""
    folder = make_study(tmp_path / "stopped", widths=WIDTHS, json="raise SystemExit(9)\n")
    options = ("--seeds", "3", "--jobs", "2", "--no-report")

    def finished():
        return sum(run.info.status == "FINISHED" for run in runs_of(folder, "widths"))

    with started_python(folder, "experiments/widths.py", *options) as started:
        deadline = time.monotonic() + 120
        while started.poll() is None and time.monotonic() < deadline:
            if len(list((folder / "mlruns").glob("*/*/artifacts/seeds.csv"))) > 1:
                break  # one run is through, the next is being written
            time.sleep(0.01)
        os.killpg(started.pid, signal.SIGINT)
        out, err = finish(started, status=130)
    assert out == ""
    assert (
        err.splitlines()[-1]
        == "qwerties: stopped; what is tracked stays, the same command goes on from there"
    )
    done = finished()
    assert 1 <= done < 6, "stopped too early or too late to tell anything"
    assert not [
        run for run in runs_of(folder, "widths") if run.info.status not in ("FINISHED", "KILLED", "FAILED")
    ]

    out, _ = call(folder, "sweep", "widths", *options)  # what the file does
    runs = plural(6 - done, "run")
    assert out.startswith(f"{runs} of 6 planned configs tracked, {3 * (6 - done)} networks trained in ")
    complete = [
        run.data.params["hidden"] for run in runs_of(folder, "widths") if run.info.status == "FINISHED"
    ]
    assert sorted(complete) == ["1", "2", "3", "4", "5", "6"]


# A tuned study


def test_a_tuned_study_is_swept_like_any_other(tmp_path):
    folder = make_study(tmp_path / "tuned", tuned=TUNED.replace("HIGH", "3.0"))
    out, _ = call(folder, *SWEEP[2:], "--jobs", "1")
    assert re.match(r"2 runs of 2 planned configs tracked, 16 networks trained in \d+ s\n", out)
    assert "models:/qwerties@champion" in out
    runs = runs_of(folder, "tuned")
    (search,) = [run for run in runs if "qwerties.study" in run.data.tags]
    assert sorted(run.data.params.get("seeds", "") for run in runs) == ["", "0-7", "0-7"]
    trials = [run for run in runs_of(folder, "tuned", children=True) if "qwerties.trial" in run.data.tags]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {search.info.run_id}
    assert sorted(run.data.tags["qwerties.trial"] for run in trials) == ["0", "1", "2", "3"]
    assert "winner’s curse" in (folder / "reports" / "summary.html").read_text(encoding="utf-8")
    out, err = call(folder, *SWEEP[2:], "--jobs", "1")
    assert out.startswith("nothing to do: 2 planned configs, all tracked\nreport unchanged: ")
    assert err == ""
    assert call(folder, "verify", "--networks", "2")[0]

    (folder / "experiments" / "tuned.py").write_text(TUNED.replace("HIGH", "2.0"))
    _, err = call(folder, *SWEEP[2:], "--jobs", "1", status=1)
    assert err.startswith(
        "qwerties: error: experiments/tuned.py: search 'tuned/best by tpe, seeds 10000000-10000019, "
    )
    assert "learning_rate was FloatDistribution(high=3.0" in err
    assert err.count("\n") == 1


# One network


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """``qwerties train --seed 3``: the repository, what was said, and the run."""
    folder = make_study(tmp_path_factory.mktemp("train") / "repository", losses=LOSSES)
    out, _ = call(folder, "train", "--seed", "3", "--epochs", "1500")
    (run,) = runs_of(folder, "train")
    return folder, out, run


def test_train_tells_loss_accuracy_and_phi(trained):
    _, out, run = trained
    found = reference(Config(epochs=1500), 3)
    with torch.no_grad():
        y_hat = found.model(found.points)
        loss = torch.nn.functional.binary_cross_entropy(y_hat, found.labels).item()
    right = ((y_hat > 0.5) == (found.labels > 0.5)).float().mean().item()
    told = re.search(r"loss (\S+)   accuracy (\S+) on the training points, .*   phi (\S+) %\n", out)
    assert float(told[1]) == pytest.approx(loss, abs=2e-5)
    assert float(told[2]) == pytest.approx(right, abs=5e-4)
    phi = 100 * np.corrcoef((y_hat > 0.5).numpy().ravel(), found.labels.numpy().ravel())[0, 1]
    assert float(told[3]) == pytest.approx(phi, abs=0.05)
    assert f"runs:/{run.info.run_id}/model" in out


def test_train_logs_the_notebooks_pictures_and_an_exported_graph(trained):
    folder, _, run = trained
    assert run.info.status == "FINISHED"
    assert run.data.params == {**Config(epochs=1500).to_params(), "seed": "3"}
    pictures = ("data", "misclassified", "loss_curve", "decision_boundary")
    assert set(artifacts(run)) == {f"plots/{name}.png" for name in pictures}
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in artifacts(run).values())
    (model,) = (folder / "mlruns").glob("*/models/*/artifacts")
    suffixes = {path.suffix for path in model.rglob("*") if path.is_file()}
    assert ".pt2" in suffixes
    assert not suffixes & {".pkl", ".pickle", ".pth", ".pt", ".joblib"}


def test_the_model_loads_in_a_fresh_process_and_predicts_the_same(trained):
    folder, *_, run = trained
    found = reference(Config(epochs=1500), 3)
    np.save(folder / "points.npy", found.points.numpy())
    script = (
        "import sys, mlflow, numpy as np; "
        "model = mlflow.pyfunc.load_model(sys.argv[1]); "
        "assert 'qwerties' not in sys.modules; "
        "np.save('predicted.npy', model.predict(np.load('points.npy')))"
    )
    with started_python(folder, "-c", script, f"runs:/{run.info.run_id}/model") as started:
        assert started.wait(100) == 0, started.stderr.read()
    with torch.no_grad():
        expected = found.model(found.points).numpy()
    np.testing.assert_allclose(np.load(folder / "predicted.npy"), expected, atol=1e-4)


# MLflow's own UI


@pytest.fixture(scope="module")
def ui(study):
    """A bare ``mlflow ui`` in the study's root; return its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    quiet = {"MLFLOW_WORKERS": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with started_python(study, "-m", "mlflow", "ui", "--port", port, **quiet) as started:
        deadline = time.monotonic() + 150
        while not answers(address):
            assert started.poll() is None, started.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield address


def answers(address):
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.read() == b"OK"
    except OSError:
        return False


def ask(address, path, **body):
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.server
def test_a_bare_mlflow_ui_lists_experiments_and_runs_and_serves_artifacts(ui, study):
    listed = ask(ui, "/api/2.0/mlflow/experiments/search", max_results=100)["experiments"]
    ids = {found["name"]: found["experiment_id"] for found in listed}
    assert set(ids) == {"Default", "qwerties/losses", "qwerties/lengths"}

    runs = ask(ui, "/api/2.0/mlflow/runs/search", experiment_ids=[ids["qwerties/losses"]], max_results=100)[
        "runs"
    ]
    names = {run["info"]["run_name"] for run in runs}
    assert names >= set(config_names(PLANNED["losses"]))
    expected = runs_of(study, "losses") + runs_of(study, "losses", children=True)
    assert {run["info"]["run_id"] for run in runs} == {run.info.run_id for run in expected}

    for run in runs_of(study, "losses"):
        for name in ("seeds.csv", "plots/loss_curve.png"):
            query = urllib.parse.urlencode({"path": name, "run_uuid": run.info.run_id})
            with urllib.request.urlopen(f"{ui}/get-artifact?{query}", timeout=30) as answer:
                assert answer.read() == artifacts(run)[name].read_bytes()
        query = urllib.parse.urlencode(
            {"run_id": run.info.run_id, "metric_key": "train_loss", "max_results": 5000}
        )
        with urllib.request.urlopen(f"{ui}/api/2.0/mlflow/metrics/get-history?{query}", timeout=30) as answer:
            history = json.load(io.TextIOWrapper(answer))["metrics"]
        assert [int(m.get("step", 0)) for m in history] == list(range(1, 2001))


# Plans and verdicts that change


CLOSE = HEAD.format(title="Rates", configs="grid(Config(epochs=20), learning_rate=(0.01, 0.011))")


def test_check_fails_when_a_verdict_no_longer_holds(copy, study):
    path = copy / "reports" / "verdicts.json"
    call(copy, "report")
    found = json.loads(path.read_text())
    assert [one["verdict"] for one in found["contrasts"]] == ["open", "open"]
    found["contrasts"][0] |= {"verdict": "a_better", "words": "that one is better"}
    path.write_text(json.dumps(found))
    out, _ = call(copy, "report", "--check", status=1)
    assert "FLIPPED" in out
    assert "was: that one is better" in out
    assert json.loads(path.read_text()) == found  # nothing is written


def test_a_margin_that_changes_after_there_are_data_is_told(tmp_path):
    def source(more):
        return CLOSE.replace("Contrast(CONFIGS[1], CONFIGS[0])", f"Contrast(CONFIGS[1], CONFIGS[0]{more})")

    folder = make_study(tmp_path / "study", rates=source(""))
    file = folder / "experiments" / "rates.py"

    def changes(more, *argv):
        file.write_text(source(more))
        call(folder, "sweep", "--seeds", "2", "--jobs", "1", "--no-report", *argv)
        found = MlflowClient(default_uri(folder)).get_experiment_by_name("qwerties/rates").tags
        return [change["what"] for change in json.loads(found.get("qwerties.plan_changes", "[]"))]

    assert changes("") == []
    assert changes("") == []  # the same plan again
    margin = ["margin of lr 0.011 − lr 0.01 changed from 0.01 to 0.2"]
    assert changes(", delta=0.2") == [margin]
    primary = ["primary contrast added: lr 0.011 − lr 0.01, margin 0.2"]
    assert changes(", delta=0.2, primary=True") == [margin, primary]
    assert changes(", delta=0.2, primary=True") == [margin, primary]
    call(folder, "report")
    page = (folder / "reports" / "summary.html").read_text()
    findings = page[page.index('<h2 id="findings"') : page.index('<h2 id="rates"')]  # before all details
    assert margin[0] in page
    assert "The plan was changed after data were seen</strong> in <a href=" in findings
    assert "counts as exploratory: it was declared primary on " in page
    assert 'class="kind primary"' not in page
