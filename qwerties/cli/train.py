"""``qwerties train``: one network, tracked with the pictures that the notebook draws."""

from __future__ import annotations

import argparse
from typing import Any

from qwerties.cli.parser import add_command, add_fields, count
from qwerties.cli.project import enter_root, open_store
from qwerties.config import FIELDS, Config, parse_field
from qwerties.errors import UsageError

MAX_SEED = 2**31 - 1


def add(commands: Any) -> None:
    """Add the command to the parser of ``qwerties``."""
    parser = add_command(
        commands,
        "train",
        run,
        "train one network and track it as the notebook shows it",
        "qwerties train --data xor --hidden 8 --learning-rate 0.1 --seed 7",
        "The defaults are the notebook's.",
    )
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
