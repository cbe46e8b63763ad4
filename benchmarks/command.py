"""The command: which parts, how often, and where the figures go.

Exit status: 0 done, whatever the figures say; 1 some way gave other losses than the notebook's loop, or a command
that was measured failed; 2 the request was wrong, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.measure import Found
from benchmarks.settings import Settings
from qwerties.cli.project import enter_root
from qwerties.errors import FailedError, UsageError
from qwerties.execution.signals import asked, heeding_signals

PARTS = {
    "training": ("training", "measure"),
    "tracking": ("tracking", "measure"),
    "network": ("tracking", "measure_network"),
    "server": ("shared", "measure"),
    "growth": ("growth", "measure"),
    "map": ("mapped", "measure"),
    "gpu": ("gpu", "measure"),
    "tuning": ("tuning", "measure"),
    "sweep": ("sweep", "measure"),
}
"""Name -> module and function; imported when asked for."""

DEFAULT = ("training", "tracking", "network", "server", "growth", "map", "tuning")
"""All but what needs a GPU, and the whole sweep, which takes a quarter of an hour by itself."""

REPEATS, MAX_REPEATS, PROCESSES = 3, 99, 2

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
    """Measure, tell and write; returns the exit status."""
    parser = _Parser(
        prog="bench", description="What the project costs, side by side with other ways.", allow_abbrev=False
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: {', '.join(DEFAULT)})"
    )
    parser.add_argument(
        "--repeats", type=_repeats, default=REPEATS, metavar="N", help="of each way, interleaved"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: it works, the figures mean little")
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
    except UsageError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2
    except FailedError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: stopped; nothing is written", file=sys.stderr)
        return asked() or 130


def _run(root: Path, parts: Sequence[str], repeats: int, quick: bool, output: Path | None) -> int:
    from benchmarks import tables as paper
    from qwerties.execution.workers import cores

    processes = min(PROCESSES, cores())
    # the processes that parts start, in folders of their own, import this package, which is not installed
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(root), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    commit, before, found = paper.commit(root), paper.load(), {}
    for name in parts:
        settings = Settings(
            root,
            repeats,
            quick,
            processes,
            lambda line, name=name: _tell(f"{name}: {line}"),  # type: ignore[misc]
        )
        _tell(name)
        found[name] = _measure(name, settings)
    about: dict[str, Any] = {
        "commit": commit,
        "machine": paper.machine(),
        "load": {"before": before, "after": paper.load()},
        "repeats": repeats,
        "processes": processes,
        "quick": quick,
        "parts": list(parts),
    }
    print(paper.table(found, about))
    target = output or root / OUTPUT
    target.parent.mkdir(exist_ok=True)
    part = target.with_suffix(".part")
    text = json.dumps(paper.to_json(found, about), indent=1, ensure_ascii=False, allow_nan=False)
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(target)
    print(f"every figure: {output or OUTPUT}")
    differing = paper.differing(found)
    for row in differing:
        print(
            f"bench: {row.group}, {row.name}: losses must be within {paper.CLOSE:g} of the notebook's loop, "
            f"got {row.difference:.3g}",
            file=sys.stderr,
        )
    return 1 if differing else 0


def _tell(line: str) -> None:
    print(f"measuring {line}", file=sys.stderr, flush=True)


def _measure(name: str, settings: Settings) -> Found:
    """Measure one part in a folder of its own, where MLflow would put what it is not told a place for."""
    module, function = PARTS[name]
    measure: Callable[[Settings, Path], Found] = getattr(import_module(f"benchmarks.{module}"), function)
    before = os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        with tempfile.TemporaryDirectory(prefix="qwerties-bench-") as folder, chdir(folder):
            return measure(settings, Path(folder).resolve())
    finally:
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
