"""Who trains does not matter: one process, several, or a Dask cluster, some of them killed; nor how work is cut up."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import call, loaded, make_folder, new_store
from joblib.externals.loky import get_reusable_executor
from mlflow import MlflowClient
from qwerties.study.tasks import TRAINS, Task, train_shard
from tasks import die_always, die_once, double, fail, nap, threads

from qwerties.config import Config, Seeds
from qwerties.errors import FailedError, UsageError
from qwerties.execution import cluster, devices, workers
from qwerties.execution.calls import LOST, LostError
from qwerties.execution.workers import WorkerLostError, Workers, run_tasks, warming_up
from qwerties.study import runs as results
from qwerties.study import sweep as sweeping
from qwerties.study.experiment import MAX_LOSSES, Experiment, Job, Shard, grid, make_shards, missing_jobs
from qwerties.tracking.uri import default_uri
from qwerties.training import trainer as training
from qwerties.training import vmapped as lifted

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


# Sweeps

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


def contents(folder, configs):
    """Artifacts, params and metrics of every run, children too; archives by their arrays."""
    client = MlflowClient(default_uri(folder))
    found = client.get_experiment_by_name("qwerties/small")
    runs = {run.info.run_id: run for run in client.search_runs([found.experiment_id], max_results=1000)}
    kept = {}
    for run in runs.values():
        parent = runs.get(run.data.tags.get("mlflow.parentRunId"))
        key = (run.info.run_name, parent and parent.info.run_name)
        assert key not in kept, f"{key} is there twice"
        root = Path(run.info.artifact_uri)
        files = {str(path.relative_to(root)): loaded(path) for path in root.rglob("*") if path.is_file()}
        kept[key] = (run.info.status, run.data.params, run.data.metrics, files)
    assert sum(parent is None for _, parent in kept) == configs
    assert {status for status, *_ in kept.values()} == {"FINISHED"}
    return kept


def swept(folder, *options, seeds="5", source=STUDY, configs=CONFIGS):
    make_folder(folder, small=source)
    new_store(folder)
    out, _ = call(folder, "sweep", "--seeds", seeds, "--no-report", *options)
    return contents(folder, configs), out


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


@pytest.mark.slow
def test_a_sweep_by_several_processes_is_the_same(alone, four_shards, tmp_path):
    assert swept(tmp_path / "study", "--jobs", "2")[0] == alone


def test_a_sweep_in_larger_shards_is_the_same(alone, four_shards, tmp_path, monkeypatch):
    """Two configs a shard, which train one after the other: in one batch, the last bits would be others."""
    monkeypatch.setitem(sweeping.SHARD, "cpu", 10)
    assert swept(tmp_path / "study", "--jobs", "1")[0] == alone


# Tasks


@pytest.mark.parametrize("count", [1, 2])
def test_every_task_is_done_once(count):
    found = list(run_tasks(double, ((i,) for i in range(10)), Workers(count)))
    assert sorted(found) == [(i, 2 * i) for i in range(10)]
    assert list(run_tasks(double, [(4,)], Workers(count))) == [(0, 8)]
    assert list(run_tasks(double, [], Workers(count))) == []


@pytest.mark.parametrize(("count", "tasks"), [(1, 3), (2, 3), (2, 1), (2, 0)])
def test_something_else_is_done_once_and_before_the_first_result(count, tasks):
    order = []
    todo = [(i,) for i in range(tasks)]
    for place, _ in run_tasks(double, todo, Workers(count), meanwhile=lambda: order.append("else")):
        order.append(place)
    assert order[0] == "else"
    assert sorted(order[1:]) == list(range(tasks))


def test_workers_work_meanwhile(tmp_path):
    def wait():
        end = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        found.extend(tmp_path.iterdir())

    found = []
    assert len(list(run_tasks(double, [(i, tmp_path) for i in range(4)], Workers(2), meanwhile=wait))) == 4
    assert len(found) >= 2


@pytest.mark.slow
def test_workers_that_are_warmed_up_have_imported_what_training_takes():
    get_reusable_executor().shutdown(kill_workers=True)
    with warming_up(Workers(2), TRAINS):
        pass
    has_it = f"{TRAINS!r} in __import__('sys').modules"
    assert dict(run_tasks(eval, [(has_it,)] * 4, Workers(2))) == dict.fromkeys(range(4), True)


def test_workers_end_with_an_error_of_what_they_are_warmed_up_for():
    script = (
        "import psutil\nfrom qwerties.execution.workers import Workers, warming_up\n"
        "from qwerties.study.tasks import TRAINS\n"
        "def there(): return sum('popen_loky' in ' '.join(p.cmdline()) for p in psutil.Process().children())\n"
        "try:\n    with warming_up(Workers(2), TRAINS):\n        print(there())\n        raise ArithmeticError\n"
        "except ArithmeticError:\n    print(there())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n0\n", "")


def test_an_error_at_once_waits_until_the_pool_has_taken_what_it_was_given(monkeypatch):
    """Otherwise the pool's own thread fails now and then, with a traceback."""
    states = []

    class Executor:
        def submit(self, *arguments):
            task = Future()
            threading.Timer(0.2, task.set_running_or_notify_cancel).start()
            states.append(task)
            return task

        def shutdown(self, *, wait, kill_workers):
            assert wait
            assert kill_workers
            assert all(task.running() for task in states)
            states.clear()

    monkeypatch.setattr("joblib.externals.loky.get_reusable_executor", lambda *a, **k: Executor())
    with pytest.raises(TimeoutError), warming_up(Workers(3), TRAINS):
        states[0].result(timeout=0)
    assert not states


