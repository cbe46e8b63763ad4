"""The ``qwerties`` command in processes of its own.

`run` and `started` fork the process from one that has imported everything and swept once, which spares each command
four seconds. `started_python` starts a fresh interpreter.
"""

import importlib
import itertools
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

TIMEOUT = 200.0  # seconds; far above what any command takes
NOBODY = 65534  # the user and the group whom file permissions bind, unlike root

forking = multiprocessing.get_context("forkserver")
forking.set_forkserver_preload(
    [
        *("qwerties.cli.main", "qwerties.study.sweep", "qwerties.study.runs", "qwerties.study.sweep_lock"),
        *("qwerties.tracking.store", "qwerties.portability.relocate", "qwerties.analysis.topup"),
        *("qwerties.tuning.tuner", "qwerties.tuning.trials", "qwerties.plotting.search"),
        *("qwerties.report.build", "mlflow.pytorch", "mlflow.store.tracking.sqlalchemy_store"),
        *("distributed.cli.dask_scheduler", "distributed.cli.dask_worker"),
        *("pytest", "warm"),
    ]
)
_numbers = itertools.count()


def start(process):
    """Start a process of `forking`."""
    with pytest.MonkeyPatch.context() as patch:  # Python 3.11 does not tell the forkserver where modules are
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        process.start()


@dataclass
class Command:
    """A command that was started; `out` and `err` are the files of its two streams."""

    process: multiprocessing.Process
    out: Path
    err: Path

    @property
    def pid(self):
        return self.process.pid

    @property
    def peak(self):
        """Bytes of memory that it held at most, known at its end."""
        return int(self.out.with_suffix(".peak").read_text())

    def poll(self):
        """Return the exit status, or minus the number of the signal that ended it; None while it runs."""
        return self.process.exitcode

    def wait(self, timeout=TIMEOUT):
        """Wait for the end; return the status and both texts."""
        self.process.join(timeout)
        assert self.poll() is not None, f"still running after {timeout:g} s: {self.texts()}"
        return self.poll(), *self.texts()

    def texts(self):
        return tuple(path.read_text(encoding="utf-8") for path in (self.out, self.err))

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """End the command and the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


@contextmanager
def started(folder, *argv, program="qwerties.cli.main", environment=None, max_bytes=None, as_nobody=False):
    """Start ``qwerties``, or ``main`` of another module, in a folder.

    It and its children are gone at the end, whatever happens.
    """
    name = f"{folder.name}-{os.getpid()}-{next(_numbers)}"
    out, err = (folder.parent / f"{name}.{stream}" for stream in ("out", "err"))
    for path in (out, err):
        path.touch()
    begun, begins = forking.Pipe(duplex=False)
    options = (begins, folder, program, argv, (out, err), environment or {}, max_bytes, as_nobody)
    process = forking.Process(target=_be_command, args=options)
    start(process)
    with begun, begins:
        begun.recv()  # it heeds signals from now on
    command = Command(process, out, err)
    try:
        yield command
    finally:
        command.kill()


def _be_command(begins, folder, program, argv, streams, environment, max_bytes, as_nobody):
    os.setpgid(0, 0)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.environ.update(environment)
    if max_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    if as_nobody and os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    status = 99
    try:
        begins.send(True)
        begins.close()
        status = importlib.import_module(program).main(argv)
    except BaseException:
        traceback.print_exc()
    with suppress(OSError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        streams[0].with_suffix(".peak").write_text(str(peak))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(folder, *argv, status=0, **options):
    """Run ``qwerties`` in a folder to its end; return what it wrote to its two streams."""
    with started(folder, *argv, **options) as command:
        ended, out, err = command.wait()
    assert ended == status, out + err
    assert "Traceback" not in out + err
    return out, err


@contextmanager
def started_python(folder, *argv, **environment):
    """Start a fresh interpreter in a process group of its own, which is gone at the end whatever happens."""
    with subprocess.Popen(
        [sys.executable, *map(str, argv)],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def finish(process, status=0):
    """Wait for a fresh interpreter to end; return what it wrote to its two streams."""
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status, out + err
    assert "Traceback" not in err
    assert "Warning" not in err
    return out, err
