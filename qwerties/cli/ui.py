"""``qwerties ui``: MLflow's own pages of the store."""

from __future__ import annotations

import argparse
from typing import Any

from qwerties.cli.parser import add_command, count
from qwerties.cli.project import enter_root, open_store


def add(commands: Any) -> None:
    """Add the command to the parser of ``qwerties``."""
    parser = add_command(
        commands, "ui", run, "open the store in MLflow's UI, on 127.0.0.1", "qwerties ui --port 5001"
    )
    parser.option("--port", count(65535), "N", "port on this machine", 5000)


def run(arguments: argparse.Namespace) -> int:
    """Serve MLflow's UI until it is stopped."""
    root = enter_root()
    with open_store(root, reads=True) as store:
        from qwerties.tracking.server import serve_ui

        return int(serve_ui(store, arguments.port))
