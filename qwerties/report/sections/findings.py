"""Findings -> the table of an experiment's contrasts: three views and a verdict each, and how evidence came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qwerties.analysis.contrasts import LEARNED_GAINS, ContrastResult, ExperimentResult, Learned
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
from qwerties.report.figures import draw_contrasts, draw_evidence
from qwerties.stats.compare import Comparison
from qwerties.stats.formats import bounds, number, percent
from qwerties.stats.intervals import Interval
from qwerties.study.budget import PRIMARY_SLOTS, STUDY_ALPHA


def contrast_table(evidence: ExperimentResult, numbers: Numbers) -> ContrastTable | None:
    """Make the table of an experiment's contrasts; None where nothing was to be compared."""
    if not evidence.findings:
        return None
    picture = _picture([(_at(finding), finding) for finding in evidence.findings], numbers)
    pictures = [] if picture is None else [picture]
    for finding in evidence.findings:
        compared = finding.comparison
        if (
            finding.contrast.primary
            and compared is not None
            and compared.n
            and finding.verdict != "identical"
        ):
            pictures.append(shown(draw_evidence(_at(finding), compared), numbers))
    return ContrastTable(
        tuple(pictures),
        numbers.table(),
        "Contrasts, A − B on the same seeds, in population accuracy.",
        (
            "Pairs",
            "A learned",
            "B learned",
            "Difference in learning",
            "Difference where both learned",
            "Mean difference",
            "δ (smallest)",
        ),
        tuple(_row(finding) for finding in evidence.findings),
        _notes(evidence),
        tuple(make_verdicts([evidence])["contrasts"]),
    )


def top_picture(findings: Sequence[ContrastResult], numbers: Numbers) -> Shown | None:
    """Draw the findings that the page begins with on one scale; None where there is nothing to draw."""
    return _picture([(f"{clean(finding.title)}: {finding.sides}", finding) for finding in findings], numbers)


def _picture(named: Sequence[tuple[str, ContrastResult]], numbers: Numbers) -> Shown | None:
    drawn = [
        (name, finding.comparison)
        for name, finding in named
        if finding.comparison is not None and not np.isnan(finding.comparison.estimate)
    ]
    return shown(draw_contrasts(drawn), numbers) if drawn else None


def _at(finding: ContrastResult) -> str:
    return f"{finding.sides} at {finding.where}" if finding.where else finding.sides


def _kind(finding: ContrastResult) -> str:
    return "primary" if finding.contrast.primary else "exploratory"


def headlines(
    findings: Sequence[ContrastResult], anchors: Mapping[str, str], base: str
) -> tuple[Headline, ...]:
    """Put findings into the list that the page begins with.

    Parameters
    ----------
    findings : sequence of ContrastResult
    anchors : mapping of str to str
        Section of each experiment's experiment name.
    base : str
        Address of MLflow's UI.
    """
    return tuple(_headline(finding, anchors[finding.experiment_name], base) for finding in findings)


def _headline(finding: ContrastResult, anchor: str, base: str) -> Headline:
    compared, difference = finding.comparison, finding.difference
    numbers: tuple[str, ...] = ()
    if compared is not None and difference is not None:
        numbers = said(
            f"{number(difference.estimate, 4, sign=True)} {bounds(difference, 4, sign=True)}".strip(),
            f"α = {finding.alpha:g}",
            f"δ = {compared.margin:g}",
            plural(compared.n, "pair"),
        )
    return Headline(
        _at(finding),
        finding.words,
        finding.is_conclusive,
        _kind(finding),
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


def _row(finding: ContrastResult) -> ContrastRow:
    compared, difference, learned = finding.comparison, finding.difference, finding.learned
    cells: tuple[Cell, ...] = (Cell("–"),) * 7
    if compared is not None and difference is not None and learned is not None:
        cells = _views(finding, compared, difference, learned)
    return ContrastRow(
        finding.sides, finding.where, _kind(finding), finding.words, finding.is_conclusive, cells
    )


def _views(
    finding: ContrastResult, compared: Comparison, difference: Interval, learned: Learned
) -> tuple[Cell, ...]:
    counts = {
        "unpaired": len(compared.unpaired_a) + len(compared.unpaired_b),
        "without a score": len(compared.missing),
        "diverged": finding.diverged,
    }
    rest = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    shares = (
        Cell(
            percent(rule.estimate), said(share_bounds(rule), ", ".join(percent(at.estimate) for at in others))
        )
        for rule, *others in (learned.a, learned.b)
    )
    return (
        Cell(f"{compared.n:,}", said(rest)),
        *shares,
        Cell(
            number(learned.difference.estimate, 3, sign=True),
            said(bounds(learned.difference, 3, sign=True), f"{learned.only_a:,} : {learned.only_b:,}"),
        ),
        Cell(number(learned.both.estimate, 4, sign=True), (plural(learned.both.n, "seed"),)),
        Cell(number(difference.estimate, 4, sign=True), said(bounds(difference, 4, sign=True))),
        Cell(f"{compared.margin:g}", (f"({number(compared.equivalence_margin, 4)})",)),
    )


def _notes(evidence: ExperimentResult) -> tuple[str, ...]:
    others = " and ".join(f"{gain:g}" for gain in LEARNED_GAINS[1:])
    alphas = {finding.contrast.primary: finding.alpha for finding in evidence.findings}
    notes = [
        "The verdict comes from the mean difference over all pairs, and its interval: a betting confidence sequence "
        "(Waudby-Smith & Ramdas 2024), which holds for any bounded outcome and at every number of seeds at once, so "
        "that a sweep may stop whenever a verdict is decided. δ is the smallest difference that matters; in brackets, "
        "the smallest δ that would have given equivalence.",
        f"A learned, B learned: with Wilson intervals, and below them the share at gains of {others} instead of "
        f"{LEARNED_GAINS[0]:g}. Difference in learning: of these shares, with its 95% confidence sequence (not "
        "corrected for multiplicity), and the seeds on which only A : only B learned. Difference where both learned: "
        "descriptive, as it looks at seeds chosen by their outcome.",
    ]
    if True in alphas:
        notes.append(
            f"Primary: fixed beforehand, one of the study’s {PRIMARY_SLOTS} slots, each with an error rate of "
            f"{alphas[True]:g}: together at most {percent(STUDY_ALPHA)} for any wrong verdict, whenever one stops."
        )
    if False in alphas:
        notes.append(f"Exploratory: an error rate of {alphas[False]:g} each, not corrected for multiplicity.")
    notes += [
        f"{finding.sides} counts as exploratory: it {finding.contrast.late}."
        for finding in evidence.findings
        if finding.contrast.late
    ]
    contrasts = evidence.coverage.contrasts
    if any(c.a.hidden != c.b.hidden or c.a.init != c.b.init for c in contrasts):
        notes.append(
            "Where shapes or kinds of initial weights differ, both arms share a seed’s data, not its weights."
        )
    return tuple(notes)
