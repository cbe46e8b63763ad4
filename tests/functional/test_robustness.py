"""A sweep may be killed at any instant, by any means; the same command finishes it, and nothing is lost or doubled."""

import itertools
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import mlflow
import pytest
from factories import contents, make_folder, make_study, runs_of
from mlflow import MlflowClient
from processes import finish, run, started, started_python
from projects import copy_project

from benchmarks.servers import Server
from qwerties.cli import main as cli
from qwerties.errors import UsageError
from qwerties.tracking.uri import default_uri

pytestmark = pytest.mark.slow

EXPERIMENT = """
from qwerties.config import Config
from qwerties.study.experiment import Experiment, grid

experiment = Experiment(title="Small", question="?", configs=grid(Config(epochs=20), {values}))
"""
PAIR = EXPERIMENT.format(values='loss=("bce", "mse")')
FOUR = EXPERIMENT.format(values='loss=("bce", "mse"), activation=("relu", "linear")')
SWEEP = ("sweep", "small", "--seeds", "2", "--jobs", "1", "--no-report")
KILLS, STOPS = 25, 5  # at least so many; thrice as many with --thorough
MIGRATION = 4.0  # seconds, about what MLflow takes to make its tables
LOST = "a worker process was lost, perhaps for want of memory: its work is done again"


def studies(folder):
    """Fresh studies; the first has no database, so that its set-up is interrupted, too."""
    yield make_folder(folder / "new", small=PAIR)
    for i in itertools.count():
        yield make_study(folder / str(i), small=PAIR)


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
def undisturbed(tmp_path_factory):
    """A sweep that nobody stops: its store's content, and how long it takes."""
    outer = tmp_path_factory.mktemp("undisturbed")
    for name in ("first", "second"):  # the first one also starts what commands are forked from
        folder = make_study(outer / name, small=PAIR)
        begin = time.monotonic()
        run(folder, *SWEEP)
        seconds = time.monotonic() - begin
    content = contents(folder)
    assert sum(parent is None for _, parent in content) == 2
    mlflow.set_tracking_uri(None)
    return content, seconds


def stop_until_done(folder, number, seconds, rng):
    """Start the same sweep and stop it, again and again, until it gets through; return the statuses on the way."""
    statuses = []
    while True:
        with started(folder, *SWEEP) as command:
            command.process.join(rng.uniform(0, (0.6 + 0.3 * len(statuses)) * seconds))
            if command.poll() is None:
                command.send_signal(number)
            status, out, err = command.wait()
        if status == 0:
            return statuses
        assert "Traceback" not in out + err, err
        statuses.append(status)
        assert len(statuses) < 20, "the sweep gets nowhere"


@pytest.mark.parametrize(
    ("number", "status", "times"),
    [(signal.SIGKILL, -signal.SIGKILL, KILLS), (signal.SIGTERM, 143, STOPS), (signal.SIGINT, 130, STOPS)],
)
def test_stopped_at_many_instants_it_ends_as_if_nobody_had(
    undisturbed, tmp_path, number, status, times, request
):
    expected, seconds = undisturbed
    times *= 3 if request.config.getoption("thorough") else 1
    rng, stops = random.Random(0), 0
    for folder in itertools.islice(studies(tmp_path), 3 * times):
        lasts = seconds if (folder / "mlflow.db").exists() else seconds + MIGRATION
        began = time.monotonic()
        statuses = stop_until_done(folder, number, lasts, rng)
        if not statuses:  # other tests leave more or less of the machine than at first
            seconds = min(seconds, time.monotonic() - began)
        assert set(statuses) <= {status}
        stops += len(statuses)
        check(folder, expected)
        if stops >= times:
            break
    assert stops >= times, "most sweeps ended before they were stopped"


def test_an_error_that_a_signal_became_is_told_as_the_signal(monkeypatch, capsys):
    def opening(_):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise UsageError("the store cannot be opened: interrupted")

    monkeypatch.setattr("qwerties.cli.status.run", opening)
    assert cli.main(["status"]) == 143
    assert "cannot be opened" not in capsys.readouterr().err


