"""Artifacts of many runs, each read once: those of a server by a few threads, ahead of who looks at them."""

from __future__ import annotations

import functools
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath

from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import ARTIFACTS
from qwerties.tracking.uri import is_on_disk

THREADS = 4
"""Requests to a server at once."""

AHEAD = 4
"""Runs whose artifacts may be in memory before they are looked at."""

Read = Callable[[str], bytes]
"""Gives the bytes of one artifact of a run by its path, or raises StoreError."""


def reader(store: Store, run: Tracked) -> Read:
    """What reads a run's artifacts when it is asked for them."""
    return functools.partial(store.read, run)


def readers(store: Store, runs: Iterable[Tracked]) -> Iterator[Read]:
    """What reads each run's artifacts, one run after the other.

    Those on this machine are read when they are asked for. Of others, all that have a digest are under way before.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")
    ahead: deque[Read] = deque()
    try:
        for run in runs:
            ahead.append(_fetching(store, run, pool))
            if len(ahead) > AHEAD:
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()
    except BaseException:  # nobody asks for the others any more
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _fetching(store: Store, run: Tracked, pool: ThreadPoolExecutor) -> Read:
    direct = reader(store, run)
    if is_on_disk(run.artifact_uri):
        return direct
    coming: dict[str, Future[bytes]] = {path: pool.submit(direct, path) for path in _paths(run)}
    return lambda path: coming[path].result() if path in coming else direct(path)


def _paths(run: Tracked) -> list[str]:
    """Paths of the artifacts that have a digest and lie within the run; none where that cannot be told."""
    try:
        return [path for path in dict(json.loads(run.tags.get(ARTIFACTS, "{}"))) if is_inside(path)]
    except (ValueError, TypeError, RecursionError):
        return []


def is_inside(path: str) -> bool:
    """Whether an artifact's path lies within its run."""
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
