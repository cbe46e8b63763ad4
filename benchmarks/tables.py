"""What was found, on paper: a Markdown table, JSON, and the machine it is of."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.measure import Found, Row, Target

LIBRARIES = ("torch", "numpy", "mlflow", "optuna", "jax")

TITLES = {
    "training": "Training",
    "tracking": "Writing a run's losses",
    "network": "A tracked network",
    "server": "A run in a shared store",
    "growth": "Growth",
    "map": "Maps",
    "gpu": "A GPU",
    "tuning": "Tuning",
    "sweep": "The whole sweep",
}

CLOSE = 1e-4
"""Losses within this of the notebook's loop are of the same work."""


def machine() -> dict[str, Any]:
    """Processor, cores and versions."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def commit(root: Path) -> str:
    """The commit that is measured, with ``-dirty`` where files differ from it; ``unknown`` without git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude", "*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def load() -> list[float] | None:
    """Load of the machine over 1, 5 and 15 minutes, where it is known."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def to_json(found: Mapping[str, Found], about: Mapping[str, Any]) -> dict[str, Any]:
    """Every figure, fit for JSON; what is missing is null."""
    return {
        **about,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "rows": [
            {**asdict(row), "value": _finite(row.value)} for part in found.values() for row in part.rows
        ],
        "targets": [
            {**asdict(target), "value": _finite(target.value), "met": target.met}
            for part in found.values()
            for target in part.targets
        ],
    }


def _finite(value: float) -> float | None:
    return value if value == value else None


def differing(found: Mapping[str, Found]) -> list[Row]:
    """Rows whose losses are not the notebook's: they did other work."""
    return [
        row
        for part in found.values()
        for row in part.rows
        if row.difference is not None and not row.difference <= CLOSE
    ]


def table(found: Mapping[str, Found], about: Mapping[str, Any]) -> str:
    """Lay everything out in Markdown: a table a part, what is held to a target, and the machine."""
    lines: list[str] = []
    for name, part in found.items():
        lines += [f"**{TITLES[name]}**", ""]
        lines += ["| what | median | from – to | CPU | rate | first / this | once before | work |"]
        lines += ["|---|--:|--:|--:|--:|--:|--:|---|"]
        for group, rows in groupby(part.rows, key=lambda row: row.group):
            lines += _group(group, list(rows))
        lines += ["", "| compared | measured | target | met |", "|---|--:|--:|---|"]
        lines += [_target(target) for target in part.targets] + [""]
    return "\n".join([*lines, _about(about)])


def _group(group: str, rows: Sequence[Row]) -> list[str]:
    lines = [f"| *{group}* | | | | | | | |"]
    first = rows[0].value
    for row in rows:
        if row.skipped:
            lines.append(f"| {row.name} | – | | | | | | skipped: {row.skipped} |")
            continue
        cells = (
            row.name,
            f"{figure(row.value)} {row.unit.split(' of ')[0]}",
            f"{figure(min(row.wall))} – {figure(max(row.wall))}" if len(row.wall) > 1 else "once",
            figure(sorted(row.cpu)[len(row.cpu) // 2]) if row.cpu else "",
            f"{figure(1000 / row.value)}/s" if row.unit.startswith("ms/") else "",
            figure(first / row.value),
            f"{figure(row.set_up)} s" if row.set_up is not None else "",
            "; ".join(filter(None, (row.work, row.note))),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _target(target: Target) -> str:
    bound = ""
    if target.least is not None:
        bound = f"at least {figure(target.least)} {target.unit}"
    elif target.most is not None:
        bound = f"at most {figure(target.most)} {target.unit}"
    value = f"{figure(target.value)} {target.unit}" if target.value == target.value else "not measured"
    met = {True: "yes", False: "**no**", None: ""}[target.met]
    return f"| {target.claim} | {value} | {bound} | {met} |"


def _about(about: Mapping[str, Any]) -> str:
    on = about["machine"]
    libraries = ", ".join(f"{name} {on[name]}" for name in LIBRARIES if on[name])
    load = about["load"]
    busy = f"; load {load['before'][0]} before, {load['after'][0]} after" if load["before"] else ""
    return (
        f"Commit `{about['commit']}`, {on['processor']}, {on['cores']} cores, {on['system']}, Python {on['python']}, "
        f"{libraries}{busy}. {about['repeats']} repeats, interleaved; medians of wall time, {about['processes']} "
        f"worker processes of one thread each unless the row says otherwise"
        f"{', sizes of --quick' if about['quick'] else ''}."
    )


def figure(value: float) -> str:
    """Three digits that matter, with commas, and never an exponent."""
    if value != value:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
