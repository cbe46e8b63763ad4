"""The bench: every way does the same work, and says what it did; times are never asserted."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from processes import started

from benchmarks import baselines, command, growth, handwritten_cpp, jaxed, maps, servers, sweep, tables
from benchmarks.baselines import Work, run
from benchmarks.measure import Result, Row, Target, interleave, milliseconds, ratio, team
from benchmarks.training import Way
from qwerties.config import Config
from qwerties.errors import FailedError
from qwerties.training.reference import train_reference
from qwerties.training.trainer import train

pytestmark = pytest.mark.slow

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

ROW = Row("losses", "ours", "2 losses", "ms/run", (3.0, 1.0, 2.0))


@pytest.fixture
def bench(tmp_path, capsys):
    """Run the command on small sizes; returns its status, what it printed and its JSON."""

    def call(*argv):
        output = tmp_path / "bench.json"
        try:
            status = command.main([*argv, "--quick", "--repeats", "1", "--output", str(output)])
        finally:
            mlflow.set_tracking_uri(None)
        return status, capsys.readouterr().out, json.loads(output.read_text())

    return call


@pytest.fixture
def forked(monkeypatch):
    """Let the parts fork the commands that they measure, which spares each four seconds."""

    def run_command(command, study, environment=os.environ, watch=lambda pid: None):
        own = {name: environment[name] for name in ("QWERTIES_KERNELS", "TORCHINDUCTOR_CACHE_DIR")}
        assert command[:3] == [sys.executable, "-m", "qwerties"]
        with started(study, *command[3:], environment=own) as process:
            while process.poll() is None:
                watch(process.pid)
                time.sleep(growth.SECONDS_BETWEEN_LOOKS)
            status, out, err = process.wait()
        assert status == 0, out + err

    for part in (growth, sweep):
        monkeypatch.setattr(part, "run_command", run_command)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    found, reason = handwritten_cpp.build(tmp_path_factory.mktemp("c++"))
    assert found is not None, reason
    return found


# All ways train the same networks


@needs_compiler
@pytest.mark.parametrize("hidden", [1, 8])
def test_the_loop_by_hand_is_the_notebooks(library, hidden):
    config = Config(hidden=(hidden,), epochs=2000)
    losses = run("c++", Work(config, 3, 11), library)
    np.testing.assert_allclose(losses, train_reference(config, 3).losses, rtol=0, atol=1e-5)


@needs_compiler
def test_every_lane_of_the_loop_by_hand_is_its_own_network(library):
    config = Config(epochs=20)
    alone = np.stack([run("c++", Work(config, seed, 1), library) for seed in range(19)])
    x, _, start = baselines.arrays(Work(config, 0, 19))
    together = handwritten_cpp.Loop(library, x, start).train(20, 0.01)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", ["eager", "plain"])
def test_every_way_is_the_notebooks_loop(way):
    config = Config(hidden=(2,), epochs=120)
    losses = run(way, Work(config, 5, 3))
    np.testing.assert_allclose(losses, train_reference(config, 5).losses, rtol=0, atol=1e-5)


@pytest.mark.skipif(bool(jaxed.missing()), reason=jaxed.missing())
def test_jax_does_the_same_work():
    """In a process of its own, as in the bench: JAX and forks do not go together."""
    config = Config(hidden=(3,), epochs=200)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for losses in pool.map(run, [f"jax {form}" for form in jaxed.FORMS], [Work(config, 5, 3)] * 2):
            np.testing.assert_allclose(losses, train_reference(config, 5).losses, rtol=0, atol=1e-4)


def test_what_a_gpu_trains_batch_by_batch_is_what_is_asked_for(monkeypatch):
    monkeypatch.setattr(baselines, "GPU_BATCH", 3)
    trained = []

    def train_here(configs, seeds, compiled, device):
        trained.append((str(seeds), compiled, device))
        return train(configs, seeds)

    monkeypatch.setattr(baselines, "train", train_here)
    config = Config(epochs=5)
    losses = baselines.ours_on("cpu", Work(config, 2, 8), None)()
    assert trained == [("2-4", True, "cpu"), ("5-7", True, "cpu"), ("8-9", True, "cpu")]
    np.testing.assert_allclose(losses, train_reference(config, 2).losses, atol=1e-5)


def test_without_a_compiler_that_works_the_reason_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert handwritten_cpp.build(tmp_path) == (None, "no g++")
    fake = tmp_path / "g++"
    fake.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 1\n")
    fake.chmod(0o755)
    assert handwritten_cpp.build(tmp_path) == (None, "g++ failed: no such flag")


# Measuring


def test_repeats_are_interleaved():
    seen = []
    samples = interleave({name: lambda name=name: seen.append(name) for name in "ABC"}, 3)
    assert seen == list("ABCCBAABC")
    assert [len(samples[name]) for name in "ABC"] == [3, 3, 3]


def test_a_slow_way_may_be_measured_once_and_a_way_may_measure_itself():
    samples = interleave({"slow": lambda: 7.0, "own": lambda: 2.0}, 3, once=("slow",))
    assert samples == {"slow": (7.0,), "own": (2.0, 2.0, 2.0)}
    assert milliseconds(samples["own"], 1000) == (2.0, 2.0, 2.0)


def test_a_ratio_is_of_the_medians_of_one_group():
    slow = replace(ROW, name="slow", values=(8.0,))
    rows = [ROW, slow, replace(slow, group="other", values=(80.0,))]
    assert (ROW.median, ratio(rows, "losses", "slow", "ours")) == (2, 4)
    assert math.isnan(ratio(rows, "losses", "missing", "ours"))


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("c", 8.0, least=8), True),
        (Target("c", 7.99, least=8), False),
        (Target("c", 2.0, most=2), True),
        (Target("c", 2.01, most=2), False),
        (Target("c", 3.0), None),
        (Target("c", float("nan"), least=8), None),
    ],
)
def test_a_target_is_met_or_not_or_only_told(target, met):
    assert target.met is met


def test_every_process_of_a_team_gets_its_part_and_its_settings():
    with team(2, {"QWERTIES_PROBE": "seven"}) as members:
        way = Way("plain", Config(epochs=20), 5, members)
        np.testing.assert_allclose(way.call(), train_reference(way.config, 0).losses, atol=1e-5)
        assert way.call("{0} {1.seeds} {2}".format) == "plain 0-1 None"
        assert replace(way, team=members[:1]).call("{1.seeds}".format) == "0-4"
        assert [member.submit(os.getenv, "QWERTIES_PROBE").result() for member in members] == ["seven"] * 2
    assert "QWERTIES_PROBE" not in os.environ


# Tables

ABOUT = {
    "commit": "abc1234",
    "machine": {
        **dict.fromkeys(tables.LIBRARIES, "1.0"),
        "processor": "P",
        "cores": 2,
        "system": "S",
        "python": "3",
    },
    "load": [0.5, 2.0],
    "repeats": 3,
    "processes": 2,
    "quick": False,
}


def test_the_table_says_what_was_done_what_is_skipped_and_what_is_missed():
    rows = (replace(ROW, name="slow", values=(9.0, 8.0, 10.0)), ROW, Row("losses", "x", skipped="no x"))
    targets = (Target("ours against slow", 4.5, least=8), Target("ours against x", float("nan"), most=2))
    lines = tables.table({"tracking": Result(rows, targets)}, ABOUT).splitlines()
    assert "| ours | 2.00 ms/run | 1.00 – 3.00 | 4.50 |  | 2 losses |" in lines
    assert "| x | – | | | | skipped: no x |" in lines
    assert "| ours against slow | 4.50 × | at least 8.00 × | **no** |" in lines
    assert "| ours against x | not measured | at most 2.00 × |  |" in lines
    assert lines[-1].startswith("Commit `abc1234`, P, 2 cores")
    assert "load 0.5 before, 2.0 after" in lines[-1]


def test_the_json_has_no_nan():
    results = {"tracking": Result((replace(ROW, values=()),), (Target("c", float("nan"), least=1),))}
    written = json.loads(json.dumps(tables.to_json(results, ABOUT), allow_nan=False))
    assert written["rows"][0]["median"] is None
    assert written["rows"][0]["part"] == "tracking"
    assert (written["targets"][0]["value"], written["targets"][0]["met"]) == (None, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"),
        (100.0, "100"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.012345, "0.0123"),
        (math.nan, "–"),
    ],
)
def test_figures_have_three_digits(value, text):
    assert tables.figure(value) == text


def test_the_commit_says_whether_files_differ(tmp_path):
    assert tables.commit(tmp_path) == "unknown"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    (tmp_path / "a").write_text("1")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *arguments], check=True)
    clean = tables.commit(tmp_path)
    assert len(clean) >= 7
    (tmp_path / "a").write_text("2")
    assert tables.commit(tmp_path) == f"{clean}-dirty"


# The command


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["speed"], f"PART must be one of {', '.join(command.PARTS)}, got 'speed'"),
        (["--repeats", "0"], "--repeats must be a whole number from 1 to 99, got '0'"),
        (["--output", "/no/where"], "--output must be in a folder that exists, got /no"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(argv, message, capsys):
    assert command.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"bench: error: {message}\n"


def test_every_part_runs_and_gives_its_figures(bench, forked, monkeypatch):
    monkeypatch.setattr(command, "PROCESSES", 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db")  # never used
    before = sorted(Path.cwd().iterdir())
    status, out, found = bench(*(part for part in command.PARTS if part not in ("server", "gpu")))
    assert status == 0
    assert found["quick"]
    assert sorted(Path.cwd().iterdir()) == before
    absent = {"JAX, its best": jaxed.missing(), "C++ by hand": not shutil.which("g++")}
    assert {row["name"] for row in found["rows"] if row["skipped"]} == {n for n in absent if absent[n]}
    measured = [row for row in found["rows"] if not row["skipped"]]
    ours = ("ours, without a compiler", "ours, compiled", "ours, compiled, 1 process")
    assert [row["name"] for row in measured if row["name"] not in absent] == [
        *("the notebook's loop", "eager `vmap`", *ours, "drawing, within ours alone"),
        *("`log_metric` per epoch", "public `log_batch`", "ours", "raw `sqlite3`"),
        *("the tutorial's way", "the good way", "ours, one by itself", "ours, in a sweep's run"),
        *("at 2 runs", "at 4 runs", "at 4 runs", "8 networks, 20 epochs"),
        *("the notebook's loop", "ours"),
        *("proposing, storing and tracking", "training"),
        *("a notebook network", "no kernel compiled", "kernels compiled"),
    ]
    for row in measured:
        assert all(value > 0 for value in row["values"])
        assert row["difference"] is None or row["difference"] <= tables.CLOSE
        compared = row["part"] in ("training", "tracking", "network")
        assert (row["difference"] is None) == (
            not compared or row["name"].startswith(("drawing", "ours, in a"))
        )
        assert f"| {row['name']} | {tables.figure(row['median'])} {row['unit']} |" in out
    by_name = {(row["part"], row["name"]): row["median"] for row in measured}
    assert 100 < by_name["growth", "8 networks, 20 epochs"] < 4000  # MiB
    value = {target["claim"]: target["value"] for target in found["targets"]}
    whole = "a map of 100×100 pixels, 4 panels, 80,000 networks, estimated from that"
    assert value[whole] == pytest.approx(by_name["map", "ours"] * 40)
    loop, cold = (by_name["sweep", name] for name in ("a notebook network", "no kernel compiled"))
    claim = "the default sweep, no kernel compiled, in notebook networks"
    assert value[claim] == pytest.approx(cold / loop)


@pytest.mark.server
def test_a_server_beside_a_file(bench):
    status, _, found = bench("server")
    assert status == 0
    names = ["SQLite, a file", "PostgreSQL, without a server", "`mlflow server` with PostgreSQL"]
    assert [row["name"] for row in found["rows"] if not row["skipped"]] == names
    assert all(row["difference"] == 0 for row in found["rows"])
    assert all(target["value"] > 0 for target in found["targets"])


def test_without_a_server_the_file_is_measured_alone(bench, monkeypatch):
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    status, out, found = bench("server")
    assert status == 0
    assert [row["skipped"] for row in found["rows"]] == ["", "no psycopg", "no psycopg"]
    assert "| `mlflow server` with PostgreSQL | – | | | | skipped: no psycopg |" in out
    assert [target["value"] for target in found["targets"]] == [None, None]


@pytest.mark.server
def test_a_server_that_does_not_start_is_told(tmp_path):
    server = servers.Server(tmp_path, "nosuch://database")
    try:
        with pytest.raises(FailedError, match="mlflow server ended with status "):
            server.start()
    finally:
        server.kill()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_without_a_gpu_its_part_says_so(bench):
    status, out, found = bench("gpu")
    assert status == 0
    assert {row["skipped"] for row in found["rows"]} == {"no CUDA device that PyTorch can use"}
    assert "skipped: no CUDA device" in out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_beside_the_cpu_small(bench):
    status, _, found = bench("gpu")
    assert status == 0
    cpu, gpu, whole = found["rows"]
    assert cpu["name"].startswith("CPU, ")
    assert gpu["name"] == whole["name"] != cpu["name"]
    assert all(row["difference"] < 1e-5 for row in found["rows"])


def test_the_map_is_that_of_the_command():
    spec = maps.default_map(3, 7)
    assert (spec.x.field, spec.y.field, spec.x.size, spec.base.epochs) == ("learning_rate", "distance", 3, 7)
    assert spec.seeds == 2
    assert spec.shape == (2, 2, 3, 3)


HOLDS = "import sys; held = b'x' * (64 << 20); print(len(held), flush=True); sys.stdin.read()"


def test_memory_of_a_child_of_a_child_counts():
    between = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDS!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", between], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        assert 64 < growth.memory_of(process.pid) < 64 + 60
        process.communicate("")
    assert growth.memory_of(process.pid) == 0


def test_a_command_that_fails_is_told_with_its_reason(tmp_path):
    program = "import sys; print('first', file=sys.stderr); sys.exit('no such thing')"
    with pytest.raises(FailedError, match="failed: no such thing"):
        growth.run_command([sys.executable, "-c", program], tmp_path)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_a_part_has_started_ends_with_it(tmp_path, monkeypatch, capsys, number, status):
    ended = []

    def measure(settings, folder):
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            ended.append(folder.name)

    monkeypatch.setattr(maps, "measure", measure)
    assert command.main(["map", "--output", str(tmp_path / "bench.json")]) == status
    assert len(ended) == 1
    assert capsys.readouterr().err.endswith("\nbench: stopped; nothing is written\n")
    assert not (tmp_path / "bench.json").exists()


@pytest.mark.parametrize("off", [2e-4, math.nan, math.inf])
def test_other_losses_are_other_work(bench, monkeypatch, capsys, off):
    rows = (replace(ROW, difference=1e-4), replace(ROW, name="off", difference=off), ROW)
    assert [row.name for row in tables.differing({"p": Result(rows, ())})] == ["off"]
    monkeypatch.setattr(maps, "measure", lambda settings, folder: Result(rows, ()))
    if off < 1:
        assert bench("map")[0] == 1
