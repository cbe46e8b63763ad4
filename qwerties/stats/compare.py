"""Two tables of paired results -> the verdict on their mean difference.

The unit is what both arms share: a seed, a test case, a task with a seed. All inference is on the differences A − B
per unit, by the confidence sequence of `confidence`. The module knows nothing of networks or stores.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qwerties.stats.confidence import check, confidence_sequence
from qwerties.stats.formats import listed
from qwerties.stats.planning import units_needed
from qwerties.stats.verdict import UNDECIDED, decide, mirrored, words

if TYPE_CHECKING:
    import pandas as pd

MANY_VALUES = 10  # different values of a metric on which no two systems agree throughout by chance


@dataclass(frozen=True)
class Comparison:
    """The mean difference A − B over paired units, with its interval and verdict."""

    n: int  # pairs compared
    estimate: float
    low: float  # bounds of the interval, which holds wherever one stops
    high: float
    alpha: float  # probability that the true mean is ever outside
    margin: float  # the smallest difference that matters
    bounds: tuple[float, float]  # the smallest and largest difference that is possible
    verdict: str  # one of `verdict.VERDICTS`
    unpaired_a: tuple[Any, ...] = ()  # units that only A has; they are not compared
    unpaired_b: tuple[Any, ...] = ()
    missing: tuple[Any, ...] = ()  # paired units without a value in one arm or both; they are not compared
    needed: int | None = None  # about how many units in all would decide it, None where that is beyond reach
    units: tuple[Any, ...] = field(default=(), compare=False, repr=False)  # compared, in their order
    differences: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False, repr=False)

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the mean difference."""
        return self.low, self.high

    @property
    def equivalence_margin(self) -> float:
        """The margin beyond which the interval means "equivalent"."""
        return max(abs(self.low), abs(self.high))

    def words(self, a: str = "A", b: str = "B", *, unit: str = "unit") -> str:
        """Return the verdict as a sentence without its full stop."""
        interval = {"low": self.low, "high": self.high}
        return words(self.verdict, a, b, self.margin, **interval, needed=self.needed, unit=unit)

    def warning(self, unit: str = "unit") -> str:
        """Return what speaks against the interval; empty where nothing does."""
        if not (self.estimate < self.low or self.estimate > self.high):
            return ""
        return f"the mean is outside its interval; the outcome seems to depend on the order of the {unit}s"

    def meets(self, expectation: str) -> bool:
        """Return whether this shows what was expected.

        Parameters
        ----------
        expectation : {"a_better", "b_better", "equivalent", "not_worse"}
            ``not_worse``: A is not worse than B by more than the margin. Identical runs are equivalent and not worse.
        """
        if expectation == "not_worse":
            return self.low > -self.margin or self.verdict == "identical"
        return expectation == ("equivalent" if self.verdict == "identical" else self.verdict)

    def swapped(self) -> Comparison:
        """Return the comparison of B with A."""
        return replace(
            self,
            estimate=0.0 - self.estimate,
            low=0.0 - self.high,
            high=0.0 - self.low,
            bounds=(0.0 - self.bounds[1], 0.0 - self.bounds[0]),
            verdict=mirrored(self.verdict),
            unpaired_a=self.unpaired_b,
            unpaired_b=self.unpaired_a,
            differences=0.0 - self.differences,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON; what is undefined is None."""
        names = ("verdict", "estimate", "low", "high", "n", "alpha", "margin")
        return {
            **{name: getattr(self, name) for name in names},
            "estimate": None if math.isnan(self.estimate) else self.estimate,
            "unpaired": {"a": list(self.unpaired_a), "b": list(self.unpaired_b)},
            "needed": self.needed,
        }

    def to_markdown(self, a: str = "A", b: str = "B", *, unit: str = "unit") -> str:
        """Return the result as a Markdown paragraph and a table, for a pull request."""
        texts = (self.words(a, b, unit=unit), a, b, unit)  # names are no markup
        sentence, a, b, unit = (re.sub(r"([\\`*~<|\[])", r"\\\1", text) for text in texts)
        rows = {
            f"Mean difference, {a} − {b}": f"{self.estimate:+.4g}",
            f"{100 * (1 - self.alpha):g}% interval, wherever one stops": f"[{self.low:+.4g}, {self.high:+.4g}]",
            f"Paired {unit}s": f"{self.n:,}",
            "Margin": f"{self.margin:g}",
        }
        left_out = f"{len(self.unpaired_a):,} only in {a}, {len(self.unpaired_b):,} only in {b}"
        if self.missing:
            left_out += f", {len(self.missing):,} without a value"
        if self.unpaired_a or self.unpaired_b or self.missing:
            rows["Left out"] = left_out
        if warning := self.warning(unit):
            rows["Warning"] = warning
        lines = [f"**{sentence}**", "", "| | |", "|---|---|"]
        return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()]) + "\n"


def compare(
    a: pd.Series | pd.DataFrame,
    b: pd.Series | pd.DataFrame,
    *,
    bounds: tuple[float, float],
    margin: float,
    alpha: float = 0.05,
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """Compare a bounded metric of two arms, unit by unit.

    Units that are numbers (seeds) are weighed in ascending order, so that more seeds extend the sequence.
    Other units (names, several columns) are weighed in the order of a fixed hash of their names: their alphabetical
    order often groups units that behave alike, and the method needs an order that tells nothing about the outcome.
    The order of the rows never matters.

    Arms that agree on every unit are "identical" where the metric has at least `MANY_VALUES` values. Two systems
    may well have the same few outcomes of 0 and 1, or grades, by chance: those are weighed like any others.

    Parameters
    ----------
    a, b : Series, or DataFrame with one column
        The metric, indexed by unit; the index may have several levels.
    bounds : tuple of float
        The smallest and the largest value that the metric can have.
    margin : float
        The smallest difference that matters, in the metric's unit.
    alpha : float
        Probability that the true mean difference is ever outside the interval, wherever one stops.
    names : tuple of str
        The arms in messages.

    Returns
    -------
    Comparison
        Units of one arm alone and units without a value are left out and named.

    Raises
    ------
    ValueError
        If the metric is not numeric or outside the bounds, a unit is missing or occurs twice, no unit is in both
        arms, or an argument is out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> b = pd.Series([0.5, 0.6, 0.7, 0.8] * 100)  # the index is the seed
    >>> result = compare(b + 0.1, b, bounds=(0, 1), margin=0.01)
    >>> result.words("new", "old", unit="seed")
    'new beats old by more than 0.01'
    >>> result.n, round(result.estimate, 3)
    (400, 0.1)
    """
    low, high = check(np.empty(0), alpha, bounds)
    if not (isinstance(margin, Real) and math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be a finite number above 0, got {margin!r}")
    if margin >= high - low:
        raise ValueError(f"margin must be less than the range of the bounds, {high - low:g}, got {margin:g}")
    values_a, values_b = (
        _checked(values, name, low, high) for values, name in zip((a, b), names, strict=True)
    )
    units = _in_order(_shared_units(values_a.index, values_b.index, names))
    paired_a, paired_b = values_a.reindex(units), values_b.reindex(units)
    absent = (paired_a.isna() | paired_b.isna()).to_numpy(bool)  # (units,)
    x, y = paired_a.to_numpy(float)[~absent], paired_b.to_numpy(float)[~absent]  # (n,)
    differences, possible = x - y, (low - high, high - low)
    (lower,), (upper,) = confidence_sequence(differences, alpha=alpha, bounds=possible)
    identical = bool((x == y).all()) and len(np.unique(x)) >= MANY_VALUES
    verdict = decide(float(lower), float(upper), margin, identical=identical)
    needed = None
    if verdict in UNDECIDED:
        needed = units_needed(differences, alpha=alpha, margin=margin, bounds=possible)
    return Comparison(
        n=len(differences),
        estimate=float(differences.mean()) if len(differences) else math.nan,
        low=float(lower),
        high=float(upper),
        alpha=float(alpha),
        margin=float(margin),
        bounds=possible,
        verdict=verdict,
        needed=needed,
        units=tuple(units[~absent].tolist()),
        differences=differences,
        unpaired_a=tuple(_in_order(values_a.index.difference(units, sort=False)).tolist()),
        unpaired_b=tuple(_in_order(values_b.index.difference(units, sort=False)).tolist()),
        missing=tuple(units[absent].tolist()),
    )


def _checked(values: pd.Series | pd.DataFrame, arm: str, low: float, high: float) -> pd.Series:
    """Return the metric as a Series of floats with unique units; raise ValueError with what is wrong."""
    import pandas as pd

    if isinstance(values, pd.DataFrame):
        if values.shape[1] != 1:
            raise ValueError(f"{arm} must have one column, the metric, got {list(values.columns)}")
        values = values.iloc[:, 0]
    if not isinstance(values, pd.Series):
        raise ValueError(f"{arm} must be a pandas Series indexed by unit, got {type(values).__name__}")
    if not pd.api.types.is_numeric_dtype(values):
        raise ValueError(f"the metric of {arm} must be numbers, got {values.dtype}")
    if any(values.index.get_level_values(level).hasnans for level in range(values.index.nlevels)):
        raise ValueError(f"each value of {arm} must have a unit, the index has NaN")
    if len(repeated := values.index[values.index.duplicated()]):
        raise ValueError(
            f"each unit must occur once in {arm}; more often: {listed(repeated.unique())}. If other columns tell these "
            "rows apart, they belong to the unit too"
        )
    numbers = values.astype(float)
    if len(outside := numbers[(numbers < low) | (numbers > high)]):
        where = f"{outside.iloc[0]:g} at unit {listed(outside.index)}"
        raise ValueError(f"the metric must be from {low:g} to {high:g}; outside in {arm}: {where}")
    return numbers


def _shared_units(a: pd.Index, b: pd.Index, names: tuple[str, str]) -> pd.Index:
    """Return the units that both arms have; raise ValueError where the two arms' units do not fit together."""
    levels = list(a.names), list(b.names)
    if a.nlevels != b.nlevels or (levels[0] != levels[1] and set(levels[0]) == set(levels[1])):
        raise ValueError(
            f"units must have the same levels in the same order, got {levels[0]} and {levels[1]}"
        )
    units = a.intersection(b, sort=False)
    if not len(units):
        kinds = "" if _are_numbers(a) == _are_numbers(b) else ", numbers in one and text in the other"
        raise ValueError(
            f"the two arms share no unit{kinds}: {names[0]} has {listed(a)}; {names[1]} has {listed(b)}"
        )
    return units


def _are_numbers(units: pd.Index) -> list[bool]:
    """Return for each level of the units whether it holds numbers."""
    import pandas as pd

    return [pd.api.types.is_numeric_dtype(units.get_level_values(k)) for k in range(units.nlevels)]


def _in_order(units: pd.Index) -> pd.Index:
    """Return the units in the order in which they are weighed."""
    import pandas as pd

    if _are_numbers(units) == [True]:
        return units.sort_values()
    hashed: pd.Index | pd.DataFrame = units
    if isinstance(units, pd.MultiIndex):
        hashed = units.to_frame(index=False, name=list(range(units.nlevels))).apply(_whole_as_integers)
    hashes = pd.util.hash_pandas_object(hashed, index=False).to_numpy()
    return units[np.argsort(hashes, kind="stable")]


def _whole_as_integers(column: pd.Series) -> pd.Series:
    """Return floats as integers where all are whole: the seeds 1 and 1.0 are the same, and need the same hash."""
    import pandas as pd

    if not pd.api.types.is_float_dtype(column):
        return column
    whole = pd.to_numeric(column, downcast="integer")
    return whole.astype("int64") if pd.api.types.is_integer_dtype(whole) else column
