"""``qwerties ui``: MLflow's own pages of the store."""

from __future__ import annotations

import argparse
import os

from qwerties.cli.parser import Parser, count
from qwerties.cli.project import enter_root, open_store
from qwerties.errors import UsageError

DESCRIPTION = "Open the store in MLflow's UI, on 127.0.0.1."
EXAMPLE = "qwerties ui --port 5001"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.option("--port", count(65535), "N", "port on this machine", 5000)


def run(arguments: argparse.Namespace) -> int:
    """Serve MLflow's UI until it is stopped."""
    root = enter_root()
    with open_store(root, reads=True) as store:
        from qwerties.tracking.server import serve_ui

        if store.file is not None and not os.access(store.file.parent, os.W_OK):
            raise UsageError(f"the store must be writable, got {store.file.parent}")
        return int(serve_ui(store, arguments.port))
