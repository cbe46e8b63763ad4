"""The real command in odd folders, odd environments and beside odd files: a line at most, and nothing is lost."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from factories import contents, make_folder, make_study, runs_of
from mlflow import MlflowClient
from processes import finish, run, started_python
from projects import TINY

from qwerties.tracking.uri import default_uri

pytestmark = pytest.mark.slow

SWEEP = ("sweep", "--seeds", "2", "--jobs", "1", "--no-report")


def count(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()[0]


def test_the_database_alone_holds_every_run_after_a_command(tmp_path):
    folder = make_study(tmp_path / "study", tiny=TINY)
    run(folder, "sweep", "--seeds", "2", "--jobs", "1")
    copy = tmp_path / "copy.db"
    copy.write_bytes((folder / "mlflow.db").read_bytes())
    assert count(copy) == count(folder / "mlflow.db") >= 3


def test_a_copied_folder_does_not_run_the_original_s_code(tmp_path):
    folder = make_folder(tmp_path / "study", tiny=TINY)
    (folder / "qwerties").mkdir()
    (folder / "qwerties" / "__init__.py").write_text("raise SystemExit(7)\n")
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONSAFEPATH": "1"}
    with started_python(folder, "-m", "qwerties", *SWEEP, **paths) as process:
        _, told = finish(process, status=2)
    assert told.startswith(
        "qwerties: error: this folder has its own qwerties/, but the command runs the code in"
    )
    assert told.count("\n") == 1
    assert not (folder / "mlflow.db").exists()


def test_a_folder_that_does_not_say_so_is_no_project(tmp_path):
    folder = make_folder(tmp_path / "study", evil="raise SystemExit(7)\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert "a table [tool.qwerties]" in run(folder, *SWEEP, status=2)[1]


ODD = """
from __future__ import annotations
import os, warnings
from dataclasses import dataclass

import mlflow, torch

from _shared import EPOCHS
from qwerties import Config, Contrast, Experiment

@dataclass
class Setting:
    epochs: int = EPOCHS

torch.set_default_dtype(torch.float64)
os.chdir("..")
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///elsewhere.db"
mlflow.set_tracking_uri("sqlite:///" + os.path.abspath("elsewhere.db"))
mlflow.set_experiment("x")
mlflow.start_run()
warnings.simplefilter("error")
A, B = Config(epochs=Setting().epochs), Config(epochs=Setting().epochs, loss="mse")
experiment = Experiment(title="Odd", question="?", configs=(A, B), contrasts=(Contrast(A, B),))
"""


def test_an_experiment_file_changes_nothing_of_the_process(tmp_path):
    plain = make_study(tmp_path / "plain", tiny=TINY)
    odd = make_study(tmp_path / "odd" / "study", tiny=TINY, a_first_one=ODD, _shared="EPOCHS = 20\n")
    for folder in (plain, odd):
        run(folder, *SWEEP)
        for each in runs_of(folder, "tiny"):
            assert Path(each.info.artifact_uri).is_relative_to(folder / "mlruns" / each.info.experiment_id)
    assert contents(plain, "tiny") == contents(odd, "tiny")


def test_what_is_no_experiment_is_passed_over_and_a_bad_name_is_named(tmp_path):
    folder = make_study(tmp_path / "study", tiny=TINY, random=TINY, train=TINY)
    (folder / "experiments" / ".#tiny.py").symlink_to("nobody@nowhere.1")
    (folder / "experiments" / "._tiny.py").write_bytes(b"\x00\x05\x16\x07")
    (folder / "experiments" / "folder.py").mkdir()
    _, told = run(folder, *SWEEP, status=1)
    complaints = [line for line in told.splitlines() if "error" in line]
    assert len(complaints) == 2
    assert "experiments/random.py was left out: its name must not be that of a module of Python" in told
    assert "experiments/train.py was left out: its name must not be that of another MLflow experiment" in told
    assert count(folder / "mlflow.db") >= 2


def test_a_tag_that_names_a_pipe_or_another_file_is_not_followed(tmp_path):
    folder = make_study(tmp_path / "study", tiny=TINY)
    run(folder, *SWEEP)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    client = MlflowClient(default_uri(folder))
    paths = (str(pipe), "/dev/zero", "../../../../../../dev/zero")
    for each in runs_of(folder, "tiny", children=None):
        client.set_tag(each.info.run_id, "qwerties.artifacts", json.dumps(dict.fromkeys(paths, "0" * 16)))
    run(folder, *SWEEP)  # each counts as damaged, and is made again
    assert count(folder / "mlflow.db") >= 4


def test_a_stranger_s_running_run_and_params_are_left_alone(tmp_path):
    folder = make_study(tmp_path / "study", tiny=TINY)
    run(folder, *SWEEP)
    client = MlflowClient(default_uri(folder))
    own = client.create_run(runs_of(folder, "tiny")[0].info.experiment_id, start_time=0)
    client.log_param(own.info.run_id, "seeds", "0-2147483647")
    run(folder, "sweep", "--seeds", "2", "--jobs", "1")
    assert client.get_run(own.info.run_id).info.status == "RUNNING"


def commits(folder):
    return {each.data.tags.get("mlflow.source.git.commit") for each in runs_of(folder, "tiny")}


def test_a_commit_is_recorded_only_where_git_tracks_the_experiments(tmp_path):
    def git(folder, *argv):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        done = subprocess.run(
            ["git", "-C", folder, *identity, *argv], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "file").write_text("1")
    git(outer, "init", "-q")
    git(outer, "add", "file")
    git(outer, "commit", "-qm", "theirs")
    inside = make_study(outer / "study", tiny=TINY)
    run(inside, *SWEEP)
    assert commits(inside) == {None}

    own = make_study(tmp_path / "own", tiny=TINY)
    git(own, "init", "-q")
    git(own, "add", "experiments")
    git(own, "commit", "-qm", "ours")
    run(own, *SWEEP, environment={"GIT_DIR": str(outer / ".git"), "GIT_WORK_TREE": str(outer)})
    assert commits(own) == {git(own, "rev-parse", "HEAD")}


LONG = TINY.replace("epochs=20", "epochs=2_000_000")


def test_a_killed_sweep_leaves_no_process(tmp_path):
    folder = make_study(tmp_path / "study", tiny=LONG)
    command = [sys.executable, "-m", "qwerties", "sweep", "--seeds", "300", "--jobs", "2", "--no-report"]
    sweep = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: len(members(sweep.pid)) >= 4)  # the sweep, its workers, and a helper of theirs
    finally:
        sweep.kill()
        sweep.wait()
    until(lambda: not members(sweep.pid))


def members(session):
    """Processes of a session that run."""
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(OSError):
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)
