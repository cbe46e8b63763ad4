"""Hyperparameter searches: budgets, the winner's curse, which parameters mattered, and how the samplers went.

Everything is read from the store, and whatever is said of an arm is a number: no sentence here knows how the searches
went. Verdicts come from the confirmation, in the sections of the experiments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.searches import TrackedSearch, load_searches
from qwerties.analysis.tables import SeedTable
from qwerties.config import Config
from qwerties.errors import clean, plural
from qwerties.report.elements import (
    Block,
    Cell,
    Details,
    Heading,
    Link,
    Notice,
    Row,
    Section,
    Table,
    interval_cell,
    paragraph,
)
from qwerties.report.experiment_figures import score_interval, within
from qwerties.report.export import interval_record
from qwerties.report.rendering import ReportFigure
from qwerties.report.results import Results
from qwerties.report.search_figures import search_fronts, search_histories, search_importances, search_rates
from qwerties.report.text import display
from qwerties.stats.intervals import Interval

TITLE, ANCHOR = "Hyperparameter searches", "searches"
CURSE = (
    "The tuning score is that of the best of many trials, which owes something to luck: that part of its distance to "
    "the confirmation score is the winner’s curse, and always flatters. The rest is the luck of the tuning seeds: it "
    "may go either way and is the same for all trials that saw them. Verdicts come from the confirmation alone."
)

Confirmed = Mapping[Config, SeedTable]
FIGURES: tuple[Callable[[Sequence[TrackedSearch], Confirmed], list[ReportFigure]], ...] = (
    search_rates,
    search_histories,
    search_importances,
    search_fronts,
)


def build(results: Results) -> Section | None:
    """Show the searches of every experiment that tunes; None where none does."""
    blocks: list[Block] = []
    for result in results.experiments:
        blocks += _experiment(results, result)
    return Section(TITLE, (*blocks, paragraph(CURSE))) if blocks else None


def _experiment(results: Results, result: ExperimentResult) -> list[Block]:
    title = Heading(clean(result.coverage.title))
    try:
        searches = load_searches(results.store, result.coverage)
    except ValueError as error:
        return [title, Notice((clean(error, 300),))]
    if not searches:
        return []
    confirmed = {table.config: table for table in result.networks.values()}
    problems = _warnings(searches, confirmed)
    drawn: list[ReportFigure] = []
    for draw in FIGURES:
        try:
            drawn += draw(searches, confirmed)
        except (ValueError, OverflowError) as error:
            problems.append(f"a figure of the searches could not be drawn: {error}")
    blocks: list[Block] = [title]
    blocks += [Notice(tuple(clean(problem, 300) for problem in problems))] if problems else []
    blocks += [
        *drawn[:1],
        _table(results, searches, confirmed),
        *map(paragraph, _budget(searches, confirmed)),
    ]
    blocks += [Details(plural(len(drawn) - 1, "more figure"), tuple(drawn[1:]))] if drawn[1:] else []
    return blocks


# Budgets, and tuning against confirmation


def _table(results: Results, searches: Sequence[TrackedSearch], confirmed: Confirmed) -> Table:
    rows = []
    for search in searches:
        tuned, fresh = _tuning_score(search), _confirmation(search, confirmed)
        chosen = f": {search.winner.label()}" if search.winner else ""
        name = Link(display(search.label + chosen), results.run_url(search.run) if search.run else "")
        cells = (
            Cell(f"{len(search.trials):,} of {search.n_trials:,}"),
            Cell(f"{search.n_failed:,}"),
            Cell(f"{len(search.trials) * len(search.seeds):,}"),
            _score_cell(tuned),
            _score_cell(fresh),
            interval_cell(_gap(tuned, fresh), 4, sign=True),
        )
        rows.append(Row(name, cells))
    return Table(
        "Each search’s budget, counted in the store, and what it chose; the population accuracy of that, on the seeds "
        "that it was chosen on and on fresh ones, with 95% intervals.",
        (
            *("Search", "Trials", "Diverged", "Networks"),
            *("Tuning score", "Confirmation score", "Tuning − confirmation"),
        ),
        tuple(rows),
        tuple(_record(search, confirmed) for search in searches),
    )


def _record(search: TrackedSearch, confirmed: Confirmed) -> dict[str, Any]:
    """Return a search's row in full, for the download."""
    return {
        "search": search.label,
        "run": search.run.run_id if search.run is not None else None,
        "trials": len(search.trials),
        "trials_planned": search.n_trials,
        "diverged": search.n_failed,
        "networks": len(search.trials) * len(search.seeds),
        **interval_record("tuning", _tuning_score(search)),
        **interval_record("confirmation", _confirmation(search, confirmed)),
        "chosen": search.winner.to_params() if search.winner else {},
    }


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


def _gap(tuned: Interval | None, fresh: Interval | None) -> Interval | None:
    """Return tuning score minus confirmation score, with the interval of a difference of independent means."""
    if tuned is None or fresh is None:
        return None
    gap = tuned.estimate - fresh.estimate
    # a bound that was cut off at 0 or 1 is nearer than half the width
    a, b = (max(one.hi - one.estimate, one.estimate - one.lo) for one in (tuned, fresh))
    half = float(np.hypot(a, b))
    return Interval(gap, gap - half, gap + half, tuned.n, 0.95)


def _confirmation(search: TrackedSearch, confirmed: Confirmed) -> Interval | None:
    table = confirmed.get(search.winner) if search.winner is not None else None
    return score_interval(table.frame, "population_accuracy", table.config) if table else None


def _budgets(searches: Sequence[TrackedSearch]) -> set[tuple[int, str]]:
    return {(len(search.trials), str(search.seeds)) for search in searches}


def _budget(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> list[str]:
    budgets = _budgets(searches)
    if len(budgets) > 1 or not all(search.is_complete for search in searches):
        return []
    ((trials, seeds),) = budgets
    each = "Every search" if len(searches) > 1 else "The search"
    fresh = "" if _shared(searches, confirmed) else ", none of which is a seed of the confirmation"
    networks = plural(len(searches[0].seeds), "network")
    return [
        f"{each} had, as counted in the store, {plural(trials, 'trial')} of {networks} each, on the same seeds, "
        f"{seeds.replace('-', '–')}{fresh}."
    ]


def _shared(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> set[int]:
    """Return the seeds that were both tuned on and confirmed on."""
    tuned = {seed for search in searches for seed in search.seeds.numbers.tolist()}
    return tuned & {seed for table in confirmed.values() for seed in table.frame["seed"].tolist()}


def _warnings(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> list[str]:
    warnings = []
    unfinished = [search for search in searches if not search.is_complete]
    if unfinished:
        listed = ", ".join(f"{s.label} ({len(s.trials)} of {s.n_trials} trials)" for s in unfinished)
        warnings.append(f"Not complete: {listed}.")
    elif len(_budgets(searches)) > 1:
        listed = "; ".join(f"{s.label}: {len(s.trials)} trials on seeds {s.seeds}" for s in searches)
        warnings.append(f"The budgets differ, as counted in the store: {listed}.")
    if shared := _shared(searches, confirmed):
        warnings.append(f"{plural(len(shared), 'seed')} were both tuned on and confirmed on.")
    return warnings
