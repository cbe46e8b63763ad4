"""The only door to Dask: tasks for the workers of a cluster, which are checked to be like this process.

Nothing but the scheduler is connected to. What it is sent, and what comes back, is pickled: whoever reaches the
scheduler's port can run code on the workers and here, so it belongs on the loopback, in a trusted network, or behind
TLS.
"""

from __future__ import annotations

import functools
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from qwerties.errors import FailedError, UsageError, reason_of
from qwerties.execution.calls import ADDRESS, LOST, LostError, call

ANSWERS = 5.0
"""Seconds within which a scheduler answers, and has a worker."""

LONGEST_GREETING = 2**20
"""Bytes; what is told to be longer is no greeting."""

LOOK = 1.0
"""Seconds between two looks at which workers there are."""

QUIET = {
    # what goes wrong is told in one line of ours
    "logging": dict.fromkeys(("distributed", "distributed.client", "distributed.core"), "critical"),
    "distributed.comm.timeouts.connect": ANSWERS,
    "distributed.diagnostics.nvml": False,
}
"""Settings of Dask."""

_one_at_a_time = (
    threading.Lock()
)  # where a worker has several threads: torch's state and matplotlib's is the process's


class ClusterLostError(LostError):
    """The scheduler went away."""


class Cluster:
    """The workers of a Dask scheduler, which has the work of those that are lost done again by others."""

    def __init__(self, address: str, tell: Callable[[str], None]) -> None:
        self._address, self._tell = address, tell

    def __enter__(self) -> Cluster:
        self._client = _connect(self._address)
        from distributed import KilledWorker

        self.given_up: tuple[type[Exception], ...] = (KilledWorker,)
        self._executor = self._client.get_executor(pure=False)
        self._there = set(self._client.nthreads())
        self._looked = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        _close(self._client)

    @property
    def room(self) -> int:
        """Tasks to be in hand."""
        return len(self._there) + 1

    def submit(self, function: Callable[..., Any], arguments: tuple) -> Future:
        """Have a task done."""
        try:
            return self._executor.submit(_call_there, portrait(), function, arguments)
        except Exception as error:
            raise self._lost(reason_of(error)) from None

    def wait(self, futures: Iterable[Future]) -> Future:
        """Wait for one of them to be done."""
        while True:
            done = wait(futures, timeout=LOOK, return_when=FIRST_COMPLETED).done
            if time.monotonic() - self._looked > LOOK:
                self._look()
            if done:
                future = next(iter(done))
                if future.cancelled():
                    raise self._lost("it does not answer")
                return future

    def _look(self) -> None:
        """See who came, and who went: in mid-work, as everybody has some."""
        try:
            there = set(self._client.nthreads())
        except Exception as error:
            raise self._lost(reason_of(error)) from None
        if self._there - there:
            self._tell(LOST)
        if self._there and not there:
            self._tell(f"{self._address} has no worker left: waiting for one")
        self._there, self._looked = there, time.monotonic()

    def _lost(self, reason: str) -> ClusterLostError:
        return ClusterLostError(f"the scheduler {self._address} was lost: {reason}")


def _connect(address: str) -> Any:
    try:
        import dask

        dask.config.set(QUIET)  # before the other reads it
        import distributed
    except ImportError:
        raise UsageError(
            "--backend dask needs the extra `cluster`, which is not installed: pip install -c constraints.txt -e "
            "'.[cluster]' (make sweep BACKEND=dask does so)"
        ) from None
    try:
        _knock(address)
        return distributed.Client(address, timeout=ANSWERS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError: of tls://, where there is no certificate
        raise UsageError(
            f"--scheduler must be the address of a Dask scheduler that answers, got {address}: {reason_of(error)}"
        ) from None


def _knock(address: str) -> None:
    """Raise OSError unless somebody answers there who speaks as Dask does; its client would wait for ever.

    A scheduler begins with the length of its greeting, 8 bytes, the lowest first; with TLS, the client has to begin.
    """
    found = ADDRESS.fullmatch(address)
    assert found is not None
    with socket.create_connection((found[2].strip("[]"), int(found[3])), timeout=ANSWERS) as there:
        if found[1] == "tcp":
            try:
                greeting = there.recv(8, socket.MSG_WAITALL)
            except TimeoutError:
                raise OSError(f"it said nothing for {ANSWERS:g} s") from None
            if len(greeting) < 8 or int.from_bytes(greeting, "little") > LONGEST_GREETING:
                raise OSError("it is some other server")


def _close(client: Any) -> None:
    with suppress(Exception):  # it is gone; else the scheduler drops what is still wanted of it
        client.close(timeout=1)


def check(address: str, tell: Callable[[str], None]) -> bool:
    """Make sure that a cluster does the work as this process would.

    Parameters
    ----------
    address : str
        Of the scheduler.
    tell : callable
        Called with what there is to say besides, a line each.

    Returns
    -------
    bool
        Whether every worker has a GPU.

    Raises
    ------
    UsageError
        If the scheduler does not answer, has no worker, or one whose code or versions are others than here.
    """
    client = _connect(address)
    try:
        client.wait_for_workers(1, timeout=ANSWERS)
        portraits = client.run(_present)
        idle = sum(threads > 1 for threads in client.nthreads().values())
    except TimeoutError:
        raise UsageError(f"--scheduler must have one worker or more, got {address}, which has none") from None
    except Exception as error:  # a worker without our code, or with one that has no such function
        raise UsageError(
            f"--scheduler must have workers with qwerties as it is here, got {address}: {reason_of(error)}"
        ) from None
    finally:
        _close(client)
    for worker, has in portraits.items():
        if differs := _difference(portrait(), has):
            raise UsageError(f"--scheduler must have workers like this process, got {worker}: {differs}")
    if idle:
        tell(f"{idle} of {len(portraits)} workers have several threads and use one: dask worker --nthreads 1")
    return all(has["GPU"] == "one" for has in portraits.values())


@functools.cache
def portrait() -> dict[str, str]:
    """What of a process decides the numbers that it makes."""
    from qwerties.scoring.digest import code_digest
    from qwerties.training.compiler import find_compiler

    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in ("torch", "numpy", "scipy")},
        "code": code_digest(),
        "C++ compiler": "one" if find_compiler() else "none",
    }


def _difference(wanted: dict[str, str], has: dict[str, str]) -> str:
    """The first of what differs, in words; empty where nothing does."""
    for name, value in wanted.items():
        if has.get(name) != value:
            return f"{name} {has.get(name)} where it is {value} here"
    return ""


def _present() -> dict[str, str]:
    """Run by a worker: its portrait, and whether it has a GPU."""
    import torch

    return {**portrait(), "GPU": "one" if torch.cuda.is_available() else "none"}


def _call_there(wanted: dict[str, str], function: Callable[..., Any], arguments: tuple) -> Any:
    """Run by a worker: one that joined later was not checked with the others."""
    if differs := _difference(wanted, portrait()):
        raise FailedError(f"a worker that joined is not like this process: {differs}")
    with _one_at_a_time:
        return call(function, arguments)
