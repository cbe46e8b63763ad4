"""What `qwerties status` says of a plan: every config counted once, whose it is, why it failed, what it takes."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from factories import CONFIGS, call, fill, make_folder, new_store, plan, record
from mlflow import MlflowClient
from projects import copy_project, sql

from qwerties.cli.status import read_status, table
from qwerties.config import Config
from qwerties.errors import nothing_tracked
from qwerties.tracking.tags import FAILURE, PROCESS, SUPERSEDED
from qwerties.tracking.uri import default_uri

NOTHING = "nothing tracked yet: qwerties sweep"
A, B, C, D = (Config(epochs=epochs) for epochs in (1, 2, 3, 4))


def set_status(folder, run_id, status):
    sql(folder, "UPDATE runs SET status = ? WHERE run_uuid = ?", status, run_id)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An experiment of which one config stands in every way, one that is complete, and one without a plan."""
    path = make_folder(tmp_path_factory.mktemp("status") / "study")
    store = fill(path)
    with chdir(path):
        gaps = store.experiment(
            "gaps", {"qwerties.title": "Gaps", "qwerties.plan": plan(*(A, B, C, D), *CONFIGS)}
        )
        done = store.write(gaps, record(A))
        for status, tags in {
            "RUNNING": {PROCESS: "somewhere:12:345"},
            "FAILED": {FAILURE: "no space left on device"},
        }.items():
            set_status(path, store.write(gaps, record({"RUNNING": B, "FAILED": C}[status], **tags)), status)
        lost = store.write(gaps, record(D))
        next((path / "mlruns" / gaps / lost).rglob("seeds.csv")).unlink()
        store.write(gaps, record(A, code="older"))
        store.write(gaps, record(Config(epochs=99)))
        store.write(gaps, record(A, **{SUPERSEDED: done}))
        store.write(store.experiment("train", {}), record(A))
    return path


def test_every_state_is_counted_and_explained(folder):
    out, err = call(folder, "status", status=1)
    assert err == ""
    *lines, damaged, train, disk, gaps, pair = out.splitlines()
    assert [line.partition(": there is no ")[0] for line in (gaps, pair)] == ["gaps", "pair"]
    assert lines == [
        "experiment  planned  done  missing  running  failed  damaged  stale  superseded  unplanned",
        "gaps              6     1        2        1       1        1      1           1          1",
        "pair              2     2        0        0       0        0      0           0          0",
        f"gaps: {B.label()}: running, process 12 on somewhere",
        f"gaps: {C.label()}: failed, no space left on device",
    ]
    assert damaged.startswith(f"gaps: {D.label()}: damaged, seeds.csv of run ")
    assert damaged.endswith(" is lost or altered; a sweep re-runs it")
    assert train == "train: 1 run, not part of a plan"
    assert disk.startswith("disk used: database ")


def test_the_document(folder):
    out, _ = call(folder, "status", "--json", status=1)
    document = json.loads(out)
    assert list(document) == ["format", "complete", "store", "experiments", "disk"]
    assert (document["format"], document["complete"]) == (2, False)
    gaps, pair, train = document["experiments"]
    configs = gaps.pop("configs")
    assert gaps == {
        "experiment": "gaps",
        "title": "Gaps",
        "complete": False,
        "outdated": False,
        "planned": 6,
        "done": 1,
        "missing": 2,
        "running": 1,
        "failed": 1,
        "damaged": 1,
        "stale": 1,
        "superseded": 1,
        "unplanned": 1,
        "loose": 0,
        "problems": [],
        "searches": [],
    }
    states = [(config["state"], len(config["runs"]), len(config["others"])) for config in configs]
    assert states == [
        *(("done", 1, 0), ("running", 0, 1), ("failed", 0, 1), ("damaged", 0, 1)),
        *(("missing", 0, 0), ("missing", 0, 0)),
    ]
    running, failed = configs[1]["others"][0], configs[2]["others"][0]
    assert (running["status"], running["process"]) == ("RUNNING", "somewhere:12:345")
    assert running["failure"] is None
    assert (failed["status"], failed["failure"]) == ("FAILED", "no space left on device")
    assert pair["complete"]
    assert (train["planned"], train["loose"], train["complete"]) == (None, 1, True)
    store = new_store(folder)
    ours = [Path(folder, "mlruns", experiment_id) for experiment_id, _ in store.experiments().values()]
    size = sum(path.stat().st_size for place in ours for path in place.rglob("*") if path.is_file())
    assert document["disk"]["artifacts"] == size
    assert document["disk"]["database"] >= (folder / "mlflow.db").stat().st_size


