"""``qwerties compare``: the verdict on two tables of paired results, or on two arms of one long table.

Needs pandas and the module `stats` alone: no store, no torch, no project folder.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwerties.errors import UsageError, clean, first_line, plural

if TYPE_CHECKING:
    import pandas as pd

    from qwerties.stats.compare import Comparison

EXPECTATIONS = ("a_better", "b_better", "equivalent", "not_worse")
PARQUET = (".parquet", ".pq")
PICTURES = (".svg", ".png")
MARGIN = 0.01  # of the range of the metric
MAX_NAMED = 5  # units or columns that a line names


def add_compare(commands: Any) -> None:
    """Add the command to the parser of ``qwerties``."""
    parser = commands.add_parser(
        "compare",
        help="the verdict on two tables of paired results",
        description="Compare a bounded metric of two arms on the units that both have (seeds, test cases).",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="A and B; or one long table")
    parser.add_argument("--metric", required=True, metavar="NAME", help="column to compare; more is better")
    parser.add_argument(
        "--unit",
        type=_names,
        default=["seed"],
        metavar="NAME[,NAME]",
        help="column or columns that pair the rows (default: seed)",
    )
    parser.add_argument(
        "--arm", metavar="COLUMN", help="of a long table: the column that tells the arms apart"
    )
    parser.add_argument(
        "--arms", nargs=2, metavar=("A", "B"), help="of a long table: the two values of --arm"
    )
    parser.add_argument(
        "--bounds",
        type=_bounds,
        metavar="LOW:HIGH",
        help="smallest and largest value that is possible (default: 0:1 where all values are within)",
    )
    parser.add_argument(
        "--margin",
        type=_number("margin", 0, math.inf),
        metavar="D",
        help="smallest difference that matters (default: a hundredth of the range)",
    )
    parser.add_argument(
        "--alpha",
        type=_number("alpha", 0, 1),
        default=0.05,
        metavar="A",
        help="chance that the interval is ever wrong (default: 0.05)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="for programs")
    output.add_argument("--markdown", action="store_true", help="for a pull request")
    parser.add_argument(
        "--expect",
        type=_one_of("expect", EXPECTATIONS),
        metavar="|".join(EXPECTATIONS),
        help="exit status 1 unless this is shown; not_worse: A is not worse than B by more than the margin",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw how the interval narrowed (.svg or .png)"
    )
    parser.set_defaults(run=compare)


def compare(arguments: argparse.Namespace) -> int:
    """Print the verdict; return the exit status."""
    _check_request(arguments)
    names, (values_a, values_b) = _read_arms(arguments)
    bounds = arguments.bounds or _default_bounds(arguments.metric, values_a, values_b)
    margin = arguments.margin or MARGIN * (bounds[1] - bounds[0])
    result = _compare(values_a, values_b, names, bounds=bounds, margin=margin, alpha=arguments.alpha)
    unit = " and ".join(arguments.unit) + (" pair" if len(arguments.unit) > 1 else "")
    if arguments.plot:
        _plot(arguments.plot, result, names, arguments.metric, unit)
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=1, default=str))
    elif arguments.markdown:
        print(result.to_markdown(*names, unit=unit), end="")
    else:
        print(_text(result, names, arguments.metric, unit, bounds, chosen=not arguments.bounds))
    if arguments.expect and not meets(result, arguments.expect):
        print(
            f"qwerties: expected {arguments.expect}: not shown, {result.words(*names, unit=unit)}",
            file=sys.stderr,
        )
        return 1
    return 0


def meets(result: Comparison, expectation: str) -> bool:
    """Return whether a comparison shows what was expected; identical runs are equivalent, hence not worse."""
    if expectation == "not_worse":
        return result.low > -result.margin or result.verdict == "identical"
    if expectation == "equivalent":
        return result.verdict in ("equivalent", "identical")
    return result.verdict == expectation


def _text(
    result: Comparison,
    names: tuple[str, str],
    metric: str,
    unit: str,
    bounds: tuple[float, float],
    *,
    chosen: bool,
) -> str:
    """Return the verdict and its numbers, a line each."""
    level = f"{100 * (1 - result.alpha):g}%"
    lines = [
        result.words(*names, unit=unit),
        f"{metric}, {names[0]} - {names[1]}: {result.estimate:+.4g}, {level} interval "
        f"[{result.low:+.4g}, {result.high:+.4g}], valid wherever one stops",
        f"{plural(result.n, f'paired {unit}')}, margin {result.margin:g}, bounds {bounds[0]:g}:{bounds[1]:g}"
        + (" (assumed, as all values are within)" if chosen else ""),
    ]
    if result.verdict != "identical":
        lines.append(f"equivalent within any margin above {result.equivalence_margin:.4g}")
    for name, units in zip(names, (result.unpaired_a, result.unpaired_b), strict=True):
        if units:
            lines.append(f"not compared, only in {name}: {_listed(units)}")
    if not result.low <= result.estimate <= result.high:
        lines.append(
            f"warning: the mean is outside its interval; the outcome seems to depend on the order of the {unit}s"
        )
    return "\n".join(lines)


# Reading


def _check_request(arguments: argparse.Namespace) -> None:
    """Raise UsageError where options contradict each other."""
    several = len(arguments.files)
    if bool(arguments.arm) != bool(arguments.arms):
        raise UsageError("--arm COLUMN and --arms A B go together")
    if arguments.arms and arguments.arms[0] == arguments.arms[1]:
        raise UsageError(f"--arms must name two different arms, got {arguments.arms[0]!r} twice")
    if arguments.arm and several > 1:
        raise UsageError(f"--arm compares within one table, got {several} files")
    if not arguments.arm and several != 2:
        raise UsageError(f"compare takes two files, or one with --arm COLUMN and --arms A B; got {several}")
    columns = [*arguments.unit, arguments.metric, *([arguments.arm] if arguments.arm else [])]
    if repeated := [name for name in dict.fromkeys(columns) if columns.count(name) > 1]:
        raise UsageError(f"--metric, --unit and --arm must name different columns, got {repeated[0]!r} twice")
    if arguments.plot and arguments.plot.suffix.lower() not in PICTURES:
        raise UsageError(f"--plot must end in {' or '.join(PICTURES)}, got {str(arguments.plot)!r}")
    if arguments.plot and not arguments.plot.parent.is_dir():
        raise UsageError(f"--plot: there is no folder {str(arguments.plot.parent)!r}")


def _read_arms(arguments: argparse.Namespace) -> tuple[tuple[str, str], list[pd.Series]]:
    """Return the names of the arms, and the metric of each, indexed by unit."""
    metric, units, arm = arguments.metric, arguments.unit, arguments.arm
    if not arm:
        tables = [_read(path, [*units, metric], arguments) for path in arguments.files]
        names = [path.stem for path in arguments.files]
        if names[0] == names[1]:
            names = list(map(str, arguments.files))
        sources = list(map(str, arguments.files))
    else:
        (path,) = arguments.files
        table = _read(path, [*units, metric, arm], arguments)
        labels = table[arm].astype(str)
        names = arguments.arms
        for name in names:
            if not (labels == name).any():
                values = sorted(labels.unique())
                raise UsageError(f"--arms: {arm!r} in {path} is never {name!r}; it is {_listed(values)}")
        tables = [table[labels == name] for name in names]
        sources = [f"{name!r} of {path}" for name in names]
    series = [_series(*pair, metric, units) for pair in zip(tables, sources, strict=True)]
    return (clean(names[0]), clean(names[1])), series


def _read(path: Path, columns: list[str], arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the named columns of a CSV or Parquet file; raise UsageError where the file does not have them."""
    import pandas as pd

    seen: list[str] = []

    def is_needed(name: Any) -> bool:
        seen.append(str(name))
        return name in columns

    types = {arguments.arm: str} if arguments.arm else None
    try:
        if path.suffix.lower() in PARQUET:
            seen += _parquet_columns(path)
            table = pd.read_parquet(path, columns=[name for name in columns if name in seen])
        else:
            table = pd.read_csv(path, usecols=is_needed, dtype=types, low_memory=False, index_col=False)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or first_line(error)}") from None
    except (
        ValueError,
        OverflowError,
        pd.errors.ParserWarning,
    ) as error:  # what pandas says of a file that is no table
        raise UsageError(f"{path} is not a table: {clean(first_line(error))}") from None
    for name in columns:
        if name not in table.columns:
            option = "unit" if name in arguments.unit else "metric" if name == arguments.metric else "arm"
            raise UsageError(
                f"--{option}: {path} has no column {name!r}; it has {_listed(dict.fromkeys(seen))}"
            )
    if table.empty:
        raise UsageError(f"{path} has no rows")
    return table


