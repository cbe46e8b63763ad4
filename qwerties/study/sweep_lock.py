"""One sweep, or one making of a map, at a time in one store: others wait for their turn, and find done what was done.

In a SQLite store the turn is a lock of the operating system beside the database, which ends with its process however
that ends. In a store that several machines share it is a lease, a tag of each experiment that is swept, or of the
maps' one: written, read back after a while to see whether somebody else wrote at the same moment, and renewed while it
is held; one that was not renewed for `EXPIRES` seconds, or whose process on this machine is gone, is free.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from qwerties.errors import FailedError
from qwerties.execution.processes import is_gone, is_local, this_process
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import STORE_FAILURES, Store
from qwerties.tracking.tags import PROCESS

LEASE = "qwerties.lease"
ABANDONED = 15 * 60.0  # seconds after which a RUNNING run of another host has lost its writer

EXPIRES, RENEWED, SETTLES, POLLED = 120.0, 30.0, 1.0, 0.5
"""Seconds: of a lease that is not renewed, between renewals, until a lease is seen by all, between two looks."""


class LeaseLostError(FailedError):
    """Another process holds the lease that this one held."""


@contextmanager
def turn(
    store: Store, experiment_ids: Sequence[str], waiting: Callable[[str], None], part: str = ""
) -> Iterator[Callable[[], None]]:
    """Hold the store's turn for the block.

    Parameters
    ----------
    store : Store
    experiment_ids : sequence of str
        Those to be swept; of a store that is a file, all of it is held.
    waiting : callable
        Called once, with who holds the turn, if it has to be waited for.
    part : str
        What of these experiments is made, by a name; other parts, and sweeps, do not wait for it.

    Yields
    ------
    callable
        Raises `LeaseLostError` if somebody else has taken the turn since, as after this process was suspended for
        longer than a lease lasts. To be called before a run is ended.
    """
    suffix = f".{part}" if part else ""
    if store.file is not None:
        with _locked(store.file, suffix, waiting):
            yield lambda: None
    else:
        with _leased(store, sorted(experiment_ids), LEASE + suffix, waiting) as check:
            yield check


@contextmanager
def _locked(database: Path, suffix: str, waiting: Callable[[str], None]) -> Iterator[None]:
    folder = database.parent / ".cache"
    folder.mkdir(exist_ok=True)
    name = f"{database.name}{suffix}"
    lock, holder = FileLock(folder / f"{name}.lock"), folder / f"{name}.holder"
    said = False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            if not said:
                said = True
                try:
                    waiting(holder.read_text(encoding="utf-8").strip())
                except OSError:
                    waiting("of another process")
            time.sleep(POLLED)
    try:
        holder.write_text(this_process(), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def _leased(
    store: Store, ids: Sequence[str], tag: str, waiting: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    lease = _Lease(store, ids, tag, uuid.uuid4().hex)
    told = False
    while (holder := lease.take()) is not None:
        if not told:
            told = True
            waiting(holder)
        time.sleep(POLLED + random.random())  # two that collide do not do so for ever
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEWED):
            with suppress(*STORE_FAILURES):  # the server is away: who holds the turn will notice
                if lease.foreign_holder() is not None:
                    return  # `check` tells whoever works under the lease
                lease.write()

    threading.Thread(target=renew, daemon=True).start()
    try:
        yield lease.check
    finally:
        over.set()
        lease.end()


@dataclass(frozen=True)
class _Lease:
    """A tag of each experiment that says which process works at it, until when, and under which token."""

    store: Store
    ids: Sequence[str]
    tag: str
    token: str

    def take(self) -> str | None:
        """Take the lease; return who holds it for one of the experiments, or None where it is ours."""
        holder = self.foreign_holder()
        if holder is None:
            try:
                self.write()
                time.sleep(SETTLES)
                holder = self.foreign_holder()
            except KeyboardInterrupt:  # stopped: others need not wait until it expires
                self.end()
                raise
        return holder

    def check(self) -> None:
        """Raise `LeaseLostError` where another process has taken the lease."""
        if (holder := self.foreign_holder()) is not None:
            raise LeaseLostError(
                f"another sweep, {holder}, has taken over meanwhile; the same command goes on when it has ended"
            )

    def write(self) -> None:
        lease = {"process": this_process(), "token": self.token, "until": time.time() + EXPIRES}
        for experiment_id in self.ids:
            self.store.tag_experiment(experiment_id, self.tag, json.dumps(lease))

    def end(self) -> None:
        """Free what is ours; what another process has taken stays."""
        with suppress(*STORE_FAILURES):  # it expires
            held = self.store.experiment_tags()
            for experiment_id in self.ids:
                if _read(held.get(experiment_id, {}).get(self.tag))[1] == self.token:
                    self.store.untag_experiment(experiment_id, self.tag)

    def foreign_holder(self) -> str | None:
        """Return the process that holds the lease of one of the experiments, if that is not ours."""
        for experiment_id, tags in self.store.experiment_tags().items():
            if experiment_id in self.ids:
                process, token, until = _read(tags.get(self.tag))
                if process and token != self.token and until > time.time() and not is_gone(process):
                    return process
        return None


def _read(tag: str | None) -> tuple[str, str, float]:
    """Return process, token and end of a lease; empty where a tag holds none."""
    try:
        lease = json.loads(tag or "{}")
        return str(lease.get("process", "")), str(lease.get("token", "")), float(lease.get("until", 0))
    except (ValueError, TypeError, AttributeError):
        return "", "", 0.0  # somebody else's tag


def is_abandoned(run: Tracked) -> bool:
    """Return whether nobody writes a RUNNING run any more.

    The process of another host cannot be asked; but as a run is written within seconds, one that is RUNNING for
    `ABANDONED` seconds has lost its writer.
    """
    process = run.tags.get(PROCESS, "")
    return is_gone(process) if is_local(process) else time.time() - run.start_time > ABANDONED
