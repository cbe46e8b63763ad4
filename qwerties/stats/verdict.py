"""Interval and margin -> verdict, and the verdict in words."""

from __future__ import annotations

import math

VERDICTS = ("a_better", "b_better", "equivalent", "a_ahead", "b_ahead", "open", "identical")
UNDECIDED = ("a_ahead", "b_ahead", "open")  # more units may still change these


def decide(low: float, high: float, margin: float, *, identical: bool = False) -> str:
    """Return the verdict on an interval for the mean difference A − B.

    The first rule that applies decides: beyond the margin on one side, ``a_better`` or ``b_better``; within ±margin,
    ``equivalent`` (the interval rule of Schuirmann 1987; Lakens 2017); without 0, ``a_ahead`` or ``b_ahead``; else
    ``open``. Arms that are the same runs are ``identical``, and nothing is inferred.
    """
    if identical:
        return "identical"
    if low > margin:
        return "a_better"
    if high < -margin:
        return "b_better"
    if -margin < low and high < margin:
        return "equivalent"
    if low > 0:
        return "a_ahead"
    if high < 0:
        return "b_ahead"
    return "open"


def words(
    verdict: str,
    a: str,
    b: str,
    margin: float,
    *,
    low: float = math.nan,
    high: float = math.nan,
    needed: int | None = None,
    unit: str = "unit",
) -> str:
    """Return the verdict on arms named `a` and `b` as a sentence without its full stop.

    Bounds that exclude 0 let "equivalent" name the arm that is slightly ahead. An undecided verdict tells how many
    units are `needed`; None means more than are within reach. `unit` is what a unit is, in the singular.
    """
    if verdict.startswith("b_"):
        return words(mirrored(verdict), b, a, margin, low=-high, high=-low, needed=needed, unit=unit)
    more = f"about {needed:,} {unit}s" if needed else f"no number of {unit}s within reach"
    slightly = f"; {a} slightly ahead" if low > 0 else f"; {b} slightly ahead" if high < 0 else ""
    sentences = {
        "a_better": f"{a} beats {b} by more than {margin:g}",
        "equivalent": f"{a} and {b} are equivalent within {margin:g}{slightly}",
        "a_ahead": f"{a} is ahead of {b}; by how much relative to {margin:g} is open; {more} would decide it",
        "open": f"open; {more} would decide it",
        "identical": f"identical runs: {a} and {b} agree on every {unit}",
    }
    if verdict not in sentences:
        raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}, got {verdict!r}")
    return sentences[verdict]


def mirrored(verdict: str) -> str:
    """Return the verdict with the arms swapped."""
    other = {"a_": "b_", "b_": "a_"}
    return other.get(verdict[:2], verdict[:2]) + verdict[2:]
