"""``qwerties status``: what is planned, and what became of it, for the terminal and as JSON."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwerties.cli.parser import Parser
from qwerties.cli.project import enter_root, open_store
from qwerties.errors import NothingTrackedError, clean, plural
from qwerties.tracking.tags import FAILURE, PROCESS

if TYPE_CHECKING:
    from qwerties.study.coverage import Coverage, PlannedConfig
    from qwerties.tracking.records import Tracked
    from qwerties.tracking.store import Store

FORMAT = 2  # of the JSON; raised when a field changes its meaning or goes, not when one is added
MAX_LINES = 8  # configs of one experiment and one state that are listed one by one
COLUMNS = ("planned", "done", "missing", "running", "failed", "damaged", "stale", "superseded", "unplanned")
ALWAYS = ("planned", "done", "missing")  # columns that are there even where they hold zeros only

DESCRIPTION = "Planned and tracked, missing, failed, stale. Exit status 1 if the study is incomplete."
EXAMPLE = "qwerties status --json"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.flag("--json", "the same and more, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the coverage of every experiment; return 1 if the study is incomplete."""
    root = enter_root()
    try:
        with open_store(root, reads=True) as store:
            status = read_status(store)
    except NothingTrackedError:
        from qwerties.portability.relocate import database_of

        status = Status(f"sqlite:///{database_of(root)}", (), 0, 0)
    print(json.dumps(to_json(status), indent=1) if arguments.json else table(status))
    return 0 if status.complete else 1


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
    from qwerties.study.coverage import read_coverages
    from qwerties.tracking.uri import public_uri

    database = artifacts = None
    if store.file is not None:
        database = _size(Path(f"{store.file}{end}") for end in ("", "-wal", "-shm"))
    if (folders := store.artifact_folders()) is not None:
        artifacts = _size(
            Path(at, name) for folder in folders for at, _, names in os.walk(folder) for name in names
        )
    return Status(public_uri(store.uri), tuple(read_coverages(store)), database, artifacts)


def _size(paths: Iterable[Path]) -> int:
    size = 0
    for path in paths:
        with suppress(OSError):  # it is gone meanwhile
            size += path.lstat().st_size
    return size


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
    from qwerties.study.coverage import experiment_json

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
    from qwerties.portability.relocate import NOTHING
    from qwerties.study.coverage import experiment_json

    if not status.coverages:
        return NOTHING
    planned = [experiment_json(coverage) for coverage in status.coverages if coverage.plan is not None]
    columns = [name for name in COLUMNS if name in ALWAYS or any(counts[name] for counts in planned)]
    lines = aligned(
        [
            ("experiment", *columns),
            *((_name(c["experiment"]), *(f"{c[name]:,}" for name in columns)) for c in planned),
        ]
    )
    lines = lines if planned else []
    for coverage in status.coverages:
        about = [clean(problem) for problem in coverage.problems]
        if coverage.plan is None and not coverage.problems:
            about.append(f"{plural(len(coverage.loose), 'run')}, not part of a plan")
        if coverage.outdated:
            about.append("planned by other code; a sweep re-runs it")
        for state in ("running", "failed", "damaged"):
            entries = [entry for entry in coverage.entries if entry.state == state]
            about += [f"{clean(entry.name, 60)}: {_reason(entry)}" for entry in entries[:MAX_LINES]]
            if len(entries) > MAX_LINES:
                about.append(f"{len(entries) - MAX_LINES:,} more {state}")
        lines += [f"{_name(coverage.experiment_name)}: {text}" for text in about]
    sizes = {"database": status.database, "artifacts": status.artifacts}
    if disk := [f"{what} {_bytes(size)}" for what, size in sizes.items() if size is not None]:
        lines.append(f"disk used: {', '.join(disk)}")
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _name(experiment_name: str) -> str:
    return clean(experiment_name, 24)


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
