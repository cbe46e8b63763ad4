"""A Dask cluster on the loopback."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from processes import forking, start

from qwerties.execution.workers import Workers

KILLS = {"distributed.scheduler.allowed-failures": 1}  # a task that kills two workers is given up


class DaskCluster:
    """A scheduler and workers as processes of their own, without nannies that would restart the workers.

    They are forked from the process that commands are forked from, which spares each of them seconds.
    """

    def __init__(self, folder, workers):
        folder.mkdir(exist_ok=True)
        self.folder, self.processes = folder, []
        about = folder / "scheduler.json"
        options = ("--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(about))
        self.scheduler = self.start("scheduler", *options)
        self.wait(lambda: about.exists() and about.read_text().rstrip().endswith("}"))
        self.uri = json.loads(about.read_text())["address"]
        self.workers = [self.start_worker() for _ in range(workers)]
        logs = [folder / f"{i}.log" for i in range(1, workers + 1)]
        self.wait(lambda: all("Registered to:" in log.read_text() for log in logs))

    def wait(self, holds):
        deadline = time.monotonic() + 100
        while not holds():
            assert self.scheduler.exitcode is None, (self.folder / "0.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def start_worker(self, path=None):
        options = ("--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder))
        return self.start("worker", self.uri, *options, path=path)

    def start(self, *argv, path=None):
        """Fork a process of the cluster, or start a fresh interpreter that finds its modules in ``path``."""
        log = self.folder / f"{len(self.processes)}.log"
        log.touch()
        argv = (*argv, "--host", "127.0.0.1", "--no-dashboard")
        if path is None:
            process = forking.Process(target=_be_dask, args=(argv, self.folder, log))
            start(process)
        else:
            dask = Path(sys.executable).with_name("dask")
            environment = {**os.environ, "PYTHONPATH": path}
            with log.open("w") as out:
                process = subprocess.Popen(
                    [dask, *argv], stdout=out, stderr=out, cwd=self.folder, env=environment
                )
        self.processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            (process.wait if isinstance(process, subprocess.Popen) else process.join)()

    @property
    def as_workers(self):
        return Workers(1, "dask", self.uri)

    @property
    def options(self):
        return "--backend", "dask", "--scheduler", self.uri


def _be_dask(argv, folder, log):
    import dask
    from distributed.cli import dask_scheduler, dask_worker

    os.chdir(folder)
    dask.config.set(KILLS)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), stream)
    {"scheduler": dask_scheduler, "worker": dask_worker}[argv[0]].main(argv[1:], prog_name=f"dask {argv[0]}")
