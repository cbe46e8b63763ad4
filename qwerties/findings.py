"""Planned contrasts -> the table of three views and a verdict each. All inference is `stats`'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qwerties import theory
from qwerties.config import Config
from qwerties.illustrations import config_names, draw_contrasts
from qwerties.ledger import Ledger, Networks, PlannedContrast
from qwerties.markup import bounds, number, p_value, percent, plural
from qwerties.page import Cell, ContrastRow, ContrastTable, Numbers, said, share_bounds, shown
from qwerties.stats import FAMILY_ERROR, FEWEST, LEARNED, Comparison, compare, holm

PRIMARY = 6
"""Primary contrasts that the study planned (SCIENCE.md), whatever of them is tracked yet."""


def contrast_table(
    ledger: Ledger, networks: Mapping[int, Networks], complete: bool, numbers: Numbers
) -> ContrastTable | None:
    """Compare what was to be compared.

    Parameters
    ----------
    ledger : Ledger
    networks : mapping of int to Networks
        Of the entries that could be read, by their place in the ledger.
    complete : bool
        Whether the whole design is there: verdicts are withheld until it is.
    numbers : Numbers

    Returns
    -------
    ContrastTable or None
        None where nothing was to be compared.
    """
    if not ledger.contrasts:
        return None
    exploratory = sum(not contrast.primary for contrast in ledger.contrasts)
    compared = [_compare(ledger, contrast, networks, exploratory) for contrast in ledger.contrasts]
    adjusted = holm(
        [
            found.p_value if found is not None and not contrast.primary else np.nan
            for contrast, found in zip(ledger.contrasts, compared, strict=True)
        ]
    )
    among = [side for contrast in ledger.contrasts for side in (contrast.a, contrast.b)]
    rows, drawn = [], []
    for contrast, found, p in zip(ledger.contrasts, compared, adjusted, strict=True):
        where = _shared(contrast, among)
        sides = " − ".join(side.replace(" · ", ", ") for side in _sides(contrast))
        cells = _views(found, float(p), contrast.primary) if found is not None else (Cell("–"),) * 8
        if found is not None and not np.isnan(found.difference.estimate):
            drawn.append((f"{sides} at {where}" if where else sides, found))
        verdict, told = "withheld", False
        if complete and found is not None:
            verdict, told = found.words, found.verdict.kind not in ("inconclusive", "too_few", "incomplete")
        rows.append(
            ContrastRow(
                sides,
                where,
                "primary" if contrast.primary else "exploratory",
                verdict,
                told,
                cells,
            )
        )
    return ContrastTable(
        shown(draw_contrasts(drawn), numbers) if drawn else None,
        numbers.table(),
        "Contrasts, A − B on the same seeds, in population accuracy.",
        (
            "Pairs",
            "A learned",
            "B learned",
            "McNemar p",
            "Difference where both learned",
            "Mean difference",
            "δ (smallest)",
            "Holm p",
        ),
        tuple(rows),
        _contrast_notes(ledger),
    )


def _compare(
    ledger: Ledger, contrast: PlannedContrast, networks: Mapping[int, Networks], exploratory: int
) -> Comparison | None:
    entries = [ledger.find(side) for side in (contrast.a, contrast.b)]
    sides = [networks.get(ledger.entries.index(entry)) for entry in entries if entry is not None]
    found = [side for side in sides if side is not None]
    if len(found) < 2:
        return None
    best = max(float(theory.bayes_accuracy(side.distance)) for side in (contrast.a, contrast.b))
    name_a, name_b = _sides(contrast)
    return compare(
        found[0].frame,
        found[1].frame,
        delta=contrast.delta,
        level=1 - FAMILY_ERROR / PRIMARY if contrast.primary else 0.95,
        family_size=PRIMARY if contrast.primary else exploratory,
        headroom=max(best - 0.5, 1e-9),
        name_a=name_a,
        name_b=name_b,
    )


def _sides(contrast: PlannedContrast) -> tuple[str, str]:
    """Names of both sides, by what differs between them."""
    a, b = (side.label([contrast.a, contrast.b]) for side in (contrast.a, contrast.b))
    return a, b


def _shared(contrast: PlannedContrast, among: Sequence[Config]) -> str:
    """What both sides share that other contrasts beside them do not."""
    names = dict(zip(among, config_names(among), strict=True))
    a, b = (names[side].split(" · ") for side in (contrast.a, contrast.b))
    return " · ".join(part for part in a if part in b)


def _views(found: Comparison, adjusted: float, primary: bool) -> tuple[Cell, ...]:
    rule, *others = found.learned
    others_a, others_b = (
        ", ".join(percent(getattr(at, name).estimate) for at in others) for name in ("a", "b")
    )
    return (
        Cell(f"{found.n:,}", said(_left_out(found))),
        Cell(percent(rule.a.estimate), said(share_bounds(rule.a), others_a)),
        Cell(percent(rule.b.estimate), said(share_bounds(rule.b), others_b)),
        Cell(p_value(rule.p_value), (f"{rule.only_a} : {rule.only_b}",)),
        Cell(
            number(found.conditional.estimate, 4, sign=True),
            said(bounds(found.conditional, 4, sign=True), plural(found.conditional.n, "seed")),
        ),
        Cell(number(found.difference.estimate, 4, sign=True), said(bounds(found.difference, 4, sign=True))),
        Cell(f"{found.delta:g}", (f"({number(found.smallest_delta, 4)})",)),
        Cell("–" if primary else p_value(adjusted)),
    )


def _left_out(found: Comparison) -> str:
    unpaired = len(found.only_a) + len(found.only_b)
    diverged = len(found.a.diverged) + len(found.b.diverged)
    said = [f"{unpaired} unpaired"] * bool(unpaired) + [f"{diverged} diverged"] * bool(diverged)
    return ", ".join(said)


def _contrast_notes(ledger: Ledger) -> tuple[str, ...]:
    primary = any(contrast.primary for contrast in ledger.contrasts)
    exploratory = any(not contrast.primary for contrast in ledger.contrasts)
    others = " and ".join(f"{gain:g}" for gain in LEARNED[1:])
    notes = [
        f"A learned, B learned: with Wilson intervals, and below them the share at gains of {others} instead of "
        f"{LEARNED[0]:g}. McNemar: the exact test, and on how many seeds only A : only B learned. The verdict comes "
        f"from the mean difference over all pairs, at least {FEWEST}; in brackets, the smallest δ that would have "
        "given equivalence."
    ]
    if primary:
        level = percent(1 - FAMILY_ERROR / PRIMARY)
        notes.append(
            f"Primary: one of {PRIMARY} contrasts fixed beforehand, all intervals at {level} (Bonferroni)."
        )
    if exploratory:
        notes.append(
            "Exploratory: intervals at 95% each; p-values adjusted by Holm's method among those here."
        )
    if any(c.a.hidden != c.b.hidden or c.a.init != c.b.init for c in ledger.contrasts):
        notes.append(
            "Where shapes or kinds of initial weights differ, both sides share a seed's data, not its weights."
        )
    return tuple(notes)
