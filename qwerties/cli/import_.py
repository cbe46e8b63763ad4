"""``qwerties import``: a study from the file that ``qwerties export`` wrote."""

from __future__ import annotations

import argparse
from pathlib import Path

from qwerties.cli.parser import Parser
from qwerties.cli.progress import Progress
from qwerties.cli.project import check_own_store, enter_root
from qwerties.errors import command

DESCRIPTION = "Bring a study from such a file into a folder that has none."
EXAMPLE = "qwerties import study.tar.gz"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what `qwerties export` wrote")


def run(arguments: argparse.Namespace) -> int:
    """Bring a study into this project."""
    source = arguments.file.resolve()
    root = enter_root()
    check_own_store(root, "import")
    from qwerties.portability.archive import import_study

    with Progress("import", 0) as progress:
        done = import_study(root, source, progress.show_bytes)
    print(
        f"{done.runs:,} runs, {done.files:,} files, {done.size / 1e6:,.1f} MB are here now: {command('status')}"
    )
    if done.ended:
        print(f"{done.ended:,} runs were being written when the study was exported: marked as killed")
    if done.missing:
        print(f"{done.missing:,} artifacts were missing where it came from, and are so here")
    return 0
