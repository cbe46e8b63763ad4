"""The store: what is written can be read, runs end as what they are, and what is wrong is told in one line."""

import io
import os
import re
import subprocess
import sys
import threading
import zipfile
from contextlib import chdir, nullcontext
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from factories import new_store
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact import artifact_repository_registry

from qwerties.tracking import fast_sqlite
from qwerties.tracking.git import commit_tags
from qwerties.tracking.records import Dataset, Model, Record, Series, Tracked
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import NOTE, PARENT, PROCESS

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository with a space in its name; the process works in it, as the command line does."""
    folder = tmp_path_factory.mktemp("a repository")
    with chdir(folder):
        yield folder
    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it when it logs a model


@pytest.fixture(scope="module")
def store(root):
    """A store whose database is created, after an attempt that was killed."""
    (root / ".cache" / "mlflow.db.new").mkdir(parents=True)
    (root / ".cache" / "mlflow.db.new" / "mlflow.db").write_bytes(b"half a database")
    return Store.open(root, writer="host:1:2")


@pytest.fixture(scope="module")
def client(store):
    return MlflowClient(store.uri)


@pytest.fixture
def experiment_id(store, request):
    return store.experiment(request.node.name, {})


def curve(values):
    return Series(np.arange(1, len(values) + 1), np.asarray(values, float))


# A round trip

LOSSES = [0.9, NAN, INF, 0.3]
FILES = {"seeds.csv": b"seed,state\n0,learned\n", "plots/loss curve.png": bytes(range(256)), "empty": b""}


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Sigmoid()).eval()


@pytest.fixture(scope="module")
def written(store, module):
    """Experiment and run of a record that has everything, by somebody who has MLflow measure the machine."""
    example = np.array([[1, 1], [5, 1]], np.float32)
    record = Record(
        name="bce · relu · d=4 · 4 epochs",
        params={"loss": "bce", "hidden": "8x8", "seeds": "0-3"},
        metrics={"phi": 0.5, "excess_loss": None, "gain": NAN},
        tags={"qwerties.fingerprint": "abc", NOTE: "A run.", "mlflow.source.name": "experiments/x.py"},
        series={
            "train_loss": curve(LOSSES),
            "dead_fraction": Series(np.array([1, 4]), np.array([0.5, 0.25])),
        },
        files=FILES,
        dataset=Dataset("qwerties d=4", "0123456789ab", {"points": 200, "distance": 4.0}),
        model=Model(module, example, module(torch.from_numpy(example)).detach().numpy()),
        children=[
            Record(
                "seed 0", {"seed": "0"}, {"phi": 1.0}, tags={"qwerties.state": "learned"}, files={"a": b"1"}
            ),
            Record(
                "seed 2", {"seed": "2"}, {"phi": None}, tags={"qwerties.state": "dead"}, files={"a": b"2"}
            ),
        ],
    )
    experiment_id = store.experiment("round trip", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
        return experiment_id, store.write(experiment_id, record)


@pytest.fixture(scope="module")
def runs(store, written):
    return store.runs(written[0])


def test_metrics_are_written_at_once_and_to_their_run_alone_whatever_the_settings_say(tmp_path):
    """A write in a thread of its own would fail silently, here because there is no such model."""
    script = (
        "from pathlib import Path; from qwerties.tracking.store import Store; "
        "from qwerties.tracking.records import Record; "
        "store = Store.open(Path.cwd()); id = store.experiment('settings', {}); "
        "store.end(store.begin(id, Record('search', {}, {})), Record('', {}, {'trials': 3.0}, {'winner': 'w'})); "
        "(run,) = store.runs(id); assert (run.metrics, run.tags['winner']) == ({'trials': 3.0}, 'w')"
    )
    settings = {"MLFLOW_ENABLE_ASYNC_LOGGING": "true", "MLFLOW_ACTIVE_MODEL_ID": "m-0"}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env={**os.environ, **settings})


def test_the_parent_comes_first_and_what_is_undefined_is_absent(runs, written):
    assert [(run.name, run.parent, run.status) for run in runs] == [
        ("bce · relu · d=4 · 4 epochs", None, "FINISHED"),
        ("seed 0", written[1], "FINISHED"),
        ("seed 2", written[1], "FINISHED"),
    ]
    assert runs[0].run_id == written[1]
    assert {run.experiment_id for run in runs} == {written[0]}
    assert runs[0].params == {"loss": "bce", "hidden": "8x8", "seeds": "0-3"}
    assert repr(sorted(runs[0].metrics.items())) == repr(
        [("dead_fraction", 0.25), ("gain", NAN), ("phi", 0.5), ("train_loss", 0.3)]
    )
    assert [run.metrics for run in runs[1:]] == [{"phi": 1.0}, {}]


def test_curves_come_back_through_mlflow(client, written):
    history = client.get_metric_history(written[1], "train_loss")
    assert [m.step for m in history] == [1, 2, 3, 4]
    assert repr([m.value for m in history]) == repr([0.9, NAN, 1.7976931348623157e308, 0.3])
    final = client.get_metric_history(written[1], "phi")
    assert [(m.step, m.value) for m in final] == [(4, 0.5)], "final values stand at the last step"


def test_tags_hold_ours_and_those_that_the_ui_shows(runs):
    parent, child, _ = (run.tags for run in runs)
    assert parent["qwerties.fingerprint"] == "abc"
    assert parent[NOTE] == "A run."
    assert parent["mlflow.source.name"] == "experiments/x.py", "ours go before the context's"
    assert parent[PROCESS] == child[PROCESS] == "host:1:2"
    assert parent["mlflow.user"]
    assert parent["mlflow.source.type"] == "LOCAL"
    assert PARENT not in parent
    assert child["qwerties.state"] == "learned"
    assert child[PARENT] == runs[0].run_id
    assert child["mlflow.user"] == parent["mlflow.user"]


def test_files_come_back_byte_for_byte_and_lie_in_mlruns_below_the_root(store, root, runs):
    assert {path: store.read(runs[0], path) for path in FILES} == FILES
    assert [store.read(run, "a") for run in runs[1:]] == [b"1", b"2"]
    assert {p.name for p in root.iterdir()} - {".cache"} == {
        "mlflow.db",
        "mlflow.db-shm",
        "mlflow.db-wal",
        "mlruns",
    }
    assert not (root / ".cache" / "mlflow.db.new").exists()
    assert (root / "mlruns" / runs[0].experiment_id / runs[0].run_id / "artifacts" / "seeds.csv").is_file()


def test_the_dataset_is_an_input_of_the_run(client, written):
    (found,) = client.get_run(written[1]).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("qwerties d=4", "0123456789ab")
    assert found.dataset.profile == '{"points": 200, "distance": 4.0}'
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]


def test_the_model_loads_and_predicts_the_same(store, written, module):
    points = np.random.default_rng(0).normal(2, 2, (50, 2)).astype(np.float32)
    mlflow.set_tracking_uri(store.uri)
    predicted = mlflow.pyfunc.load_model(f"runs:/{written[1]}/model").predict(points)
    np.testing.assert_allclose(predicted, module(torch.from_numpy(points)).detach().numpy(), atol=1e-6)


def test_the_model_holds_no_pickle(root, written):
    (folder,) = (root / "mlruns" / written[0] / "models").iterdir()
    files = {path.name: path for path in folder.rglob("*") if path.is_file()}
    assert "model.pt2" in files
    assert not [name for name, path in files.items() if is_pickle(name, path.read_bytes())]
    with zipfile.ZipFile(files["model.pt2"]) as archive:
        (inputs,) = [name for name in archive.namelist() if is_pickle(name, archive.read(name))]
        assert inputs.endswith("sample_inputs/model.pt")
        torch.load(io.BytesIO(archive.read(inputs)), weights_only=True)  # tensors alone
    assert [line.partition("==")[0] for line in files["requirements.txt"].read_text().splitlines()] == [
        "torch",
        "numpy",
        "mlflow",
    ]
    assert f"torch=={version('torch')}" in files["requirements.txt"].read_text()


def is_pickle(name, content):
    """Whether a file is a pickle, or a ``torch.save`` archive, which holds one."""
    named = Path(name).suffix in (".pkl", ".pickle", ".pth", ".pt", ".joblib")
    return named or content[:1] == b"\x80" or b"data.pkl" in content[:200]


def test_a_missing_artifact_is_told_with_run_and_path(store, runs):
    with pytest.raises(StoreError) as caught:
        store.read(runs[0], "plots/none.png")
    name = "bce · relu · d=4 · 4 epochs"
    assert str(caught.value) == f"run {runs[0].run_id} ({name}): artifact plots/none.png cannot be read"


def test_an_artifact_that_is_not_local_is_fetched_through_mlflow(store, runs, monkeypatch):
    class Repository:
        def _download_file(self, path, local):
            if path != "seeds.csv":
                raise MlflowException("no such thing")
            Path(local).write_bytes(b"fetched")

    def repository(uri, *, tracking_uri):
        assert (uri, tracking_uri) == (run.artifact_uri, store.uri)
        return Repository()

    monkeypatch.setattr(artifact_repository_registry, "get_artifact_repository", repository)
    run = Tracked("r", "1", "n", "FINISHED", None, {}, {}, {}, "mlflow-artifacts:/1/r/artifacts")
    assert store.read(run, "seeds.csv") == b"fetched"
    with pytest.raises(StoreError, match=re.escape("run r (n): artifact weights.npz cannot be read")):
        store.read(run, "weights.npz")


# Experiments


def test_experiments_are_ours_are_made_once_and_their_tags_follow(store, client):
    client.create_experiment("somebody else's")
    first = store.experiment("zebra", {NOTE: "Why?", "qwerties.plan": "old"})
    assert store.experiment("zebra", {NOTE: "Why?", "qwerties.plan": "new"}) == first
    store.experiment("aardvark", {})
    found = store.experiments()
    assert list(found) == sorted(found)
    assert not {name for name in found if "somebody" in name or "Default" in name}
    experiment_id, tags = found["zebra"]
    assert experiment_id == first
    assert client.get_experiment(first).name == "qwerties/zebra"
    assert {key: tags[key] for key in (NOTE, "qwerties.plan")} == {NOTE: "Why?", "qwerties.plan": "new"}


def test_a_deleted_experiment_is_told_with_a_way_out_that_works(store, client, monkeypatch):
    from mlflow.cli import cli

    experiment_id = store.experiment("deleted", {})
    client.delete_experiment(experiment_id)
    assert "deleted" not in store.experiments()
    with pytest.raises(StoreError) as caught:
        store.experiment("deleted", {})
    command = f"mlflow experiments restore --experiment-id {experiment_id}"
    assert str(caught.value) == (
        f"experiment qwerties/deleted was deleted in MLflow; restore it with `{command}` or remove it with `mlflow gc`"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    result = CliRunner().invoke(cli, command.split()[1:])
    assert result.exit_code == 0, result.output
    assert store.experiment("deleted", {}) == experiment_id


# How runs end


def statuses(store, experiment_id):
    return {run.name: run.status for run in store.runs(experiment_id)}


def test_a_child_that_fails_fails_its_parent_but_not_its_brother(store, experiment_id):
    good, bad = Record("good", {"p": "1"}, {}), Record("bad", {}, {}, files={"a": b"", "a/b": b""})
    with pytest.raises(OSError, match="a"):
        store.write(experiment_id, Record("parent", {}, {}, children=[good, bad, Record("never", {}, {})]))
    assert statuses(store, experiment_id) == {"parent": "FAILED", "good": "FINISHED", "bad": "FAILED"}


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (SystemExit, "FAILED")])
def test_a_run_that_is_stopped_says_so(store, experiment_id, monkeypatch, error, status):
    def stop(*_):
        raise error

    monkeypatch.setattr(fast_sqlite, "write_metrics", stop)
    with pytest.raises(error):
        store.write(experiment_id, Record("r", {}, {"m": 1.0}))
    assert statuses(store, experiment_id) == {"r": status}


def test_a_run_is_not_finished_before_all_of_it_is_there(store, experiment_id, monkeypatch, module):
    """Whoever is killed outright in the middle leaves a run that does not count."""
    seen = []

    def spy(owner, name, what):
        real = getattr(owner, name)

        def call(*arguments, **options):
            result = real(*arguments, **options)
            seen.extend((what, run.status) for run in store.runs(experiment_id) if run.name == "parent")
            return result

        monkeypatch.setattr(owner, name, call)

    spy(fast_sqlite, "create_run", "run")
    spy(store._client, "log_inputs", "dataset")
    spy(fast_sqlite, "write_metrics", "metrics")
    spy(Path, "write_bytes", "file")
    x = np.zeros((2, 2), np.float32)
    record = Record(
        "parent",
        {"p": "1"},
        {"m": 1.0},
        files={"f": b""},
        dataset=Dataset("d", "0", {}),
        model=Model(module, x, module(torch.from_numpy(x)).detach().numpy()),
        children=[Record("child", {}, {}, files={"f": b""})],
    )
    store.write(experiment_id, record)
    assert {what for what, _ in seen} == {"run", "dataset", "metrics", "file"}
    assert {status for _, status in seen} == {"RUNNING"}
    assert statuses(store, experiment_id) == {"parent": "FINISHED", "child": "FINISHED"}


def test_running_runs_that_are_said_to_be_abandoned_are_ended_and_no_others(store, client, experiment_id):
    client.create_run(experiment_id, run_name="somebody's own")
    for name in ("abandoned", "alive", "done"):
        run = client.create_run(experiment_id, run_name=name, tags={PROCESS: "host:1:2"})
    client.set_terminated(run.info.run_id)
    runs = store.runs(experiment_id)
    assert store.end_abandoned(runs, lambda run: run.name != "alive") == 1
    assert statuses(store, experiment_id) == {
        "somebody's own": "RUNNING",
        "abandoned": "KILLED",
        "alive": "RUNNING",
        "done": "FINISHED",
    }


def test_a_report_sees_the_store_as_it_was(store, experiment_id):
    store.write(experiment_id, Record("first", {}, {}))
    before = store.experiments()
    with store.as_of_now():
        assert [run.name for run in store.runs(experiment_id)] == ["first"]
        assert store.experiments() == before
        store.write(experiment_id, Record("second", {}, {}))
        store.experiment("another", {})
        store.experiments().clear()
        assert store.experiments() == before
        assert [run.name for run in store.runs(experiment_id)] == ["first"]
    assert [run.name for run in store.runs(experiment_id)] == ["first", "second"]
    assert store.experiments().keys() == before.keys() | {"another"}
    with store.as_of_now():
        assert "another" in store.experiments()


# Many


def test_more_metrics_than_a_batch_holds_go_through_log_batch(store, client, experiment_id, monkeypatch):
    sizes = []
    real = store._client.log_batch

    def log_batch(run_id, **what):
        sizes.append(len(what.get("metrics", ())))
        return real(run_id, **what)

    monkeypatch.setattr(store, "_connection", None)
    monkeypatch.setattr(store._client, "log_batch", log_batch)
    values = np.random.default_rng(0).random(2300)
    run_id = store.write(experiment_id, Record("r", {}, {"phi": 0.5}, series={"train_loss": curve(values)}))
    assert [m.value for m in client.get_metric_history(run_id, "train_loss")] == values.tolist()
    assert client.get_run(run_id).data.metrics == {"train_loss": values[-1], "phi": 0.5}
    assert sum(sizes) == 2301
    assert max(sizes) == 1000


def test_runs_and_experiments_are_read_page_by_page(store, client, experiment_id, monkeypatch):
    for i in range(5):
        client.create_run(experiment_id, run_name=str(i), start_time=i + 1)
        store.experiment(f"page {i}", {})
    ours = store.experiments().keys()
    pages = []

    def in_pages(name):
        real = getattr(store._client, name)

        def search(*arguments, max_results, **options):
            assert max_results <= 50_000
            page = real(*arguments, max_results=2, **options)
            pages.append(len(page))
            return page

        monkeypatch.setattr(store._client, name, search)

    in_pages("search_runs")
    in_pages("search_experiments")
    monkeypatch.setattr(store, "_connection", None)  # as of a server
    assert [run.name for run in store.runs(experiment_id)] == ["0", "1", "2", "3", "4"]
    assert pages == [2, 2, 1]
    assert store.experiments().keys() == ours >= {f"page {i}" for i in range(5)}
    assert len(pages) > 5


# Stores that cannot be used


@pytest.mark.timeout(20)
def test_a_file_that_is_no_database(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no database\n" * 100)
    with pytest.raises(StoreError) as caught:
        Store(f"sqlite:///{file}")
    message = str(caught.value)
    assert f"{file} cannot be opened: " in message
    assert "file is not a database" in message
    assert "\n" not in message
    assert file.read_text() == "no database\n" * 100


def test_a_run_tells_the_commit_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commit_tags() == {}  # no repository yet
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.py").write_text("")
    subprocess.run([*git, "add", "experiments"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert commit_tags() == {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "false"}
    (tmp_path / "new").touch()
    assert commit_tags()["mlflow.source.git.dirty"] == "true"


def test_an_experiment_that_somebody_creates_at_the_same_moment_is_taken(store, monkeypatch):
    real = store._client.create_experiment

    def create(name, *settings):
        real(name, tags={"theirs": "1"})
        return real(name, *settings)

    monkeypatch.setattr(store._client, "create_experiment", create)
    experiment_id = store.experiment("raced", {"ours": "2"})
    found = store.experiments()["raced"]
    assert found == (experiment_id, {"theirs": "1", "ours": "2"})


@pytest.mark.parametrize(("said", "calls"), [("Connection broken: IncompleteRead", 2), ("no such run", 1)])
def test_a_server_that_dies_in_mid_answer_is_asked_once_more(store, monkeypatch, said, calls):
    asked = []

    def end(*arguments):
        asked.append(arguments)
        if len(asked) == 1:
            raise MlflowException(said)

    monkeypatch.setattr(store, "_connection", None)  # as of a server
    monkeypatch.setattr(store._client, "set_terminated", end)
    with nullcontext() if calls == 2 else pytest.raises(MlflowException, match=said):
        store._terminate("run", "FINISHED")
    assert len(asked) == calls
    assert len(set(asked)) == 1


def test_only_the_main_thread_changes_the_environment_and_puts_it_back(store, experiment_id, monkeypatch):
    """Of an absent server the end of a stopped run is asked for once."""
    name, seen = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", []
    monkeypatch.setenv(name, "7")
    monkeypatch.setattr(
        store._client,
        "set_terminated",
        lambda *_: seen.append((os.environ[name], threading.current_thread())),
    )

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fast_sqlite, "write_metrics", stop)
    with pytest.raises(KeyboardInterrupt):
        store.write(experiment_id, Record("r", {}, {"m": 1.0}))
    assert [retries for retries, _ in seen] == ["0"]
    assert seen[0][1] is not threading.main_thread()
    assert os.environ[name] == "7"


@pytest.mark.parametrize("way", ["SQLite", "MLflow"])
def test_renamed_experiments_are_found_and_do_not_count(tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    store = new_store(tmp_path)
    ids = [store.experiment(name, {"qwerties.title": name}) for name in ("kept", "lost", "gone")]
    MlflowClient(store.uri).create_experiment("somebody's")
    for number, name in zip(ids[1:], ("lost", "another"), strict=True):
        MlflowClient(store.uri).rename_experiment(number, name)
    if way == "MLflow":
        monkeypatch.setattr(store, "_connection", None)
    assert store.renamed() == ["another", "lost"]
    assert list(store.experiments()) == ["kept"]
