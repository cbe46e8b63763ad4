"""What is planned, and what became of it, for the terminal and as JSON: ``qwerties status``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwerties.errors import clean, plural
from qwerties.portability.relocate import NOTHING
from qwerties.study.coverage import CONFIG_STATES, Coverage, PlannedConfig, experiment_json, read_coverages
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import FAILURE, PROCESS
from qwerties.tracking.uri import public_uri

FORMAT = 2  # of the JSON; raised when a field changes its meaning or goes, not when one is added
MAX_LINES = 8  # configs of one experiment and one state that are listed one by one
ALWAYS = ("planned", "done", "missing")  # columns that are there even where they hold zeros only


@dataclass(frozen=True)
class Status:
    """The coverages of a store, and the disk they take.

    Attributes
    ----------
    uri : str
        Of the store, without its password.
    coverages : tuple of Coverage
        One per experiment, in the report's order.
    database, artifacts : int or None
        Bytes; None where they do not lie on this machine.
    """

    uri: str
    coverages: tuple[Coverage, ...]
    database: int | None
    artifacts: int | None

    @property
    def complete(self) -> bool:
        """Whether something is planned, all of it is done, and a sweep would not re-run it."""
        return bool(self.coverages) and all(c.complete and not c.outdated for c in self.coverages)


def read_status(store: Store) -> Status:
    """Read what a store covers, and what disk it takes."""
    database = None
    if store.file is not None:
        database = sum(_size(Path(f"{store.file}{end}")) for end in ("", "-wal", "-shm"))
    folders = store.artifact_folders()
    artifacts = None if folders is None else sum(map(_size_of_all, folders))
    return Status(public_uri(store.uri), tuple(read_coverages(store)), database, artifacts)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _size_of_all(folder: Path) -> int:
    return sum(_size(Path(at, name)) for at, _, names in os.walk(folder) for name in names)


def to_json(status: Status) -> dict[str, Any]:
    """Put a status into one document.

    Returns
    -------
    dict
        Fit for JSON. ``format``; ``complete``; ``store``, its URI; ``experiments``, one object each: ``experiment``
        (the file's name), ``title``, ``complete``, ``outdated`` (planned by other code, so that a sweep re-runs it),
        ``planned`` (configs; null without a plan), how many of them are ``done``, ``missing``, ``running``,
        ``failed``, ``damaged``, the numbers of runs that are ``stale``, ``superseded``, ``unplanned`` and ``loose``
        (of an experiment without a plan), ``problems`` (text) and ``configs``: ``config`` (its name), ``state``,
        ``runs`` (ids of those that count) and ``others`` (of those that do not: ``run``, ``status``, ``process``,
        ``failure``, ``damage``). ``disk``: bytes of ``database`` and ``artifacts``, null where they are elsewhere.
    """
    return {
        "format": FORMAT,
        "complete": status.complete,
        "store": status.uri,
        "experiments": [experiment_json(coverage) for coverage in status.coverages],
        "disk": {"database": status.database, "artifacts": status.artifacts},
    }


# For the terminal


def table(status: Status) -> str:
    """Lay a status out in plain text."""
    if not status.coverages:
        return NOTHING
    planned = [coverage for coverage in status.coverages if coverage.plan is not None]
    rows = [_counts(coverage) for coverage in planned]
    columns = [name for name in rows[0] if name in ALWAYS or any(row[name] for row in rows)] if rows else []
    cells = [("experiment", *columns)] if rows else []
    cells += [
        (_name(coverage), *(f"{row[name]:,}" for name in columns))
        for coverage, row in zip(planned, rows, strict=True)
    ]
    width = max(len(name) for name in ("experiment" if rows else "", *map(_name, status.coverages)))
    widths = [max(len(row[i]) for row in cells) for i in range(1, len(columns) + 1)]
    lines = ["  ".join([row[0].ljust(width), *map(str.rjust, row[1:], widths)]) for row in cells]
    lines += [
        f"{_name(coverage).ljust(width)}  {plural(len(coverage.loose), 'run')}, not part of a plan"
        for coverage in status.coverages
        if coverage.plan is None and not coverage.problems
    ]
    for coverage in status.coverages:
        lines += [f"{_name(coverage)}: {clean(problem)}" for problem in coverage.problems]
        if coverage.outdated:
            lines.append(f"{_name(coverage)}: planned by other code; a sweep re-runs it")
        for state in ("running", "failed", "damaged"):
            lines += _details(coverage, state)
    sizes = {"database": status.database, "artifacts": status.artifacts}
    disk = [f"{what} {_bytes(size)}" for what, size in sizes.items() if size is not None]
    return "\n".join(lines + ([f"disk used: {', '.join(disk)}"] if disk else []))


def _name(coverage: Coverage) -> str:
    return clean(coverage.experiment_name, 24)


def _counts(coverage: Coverage) -> dict[str, int]:
    return {
        "planned": len(coverage.entries),
        **{state: coverage.count(state) for state in CONFIG_STATES},
        "stale": coverage.stale,
        "superseded": coverage.superseded,
        "unplanned": coverage.unplanned,
    }


def _details(coverage: Coverage, state: str) -> list[str]:
    entries = [entry for entry in coverage.entries if entry.state == state]
    lines = [f"{_name(coverage)}: {clean(entry.name, 60)}: {_reason(entry)}" for entry in entries[:MAX_LINES]]
    others = len(entries) - len(lines)
    return [*lines, *([f"{_name(coverage)}: {others:,} more {state}"] if others else [])]


def _reason(entry: PlannedConfig) -> str:
    if entry.state == "damaged":
        damaged = [
            f"{clean(_some(words), 120)} of run {clean(run_id, 40)}" for run_id, words in entry.damage.items()
        ]
        return f"damaged, {_some(damaged)} is lost or altered; a sweep re-runs it"
    if entry.state == "running":
        running = [run for run in entry.others if run.status in ("RUNNING", "SCHEDULED")]
        return f"running, {_some(sorted({_writer(run) for run in running}))}"
    last = next(run for run in reversed(entry.others) if run.status != "FINISHED")
    status = "killed" if last.status == "RUNNING" else last.status.lower()  # its process is gone
    return f"{status}, {clean(last.tags.get(FAILURE) or 'no reason is known')}"


def _writer(run: Tracked) -> str:
    """Return host and process id of the tag, whatever else it holds."""
    host, pid = [*run.tags.get(PROCESS, "").split(":"), ""][:2]
    return f"process {clean(pid, 20)} on {clean(host, 40)}" if host and pid else "by an unknown process"


def _some(texts: Sequence[str]) -> str:
    return ", ".join([*texts[:3], *([f"{len(texts) - 3:,} more"] if len(texts) > 3 else [])])


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"
