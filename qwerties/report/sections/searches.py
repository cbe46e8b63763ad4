"""What the report says of an experiment's studies: budgets, the winner's curse, what mattered, how the samplers did.

Everything is read from the store, and whatever is said of a side is a number or a verdict: no sentence here knows how
the studies went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.searches import LEAST_REGRET, TrackedSearch, cost, load_searches, progress_of
from qwerties.analysis.tables import SeedTable
from qwerties.config import Config
from qwerties.errors import clean, plural
from qwerties.plotting import search as study_figures
from qwerties.plotting import style as theme
from qwerties.report.elements import Cell, Link, Numbers, Row, Shown, Studies, Table, run_url, said, shown
from qwerties.report.export import interval_record
from qwerties.report.figures import Picture, as_picture, score_interval
from qwerties.scoring import theory
from qwerties.stats.formats import bounds, number
from qwerties.stats.intervals import Interval
from qwerties.tracking.store import Store

TOLD = 8
"""Trials of a front, and parameters, that a figure's description lists."""


def make_studies(store: Store, evidence: ExperimentResult, base: str, numbers: Numbers) -> Studies | None:
    """Make an experiment's part on its studies; None where nothing is tuned.

    Parameters
    ----------
    store : Store
    evidence : ExperimentResult
        Of the experiment: the confirmation.
    base : str
        Address of MLflow's UI.
    numbers : Numbers
        Of figures and tables, in the order of the page.
    """
    coverage = evidence.coverage
    problems: list[str] = []
    try:
        studies = load_searches(store, coverage)
    except ValueError as error:
        return Studies((), None, (), (str(error),))
    if not studies:
        return None
    confirmed = {one.config: one for one in evidence.networks.values()}
    pictures: list[Shown] = []
    for draw in (_rates, _histories, _importances, _fronts):
        try:
            pictures += [shown(picture, numbers) for picture in draw(studies, confirmed)]
        except (ValueError, OverflowError) as error:
            problems.append(f"a figure of the studies could not be drawn: {error}")
    return Studies(
        pictures=tuple(pictures),
        table=_table(studies, confirmed, base, numbers),
        notes=_notes(studies, confirmed),
        warnings=tuple(clean(problem, 300) for problem in [*problems, *_warnings(studies, confirmed)]),
    )


# Budgets, and tuning against confirmation


def _table(
    studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable], base: str, numbers: Numbers
) -> Table:
    rows = []
    for study in studies:
        url = run_url(base, study.run) if study.run is not None else ""
        tuned, fresh = _tuning_score(study), _confirmation(study, confirmed)
        gap = _gap(tuned, fresh)
        chosen = f": {study.winner.label()}" if study.winner else ""
        rows.append(
            Row(
                Link(clean(study.label + chosen), url),
                (),
                (
                    Cell(f"{len(study.trials):,} of {study.n_trials:,}"),
                    Cell(f"{study.n_failed:,}"),
                    Cell(f"{len(study.trials) * len(study.seeds):,}"),
                    _score_cell(tuned),
                    _score_cell(fresh),
                    Cell("–")
                    if gap is None
                    else Cell(number(gap.estimate, 4, sign=True), said(bounds(gap, 4, sign=True))),
                ),
            )
        )
    return Table(
        numbers.table(),
        "Each study’s budget, counted in the store, and what it chose; the population accuracy of that, on the seeds "
        "that it was chosen on and on fresh ones, with 95% intervals.",
        (
            "Study",
            "Trials",
            "Diverged",
            "Networks",
            "Tuning score",
            "Confirmation score",
            "Tuning − confirmation",
        ),
        tuple(rows),
        tuple(_record(study, confirmed) for study in studies),
    )


def _record(study: TrackedSearch, confirmed: Mapping[Config, SeedTable]) -> dict[str, Any]:
    """The study's row in full, for who takes the table away."""
    return {
        "study": study.label,
        "run": study.run.run_id if study.run is not None else None,
        "trials": len(study.trials),
        "trials_planned": study.n_trials,
        "diverged": study.n_failed,
        "networks": len(study.trials) * len(study.seeds),
        **interval_record("tuning", _tuning_score(study)),
        **interval_record("confirmation", _confirmation(study, confirmed)),
        "chosen": study.winner.to_params() if study.winner else {},
    }


def _score_cell(found: Interval | None) -> Cell:
    if found is None:
        return Cell("–")
    return Cell(number(found.estimate, 4), said(bounds(found, 4), plural(found.n, "seed")))


def _tuning_score(study: TrackedSearch) -> Interval | None:
    """Mean accuracy of the chosen trial, with the interval that one would give if it had not been chosen."""
    best = study.best
    if best is None or not study.is_complete:
        return None
    mean, half = float(best["population_accuracy"]), 1.96 * float(best["population_accuracy_se"])
    return Interval(mean, mean - half, mean + half, len(study.seeds), 0.95)


