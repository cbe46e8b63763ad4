"""A sweep may be killed at any instant, by any means; the same command finishes it, and nothing is lost or doubled.

Attempts are real processes, forked from one that has imported everything, which spares each the seconds of that.
"""

import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import mlflow
import pytest
from factories import loaded
from mlflow import MlflowClient

from benchmarks.servers import Server
from qwerties.cli import commands
from qwerties.cli import main as cli
from qwerties.errors import UsageError
from qwerties.tracking.store import Store
from qwerties.tracking.uri import default_uri

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
    pytest.mark.filterwarnings(
        "ignore:.*Any type hint is inferred as AnyType:UserWarning"
    ),  # MLflow's own import
]

EXPERIMENT = """
from qwerties.config import Config
from qwerties.study.experiment import Experiment, grid

experiment = Experiment(
    title="Small", question="?", configs=grid(Config(epochs=30), loss=("bce", "mse"), activation=("relu", "linear"))
)
"""
CONFIGS, SEEDS = 4, "3"
SWEEP = ("sweep", "small", "--seeds", SEEDS, "--jobs", "1", "--no-report")
KILLS = 25

FORKS = """
import json, os, resource, signal, sys, time, traceback
import sqlite3  # noqa
import qwerties.cli, qwerties.relocate, qwerties.settle, qwerties.sweep, qwerties.tracking, qwerties.turns  # noqa
import matplotlib.figure, mlflow.pytorch  # noqa

def child(order):
    os.setpgid(0, 0)
    os.chdir(order["folder"])
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.update(order.get("environment", {}))
    if order.get("most_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["most_bytes"],) * 2)
    if order.get("nobody") and os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    status = 99
    try:
        status = qwerties.cli.main(order["argv"])
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    pids = []
    for _ in range(order.get("times", 1)):
        pid = os.fork()
        if not pid:
            child(order)
        pids.append(pid)
    started = time.monotonic()
    if order.get("signal"):
        time.sleep(order["delay"])
        for pid in pids:
            os.kill(pid, order["signal"])
    signalled = time.monotonic()
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    print(json.dumps([statuses, time.monotonic() - started]), flush=True)
"""


class Forks:
    """Runs commands in processes forked from one that has imported everything."""

    def __init__(self, log):
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )
        assert self.process.stdout.readline() == "ready\n"

    def __call__(self, folder, *argv, **order):
        """Run a command; returns its exit statuses, how long it took, and what it said."""
        said = folder / "said.txt"
        said.unlink(missing_ok=True)
        order |= {"folder": str(folder), "argv": argv or SWEEP, "said": str(said)}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        statuses, seconds = json.loads(self.process.stdout.readline())
        return statuses, seconds, said.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    log = tmp_path_factory.mktemp("forks") / "log.txt"
    with log.open("w") as file:
        started = Forks(file)
        yield started
        started.process.communicate()
    assert not log.read_text()


def make_study(folder):
    (folder / "experiments").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.qwerties]\n")
    (folder / "experiments" / "small.py").write_text(EXPERIMENT)
    return folder


def studies(folder, undisturbed_database):
    """Fresh studies, one after the other; every third without a database, so that its set-up is interrupted, too."""
    for i in itertools.count():
        study = make_study(folder / str(i))
        if i % 3:
            shutil.copy(undisturbed_database, study / "mlflow.db")
        yield study


def contents(folder):
    """Of every finished run by its name and its parent's: files by their bytes, metrics with their whole histories."""
    client = MlflowClient(default_uri(folder))
    found = client.get_experiment_by_name("qwerties/small")
    runs = {run.info.run_id: run for run in client.search_runs([found.experiment_id], max_results=1000)}
    kept = {}
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        for run in runs.values():
            parent = runs.get(run.data.tags.get("mlflow.parentRunId"))
            if run.info.status != "FINISHED" or (parent is not None and parent.info.status != "FINISHED"):
                continue
            key = (run.info.run_name, parent and parent.info.run_name)
            assert key not in kept, f"{key} is there twice"
            root = Path(run.info.artifact_uri)
            files = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
            rows = database.execute(
                "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step",
                (run.info.run_id,),
            ).fetchall()
            kept[key] = (
                rows,
                run.data.metrics,
                run.data.params,
                {name: loaded(path) for name, path in files.items()},
            )
    return kept