def _parquet_columns(path: Path) -> list[str]:
    try:
        from pyarrow.parquet import read_schema
    except ImportError:
        raise UsageError(f"{path} is a Parquet file, which needs pyarrow: pip install pyarrow") from None
    return list(read_schema(path).names)


def _series(table: pd.DataFrame, source: str, metric: str, units: list[str]) -> pd.Series:
    """Return the metric as numbers, indexed by unit; raise UsageError where a row has no unit or no number."""
    import pandas as pd

    for name in units:
        if table[name].isna().any():
            raise UsageError(
                f"--unit: {plural(int(table[name].isna().sum()), 'row')} of {source} lack {name!r}"
            )
    values = table.set_index(units)[metric]
    numbers = values
    if not pd.api.types.is_numeric_dtype(values):
        numbers = pd.to_numeric(values, errors="coerce")
        if (text := numbers.isna() & values.notna()).any():
            unit, value = values[text].index[0], clean(values[text].iloc[0], 40)
            raise UsageError(
                f"--metric: {metric!r} must be numbers; {source} has {value!r} at {_named(unit, units)}"
            )
    if (missing := numbers.isna()).any():
        where = _listed(_named(unit, units) for unit in numbers[missing].index)
        raise UsageError(
            f"--metric: {metric!r} has no value in {source} at {where}; a failed run counts too: "
            "give it the value of a guess, or remove the unit from both arms"
        )
    if (repeated := numbers.index.duplicated()).any():
        where = _listed(_named(unit, units) for unit in numbers.index[repeated].unique())
        raise UsageError(
            f"--unit: {source} has more than one row for {where}; "
            "name all columns that tell the rows apart, such as --unit task,seed"
        )
    return numbers.astype(float)


