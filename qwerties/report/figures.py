"""Configs' networks -> the figures that an experiment asks for: the numbers, the picture, and its words.

`figures` draws; what is drawn, against which of the theory's lines, and what the text beside it says to those who
cannot see it, is decided here. Reads nothing: curves come through a callable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qwerties.analysis.retraining import best_of
from qwerties.config import DEFAULT, FIELDS, Config
from qwerties.errors import plural
from qwerties.plotting import compare as figures
from qwerties.plotting import style as theme
from qwerties.plotting.evidence import evidence
from qwerties.report.drawing import PNG, SVG, Drawing
from qwerties.scoring import theory
from qwerties.stats.compare import Comparison
from qwerties.stats.formats import number, percent
from qwerties.stats.intervals import Interval, mean_interval, wilson
from qwerties.stats.planning import narrowing
from qwerties.stats.scores import CHANCE, score_values, scores
from qwerties.stats.variance import variance_components
from qwerties.study.coverage import STATES, FigureSpec, SeedTable, config_names

MAX_LINES = 6
"""Loss curves in one panel."""

MAX_TOLD = 12
"""Points of one line that a figure's text tells."""

MAX_ROWS = 24
"""Named rows of one figure; more are unreadable, and stand in the table."""

SCORE_WORDS = {
    "population_accuracy": "accuracy on the true distribution",
    "train_accuracy": "accuracy on the training points",
    "learned": "share of seeds that learned",
    "regret": "regret: Bayes accuracy − accuracy",
    "settled": "share of seeds whose loss has settled",
    "gain": "gain: way from a coin toss to Bayes accuracy",
}
FIELD_WORDS = {"hidden": "hidden units", "distance": "distance between the cluster centres"}

WIDE = 9.6
"""Width in inches of a figure with several panels, or with many places."""

ENDS = {"y": "", "lo": "_lo", "hi": "_hi"}
"""Columns of a figure, and how `best_of` names an estimate's and its bounds'."""