def _gap(tuned: Interval | None, fresh: Interval | None) -> Interval | None:
    """Tuning score minus confirmation score, with the interval of a difference of independent means."""
    if tuned is None or fresh is None:
        return None
    gap, half = (
        tuned.estimate - fresh.estimate,
        np.hypot(tuned.hi - tuned.estimate, fresh.hi - fresh.estimate),
    )
    return Interval(gap, gap - half, gap + half, tuned.n, 0.95)


def _confirmation(study: TrackedSearch, confirmed: Mapping[Config, SeedTable]) -> Interval | None:
    found = confirmed.get(study.winner) if study.winner is not None else None
    return score_interval(found.frame, "population_accuracy", found.config) if found else None


def _budgets(studies: Sequence[TrackedSearch]) -> set[tuple[int, str]]:
    return {(len(study.trials), str(study.seeds)) for study in studies}


def _notes(studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable]) -> tuple[str, ...]:
    notes = []
    budgets = _budgets(studies)
    if len(budgets) == 1 and all(study.is_complete for study in studies):
        ((trials, seeds),) = budgets
        whose = "Every study" if len(studies) > 1 else "The study"
        fresh = "" if _shared(studies, confirmed) else ", none of which is a seed of the confirmation"
        networks = plural(len(studies[0].seeds), "network")
        notes.append(
            f"{whose} had, as counted in the store, {plural(trials, 'trial')} of {networks} each, on the same seeds, "
            f"{seeds.replace('-', '–')}{fresh}."
        )
    notes.append(
        "The tuning score is that of the best of many trials, and so by luck as well as by merit: that part of what it "
        "differs from the confirmation by is the winner’s curse, and always flatters. The rest is the luck of the "
        "tuning seeds, which may go either way and is the same for all trials that saw them. Verdicts come from the "
        "confirmation alone."
    )
    return tuple(notes)


def _shared(studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable]) -> set[int]:
    """Seeds that were both tuned on and confirmed on."""
    tuned = {seed for study in studies for seed in study.seeds.numbers.tolist()}
    return tuned & {seed for one in confirmed.values() for seed in one.frame["seed"].tolist()}


def _warnings(studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable]) -> list[str]:
    told = []
    open_ = [study for study in studies if not study.is_complete]
    if open_:
        listed = ", ".join(f"{s.label} ({len(s.trials)} of {s.n_trials} trials)" for s in open_)
        told.append(f"Not complete: {listed}.")
    elif len(_budgets(studies)) > 1:
        listed = "; ".join(f"{s.label}: {len(s.trials)} trials on seeds {s.seeds}" for s in studies)
        told.append(f"The budgets differ, as counted in the store: {listed}.")
    if shared := _shared(studies, confirmed):
        told.append(f"{plural(len(shared), 'seed')} were both tuned on and confirmed on.")
    return told


# Figures


