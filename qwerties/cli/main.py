"""The ``qwerties`` command.

Exit status: 0 done, 1 something failed and is named, 2 the request was wrong, 130 stopped (143 by SIGTERM).
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from qwerties.cli import (
    compare,
    export,
    import_,
    map,  # noqa: A004 - the command's name
    relocate,
    report,
    status_command,
    sweep,
    train,
    ui,
    verify,
)
from qwerties.cli.parser import Parser
from qwerties.errors import FailedError, UsageError, complain, reason_of
from qwerties.execution.signals import asked, heeding_signals

# In the order of the help
COMMANDS = (sweep, report, status_command, ui, compare, train, map, verify, export, import_, relocate)

# New objects between two garbage collections; imported modules stay, and each collection would traverse them
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
    for module in COMMANDS:
        module.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    _prepare_process()
    return _flush(_run(argv))


def _prepare_process() -> None:
    """Make this process, and those that it starts, independent of the settings of terminal and matplotlib."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's shell names one that is not installed here
    os.environ["MATPLOTLIBRC"] = os.devnull  # a user's style, or LaTeX, changes pictures or breaks them
    if sys.stderr is None:  # it was closed
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "−" and "δ" are not in every encoding


def _flush(status: int) -> int:
    """Flush standard output; return 1 where a full disk or a closed pipe does not take it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _discard_output()
        return complain(f"the output cannot be written: {reason_of(error)}", 1)
    return status


def _discard_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter's own flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str] | None) -> int:
    try:
        with heeding_signals():
            arguments = build_parser().parse_args(argv)
            status: int = arguments.run(arguments)
            return status
    except (UsageError, FailedError) as error:
        if status := asked() or 0:  # the error may be that of a store that was being opened
            return _say_stopped(status)
        return complain(error, 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        return _say_stopped(asked() or 130)
    except BrokenPipeError:  # the reader of our output left
        _discard_output()
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return complain(f"it cannot be written: {reason_of(error)}", 1)
    except Exception:
        if status := asked() or 0:  # a library in C turned the interrupt into an error of its own
            return _say_stopped(status)
        raise


def _say_stopped(status: int) -> int:
    gc.freeze()  # at exit, the interpreter would traverse all of torch once more: most of a second
    print("\nqwerties: stopped; what is tracked stays, the same command goes on from there", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
