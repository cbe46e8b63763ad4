"""What is planned, and what became of it, for the terminal and as JSON: ``qwerties status``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwerties.errors import clean, plural
from qwerties.portability.relocate import NOTHING
from qwerties.study.coverage import COUNTED, Coverage, PlannedConfig, checked_coverages, experiment_json
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import FAILURE, PROCESS
from qwerties.tracking.uri import public_uri

FORMAT = 1
"""Of the JSON; raised when a field changes its meaning, not when one is added."""

ALWAYS = ("planned", "done", "missing")
"""Columns that are there even where they hold zeros only."""

MAX_LINES = 8
"""Configs of one experiment and one state that are told one by one."""


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
        """Whether something is planned, and all of it is done."""
        return bool(self.coverages) and all(coverage.complete for coverage in self.coverages)


def read_status(store: Store) -> Status:
    """Read how a store stands, and what disk it takes."""
    database = None
    if store.file is not None:
        database = sum(_size(Path(f"{store.file}{end}")) for end in ("", "-wal", "-shm"))
    folders = store.artifact_folders()
    artifacts = None if folders is None else sum(map(_size_of_all, folders))
    return Status(public_uri(store.uri), tuple(checked_coverages(store)), database, artifacts)


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
        (the file's stem), ``title``, ``complete``, ``planned`` (configs; null without a plan), how many of them are
        ``done``, ``missing``, ``running``, ``failed``, ``lost``, the numbers of runs that are ``stale``,
        ``superseded``, ``unplanned`` and ``loose`` (of an experiment without a plan), ``problems`` (text) and
        ``configs``: ``config`` (its name), ``state``, ``runs`` (ids of those that count) and ``others`` (of those
        that do not: ``run``, ``status``, ``process``, ``failure``). ``disk``: bytes of ``database`` and
        ``artifacts``, null where they are elsewhere.
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
    shown = [name for name in rows[0] if name in ALWAYS or any(row[name] for row in rows)] if rows else []
    lines = [("experiment", *shown)] if rows else []
    lines += [
        (_stem(coverage), *(f"{row[name]:,}" for name in shown))
        for coverage, row in zip(planned, rows, strict=True)
    ]
    first = max(len(_stem(coverage)) for coverage in status.coverages)
    first = max(first, *(len(line[0]) for line in lines)) if lines else first
    told = [
        "  ".join(
            [
                line[0].ljust(first),
                *(cell.rjust(len(name)) for cell, name in zip(line[1:], shown, strict=True)),
            ]
        )
        for line in lines
    ]
    told += [
        f"{_stem(coverage).ljust(first)}  {plural(len(coverage.loose), 'run')}, not part of a plan"
        for coverage in status.coverages
        if coverage.plan is None and not coverage.problems
    ]
    for coverage in status.coverages:
        told += [f"{_stem(coverage)}: {clean(problem)}" for problem in coverage.problems]
        for state in ("running", "failed", "lost"):
            told += _details(coverage, state)
    disk = [
        f"{what} {_bytes(size)}"
        for what, size in (("database", status.database), ("artifacts", status.artifacts))
        if size is not None
    ]
    return "\n".join(told + ([f"disk used: {', '.join(disk)}"] if disk else []))


def _stem(coverage: Coverage) -> str:
    return clean(coverage.experiment_name, 24)


def _counts(coverage: Coverage) -> dict[str, int]:
    return {
        "planned": len(coverage.entries),
        **{state: coverage.count(state) for state in COUNTED},
        "stale": coverage.stale,
        "superseded": coverage.superseded,
        "unplanned": coverage.unplanned,
    }


def _details(coverage: Coverage, state: str) -> list[str]:
    entries = [entry for entry in coverage.entries if entry.state == state]
    lines = [
        f"{_stem(coverage)}: {clean(entry.name, 60)}: {_why(entry, state)}" for entry in entries[:MAX_LINES]
    ]
    more = len(entries) - len(lines)
    return [*lines, *([f"{_stem(coverage)}: {more:,} more {state}"] if more else [])]


def _why(entry: PlannedConfig, state: str) -> str:
    if state == "lost":
        runs = [clean(run.run_id, 40) for run in entry.others if run.status == "FINISHED"]
        return f"lost, seeds.csv of run {_some(runs)} is not there; a sweep makes it anew"
    if state == "running":
        open_ = [run for run in entry.others if run.status in ("RUNNING", "SCHEDULED")]
        return f"running, {_some(sorted({_whose(run) for run in open_}))}"
    last = next(run for run in reversed(entry.others) if run.status in ("FAILED", "KILLED"))
    return f"{last.status.lower()}, {clean(last.tags.get(FAILURE) or 'no reason is known')}"


def _whose(run: Tracked) -> str:
    """Host and process id of the tag, whatever else it holds."""
    host, pid = [*run.tags.get(PROCESS, "").split(":"), ""][:2]
    return f"process {clean(pid, 20)} on {clean(host, 40)}" if host and pid else "by whom is not known"


def _some(texts: Sequence[str]) -> str:
    return ", ".join([*texts[:3], *([f"{len(texts) - 3:,} more"] if len(texts) > 3 else [])])


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"
