"""The only place that runs tasks in other processes: those of this machine, or those of a Dask cluster.

A worker has one thread and does one task at a time, wherever it is. At most one task more than there are workers is
in hand: the next one goes out when a result was taken, so that results never pile up before a slow writer.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwerties.errors import UsageError
from qwerties.execution.calls import ADDRESS, LOST, LostError, call
from qwerties.execution.signals import prepare_worker, sparing_processes

if TYPE_CHECKING:
    from qwerties.execution.cluster import Cluster

BACKENDS = ("loky", "dask")
DEVICES = ("cpu", "cuda", "auto")

SUSPECT, MAX_DEATHS = 2, 3
"""Losses of a worker after which the tasks that were in hand are done one at a time, and after which one is given up:
by then it has killed a worker that had nothing else."""

ONE_THREAD = dict.fromkeys(
    (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
        *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
    ),
    "1",
)


class WorkerLostError(LostError):
    """A task killed its worker, again and again."""

    hint = f"{LostError.hint}, and takes less memory with --jobs 1"


@dataclass(frozen=True)
class Workers:
    """Who runs tasks.

    Attributes
    ----------
    count : int
        Processes of this machine; 1 is this very process. A cluster has as many workers as it has.
    backend : {"loky", "dask"}
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://127.0.0.1:8786``.

    Raises
    ------
    UsageError
        If the scheduler is missing, malformed, or not for this backend.
    """

    count: int = 1
    backend: str = "loky"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.backend == "dask" and self.scheduler is None:
            raise UsageError("--backend dask needs --scheduler tcp://HOST:PORT, got none")
        if self.scheduler is not None:
            if self.backend != "dask":
                raise UsageError(f"--scheduler needs --backend dask, got --backend {self.backend}")
            found = ADDRESS.fullmatch(self.scheduler)
            if not found or not 0 < int(found[3]) < 2**16:
                raise UsageError(
                    f"--scheduler must look like tcp://HOST:PORT or tls://HOST:PORT, got {self.scheduler!r}"
                )

    @property
    def is_cluster(self) -> bool:
        """Whether they are of other processes' making, perhaps on other machines."""
        return self.backend == "dask"


def cores() -> int:
    """Return the number of cores that this process may use, by its affinity and by its container's quota."""
    from joblib.externals.loky import cpu_count

    return int(cpu_count())


def run_tasks(
    function: Callable[..., Any],
    tasks: Iterable[tuple],
    workers: Workers,
    *,
    tell: Callable[[str], None] = lambda line: None,
    name: Callable[[tuple], str] = str,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Any]]:
    """Call a function with every task's arguments; what a lost worker had in hand is done again.

    Parameters
    ----------
    function : callable
        Of a module, so that other processes find it by its name.
    tasks : iterable of tuple
        Arguments; read as workers come free.
    workers : Workers
        One of this machine, or one task there: this very process runs them.
    tell : callable
        Called with what there is to say besides, a line each.
    name : callable
        A task in words, for the message if it is given up.
    meanwhile : callable
        Called once, by this process, when others have the first tasks in hand; before the first where there are none.

    Yields
    ------
    (int, object)
        Place in ``tasks`` and result, in the order in which they come.

    Raises
    ------
    WorkerLostError
        If a task killed its worker `MAX_DEATHS` times, the last time alone; on a cluster, as often as the scheduler
        allows.
    ClusterLostError
        If the scheduler went away.
    """
    numbered: Iterator[tuple[int, tuple]] = enumerate(tasks)
    first = list(itertools.islice(numbered, 2))
    numbered = itertools.chain(first, numbered)
    if not first:
        meanwhile()
        return
    if not workers.is_cluster and (workers.count == 1 or len(first) == 1):
        meanwhile()
        for place, arguments in numbered:
            yield place, call(function, arguments)
        return
    if workers.scheduler is not None:
        from qwerties.execution.cluster import Cluster

        with Cluster(workers.scheduler, tell) as cluster:
            yield from _unordered(cluster, function, numbered, tell, name, meanwhile)
    else:
        with _Machine(workers.count) as machine:
            yield from _unordered(machine, function, numbered, tell, name, meanwhile)


