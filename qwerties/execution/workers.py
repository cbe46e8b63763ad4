"""Tasks -> results, by processes of this machine (loky) or the workers of a cluster (Dask).

A worker has one thread and does one task at a time. At most one task more than there are workers is in hand: the next
one is submitted when a result was taken, so that results never pile up before a slow writer.
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwerties.errors import FailedError, UsageError, reason_of
from qwerties.execution.calls import LOST, LostError, call, load
from qwerties.execution.signals import prepare_worker, sparing_processes

if TYPE_CHECKING:
    from qwerties.execution.cluster import Cluster

BACKENDS = ("loky", "dask")
DEVICES = ("cpu", "cuda", "auto")

MAX_DEATHS = 3  # of a task's workers, all but the first while it ran alone, before the task is given up
IDLE = 300  # seconds after which a worker of this machine that has no task ends
PATIENCE = 2.0  # seconds that loky has to take the tasks that it was given, before it is shut down
LOOK = 1.0  # seconds between two looks at the pool while tasks run

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")}
ONE_THREAD["VECLIB_MAXIMUM_THREADS"] = "1"


class WorkerLostError(LostError):
    """A task killed its worker again and again."""

    hint = f"{LostError.hint}, and takes less memory with --jobs 1"


@dataclass(frozen=True)
class Workers:
    """Who runs tasks.

    Attributes
    ----------
    count : int
        Processes of this machine; with 1, this process runs the tasks. A cluster has its own number of workers.
    backend : {"loky", "dask"}
    scheduler : str, optional
        URI of a Dask scheduler, such as ``tcp://127.0.0.1:8786``.

    Raises
    ------
    UsageError
        If the scheduler is missing, malformed, or not for this backend.
    """

    count: int = 1
    backend: str = "loky"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.is_cluster and self.scheduler is None:
            raise UsageError("--backend dask needs --scheduler tcp://HOST:PORT, got none")
        if self.scheduler is not None:
            from qwerties.execution.cluster import URI

            if not self.is_cluster:
                raise UsageError(f"--scheduler needs --backend dask, got --backend {self.backend}")
            parts = URI.fullmatch(self.scheduler)
            if not parts or not 0 < int(parts[3]) < 2**16:
                raise UsageError(
                    f"--scheduler must look like tcp://HOST:PORT or tls://HOST:PORT, got {self.scheduler!r}"
                )

    @property
    def is_cluster(self) -> bool:
        """Whether tasks run on a Dask cluster."""
        return self.backend == "dask"

    @contextmanager
    def started(self, module: str) -> Iterator[None]:
        """Start this machine's processes ahead of the block's tasks, which will need a module; an error ends them."""
        pool = _Processes(self.count)
        loading: list[Future] = []
        try:
            if not self.is_cluster and self.count > 1:
                with suppress(FailedError):  # tasks that need processes will tell
                    loading += [pool.submit(load, (module,)) for _ in range(self.count)]
            yield
        except BaseException:
            pool.close(loading)
            raise


def cores() -> int:
    """Return the number of cores that this process may use, by its affinity and by its container's quota."""
    try:
        return int(_loky().cpu_count())
    except ValueError:  # of LOKY_MAX_CPU_COUNT
        value = os.environ.get("LOKY_MAX_CPU_COUNT")
        raise UsageError(f"LOKY_MAX_CPU_COUNT must be a whole number above 0, got {value!r}") from None


def _loky() -> Any:
    """Import loky, which is slow, and silence warnings of what is handled here: grown workers, a read-only /dev/shm."""
    for message in ("A worker stopped while some jobs", ".*joblib will operate in serial mode"):
        warnings.filterwarnings("ignore", message, UserWarning)
    from joblib.externals import loky

    return loky


def run_tasks(
    function: Callable[..., Any],
    tasks: Iterable[tuple],
    workers: Workers,
    *,
    log: Callable[[str], None] = lambda line: None,
    name: Callable[[tuple], str] = str,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Any]]:
    """Call a function with every task's arguments; repeat what a lost worker had in hand.

    Parameters
    ----------
    function : callable
        A module's function, which other processes find by its name.
    tasks : iterable of tuple
        Arguments; read as workers become free.
    workers : Workers
        This process runs the tasks itself if there is one worker of this machine, or one task for them.
    log : callable
        Takes a line for the user.
    name : callable
        Names a task, for the error if it is given up.
    meanwhile : callable
        Called once by this process while workers do the first tasks; before them if this process runs the tasks.

    Yields
    ------
    (int, object)
        Index in ``tasks`` and result, in the order of completion.

    Raises
    ------
    WorkerLostError
        If a task killed its worker `MAX_DEATHS` times, or as often as a cluster's scheduler allows.
    LostError
        If the scheduler went away.
    """
    todo: Iterator[_Task] = (_Task(index, arguments) for index, arguments in enumerate(tasks))
    first = list(itertools.islice(todo, 2))
    todo = itertools.chain(first, todo)
    if not first or (not workers.is_cluster and (workers.count == 1 or len(first) == 1)):
        meanwhile()
        for task in todo:
            yield task.index, call(function, task.arguments)
        return
    pool: Cluster | _Processes = _Processes(workers.count)
    if workers.scheduler is not None:
        from qwerties.execution.cluster import Cluster

        pool = Cluster(workers.scheduler, log)
    yield from _run_window(function, todo, pool, log, name, meanwhile)
    if workers.is_cluster:
        pool.close()


