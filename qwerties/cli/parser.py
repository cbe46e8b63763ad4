"""What the parsers of all commands share: defaults and examples in the help, checked values, errors of one line."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from qwerties.config import CHOICES, DEFAULT, FIELDS
from qwerties.errors import UsageError, suggestion

# Values that begin with a hyphen: argparse itself takes -1e-3 and -1:1 for options
NEGATIVE_NUMBER = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)

FIELD_HELP = {
    "data": "arrangement of the cluster centres",
    "loss": "what is minimised",
    "activation": "activation of the hidden layers",
    "hidden": "widths of the hidden layers, such as 8 or 16x16",
    "distance": "distance of neighbouring centres, in standard deviations",
    "samples": "training points per class",
    "epochs": "full-batch updates",
    "learning_rate": "step size",
    "optimizer": "update rule",
    "momentum": "momentum of SGD",
    "output_scale": "factor of the initial output weights",
    "init": "initial weights: PyTorch's or He's",
}


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with defaults, and an example that is not wrapped."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("example:") else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with a suggestion for a misspelt command, option or choice."""

    def __init__(self, **settings: Any) -> None:
        # without abbreviations: --seed is not --seeds
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **settings)
        self._negative_number_matcher = NEGATIVE_NUMBER

    def option(
        self, name: str, kind: Callable[[str], Any], metavar: str, help_text: str, default: Any = None
    ) -> None:
        """Add an option with a value."""
        self.add_argument(name, type=kind, metavar=metavar, help=help_text, default=default)

    def choice(self, name: str, choices: Sequence[str], help_text: str, *, default: bool = True) -> None:
        """Add an option that takes one of some names; the first one is its default, unless it has none."""
        first = choices[0] if default else None
        self.add_argument(name, choices=choices, metavar="|".join(choices), help=help_text, default=first)

    def flag(self, name: str, help_text: str) -> None:
        """Add an option without a value."""
        self.add_argument(name, action="store_true", help=help_text)

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError that begins with the option's name."""
        raise UsageError(re.sub(r"^(\S+): must ", r"\1 must ", message.removeprefix("argument ")))

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Refuse unknown options first: a misspelt option is the cause where a required one is missing."""
        given = sys.argv[1:] if args is None else list(args)
        for text in given:
            name = text.partition("=")[0]
            if text == "--" or (self._subparsers and not text.startswith("-")):
                break  # what follows are no options, or those of a command
            if len(text) > 1 and text[0] == "-" and not NEGATIVE_NUMBER.match(text):
                known = self._option_string_actions
                if name not in known:
                    self.error(f"unrecognized arguments: {name}{suggestion(name, known)}")
        return super().parse_known_args(given, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"must be one of {names}, got {value!r}{suggestion(str(value), action.choices)}"
            )


def add_fields(parser: Any, *, defaults: bool, leave_out: Collection[str] = ()) -> None:
    """Add an option for each field of `Config`; the values stay text, None where ``defaults`` is false."""
    kinds = {int: "N", float: "X", tuple: "N[xN]"}
    for name, value in DEFAULT.to_params().items():
        if name not in leave_out:
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                metavar="|".join(CHOICES[name]) if name in CHOICES else kinds[type(FIELDS[name])],
                default=value if defaults else None,
                help=FIELD_HELP[name] if defaults else f"{FIELD_HELP[name]} (default: {value})",
            )


def count(maximum: int, minimum: int = 1) -> Callable[[str], int]:
    """Return a type of option: a whole number between two limits, which are allowed."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if not minimum <= number <= maximum:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {minimum} to {maximum}, got {text!r}"
            )
        return number

    return parse


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Return a type of option: a number between two limits, which are not allowed."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low < number < high:
            rule = f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"must be a number {rule}, got {text!r}")
        return number

    return parse


def number_range(example: str) -> Callable[[str], tuple[float, float]]:
    """Return a type of option: two numbers with a colon between them."""

    def parse(text: str) -> tuple[float, float]:
        try:
            low, high = map(float, text.split(":"))
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be two numbers such as {example}, got {text!r}") from None
        return low, high

    return parse


def output_ending_in(*endings: str) -> Callable[[str], Path]:
    """Return a type of option: a file to be written, whose name says its format."""

    def parse(text: str) -> Path:
        path = output_file(text)
        if not text.lower().endswith(endings):
            raise argparse.ArgumentTypeError(f"must end in {' or '.join(endings)}, got {text!r}")
        return path

    return parse


def output_file(text: str) -> Path:
    """Read an option that names a file to be written."""
    path = Path(text).resolve()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {path}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be in a folder that exists, got {path.parent}")
    return path
