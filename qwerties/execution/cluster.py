"""The workers of a Dask cluster, which are checked to compute what this process would: the only door to Dask.

Nothing but the scheduler is connected to. Tasks and results are pickled: whoever reaches the scheduler's port can run
code on the workers and here, so it belongs on the loopback, in a trusted network, or behind TLS.
"""

from __future__ import annotations

import functools
import platform
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from qwerties.errors import UsageError, reason_of
from qwerties.execution.calls import LOST, LostError, call

URI = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})")
TIMEOUT = 5.0  # seconds within which a scheduler answers, and has a worker
MAX_GREETING = 2**20  # bytes; whoever announces a longer greeting is no Dask scheduler
LOOK = 1.0  # seconds between two looks at the workers
SETTINGS = {
    # errors are reported in one line of ours
    "logging": dict.fromkeys(("distributed", "distributed.client", "distributed.core"), "critical"),
    "distributed.comm.timeouts.connect": TIMEOUT,
    "distributed.diagnostics.nvml": False,
}

_reported: set[str] = set()  # lines about workers that get no task
_one_at_a_time = threading.Lock()  # several threads of a worker would share the state of torch and matplotlib


class Cluster:
    """A pool of Dask workers, which repeats the work of a worker that dies.

    A worker whose code or versions are not those of this process gets no task, whenever it joins. ``has_gpu`` says
    whether every worker that gets tasks had a GPU at the start.

    Raises
    ------
    UsageError
        If the scheduler does not answer, or has no worker that may get tasks.
    """

    def __init__(self, uri: str, log: Callable[[str], None]) -> None:
        self._uri, self._log = uri, log
        self.client = _connect(uri)
        from distributed import KilledWorker

        self.given_up: tuple[type[Exception], ...] = (KilledWorker,)
        self._executor = self.client.get_executor(pure=False)
        self._allowed: dict[Future, frozenset[str]] = {}  # workers that may do the task of each future
        self._known: set[str] = set()
        self._looked = time.monotonic()
        try:
            self.client.wait_for_workers(1, timeout=TIMEOUT)
            alike, unlike = self._examine(self.client.nthreads())
        except Exception as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise UsageError(
                    f"--scheduler must have one worker or more, got {uri}, which has none"
                ) from None
            raise self._lost(error) from None
        if not alike:
            self.close()
            worker, difference = unlike.popitem()
            raise UsageError(f"--scheduler must have workers like this process, got {worker}: {difference}")
        self._report(unlike)
        self._alike = frozenset(alike)
        self.has_gpu = all(description["GPU"] == "one" for description in alike.values())

    def _examine(self, present: Iterable[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """Ask new workers for their environment; return those of workers alike, and how the others differ."""
        joined = sorted(set(present) - self._known)
        self._known = set(present)
        descriptions = self.client.run(_describe, workers=joined, on_error="return") if joined else {}
        differences = {worker: _difference(descriptions[worker]) for worker in joined}
        alike = {worker: descriptions[worker] for worker in joined if not differences[worker]}
        return alike, {worker: text for worker, text in differences.items() if text}

    def _report(self, unlike: Mapping[str, str]) -> None:
        """Name workers that get no task: once a command, which may connect several times."""
        for worker, difference in unlike.items():
            line = f"worker {worker} gets no task, it is unlike this process: {difference}"
            if line not in _reported:
                _reported.add(line)
                self._log(line)

    @property
    def window(self) -> int:
        """The number of tasks to have in hand."""
        return len(self._alike) + 1

    def submit(self, function: Callable[..., Any], arguments: tuple) -> Future:
        """Have a worker do a task; the future is cancelled if the workers that may do it are gone."""
        try:
            future = self._executor.submit(_call_alone, function, arguments, workers=sorted(self._alike))
        except Exception as error:
            raise self._lost(error) from None
        self._allowed[future] = self._alike
        return future

    def check(self, at_once: bool = False) -> None:
        """Look once a second for workers that joined or left; raise `LostError` if the scheduler is gone."""
        if time.monotonic() - self._looked < LOOK and not at_once:
            return
        self._looked = time.monotonic()
        known = self._known
        try:
            present = set(self.client.nthreads())
            joined, unlike = self._examine(present)
        except Exception as error:
            raise self._lost(error) from None
        self._report(unlike)
        if self._alike & known - present:
            self._log(LOST)
            if not self._alike & present:
                self._log(f"{self._uri} has no worker left: waiting for one")
        alike = self._alike & present | joined.keys()
        if alike:  # else remember the last ones: Dask takes an empty set for all
            self._alike = frozenset(alike)
            self._allowed = {f: allowed for f, allowed in self._allowed.items() if not f.done()}
            for future, allowed in self._allowed.items():
                if not allowed & alike:
                    future.cancel()

    def close(self, pending: Iterable[Future] = ()) -> None:
        """Disconnect; the scheduler drops pending tasks."""
        with suppress(Exception):  # the scheduler is gone
            self.client.close(timeout=1)

    def _lost(self, error: Exception) -> LostError:
        return LostError(f"the scheduler {self._uri} was lost: {reason_of(error)}")


def check(uri: str, log: Callable[[str], None]) -> bool:
    """Check a cluster before there is work for it; return whether every worker has a GPU. See `Cluster`."""
    cluster = Cluster(uri, log)
    if several := sum(count > 1 for count in cluster.client.nthreads().values()):
        log(f"workers with several threads use one, got {several}: dask worker --nthreads 1")
    cluster.close()
    return cluster.has_gpu


def _connect(uri: str) -> Any:
    try:
        import dask

        dask.config.set(SETTINGS)  # before distributed reads it
        import distributed
    except ImportError:
        raise UsageError(
            "--backend dask needs the extra `cluster`, which is not installed: pip install -c constraints.txt -e "
            "'.[cluster]' (make sweep BACKEND=dask does so)"
        ) from None
    try:
        _check_greeting(uri)
        return distributed.Client(uri, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError: of tls:// without a certificate
        raise UsageError(
            f"--scheduler must be the address of a Dask scheduler that answers, got {uri}: {reason_of(error)}"
        ) from None


def _check_greeting(uri: str) -> None:
    """Raise OSError unless a Dask scheduler answers; Dask's own client would wait for ever.

    A scheduler begins with the length of its greeting, 8 bytes, the lowest first; with TLS, the client begins.
    """
    parts = URI.fullmatch(uri)
    assert parts is not None
    with socket.create_connection((parts[2].strip("[]"), int(parts[3])), timeout=TIMEOUT) as connection:
        if parts[1] == "tcp":
            try:
                greeting = connection.recv(8, socket.MSG_WAITALL)
            except TimeoutError:
                raise OSError(f"it said nothing for {TIMEOUT:g} s") from None
            if len(greeting) < 8 or int.from_bytes(greeting, "little") > MAX_GREETING:
                raise OSError("it is some other server")


@functools.cache
def environment() -> dict[str, str]:
    """Return what decides the numbers that a process computes."""
    from qwerties.scoring.digest import code_digest
    from qwerties.training.compiler import find_compiler

    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in ("torch", "numpy", "scipy")},
        "code": code_digest(),
        "C++ compiler": "one" if find_compiler() else "none",
    }


def _difference(found: Any) -> str:
    """Return the first difference of a worker's environment from that of this process; empty if there is none."""
    if isinstance(found, Exception):  # a worker without qwerties, or with an older one
        return reason_of(found)
    for name, value in environment().items():
        if found.get(name) != value:
            return f"{name} {found.get(name)} where it is {value} here"
    return ""


def _describe() -> dict[str, str]:
    """Run by a worker: return its environment, and whether it has a GPU."""
    import torch

    return {**environment(), "GPU": "one" if torch.cuda.is_available() else "none"}


def _call_alone(function: Callable[..., Any], arguments: tuple) -> Any:
    """Run by a worker: do one task at a time."""
    with _one_at_a_time:
        return call(function, arguments)
