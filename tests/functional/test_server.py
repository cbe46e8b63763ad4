"""A shared server: MLflow's own, with PostgreSQL behind it, through which two people sweep."""

import json
import signal
import time
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path

import processes
import pytest
from factories import empty_database, make_folder
from mlflow import MlflowClient

from benchmarks.servers import free_port
from qwerties.config import Config
from qwerties.execution.processes import this_process
from qwerties.maps.make import EXPERIMENT, make_record, train_map
from qwerties.maps.spec import Axis, MapSpec
from qwerties.scoring.digest import code_digest
from qwerties.study.sweep_lock import sweep_lock
from qwerties.tracking import uri as address
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import MAP

pytestmark = pytest.mark.server

QUESTION = """
from qwerties.config import Config
from qwerties.study.experiment import Contrast, Experiment, grid

configs = grid(Config(epochs={epochs}), loss=("bce", "mse"))
experiment = Experiment(title="Losses", question="?", configs=configs, contrasts=(Contrast(*configs),))
"""
PROXY = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}  # a user's, which leads nowhere
EPOCHS, SEEDS = 1200, "4"  # of so many losses, more than one request takes


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("study"), losses=QUESTION.format(epochs=EPOCHS))


def start(folder, uri, *argv):
    return processes.started(folder, *argv, environment={"MLFLOW_TRACKING_URI": uri})


def call(folder, uri, *argv, status=0, environment=None):
    settings = {"MLFLOW_TRACKING_URI": uri, **(environment or {})}
    return processes.run(folder, *argv, status=status, environment=settings)


def tables(store, experiment_name):
    """Bytes of each run's seeds.csv, by the run's name."""
    experiment_id, _ = store.experiments()[experiment_name]
    runs = [run for run in store.runs(experiment_id) if run.parent is None]
    assert {run.status for run in runs} == {"FINISHED"}
    found = {run.name: store.read(run, "seeds.csv") for run in runs}
    assert len(found) == len(runs)
    return found


@pytest.fixture(scope="module")
def swept(mlflow_server, study):
    """What a sweep into the server says."""
    return call(study, mlflow_server.uri, "sweep", "--seeds", SEEDS, "--jobs", "1")


def test_a_sweep_says_no_more_than_into_a_file(swept):
    out, err = swept
    assert out.startswith("2 runs of 2 planned configs tracked, 8 networks trained in ")
    assert all(line.startswith("sweep: ") for line in err.splitlines())  # plain lines of progress


def test_the_server_holds_what_a_file_would(swept, mlflow_server, study, tmp_path):
    alone = make_folder(tmp_path, losses=QUESTION.format(epochs=EPOCHS))
    call(alone, address.default_uri(alone), "sweep", "--seeds", SEEDS, "--jobs", "1", "--no-report")
    far, near = Store(mlflow_server.uri), Store(address.default_uri(alone))
    assert tables(far, "losses") == tables(near, "losses")
    pairs = [{run.name: run for run in store.runs(store.experiments()["losses"][0])} for store in (far, near)]
    assert pairs[0].keys() == pairs[1].keys()
    for name, run in pairs[0].items():
        other = pairs[1][name]
        assert run.params == other.params
        assert run.metrics == other.metrics
        assert run.tags["qwerties.artifacts"] == other.tags["qwerties.artifacts"]
        curves = [
            [(m.step, m.value) for m in MlflowClient(uri).get_metric_history(one.run_id, "train_loss")]
            for uri, one in ((far.uri, run), (near.uri, other))
        ]
        assert curves[0] == curves[1]
        assert len(curves[0]) == EPOCHS
    assert not (study / "mlflow.db").exists()
    assert not (study / "mlruns").exists()


def test_every_command_works_through_the_server(swept, mlflow_server, study):
    assert "nothing to do" in call(study, mlflow_server.uri, "sweep", "--seeds", SEEDS)[0]
    status = json.loads(call(study, mlflow_server.uri, "status", "--json", environment=PROXY)[0])
    assert status["complete"]
    assert status["store"] == mlflow_server.uri
    assert "agree" in call(study, mlflow_server.uri, "verify", "--networks", "2")[0]
    page = study / "reports" / "summary.html"
    page.unlink()
    call(study, mlflow_server.uri, "report")
    assert f"{mlflow_server.uri}/#/experiments/" in page.read_text(encoding="utf-8")
    call(study, mlflow_server.uri, "report", "--check")


def test_what_was_altered_on_the_server_is_found(swept, mlflow_server, study):
    store = Store(mlflow_server.uri)
    runs = [run for run in store.runs(store.experiments()["losses"][0]) if run.parent is None]
    altered, lost = (Path(*mlflow_server.folder.glob(f"artifacts/*/{run.run_id}/artifacts")) for run in runs)
    before = {path: path.read_bytes() for path in (altered / "curves.npz", lost / "plots" / "loss_curve.png")}
    try:
        (altered / "curves.npz").write_bytes(before[altered / "curves.npz"] + b"!")
        (lost / "plots" / "loss_curve.png").unlink()
        out, _ = call(study, mlflow_server.uri, "verify", "--networks", "1", status=1)
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    told = sorted(line for line in out.splitlines() if line.startswith("differs: "))
    names = [f"differs: {run.name} ({run.run_id}): artifact " for run in runs]
    assert len(told) == 2
    assert any(line.startswith(f"{names[0]}curves.npz was altered or cut short: ") for line in told)
    assert f"{names[1]}plots/loss_curve.png is lost: it cannot be read" in told


