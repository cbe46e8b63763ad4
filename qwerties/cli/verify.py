"""``qwerties verify``: the store against itself and against the notebook's loop."""

from __future__ import annotations

import argparse

from tqdm import tqdm

from qwerties.cli.parser import Parser, count
from qwerties.cli.project import enter_root, open_store
from qwerties.execution.workers import cores

DESCRIPTION = (
    "Check the store, and retrain some networks with the notebook's loop. Exit status 1 if anything differs."
)
EXAMPLE = "qwerties verify --networks 100"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.option("--networks", count(1_000_000), "N", "networks to retrain, drawn at random", 20)
    parser.option("--seed", count(2**31 - 1, 0), "N", "seed of the draw", 0)


def run(arguments: argparse.Namespace) -> int:
    """Check the store; return 1 if anything differs."""
    root = enter_root()
    with open_store(root, reads=True) as store:
        from qwerties.verify.retrain import verify

        agrees = verify(store, arguments.networks, arguments.seed, workers=cores(), echo=tqdm.write)
    return 0 if agrees else 1
