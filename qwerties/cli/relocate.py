"""``qwerties relocate``: mend the store of a project that was moved or copied."""

from __future__ import annotations

import argparse
import os

from qwerties.cli.parser import Parser
from qwerties.cli.progress import Progress
from qwerties.cli.project import enter_root
from qwerties.errors import NothingTrackedError, UsageError, nothing_tracked

DESCRIPTION = (
    "Mend the store of a folder that was moved or copied. MLflow stores where artifacts are as absolute "
    "paths. Exit status 1 if artifacts are missing."
)
EXAMPLE = "qwerties relocate"


def add_options(parser: Parser) -> None:
    """Add the command's options."""


def run(arguments: argparse.Namespace) -> int:
    """Rewrite the paths in the store; return 1 if artifacts are missing."""
    root = enter_root()
    from qwerties.portability.relocate import database_of, relocate
    from qwerties.tracking.uri import public_uri

    database = database_of(root)
    if database is None:
        uri = public_uri(os.environ["MLFLOW_TRACKING_URI"])
        raise UsageError(f"relocate mends a SQLite store, got {uri}")
    if not database.exists():
        raise NothingTrackedError(nothing_tracked())
    with Progress("relocate") as progress:
        done = relocate(database, root, progress.show)
    if done is None:
        print("nothing to do: the store is where it says")
        return 0
    print(
        f"the store was in {' and '.join(done.old)}: {done.values:,} values rewritten\n"
        f"{done.found:,} artifacts are in their place, {done.missing:,} are missing\n"
        f"the database as it was: {done.backup}"
    )
    return 1 if done.missing else 0
