"""``qwerties export``: the study as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from qwerties.cli.parser import Parser
from qwerties.cli.progress import Progress
from qwerties.cli.project import check_own_store, enter_root

DESCRIPTION = "Write the study into one .tar.gz: database, artifacts, last verdicts."
EXAMPLE = "qwerties export study.tar.gz"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="to be written; must end with .tar.gz")


def run(arguments: argparse.Namespace) -> int:
    """Write the study into one file."""
    target = arguments.file.resolve()
    root = enter_root()
    check_own_store(root, "export")
    from qwerties.portability.archive import export_study

    with Progress("export", 0) as progress:
        done = export_study(root, target, progress.show_bytes)
    print(f"{done.runs:,} runs, {done.files:,} files, {done.size / 1e6:,.1f} MB: {target}")
    if done.ended:
        print(f"{done.ended:,} runs were being written and are left out")
    return 0
