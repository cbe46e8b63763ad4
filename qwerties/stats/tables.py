"""CSV and Parquet files of paired results -> one Series per arm, indexed by unit. Nothing is guessed or left out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwerties.errors import clean, first_line, plural, reason_of, suggestion
from qwerties.stats.formats import listed

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")
NO_VALUE = ("", "NA", "N/A", "n/a", "NaN", "nan", "None", "NULL", "null")


def read_table(path: Path, metric: str, units: Sequence[str], arm: str | None = None) -> pd.DataFrame:
    """Read the named columns of a CSV file, which may be compressed, or of a Parquet file, ``.parquet`` or ``.pq``.

    In a CSV file, the texts of `NO_VALUE` are missing values of the metric. In the columns ``units`` and ``arm`` only
    an empty field is one. The arm's names stay text.

    Raises
    ------
    ValueError
        If the file cannot be read, is no table, lacks a column, or has no rows.
    """
    import pandas as pd

    arms = [] if arm is None else [arm]
    is_parquet = path.suffix.lower() in PARQUET
    file = path.absolute()  # pandas takes a relative path such as `http:x.csv` for an address
    try:
        if is_parquet:
            file.stat()  # fails with a reason, unlike pyarrow, where there is no file
            table = pd.read_parquet(file)
            table = table.reset_index() if any(table.index.names) else table  # pandas stores its index too
        else:
            missing = {**dict.fromkeys([*units, *arms], ""), metric: NO_VALUE}
            types = dict.fromkeys(arms, str)
            options: Any = {"skipinitialspace": True, "index_col": False, "low_memory": False}
            with warnings.catch_warnings(action="ignore"):  # fields beyond the header
                table = pd.read_csv(file, na_values=missing, keep_default_na=False, dtype=types, **options)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or first_line(error)}") from None
    except ImportError as error:
        if is_parquet:
            raise ValueError(f"{path} is a Parquet file, which needs pyarrow: pip install pyarrow") from None
        raise ValueError(f"{path} cannot be read: {first_line(error)}") from None
    except Exception as error:  # pandas, pyarrow and each compression have errors of their own
        raise ValueError(f"{path} is not a table: {clean(reason_of(error))}") from None
    columns = [*units, metric, *arms]
    known = list(map(str, table.columns))
    for name in columns:
        if name not in known:
            if len(known) == 1 and {";", "\t"} & set(known[0]):
                raise ValueError(f"{path} must have commas between its columns, got {clean(known[0], 40)!r}")
            raise ValueError(
                f"{path} has no column {name!r}; it has {listed(known)}{suggestion(name, known)}"
            )
    if table.empty:
        raise ValueError(f"{path} has no rows")
    return table[columns]


def metric_by_unit(table: pd.DataFrame, metric: str, units: Sequence[str], source: str) -> pd.Series:
    """Return a column as numbers, indexed by the columns ``units``, which pair the rows of two arms.

    Messages name the table by its ``source``.

    Raises
    ------
    ValueError
        If a row has no unit that can be compared, or no number.
    """
    import pandas as pd

    for name in units:
        if lacking := int(table[name].isna().sum()):
            raise ValueError(f"{plural(lacking, 'row')} of {source} without {name!r}")
        if not pd.api.types.is_hashable(value := table[name].iloc[0]):  # a Parquet file's lists
            raise ValueError(f"{name!r} must be numbers or text, {source} has {clean(value, 40)!r}")
    values = table.set_index(list(units))[metric]
    numbers = values if pd.api.types.is_numeric_dtype(values) else pd.to_numeric(values, errors="coerce")
    if (is_text := numbers.isna() & values.notna()).any():
        unit, value = values[is_text].index[0], clean(values[is_text].iloc[0], 40)
        raise ValueError(f"{metric!r} must be a number, {source} has {value!r} at {_named(unit, units)}")
    if (missing := numbers.isna()).any():
        where = listed(_named(unit, units) for unit in numbers[missing].index)
        raise ValueError(
            f"{metric!r} has no value in {source} at {where}; a failed run counts too: "
            "give it the value of a guess, or remove the unit from both arms"
        )
    return numbers.astype(float)


def _named(unit: Any, names: Sequence[str]) -> str:
    """Return a unit with the names of its columns: ``task 3 seed 7``."""
    parts = unit if isinstance(unit, tuple) else (unit,)
    return " ".join(f"{name} {clean(part, 40)}" for name, part in zip(names, parts, strict=True))
