"""The ``qwerties`` command in processes of its own.

`run` and `started` fork the process from one that has imported everything already, which spares each command three
seconds of imports. `started_python` starts a fresh interpreter.
"""

import atexit
import functools
import importlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 200.0  # seconds; far above what any command takes
NOBODY = 65534  # the user and the group whom file permissions bind, unlike root
PRELOADED = (
    *("qwerties.cli.main", "qwerties.study.sweep", "qwerties.study.runs", "qwerties.study.sweep_lock"),
    *("qwerties.tracking.store", "qwerties.portability.relocate", "qwerties.analysis.topup"),
    *("qwerties.report.build", "mlflow.pytorch", "matplotlib.figure"),
)

_numbers = itertools.count()


@dataclass
class Command:
    """A command that was started; `out` and `err` are the files of its two streams."""

    pid: int
    out: Path
    err: Path
    status: int | None = None
    peak: int = 0  # bytes of memory that it held at most, known at its end

    def poll(self):
        """Return the exit status, or minus the number of the signal that ended it; None while it runs."""
        if self.status is None:
            self.status, self.peak = _ask(poll=self.pid)
        return self.status

    def wait(self, timeout=TIMEOUT):
        """Wait for the end; return the status and both texts."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < deadline, f"still running after {timeout:g} s: {self.texts()}"
            time.sleep(0.01)
        return self.status, *self.texts()

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
def started(folder, *argv, environment=None, max_bytes=None, as_nobody=False):
    """Start ``qwerties`` in a folder; it and its children are gone at the end, whatever happens."""
    experiment_name = f"{folder.name}-{os.getpid()}-{next(_numbers)}"
    out, err = (folder.parent / f"{experiment_name}.{name}" for name in ("out", "err"))
    for path in (out, err):
        path.touch()
    pid = _ask(
        folder=str(folder),
        argv=argv,
        streams=[str(out), str(err)],
        environment=environment or {},
        max_bytes=max_bytes,
        as_nobody=as_nobody,
    )
    command = Command(pid, out, err)
    try:
        yield command
    finally:
        command.kill()


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


# The process that the commands are forked from


@functools.cache
def _forking():
    process = subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C of whoever runs the tests is not for the commands
    )
    assert process.stdout.readline() == "ready\n", "a module that commands need cannot be imported"
    atexit.register(process.communicate)  # the end of its input ends it
    return process


def _ask(**order):
    process = _forking()
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def _serve():
    for name in PRELOADED:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = _poll(order["poll"]) if "poll" in order else _fork(order)
        print(json.dumps(answer), flush=True)


def _poll(pid):
    ended, status, usage = os.wait4(pid, os.WNOHANG)
    return (os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024) if ended else (None, 0)


def _fork(order):
    """Fork a command; return its process once it has begun, so that it heeds signals from then on."""
    begun, begins = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(begun)
        _be_command(begins=begins, **order)
    os.close(begins)
    os.read(begun, 1)
    os.close(begun)
    return pid


def _be_command(*, begins, folder, argv, streams, environment, max_bytes, as_nobody):
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
        os.write(begins, b"!")
        os.close(begins)
        status = sys.modules["qwerties.cli.main"].main(argv)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
