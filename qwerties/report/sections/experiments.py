"""One experiment: its question, its figures, how its networks ended, and its contrasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.tables import SeedTable
from qwerties.errors import clean, command, plural
from qwerties.report.contrasts import contrast_blocks
from qwerties.report.elements import (
    Block,
    Cell,
    Details,
    Link,
    Notice,
    Row,
    Section,
    Table,
    Text,
    interval_cell,
    interval_record,
    notices,
    paragraph,
)
from qwerties.report.examples import examples_figure
from qwerties.report.experiment_figures import experiment_figure
from qwerties.report.figure_words import names
from qwerties.report.results import Results
from qwerties.report.scores import score_interval
from qwerties.report.sections.reading import sampling_sd
from qwerties.report.text import display, display_all, markdown
from qwerties.scoring import theory
from qwerties.scoring.states import STATES
from qwerties.stats.formats import number, percent
from qwerties.study.coverage import Coverage
from qwerties.study.experiment import config_names
from qwerties.study.plan import config_of
from qwerties.tracking.store import StoreError
from qwerties.tracking.tags import STATE

OPEN_FIGURES = 1  # figures that are not folded away


def build(results: Results, result: ExperimentResult) -> Section:
    """Make the section of one experiment."""
    coverage = result.coverage
    blocks: list[Block] = [Text(markdown(coverage.question), "question")]
    if coverage.plan is None:
        return Section((*blocks, *_loose_blocks(results, coverage)))
    tables = list(result.networks.values())
    problems = [*coverage.problems, *result.problems]
    if not coverage.entries:
        problems.append("the plan holds no configs")
    drawn = []
    for spec in coverage.figures if tables else ():
        try:
            drawn.append(experiment_figure(spec, tables, results.curves))
        except (ValueError, StoreError) as error:
            problems.append(f"the figure of {spec.kind} could not be drawn: {error}")
    folded: list[Block] = [*drawn[OPEN_FIGURES:]]
    try:
        examples = examples_figure(results.store, results.examples[coverage.experiment_name], tables)
        folded += [examples] if examples else []
    except StoreError as error:
        problems.append(f"the figure of examples could not be drawn: {error}")
    more = f"{plural(len(folded), 'more figure')} and the " if folded else "The "
    if tables:
        folded += [_outcomes(results, tables), *map(paragraph, _notes(tables))]
    if coverage.stale:
        problems.append(f"{plural(coverage.stale, 'run')} made by other code: left out.")
    if coverage.unplanned:
        problems.append(f"{plural(coverage.unplanned, 'run')} of configs that are not in the plan: left out.")

    blocks.append(paragraph(_design(coverage, tables), "design"))
    if result.incomplete:
        planned = len(coverage.entries)
        withheld = (
            f"{planned - len(result.incomplete)} of {plural(planned, 'planned config')} tracked; conclusions withheld "
            f"until the design is complete: {command('sweep', coverage.experiment_name)}"
        )
        blocks.append(Notice(display_all(result.incomplete), clean(withheld, 300)))
    if coverage.plan_changes:
        changes = [clean(change, 600) for change in coverage.plan_changes]
        blocks.append(Notice(changes, "The plan was changed after data were seen."))
    blocks += notices(problems)
    blocks += [*drawn[:OPEN_FIGURES], *contrast_blocks(results, result)]
    if folded:
        blocks.append(Details(f"{more}outcomes of every config", folded))
    return Section(blocks, unfinished=bool(result.incomplete))


def _design(coverage: Coverage, tables: Sequence[SeedTable]) -> str:
    assert coverage.plan is not None
    seeds, configs = coverage.plan.seeds, len(coverage.entries)
    if seeds.crossed is None:
        counts = [len(table.frame) for table in tables]
        more = sum(count > len(seeds) for count in counts)
        topped_up = f"; {f'{more:,} of them ' if configs > 1 else ''}up to {max(counts):,}" if more else ""
        each = "" if configs == 1 else " each"
        span = str(seeds).replace("-", "–") if len(seeds) > 1 else str(seeds.start)
        on = f"{plural(len(seeds), 'seed')}{each} ({span}{topped_up})"
    else:
        on = f"{seeds.stop - seeds.start} data seeds, each with {plural(seeds.crossed, 'weight seed')}"
    parts = [entry.name.split(" · ") for entry in coverage.entries]
    common = [part for part in parts[0] if all(part in other for other in parts)] if len(parts) > 1 else []
    shared = f"; all of them: {display(' · '.join(common))}" if common else ""
    return f"{plural(configs, 'config')}, {on}{shared}."


def _notes(tables: Sequence[SeedTable]) -> list[str]:
    configs = [table.config for table in tables]
    placed = sorted({(config.data, config.distance) for config in configs})
    several = len({data for data, _ in placed}) > 1
    bayes = ", ".join(
        number(float(theory.bayes_accuracy(distance, data)), 4)
        + (f" at {f'{display(data)}, ' if several else ''}d={distance:g}" if len(placed) > 1 else " here")
        for data, distance in placed
    )
    deviations = sorted(sampling_sd(config) for config in configs)
    sd = " to ".join(dict.fromkeys(number(value) for value in (deviations[0], deviations[-1])))
    points = " or ".join(map(str, sorted({2 * config.samples for config in configs})))
    notes = [
        f"Bayes accuracy, the best possible, is {bayes}. A training accuracy above it is luck: on {points} points "
        f"the best classifier’s own has a sampling standard deviation of {sd}."
    ]
    notes += [
        f"On {display(data)} at d={distance:g}, the best strip between two parallel lines, which two ReLU units can "
        f"draw, reaches {number(levels['best strip'], 4)}, and the best straight line {number(levels['best line'], 4)}."
        for data, distance in placed
        if {"best strip", "best line"} <= (levels := theory.reference_accuracies(distance, data)).keys()
    ]
    if any("weight_seed" in table.frame for table in tables):
        notes.append(
            "Networks of a crossed layout share data and starts and are not independent, so that no intervals are "
            "given here."
        )
    return notes


def _outcomes(results: Results, tables: Sequence[SeedTable]) -> Table:
    configs = config_names([table.config for table in tables])
    return Table(
        "Outcomes by config. Shares with Wilson, means with t intervals, both at 95%. Names lead to the runs in "
        "MLflow, while its server runs.",
        "Config",
        [_outcome(results, *row) for row in zip(configs, names(tables), tables, strict=True)],
    )


def _outcome(results: Results, config_name: str, name: str, table: SeedTable) -> Row:
    frame, config = table.frame, table.config
    scores = {
        score: score_interval(frame, score, config)
        for score in ("learned", "population_accuracy", "train_accuracy")
    }
    counts = {state: int(frame["state"].eq(state).sum()) for state in STATES[1:]}
    undefined = int(frame["phi"].isna().sum())
    phi = float(frame["phi"].fillna(-np.inf).median())  # undefined ranks lowest
    shares = interval_cell(scores["learned"], 0, scale=100).small
    cells = {
        "Seeds": Cell(f"{len(frame):,}"),
        "Learned": Cell(percent(scores["learned"].estimate), shares),
        **{state.capitalize(): Cell(f"{count:,}") for state, count in counts.items()},
        "Population accuracy": interval_cell(scores["population_accuracy"]),
        "Training accuracy": Cell(number(scores["train_accuracy"].estimate)),
        "Phi, median": Cell(
            number(phi, 2) if np.isfinite(phi) else "undefined", (f"{undefined:,} undefined",)
        ),
    }
    data = {
        "config": config_name,
        **config.to_params(),
        "n": len(frame),
        **interval_record("learned", scores["learned"]),
        **counts,
        **interval_record("population_accuracy", scores["population_accuracy"]),
        **interval_record("train_accuracy", scores["train_accuracy"]),
        "phi_median": phi if np.isfinite(phi) else None,
        "phi_undefined": undefined,
        "runs": [run.run_id for run in table.runs],
    }
    first, *more = table.runs
    links = [Link(f"run {i}", results.run_url(run)) for i, run in enumerate(more, 2)]
    return Row(Link(name, results.run_url(first)), cells, data, links)


# Runs without a plan


def _loose_blocks(results: Results, coverage: Coverage) -> list[Block]:
    rows = []
    for run in coverage.loose:
        config = config_of(run)
        name = run.name
        if config and "seed" in run.params:
            name = f"{display(config.label())} · seed {clean(run.params['seed'], 20)}"
        loss, *scores = (
            run.metrics.get(key, np.nan)
            for key in ("final_train_loss", "train_accuracy", "population_accuracy", "phi")
        )
        state = clean(run.tags.get(STATE, ""), 20) or run.status.lower()
        cells = {"State": Cell(state), "Training loss": Cell(number(loss, 4))}
        titles = ("Training accuracy", "Population accuracy", "Phi")
        cells |= {title: Cell(number(score)) for title, score in zip(titles, scores, strict=True)}
        data = {"run": run.run_id, "name": name, "state": state, **run.params, **run.metrics}
        rows.append(Row(Link(clean(name), results.run_url(run)), cells, data))
    table = Table("Runs tracked one by one. A dash is an undefined score.", "Run", rows)
    design = f"{plural(len(coverage.loose), 'run')}, not part of a plan."
    return [paragraph(design, "design"), *notices(coverage.problems), *([table] if rows else [])]
