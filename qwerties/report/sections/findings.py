"""Findings -> the table of an experiment's contrasts: three views and a verdict each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qwerties.analysis.contrasts import Evidence, Finding
from qwerties.analysis.verdicts import make_verdicts
from qwerties.errors import clean, plural
from qwerties.report.elements import (
    Cell,
    ContrastRow,
    ContrastTable,
    Headline,
    Link,
    Numbers,
    Shown,
    run_url,
    said,
    share_bounds,
    shown,
)
from qwerties.report.figures import draw_contrasts
from qwerties.stats.formats import bounds, number, p_value, percent
from qwerties.stats.legacy import LEARNED, LOOKS, Comparison


def contrast_table(evidence: Evidence, numbers: Numbers) -> ContrastTable | None:
    """Make the table of an experiment's contrasts; None where nothing was to be compared."""
    if not evidence.findings:
        return None
    drawn = [
        (f"{finding.sides} at {finding.where}" if finding.where else finding.sides, finding.comparison)
        for finding in evidence.findings
        if finding.comparison is not None and not np.isnan(finding.comparison.difference.estimate)
    ]
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
        tuple(_row(finding) for finding in evidence.findings),
        _notes(evidence),
        tuple(make_verdicts([evidence])["contrasts"]),
    )


def top_picture(findings: Sequence[Finding], numbers: Numbers) -> Shown | None:
    """Draw the findings that the page begins with on one scale; None where there is nothing to draw."""
    drawn = [
        (f"{clean(finding.title)}: {finding.sides}", finding.comparison)
        for finding in findings
        if finding.comparison is not None and not np.isnan(finding.comparison.difference.estimate)
    ]
    return shown(draw_contrasts(drawn), numbers) if drawn else None


def headlines(findings: Sequence[Finding], anchors: Mapping[str, str], base: str) -> tuple[Headline, ...]:
    """Put findings into the list that the page begins with.

    Parameters
    ----------
    findings : sequence of Finding
    anchors : mapping of str to str
        Section of each experiment's file stem.
    base : str
        Address of MLflow's UI.
    """
    return tuple(_headline(finding, anchors[finding.stem], base) for finding in findings)


def _headline(finding: Finding, anchor: str, base: str) -> Headline:
    found = finding.comparison
    numbers: tuple[str, ...] = ()
    if found is not None:
        numbers = said(
            f"{number(found.difference.estimate, 4, sign=True)} {bounds(found.difference, 4, sign=True)}".strip(),
            f"δ = {found.delta:g}",
            plural(found.n, "pair"),
        )
    return Headline(
        f"{finding.sides} at {finding.where}" if finding.where else finding.sides,
        finding.words,
        finding.told,
        "primary" if finding.contrast.primary else "exploratory",
        numbers,
        bool(finding.plan_changes),
        anchor,
        clean(finding.title),
        tuple(
            Link(f"{side} run {i + 1}" if len(runs) > 1 else f"{side} run", run_url(base, run))
            for side, runs in (("A", finding.runs_a), ("B", finding.runs_b))
            for i, run in enumerate(runs)
        ),
    )


def _row(finding: Finding) -> ContrastRow:
    found = finding.comparison
    return ContrastRow(
        finding.sides,
        finding.where,
        "primary" if finding.contrast.primary else "exploratory",
        finding.words,
        finding.told,
        _views(finding, found) if found is not None else (Cell("–"),) * 8,
    )


def _views(finding: Finding, found: Comparison) -> tuple[Cell, ...]:
    rule, *others = found.learned
    others_a, others_b = (
        ", ".join(percent(getattr(at, name).estimate) for at in others) for name in ("a", "b")
    )
    return (
        Cell(f"{found.n:,}", said(_left_out(finding, found))),
        Cell(percent(rule.a.estimate), said(share_bounds(rule.a), others_a)),
        Cell(percent(rule.b.estimate), said(share_bounds(rule.b), others_b)),
        Cell(p_value(rule.p_value), (f"{rule.only_a} : {rule.only_b}",)),
        Cell(
            number(found.conditional.estimate, 4, sign=True),
            said(bounds(found.conditional, 4, sign=True), plural(found.conditional.n, "seed")),
        ),
        Cell(number(found.difference.estimate, 4, sign=True), said(bounds(found.difference, 4, sign=True))),
        Cell(f"{found.delta:g}", (f"({number(found.smallest_delta, 4)})",)),
        Cell("–" if finding.contrast.primary else p_value(finding.holm)),
    )


def _left_out(finding: Finding, found: Comparison) -> str:
    unpaired = len(found.only_a) + len(found.only_b)
    diverged = len(found.a.diverged) + len(found.b.diverged)
    counts = {"unpaired": unpaired, "diverged": diverged, "waiting": finding.waiting}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _notes(evidence: Evidence) -> tuple[str, ...]:
    contrasts = evidence.ledger.contrasts
    others = " and ".join(f"{gain:g}" for gain in LEARNED[1:])
    levels = {
        finding.contrast.primary: percent(finding.comparison.level, 2)
        for finding in evidence.findings
        if finding.comparison is not None
    }
    notes = [
        f"A learned, B learned: with Wilson intervals, and below them the share at gains of {others} instead of "
        f"{LEARNED[0]:g}. McNemar: the exact test, and on how many seeds only A : only B learned. The verdict comes "
        "from the mean difference over all pairs. Its interval is Student’s t, widened by what flips too rare to be "
        "seen on so many seeds could add; in brackets, the smallest δ that would have given equivalence."
    ]
    if True in levels:
        size = next(finding.family_size for finding in evidence.findings if finding.contrast.primary)
        notes.append(
            f"Primary: one of {size} contrasts fixed beforehand, all intervals here at {levels[True]}, so that any "
            "wrong claim among them, at any of the planned looks, has a chance of at most 5%."
        )
    if False in levels:
        notes.append(
            f"Exploratory: a family of its own, intervals at {levels[False]}; p-values adjusted by Holm’s method."
        )
    if any(finding.waiting for finding in evidence.findings):
        looks = ", ".join(f"{seeds:,}" for seeds in LOOKS)
        notes.append(
            f"Waiting: pairs beyond the last planned look; looks are at {looks} pairs, as looking whenever one likes "
            "would raise the chance of a wrong claim."
        )
    if any(c.a.hidden != c.b.hidden or c.a.init != c.b.init for c in contrasts):
        notes.append(
            "Where shapes or kinds of initial weights differ, both sides share a seed’s data, not its weights."
        )
    return tuple(notes)
