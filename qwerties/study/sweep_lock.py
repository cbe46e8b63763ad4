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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from qwerties.execution.processes import is_gone, is_local, this_process
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import STORE_FAILURES, Store
from qwerties.tracking.tags import PROCESS

LEASE = "qwerties.lease"
ABANDONED = 15 * 60.0  # seconds after which a RUNNING run of another host has lost its writer

EXPIRES, RENEWED, SETTLES, POLLED = 120.0, 30.0, 1.0, 0.5
"""Seconds: of a lease that is not renewed, between renewals, until a lease is seen by all, between two looks."""


@contextmanager
def turn(
    store: Store, experiment_ids: Sequence[str], waiting: Callable[[str], None], part: str = ""
) -> Iterator[None]:
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
    """
    suffix = f".{part}" if part else ""
    if store.file is not None:
        with _locked(store.file, suffix, waiting):
            yield
    else:
        with _leased(store, sorted(experiment_ids), LEASE + suffix, waiting):
            yield


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
def _leased(store: Store, ids: Sequence[str], tag: str, waiting: Callable[[str], None]) -> Iterator[None]:
    said = False
    while (holder := _try_lease(store, ids, tag)) is not None:
        if not said:
            said = True
            waiting(holder)
        time.sleep(POLLED + random.random())  # two that collide do not do so for ever
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEWED):
            with suppress(*STORE_FAILURES):  # the server is away: who holds the turn will notice
                _write(store, ids, tag)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        _end(store, ids, tag)


def _try_lease(store: Store, ids: Sequence[str], tag: str) -> str | None:
    """Take the leases; returns who holds one of them, None where they are ours."""
    holder = _foreign_holder(store, ids, tag)
    if holder is None:
        try:
            _write(store, ids, tag)
            time.sleep(SETTLES)
            holder = _foreign_holder(store, ids, tag)
        except KeyboardInterrupt:  # stopped: others need not wait until it expires
            _end(store, ids, tag)
            raise
    return holder


def _write(store: Store, ids: Sequence[str], tag: str) -> None:
    lease = json.dumps({"process": this_process(), "until": time.time() + EXPIRES})
    for experiment_id in ids:
        store.tag_experiment(experiment_id, tag, lease)


def _end(store: Store, ids: Sequence[str], tag: str) -> None:
    for experiment_id in ids:
        with suppress(*STORE_FAILURES):  # it expires
            store.untag_experiment(experiment_id, tag)


def _foreign_holder(store: Store, ids: Sequence[str], tag: str) -> str | None:
    for experiment_id, tags in store.experiment_tags().items():
        if experiment_id not in ids:
            continue
        try:
            lease = json.loads(tags.get(tag) or "{}")
            process, until = str(lease.get("process", "")), float(lease.get("until", 0))
        except (ValueError, TypeError, AttributeError):
            continue  # no lease of ours
        if process and process != this_process() and until > time.time() and not is_gone(process):
            return process
    return None


def is_abandoned(run: Tracked) -> bool:
    """Return whether nobody writes a RUNNING run any more.

    The process of another host cannot be asked; but as a run is written within seconds, one that is RUNNING for
    `ABANDONED` seconds has lost its writer.
    """
    process = run.tags.get(PROCESS, "")
    return is_gone(process) if is_local(process) else time.time() - run.start_time > ABANDONED
