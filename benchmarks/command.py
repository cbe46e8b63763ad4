"""The command: which parts, how often, and where the figures go.

Exit status: 0 done, whatever the figures say; 1 some way gave other losses than the notebook's loop, or a command
that was measured failed; 2 the request was wrong; 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from functools import partial
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks import tables
from benchmarks.measure import Result, Settings
from qwerties.cli.parser import Parser, count, output_file
from qwerties.cli.project import enter_root
from qwerties.errors import FailedError, UsageError
from qwerties.execution.signals import asked, heeding_signals
from qwerties.execution.workers import cores

# Name -> function of a module, imported when asked for
PARTS = {
    "training": "training.measure",
    "tracking": "tracking.measure",
    "network": "tracking.measure_network",
    "server": "tracking.measure_server",
    "growth": "growth.measure",
    "map": "maps.measure",
    "gpu": "gpu.measure",
    "tuning": "tuning.measure",
    "sweep": "sweep.measure",
}
# All but what needs a GPU, and the whole sweep, which takes a quarter of an hour by itself
DEFAULT = ("training", "tracking", "network", "server", "growth", "map", "tuning")
MAX_REPEATS, PROCESSES = 99, 2
OUTPUT = Path("reports", "bench.json")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit status."""
    what = "Measure what the project costs, side by side with other ways to the same."
    parser = Parser(prog="bench", description=what)
    parts_help = f"of {', '.join(PARTS)} (default: {', '.join(DEFAULT)})"
    parser.add_argument("parts", nargs="*", choices=PARTS, metavar="PART", help=parts_help)
    parser.option("--repeats", count(MAX_REPEATS), "N", "of each way", 3)
    parser.flag("--quick", "small sizes: the figures mean little")
    parser.option("--output", output_file, "FILE", f"default: {OUTPUT}")
    try:
        arguments = parser.parse_args(argv)
        parts = tuple(dict.fromkeys(arguments.parts)) or DEFAULT
        with heeding_signals():  # servers that a part has started must end with it
            return _run(enter_root(), parts, arguments.repeats, arguments.quick, arguments.output)
    except (UsageError, FailedError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\nbench: stopped; nothing is written", file=sys.stderr)
        return asked() or 130


def _run(root: Path, parts: Sequence[str], repeats: int, quick: bool, output: Path | None) -> int:
    processes = min(PROCESSES, cores())
    # the processes that parts start, in folders of their own, import this package, which is not installed
    path = os.pathsep.join([str(root), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    commit, before, results = tables.commit(root), tables.load(), {}
    with patch.dict(os.environ, {"PYTHONPATH": path}):
        for name in parts:
            _log(name, "")
            results[name] = _measure(name, Settings(root, repeats, quick, processes, partial(_log, name)))
    about = {
        "commit": commit,
        "machine": tables.machine(),
        "load": [before, tables.load()],
        "repeats": repeats,
        "processes": processes,
        "quick": quick,
    }
    print(tables.table(results, about))
    target = output or root / OUTPUT
    target.parent.mkdir(exist_ok=True)
    text = json.dumps(tables.to_json(results, about), indent=1, ensure_ascii=False, allow_nan=False)
    target.write_text(text + "\n", encoding="utf-8")
    print(f"every figure: {output or OUTPUT}")
    differing = tables.differing(results)
    for row in differing:
        print(
            f"bench: {row.group}, {row.name}: losses must be within {tables.CLOSE:g} of the notebook's loop, "
            f"got {row.difference:.3g}",
            file=sys.stderr,
        )
    return 1 if differing else 0


def _log(part: str, line: str) -> None:
    print(f"measuring {part}{': ' if line else ''}{line}", file=sys.stderr, flush=True)


def _measure(name: str, settings: Settings) -> Result:
    """Measure one part by one thread, in a folder of its own, which is where MLflow puts artifacts."""
    module, _, function = PARTS[name].partition(".")
    measure: Callable[[Settings, Path], Result] = getattr(import_module(f"benchmarks.{module}"), function)
    threads = torch.get_num_threads()
    with patch.dict(os.environ), tempfile.TemporaryDirectory(prefix="qwerties-bench-") as folder:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        torch.set_num_threads(1)
        try:
            with chdir(folder):
                return measure(settings, Path(folder).resolve())
        finally:
            torch.set_num_threads(threads)