def test_one_process_and_a_cluster_have_nobody_to_warm_up(monkeypatch):
    monkeypatch.setattr(workers, "_Machine", None)
    for alone in (Workers(1), Workers(2, "dask", "tcp://127.0.0.1:1")):
        with warming_up(alone, TRAINS):
            pass


def test_results_that_wait_to_be_written_are_few(tmp_path):
    """A writer that is slower than two workers finds at most three results ready."""
    read = []
    tasks = ((read.append(i) or i, tmp_path) for i in range(12))
    for taken, _ in enumerate(run_tasks(double, tasks, Workers(2)), 1):
        time.sleep(0.1)
        assert len(read) <= taken + 3
        assert len(list(tmp_path.iterdir())) <= taken + 3
    assert taken == 12


def test_the_work_of_a_worker_that_dies_is_done_again(tmp_path):
    told = []
    found = list(run_tasks(die_once, [(i, tmp_path) for i in range(8)], Workers(2), tell=told.append))
    assert sorted(found) == [(i, 2 * i) for i in range(8)]
    assert told == [LOST]


def test_a_task_that_kills_every_worker_is_named_and_the_others_are_not(tmp_path):
    told = []
    tasks = [(i, tmp_path) for i in range(5)]
    with pytest.raises(WorkerLostError) as lost:
        list(run_tasks(die_always, tasks, Workers(2), tell=told.append, name=lambda task: f"task {task[0]}"))
    assert str(lost.value) == (
        "task 3: every worker process that took it was lost, perhaps for want of memory"
    )
    assert told == [LOST, LOST]
    assert len(list(tmp_path.glob("3-*"))) == 3


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_task_is_not_swallowed(count):
    with pytest.raises(ArithmeticError, match="task"):
        list(run_tasks(fail, [(i,) for i in range(3)], Workers(count)))
    assert dict(run_tasks(double, [(1,), (2,)], Workers(count))) == {0: 2, 1: 4}  # and others can be done


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_has_one_thread_and_leaves_the_others_theirs(count, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert dict(run_tasks(threads, [(), ()], Workers(count))) == {0: 1, 1: 1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# A cluster on the loopback

HELPERS = Path(__file__).parents[1]  # where the module of the tasks is

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        (str(HELPERS), os.environ.get("PYTHONPATH", ""))
    ),  # where its workers find them
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",  # a task that kills two workers is given up; usually four
}


