"""Contrasts as the page tells them: a sentence each, a table of three views, and how the evidence came in."""

from __future__ import annotations

from qwerties.analysis.contrasts import LEARNED_GAINS, ContrastResult, ExperimentResult
from qwerties.analysis.verdicts import make_verdicts
from qwerties.errors import plural
from qwerties.plotting.evidence import evidence
from qwerties.report.answers import contrast_sentence, points_of
from qwerties.report.elements import (
    Block,
    Cell,
    Details,
    Heading,
    Link,
    Row,
    Statement,
    Statements,
    Table,
    interval_cell,
    paragraph,
)
from qwerties.report.figure_words import spaced
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.results import Results
from qwerties.report.text import display, display_all
from qwerties.stats.compare import Comparison
from qwerties.stats.formats import number, percent
from qwerties.stats.planning import narrowing

HEADERS = (
    "Pairs",
    "A learned",
    "B learned",
    "Difference in learning",
    "Where both learned",
    "Mean difference",
    "δ (smallest)",
)
NOTE = (
    "The verdict comes from the mean difference over all pairs. In brackets, the smallest δ that would have given "
    "equivalence. A learned, B learned: with Wilson intervals, and below them the shares at gains of "
    f"{' and '.join(f'{gain:g}' for gain in LEARNED_GAINS[1:])} instead of {LEARNED_GAINS[0]:g}. Difference in "
    "learning: with its 95% confidence sequence, and the seeds on which only A : only B learned. Where both learned: "
    "descriptive, as it looks at seeds chosen by their outcome."
)


def contrast_name(result: ContrastResult) -> str:
    """Name a contrast as a difference: `BCE − MSE at ReLU`."""
    sides = " − ".join(_arms(result))
    return f"{sides} at {display(result.where).replace(' · ', ', ')}" if result.where else sides


def _arms(result: ContrastResult) -> list[str]:
    return [name.replace(" · ", ", ") for name in display_all((result.name_a, result.name_b))]


def _statement(results: Results, result: ContrastResult) -> Statement:
    """Tell a contrast's verdict, with what it rests on."""
    a, b = _arms(result)
    where = f"{display(result.where).replace(' · ', ', ')}: " if result.where else ""
    compared = result.comparison
    receipts = (
        plural(compared.n, "pair") if compared else "",
        f"α = {result.alpha:g}",
        f"δ = {points_of(result.contrast.delta)}",
        f"counts as exploratory: it {result.contrast.late}" if result.contrast.late else "",
        "the plan was changed after data were seen" if result.plan_changes else "",
    )
    links = results.run_links(result.runs_a, "A run") + results.run_links(result.runs_b, "B run")
    label = "primary" if result.contrast.primary else "exploratory"
    return Statement(
        contrast_sentence(result, a, b, where), result.decided, label, list(filter(None, receipts)), links
    )


def contrast_blocks(results: Results, experiment: ExperimentResult) -> tuple[Block, ...]:
    """Tell an experiment's contrasts: the verdicts, and folded away their numbers and how the evidence came in."""
    contrasts = experiment.findings
    if not contrasts:
        return ()
    statements = Statements([_statement(results, result) for result in contrasts])
    notes = [NOTE]
    if any(c.a.hidden != c.b.hidden or c.a.init != c.b.init for c in experiment.coverage.contrasts):
        notes.append(
            "Where shapes or kinds of initial weights differ, both arms share a seed’s data, not its weights."
        )
    records = make_verdicts([experiment])["contrasts"]
    table = Table(
        "Contrasts, A − B on the same seeds: shares in percent, differences in points of accuracy.",
        "A − B",
        [
            Row(Link(contrast_name(result), ""), dict(zip(HEADERS, _cells(result), strict=True)), record)
            for result, record in zip(contrasts, records, strict=True)
        ],
        "-contrasts",
    )
    figures = [
        evidence_figure(contrast_name(result), result.comparison)
        for result in contrasts
        if result.contrast.primary
        and result.comparison is not None
        and result.comparison.n
        and result.verdict != "identical"
    ]
    title = f"The contrasts in numbers{', and how the evidence came in' if figures else ''}"
    return (
        Heading("Contrasts"),
        statements,
        Details(title, (table, *map(paragraph, notes), *figures)),
    )


def _cells(result: ContrastResult) -> tuple[Cell, ...]:
    """Return what stands under `HEADERS`."""
    compared, learned = result.comparison, result.learned
    if compared is None or learned is None:
        return (Cell("–"),) * len(HEADERS)
    counts = {
        "unpaired": len(compared.unpaired_a) + len(compared.unpaired_b),
        "without a score": len(compared.missing),
        "diverged": result.diverged,
    }
    rest = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    shares = []
    for rule, *others in (learned.a, learned.b):
        cell = interval_cell(rule, 0, scale=100)
        shares.append(
            Cell(percent(rule.estimate), (*cell.small, ", ".join(percent(at.estimate) for at in others)))
        )
    outcomes = interval_cell(learned.difference, 1, scale=100, sign=True)
    return (
        Cell(f"{compared.n:,}", (rest,) if rest else ()),
        *shares,
        Cell(outcomes.main, (*outcomes.small, f"{learned.only_a:,} : {learned.only_b:,}")),
        Cell(number(100 * learned.both.estimate, 2, sign=True), (plural(learned.both.n, "seed"),)),
        interval_cell(result.difference, 2, scale=100, sign=True),
        Cell(f"{100 * compared.margin:g}", (f"({number(100 * compared.equivalence_margin, 2)})",)),
    )


def evidence_figure(name: str, comparison: Comparison) -> ReportFigure:
    """Show how the interval of a contrast narrowed as seeds came in, beside what Student's t would have claimed."""
    frame, final = narrowing(
        comparison.differences, alpha=comparison.alpha, margin=comparison.margin, bounds=comparison.bounds
    )
    decided = "not decided yet" if final is None else f"decided after {plural(final, 'seed')}"
    listed = "; ".join(
        f"{plural(int(row['count']), 'seed')} [{number(row['low'], sign=True)}, {number(row['high'], sign=True)}]"
        for _, row in frame.iloc[spaced(len(frame))].iterrows()
    )
    return figure_of(
        [(evidence, {"frame": frame, "margin": comparison.margin, "decided": final})],
        f"How the evidence came in: {name}, {decided}. The mean difference and its interval at α = "
        f"{comparison.alpha:g}, which holds at every number of seeds at once; dashed, Student’s t interval at the same "
        f"level, which holds at one number alone. The band is ±δ = {comparison.margin:g}.",
        f"An interval that narrows as seeds come in, {decided}: {listed}.",
        height=3.6,
    )
