"""The ``qwerties`` command.

Exit status: 0 done, 1 something failed and is named, 2 the request was wrong, 130 stopped (143 by SIGTERM).
"""

from __future__ import annotations

import argparse
import errno
import gc
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from qwerties.cli import commands
from qwerties.cli.compare import add_compare
from qwerties.config import CHOICES, DEFAULT, FIELDS
from qwerties.errors import FailedError, UsageError, complain, reason_of
from qwerties.execution.signals import asked, heeding_signals
from qwerties.execution.workers import BACKENDS, DEVICES
from qwerties.maps.options import add_map

SEEDS = 500
"""Seeds per config of a default sweep."""

DEFAULT_MAX_SEEDS = 4000
"""Seeds per config at which a default sweep leaves a contrast open."""

SETTLE = ("primary", "all", "none")
"""Contrasts that get more seeds until they are decided."""

SELDOM = 50_000
"""New objects between two collections of garbage: what is imported and listed stays, and looking at it again costs."""

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)  # a full disk, a closed output

MAX_SEEDS = 1_000_000
MAX_NETWORKS = 1_000_000


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)  # --seed is not --seeds

    def error(self, message: str) -> NoReturn:
        if message == "argument --bounds: expected one argument":
            message += "; a negative one needs an equals sign: --bounds=-1:1"
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    gc.set_threshold(SELDOM, 20, 20)
    _prepare_process()
    return _flushed(_run(argv))


def _prepare_process() -> None:
    """Make this process, and those that it starts, independent of how the terminal and matplotlib are set up."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's shell names one that is not installed here
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "−" and "δ" are not in every encoding


def _flushed(status: int) -> int:
    """Flush what was printed; a disk or a reader that does not take it makes the command fail, without a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return complain(f"the output cannot be written: {reason_of(error)}", 1)
    return status


def _run(argv: Sequence[str] | None) -> int:
    try:
        with heeding_signals():
            arguments = _parser().parse_args(argv)
            return arguments.run(arguments)
    except (UsageError, FailedError) as error:
        if status := asked():  # it may be of a store that was being opened
            return _say_stopped(status)
        return complain(error, 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        return _say_stopped(asked() or 130)
    except BrokenPipeError:  # the reader of our output left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return complain(f"it cannot be written: {reason_of(error)}", 1)
    except Exception:
        if status := asked():  # the interrupt, as some library in C handed it on
            return _say_stopped(status)
        raise


def _say_stopped(status: int) -> int:
    gc.freeze()  # at its end, the interpreter would look at all that torch is made of once more: most of a second
    print("\nqwerties: stopped; what is tracked stays, the same command goes on from there", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="qwerties", description="Small networks on two clusters, hundreds of paired seeds, evidence."
    )
    chosen = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sweep = chosen.add_parser("sweep", help="train and track what is not tracked yet, then write the report")
    sweep.add_argument("names", nargs="*", metavar="NAME", help="files of experiments/ (default: all)")
    sweep.add_argument(
        "--seeds", type=_count("seeds", MAX_SEEDS), default=SEEDS, metavar="N", help="per config"
    )
    sweep.add_argument(
        "--jobs", type=_count("jobs", 1024), metavar="N", help="worker processes (default: one per core)"
    )
    sweep.add_argument(
        "--backend",
        type=_one_of("backend", BACKENDS),
        default=BACKENDS[0],
        metavar="|".join(BACKENDS),
        help="who trains: processes of this machine (default), or a Dask cluster",
    )
    sweep.add_argument(
        "--scheduler", metavar="ADDRESS", help="of the Dask cluster, such as tcp://127.0.0.1:8786"
    )
    sweep.add_argument(
        "--device",
        type=_one_of("device", DEVICES),
        default=DEVICES[0],
        metavar="|".join(DEVICES),
        help="what trains (default: cpu); auto: a GPU where there is one",
    )
    sweep.add_argument(
        "--settle",
        type=_one_of("settle", SETTLE),
        default=SETTLE[0],
        metavar="|".join(SETTLE),
        help="which contrasts get more seeds until they are decided (default: primary)",
    )
    sweep.add_argument(
        "--max-seeds",
        type=_count("max-seeds", MAX_SEEDS),
        metavar="N",
        help=f"not more seeds per config than this (default: {DEFAULT_MAX_SEEDS}, or --seeds if that is more)",
    )
    sweep.add_argument(
        "--dry-run",
        action="store_true",
        help="write and train nothing; say what would be trained, and about how long it would take",
    )
    sweep.add_argument("--no-report", action="store_true", help="do not write reports/summary.html")
    sweep.set_defaults(run=commands.sweep, default_max_seeds=DEFAULT_MAX_SEEDS)

    train = chosen.add_parser("train", help="one network, tracked as the notebook shows it")
    for name, default in FIELDS.items():
        train.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar="|".join(CHOICES[name]) if name in CHOICES else type(default).__name__.upper(),
            help=f"default: {DEFAULT.to_params()[name]}",
        )
    train.add_argument(
        "--seed", type=_count("seed", 2**31 - 1, least=0), default=0, metavar="N", help="default: 0"
    )
    train.set_defaults(run=commands.train)

    add_compare(chosen)
    add_map(chosen, commands.map_, _count)

    report = chosen.add_parser("report", help="write the report, from the store alone")
    report.add_argument("--output", type=Path, metavar="FILE", help="default: reports/summary.html")
    report.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit status 1 if a verdict of the last report no longer holds",
    )
    report.set_defaults(run=commands.report)

    status = chosen.add_parser("status", help="planned and tracked, missing, failed, stale")
    status.add_argument("--json", action="store_true", help="the same and more, for programs")
    status.set_defaults(run=commands.status)

    verify = chosen.add_parser(
        "verify", help="check the store; retrain some networks with the notebook's loop"
    )
    verify.add_argument(
        "--networks",
        type=_count("networks", MAX_NETWORKS),
        default=20,
        metavar="N",
        help="to retrain, drawn at random (default: 20)",
    )
    verify.add_argument(
        "--seed",
        type=_count("seed", 2**31 - 1, least=0),
        default=0,
        metavar="N",
        help="of the draw (default: 0)",
    )
    verify.set_defaults(run=commands.verify)

    ui = chosen.add_parser("ui", help="open the store in MLflow's UI, on 127.0.0.1")
    ui.add_argument("--port", type=_count("port", 65535), default=5000, metavar="N", help="default: 5000")
    ui.set_defaults(run=commands.ui)

    relocate = chosen.add_parser("relocate", help="mend the store of a folder that was moved or copied")
    relocate.set_defaults(run=commands.relocate)

    for name, run, told in (
        ("export", commands.export, "write the study into one .tar.gz: database, artifacts, last verdicts"),
        ("import", commands.import_, "bring a study from such a file into a folder that has none"),
    ):
        command = chosen.add_parser(name, help=told)
        command.add_argument("file", type=Path, metavar="FILE")
        command.set_defaults(run=run)
    return parser


def _count(name: str, most: int, least: int = 1) -> Any:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{name} must be a whole number from {least} to {most}, got {text!r}"
            )
        return number

    return parse


def _one_of(name: str, choices: Sequence[str]) -> Any:
    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{name} must be one of {', '.join(choices)}, got {text!r}")
        return text

    return parse


if __name__ == "__main__":
    sys.exit(main())