def check(folder, expected):
    """Whether a store is as an undisturbed sweep leaves it, but for marked remains of those that were stopped."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        statuses = {row[0] for row in database.execute("SELECT status FROM runs")}
        assert statuses <= {"FINISHED", "KILLED", "FAILED"}
    found = contents(folder)
    assert found.keys() == expected.keys()
    for key, content in expected.items():
        assert found[key] == content, key


@pytest.fixture(scope="module")
def undisturbed(forks, tmp_path_factory):
    """A sweep that nobody stops: its store's content, and how long it took."""
    outer = tmp_path_factory.mktemp("undisturbed")
    folder = make_study(outer / "study")
    Store(default_uri(folder))
    shutil.copy(folder / "mlflow.db", outer / "empty.db")
    statuses, seconds, said = forks(folder)
    assert statuses == [0], said
    found = contents(folder)
    assert sum(parent is None for _, parent in found) == CONFIGS
    mlflow.set_tracking_uri(None)
    return found, seconds, outer / "empty.db"


def stop_until_done(forks, folder, number, seconds, rng):
    """Start the same sweep and stop it, again and again, until it gets through; returns the statuses on the way."""
    seen = []
    while True:
        statuses, _, said = forks(
            folder, signal=number, delay=rng.uniform(0.01, (0.6 + 0.3 * len(seen)) * seconds)
        )
        if statuses == [0]:
            return seen
        assert "Traceback" not in said, said
        seen += statuses


def test_killed_at_25_instants_it_ends_as_if_nobody_had(forks, undisturbed, tmp_path):
    expected, seconds, empty = undisturbed
    rng, kills = random.Random(0), 0
    fresh = studies(tmp_path, empty)
    while kills < KILLS:
        folder = next(fresh)
        stopped = stop_until_done(forks, folder, signal.SIGKILL, seconds, rng)
        assert set(stopped) <= {-signal.SIGKILL}
        kills += len(stopped)
        check(folder, expected)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_by_a_signal_it_says_how_to_go_on(forks, undisturbed, tmp_path, number, status):
    expected, seconds, empty = undisturbed
    rng, stops = random.Random(1), 0
    fresh = studies(tmp_path, empty)
    while stops < 5:
        folder = next(fresh)
        stopped = stop_until_done(forks, folder, number, seconds, rng)
        assert set(stopped) <= {status}
        stops += len(stopped)
        check(folder, expected)


def test_an_error_that_a_signal_became_is_told_as_the_signal(monkeypatch, capsys):
    def opening(_):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise UsageError("the store cannot be opened: interrupted")

    monkeypatch.setattr(commands, "status", opening)
    assert cli.main(["status"]) == 143
    assert "cannot be opened" not in capsys.readouterr().err


def test_a_write_in_hand_is_finished_before_a_signal_stops_the_sweep(forks, undisturbed, tmp_path):
    """No run is left half written by Ctrl-C: whatever was begun is FINISHED."""
    _, seconds, empty = undisturbed
    folder = make_study(tmp_path / "study")
    shutil.copy(empty, folder / "mlflow.db")
    statuses, _, said = forks(folder, signal=signal.SIGINT, delay=0.6 * seconds)
    if statuses == [130]:  # else it was through already
        assert said.endswith(
            "qwerties: stopped; what is tracked stays, the same command goes on from there\n"
        )
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert {row[0] for row in database.execute("SELECT status FROM runs")} <= {"FINISHED"}


def test_three_sweeps_at_once_do_each_config_once(forks, undisturbed, tmp_path):
    expected, *_ = undisturbed
    folder = make_study(tmp_path / "study")
    statuses, _, said = forks(folder, times=3)
    assert statuses == [0, 0, 0], said
    assert said.count("nothing to do: all 4 planned configs are tracked") == 2
    assert "locked" not in said
    assert "Traceback" not in said
    check(folder, expected)


