"""Who trains does not matter: one process, several, or a Dask cluster, some of them killed; nor how work is cut up."""

import signal
import sqlite3
import threading
import time
from contextlib import closing, nullcontext

import pytest
import torch
from factories import call, contents, make_study, runs_of
from processes import finish, started_python

from qwerties.config import Config, Seeds
from qwerties.execution import cluster, devices
from qwerties.execution.calls import LOST
from qwerties.study import runs as results
from qwerties.study import sweep as sweeping
from qwerties.study.batches import MAX_NETWORKS, Batch, train_batch
from qwerties.training import trainer as training

pytestmark = pytest.mark.slow
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SMALL = """
from qwerties.config import Config
from qwerties.study.experiment import Experiment, grid

experiment = Experiment(
    title="Small",
    question="?",
    configs=grid(Config(epochs={epochs}), loss=("bce", "mse"), hidden={hidden}),
)
"""
STUDY = SMALL.format(epochs=400, hidden="((1,), (2,))")
CONFIGS = 4


def swept(folder, *options, seeds="5", source=STUDY, configs=CONFIGS):
    make_study(folder, small=source)
    out, _ = call(folder, "sweep", "--seeds", seeds, "--no-report", *options)
    assert {run.info.status for run in runs_of(folder, "small", children=None)} == {"FINISHED"}
    assert len(runs_of(folder, "small")) == configs
    return contents(folder), out


@pytest.fixture
def four_shards(monkeypatch):
    """One config trains at a time, so that each is a shard."""
    monkeypatch.setattr(training, "BLOCK", 7)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "BLOCK", 7)
        return swept(tmp_path_factory.mktemp("alone") / "study", "--jobs", "1")[0]


def test_a_sweep_by_several_processes_is_the_same(alone, four_shards, tmp_path):
    assert swept(tmp_path / "study", "--jobs", "2")[0] == alone


def test_a_sweep_in_larger_shards_is_the_same(alone, four_shards, tmp_path, monkeypatch):
    """Two configs a shard, which train one after the other: in one batch, the last bits would be others."""
    monkeypatch.setitem(MAX_NETWORKS, "cpu", 10)
    assert swept(tmp_path / "study", "--jobs", "1")[0] == alone


@pytest.mark.server
def test_a_sweep_by_a_cluster_is_the_same(alone, four_shards, dask_cluster, tmp_path):
    found, out = swept(tmp_path / "study", *dask_cluster.options)
    assert found == alone
    assert "4 runs of 4 planned configs tracked, 20 networks trained" in out
    assert LOST not in out


@pytest.mark.server
def test_a_sweep_by_a_cluster_whose_worker_is_killed_is_the_same(
    alone, four_shards, start_cluster, tmp_path, monkeypatch
):
    fragile = start_cluster(2)
    monkeypatch.setattr(cluster, "LOOK", 0.1)
    cluster.check(fragile.uri, print)
    found = []

    def kill():
        while not found:
            time.sleep(0.02)
            found.extend(finished(tmp_path / "study" / "mlflow.db"))
        fragile.workers[0].kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    there, out = swept(tmp_path / "study", *fragile.options)
    assert len(found) < CONFIGS - 1, "killed too late"
    assert out.splitlines().count(LOST) == 1
    assert there == alone


def finished(database):
    """Runs of configs that are written whole."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return opened.execute(
            "SELECT r.run_uuid FROM runs r WHERE r.status = 'FINISHED' AND NOT EXISTS (SELECT 1 FROM tags t "
            "WHERE t.run_uuid = r.run_uuid AND t.key = 'mlflow.parentRunId')"
        ).fetchall()


@pytest.mark.server
def test_compiled_networks_are_the_same_by_a_cluster(dask_cluster, tmp_path):
    """As most of a real study is; a shard for each worker."""
    given = {"seeds": "300", "configs": 2, "source": SMALL.format(epochs=40, hidden="((1,),)")}
    here, _ = swept(tmp_path / "here", "--jobs", "1", **given)
    there, _ = swept(tmp_path / "there", *dask_cluster.options, **given)
    assert here == there


@pytest.mark.server
def test_a_sweep_by_a_cluster_is_stopped_at_once(dask_cluster, tmp_path):
    folder = make_study(tmp_path / "study", small=SMALL.format(epochs=1_000_000, hidden="((1,), (2,))"))
    argv = ("-m", "qwerties", "sweep", "--seeds", "5", "--no-report", *dask_cluster.options)
    with started_python(folder, *argv) as process:
        while not planned(folder / "mlflow.db") and process.poll() is None:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        _, said = finish(process, status=130)
    assert time.monotonic() - asked < 5  # the work takes longer
    assert finished(folder / "mlflow.db") == []
    assert said.endswith("qwerties: stopped; what is tracked stays, the same command goes on from there\n")


def planned(database):
    """Whether a sweep has stored its plan, just before it trains."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return opened.execute("SELECT 1 FROM experiment_tags WHERE key = 'qwerties.plan'").fetchall()


# Devices


def test_the_device_reaches_the_trainer_and_the_run(tmp_path, monkeypatch):
    seen = []

    def train(*arguments, device, **options):
        seen.append((device, training.BLOCK))
        return training.train(*arguments, device="cpu", **options)

    usual = training.BLOCK
    monkeypatch.setattr(results, "train", train)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 * 2**30, 8 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"A {device} device")
    source = SMALL.format(epochs=2, hidden="((1,),)")
    for device, tag in (("auto", "A cuda device"), ("cpu", "CPU")):
        folder = tmp_path / device
        swept(folder, "--device", device, "--jobs", "1", source=source, configs=2)
        runs = runs_of(folder, "small", children=None)
        assert {run.data.tags["qwerties.device"] for run in runs} == {tag}
    assert [device for device, _ in seen] == ["cuda"] * 2 + ["cpu"] * 2  # a shard for each loss
    assert all(block > 10_000 for device, block in seen if device == "cuda")
    assert all(block == usual for device, block in seen if device == "cpu")


@pytest.mark.parametrize(("jobs", "workers"), [([], 4), (["--jobs", "7"], 7), (["--jobs", "1"], 1)])
def test_a_gpu_is_shared_by_a_few_workers_or_as_many_as_are_asked_for(tmp_path, monkeypatch, jobs, workers):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("qwerties.cli.sweep.cores", lambda: 16)
    asked = []

    def sweep(*arguments, workers, device, **options):
        asked.append((workers.count, device))
        return sweeping.Progress(0, 0, 0, 0.0)

    monkeypatch.setattr(sweeping, "sweep", sweep)
    make_study(tmp_path / "study", small=STUDY)
    call(tmp_path / "study", "sweep", "--seeds", "5", "--no-report", "--device", "cuda", *jobs)
    assert asked == [(workers, "cuda")]


def test_every_worker_of_a_gpu_knows_how_many_share_it(monkeypatch):
    seen = []

    def resident(device, config, sharers):
        seen.append(sharers)
        return nullcontext()

    monkeypatch.setattr(devices, "resident", resident)
    train_batch(Batch((Config(epochs=2),), Seeds(0, 2)), "cpu", 3)
    assert seen == [3]


@pytest.mark.gpu
@GPU
def test_a_sweep_by_a_gpu_says_so_and_agrees(alone, tmp_path):
    found, _ = swept(tmp_path / "study", "--device", "cuda")
    assert found.keys() == alone.keys()
    for key, (_, metrics, params, _) in alone.items():
        assert found[key][2] == params
        assert found[key][1]["train_loss"] == pytest.approx(metrics["train_loss"], abs=1e-5)