def _default_bounds(metric: str, a: pd.Series, b: pd.Series) -> tuple[float, float]:
    """Return 0 and 1 where all values are within."""
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    raise UsageError(
        f"--bounds LOW:HIGH is needed: {metric!r} goes from {low:g} to {high:g}, and the interval rests on the "
        "smallest and the largest value that is possible, not that was seen; for a metric without bounds, such as a "
        "time or a loss, compare a bounded one made from it, such as 1 where a target is met and 0 elsewhere"
    )


def _compare(a: pd.Series, b: pd.Series, names: tuple[str, str], **rule: Any) -> Comparison:
    from qwerties.stats.compare import compare

    low, high = rule["bounds"]
    for name, values in zip(names, (a, b), strict=True):
        if len(outside := values[(values < low) | (values > high)]):
            raise UsageError(
                f"--bounds: {plural(len(outside), 'value')} of {name} not within {low:g}:{high:g}, "
                f"such as {outside.iloc[0]:g}"
            )
    try:
        result = compare(a, b, **rule)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if result.n < 2:
        raise UsageError("the two arms share one unit; a comparison needs at least two")
    return result


# The picture


def _plot(path: Path, result: Comparison, names: tuple[str, str], metric: str, unit: str) -> None:
    """Draw how the interval narrowed."""
    import pandas as pd

    from qwerties.plotting import style
    from qwerties.plotting.axes import panels
    from qwerties.plotting.evidence import evidence
    from qwerties.stats.planning import narrowing

    course = narrowing(result.differences, alpha=result.alpha, bounds=result.bounds, margin=result.margin)
    frame = pd.DataFrame(course._asdict()).rename(columns={"counts": "count"})
    words = {"unit": unit, "title": f"{metric}: {names[0]} − {names[1]}"}
    arguments = {"frame": frame, "margin": result.margin, "decided": course.decided, **words}
    fig = panels([(evidence, arguments)], height=3.6)
    try:
        path.write_bytes(style.png(fig, 150) if path.suffix.lower() == ".png" else style.svg(fig))
    except OSError as error:
        raise UsageError(f"--plot: {path} cannot be written: {error.strerror}") from None


# Parts of lines


def _named(unit: Any, names: list[str]) -> str:
    """Return a unit with the names of its columns: ``task 3, seed 7``."""
    parts = unit if isinstance(unit, tuple) else (unit,)
    return ", ".join(f"{name} {clean(part, 40)}" for name, part in zip(names, parts, strict=True))


def _listed(items: Any) -> str:
    """Return the first few items, and how many more there are."""
    items = [clean(", ".join(map(str, item)) if isinstance(item, tuple) else item, 40) for item in items]
    more = f" and {len(items) - MAX_NAMED:,} more" if len(items) > MAX_NAMED else ""
    return "; ".join(items[:MAX_NAMED]) + more


# Options


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"unit must be column names with commas between them, got {text!r}")
    return names


def _bounds(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        low, high = math.nan, math.nan
    if not (math.isfinite(high - low) and low < high):
        raise argparse.ArgumentTypeError(
            f"bounds must be two finite numbers, the smaller one first, as in 0:1 or --bounds=-1:1, got {text!r}"
        )
    return low, high


def _number(name: str, low: float, high: float) -> Any:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low < number < high:
            rule = f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"{name} must be a number {rule}, got {text!r}")
        return number

    return parse


def _one_of(name: str, choices: tuple[str, ...]) -> Any:
    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{name} must be one of {', '.join(choices)}, got {text!r}")
        return text

    return parse