@pytest.fixture
def half(forks, undisturbed, tmp_path):
    """A study with two of its four runs."""
    folder = make_study(tmp_path / "study")
    file = folder / "experiments" / "small.py"
    file.write_text(EXPERIMENT.replace('("relu", "linear")', '("relu",)'))
    statuses, _, said = forks(folder)
    assert statuses == [0], said
    file.write_text(EXPERIMENT)
    return folder


def test_a_full_disk_is_told_in_one_line_and_the_sweep_goes_on_when_there_is_room(forks, undisturbed, half):
    room = (half / "mlflow.db").stat().st_size + 60_000
    statuses, _, said = forks(half, most_bytes=room)
    assert statuses == [1], said
    *_, last = said.splitlines()
    assert last.startswith("qwerties: error: the store failed, the same command goes on from there: ")
    assert "Traceback" not in said
    statuses, _, said = forks(half)
    assert statuses == [0], said
    check(half, undisturbed[0])


def test_a_read_only_store_is_told_in_one_line(forks, undisturbed, half):
    kept = (half / "mlflow.db").read_bytes()
    (half / "said.txt").write_text("")
    (half / "said.txt").chmod(0o666)
    for path in (half.parent, *half.parent.rglob("*")):
        if path.name != "said.txt":
            path.chmod(path.stat().st_mode & ~0o222 | 0o555)
    outer = half.parent
    while outer.stat().st_uid == os.getuid() and outer != outer.parent and "pytest" in str(outer):
        outer.chmod(outer.stat().st_mode | 0o555)
        outer = outer.parent
    try:
        statuses, _, said = forks_as_nobody(forks, half)
    finally:
        for path in (half.parent, *half.parent.rglob("*")):
            path.chmod(path.stat().st_mode | 0o700)
    assert statuses == [2], said
    assert said == f"qwerties: error: the store must be writable, got {half / 'mlflow.db'}\n"
    assert (half / "mlflow.db").read_bytes() == kept


def forks_as_nobody(forks, folder):
    """Run the sweep as a user whom permissions bind."""
    order = {"folder": str(folder), "argv": SWEEP, "said": str(folder / "said.txt"), "nobody": True}
    forks.process.stdin.write(json.dumps(order) + "\n")
    forks.process.stdin.flush()
    statuses, seconds = json.loads(forks.process.stdout.readline())
    return statuses, seconds, (folder / "said.txt").read_text()


# Made anew


@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_a_run_whose_artifacts_are_damaged_is_made_anew(forks, undisturbed, half, harm):
    client = MlflowClient(default_uri(half))
    found = client.get_experiment_by_name("qwerties/small")
    run = next(
        run for run in client.search_runs([found.experiment_id]) if "mlflow.parentRunId" not in run.data.tags
    )
    path = Path(run.info.artifact_uri, "seeds.csv")
    if harm == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    statuses, _, said = forks(half)
    assert statuses == [0], said
    assert (
        f"small: making {run.info.run_name} anew, as seeds.csv of run {run.info.run_id} is lost or altered"
        in said
    )
    new = client.get_run(run.info.run_id).data.tags["qwerties.superseded"]
    assert client.get_run(new).info.status == "FINISHED"
    assert client.get_run(new).data.params == run.data.params
    again = forks(half)
    assert "nothing to do" in again[2]


def test_runs_of_other_code_are_kept_and_superseded(forks, undisturbed, half):
    """As if the numeric code had changed since they were made."""
    with closing(sqlite3.connect(half / "mlflow.db")) as database, database:
        database.execute("UPDATE tags SET value = 'older' WHERE key = 'qwerties.code'")
    statuses, _, said = forks(half)
    assert statuses == [0], said
    assert said.splitlines()[-2].startswith("4 runs of 4 planned configs tracked")
    client = MlflowClient(default_uri(half))
    found = client.get_experiment_by_name("qwerties/small")
    runs = [
        run for run in client.search_runs([found.experiment_id]) if "mlflow.parentRunId" not in run.data.tags
    ]
    old = [run for run in runs if run.data.tags["qwerties.code"] == "older"]
    assert len(old) == 2
    assert len(runs) == 6
    ids = {run.info.run_id for run in runs} - {run.info.run_id for run in old}
    assert {run.data.tags["qwerties.superseded"] for run in old} < ids


