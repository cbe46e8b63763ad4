"""The command: which parts, how often, and where the figures go.

Exit status: 0 done, whatever the figures say; 1 some way gave other losses than the notebook's loop, or a command
that was measured failed; 2 the request was wrong; 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from benchmarks.measure import Result, Settings
from qwerties.cli.project import enter_root
from qwerties.errors import FailedError, UsageError
from qwerties.execution.signals import asked, heeding_signals

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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _repeats(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_REPEATS):
        raise argparse.ArgumentTypeError(
            f"repeats must be a whole number from 1 to {MAX_REPEATS}, got {text!r}"
        )
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit status."""
    what = "Measure what the project costs, side by side with other ways to the same."
    parser = _Parser(prog="bench", description=what, allow_abbrev=False)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: {', '.join(DEFAULT)})"
    )
    parser.add_argument("--repeats", type=_repeats, default=3, metavar="N", help="of each way (default: 3)")
    parser.add_argument("--quick", action="store_true", help="small sizes: the figures mean little")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: {OUTPUT}")
    try:
        arguments = parser.parse_args(argv)
        for name in arguments.parts:
            if name not in PARTS:
                raise UsageError(f"a part must be one of {', '.join(PARTS)}, got {name!r}")
        output = arguments.output.resolve() if arguments.output else None
        if output and (output.is_dir() or not output.parent.is_dir()):
            raise UsageError(f"--output must be a file in a folder that exists, got {output}")
        parts = tuple(dict.fromkeys(arguments.parts)) or DEFAULT
        with heeding_signals():  # servers that a part has started must end with it
            return _run(enter_root(), parts, arguments.repeats, arguments.quick, output)
    except (UsageError, FailedError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\nbench: stopped; nothing is written", file=sys.stderr)
        return asked() or 130


def _run(root: Path, parts: Sequence[str], repeats: int, quick: bool, output: Path | None) -> int:
    from benchmarks import tables
    from qwerties.execution.workers import cores

    processes = min(PROCESSES, cores())
    # the processes that parts start, in folders of their own, import this package, which is not installed
    path = os.pathsep.join([str(root), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    commit, before, results = tables.commit(root), tables.load(), {}
    with patch.dict(os.environ, {"PYTHONPATH": path}):
        for name in parts:
            _log(name, "")
            results[name] = _measure(name, Settings(root, repeats, quick, processes, partial(_log, name)))
    about: dict[str, Any] = {
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
    part = target.with_suffix(".part")
    text = json.dumps(tables.to_json(results, about), indent=1, ensure_ascii=False, allow_nan=False)
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(target)
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
    """Measure one part in a folder of its own, which is where MLflow puts artifacts."""
    module, _, function = PARTS[name].partition(".")
    measure: Callable[[Settings, Path], Result] = getattr(import_module(f"benchmarks.{module}"), function)
    with patch.dict(os.environ), tempfile.TemporaryDirectory(prefix="qwerties-bench-") as folder:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        with chdir(folder):
            return measure(settings, Path(folder).resolve())
