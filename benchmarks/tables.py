"""Results as a Markdown table and as JSON, with the machine they are of."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, Row, Target
from qwerties.execution.workers import cores
from qwerties.stats.intervals import plain

LIBRARIES = ("torch", "numpy", "mlflow", "optuna", "jax")
CLOSE = 1e-4  # losses within this of the notebook's loop are of the same work


def machine() -> dict[str, Any]:
    """Return processor, cores and versions."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text() if cpuinfo.exists() else "")
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        **versions,
    }


def commit(root: Path) -> str:
    """Return the commit that is measured, with ``-dirty`` if files differ from it; ``unknown`` without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def load() -> float | None:
    """Return the load of the machine over the last minute, where it is known."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def to_json(results: Mapping[str, Result], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return every figure, fit for JSON; missing ones are null."""
    rows = [(part, row) for part, result in results.items() for row in result.rows]
    targets = [(part, target) for part, result in results.items() for target in result.targets]
    return plain(
        {
            **about,
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "rows": [{"part": part, **asdict(row), "median": row.median} for part, row in rows],
            "targets": [{"part": part, **asdict(target), "met": target.met} for part, target in targets],
        }
    )


def differing(results: Mapping[str, Result]) -> list[Row]:
    """Return the rows whose losses are not the notebook's: they did other work."""
    rows = [row for result in results.values() for row in result.rows]
    return [row for row in rows if row.difference is not None and not row.difference <= CLOSE]


def table(results: Mapping[str, Result], about: Mapping[str, Any]) -> str:
    """Lay everything out in Markdown: two tables a part, and the machine."""
    lines: list[str] = []
    for name, result in results.items():
        lines += [f"**{name.capitalize()}**", ""]
        lines += ["| | median | from – to | first / this | once before | work |", "|---|--:|--:|--:|--:|---|"]
        for group, rows in groupby(result.rows, key=lambda row: row.group):
            some = list(rows)
            lines += [f"| *{group}* | | | | | |", *(_row(row, some[0].median) for row in some)]
        lines += ["", "| compared | measured | target | met |", "|---|--:|--:|---|"]
        lines += [*map(_target, result.targets), ""]
    on = about["machine"]
    libraries = ", ".join(f"{name} {on[name]}" for name in LIBRARIES if on[name])
    lines.append(
        f"Commit `{about['commit']}`, {on['processor']}, {on['cores']} cores, {on['system']}, Python {on['python']}, "
        f"{libraries}; load {about['load'][0]} before, {about['load'][1]} after. {about['repeats']} repeats, "
        f"interleaved; medians of wall time, {about['processes']} worker processes of one thread each unless the row "
        f"says otherwise{', sizes of --quick' if about['quick'] else ''}."
    )
    return "\n".join(lines)


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


def figure(value: float) -> str:
    """Write three significant digits, with commas, and never an exponent."""
    if value != value:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