@contextmanager
def warming_up(workers: Workers, module: str) -> Iterator[None]:
    """Start this machine's workers and have them import a module, while this process does something else.

    They end with an exception that leaves the block; otherwise they stay, for the tasks to come.
    """
    if workers.is_cluster or workers.count == 1:
        yield
        return
    with _Machine(workers.count) as machine:
        for _ in range(workers.count):
            machine.submit(_import, (module,))
        yield


def _import(module: str) -> None:
    importlib.import_module(module)
    gc.freeze()  # what is imported stays, and needs no looking through again and again


@dataclass(eq=False)
class _Task:
    place: int
    arguments: tuple
    deaths: int = 0


def _unordered(
    crew: _Machine | Cluster,
    function: Callable[..., Any],
    numbered: Iterable[tuple[int, tuple]],
    tell: Callable[[str], None],
    name: Callable[[tuple], str],
    meanwhile: Callable[[], None],
) -> Iterator[tuple[int, Any]]:
    todo = (_Task(place, arguments) for place, arguments in numbered)
    again: deque[_Task] = deque()  # tasks of lost workers; suspects first
    in_hand: dict[Future, _Task] = {}
    is_first = True
    while True:
        while len(in_hand) < (1 if _is_suspect(again, in_hand) else crew.room):
            task = again.popleft() if again else next(todo, None)
            if task is None:
                break
            in_hand[crew.submit(function, task.arguments)] = task
        if is_first:
            is_first = False
            meanwhile()
        if not in_hand:
            return
        future = crew.wait(in_hand)
        task = in_hand.pop(future)
        try:
            result = future.result()
        except BrokenProcessPool:  # of all processes: when one is lost, the others end with it
            lost = [task] + [in_hand.pop(other) for other in list(in_hand) if _is_broken(other)]
            for one in lost:
                one.deaths += 1
                if one.deaths == MAX_DEATHS:
                    raise _given_up(one, name) from None
            again.extend(lost)
            again = deque(sorted(again, key=lambda one: one.deaths < SUSPECT))
            tell(LOST)
        except crew.given_up:
            raise _given_up(task, name) from None
        else:
            place = task.place
            del future, task  # they hold the result, too
            yield place, result
            del result


def _is_suspect(again: deque[_Task], in_hand: dict[Future, _Task]) -> bool:
    """Whether what comes next, or is in hand, is to be done alone, so that it is known who kills workers."""
    return any(task.deaths >= SUSPECT for task in (*list(again)[:1], *in_hand.values()))


def _is_broken(future: Future) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _given_up(task: _Task, name: Callable[[tuple], str]) -> WorkerLostError:
    return WorkerLostError(
        f"{name(task.arguments)}: every worker process that took it was lost, perhaps for want of memory"
    )


# This machine


def _is_taken(task: Future) -> bool:
    return task.running() or task.done()


class _Machine:
    """Processes of this machine, by joblib's loky; they stay for the next tasks unless something went wrong."""

    IDLE, PATIENCE = 300, 2
    given_up: tuple[type[Exception], ...] = ()

    def __init__(self, count: int) -> None:
        self._count = count
        self._executor: Any = None
        self._submitted: list[Future] = []
        self.room = count + 1

    def __enter__(self) -> _Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None and self._executor is not None:
            # loky's own thread fails if it is to end with a task that it has not taken yet
            end = time.monotonic() + self.PATIENCE
            while not all(map(_is_taken, self._submitted)) and time.monotonic() < end:
                time.sleep(0.005)
            self._executor.shutdown(wait=True, kill_workers=True)

    def submit(self, function: Callable[..., Any], arguments: tuple) -> Future:
        """Have a task done; by other processes, if the last ones were lost."""
        from joblib.externals.loky import get_reusable_executor  # costs time that a sweep of nothing has not

        # loky replaces a process that has grown, and warns
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        try:
            with sparing_processes():
                self._executor = get_reusable_executor(
                    self._count,
                    timeout=self.IDLE,
                    initializer=prepare_worker,
                    initargs=(os.getpid(),),
                    env=ONE_THREAD,
                )
                submitted = self._executor.submit(call, function, arguments)
            self._submitted = [one for one in self._submitted if not _is_taken(one)] + [submitted]
            return submitted
        except BrokenProcessPool as error:  # a moment ago: what is in hand will tell
            failed: Future = Future()
            failed.set_exception(error)
            return failed

    def wait(self, futures: Iterable[Future]) -> Future:
        """Wait for one of them to be done."""
        return next(iter(wait(futures, return_when=FIRST_COMPLETED).done))
