"""Tracked searches -> figures: score against learning rate, progress by sampler, what mattered, cost against regret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from qwerties.analysis.searches import LEAST_REGRET, TrackedSearch, cost, progress_of
from qwerties.analysis.tables import SeedTable
from qwerties.config import Config
from qwerties.errors import clean, plural
from qwerties.plotting import search as plots
from qwerties.plotting.axes import Panel
from qwerties.plotting.compare import rows_height, share_bars
from qwerties.plotting.style import WIDE, styles
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.scores import score_interval
from qwerties.report.text import display
from qwerties.scoring import theory
from qwerties.stats.formats import number, percent

MAX_LISTED = 8  # trials of a front that a figure's description lists

Confirmed = Mapping[Config, SeedTable]


def search_rates(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> list[ReportFigure]:
    """Show score against learning rate, for the arms that search nothing else; all samplers' trials together."""
    frames: dict[str, list[pd.DataFrame]] = {}
    places = set()
    for search in searches:
        if search.params == ("learning_rate",) and len(search.trials):
            trials, accuracy = search.trials, search.trials["population_accuracy"]
            columns = {
                "learning_rate": [config.learning_rate for config in trials["config"]],
                "y": accuracy.where(accuracy.between(0, 1)),
                "lo": trials["population_accuracy_p10"],
                "hi": trials["population_accuracy_p90"],
            }
            frames.setdefault(display(search.arm), []).append(pd.DataFrame(columns))
            places |= {(config.distance, config.data) for config in trials["config"]}
    if not frames:
        return []
    joined = {arm: pd.concat(parts, ignore_index=True) for arm, parts in frames.items()}
    references = theory.reference_accuracies(*places.pop()) if len(places) == 1 else {}
    described = []
    for arm, frame in joined.items():
        scored = frame[frame["y"].notna()]
        words = f"{arm}: {plural(len(frame), 'trial')}, {len(frame) - len(scored)} diverged"
        if len(scored):
            top = scored.iloc[int(scored["y"].to_numpy(float).argmax())]
            words += f", highest {number(float(top['y']))} at {top['learning_rate']:.3g}"
        described.append(words)
    diverged = any(frame["y"].isna().any() for frame in joined.values())
    crosses = " Crosses are trials that diverged." if diverged else ""
    return [
        figure_of(
            [(plots.rate_points, {"frames": joined, "references": references})],
            "Mean accuracy on the true distribution of every trial, by its learning rate; the bands reach from the "
            f"10th to the 90th percentile of its networks.{crosses}",
            f"Points joined by lines against the learning rate. {'; '.join(described)}.",
        )
    ]


def search_histories(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> list[ReportFigure]:
    """Show the best score so far by sampler, a panel for each arm that has baselines."""
    arms: dict[str, dict[str, pd.DataFrame]] = {}
    objectives = {}
    for search in searches:
        if len(search.trials):
            arm = display(search.arm)
            progress = progress_of(search.trials, search.objectives)
            arms.setdefault(arm, {})[display(search.sampler)] = progress
            objectives[arm] = search.objectives[0]
    arms = {arm: frames for arm, frames in arms.items() if len(frames) > 1}
    if not arms:
        return []
    shared = styles(name for frames in arms.values() for name in frames)
    parts: list[Panel] = []
    described = []
    for arm, frames in arms.items():
        words = {"title": arm, "ylabel": "" if parts else plots.WORDS[objectives[arm]]}
        parts.append((plots.history_lines, {"frames": frames, "styles": shared, **words}))
        described += [
            f"{arm} by {name}: {number(frame['best'].iloc[-1], 4)}" for name, frame in frames.items()
        ]
    return [
        figure_of(
            parts,
            "The best tuning score so far, by sampler; dots are the trials. There is one search of each: this is how "
            "they went, not how the samplers do on average. What they chose is compared on fresh seeds, among the "
            "contrasts.",
            f"Steps against the number of trials; at the end: {'; '.join(described)}.",
            width=WIDE if len(parts) > 1 else 7.2,
            height=3.8,
            sharey=len(set(objectives.values())) == 1,
        )
    ]


def search_importances(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> list[ReportFigure]:
    """Show which parameters set the best trials apart, for searches of at least two."""
    figures = []
    for search in searches:
        shares = pd.Series(search.importances, dtype=float).sort_values(ascending=False, kind="stable")
        if len(shares) < 2:
            continue
        names = [clean(name).replace("_", " ") for name in shares.index]
        frame = pd.DataFrame({"share": shares.to_numpy()}, index=pd.Index(names, name="parameter"))
        words = {"xlabel": "importance", "title": display(search.label), "full": False}
        listed = ", ".join(f"{name} {percent(share)}" for name, share in frame["share"].items())
        figures.append(
            figure_of(
                [(share_bars, {"frame": frame, **words})],
                "Share of each parameter in what sets the best tenth of the trials apart from all of them (PED-ANOVA, "
                f"Watanabe et al. 2023), from {plural(len(search.trials) - search.n_failed, 'trial')}. It holds for "
                "the ranges that were searched, and says what had to be right to be among the best: not how much a "
                "parameter moves the score, nor in which direction, nor what it does together with others. With few "
                "trials, the order of small shares is luck.",
                f"Bars: {listed}.",
                height=rows_height(len(frame)),
            )
        )
    return figures


def search_fronts(searches: Sequence[TrackedSearch], confirmed: Confirmed) -> list[ReportFigure]:
    """Show cost against regret, with the configs that were not searched for marked."""
    figures = []
    winners = {search.winner for search in searches}
    for search in searches:
        if set(search.objectives) != {"regret", "cost"} or len(search.trials) == search.n_failed:
            continue
        frame = progress_of(search.trials, search.objectives)
        frame = frame[frame["regret"].notna() & frame["cost"].gt(0)]
        marks = {}
        for config, table in confirmed.items():
            if config == search.winner or config not in winners:
                regret = score_interval(table.frame, "regret", config).estimate
                name = "chosen, confirmed" if config == search.winner else _fixed_name(config)
                marks[name] = (cost(config, len(search.seeds)), max(float(regret), LEAST_REGRET))
        front = frame[frame["front"]].sort_values("cost", kind="stable")
        some = ", ".join(
            f"{number(regret, 4)} at {at:.3g}"
            for regret, at in front.head(MAX_LISTED)[["regret", "cost"]].to_numpy(float).tolist()
        )
        marked = "; ".join(f"{name}: {number(regret, 4)} at {at:.3g}" for name, (at, regret) in marks.items())
        figures.append(
            figure_of(
                [(plots.front_points, {"frame": frame, "marks": marks})],
                "Cost against regret, on log axes: each trial, and the front of those that no other beats in both (the "
                f"regret of less than {LEAST_REGRET:g}, the error of the score, is drawn there). The regrets of trials "
                f"are on the {len(search.seeds)} tuning seeds; the marked ones are on fresh seeds, their costs for as "
                "many seeds as a trial has.",
                f"Points; the front: {some}{' and more' if len(front) > MAX_LISTED else ''}. "
                f"Marked: {marked or 'none'}.",
                height=4.4,
            )
        )
    return figures


def _fixed_name(config: Config) -> str:
    return "the notebook’s default" if config == Config() else display(config.label())


FIGURES = (search_rates, search_histories, search_importances, search_fronts)
