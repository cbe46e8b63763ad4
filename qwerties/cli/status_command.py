"""``qwerties status``: what is planned, and what became of it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from qwerties.cli.parser import add_command
from qwerties.cli.project import enter_root, open_store
from qwerties.errors import NothingTrackedError


def add(commands: Any) -> None:
    """Add the command to the parser of ``qwerties``."""
    parser = add_command(
        commands,
        "status",
        run,
        "planned and tracked, missing, failed, stale",
        "qwerties status --json",
        "Exit status 1 if the study is incomplete.",
    )
    parser.flag("--json", "the same and more, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the coverage of every experiment; return 1 if the study is incomplete."""
    root = enter_root()
    try:
        with open_store(root, reads=True) as store:
            from qwerties.cli.status import Status, read_status, table, to_json

            status = read_status(store)
    except NothingTrackedError as error:
        if not arguments.json:
            print(error)
            return 1
        from qwerties.cli.status import Status, to_json
        from qwerties.portability.relocate import database_of

        status = Status(f"sqlite:///{database_of(root)}", (), 0, 0)
    print(json.dumps(to_json(status), indent=1) if arguments.json else table(status))
    return 0 if status.complete else 1
