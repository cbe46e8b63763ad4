"""The ``qwerties`` command.

Exit status: 0 done, 1 something failed and is named, 2 the request was wrong, 130 stopped (143 by SIGTERM).
"""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from qwerties.cli.parser import Parser
from qwerties.errors import FailedError, UsageError, complain, reason_of
from qwerties.execution.signals import asked, heeding_signals

# Modules of this package, in the order of the help
NAMES = (
    *("sweep", "report", "status", "ui", "compare", "train", "map", "verify"),
    *("export", "import_", "relocate"),
)
COMMANDS = {name.rstrip("_"): import_module(f"qwerties.cli.{name}") for name in NAMES}

# New objects between two garbage collections: each traverses all of MLflow and torch. With it, a second sweep takes a
# tenth less time; without the last traversal at exit, another tenth.
GC_THRESHOLD = 50_000

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)  # a full disk, a closed output


def build_parser() -> Parser:
    """Return the parser of the whole command, from which ``cli.reference`` writes the documentation."""
    parser = Parser(
        prog="qwerties",
        description="Train small networks on hundreds of paired seeds, track them, and compare settings by verdicts.",
        epilog="qwerties COMMAND --help explains a command.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = module.DESCRIPTION.partition(". ")[0].rstrip(".")
        command = commands.add_parser(
            name,
            help=summary[0].lower() + summary[1:],
            description=module.DESCRIPTION,
            epilog=f"example:\n  {module.EXAMPLE}",
        )
        command.set_defaults(run=module.run)
        module.add_options(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    atexit.register(gc.freeze)  # every store is closed by then
    _prepare_process()
    status = _run(argv)
    if argv is None:
        # Workers are ended at exit; for half a second, Ctrl-C would print a traceback
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # a full disk, or a closed pipe
        _discard_output()
        return complain(f"the output cannot be written: {reason_of(error)}", 1)
    return status


def _prepare_process() -> None:
    """Make this process, and those that it starts, independent of the settings of terminal and matplotlib."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's shell names one that is not installed here
    os.environ["MATPLOTLIBRC"] = os.devnull  # a user's style, or LaTeX, changes pictures or breaks them
    os.environ.pop("SOURCE_DATE_EPOCH", None)  # NumPy's and matplotlib's import fails where it is no number
    if sys.stderr is None:  # it was closed
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "−" and "δ" are not in every encoding


def _run(argv: Sequence[str] | None) -> int:
    try:
        with heeding_signals():
            arguments = build_parser().parse_args(argv)
            status: int = arguments.run(arguments)
            return status
    except BaseException as error:
        stopped = asked() or (130 if isinstance(error, KeyboardInterrupt) else 0)
        if stopped:  # a library may have turned the interrupt into an error of its own
            message = "stopped; what is tracked stays, the same command goes on from there"
            print(f"\nqwerties: {message}", file=sys.stderr)
            return stopped
        if isinstance(error, UsageError | FailedError):
            return complain(error, 2 if isinstance(error, UsageError) else 1)
        if isinstance(error, BrokenPipeError):  # the reader of our output left
            _discard_output()
            return 1
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            return complain(f"it cannot be written: {reason_of(error)}", 1)
        raise


def _discard_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter's own flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
