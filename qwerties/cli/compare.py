"""``qwerties compare``: the verdict on two tables of paired results, or on two arms of one long table.

Needs pandas and the room `stats` alone: no store, no torch, no project folder.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qwerties.cli.parser import Parser, number_between, number_range, output_ending_in
from qwerties.errors import UsageError, clean, plural

if TYPE_CHECKING:
    import pandas as pd

    from qwerties.stats.compare import Comparison

EXPECTATIONS = ("a_better", "b_better", "equivalent", "not_worse")
MARGIN = 0.01  # of the metric's range

DESCRIPTION = (
    "The verdict on two tables of paired results. Compares a bounded metric of two arms on the units that "
    "both have (seeds, test cases)."
)
EXAMPLE = "qwerties compare branch.csv main.csv --metric accuracy --expect not_worse"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="A and B; or one long table")
    parser.add_argument("--metric", required=True, metavar="NAME", help="column to compare; more is better")
    parser.option("--unit", _names, "NAME[,NAME]", "column or columns that pair the rows", "seed")
    parser.option("--arm", str, "COLUMN", "of a long table: the column that holds the arm")
    parser.add_argument("--arms", nargs=2, metavar=("A", "B"), help="of a long table: two values of --arm")
    bounds = "smallest and largest possible value (default: 0:1 where all values are within)"
    parser.option("--bounds", _bounds, "LOW:HIGH", bounds)
    margin = "smallest difference that matters (default: a hundredth of the range)"
    parser.option("--margin", number_between(0, math.inf), "D", margin)
    parser.option("--alpha", number_between(0, 1), "A", "chance that the interval is ever wrong", 0.05)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--markdown", action="store_true", help="print Markdown")
    expect = "exit status 1 unless this is shown; not_worse: A is not worse than B by more than the margin"
    parser.choice("--expect", EXPECTATIONS, expect, default=False)
    parser.option(
        "--plot", output_ending_in(".svg", ".png"), "FILE", "draw how the interval narrowed (.svg or .png)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; return 1 where it is not the expected one."""
    _check_request(arguments)
    from qwerties.stats.compare import compare

    try:
        names, arms = _read_arms(arguments)
        low, high = bounds = arguments.bounds or _default_bounds(arguments.metric, *arms)
        margin = arguments.margin or MARGIN * (high - low)
        result = compare(*arms, bounds=bounds, margin=margin, alpha=arguments.alpha, names=names)
    except ValueError as error:
        raise UsageError(error) from None
    if result.n < 2:
        raise UsageError("the two arms share one unit; a comparison needs at least two")
    unit = " and ".join(arguments.unit) + (" pair" if len(arguments.unit) > 1 else "")
    if arguments.plot:
        _plot(arguments.plot, result, names, arguments.metric, unit)
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=1, default=str))
    elif arguments.markdown:
        print(result.to_markdown(*names, unit=unit), end="")
    else:
        scale = f"{low:g}:{high:g}" + ("" if arguments.bounds else " (assumed, as all values are within)")
        print(_text(result, names, arguments.metric, unit, scale))
    if arguments.expect and not result.meets(arguments.expect):
        words = result.words(*names, unit=unit)
        print(f"qwerties: expected {arguments.expect}: not shown, {words}", file=sys.stderr)
        return 1
    return 0


def _check_request(arguments: argparse.Namespace) -> None:
    """Raise UsageError where options contradict each other."""
    n_files = len(arguments.files)
    if bool(arguments.arm) != bool(arguments.arms):
        raise UsageError("--arm COLUMN and --arms A B go together")
    if arguments.arms and arguments.arms[0] == arguments.arms[1]:
        raise UsageError(f"--arms must name two different arms, got {arguments.arms[0]!r} twice")
    if arguments.arm and n_files > 1:
        raise UsageError(f"--arm compares within one table, got {n_files} files")
    if not arguments.arm and n_files != 2:
        raise UsageError(f"compare takes two files, or one with --arm COLUMN and --arms A B; got {n_files}")
    columns = [*arguments.unit, arguments.metric, *([arguments.arm] if arguments.arm else [])]
    if repeated := [name for name in columns if columns.count(name) > 1]:
        raise UsageError(f"--metric, --unit and --arm must name different columns, got {repeated[0]!r} twice")


