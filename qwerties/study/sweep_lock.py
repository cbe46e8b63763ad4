"""One sweep, or one making of a map, at a time in one store: others wait, and then find done what was done.

In a SQLite store this is a lock of the operating system beside the database, which ends with its process however that
ends. In a store that several machines share it is a lease: a tag of each experiment that is swept, or of the maps'
experiment. It is written, read back after a while to see whether another process wrote at the same moment, and renewed
while it is held; a lease that was not renewed for `EXPIRES` seconds, or whose process on this machine is gone, is free.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from qwerties.errors import FailedError
from qwerties.execution.processes import is_gone, is_local, process_words, this_process
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, store_failures
from qwerties.tracking.tags import LEASE, PROCESS

ABANDONED = 15 * 60.0  # seconds after which a RUNNING run of another host has lost its writer

# Seconds
EXPIRES = 120.0  # a lease that is not renewed
RENEWED = 30.0  # between renewals
SETTLES = 1.0  # until all processes see a lease
POLLED = 0.5  # between attempts


class LeaseLostError(FailedError):
    """Another process holds the lease that this one held."""


@contextmanager
def sweep_lock(
    store: Store, experiment_ids: Sequence[str], waiting: Callable[[str], None], part: str = ""
) -> Iterator[Callable[[], None]]:
    """Hold the store's lock for the block.

    Parameters
    ----------
    store : Store
    experiment_ids : sequence of str
        Experiments to be swept; a store that is a file is locked as a whole.
    waiting : callable
        Called once, with the name of the process that holds the lock, if it has to be waited for.
    part : str
        A name for what is made of these experiments; sweeps and other parts do not wait for it.

    Yields
    ------
    callable
        Raises `LeaseLostError` if another process has taken the lease, as after this one was suspended for longer than
        a lease lasts. To be called before a run is written.
    """
    suffix = f".{part}" if part else ""
    if store.file is not None:
        with _file_lock(store.file, suffix, waiting):
            yield lambda: None
    else:
        with _Lease(store, experiment_ids, LEASE + suffix).held(waiting) as check:
            yield check


@contextmanager
def _file_lock(database: Path, suffix: str, waiting: Callable[[str], None]) -> Iterator[None]:
    folder = database.parent / ".cache"
    folder.mkdir(exist_ok=True)
    name = f"{database.name}{suffix}"
    lock, holder = FileLock(folder / f"{name}.lock"), folder / f"{name}.holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            process = holder.read_text(encoding="utf-8", errors="replace")
        except OSError:  # it was not written yet
            process = ""
        waiting(process_words(process.strip()))
        lock.acquire(poll_interval=POLLED)
    try:
        holder.write_text(this_process(), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


class _Lease:
    """A tag of each experiment that says which process works at it, until when, and under which token."""

    def __init__(self, store: Store, ids: Sequence[str], tag: str) -> None:
        self.store, self.ids, self.tag, self.token = store, sorted(ids), tag, uuid.uuid4().hex

    @contextmanager
    def held(self, waiting: Callable[[str], None]) -> Iterator[Callable[[], None]]:
        """Hold the lease for the block; yield what raises `LeaseLostError` where another process has taken it."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(RENEWED):
                with suppress(*store_failures()):  # the server is away: whoever holds the lease will notice
                    if self.foreign_holder() is not None:
                        return  # `check` stops whoever works under the lease
                    self.write()

        def check() -> None:
            if (holder := self.foreign_holder()) is not None:
                raise LeaseLostError(
                    f"another sweep, {process_words(holder)}, has taken over meanwhile; the same command goes on when "
                    "it has ended"
                )

        try:
            has_waited = False
            while (holder := self.take()) is not None:
                if not has_waited:
                    has_waited = True
                    waiting(process_words(holder))
                time.sleep(POLLED + random.random())  # two that collide do not do so for ever
            threading.Thread(target=renew, daemon=True).start()
            yield check
        finally:  # also of one that was stopped while it took the lease: others need not wait until it expires
            over.set()
            self.end()

    def take(self) -> str | None:
        """Take the lease; return the process that holds it for one of the experiments, or None where it is ours."""
        holder = self.foreign_holder()
        if holder is None:
            began = time.monotonic()
            self.write()
            # as long again as the writing took: who wrote at the same moment may be as slow
            time.sleep(max(SETTLES, time.monotonic() - began))
            holder = self.foreign_holder()
        return holder

    def write(self) -> None:
        """Take or renew the lease, whoever holds it."""
        lease = {"process": this_process(), "token": self.token, "until": time.time() + EXPIRES}
        for experiment_id in self.ids:
            self.store.tag_experiment(experiment_id, self.tag, json.dumps(lease))

    def end(self) -> None:
        """Free what is ours; what another process has taken stays."""
        with suppress(*store_failures()):  # it expires
            stored = self.store.experiment_tags()
            for experiment_id in self.ids:
                if _parse(stored.get(experiment_id, {}).get(self.tag))[1] == self.token:
                    self.store.untag_experiment(experiment_id, self.tag)

    def foreign_holder(self) -> str | None:
        """Return the process that holds the lease of one of the experiments, if that is not ours."""
        for experiment_id, tags in self.store.experiment_tags().items():
            if experiment_id in self.ids:
                process, token, until = _parse(tags.get(self.tag))
                if process and token != self.token and until > time.time() and not is_gone(process):
                    return process
        return None


def _parse(tag: str | None) -> tuple[str, str, float]:
    """Return process, token and end of a lease; empty where a tag holds none."""
    try:
        lease = json.loads(tag or "{}")
        return str(lease.get("process", "")), str(lease.get("token", "")), float(lease.get("until", 0))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return "", "", 0.0  # somebody else's tag


def is_abandoned(run: Tracked) -> bool:
    """Return whether no process writes a RUNNING run any more.

    The process of another host cannot be asked; but as a run is written within seconds, one that is RUNNING for
    `ABANDONED` seconds has lost its writer.
    """
    process = run.tags.get(PROCESS, "")
    return is_gone(process) if is_local(process) else time.time() - run.start_time > ABANDONED