# A server


def runs_of(server):
    with closing(sqlite3.connect(server.folder / "server.db")) as database:
        return database.execute(
            "SELECT r.name, r.status FROM runs r WHERE NOT EXISTS "
            "(SELECT 1 FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = 'mlflow.parentRunId')"
        ).fetchall()


def test_a_server_that_is_killed_in_mid_sweep_and_comes_back_is_waited_for(forks, undisturbed, tmp_path):
    folder = make_study(tmp_path / "study")
    server = Server(tmp_path)
    server.start()
    found = []

    def interrupt():
        while not any(status == "FINISHED" for _, status in runs_of(server)):
            time.sleep(0.05)
        server.kill()
        found.extend(runs_of(server))
        server.start()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        statuses, _, said = forks(folder, environment={"MLFLOW_TRACKING_URI": server.uri})
        thread.join()
        assert statuses == [0], said
        assert "Traceback" not in said
        assert 1 <= sum(status == "FINISHED" for _, status in found) < CONFIGS, "killed too early or too late"
        finished = [name for name, status in runs_of(server) if status == "FINISHED"]
        assert len(finished) == len(set(finished)) == CONFIGS
        again = forks(folder, environment={"MLFLOW_TRACKING_URI": server.uri})
        assert "nothing to do" in again[2]
    finally:
        thread.join()
        server.kill()


# Workers


def test_the_work_of_a_worker_that_is_killed_is_done_again(undisturbed, tmp_path):
    folder = make_study(tmp_path / "study")
    (folder / "experiments" / "small.py").write_text(
        EXPERIMENT.replace("epochs=30", "epochs=20_000, samples=5000").replace(
            "activation=", "hidden=((1,), (2,)), activation="
        )
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with subprocess.Popen(
        [sys.executable, "-m", "qwerties", "sweep", "--seeds", "2", "--jobs", "2", "--no-report"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            victim = None
            while victim is None and started.poll() is None:
                victim = next(iter(busy_workers(started.pid)), None)
                time.sleep(0.05)
            assert victim is not None, started.communicate()
            os.kill(victim, signal.SIGKILL)
            out, err = started.communicate(timeout=200)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 0, out + err
    first, second, *_ = out.splitlines()
    assert first == "a worker process was lost, perhaps for want of memory: its work is done again"
    assert second.startswith("8 runs of 8 planned configs tracked, 16 networks trained in ")
    assert "Traceback" not in err
    found = contents(folder)  # none is there twice
    assert sum(parent is None for _, parent in found) == 2 * CONFIGS


def test_work_that_kills_every_worker_is_told_in_one_line(undisturbed, tmp_path, monkeypatch):
    """The real killer would be the system, for want of memory."""
    folder = make_study(tmp_path / "study")
    killing = "import os, signal\n\ndef train_records(*_, **__):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    (folder / "killing.py").write_text(killing)
    begin = (
        "import qwerties.sweep, killing, sys\nfrom qwerties import cli\n"
        "qwerties.study.sweep.train_shard = killing.train_records\nsys.exit(cli.main(sys.argv[1:]))\n"
    )
    (folder / "experiments" / "small.py").write_text(
        EXPERIMENT.replace("activation=", "hidden=((1,), (2,)), activation=")
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", begin, "sweep", "--seeds", "2", "--jobs", "2", "--no-report"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert (
        done.stdout.splitlines()
        == ["a worker process was lost, perhaps for want of memory: its work is done again"] * 2
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("qwerties: error: ")
    assert last.endswith(
        " on seeds 0-1: every worker process that took it was lost, perhaps for want of memory; what is "
        "tracked stays, the same command goes on from there, and takes less memory with --jobs 1"
    )
    assert "Traceback" not in done.stderr


def busy_workers(parent):
    """Worker processes of a sweep that have computed for longer than it takes to import torch."""
    ticks = os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_text()
            if int(fields[1]) == parent and "popen_loky" in command and int(fields[11]) > 5 * ticks:
                yield int(path.name)