def test_two_people_sweep_into_one_server(mlflow_server, tmp_path):
    folders = [make_folder(tmp_path / name, shared=QUESTION.format(epochs=30)) for name in ("one", "two")]
    argv = ("sweep", "--seeds", SEEDS, "--jobs", "1", "--no-report")
    with (
        start(folders[0], mlflow_server.uri, *argv) as one,
        start(folders[1], mlflow_server.uri, *argv) as two,
    ):
        ends = [one.wait(), two.wait()]
    assert [status for status, *_ in ends] == [0, 0], ends
    assert len(tables(Store(mlflow_server.uri), "shared")) == 2
    trained = ["2 runs of 2 planned configs tracked" in out for _, out, _ in ends]
    assert sorted(trained) == [False, True]
    assert "nothing to do: 2 planned configs, all tracked" in ends[trained.index(False)][1]


MAP_OF = ("map", "--size", "3x2", "--epochs", "20", "--jobs", "1")
SPEC = MapSpec(
    Axis("learning_rate", 1e-3, 10.0, "log", 3),
    Axis("distance", 0.0, 6.0, "linear", 2),
    base=Config(epochs=20),
)


@contextmanager
def waiting(folder, uri):
    """Start a map that says that it waits for its turn."""
    with start(folder, uri, *MAP_OF) as command:
        while "\n" not in command.texts()[0] and command.poll() is None:
            time.sleep(0.02)
        assert command.texts()[0].startswith("waiting for another process that makes the same map, "), (
            command.texts()
        )
        yield command


@pytest.mark.parametrize("kind", ["a server", "a file"])
def test_a_map_is_made_once_in_a_store_that_folders_share(kind, mlflow_server, tmp_path):
    uri = mlflow_server.uri if kind == "a server" else address.default_uri(tmp_path)
    if kind == "a file":
        (tmp_path / "mlflow.db").write_bytes(empty_database())
    folders = [make_folder(tmp_path / name) for name in ("one", "two", "three")]
    with chdir(tmp_path):
        store, key = Store(uri, writer=this_process()), SPEC.fingerprint(code_digest())
        experiment_id = store.experiment(EXPERIMENT, {MAP: "1"})
    with ExitStack() as waits:
        with sweep_lock(store, [experiment_id], pytest.fail, f"map-{key}"):
            with waiting(folders[0], uri) as stopped:
                stopped.send_signal(signal.SIGINT)
                status, _, err = stopped.wait()
            assert status == 130
            assert err.endswith("stopped; what is tracked stays, the same command goes on from there\n")
            assert "Traceback" not in err
            second = waits.enter_context(waiting(folders[1], uri))
            other, _ = call(folders[2], uri, *MAP_OF, "--seeds", "1")  # another map: nobody waits for it
            assert other.startswith("24 networks in ")
            arrays = train_map(SPEC, tmp_path / "blocks", workers=1)
            pictures = {"plots/gain.png": b"picture"}
            run_id = store.write(experiment_id, make_record(SPEC, arrays, pictures, code_digest()))
            assert second.poll() is None
        status, out, err = second.wait()
    assert status == 0, err
    assert out.splitlines()[1] == f"nothing to do: the map is tracked as run {run_id}"
    assert len(store.maps()) == 2
    assert not [tag for tag in store.experiment_tags()[experiment_id] if "lease" in tag]


def test_a_database_server_without_mlflow_s(postgres, tmp_path):
    folder = make_folder(tmp_path, losses=QUESTION.format(epochs=30))
    uri = postgres.create("bare")
    call(folder, uri, "sweep", "--seeds", SEEDS, "--jobs", "1")
    assert "nothing to do" in call(folder, uri, "sweep", "--seeds", SEEDS)[0]
    assert sorted(path.name for path in (folder / "mlruns").iterdir())  # its artifacts lie here
    said = [
        text for argv in (("status",), ("verify", "--networks", "1")) for text in call(folder, uri, *argv)
    ]
    assert "hush" not in "".join(said)
    assert "hush" not in Path(folder, "reports", "summary.html").read_text(encoding="utf-8")


def test_a_database_that_does_not_answer(postgres):
    for uri, reason in (
        (f"postgresql://me:hush@127.0.0.1:{free_port()}/x", "Connection refused"),
        (
            f"postgresql://qwerties:hush@127.0.0.1:{postgres.port}/nowhere",
            'database "nowhere" does not exist',
        ),
    ):
        with pytest.raises(StoreError) as caught:
            Store(uri)
        message = str(caught.value)
        assert message.startswith(f"the database {uri.replace('hush', '***')} must answer, got: ")
        assert reason in message
        assert "\n" not in message


def test_a_setting_of_mlflow_that_is_wrong_is_told(mlflow_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.3")
    with pytest.raises(
        StoreError, match=r"cannot be opened: .*'0\.3' for MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"
    ):
        Store(mlflow_server.uri)