@dataclass(eq=False)
class _Task:
    index: int
    arguments: tuple
    deaths: int = 0


def _run_window(
    function: Callable[..., Any],
    todo: Iterator[_Task],
    pool: Cluster | _Processes,
    log: Callable[[str], None],
    name: Callable[[tuple], str],
    meanwhile: Callable[[], None],
) -> Iterator[tuple[int, Any]]:
    """Keep a bounded number of tasks in the hands of the pool's workers; parameters and results as in `run_tasks`."""
    in_hand: dict[Future, _Task] = {}
    again: deque[_Task] = deque()  # of lost workers; each runs alone, so that the one that kills is found

    def submit() -> None:
        """Fill the window of tasks in hand."""
        while len(in_hand) < (1 if again or any(t.deaths for t in in_hand.values()) else pool.window):
            task = again.popleft() if again else next(todo, None)
            if task is None:
                return
            in_hand[pool.submit(function, task.arguments)] = task

    try:
        submit()
        meanwhile()
        while in_hand:
            done = wait(in_hand, timeout=LOOK, return_when=FIRST_COMPLETED).done
            pool.check()
            if not done:
                submit()  # workers may have joined
                continue
            future = done.pop()
            task = in_hand.pop(future)
            try:
                result = future.result()
            except CancelledError:  # by the cluster: its scheduler is gone, or all workers that had this task
                pool.check(at_once=True)
                again.append(task)
            except BrokenProcessPool:  # when one process is lost, loky ends the others
                broken = [f for f in in_hand if isinstance(f.exception(), BrokenProcessPool)]
                lost = [task, *map(in_hand.pop, broken)]
                for task in lost:
                    task.deaths += 1
                again.extendleft(reversed(lost))  # at once, until one is done or given up
                if task_lost := next((task for task in lost if task.deaths == MAX_DEATHS), None):
                    raise _given_up(task_lost, name) from None
                log(LOST)
            except pool.given_up:
                raise _given_up(task, name) from None
            else:
                index = task.index
                del future, done, task  # they hold the result, too
                yield index, result
                del result
            submit()
    except BaseException:
        pool.close(in_hand)
        raise


def _given_up(task: _Task, name: Callable[[tuple], str]) -> WorkerLostError:
    return WorkerLostError(
        f"{name(task.arguments)}: every worker process that took it was lost, perhaps for want of memory"
    )


class _Processes:
    """Processes of this machine, by joblib's loky; they stay for the next tasks unless something went wrong."""

    given_up: tuple[type[Exception], ...] = ()

    def __init__(self, count: int) -> None:
        self.window = count + 1
        self._count = count
        self._executor: Any = None

    def submit(self, function: Callable[..., Any], arguments: tuple) -> Future:
        """Have a task done; by new processes, if the last ones were lost."""
        options = {"initializer": prepare_worker, "initargs": (os.getpid(),), "env": ONE_THREAD}
        try:
            with sparing_processes():
                self._executor = _loky().get_reusable_executor(self._count, timeout=IDLE, **options)
                return self._executor.submit(call, function, arguments)
        except BrokenProcessPool as error:  # a moment ago: the tasks in hand are broken, too
            failed: Future = Future()
            failed.set_exception(error)
            return failed
        except OSError as error:  # no semaphores (/dev/shm), processes or memory
            raise FailedError(
                f"worker processes cannot be started, --jobs 1 needs none: {reason_of(error)}"
            ) from error

    def check(self, at_once: bool = False) -> None:
        """Do nothing: loky notices lost processes by itself."""

    def close(self, pending: Iterable[Future] = ()) -> None:
        """End the processes, in mid-task."""
        end = time.monotonic() + PATIENCE
        # loky's own thread fails if it is shut down with a task that it has not taken yet
        while any(not (f.running() or f.done()) for f in pending) and time.monotonic() < end:
            time.sleep(0.005)
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