def _rates(studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable]) -> list[Picture]:
    """Score against learning rate, for the sides that search nothing else; all samplers' trials together."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for study in studies:
        if study.params == ("learning_rate",) and len(study.trials):
            trials = study.trials
            points = pd.DataFrame(
                {
                    "learning_rate": [config.learning_rate for config in trials["config"]],
                    "y": trials["population_accuracy"].where(trials["population_accuracy"].between(0, 1)),
                    "lo": trials["population_accuracy_p10"],
                    "hi": trials["population_accuracy_p90"],
                }
            )
            frames.setdefault(clean(study.label.rpartition(" by ")[0]), []).append(points)
    if not frames:
        return []
    joined = {side: pd.concat(parts, ignore_index=True) for side, parts in frames.items()}
    placed = {(config.distance, config.data) for study in studies for config in study.trials["config"]}
    references = theory.reference_accuracies(*placed.pop()) if len(placed) == 1 else {}
    fig, (ax,) = theme.figure(height=4.2)
    study_figures.rate_points(ax, joined, references=references)
    told = []
    for side, frame in joined.items():
        scored = frame[frame["y"].notna()]
        words = f"{side}: {plural(len(frame), 'trial')}, {len(frame) - len(scored)} diverged"
        if len(scored):
            top = int(scored["y"].to_numpy(float).argmax())
            y, rate = (float(scored[column].iloc[top]) for column in ("y", "learning_rate"))
            words += f", highest {number(y)} at {rate:.3g}"
        told.append(words)
    return [
        as_picture(
            fig,
            "Mean accuracy on the true distribution of every trial, by its learning rate; the thin lines reach from "
            "the 10th to the 90th percentile of its networks, which are dead, slow or learned rather than near their "
            "mean. Crosses are trials that diverged.",
            f"Points joined by lines against the learning rate. {'; '.join(told)}.",
        )
    ]


def _histories(studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable]) -> list[Picture]:
    """Best score so far by sampler, a panel for each side that has baselines."""
    sides: dict[str, dict[str, pd.DataFrame]] = {}
    objective = {}
    for study in studies:
        side = clean(study.label.rpartition(" by ")[0])
        if len(study.trials):
            sides.setdefault(side, {})[study.sampler] = progress_of(study.trials, study.objectives)
            objective[side] = study.objectives[0]
    sides = {side: frames for side, frames in sides.items() if len(frames) > 1}
    if not sides:
        return []
    styles = theme.styles(dict.fromkeys(name for frames in sides.values() for name in frames))
    fig, axes = theme.figure(
        width=8.6, height=3.8, panels=len(sides), sharey=len(set(objective.values())) == 1
    )
    told = []
    for ax, (side, frames) in zip(axes, sides.items(), strict=True):
        words = study_figures.WORDS[objective[side]] if ax is axes[0] else ""
        study_figures.history_lines(ax, frames, title=side, ylabel=words, styles=styles)
        told += [f"{side} by {name}: {number(frame['best'].iloc[-1], 4)}" for name, frame in frames.items()]
    return [
        as_picture(
            fig,
            "The best tuning score so far, by sampler; dots are the trials. There is one study of each: this is how "
            "they went, not how the samplers do on average. What they chose is compared on fresh seeds, among the "
            "contrasts.",
            f"Steps against the number of trials; at the end: {'; '.join(told)}.",
        )
    ]


def _importances(studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable]) -> list[Picture]:
    drawn = []
    for study in studies:
        shares = pd.Series(study.importances, dtype=float).sort_values(ascending=False, kind="stable")
        if len(shares) < 2:
            continue
        fig, (ax,) = theme.figure(height=theme.rows_height(len(shares)))
        study_figures.share_bars(ax, shares, title=clean(study.label))
        told = ", ".join(f"{clean(name)} {100 * share:.0f}%" for name, share in shares.items())
        drawn.append(
            as_picture(
                fig,
                "Share of each parameter in what sets the best tenth of the trials apart from all of them (PED-ANOVA, "
                f"Watanabe et al. 2023), from {plural(len(study.trials) - study.n_failed, 'trial')}. It holds for "
                "the ranges that were searched, and says what had to be right to be among the best: not how much a "
                "parameter moves the "
                "score, nor in which direction, nor what it does together with others. With so few trials the order "
                "of small shares is luck.",
                f"Bars: {told}.",
            )
        )
    return drawn


def _fronts(studies: Sequence[TrackedSearch], confirmed: Mapping[Config, SeedTable]) -> list[Picture]:
    """Cost against regret, with what was not searched for marked."""
    drawn = []
    winners = {study.winner for study in studies}
    for study in studies:
        if set(study.objectives) != {"regret", "cost"} or len(study.trials) == study.n_failed:
            continue
        frame = progress_of(study.trials, study.objectives)
        frame = frame[frame["regret"].notna() & frame["cost"].gt(0)]
        marks = {}
        for config, one in confirmed.items():
            if config == study.winner or config not in winners:
                regret = score_interval(one.frame, "regret", config).estimate
                name = "chosen, confirmed" if config == study.winner else _fixed_name(config)
                marks[name] = (cost(config, len(study.seeds)), max(float(regret), LEAST_REGRET))
        fig, (ax,) = theme.figure(height=4.4)
        study_figures.front_points(ax, frame, marks)
        front = frame[frame["front"]].sort_values("cost", kind="stable")
        some = ", ".join(
            f"{number(regret, 4)} at {at:.3g}"
            for regret, at in front.head(TOLD)[["regret", "cost"]].to_numpy(float).tolist()
        )
        told = "; ".join(f"{name}: {number(regret, 4)} at {at:.3g}" for name, (at, regret) in marks.items())
        drawn.append(
            as_picture(
                fig,
                "Cost against regret, on log axes: each trial, and the front of those that no other beats in both (the "
                f"regret of less than {LEAST_REGRET:g}, the error of the score, is drawn there). The regrets of trials "
                f"are on the {len(study.seeds)} tuning seeds; the marked ones are on fresh seeds, their costs for as "
                "many seeds as a trial has.",
                f"Points; the front: {some}{' and more' if len(front) > TOLD else ''}. Marked: {told or 'none'}.",
            )
        )
    return drawn


def _fixed_name(config: Config) -> str:
    return "the notebook’s default" if config == Config() else config.label()
