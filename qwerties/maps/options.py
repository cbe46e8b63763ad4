"""What ``qwerties map`` takes on the command line, and the plan of a map that follows from it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qwerties.config import CHOICES, DEFAULT, FIELDS, Config, parse_field
from qwerties.errors import UsageError
from qwerties.maps.spec import (
    MAX_SEEDS,
    MAX_SIDE,
    MEASURES,
    PANELS,
    RANGES,
    SCALES,
    Axis,
    MapError,
    MapSpec,
)

SIZE, SEEDS = 100, 2
"""Of a default map: at 2000 epochs, 80,000 networks in four panels."""

X, Y = "learning_rate", "distance"
LOSSES, ACTIVATIONS = "bce,mse", "relu,linear"

SHOWN = tuple(name for name in MEASURES if name != "slow")

Count = Callable[..., Any]


def add_map(chosen: Any, run: Callable[[argparse.Namespace], int], count: Count) -> None:
    """Add the command to a parser's subcommands; ``count(name, most)`` makes a type of whole numbers."""
    command = chosen.add_parser(
        "map",
        help="spread two settings over a picture, each pixel a few networks",
        epilog=f"FIELD is one of {', '.join(RANGES)}. A range names the map's edges; pixels are trained at their "
        "middles. A range below 0 is written --x-range=-2:2.",
    )
    for which, default in (("x", X), ("y", Y)):
        command.add_argument(f"--{which}", metavar="FIELD", help=f"default: {default.replace('_', '-')}")
        command.add_argument(f"--{which}-range", metavar="LO:HI", help="zoom; default: by field, such as 0:6")
        command.add_argument(f"--{which}-scale", metavar="|".join(SCALES), help="default: by field")
    command.add_argument("--size", metavar="N|NxM", help=f"pixels of a panel (default: {SIZE})")
    command.add_argument(
        "--seeds",
        type=count("seeds", MAX_SEEDS),
        default=SEEDS,
        metavar="N",
        help=f"per pixel (default: {SEEDS})",
    )
    command.add_argument("--show", default=SHOWN[0], metavar="|".join(SHOWN), help=f"default: {SHOWN[0]}")
    command.add_argument(
        "--jobs", type=count("jobs", 1024), metavar="N", help="worker processes (default: one per core)"
    )
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="the picture, a PNG (default: reports/map.png)"
    )
    shared = command.add_argument_group("what all pixels share; a panel for each loss and activation")
    for name, default in FIELDS.items():
        panels = {"loss": LOSSES, "activation": ACTIVATIONS}.get(name)
        shared.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar=f"{name.upper()},..."
            if panels
            else "|".join(CHOICES[name])
            if name in CHOICES
            else type(default).__name__.upper(),
            help=f"default: {panels or DEFAULT.to_params()[name]}",
        )
    command.set_defaults(run=run)


def check_show(arguments: argparse.Namespace) -> str:
    """The measure to show; UsageError."""
    return _one_of("--show", arguments.show, SHOWN)


def spec_of(arguments: argparse.Namespace) -> MapSpec:
    """Make the plan that is asked for.

    Raises
    ------
    UsageError
        Names the option, the rule and the value.
    """
    y_is_rate = arguments.y is not None and arguments.y.replace("-", "_") == X
    x = _field("--x", (Y if y_is_rate else X) if arguments.x is None else arguments.x)
    y = _field("--y", (X if x == Y else Y) if arguments.y is None else arguments.y)
    if x == y:
        raise UsageError(f"--x and --y must be different fields, got {x} for both")
    for name, option in ((x, "--x"), (y, "--y")):
        if getattr(arguments, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} must not be given where {option} is {name}, got "
                f"{getattr(arguments, name)!r}: see {option}-range"
            )
    sides = _size(arguments.size)
    axes = [
        _axis(which, name, getattr(arguments, f"{which}_range"), getattr(arguments, f"{which}_scale"), side)
        for which, name, side in (("x", x, sides[0]), ("y", y, sides[1]))
    ]
    losses, activations = (
        _several(name, default if getattr(arguments, name) is None else getattr(arguments, name))
        for name, default in zip(PANELS, (LOSSES, ACTIVATIONS), strict=True)
    )
    given = {name: getattr(arguments, name) for name in FIELDS if name not in PANELS}
    try:
        base = Config(**{name: parse_field(name, text) for name, text in given.items() if text is not None})
        return MapSpec(axes[0], axes[1], losses, activations, arguments.seeds, base)
    except ValueError as error:
        raise UsageError(error) from None


def _one_of(option: str, text: str, known: Iterable[str], but: str = "") -> str:
    names = list(known)
    if text in names:
        return text
    close = difflib.get_close_matches(text, names, n=1)
    hint = but or (f" (did you mean {close[0]}?)" if close else "")
    raise UsageError(f"{option} must be one of {', '.join(names)}, got {text!r}{hint}")


def _field(option: str, text: str) -> str:
    name = text.replace("-", "_")
    known = name in FIELDS and name not in RANGES
    return _one_of(option, name, RANGES, " (which is no number)" if known else "")


def _several(name: str, text: str) -> tuple[str, ...]:
    chosen = tuple(_one_of(f"--{name}", part, CHOICES[name]) for part in text.split(","))
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"--{name} must name each {name} once, got {text!r}")
    return chosen


def _size(text: str | None) -> tuple[int, int]:
    if text is None:
        return SIZE, SIZE
    try:
        parts = [int(part) for part in text.split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or not all(1 <= part <= MAX_SIDE for part in parts):
        raise UsageError(
            f"--size must be a whole number from 1 to {MAX_SIDE}, or two such as 120x80, got {text!r}"
        )
    return parts[0], parts[-1]


def _axis(which: str, name: str, given: str | None, scale: str | None, size: int) -> Axis:
    low, high, usual = RANGES[name]
    if scale is not None:
        _one_of(f"--{which}-scale", scale, SCALES)
    if given is not None:
        try:
            low, high = (float(part) for part in given.split(":"))
        except ValueError:
            raise UsageError(
                f"--{which}-range must be two numbers such as {low:g}:{high:g}, got {given!r}"
            ) from None
    try:
        return Axis(name, low, high, scale or usual, size)
    except MapError as error:
        hint = f"; or --{which}-scale linear" if "log scale" in str(error) and scale is None else ""
        told = str(error).replace(f"{low!r}:{high!r}", given) if given is not None else str(error)
        raise UsageError(f"--{which}-{told}{hint}") from None