def test_a_write_in_hand_is_finished_before_a_signal_stops_the_sweep(undisturbed, tmp_path):
    """No run is left half written by Ctrl-C: whatever was begun is FINISHED."""
    _, seconds = undisturbed
    folder = make_study(tmp_path / "study", small=PAIR)
    with started(folder, *SWEEP) as command:
        time.sleep(0.6 * seconds)
        if command.poll() is None:
            command.send_signal(signal.SIGINT)
        status, _, err = command.wait()
    if status == 130:  # else the sweep was through already
        assert err.endswith("qwerties: stopped; what is tracked stays, the same command goes on from there\n")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert {row[0] for row in database.execute("SELECT status FROM runs")} <= {"FINISHED"}


def test_three_sweeps_at_once_do_each_config_once(undisturbed, tmp_path):
    """They also make the database at once."""
    expected, _ = undisturbed
    folder = make_folder(tmp_path / "study", small=PAIR)
    with (
        started(folder, *SWEEP) as first,
        started(folder, *SWEEP) as second,
        started(folder, *SWEEP) as third,
    ):
        ends = [command.wait() for command in (first, second, third)]
    said = "".join(out + err for _, out, err in ends)
    assert [status for status, *_ in ends] == [0, 0, 0], said
    assert said.count("nothing to do: 2 planned configs, all tracked") == 2
    assert "locked" not in said
    assert "Traceback" not in said
    check(folder, expected)


@pytest.fixture(scope="module")
def half_done(undisturbed, tmp_path_factory):
    """The files of a study with one of its two runs; artifacts lie where `half` puts them."""
    folder = make_study(tmp_path_factory.mktemp("half") / "study", small=PAIR)
    run(folder, *SWEEP)
    gone = {
        tracked.info.run_id for tracked in runs_of(folder, "small") if tracked.data.params["loss"] == "mse"
    }
    for tracked in runs_of(folder, "small", children=None):
        if {tracked.info.run_id, tracked.data.tags.get("mlflow.parentRunId")} & gone:
            MlflowClient(default_uri(folder)).delete_run(tracked.info.run_id)
    return folder


@pytest.fixture
def half(half_done, tmp_path):
    """A study with one of its two runs."""
    return copy_project(half_done, tmp_path / "study")


def test_a_full_disk_is_told_in_one_line_and_the_sweep_goes_on_when_there_is_room(undisturbed, half):
    _, err = run(
        half, *SWEEP, status=1, max_bytes=100_000
    )  # pictures are smaller, SQLite's log of a run is not
    *_, last = err.splitlines()
    assert last.startswith("qwerties: error: the store failed, the same command goes on from there: ")
    run(half, *SWEEP)
    check(half, undisturbed[0])


def test_a_read_only_store_is_told_in_one_line(half):
    before = (half / "mlflow.db").read_bytes()
    for path in (half, *half.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222 | 0o555)
    outer = half.parent  # the tests' own folders are closed to others
    while outer.stat().st_uid == os.getuid() and outer != outer.parent and "pytest" in str(outer):
        outer.chmod(outer.stat().st_mode | 0o555)
        outer = outer.parent
    try:
        out, err = run(half, *SWEEP, status=2, as_nobody=True)
        listed, _ = run(half, "status", status=1, as_nobody=True)
        _, unwritable = run(half, "report", status=1, as_nobody=True)
        _, unserved = run(half, "ui", status=2, as_nobody=True)
    finally:
        for path in (half, *half.rglob("*")):
            path.chmod(path.stat().st_mode | 0o700)
    assert (out, err) == ("", f"qwerties: error: the store must be writable, got {half / 'mlflow.db'}\n")
    assert listed.startswith("experiment  planned  done  missing")
    assert re.search(f"qwerties: error: {half}/.+ cannot be written: Permission denied\n$", unwritable)
    assert unserved == f"qwerties: error: the store must be writable, got {half}\n"
    assert (half / "mlflow.db").read_bytes() == before


# Made anew


@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_a_run_whose_artifacts_are_damaged_is_made_anew(half, harm):
    client = MlflowClient(default_uri(half))
    [tracked] = runs_of(half, "small")
    path = Path(tracked.info.artifact_uri, "seeds.csv")
    if harm == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    out, _ = run(half, *SWEEP)
    run_id = tracked.info.run_id
    assert f" again, because seeds.csv of run {run_id} is lost or altered" in out
    new = client.get_run(run_id).data.tags["qwerties.superseded"]
    assert client.get_run(new).info.status == "FINISHED"
    assert client.get_run(new).data.params == tracked.data.params
    assert "nothing to do" in run(half, *SWEEP)[0]


