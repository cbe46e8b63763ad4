"""``qwerties train``: one network, tracked with the pictures that the notebook draws."""

from __future__ import annotations

import argparse

from qwerties.cli.parser import Parser, add_fields, count
from qwerties.cli.project import enter_root, open_store
from qwerties.config import FIELDS, Config, parse_field
from qwerties.errors import UsageError

MAX_SEED = 2**31 - 1

DESCRIPTION = "Train one network and track it as the notebook shows it. The defaults are the notebook's."
EXAMPLE = "qwerties train --data xor --hidden 8 --learning-rate 0.1 --seed 7"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    add_fields(parser, defaults=True)
    parser.option("--seed", count(MAX_SEED, 0), "N", "fixes the data and the initial weights", 0)


def run(arguments: argparse.Namespace) -> int:
    """Train one network and track it."""
    try:
        config = Config(**{name: parse_field(name, getattr(arguments, name)) for name in FIELDS})
    except ValueError as error:
        raise UsageError(error) from None
    root = enter_root()
    with open_store(root) as store:
        from qwerties.study.single import train_network

        print(train_network(config, arguments.seed, store))
    return 0
