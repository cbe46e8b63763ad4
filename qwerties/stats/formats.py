"""Numbers -> the text that people read: a true minus sign, a dash where a number is undefined."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from qwerties.errors import clean

if TYPE_CHECKING:
    from qwerties.stats.intervals import Interval

MAX_LISTED = 5  # items that a line names


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Write a number with a true minus sign; a dash where it is undefined."""
    if not math.isfinite(value):
        return "–"
    text = f"{value + 0.0:{'+' if sign else ''}.{digits}f}"
    return re.sub(r"^[+-](?=0\.?0*$)", "", text).replace("-", "−")


def bounds(interval: Interval, digits: int = 3, *, sign: bool = False, scale: float = 1) -> str:
    """Write an interval's bounds; nothing where they are undefined."""
    if math.isnan(interval.lo):
        return ""
    return "[{}, {}]".format(*(number(scale * end, digits, sign=sign) for end in (interval.lo, interval.hi)))


def percent(share: float, digits: int = 1) -> str:
    """Write a share as whole percents, with `digits` decimals below 1% and above 99% unless it is exact."""
    if not math.isfinite(share):
        return "–"
    near_end = 0 < share < 0.01 or 0.99 < share < 1
    return f"{100 * share:.{digits if near_end else 0}f}%"


def listed(items: Iterable[object]) -> str:
    """Name the first few items, and how many more there are; semicolons stand between tuples."""
    items = list(items)
    texts = [
        clean(", ".join(map(str, item)) if isinstance(item, tuple) else item, 40)
        for item in items[:MAX_LISTED]
    ]
    more = f" and {len(items) - MAX_LISTED:,} more" if len(items) > MAX_LISTED else ""
    return ("; " if isinstance(items[0], tuple) else ", ").join(texts) + more if items else "none"
