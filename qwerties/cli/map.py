"""``qwerties map``: two settings spread over a picture."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from tqdm import tqdm

from qwerties.cli.parser import Parser, add_fields, count, number_range, output_ending_in
from qwerties.cli.progress import Progress
from qwerties.cli.project import enter_root, open_store
from qwerties.config import CHOICES, FIELDS, Config, parse_field
from qwerties.errors import UsageError, command, suggestion
from qwerties.execution.workers import cores
from qwerties.maps.spec import MAX_SEEDS, MAX_SIDE, PANELS, RANGES, SCALES, SHOWN, Axis, MapError, MapSpec

SIZE, SEEDS = 100, 2  # of a default map: at 2000 epochs, 80,000 networks in four panels
X, Y = "learning_rate", "distance"
PANEL_DEFAULTS = {"loss": "bce,mse", "activation": "relu,linear"}

DESCRIPTION = (
    "Spread two settings over a picture, each pixel a few networks. A range names the map's edges; pixels are trained "
    f"at their middles. The fields that can be an axis: {', '.join(RANGES)}."
)
EXAMPLE = "qwerties map --x hidden --data xor --size 40 --show learned"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    for which, default in (("x", X), ("y", Y)):
        parser.option(f"--{which}", _field, "FIELD", f"field of the axis (default: {default})")
        range_ = number_range("0.001:10")
        parser.option(
            f"--{which}-range", range_, "LOW:HIGH", "range of the axis (default: by field, such as 0:6)"
        )
        parser.choice(f"--{which}-scale", SCALES, "scale of the axis (default: by field)", default=False)
    parser.option("--size", _size, "N|NxM", "pixels of a panel: a side, or both", str(SIZE))
    parser.option("--seeds", count(MAX_SEEDS), "N", "seeds per pixel", SEEDS)
    parser.choice("--show", SHOWN, "measure of the picture")
    parser.option("--jobs", count(1024), "N", "worker processes (default: one per core)")
    parser.option(
        "--output", output_ending_in(".png"), "FILE", "the picture, a PNG (default: reports/map.png)"
    )
    for name, default in PANEL_DEFAULTS.items():
        parser.option(f"--{name}", _panels(name), f"{name.upper()},...", f"a panel for each {name}", default)
    shared = parser.add_argument_group("what all pixels share")
    add_fields(shared, defaults=False, leave_out=PANEL_DEFAULTS)


def run(arguments: argparse.Namespace) -> int:
    """Train and track a map, and write its picture."""
    spec = spec_of(arguments)
    root = enter_root()
    picture = arguments.output or root / "reports" / "map.png"
    started = time.perf_counter()
    with open_store(root) as store:
        from qwerties.maps.make import make_map
        from qwerties.maps.marks import marks_of
        from qwerties.maps.pictures import draw_map, pictures
        from qwerties.report.export import write_files

        marks = marks_of(store)
        with Progress("map", spec.networks, stay=True) as progress:
            made = make_map(
                spec,
                store,
                root,
                lambda arrays: pictures(spec, arrays, marks),
                workers=arguments.jobs or cores(),
                progress=lambda done, total: progress.show(f"{done:,}/{total:,} networks", done),
                log=tqdm.write,
            )
        write_files({picture: draw_map(spec, made.arrays, arguments.show, marks)})
    if made.networks:
        print(f"{spec.networks:,} networks in {time.perf_counter() - started:.0f} s: run {made.run_id}")
    else:
        print(f"nothing to do: the map is tracked as run {made.run_id}")
    print(
        f"{arguments.show}: {picture}\n{command('report')} shows it on the page, {command('ui')} shows the run"
    )
    return 0


def spec_of(arguments: argparse.Namespace) -> MapSpec:
    """Make the plan of the map that is asked for.

    Raises
    ------
    UsageError
        Names the option, the rule and the value.
    """
    x = arguments.x or (Y if arguments.y == X else X)
    y = arguments.y or (X if x == Y else Y)
    for name, option in ((x, "--x"), (y, "--y")):
        if getattr(arguments, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} must not be given where {option} is {name}, got "
                f"{getattr(arguments, name)!r}: see {option}-range"
            )
    shared = {name: getattr(arguments, name) for name in FIELDS if name not in PANELS}
    try:
        base = Config(**{name: parse_field(name, text) for name, text in shared.items() if text is not None})
        width, height = arguments.size
        x_axis, y_axis = _axis(arguments, "x", x, width), _axis(arguments, "y", y, height)
        return MapSpec(x_axis, y_axis, arguments.loss, arguments.activation, arguments.seeds, base)
    except ValueError as error:
        raise UsageError(error) from None


def _axis(arguments: argparse.Namespace, which: str, name: str, size: int) -> Axis:
    *range_, usual = RANGES[name]
    low, high = getattr(arguments, f"{which}_range") or range_
    scale = getattr(arguments, f"{which}_scale")
    try:
        return Axis(name, low, high, scale or usual, size)
    except MapError as error:
        hint = f"; or --{which}-scale linear" if "log scale" in str(error) and scale is None else ""
        raise MapError(f"--{which}-{error}{hint}") from None


# Options


def _field(text: str) -> str:
    name = text.replace("-", "_")
    if name not in RANGES:
        hint = " (which is no number)" if isinstance(FIELDS.get(name), str) else suggestion(name, RANGES)
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(RANGES)}, got {name!r}{hint}")
    return name


def _panels(name: str) -> Any:
    """Return a type of option: names of losses or activations with commas between them."""

    def parse(text: str) -> tuple[str, ...]:
        chosen, known = tuple(text.split(",")), CHOICES[name]
        for part in chosen:
            if part not in known:
                raise argparse.ArgumentTypeError(
                    f"must be one of {', '.join(known)}, got {part!r}{suggestion(part, known)}"
                )
        if len(set(chosen)) < len(chosen):
            raise argparse.ArgumentTypeError(f"must name each {name} once, got {text!r}")
        return chosen

    return parse


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text, re.ASCII)
    sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to {MAX_SIDE}, or two such as 120x80, got {text!r}"
        )
    return sides