def test_a_complete_study(tmp_path):
    folder = make_folder(tmp_path / "study")
    fill(folder)
    out, _ = call(folder, "status")
    assert out.splitlines()[:2] == [
        "experiment  planned  done  missing",
        "pair              2     2        0",
    ]
    assert json.loads(call(folder, "status", "--json")[0])["complete"]
    shutil.rmtree(folder / "mlruns")
    out, _ = call(folder, "status", status=1)
    assert out.splitlines()[1] == "pair              2     0        0        2"


def test_failures_are_told_by_their_last_and_are_not_without_number(tmp_path):
    folder = make_folder(tmp_path / "study")
    configs = [Config(epochs=epochs) for epochs in range(1, 13)]
    with chdir(folder):
        store = new_store(folder)
        many = store.experiment("many", {"qwerties.plan": plan(*configs)})
        for config in configs:
            for reason in ("first", "second\nline\x1b[31m"):
                set_status(folder, store.write(many, record(config, files={}, **{FAILURE: reason})), "FAILED")
        set_status(folder, store.write(many, record(configs[0], files={})), "KILLED")
    lines = call(folder, "status", status=1)[0].splitlines()
    assert lines[2] == f"many: {configs[0].label()}: killed, no reason is known"
    assert lines[3] == f"many: {configs[1].label()}: failed, second line\ufffd[31m"
    assert lines[10] == "many: 4 more failed"
    assert len(lines) == 13
    assert lines[-1].startswith("many: there is no experiments/many.py; it was renamed or removed, or ")


READERS = ("status", "report", "verify", "ui", "relocate", "export study.tar.gz")


@pytest.mark.parametrize("command", READERS)
def test_where_nothing_is_tracked_that_is_said_and_nothing_is_made(command, tmp_path):
    folder = make_folder(tmp_path / "study")
    before = sorted(folder.rglob("*"))
    out, err = call(folder, *command.split(), status=2 if command.startswith("export") else 1)
    assert (out + err).removeprefix("qwerties: error: ") == f"{NOTHING}\n"
    assert sorted(folder.rglob("*")) == before


def test_the_document_where_nothing_is_tracked(tmp_path):
    folder = make_folder(tmp_path / "study")
    document = json.loads(call(folder, "status", "--json", status=1)[0])
    disk = {"database": 0, "artifacts": 0}
    assert document == {
        "format": 2,
        "complete": False,
        "store": f"sqlite:///{folder}/mlflow.db",
        "experiments": [],
        "disk": disk,
    }
    assert not (folder / "mlflow.db").exists()


def test_a_store_without_experiments(tmp_path):
    store = new_store(make_folder(tmp_path / "study"))
    status = read_status(store)
    assert table(status) == nothing_tracked()
    assert not status["complete"]
    assert status["disk"]["artifacts"] == 0


def test_a_plan_of_other_code_is_not_complete(tmp_path):
    """A sweep re-runs it, so it must not be called done."""
    folder = make_folder(tmp_path / "study")
    with chdir(folder):
        store = new_store(folder)
        old = store.experiment("old", {"qwerties.plan": plan(A, code="older")})
        store.write(old, record(A, code="older"))
    out, _ = call(folder, "status", status=1)
    assert out.splitlines()[2] == "old: its plan was stored by other code; a sweep runs it again"
    assert json.loads(call(folder, "status", "--json", status=1)[0])["experiments"][0]["outdated"]


def test_a_renamed_experiment_and_a_file_that_was_never_swept_are_named(swept_project, tmp_path):
    folder = copy_project(swept_project, tmp_path / "study")
    (folder / "experiments" / "new.py").write_text("experiment = None\n")
    client = MlflowClient(default_uri(folder))
    experiment = client.get_experiment_by_name("qwerties/tiny")
    client.rename_experiment(experiment.experiment_id, "qwerties/other")
    lines = call(folder, "status")[0].splitlines()
    assert lines[1].split()[:3] == ["other", "2", "2"]
    assert lines[-2].startswith("other: there is no experiments/other.py; it was renamed or removed, or ")
    assert lines[-1] == "not swept yet: new, tiny"
    for name in ("mine", "tiny"):  # neither counts, whatever files there are
        client.rename_experiment(experiment.experiment_id, name)
        assert call(folder, "status", status=1)[0].splitlines() == [
            NOTHING,
            f"{name}: renamed in MLflow, its runs do not count until its name begins with qwerties/ again",
        ]
