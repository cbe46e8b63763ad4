"""Results as a Markdown table and as JSON, with the machine they are of."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, Row, Target

LIBRARIES = ("torch", "numpy", "mlflow", "optuna", "jax")
CLOSE = 1e-4  # losses within this of the notebook's loop are of the same work


def machine() -> dict[str, Any]:
    """Return processor, cores and versions."""
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "system": platform.system(),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def commit(root: Path) -> str:
    """Return the commit that is measured, with ``-dirty`` if files differ from it; ``unknown`` without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def load() -> float | None:
    """Return the load of the machine over the last minute, where it is known."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def to_json(results: Mapping[str, Result], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return every figure, fit for JSON; missing ones are null."""

    def rows(part: str, result: Result) -> list[dict[str, Any]]:
        return [{"part": part, **asdict(row), "median": _finite(row.median)} for row in result.rows]

    def targets(part: str, result: Result) -> list[dict[str, Any]]:
        return [{"part": part, **asdict(t), "value": _finite(t.value), "met": t.met} for t in result.targets]

    return {
        **about,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "rows": [row for part, result in results.items() for row in rows(part, result)],
        "targets": [target for part, result in results.items() for target in targets(part, result)],
    }


def _finite(value: float) -> float | None:
    return value if value == value else None


def differing(results: Mapping[str, Result]) -> list[Row]:
    """Return the rows whose losses are not the notebook's: they did other work."""
    rows = [row for result in results.values() for row in result.rows]
    return [row for row in rows if row.difference is not None and not row.difference <= CLOSE]


def table(results: Mapping[str, Result], about: Mapping[str, Any]) -> str:
    """Lay everything out in Markdown: two tables a part, and the machine."""
    lines: list[str] = []
    for name, result in results.items():
        lines += [
            f"**{name.capitalize()}**",
            "",
            "| | median | from – to | first / this | once before | work |",
        ]
        lines += ["|---|--:|--:|--:|--:|---|"]
        for group, rows in groupby(result.rows, key=lambda row: row.group):
            some = list(rows)
            lines += [f"| *{group}* | | | | | |", *(_row(row, some[0].median) for row in some)]
        lines += ["", "| compared | measured | target | met |", "|---|--:|--:|---|"]
        lines += [*map(_target, result.targets), ""]
    return "\n".join([*lines, _about(about)])


def _row(row: Row, first: float) -> str:
    if row.skipped:
        return f"| {row.name} | – | | | | skipped: {row.skipped} |"
    cells = (
        row.name,
        f"{figure(row.median)} {row.unit}",
        f"{figure(min(row.values))} – {figure(max(row.values))}" if len(row.values) > 1 else "once",
        figure(first / row.median),
        f"{figure(row.set_up)} s" if row.set_up is not None else "",
        row.work,
    )
    return f"| {' | '.join(cells)} |"


def _target(target: Target) -> str:
    bounds = {"at least": target.least, "at most": target.most}
    bound = "".join(f"{word} {figure(x)} {target.unit}" for word, x in bounds.items() if x is not None)
    value = f"{figure(target.value)} {target.unit}" if target.value == target.value else "not measured"
    met = {True: "yes", False: "**no**", None: ""}[target.met]
    return f"| {target.claim} | {value} | {bound} | {met} |"


def _about(about: Mapping[str, Any]) -> str:
    on = about["machine"]
    libraries = ", ".join(f"{name} {on[name]}" for name in LIBRARIES if on[name])
    return (
        f"Commit `{about['commit']}`, {on['processor']}, {on['cores']} cores, {on['system']}, Python {on['python']}, "
        f"{libraries}; load {about['load'][0]} before, {about['load'][1]} after. {about['repeats']} repeats, "
        f"interleaved; medians of wall time, {about['processes']} worker processes of one thread each unless the row "
        f"says otherwise{', sizes of --quick' if about['quick'] else ''}."
    )


def figure(value: float) -> str:
    """Write three significant digits, with commas, and never an exponent."""
    if value != value:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