Curves = Callable[[SeedTable, str], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Picture:
    """A figure of the page with its size in CSS pixels, its caption, and its content in words."""

    drawing: Drawing
    width: int
    height: int
    caption: str
    alt: str


def draw(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    """Draw the figure that is asked for.

    Parameters
    ----------
    spec : FigureSpec
    drawn : sequence of SeedTable
        At least one, in the plan's order.
    curves : callable
        ``curves(networks, name)`` gives the epochs kept and one array of ``curves.npz``.

    Raises
    ------
    ValueError
        If the figure cannot be drawn of these configs; the message says why.
    """
    if spec.kind not in KINDS:
        raise ValueError(f"the kind must be one of {', '.join(KINDS)}, got {spec.kind!r}")
    return KINDS[spec.kind](spec, drawn, curves)


def names(drawn: Sequence[SeedTable]) -> list[str]:
    """Name configs by what differs among them."""
    return config_names([one.config for one in drawn])


def score_interval(frame: pd.DataFrame, score: str, config: Config) -> Interval:
    """Estimate a score of a config over seeds with its 95% interval: Wilson for a share, t for a mean.

    Networks of a crossed layout share data and starts and are not independent: no interval.

    Raises
    ------
    ValueError
        If there is no such score.
    """
    if score == "learned":
        values = frame["state"].to_numpy() == "learned"
    elif score == "regret":
        values = theory.bayes_accuracy(config.distance, config.data) - score_values(
            frame, "population_accuracy"
        )
    elif score in CHANCE:
        values = score_values(frame, score)
    elif score in frame and (
        pd.api.types.is_bool_dtype(frame[score]) or pd.api.types.is_numeric_dtype(frame[score])
    ):
        values = frame[score].to_numpy()
    else:
        raise ValueError(
            f"the score must be learned, regret or a column of numbers in seeds.csv, got {score!r}"
        )
    if values.dtype == bool:
        count, n = int(values.sum()), len(values)
        found = Interval(count / n if n else math.nan, *wilson(count, n), n, 0.95)
    else:
        found = mean_interval(values)
    return replace(found, lo=math.nan, hi=math.nan) if "weight_seed" in frame else found


def limit(score: str, config: Config) -> tuple[str, float] | None:
    """Name the theory's limit of a score, and its value for a config; None where there is none."""
    limits: dict[str, tuple[str, Callable[[float, str], float]]] = {
        "population_accuracy": ("Bayes accuracy", theory.bayes_accuracy),
        "train_accuracy": ("Bayes accuracy", theory.bayes_accuracy),
        "phi": ("Bayes phi", theory.bayes_phi),
        "gain": ("Bayes", lambda distance, data: 1.0),
        "regret": ("Bayes", lambda distance, data: 0.0),
        "bce": ("floor", theory.bce_floor),
        "brier": ("floor", theory.brier_floor),
    }
    if score not in limits:
        return None
    name, at = limits[score]
    return name, float(at(config.distance, config.data))


def references_of(score: str, config: Config) -> dict[str, float]:
    """Name the levels that a config's score is compared with: its limit, and what simpler classifiers reach."""
    if score in ("population_accuracy", "train_accuracy"):
        return theory.reference_accuracies(config.distance, config.data)
    return dict(filter(None, [limit(score, config)]))


def _score_points(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    found = [score_interval(one.frame, spec.score, one.config) for one in drawn]
    references = _shared_references(spec.score, [one.config for one in drawn])
    every = names(drawn)
    kept = _ends([one.estimate for one in found])
    found = [found[i] for i in kept]
    frame = pd.DataFrame(
        {
            "label": [every[i] for i in kept],
            "y": [one.estimate for one in found],
            "lo": [one.lo for one in found],
            "hi": [one.hi for one in found],
        }
    )
    words = _words(spec.score)
    listed = "; ".join(f"{label} {number(y)}" for label, y in zip(frame["label"], frame["y"], strict=True))
    return planned_picture(
        *(figures.points_figure, frame, references, words),
        size=figures.size_of_rows(len(frame)),
        caption=f"{_sentence(words)}: the mean over seeds with its 95% interval{_and_limits(references)}."
        f"{_left_out(len(drawn))}",
        alt=f"Dots with intervals, one row per config, {words}: {listed}{_levels(references)}.",
    )


def _score_lines(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    shown, field = _by_number(spec, drawn)
    lines = _line_names(field, shown)
    rows = []
    for one, name in zip(shown, lines, strict=True):
        interval = score_interval(one.frame, spec.score, one.config)
        x, data = _place(one.config, field), one.config.data
        rows.append((data, x, interval.estimate, interval.lo, interval.hi, name))
    frame = pd.DataFrame(rows, columns=["data", "x", "y", "lo", "hi", "line"])
    words, xlabel = _words(spec.score), FIELD_WORDS.get(field, field.replace("_", " "))
    panels = list(frame.groupby("data", sort=False))  # each arrangement of the data has its own limits
    width = theme.WIDTH if len(panels) == 1 else WIDE
    fig, axes = theme.figure(width=width, height=4.0, panels=len(panels), sharey=True)
    styles = theme.styles(lines)
    told: list[str] = []
    references: dict[str, float | pd.Series] = {}
    for ax, (arrangement, part) in zip(axes, panels, strict=True):
        members = [one.config for one in shown if one.config.data == arrangement]
        own = _limits_over(field, spec.score, members)
        figures.score_lines(
            ax,
            part,
            *("x", "y", "lo", "hi", "line" if any(lines) else None, own),
            xlabel=xlabel,
            ylabel=words if ax is axes[0] else " ",
            title=str(arrangement) if len(panels) > 1 else "",
            styles=styles,
        )
        told.append((f"{arrangement}: " if len(panels) > 1 else "") + _told_lines(part) + _levels(own))
        references |= own
    return as_picture(
        fig,
        f"{_sentence(words)}, by {xlabel}, with 95% intervals{_and_limits(references)}.",
        f"Lines of {words} against {xlabel}. {'. '.join(told)}.",
    )


def _by_number(spec: FigureSpec, drawn: Sequence[SeedTable]) -> tuple[list[SeedTable], str]:
    """Configs that a figure over a numeric field can show, and the field.

    Raises
    ------
    ValueError
        If there is none, or the field is not numeric.
    """
    field = spec.x
    if field is None or field not in FIELDS or isinstance(FIELDS[field], str):
        raise ValueError(f"x must be a numeric field of a config, got {field!r}")
    shown = [one for one in drawn if field != "hidden" or len(one.config.hidden) == 1]
    if not shown:
        raise ValueError("x is the number of hidden units, and no config has one hidden layer")
    return shown, field


def _place(config: Config, field: str) -> float:
    """A config's place on the axis of a numeric field."""
    value = getattr(config, field)
    return float(value[0] if field == "hidden" else value)


def _line_names(field: str, shown: Sequence[SeedTable], *others: str) -> list[str]:
    """Name what differs among configs besides a field, the data and some others; empty where nothing does."""
    same = {name: getattr(DEFAULT, name) for name in (field, "data", *others)}
    rest = [replace(one.config, **same) for one in shown]
    return config_names(rest) if len(set(rest)) > 1 else [""] * len(rest)


def _told_lines(frame: pd.DataFrame) -> str:
    """Lines of a figure in words: columns `x`, `y` and `line`."""
    return "; ".join(
        (f"{name!s}: " if name else "")
        + ", ".join(
            f"{number(part['y'].iloc[i])} at {part['x'].iloc[i]:g}" for i in _spaced(len(part), MAX_TOLD)
        )
        for name, part in frame.sort_values("x", kind="stable").groupby("line", sort=False)
    )


def _distributions(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    field = spec.x
    if field is None or field not in FIELDS:
        raise ValueError(f"x must be a field of a config, got {field!r}")
    if spec.score not in CHANCE:
        raise ValueError(f"the score must be one of {', '.join(CHANCE)}, got {spec.score!r}")
    rest = [replace(one.config, **{field: getattr(DEFAULT, field)}) for one in drawn]
    lines = config_names(rest) if len(set(rest)) > 1 else [""] * len(rest)
    parts = []
    for one, line in zip(drawn, lines, strict=True):
        value = getattr(one.config, field)
        text = "x".join(map(str, value)) if isinstance(value, tuple) else value
        parts.append(pd.DataFrame({"x": text, "y": score_values(one.frame, spec.score), "line": line}))
    frame = pd.concat(parts, ignore_index=True)
    references = _shared_references(spec.score, [one.config for one in drawn])
    words, xlabel = _words(spec.score), FIELD_WORDS.get(field, field.replace("_", " "))
    fig, (ax,) = theme.figure(width=WIDE, height=4.4)
    figures.score_distributions(
        ax, frame, "x", "y", "line" if any(lines) else None, references, xlabel=xlabel, ylabel=words
    )
    told = "; ".join(
        (f"{line}, " if line else "")
        + f"{value}: mean {number(float(own.mean()))}, tenth {number(float(own.quantile(0.1)))}, "
        f"median {number(float(own.median()))}, nine tenths {number(float(own.quantile(0.9)))}"
        for (line, value), own in frame.groupby(["line", "x"], sort=False)["y"]
    )
    return as_picture(
        fig,
        f"{_sentence(words)} of every seed, by {xlabel}: the wider a bar, the more seeds (by the square root of their "
        f"share, so that single ones are visible). Dots are means{_and_limits(references)}.",
        f"Distributions of {words} over seeds, by {xlabel}. {told}{_levels(references)}.",
    )


def _relu_minus_linear(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    shown, field = _by_number(spec, drawn)
    if spec.score not in CHANCE:
        raise ValueError(f"the score must be one of {', '.join(CHANCE)}, got {spec.score!r}")
    by_config = {one.config: one for one in shown}
    twins = [(one, by_config.get(replace(one.config, activation="linear"))) for one in shown]
    pairs = [(one, twin) for one, twin in twins if one.config.activation == "relu" and twin is not None]
    if not pairs:
        raise ValueError("no two configs differ in ReLU against linear alone")
    rest = [replace(one.config, **{field: getattr(DEFAULT, field)}) for one, _ in pairs]
    names = config_names(rest) if len(set(rest)) > 1 else [""] * len(rest)
    rows = []
    for (relu, linear), line in zip(pairs, names, strict=True):
        a, b = (scores(one.frame.set_index("seed"), spec.score) for one in (relu, linear))
        gap = mean_interval((a - b).dropna().to_numpy())
        rows.append((_place(relu.config, field), gap.estimate, gap.lo, gap.hi, line))
    frame = pd.DataFrame(rows, columns=["x", "y", "lo", "hi", "line"])
    words, xlabel = _words(spec.score), FIELD_WORDS.get(field, field.replace("_", " "))
    fig, (ax,) = theme.figure(height=3.6)
    figures.score_lines(
        ax,
        frame,
        *("x", "y", "lo", "hi", "line" if any(names) else None, {"no difference": 0.0}),
        xlabel=xlabel,
        ylabel=f"ReLU − linear: {words}" if len(words) < 24 else "ReLU − linear",
    )
    return as_picture(
        fig,
        f"ReLU minus linear, {words}, on the same seeds, by {xlabel}: the mean difference with its 95% interval.",
        f"Lines of the difference against {xlabel}. {_told_lines(frame)}. Dashed: no difference, 0.",
    )


def _retraining(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    if len(drawn) != 1 or "weight_seed" in drawn[0].frame:
        raise ValueError("it takes one config on independent seeds")
    config, found = drawn[0].config, best_of(drawn[0].frame)
    references = theory.reference_accuracies(config.distance, config.data)
    fig, axes = theme.figure(width=WIDE, height=3.8, panels=2)
    panels: tuple[tuple[str, dict[str, str], dict[str, float]], ...] = (
        ("share of choices of k", {"learned": "the kept one learned", "any_learned": "one of k learned"}, {}),
        (
            "accuracy of the kept one, mean",
            {"train_accuracy": "on its training points", "population_accuracy": "on the true distribution"},
            references,
        ),
    )
    told = []
    for ax, (ylabel, lines, levels) in zip(axes, panels, strict=True):
        frame = pd.concat(
            [
                pd.DataFrame(
                    {
                        "x": found.index.astype(float),
                        **{end: found[f"{name}{key}"].to_numpy() for end, key in ENDS.items()},
                        "line": line,
                    }
                )
                for name, line in lines.items()
            ]
        )
        figures.score_lines(
            ax,
            frame,
            *("x", "y", "lo", "hi", "line", levels),
            xlabel="networks trained, k",
            ylabel=ylabel,
        )
        told.append(_told_lines(frame) + _levels(levels))
    over = []
    for k, row in found.iterrows():
        estimate, low, high = (number(row[f"overstated{end}"], 4, sign=True) for end in ENDS.values())
        over.append(f"{estimate} [{low}, {high}] for k = {k}")
    return as_picture(
        fig,
        "Train k networks, each on its own data, and keep the one of least training loss: means over all choices of k "
        f"of the {len(drawn[0].frame):,} tracked networks, with 95% bootstrap bounds. The training accuracy of the "
        f"kept one minus its accuracy on the true distribution: {'; '.join(over)}.",
        f"Lines against the number of networks trained. {'. '.join(told)}.",
    )


def _spaced(n: int, most: int) -> list[int]:
    """Places of at most so many among n, evenly spaced, with both ends."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, most)).tolist()}) if n else []


def _limits_over(field: str, score: str, configs: Sequence[Config]) -> dict[str, float | pd.Series]:
    if field != "distance" or score == "regret" or len({config.data for config in configs}) > 1:
        return dict(_shared_references(score, configs))
    found = {config.distance: references_of(score, config) for config in configs}
    levels = pd.DataFrame(found).T  # a row per distance, a column per name
    return {str(name): column.dropna() for name, column in levels.items()}


def _shared_references(score: str, configs: Sequence[Config]) -> dict[str, float]:
    """Levels that are the same for all configs."""
    found = [references_of(score, config) for config in configs]
    return found[0] if found and all(one == found[0] for one in found) else {}


def _outcome_bars(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    shares = pd.DataFrame(
        [[float((one.frame["state"].to_numpy() == state).mean()) for state in STATES] for one in drawn],
        index=names(drawn),
        columns=list(STATES),
    )
    shares = shares.iloc[_ends(shares["learned"].tolist())]
    occurring = shares.loc[:, shares.gt(0).any()]
    fig, (ax,) = theme.figure(height=theme.rows_height(len(shares)))
    figures.outcome_bars(ax, occurring)
    told = "; ".join(
        f"{name}: " + ", ".join(f"{percent(share)} {state}" for state, share in row.items() if share > 0)
        for name, row in occurring.iterrows()
    )
    return as_picture(
        fig,
        f"How the networks of each config ended.{_left_out(len(drawn))}",
        f"Stacked bars, one per config. {told}.",
    )


def _ends(values: Sequence[float]) -> list[int]:
    """Places of what `MAX_ROWS` have room for, in order: the highest and the lowest; undefined ranks lowest."""
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


def _loss_lines(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    longest: dict[Config, SeedTable] = {}
    for one in drawn:
        kept = longest.get(one.config.without_epochs)
        if kept is None or kept.config.epochs < one.config.epochs:
            longest[one.config.without_epochs] = one
    panels: dict[str, list[SeedTable]] = {}
    for one in longest.values():
        panels.setdefault(one.config.loss, []).append(one)
    left_out = sum(max(0, len(members) - MAX_LINES) for members in panels.values())
    panels = {loss: members[:MAX_LINES] for loss, members in panels.items()}
    fig, axes = theme.figure(height=3.9, panels=len(panels), sharex=True)
    told = []
    for ax, (loss, members) in zip(axes, panels.items(), strict=True):
        labels = names(members) if len(members) > 1 else ["mean"]
        lines = {}
        for label, one in zip(labels, members, strict=True):
            epochs, losses = curves(one, "loss")
            with np.errstate(over="ignore", invalid="ignore"):
                mean = losses.mean(0, dtype=np.float64)
            lines[label] = pd.DataFrame({"train_loss": mean}, index=epochs)
            told.append(f"{loss}, {label}: from {number(mean[0])} to {number(mean[-1])} after {epochs[-1]:,}")
        references = _loss_levels(loss, members)
        figures.loss_lines(
            ax,
            lines,
            references,
            title=loss,
            ylabel="training loss, mean over seeds" if ax is axes[0] else "",
        )
    caption = (
        "Training loss, mean over seeds, on log axes; the floor is the least that any classifier can expect"
    )
    apart = ", a panel for each loss, as their values cannot be compared" if len(panels) > 1 else ""
    rest = f" ({plural(left_out, 'more line')} not drawn)" if left_out else ""
    return as_picture(fig, f"{caption}{apart}{rest}.", f"Falling curves. {'; '.join(told)}.")


def _loss_levels(loss: str, members: Sequence[SeedTable]) -> dict[str, float]:
    floor = theory.bce_floor if loss == "bce" else theory.brier_floor
    floors = {float(floor(one.config.distance, one.config.data)) for one in members}
    levels = {"Bayes floor": floors.pop()} if len(floors) == 1 else {}
    return levels | {"dead plateau": theory.DEAD_PLATEAU[loss]}


def gradient_ratios(drawn: Sequence[SeedTable], curves: Curves) -> pd.DataFrame:
    """Measure how much of the gradient reaches the first layer before the first update.

    Returns
    -------
    DataFrame
        A row per config: `init`, `activation`, `depth`, and `ratio`, the RMS gradient of the first layer over that
        of the last, median over seeds.

    Raises
    ------
    ValueError
        If two configs differ in something else.
    """
    rows = []
    for one in drawn:
        _, rms = curves(one, "gradient_rms")  # (networks, layers)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = rms[:, 0] / rms[:, -1]
        middle = np.median(np.where(np.isfinite(ratio), ratio, 0))  # no gradient at all: the lowest rank
        rows.append((one.config.init, one.config.activation, len(one.config.hidden), float(middle)))
    frame = pd.DataFrame(rows, columns=["init", "activation", "depth", "ratio"])
    if frame.duplicated(["init", "activation", "depth"]).any():
        raise ValueError("its configs differ in more than activation, depth and initial weights")
    return frame


def _gradient_lines(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    frame = gradient_ratios(drawn, curves)
    inits = list(dict.fromkeys(frame["init"]))
    styles = theme.styles(frame["activation"])
    fig, axes = theme.figure(height=3.9, panels=len(inits), sharey=True)
    told = []
    for ax, init in zip(axes, inits, strict=True):
        part = frame[frame["init"] == init]
        table = part.pivot_table(index="depth", columns="activation", values="ratio")
        table = table[list(dict.fromkeys(part["activation"]))]
        title = f"{replace(DEFAULT, init=init).label([replace(DEFAULT, init=i) for i in inits])}" or init
        figures.gradient_lines(ax, table, title=title, styles=styles)
        told += [
            f"{title}, {name}: " + ", ".join(f"{ratio:.2g} at {depth}" for depth, ratio in column.items())
            for name, column in table.items()
        ]
    return as_picture(
        fig,
        "Before the first update: RMS gradient of the first layer over that of the last, median over seeds; "
        "on the dashed line both are equally large.",
        f"Lines of the gradient ratio against the number of hidden layers. {'; '.join(told)}.",
    )


def _variance(spec: FigureSpec, drawn: Sequence[SeedTable], curves: Curves) -> Picture:
    if len(drawn) != 1 or "weight_seed" not in drawn[0].frame:
        raise ValueError("it takes one config on a crossed block of seeds")
    frame = drawn[0].frame
    column = spec.score if spec.score in CHANCE else "population_accuracy"
    found = variance_components(frame, column)
    parts = {"data": found.data, "start": found.start, "the two together": found.interaction}
    shares = pd.DataFrame(
        {name: (part.share, part.share_lo, part.share_hi) for name, part in parts.items()},
        index=["share", "lo", "hi"],
    ).T
    table = frame.assign(score=scores(frame, column)).pivot_table(
        index="data_seed", columns="weight_seed", values="score"
    )
    table = table.loc[table.mean(axis=1).sort_values(kind="stable").index]
    table = table[table.mean().sort_values(kind="stable").index]
    fig, axes = theme.figure(width=8.6, height=3.9, panels=2, width_ratios=(1.15, 1))
    figures.score_map(
        axes[0],
        table,
        xlabel=f"{found.weight_seeds} starts, sorted by their means",
        ylabel=f"{found.data_seeds} data sets, sorted",
        title=_words(column),
    )
    figures.variance_bars(axes[1], shares, title="where the variance comes from")
    told = ", ".join(
        f"{name} {percent(part.share)} [{percent(part.share_lo)}, {percent(part.share_hi)}]"
        for name, part in parts.items()
    )
    return as_picture(
        fig,
        f"Left: {_words(column)} of every data set trained from every start. Right: shares of its variance, with 95% "
        "bounds from a bootstrap over both.",
        f"A map of {found.data_seeds} data sets by {found.weight_seeds} starts, mean {number(found.mean)}; and bars of "
        f"the shares of the variance: {told}.",
    )


KINDS: dict[str, Callable[[FigureSpec, Sequence[SeedTable], Curves], Picture]] = {
    "scores": _score_points,
    "lines": _score_lines,
    "distribution": _distributions,
    "relu_minus_linear": _relu_minus_linear,
    "retraining": _retraining,
    "outcomes": _outcome_bars,
    "losses": _loss_lines,
    "gradients": _gradient_lines,
    "variance": _variance,
}


def draw_contrasts(compared: Sequence[tuple[str, Comparison]]) -> Picture:
    """Draw the mean paired difference of each contrast, with ±delta shaded where it is one for all.

    Of more than `MAX_ROWS` those with the largest differences, to either side.
    """
    every = len(compared)
    if every > MAX_ROWS:
        sizes = [abs(found.estimate) for _, found in compared]
        compared = [compared[i] for i in sorted(np.argsort(sizes, kind="stable")[-MAX_ROWS:].tolist())]
    frame = pd.DataFrame(
        {
            "label": [label for label, _ in compared],
            "y": [found.estimate for _, found in compared],
            "lo": [found.low for _, found in compared],
            "hi": [found.high for _, found in compared],
        }
    )
    deltas = {found.margin for _, found in compared}
    delta = deltas.pop() if len(deltas) == 1 else None
    told = "; ".join(
        f"{label} {number(y, sign=True)} [{number(lo, sign=True)}, {number(hi, sign=True)}]"
        for label, y, lo, hi in frame.itertuples(index=False)
    )
    band = "" if delta is None else f" The band is ±δ = {delta:g}, differences too small to matter."
    return planned_picture(
        *(figures.points_figure, frame, {"no difference": 0.0}),
        "difference in accuracy on the true distribution, A − B",
        None if delta is None else (-delta, delta),
        size=figures.size_of_rows(len(frame)),
        caption="Mean paired difference of each contrast, A − B, with the interval that its verdict comes from."
        f"{band}"
        + (
            f" The {MAX_ROWS} largest of {every:,}, in the plan's order; the others are in the table."
            if every > MAX_ROWS
            else ""
        ),
        alt=f"Dots with intervals, one row per contrast: {told}.",
    )


def draw_evidence(name: str, compared: Comparison) -> Picture:
    """Draw how the interval of a contrast narrowed as seeds came in, beside what Student's t would have claimed."""
    course = narrowing(
        compared.differences, alpha=compared.alpha, margin=compared.margin, bounds=compared.bounds
    )
    fig, (ax,) = theme.figure(height=3.6)
    curves = (course.counts, course.low, course.high, course.estimate)
    evidence(ax, *curves, compared.margin, course.t_low, course.t_high, course.decided)
    decided = "not decided yet" if course.decided is None else f"decided after {course.decided:,} seeds"
    told = "; ".join(
        f"{plural(int(course.counts[i]), 'seed')} [{number(course.low[i], sign=True)}, "
        f"{number(course.high[i], sign=True)}]"
        for i in _spaced(len(course.counts), MAX_TOLD)
    )
    return as_picture(
        fig,
        f"How the evidence came in: {name}, {decided}. The mean difference and its interval at α = "
        f"{compared.alpha:g}, which holds at every number of seeds at once; dashed, Student’s t interval at the same "
        f"level, which holds at one number alone. The band is ±δ = {compared.margin:g}.",
        f"An interval that narrows as seeds come in, {decided}: {told}.",
    )


def as_picture(fig: Figure, caption: str, alt: str, *, dots: float | None = None) -> Picture:
    """Make a picture of a figure: an SVG, or a PNG of so many `dots` per inch."""
    drawing = Drawing(PNG, theme.png, fig, dots) if dots else Drawing(SVG, theme.svg, fig)
    return Picture(drawing, *_pixels(fig.get_size_inches()), caption, alt)


def planned_picture(
    build: Callable[..., Figure],
    *arguments: Any,
    size: Sequence[float],
    caption: str,
    alt: str,
    dots: float | None = None,
) -> Picture:
    """Make a picture of the figure that ``build(*arguments)`` is, built where it is drawn.

    Parameters
    ----------
    build : callable
        Of a module that loads neither the store nor torch.
    *arguments
        Must be picklable.
    size : (width, height)
        Of the figure, in inches.
    caption, alt, dots
        As in `as_picture`.
    """
    drawing = Drawing(PNG if dots else SVG, theme.built, build, arguments, dots)
    return Picture(drawing, *_pixels(size), caption, alt)


def _pixels(inches: Iterable[float]) -> tuple[int, int]:
    """Width and height in CSS pixels."""
    width, height = (round(float(value) * 100) for value in inches)
    return width, height


def _words(score: str) -> str:
    return SCORE_WORDS.get(score, score.replace("_", " "))


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _and_limits(references: Mapping[str, Any]) -> str:
    return f"; dashed: {', '.join(map(str, references))}" if references else ""


def _levels(references: Mapping[str, Any]) -> str:
    told = [
        f"{name} {number(level)}" if isinstance(level, float) else f"{name} as a dashed curve"
        for name, level in references.items()
    ]
    return f". Dashed: {', '.join(told)}" if told else ""


# SHIM until plotting is merged
import base64 as _b64
ReportFigure = Picture
@dataclass(frozen=True)
class RenderedFigure:
    content: bytes
    mime: str
    width: int
    height: int
    @property
    def src(self): return f"data:{self.mime};base64,{_b64.b64encode(self.content).decode()}"
def render(figs, jobs=1):
    out=[]
    for f in figs:
        try: out.append(RenderedFigure(f.drawing.content, f.drawing.mime, f.width, f.height))
        except Exception as e: out.append(e)
    return out
experiment_figure = draw
contrasts_figure = draw_contrasts
evidence_figure = draw_evidence
def gradients_figure(r):
    from qwerties.report import question_figures as q
    return q.gradients(r)
def losses_figure(r):
    from qwerties.report import question_figures as q
    return q.losses(r)
def training_figure(*r):
    from qwerties.report import question_figures as q
    return q.training(*r)
def map_gain_figure(spec, arrays, placed, caption, alt):
    from qwerties.plotting.heatmap import map_figure, encode
    fig = map_figure(spec, arrays["gain"], "gain", placed)
    return Picture(Drawing(PNG, encode, fig, "gain"), *_pixels(fig.get_size_inches()), caption, alt)
def map_shares_figure(spec, arrays, shares, caption, alt):
    from qwerties.plotting.heatmap import shares_figure, encode
    fig = shares_figure(spec, arrays, shares)
    return Picture(Drawing(PNG, encode, fig, *shares), *_pixels(fig.get_size_inches()), caption, alt)
def _no(searches, confirmed): return []
search_rates = search_histories = search_importances = search_fronts = _no