def _read_arms(arguments: argparse.Namespace) -> tuple[tuple[str, str], list[pd.Series]]:
    """Return the names of the arms, and the metric of each, indexed by unit."""
    from qwerties.stats.formats import listed
    from qwerties.stats.tables import metric_by_unit, read_table

    metric, units, arm = arguments.metric, arguments.unit, arguments.arm
    if arm:
        (path,) = arguments.files
        table, names = read_table(path, metric, units, arm), arguments.arms
        labels = table[arm].astype(object).map(str)
        for name in names:
            if not (labels == name).any():
                values = listed(sorted(labels.unique()))
                raise UsageError(f"--arms: {arm!r} in {path} is never {name!r}; it is {values}")
        tables = [(f"{name!r} of {path}", table[labels == name]) for name in names]
    else:
        tables = [(str(path), read_table(path, metric, units)) for path in arguments.files]
        names = [path.stem for path in arguments.files]
        names = names if names[0] != names[1] else list(map(str, arguments.files))
    arms = [metric_by_unit(table, metric, units, source) for source, table in tables]
    return (clean(names[0]), clean(names[1])), arms


def _default_bounds(metric: str, a: pd.Series, b: pd.Series) -> tuple[float, float]:
    """Return 0 and 1 where all values are within."""
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    raise UsageError(
        f"--bounds LOW:HIGH is needed: {metric!r} goes from {low:g} to {high:g}, and the interval rests on the "
        "smallest and the largest possible value, not on those that were seen; for a metric without bounds, such as a "
        "time or a loss, compare a bounded one made from it, such as 1 where a target is met and 0 elsewhere"
    )


def _text(result: Comparison, names: tuple[str, str], metric: str, unit: str, scale: str) -> str:
    """Return the verdict and its numbers, a line each."""
    from qwerties.stats.formats import listed

    level = f"{100 * (1 - result.alpha):g}%"
    lines = [
        result.words(*names, unit=unit),
        f"{metric}, {names[0]} - {names[1]}: {result.estimate:+.4g}, {level} interval "
        f"[{result.low:+.4g}, {result.high:+.4g}], valid wherever one stops",
        f"{plural(result.n, f'paired {unit}')}, margin {result.margin:g}, bounds {scale}",
    ]
    if result.verdict != "identical":
        lines.append(f"equivalent within any margin above {result.equivalence_margin:.4g}")
    for name, units in zip(names, (result.unpaired_a, result.unpaired_b), strict=True):
        if units:
            lines.append(f"not compared, only in {name}: {listed(units)}")
    if warning := result.warning(unit):
        lines.append(f"warning: {warning}")
    return "\n".join(lines)


def _plot(path: Path, result: Comparison, names: tuple[str, str], metric: str, unit: str) -> None:
    """Draw how the interval narrowed."""
    from qwerties.plotting import style
    from qwerties.plotting.axes import panels
    from qwerties.plotting.evidence import evidence
    from qwerties.stats.planning import narrowing

    frame, decided = narrowing(
        result.differences, alpha=result.alpha, margin=result.margin, bounds=result.bounds
    )
    title = f"{metric}: {names[0]} − {names[1]}"
    drawn = {"frame": frame, "margin": result.margin, "decided": decided, "unit": unit, "title": title}
    fig = panels([(evidence, drawn)], height=3.6)
    try:
        path.write_bytes(style.png(fig, 150) if path.suffix.lower() == ".png" else style.svg(fig))
    except OSError as error:
        raise UsageError(f"--plot: {path} cannot be written: {error.strerror}") from None


# Options


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be column names with commas between them, got {text!r}")
    return names


def _bounds(text: str) -> tuple[float, float]:
    low, high = number_range("0:1")(text)
    if not (math.isfinite(high - low) and low < high):
        raise argparse.ArgumentTypeError(
            f"must be two finite numbers, the smaller one first, such as 0:1, got {text!r}"
        )
    return low, high
