"""A Dask cluster on the loopback."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from qwerties.execution.workers import Workers

PATH = os.pathsep.join(
    (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
)  # workers find `tasks` here
KILLS = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}  # a task that kills two workers is given up


class DaskCluster:
    """A scheduler and workers as processes of their own, without nannies that would restart the workers."""

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
            assert self.scheduler.poll() is None, (self.folder / "0.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def start_worker(self, path=PATH):
        options = ("--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder))
        return self.start("worker", self.uri, *options, path=path)

    def start(self, *argv, path=PATH):
        dask = str(Path(sys.executable).with_name("dask"))
        with (self.folder / f"{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                [dask, *argv, "--host", "127.0.0.1", "--no-dashboard"],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **KILLS, "PYTHONPATH": path},
            )
        self.processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()

    @property
    def as_workers(self):
        return Workers(1, "dask", self.uri)

    @property
    def options(self):
        return "--backend", "dask", "--scheduler", self.uri
