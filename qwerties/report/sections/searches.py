"""Hyperparameter searches: budgets, the winner's curse, which parameters mattered, and how the samplers went.

Everything is read from the store, and whatever is said of an arm is a number: no sentence here knows how the searches
went. Verdicts come from the confirmation, in the sections of the experiments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.searches import TrackedSearch, load_searches
from qwerties.errors import plural
from qwerties.report.elements import (
    Block,
    Cell,
    Details,
    Heading,
    Link,
    Row,
    Section,
    Table,
    interval_cell,
    interval_record,
    notices,
    paragraph,
)
from qwerties.report.rendering import ReportFigure
from qwerties.report.results import Results
from qwerties.report.scores import score_interval, within
from qwerties.report.search_figures import FIGURES, Confirmed
from qwerties.report.text import display, typeset
from qwerties.stats.intervals import Interval

TITLE, ANCHOR = "Hyperparameter searches", "searches"
CURSE = (
    "The tuning score is that of the best of many trials, which owes something to luck: that part of its distance to "
    "the confirmation score is the winner’s curse, and always flatters. The rest is the luck of the tuning seeds: it "
    "may go either way and is the same for all trials that saw them. Verdicts come from the confirmation alone."
)


def build(results: Results) -> Section | None:
    """Show the searches of every experiment that tunes; None where none does."""
    blocks: list[Block] = []
    for result in results.experiments:
        blocks += _experiment(results, result)
    return Section((*blocks, paragraph(CURSE))) if blocks else None


def _experiment(results: Results, result: ExperimentResult) -> list[Block]:
    title = Heading(typeset(result.coverage.title))
    try:
        searches = load_searches(results.store, result.coverage)
    except ValueError as error:
        return [title, *notices([str(error)])]
    if not searches:
        return []
    confirmed = {table.config: table for table in result.networks.values()}
    problems, budget = _check_budgets(searches, confirmed)
    drawn: list[ReportFigure] = []
    for draw in FIGURES:
        try:
            drawn += draw(searches, confirmed)
        except (ValueError, OverflowError) as error:
            problems.append(f"a figure of the searches could not be drawn: {error}")
    blocks: list[Block] = [title, *notices(problems), *drawn[:1], _table(results, searches, confirmed)]
    blocks += [paragraph(budget)] if budget else []
    blocks += [Details(plural(len(drawn) - 1, "more figure"), drawn[1:])] if drawn[1:] else []
    return blocks


# Budgets, and tuning against confirmation


def _check_budgets(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> tuple[list[str], str]:
    """Return what is wrong with the budgets, and a sentence on the budget that all searches had, if they had one."""
    problems, sentence = [], ""
    budgets = {(len(search.trials), str(search.seeds)) for search in searches}
    tuned = {seed for search in searches for seed in search.seeds.numbers.tolist()}
    shared = tuned & {seed for table in confirmed.values() for seed in table.frame["seed"].tolist()}
    if unfinished := [search for search in searches if not search.is_complete]:
        listed = ", ".join(f"{s.label} ({len(s.trials)} of {s.n_trials} trials)" for s in unfinished)
        problems.append(f"Not complete: {listed}.")
    elif len(budgets) > 1:
        listed = "; ".join(f"{s.label}: {len(s.trials)} trials on seeds {s.seeds}" for s in searches)
        problems.append(f"The budgets differ, as counted in the store: {listed}.")
    else:
        ((trials, seeds),) = budgets
        sentence = (
            f"{'Every' if len(searches) > 1 else 'The'} search had, as counted in the store, {plural(trials, 'trial')} "
            f"of {plural(len(searches[0].seeds), 'network')} each, on the same seeds, {seeds.replace('-', '–')}"
            f"{'' if shared else ', none of which is a seed of the confirmation'}."
        )
    if shared:
        problems.append(f"{plural(len(shared), 'seed')} were both tuned on and confirmed on.")
    return problems, sentence


def _table(results: Results, searches: Sequence[TrackedSearch], confirmed: Confirmed) -> Table:
    rows = []
    for search in searches:
        tuned, fresh = _tuning_score(search), _confirmation(search, confirmed)
        chosen = f": {search.winner.label()}" if search.winner else ""
        name = Link(display(search.label + chosen), results.run_url(search.run) if search.run else "")
        networks = len(search.trials) * len(search.seeds)
        cells = {
            "Trials": Cell(f"{len(search.trials):,} of {search.n_trials:,}"),
            "Diverged": Cell(f"{search.n_failed:,}"),
            "Networks": Cell(f"{networks:,}"),
            "Tuning score": _score_cell(tuned),
            "Confirmation score": _score_cell(fresh),
            "Tuning − confirmation": interval_cell(_gap(tuned, fresh), 4, sign=True),
        }
        data = {
            "search": search.label,
            "run": search.run.run_id if search.run is not None else None,
            "trials": len(search.trials),
            "trials_planned": search.n_trials,
            "diverged": search.n_failed,
            "networks": networks,
            **interval_record("tuning", tuned),
            **interval_record("confirmation", fresh),
            "chosen": search.winner.to_params() if search.winner else {},
        }
        rows.append(Row(name, cells, data))
    return Table(
        "Each search’s budget, counted in the store, and what it chose; the population accuracy of that, on the seeds "
        "that it was chosen on and on fresh ones, with 95% intervals.",
        "Search",
        rows,
    )


def _score_cell(score: Interval | None) -> Cell:
    cell = interval_cell(score, 4)
    return Cell(cell.main, (*cell.small, plural(score.n, "seed"))) if score else cell


def _tuning_score(search: TrackedSearch) -> Interval | None:
    """Return the mean accuracy of the chosen trial, with the interval of one that had not been chosen."""
    best = search.best
    if best is None or not search.is_complete:
        return None
    mean, half = float(best["population_accuracy"]), 1.96 * float(best["population_accuracy_se"])
    return within(Interval(mean, mean - half, mean + half, len(search.seeds), 0.95), 0, 1)


def _confirmation(search: TrackedSearch, confirmed: Confirmed) -> Interval | None:
    table = confirmed.get(search.winner) if search.winner is not None else None
    return score_interval(table.frame, "population_accuracy", table.config) if table else None


def _gap(tuned: Interval | None, fresh: Interval | None) -> Interval | None:
    """Return tuning score minus confirmation score, with the interval of a difference of independent means."""
    if tuned is None or fresh is None:
        return None
    gap = tuned.estimate - fresh.estimate
    # a bound that was cut off at 0 or 1 is nearer than half the width
    a, b = (max(score.hi - score.estimate, score.estimate - score.lo) for score in (tuned, fresh))
    half = float(np.hypot(a, b))
    return Interval(gap, gap - half, gap + half, tuned.n, 0.95)