def test_runs_of_other_code_are_kept_and_superseded(half):
    """As if the numeric code had changed since they were made."""
    with closing(sqlite3.connect(half / "mlflow.db")) as database, database:
        database.execute("UPDATE tags SET value = 'older' WHERE key = 'qwerties.code'")
    out, _ = run(half, *SWEEP)
    assert out.splitlines()[-2].startswith("2 runs of 2 planned configs tracked")
    runs = runs_of(half, "small")
    [old] = [tracked for tracked in runs if tracked.data.tags["qwerties.code"] == "older"]
    new = {tracked.info.run_id for tracked in runs} - {old.info.run_id}
    assert len(new) == 2
    assert old.data.tags["qwerties.superseded"] in new


# A server


def runs_on(server):
    with closing(sqlite3.connect(server.folder / "server.db")) as database:
        return database.execute(
            "SELECT r.name, r.status FROM runs r WHERE NOT EXISTS "
            "(SELECT 1 FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = 'mlflow.parentRunId')"
        ).fetchall()


@pytest.mark.server
def test_a_server_that_is_killed_in_mid_sweep_and_comes_back_is_waited_for(empty_database, tmp_path):
    folder = make_folder(tmp_path / "study", small=FOUR)
    shutil.copy(empty_database, tmp_path / "server.db")
    server = Server(tmp_path)
    server.start()
    seen = []

    def interrupt():
        while not any(status == "FINISHED" for _, status in runs_on(server)):
            time.sleep(0.05)
        server.kill()
        seen.extend(runs_on(server))
        server.start()

    thread = threading.Thread(target=interrupt)
    try:
        environment = {"MLFLOW_TRACKING_URI": server.uri}
        with started(folder, *SWEEP, environment=environment) as command:
            thread.start()
            status, out, err = command.wait()
        assert status == 0, out + err
        assert "Traceback" not in out + err
        thread.join()
        assert 1 <= sum(status == "FINISHED" for _, status in seen) < 4, "killed too early or too late"
        names = [name for name, status in runs_on(server) if status == "FINISHED"]
        assert len(names) == len(set(names)) == 4
        assert "nothing to do" in run(folder, *SWEEP, environment=environment)[0]
    finally:
        server.kill()


# Workers


def test_the_work_of_a_worker_that_is_killed_is_done_again(tmp_path):
    long = FOUR.replace("epochs=20", "epochs=5000, samples=5000")
    folder = make_study(tmp_path / "study", small=long)
    argv = ("sweep", "--seeds", "2", "--jobs", "2", "--no-report")
    with started(folder, *argv) as command:
        victim = None
        while victim is None and command.poll() is None:
            victim = next(busy_workers(command.pid), None)
            time.sleep(0.02)
        assert victim is not None, command.wait()
        os.kill(victim, signal.SIGKILL)
        status, out, err = command.wait()
    assert status == 0, out + err
    first, second, *_ = out.splitlines()
    assert first == LOST
    assert second.startswith("4 runs of 4 planned configs tracked, 8 networks trained in ")
    assert "Traceback" not in err
    assert sum(parent is None for _, parent in contents(folder)) == 4  # none is there twice


def test_work_that_kills_every_worker_is_told_in_one_line(tmp_path):
    """The real killer would be the system, for want of memory."""
    folder = make_study(tmp_path / "study", small=FOUR)
    (folder / "killing.py").write_text(
        "import os, signal\n\n\ndef train_batch(*task):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    begin = (
        "import sys, killing, qwerties.study.sweep\nfrom qwerties.cli.main import main\n"
        "qwerties.study.sweep.train_batch = killing.train_batch\nsys.exit(main(sys.argv[1:]))\n"
    )
    argv = ("-c", begin, "sweep", "--seeds", "2", "--jobs", "2", "--no-report")
    with started_python(folder, *argv, PYTHONPATH=os.pathsep.join([str(folder), *python_path()])) as process:
        out, err = finish(process, status=1)
    assert set(out.splitlines()) == {LOST}
    last = err.splitlines()[-1]
    assert last.startswith("qwerties: error: ")
    assert last.endswith(
        " on seeds 0-1: every worker process that took it was lost, perhaps for want of memory; what is "
        "tracked stays, the same command goes on from there, and takes less memory with --jobs 1"
    )


def python_path():
    return filter(None, [os.environ.get("PYTHONPATH")])


def busy_workers(parent):
    """Worker processes of a sweep that train: they have loaded the compiled loop."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and os.environ["QWERTIES_KERNELS"] in (path / "maps").read_text():
                yield int(path.name)