class Running:
    """A Dask scheduler and workers on 127.0.0.1, processes of their own, without nannies that would revive them."""

    def __init__(self, folder, workers):
        self.folder, self.processes = folder, []
        place = folder / "scheduler.json"
        there = ("--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(place))
        self.scheduler = self.start("scheduler", *there)
        deadline = time.monotonic() + 60
        while not (place.exists() and place.read_text().rstrip().endswith("}")):
            assert self.scheduler.poll() is None, (folder / "0.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.address = json.loads(place.read_text())["address"]
        self.workers = [self.start_worker() for _ in range(workers)]

    def start_worker(self):
        return self.start(
            "worker", self.address, "--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder)
        )

    def start(self, *argv):
        dask = str(Path(sys.executable).with_name("dask"))
        with (self.folder / f"{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                [dask, *argv, "--host", "127.0.0.1", "--no-dashboard"],
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
            )
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

    @property
    def as_workers(self):
        return Workers(1, "dask", self.address)

    @property
    def options(self):
        return "--backend", "dask", "--scheduler", self.address


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    started = Running(tmp_path_factory.mktemp("cluster"), 2)
    yield started
    started.stop()


@pytest.fixture
def fragile(tmp_path):
    """A cluster for one test, which kills parts of it."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Running(folder, 2)
    yield started
    started.stop()


@pytest.mark.server
def test_a_cluster_does_every_task_once_and_few_results_wait(running, tmp_path):
    assert cluster.check(running.address, print) is torch.cuda.is_available()
    read = []
    tasks = ((read.append(i) or i, tmp_path) for i in range(12))
    found = {}
    for place, result in run_tasks(double, tasks, running.as_workers):
        found[place] = result
        time.sleep(0.05)
        assert len(read) <= len(found) + 3
        assert len(list(tmp_path.iterdir())) <= len(found) + 3
    assert found == {i: 2 * i for i in range(12)}


@pytest.mark.server
def test_an_error_of_a_task_of_a_cluster_is_not_swallowed(running):
    with pytest.raises(ArithmeticError, match="task"):
        list(run_tasks(fail, [(i,) for i in range(3)], running.as_workers))


@pytest.mark.server
def test_workers_of_other_code_are_refused(running, monkeypatch):
    ours = cluster.portrait()
    monkeypatch.setattr(cluster, "portrait", lambda: {**ours, "code": "another"})
    with pytest.raises(UsageError) as refused:
        cluster.check(running.address, print)
    assert str(refused.value).startswith(
        "--scheduler must have workers like this process, got tcp://127.0.0.1:"
    )
    assert str(refused.value).endswith(f": code {ours['code']} where it is another here")
    with pytest.raises(FailedError, match="a worker that joined is not like this process: code"):
        list(run_tasks(double, [(1,)], running.as_workers))


@pytest.fixture
def deserted(tmp_path):
    """A scheduler without workers."""
    started = Running(tmp_path, 0)
    yield started
    started.stop()


@pytest.mark.server
def test_a_cluster_without_workers_is_refused(deserted, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS", 0.5)
    with pytest.raises(UsageError) as refused:
        cluster.check(deserted.address, print)
    assert str(refused.value) == (
        f"--scheduler must have one worker or more, got {deserted.address}, which has none"
    )


@pytest.mark.server
def test_a_scheduler_that_goes_away_ends_the_sweep_in_one_line(deserted):
    killer = threading.Timer(1, deserted.scheduler.kill)
    killer.start()
    with pytest.raises(LostError, match=f"^the scheduler {deserted.address} was lost: "):
        list(run_tasks(nap, [(60,), (60,)], deserted.as_workers))
    killer.join()


@pytest.mark.server
def test_a_task_that_kills_every_worker_of_a_cluster_is_named(fragile, tmp_path):
    cluster.check(fragile.address, print)
    with pytest.raises(LostError) as lost:
        list(run_tasks(die_always, [(3, tmp_path)], fragile.as_workers, name=lambda task: "task 3"))
    assert str(lost.value).startswith("task 3: every worker process that took it was lost")


# Sweeps by a cluster


@pytest.mark.server
def test_a_sweep_by_a_cluster_is_the_same(alone, four_shards, running, tmp_path):
    found, out = swept(tmp_path / "study", *running.options)
    assert found == alone
    assert "4 runs of 4 planned configs tracked, 20 networks trained" in out
    assert LOST not in out


@pytest.mark.server
def test_a_sweep_by_a_cluster_whose_worker_is_killed_is_the_same(
    alone, four_shards, fragile, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster, "LOOK", 0.1)
    cluster.check(fragile.address, print)
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
def test_compiled_networks_are_the_same_by_a_cluster(running, tmp_path):
    """As most of a real study is; a shard for each worker."""
    given = {"seeds": "300", "configs": 2, "source": SMALL.format(epochs=40, hidden="((1,),)")}
    here, _ = swept(tmp_path / "here", "--jobs", "1", **given)
    there, _ = swept(tmp_path / "there", *running.options, **given)
    assert here == there


@pytest.mark.server
def test_a_sweep_by_a_cluster_is_stopped_at_once(running, tmp_path):
    folder = make_folder(tmp_path / "study", small=SMALL.format(epochs=30_000, hidden="((1,), (2,))"))
    new_store(folder)
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with subprocess.Popen(
        [sys.executable, "-m", "qwerties", "sweep", "--seeds", "5", "--no-report", *running.options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        first = process.stdout.readline()  # of its progress
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, first + rest
    assert time.monotonic() - asked < 2
    assert rest.endswith("qwerties: stopped; what is tracked stays, the same command goes on from there\n")
    assert "Traceback" not in rest


# Shards and runs

EXPERIMENT = Experiment(
    title="T",
    question="Q",
    configs=grid(Config(epochs=10), loss=("bce", "mse"), activation=("relu", "tanh"), hidden=((1,), (2,))),
)


@pytest.mark.parametrize("most", [None, 1, 200, 10_000])
def test_shards_hold_everything_once_in_the_same_batches(most):
    """However large shards are, `train` cuts them into the batches that shards of one batch are."""
    jobs = missing_jobs("experiment_name", EXPERIMENT, 200, [])
    shards = make_shards(jobs, most)
    assert sorted((c.label(), str(s.seeds)) for s in shards for c in s.configs) == sorted(
        (job.config.label(), str(job.seeds)) for job in jobs
    )
    assert len({shard.configs[0].batch_key for shard in shards}) == 8
    batches = {shard.configs for shard in make_shards(jobs)}
    together = training.BLOCK // 200
    for shard in shards:
        assert len({config.batch_key for config in shard.configs}) == 1
        starts = range(0, len(shard.configs), together)
        assert {shard.configs[i : i + together] for i in starts} <= batches


def test_a_shard_is_bounded_by_its_losses():
    jobs = [
        Job("experiment_name", Config(epochs=100_000, learning_rate=rate), Seeds(0, 512))
        for rate in (0.1, 0.2, 0.3)
    ]
    assert [len(shard.configs) for shard in make_shards(jobs, 2**20)] == [1, 1, 1]
    shorter = [
        Job("experiment_name", Config(epochs=10, learning_rate=rate), Seeds(0, 512))
        for rate in (0.1, 0.2, 0.3)
    ]
    assert [len(shard.configs) for shard in make_shards(shorter, 2**20)] == [3]


@pytest.mark.parametrize(
    ("epochs", "wanted", "blocks"),
    [
        (10, 500, ["0-499"]),
        (8000, 1000, ["0-999"]),
        (2000, 1001, ["0-999", "1000-1000"]),
        (10, 2500, ["0-999", "1000-1999", "2000-2499"]),
        (2**20, 40, ["0-15", "16-31", "32-39"]),
    ],
)
def test_seeds_beyond_a_workers_memory_make_several_runs(epochs, wanted, blocks):
    one = Experiment(title="T", question="Q", configs=(Config(epochs=epochs),))
    found = missing_jobs("experiment_name", one, wanted, [])
    assert [str(job.seeds) for job in found] == blocks
    assert all(len(job.seeds) * epochs <= MAX_LOSSES for job in found)


def test_many_points_make_runs_of_fewer_seeds():
    one = Experiment(title="T", question="Q", configs=(Config(epochs=10, samples=2**18),))
    assert [str(job.seeds) for job in missing_jobs("experiment_name", one, 5, [])] == ["0-1", "2-3", "4-4"]
    huge = Experiment(title="T", question="Q", configs=(Config(epochs=10, samples=1_000_000),))
    assert [str(job.seeds) for job in missing_jobs("experiment_name", huge, 2, [])] == ["0-0", "1-1"]


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
        client = MlflowClient(default_uri(folder))
        found = client.get_experiment_by_name("qwerties/small")
        runs = client.search_runs([found.experiment_id])
        assert {run.data.tags["qwerties.device"] for run in runs} == {tag}
    assert [device for device, _ in seen] == [
        "cuda",
        "cuda",
        "cpu",
        "cpu",
    ]  # a shard for each loss, in this process
    assert all(block > 10_000 for device, block in seen if device == "cuda")
    assert all(block == usual for device, block in seen if device == "cpu")


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [devices.choose(wanted) for wanted in ("cpu", "auto")] == ["cpu", "cpu"]
    assert [devices.choose("auto", there) for there in (True, False)] == ["cuda", "cpu"]
    with pytest.raises(UsageError, match=r"^--device cuda needs a CUDA device .* got none \(PyTorch "):
        devices.choose("cuda")
    with pytest.raises(UsageError, match=r"got none on every worker of the cluster$"):
        devices.choose("cuda", False)


def test_a_gpu_takes_as_many_networks_as_it_has_room_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    usual, blocks = training.BLOCK, []
    for config in (Config(), Config(hidden=(64, 64)), Config(epochs=1_000_000)):
        with devices.resident("cuda", config):
            blocks.append(training.BLOCK)
            assert training.BLOCK * devices.bytes_of(config) <= devices.ROOM * 2**30
            assert (
                training.BLOCK * 4 * config.epochs <= devices.ROOM * 2**30
            )  # its losses, which are all there
        assert usual == training.BLOCK
    assert blocks[0] > 5000 > blocks[2] > blocks[1] // 100
    with devices.resident("cuda", Config(), sharers=4):
        assert pytest.approx(blocks[0] / 4, abs=1) == training.BLOCK
    with devices.resident("cpu", Config()):
        assert usual == training.BLOCK


@pytest.mark.parametrize(("jobs", "workers"), [([], 4), (["--jobs", "7"], 7), (["--jobs", "1"], 1)])
def test_a_gpu_is_shared_by_a_few_workers_or_as_many_as_are_asked_for(tmp_path, monkeypatch, jobs, workers):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("qwerties.cli.sweep.cores", lambda: 16)
    asked = []

    def sweep(*arguments, workers, device, **options):
        asked.append((workers.count, device))
        return sweeping.Progress(0, 0, 0, 0.0)

    monkeypatch.setattr(sweeping, "sweep", sweep)
    monkeypatch.setattr("qwerties.cli.sweep.warming_up", lambda workers: nullcontext())
    make_folder(tmp_path / "study", small=STUDY)
    new_store(tmp_path / "study")
    call(tmp_path / "study", "sweep", "--seeds", "5", "--no-report", "--device", "cuda", *jobs)
    assert asked == [(workers, "cuda")]


def test_every_worker_of_a_gpu_knows_how_many_share_it(monkeypatch):
    seen = []

    def resident(device, config, sharers):
        seen.append(sharers)
        return nullcontext()

    monkeypatch.setattr(devices, "resident", resident)
    shard = Shard((Config(epochs=2),), Seeds(0, 2))
    train_shard(Task(shard, "cpu", None, sharers=3))
    assert seen == [3]


def test_a_gpu_has_blocks_of_few_sizes_within_its_memory():
    found = [lifted._size(n, 3000) for n in (1, 3, 512, 513, 2049, 3000)]
    assert found == [1, 4, 512, 1024, 3000, 3000]


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_agrees_with_the_cpu(compiled):
    configs = [*EXPERIMENT.configs, Config(epochs=10, optimizer="adam")]
    cpu, gpu = (
        training.train(configs, Seeds(0, 600), compiled=compiled, device=device) for device in ("cpu", "cuda")
    )
    for one, other in zip(cpu, gpu, strict=True):
        np.testing.assert_allclose(other.losses, one.losses, atol=1e-5, rtol=1e-5)
        for name, value in one.weights.items():
            np.testing.assert_allclose(other.weights[name], value, atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
@GPU
def test_a_sweep_by_a_gpu_says_so_and_agrees(alone, tmp_path):
    found, _ = swept(tmp_path / "study", "--device", "cuda")
    assert found.keys() == alone.keys()
    for key, (_, params, metrics, _) in alone.items():
        assert found[key][1] == params
        assert found[key][2]["train_loss"] == pytest.approx(metrics["train_loss"], abs=1e-5)
