"""``qwerties status``: what is planned, and what became of it, for the terminal and as JSON."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwerties.cli.parser import Parser
from qwerties.cli.project import enter_root, open_store
from qwerties.errors import NothingTrackedError, clean, nothing_tracked, plural
from qwerties.execution.processes import process_words
from qwerties.study.loading import RESERVED, experiment_files
from qwerties.tracking.tags import PREFIX

if TYPE_CHECKING:
    from qwerties.tracking.store import Store

FORMAT = 2  # of the JSON; raised when a field changes its meaning or goes, not when one is added
MAX_LINES = 8  # configs of one experiment and one state that are listed one by one
COLUMNS = ("planned", "done", "missing", "running", "failed", "damaged", "stale", "superseded", "unplanned")
ALWAYS = ("planned", "done", "missing")  # columns that are there even where they hold zeros only

DESCRIPTION = (
    "Show what is planned, done, missing, failed and stale. Exit status 1 if the study is incomplete."
)
EXAMPLE = "qwerties status --json"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.flag("--json", "the same and more, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the coverage of every experiment; return 1 if the study is incomplete."""
    root = enter_root()
    renamed: list[str] = []
    try:
        with open_store(root, reads=True) as store:
            status = read_status(store)
            renamed = store.renamed()
    except NothingTrackedError:
        from qwerties.portability.relocate import database_of

        status = _document(f"sqlite:///{database_of(root)}", [], 0, 0)
    if arguments.json:
        print(json.dumps(status, indent=1))
    else:
        print("\n".join([table(status), *_strays(root, status, renamed)]))
    return 0 if status["complete"] else 1


def _strays(root: Path, status: Mapping[str, Any], renamed: Iterable[str]) -> list[str]:
    """Name experiments without a file, and files without an experiment; nothing where nothing is tracked."""
    files = {path.stem for path in experiment_files(root)}
    tracked = {experiment["experiment"] for experiment in status["experiments"]}
    lost = [name for name in tracked - files - {*RESERVED} if not name.startswith("_")]
    lines = [
        f"{name}: renamed in MLflow, its runs do not count until its name begins with {PREFIX} again"
        for name in map(clean, renamed)
    ]
    why = "it was renamed or removed, or the experiment was renamed in MLflow"
    lines += [f"{name}: there is no experiments/{name}.py; {why}" for name in map(clean, sorted(lost))]
    new = ", ".join(sorted(files - tracked)) if tracked else ""
    return lines + ([f"not swept yet: {new}"] if new else [])


def read_status(store: Store) -> dict[str, Any]:
    """Read what a store covers, and what disk it takes.

    Returns
    -------
    dict
        Fit for JSON. ``format``; ``complete``: whether something is planned, all of it is done, and a sweep would not
        re-run it; ``store``, its URI without a password; ``experiments``, one object each, in the report's order:
        ``experiment`` (the file's name), ``title``, ``complete``, ``outdated`` (planned by other code, so that a sweep
        re-runs it), ``planned`` (configs; null without a plan), how many of them are ``done``, ``missing``,
        ``running``, ``failed``, ``damaged``, the numbers of runs that are ``stale``, ``superseded``, ``unplanned`` and
        ``loose`` (of an experiment without a plan), ``problems`` (text) and ``configs``: ``config`` (its name),
        ``state``, ``runs`` (ids of those that count) and ``others`` (of those that do not: ``run``, ``status``,
        ``process``, ``failure``, ``damage``). ``disk``: bytes of ``database`` and ``artifacts``, null where they are
        elsewhere.
    """
    from qwerties.study.coverage import experiment_json, read_coverages
    from qwerties.tracking.uri import public_uri

    database = artifacts = None
    if store.file is not None:
        database = _size(Path(f"{store.file}{end}") for end in ("", "-wal", "-shm"))
    if (folders := store.artifact_folders()) is not None:
        artifacts = _size(
            Path(at, name) for folder in folders for at, _, names in os.walk(folder) for name in names
        )
    experiments = list(map(experiment_json, read_coverages(store)))
    return _document(public_uri(store.uri), experiments, database, artifacts)


def _document(
    uri: str, experiments: list[dict[str, Any]], database: int | None, artifacts: int | None
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "complete": bool(experiments) and all(e["complete"] and not e["outdated"] for e in experiments),
        "store": uri,
        "experiments": experiments,
        "disk": {"database": database, "artifacts": artifacts},
    }


def _size(paths: Iterable[Path]) -> int:
    size = 0
    for path in paths:
        with suppress(OSError):  # it is gone meanwhile
            size += path.lstat().st_size
    return size


def table(status: Mapping[str, Any]) -> str:
    """Lay a status out in plain text."""
    experiments = status["experiments"]
    if not experiments:
        return nothing_tracked()
    planned = [experiment for experiment in experiments if experiment["planned"] is not None]
    columns = [name for name in COLUMNS if name in ALWAYS or any(counts[name] for counts in planned)]
    rows = [("experiment", *columns)] if planned else []
    rows += [(_name(counts), *(f"{counts[name]:,}" for name in columns)) for counts in planned]
    lines = aligned(rows)
    for experiment in experiments:
        about = list(map(clean, experiment["problems"]))
        if experiment["planned"] is None and not experiment["problems"]:
            about.append(f"{plural(experiment['loose'], 'run')}, not part of a plan")
        if experiment["outdated"]:
            about.append("its plan was stored by other code; a sweep runs it again")
        for state in ("running", "failed", "damaged"):
            configs = [config for config in experiment["configs"] if config["state"] == state]
            about += [f"{clean(config['config'], 60)}: {_reason(config)}" for config in configs[:MAX_LINES]]
            if len(configs) > MAX_LINES:
                about.append(f"{len(configs) - MAX_LINES:,} more {state}")
        lines += [f"{_name(experiment)}: {text}" for text in about]
    if disk := [f"{what} {_bytes(size)}" for what, size in status["disk"].items() if size is not None]:
        lines.append(f"disk used: {', '.join(disk)}")
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _name(experiment: Mapping[str, Any]) -> str:
    return clean(experiment["experiment"], 24)


def _reason(config: Mapping[str, Any]) -> str:
    """Return why a config is in its state."""
    others = config["others"]
    if config["state"] == "damaged":
        damaged = [run for run in others if run["damage"]]
        lost = [f"{clean(_some(run['damage']), 120)} of run {clean(run['run'], 40)}" for run in damaged]
        return f"damaged, {_some(lost)} is lost or altered; a sweep re-runs it"
    if config["state"] == "running":
        running = [run for run in others if run["status"] in ("RUNNING", "SCHEDULED")]
        return f"running, {_some(sorted({process_words(run['process'] or '') for run in running}))}"
    last = next(run for run in reversed(others) if run["status"] != "FINISHED")
    status = "killed" if last["status"] == "RUNNING" else last["status"].lower()  # its process is gone
    return f"{status}, {clean(last['failure'] or 'no reason is known')}"


def _some(texts: Sequence[str]) -> str:
    return ", ".join([*texts[:3], *([f"{len(texts) - 3:,} more"] if len(texts) > 3 else [])])


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"
