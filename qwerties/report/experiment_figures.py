"""Configs' seed tables -> the figures that an experiment file declares: what is drawn, and its words.

The theory's levels, the words of captions and the descriptions for those who cannot see are chosen here. Nothing is
read: curves come through a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from qwerties.analysis.retraining import best_of
from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, FIELDS
from qwerties.plotting import compare as plots
from qwerties.plotting.axes import Panel
from qwerties.plotting.style import WIDE, WIDTH, styles
from qwerties.report import curve_figures
from qwerties.report.curve_figures import Curves
from qwerties.report.figure_words import (
    MAX_ROWS,
    capitalised,
    level_words,
    limit_words,
    line_words,
    names,
    value_words,
    words_of,
)
from qwerties.report.rendering import ReportFigure, figure_of
from qwerties.report.scores import RANGES, references_of, score_interval, shared_references, within
from qwerties.report.text import display, display_all
from qwerties.scoring import theory
from qwerties.scoring.states import STATES
from qwerties.stats.formats import number, percent
from qwerties.stats.intervals import Interval, mean_interval
from qwerties.stats.scores import CHANCE, scores
from qwerties.stats.variance import variance_components
from qwerties.study.experiment import config_names
from qwerties.study.plan import FigureSpec

Tables = Sequence[SeedTable]


def experiment_figure(spec: FigureSpec, seed_tables: Tables, curves: Curves) -> ReportFigure:
    """Make the figure that an experiment declares, of at least one table, in the plan's order.

    ``curves(table, name)`` gives the epochs kept and one array of ``curves.npz``, (networks, columns).

    Raises
    ------
    ValueError
        If the figure cannot be drawn of these configs; the message says why.
    """
    if spec.kind not in KINDS:
        raise ValueError(f"the kind must be one of {', '.join(KINDS)}, got {spec.kind!r}")
    return KINDS[spec.kind](spec, seed_tables, curves)


# ------------------------------------------------------------------------------------- scores with intervals


def _score_points(spec: FigureSpec, tables: Tables, curves: Curves) -> ReportFigure:
    intervals = [score_interval(table.frame, spec.score, table.config) for table in tables]
    references, words = shared_references(spec.score, tables), words_of(spec.score)
    frame = pd.DataFrame(intervals).rename(columns={"estimate": "y"}).assign(label=names(tables))
    frame = frame.iloc[_extremes(frame["y"].tolist())]
    listed = "; ".join(f"{label} {number(y)}" for label, y in zip(frame["label"], frame["y"], strict=True))
    return figure_of(
        [(plots.score_points, {"frame": frame, "references": references, "xlabel": words})],
        f"{capitalised(words)}: the mean over seeds with its 95% interval{limit_words(references)}."
        f"{_left_out(len(tables))}",
        f"Dots with intervals, one row per config, {words}: {listed}{level_words(references)}.",
        height=plots.rows_height(len(frame)),
    )


def _score_lines(spec: FigureSpec, tables: Tables, curves: Curves) -> ReportFigure:
    shown, field = _by_number(spec, tables)
    words, xlabel = words_of(spec.score), words_of(field)
    intervals = [score_interval(table.frame, spec.score, table.config) for table in shown]
    frame = _line_frame(field, shown, intervals, _line_names(field, shown))
    frame["data"] = [table.config.data for table in shown]  # each arrangement of the data has its own limits
    parts: list[Panel] = []
    described, looks = [], styles(frame["line"])
    references: dict[str, Any] = {}
    for arrangement, own in frame.groupby("data", sort=False):
        limits = _limits_over(
            field, spec.score, [table for table in shown if table.config.data == arrangement]
        )
        title = display(arrangement) if len(own) < len(frame) else ""
        labels = {"xlabel": xlabel, "ylabel": "" if parts else words, "title": title}
        parts.append((plots.score_lines, {"frame": own, "references": limits, "styles": looks, **labels}))
        described.append((f"{title}: " if title else "") + line_words(own) + level_words(limits))
        references |= limits
    crosses = " A cross stands where no score is defined." if frame["y"].isna().any() else ""
    return figure_of(
        parts,
        f"{capitalised(words)}, by {xlabel}, with 95% intervals{limit_words(references)}.{crosses}",
        f"Lines of {words} against {xlabel}. {'. '.join(described)}.",
        width=WIDTH if len(parts) == 1 else WIDE,
        height=4.0,
        sharey=True,
    )


def _relu_minus_linear(spec: FigureSpec, tables: Tables, curves: Curves) -> ReportFigure:
    shown, field = _by_number(spec, tables)
    _check_score(spec)
    by_config = {table.config: table for table in shown}
    twins = [(table, by_config.get(replace(table.config, activation="linear"))) for table in shown]
    pairs = [(relu, twin) for relu, twin in twins if relu.config.activation == "relu" and twin is not None]
    if not pairs:
        raise ValueError("no two configs differ in ReLU against linear alone")
    low, high = RANGES[spec.score]
    gaps = []
    for pair in pairs:
        a, b = (scores(table.frame.set_index("seed"), spec.score) for table in pair)
        gaps.append(within(mean_interval((a - b).dropna().to_numpy()), low - high, high - low))
    relus = [relu for relu, _ in pairs]
    frame = _line_frame(field, relus, gaps, _line_names(field, relus, keep_data=True))
    words, xlabel = words_of(spec.score), words_of(field)
    labels = {"xlabel": xlabel, "ylabel": f"ReLU − linear: {words}" if len(words) < 24 else "ReLU − linear"}
    return figure_of(
        [(plots.score_lines, {"frame": frame, "references": {"no difference": 0.0}, **labels})],
        f"ReLU minus linear, {words}, on the same seeds, by {xlabel}: the mean difference with its 95% interval.",
        f"Lines of the difference against {xlabel}. {line_words(frame)}. Dashed: no difference, 0.",
        height=3.6,
    )


def _distributions(spec: FigureSpec, tables: Tables, curves: Curves) -> ReportFigure:
    field = spec.x
    if field is None or field not in FIELDS:
        raise ValueError(f"x must be a field of a config, got {field!r}")
    _check_score(spec)
    parts = []
    for table, line in zip(tables, _line_names(field, tables, keep_data=True), strict=True):
        value = getattr(table.config, field)
        x = "x".join(map(str, value)) if isinstance(value, tuple) else value
        x = display(x) if isinstance(x, str) else float(x)
        parts.append(pd.DataFrame({"x": x, "y": scores(table.frame, spec.score), "line": line}))
    frame = pd.concat(parts, ignore_index=True)
    references = shared_references(spec.score, tables)
    words, xlabel = words_of(spec.score), words_of(field)
    summary = (
        frame.groupby(["line", "x"], sort=False)["y"].describe(percentiles=[0.1, 0.5, 0.9]).reset_index()
    )
    described = "; ".join(
        (f"{row['line']}, " if row["line"] else "")
        + f"{value_words(row['x'])}: mean {number(row['mean'])}, tenth {number(row['10%'])}, "
        f"median {number(row['50%'])}, nine tenths {number(row['90%'])}"
        for row in summary.to_dict("records")
    )
    arguments = {"frame": frame, "references": references, "xlabel": xlabel, "ylabel": words}
    return figure_of(
        [(plots.score_distributions, arguments)],
        f"{capitalised(words)} of every seed, by {xlabel}: the wider a shape, the more seeds. Dots are means"
        f"{limit_words(references)}.",
        f"Distributions of {words} over seeds, by {xlabel}. {described}{level_words(references)}.",
        dpi=150,  # hundreds of outlines would be large as SVG
        width=WIDE,
        height=4.4,
    )


def _retraining(spec: FigureSpec, tables: Tables, curves: Curves) -> ReportFigure:
    if len(tables) != 1 or "weight_seed" in tables[0].frame:
        raise ValueError("it takes one config on independent seeds")
    config, best = tables[0].config, best_of(tables[0].frame)
    panels_of: tuple[tuple[str, dict[str, str], dict[str, float]], ...] = (
        ("share of choices of k", {"learned": "the kept one learned", "any_learned": "one of k learned"}, {}),
        (
            "accuracy of the kept one, mean",
            {"train_accuracy": "on its training points", "population_accuracy": "on the true distribution"},
            theory.reference_accuracies(config.distance, config.data),
        ),
    )
    parts: list[Panel] = []
    described = []
    for ylabel, lines, levels in panels_of:
        frame = pd.concat(
            best[[name, f"{name}_lo", f"{name}_hi"]]
            .set_axis(["y", "lo", "hi"], axis=1)
            .assign(x=best.index, line=line)
            for name, line in lines.items()
        )
        labels = {"xlabel": "networks trained, k", "ylabel": ylabel}
        parts.append((plots.score_lines, {"frame": frame, "references": levels, **labels}))
        described.append(line_words(frame) + level_words(levels))
    over = []
    for k, row in best.iterrows():
        ends = ("overstated", "overstated_lo", "overstated_hi")
        estimate, low, high = (number(row[end], 4, sign=True) for end in ends)
        over.append(f"{estimate} [{low}, {high}] for k = {k}")
    return figure_of(
        parts,
        "Train k networks, each on its own data, and keep the one of least training loss: means over all choices of k "
        f"of the {len(tables[0].frame):,} tracked networks, with 95% bootstrap bounds. The training accuracy of the "
        f"kept one minus its accuracy on the true distribution: {'; '.join(over)}.",
        f"Lines against the number of networks trained. {'. '.join(described)}.",
        width=WIDE,
        height=3.8,
    )


def _check_score(spec: FigureSpec) -> None:
    if spec.score not in CHANCE:
        raise ValueError(f"the score must be one of {', '.join(CHANCE)}, got {spec.score!r}")


def _by_number(spec: FigureSpec, tables: Tables) -> tuple[list[SeedTable], str]:
    """Return the configs that a figure over a numeric field can show, and the field.

    Raises
    ------
    ValueError
        If there is none, or the field is not numeric.
    """
    field = spec.x
    if field is None or field not in FIELDS or isinstance(FIELDS[field], str):
        raise ValueError(f"x must be a numeric field of a config, got {field!r}")
    shown = [table for table in tables if field != "hidden" or len(table.config.hidden) == 1]
    if not shown:
        raise ValueError("x is the number of hidden units, and no config has one hidden layer")
    return shown, field


def _line_frame(
    field: str, tables: Tables, intervals: Sequence[Interval], lines: Sequence[str]
) -> pd.DataFrame:
    values = [getattr(table.config, field) for table in tables]
    x = [float(value[0] if field == "hidden" else value) for value in values]
    return pd.DataFrame(intervals).rename(columns={"estimate": "y"}).assign(x=x, line=lines)


def _line_names(field: str, tables: Tables, *, keep_data: bool = False) -> list[str]:
    """Name what differs among configs besides a field, and besides the data unless kept; empty where nothing does."""
    same = {name: getattr(DEFAULT, name) for name in ((field,) if keep_data else (field, "data"))}
    rest = [replace(table.config, **same) for table in tables]
    return display_all(config_names(rest)) if len(set(rest)) > 1 else [""] * len(rest)


def _limits_over(field: str, score: str, tables: Tables) -> dict[str, float | pd.Series]:
    if field != "distance" or score == "regret":
        return dict(shared_references(score, tables))
    configs = [table.config for table in tables]
    levels = pd.DataFrame({config.distance: references_of(score, config) for config in configs}).T
    return {str(name): column.dropna() for name, column in levels.items()}


# ------------------------------------------------------------------------------------------ outcomes, variance


def _outcome_bars(spec: FigureSpec, tables: Tables, curves: Curves) -> ReportFigure:
    shares = pd.DataFrame(
        [[float((table.frame["state"].to_numpy() == state).mean()) for state in STATES] for table in tables],
        index=names(tables),
        columns=list(STATES),
    )
    shares = shares.iloc[_extremes(shares["learned"].tolist())]
    occurring = shares.loc[:, shares.gt(0).any()]
    described = "; ".join(
        f"{name}: " + ", ".join(f"{percent(share)} {state}" for state, share in row.items() if share > 0)
        for name, row in occurring.iterrows()
    )
    return figure_of(
        [(plots.outcome_bars, {"frame": occurring})],
        f"How the networks of each config ended.{_left_out(len(tables))}",
        f"Stacked bars, one per config. {described}.",
        height=plots.rows_height(len(shares)),
    )


def _extremes(values: Sequence[float]) -> list[int]:
    """Return, in order, the indices of the highest and the lowest for which `MAX_ROWS` have room."""
    if len(values) <= MAX_ROWS:
        return list(range(len(values)))
    ranked = np.argsort(np.nan_to_num(np.asarray(values, float), nan=-np.inf), kind="stable").tolist()
    return sorted(ranked[: MAX_ROWS // 2] + ranked[-MAX_ROWS // 2 :])


def _left_out(configs: int) -> str:
    if configs <= MAX_ROWS:
        return ""
    half = MAX_ROWS // 2
    return (
        f" Of {configs:,} configs the {half} highest and the {half} lowest, in the plan's order; "
        f"{configs - MAX_ROWS:,} more in the table."
    )


def _variance(spec: FigureSpec, tables: Tables, curves: Curves) -> ReportFigure:
    if len(tables) != 1 or "weight_seed" not in tables[0].frame:
        raise ValueError("it takes one config on a crossed block of seeds")
    frame = tables[0].frame
    score = spec.score if spec.score in CHANCE else "population_accuracy"
    components = variance_components(frame, score)
    parts = (components.data, components.start, components.interaction)
    shares = pd.DataFrame(
        [(part.share, part.share_lo, part.share_hi) for part in parts],
        index=["data", "start", "the two together"],
        columns=["share", "lo", "hi"],
    )
    table = frame.assign(score=scores(frame, score)).pivot_table(
        index="data_seed", columns="weight_seed", values="score"
    )
    table = table.loc[table.mean(axis=1).sort_values(kind="stable").index]
    table = table[table.mean().sort_values(kind="stable").index]
    starts, sets = components.weight_seeds, components.data_seeds
    words = {"xlabel": f"{starts} starts, sorted by their means", "ylabel": f"{sets} data sets, sorted"}
    bars = {"frame": shares, "xlabel": "share of the variance", "title": "where the variance comes from"}
    listed = ", ".join(
        f"{name} {percent(share)} [{percent(lo)}, {percent(hi)}]"
        for name, share, lo, hi in shares.itertuples()
    )
    return figure_of(
        [(plots.score_map, {"table": table, "title": words_of(score), **words}), (plots.share_bars, bars)],
        f"Left: {words_of(score)} of every data set trained from every start. Right: shares of its variance, with "
        "95% bounds from a bootstrap over both.",
        f"A map of {sets} data sets by {starts} starts, mean {number(components.mean)}; and bars of the shares of the "
        f"variance: {listed}.",
        width=8.6,
        height=3.9,
        width_ratios=(1.15, 1),
    )


KINDS: dict[str, Callable[[FigureSpec, Tables, Curves], ReportFigure]] = {
    "scores": _score_points,
    "lines": _score_lines,
    "distribution": _distributions,
    "relu_minus_linear": _relu_minus_linear,
    "retraining": _retraining,
    "outcomes": _outcome_bars,
    "losses": curve_figures.loss_lines,
    "gradients": curve_figures.gradient_lines,
    "variance": _variance,
}
