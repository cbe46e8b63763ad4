"""The notebook's three questions: what the words mean, and what the networks show.

The explanations (``templates/questions.md``) are mathematics. Whatever was measured is composed here, of the store's
numbers alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.tables import SeedTable
from qwerties.config import CHOICES, DEFAULT
from qwerties.errors import plural
from qwerties.report import figures
from qwerties.report.contrasts import contrast_name
from qwerties.report.elements import Block, Details, Facts, Figure, Heading, Notice, Section, Text
from qwerties.report.results import Results
from qwerties.report.text import display, markdown
from qwerties.scoring import theory
from qwerties.scoring.states import STATES
from qwerties.stats.formats import number, percent
from qwerties.stats.intervals import wilson
from qwerties.study.experiment import config_names
from qwerties.tracking.store import StoreError

TITLE, ANCHOR = "The notebook’s questions explained", "questions"
LAST = 0.25  # the last part of the training, over which the fall of the loss is measured

Fact = tuple[str, tuple[str, ...]]
Part = tuple[figures.ReportFigure | None, list[Fact]]


def build(results: Results) -> Section | None:
    """Explain and measure; None where nothing is tracked."""
    if not results.experiments:
        return None
    blocks: list[Block] = []
    for key, question, quote, experiment_names, measure in QUESTIONS:
        figure, facts = measure(results)
        missing = tuple(filter(None, (_missing(results, name) for name in experiment_names)))
        blocks += [
            Heading(question),
            Text(Markup("<p>“{}”</p>").format(quote), "asked"),
            Text(markdown(_explanations()[key])),
        ]
        blocks += [Figure(figure)] if figure else []
        blocks += [Notice(missing)] if missing else []
        blocks += [Details("What was measured, in numbers", (Facts(tuple(facts)),))] if facts else []
    return Section(TITLE, tuple(blocks))


@functools.cache
def _explanations() -> dict[str, str]:
    text = Path(__file__).parent.with_name("templates").joinpath("questions.md").read_text(encoding="utf-8")
    parts = re.split(r"^# (\w+)\n", text.replace("'", "’"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _missing(results: Results, name: str) -> str:
    """Tell what is missing of an experiment that an answer rests on; nothing where nothing is."""
    command = f"make sweep ONLY={name} trains it"
    result = results.by_name.get(name)
    if result is None:
        return f"experiments/{name}.py is not in the store: {command}."
    if not result.networks:
        return f"experiments/{name}.py has no network in the store yet: {command}."
    if result.incomplete or not result.coverage.complete:
        done = len(result.coverage.entries) - len(result.incomplete)
        configs = plural(len(result.coverage.entries), "config")
        return f"experiments/{name}.py is not complete, with {done} of {configs} tracked: {command}."
    return ""


# Why ReLU inside


def _gradients(results: Results) -> Part:
    ratios = None
    if depth := results.by_name.get("depth"):
        try:
            ratios = figures.gradient_ratios(list(depth.networks.values()), results.curves)
        except (ValueError, StoreError):  # the experiment's own section says so
            ratios = None
    if ratios is not None and not len(ratios):
        ratios = None
    return figures.gradients_figure(ratios), [
        *_ratio_facts(ratios),
        *_outcomes(results.by_name.get("activation")),
    ]


def _ratio_facts(ratios: pd.DataFrame | None) -> list[Fact]:
    facts = []
    for init, part in [] if ratios is None else ratios.groupby("init", sort=False):
        name = replace(DEFAULT, init=str(init)).label([replace(DEFAULT, init=i) for i in CHOICES["init"]])
        lines = []
        for activation, own in part.sort_values("depth").groupby("activation", sort=False):
            first, last = own.iloc[0], own.iloc[-1]
            text = (
                f"{display(activation)} {first['ratio']:.2g} at {plural(int(first['depth']), 'hidden layer')}"
            )
            if len(own) > 1:
                text += f", {last['ratio']:.2g} at {int(last['depth'])}"
                if first["ratio"] > 0 and last["ratio"] > 0:
                    steps = last["depth"] - first["depth"]
                    text += f" (× {(last['ratio'] / first['ratio']) ** (1 / steps):.2g} for each layer more)"
            lines.append(text)
        facts.append((f"Gradient of the first layer ÷ that of the last, {name}", tuple(lines)))
    return facts


def _outcomes(result: ExperimentResult | None) -> list[Fact]:
    """How the networks of each config ended."""
    tables = list(result.networks.values()) if result else []
    if not tables:
        return []
    lines = []
    for name, table in zip(config_names([table.config for table in tables]), tables, strict=True):
        shares = {state: float((table.frame["state"] == state).mean()) for state in STATES}
        ended = ", ".join(f"{percent(share)} {state}" for state, share in shares.items() if share)
        lines.append(f"{display(name)}: {ended}")
    return [("How networks ended", tuple(lines))]


# Why BCE


def _losses(results: Results) -> Part:
    result = results.by_name.get("loss")
    compared = [
        (contrast_name(contrast), contrast.comparison)
        for contrast in (result.findings if result else ())
        if contrast.comparison is not None and not np.isnan(contrast.comparison.estimate)
    ]
    return figures.losses_figure(compared), _outcomes(result)


# Train longer?


def _longer(results: Results) -> Part:
    facts: list[Fact] = []
    shares = by_width = None
    lines: dict[str, pd.DataFrame] = {}
    levels: dict[str, float] = {}
    if trained := _family(results.by_name.get("epochs"), "epochs"):
        shares = _shares(trained, lambda table: table.config.epochs, ("learned", "settled", "dead"))
        config = trained[-1].config
        name = f"{display(config.loss)} · {display(config.activation)}"
        facts += [
            (f"{str(what).capitalize()}, {name}", _over(part, "epoch"))
            for what, part in shares.groupby("what", sort=False)
        ]
        falls = {table.config.epochs: _fall(results, table) for table in trained}
        fell = [f"{100 * fall:.1f}% of {n:,} epochs" for n, fall in falls.items() if np.isfinite(fall)]
        facts += [("Fall of the mean loss over the last quarter", tuple(fell))] if fell else []
        lines = _by_state(results, trained[-1])
        levels, level_facts = _levels(trained)
        facts += level_facts
    if grown := _family(results.by_name.get("width"), "hidden"):
        by_width = _shares(grown, lambda table: table.config.hidden[0], ("learned", "dead"))
        facts += [
            (f"{str(what).capitalize()}, by width", _over(part, "hidden unit"))
            for what, part in by_width.groupby("what", sort=False)
        ]
    return figures.training_figure(shares, lines, levels, by_width), facts


def _family(result: ExperimentResult | None, field: str) -> list[SeedTable]:
    """Configs that differ in one field alone: the notebook's, if they are there, else those of the first config."""
    tables = [
        table
        for table in (result.networks.values() if result else ())
        if len(table.config.hidden) == 1 and "weight_seed" not in table.frame
    ]
    rest = [replace(table.config, **{field: getattr(DEFAULT, field)}) for table in tables]
    base = DEFAULT if DEFAULT in rest else rest[0] if rest else None
    family = [table for table, other in zip(tables, rest, strict=True) if other == base]
    return sorted(family, key=lambda table: getattr(table.config, field))


def _shares(tables: Sequence[SeedTable], x: Callable[[SeedTable], int], whats: Sequence[str]) -> pd.DataFrame:
    """Shares of the seeds: columns `x`, `what`, `y`, `lo`, `hi`."""
    rows = []
    for what in whats:
        for table in tables:
            if what == "settled" and "settled" not in table.frame:
                continue
            met = table.frame["settled"].eq(True) if what == "settled" else table.frame["state"].eq(what)
            lo, hi = wilson(int(met.sum()), len(met))
            rows.append((float(x(table)), what, float(met.mean()), lo, hi))
    return pd.DataFrame(rows, columns=["x", "what", "y", "lo", "hi"])


def _over(part: pd.DataFrame, unit: str) -> tuple[str, ...]:
    return tuple(f"{percent(y)} at {plural(int(x), unit)}" for x, y in zip(part["x"], part["y"], strict=True))


def _fall(results: Results, table: SeedTable) -> float:
    """Return by how much the mean loss fell over the last quarter of the epochs, as a share of what it was."""
    try:
        epochs, losses = results.curves(table, "loss")
    except StoreError:
        return np.nan
    mean = losses.mean(0, dtype=np.float64)
    before = float(np.interp(np.log((1 - LAST) * table.config.epochs), np.log(epochs), mean))
    return 1 - float(mean[-1]) / before if before > 0 else np.nan


def _by_state(results: Results, table: SeedTable) -> dict[str, pd.DataFrame]:
    """Return the mean loss of the networks that ended in each state."""
    try:
        epochs, losses = results.curves(table, "loss")
    except StoreError:
        return {}
    curves = {}
    for state in STATES[:-1]:
        own = losses[(table.frame["state"] == state).to_numpy()]
        if len(own):
            curves[state] = pd.DataFrame({"train_loss": own.mean(0, dtype=np.float64)}, index=epochs)
    return curves


def _levels(trained: Sequence[SeedTable]) -> tuple[dict[str, float], list[Fact]]:
    """Return the levels that a loss is compared with, and where training stands between them."""
    config = trained[-1].config
    if config.loss not in theory.DEAD_PLATEAU:
        return {}, []
    floor = (theory.bce_floor if config.loss == "bce" else theory.brier_floor)(config.distance, config.data)
    levels = {"Bayes floor": float(floor), "dead plateau": theory.DEAD_PLATEAU[config.loss]}
    lines = []
    optimum = np.nan
    for table in trained:
        if not {"train_loss", "excess_loss"} <= set(table.frame):
            continue
        loss, excess = (
            pd.to_numeric(table.frame[name], errors="coerce") for name in ("train_loss", "excess_loss")
        )
        known = np.isfinite(loss) & np.isfinite(excess)
        if known.any():
            optimum = float((loss - excess)[known].mean())
            learned = loss[known & (table.frame["state"] == "learned")]
            among = f" ({number(float(learned.mean()))} where learned)" if len(learned) else ""
            epochs = plural(table.config.epochs, "epoch")
            lines.append(f"{number(float(loss[known].mean()))}{among} after {epochs}")
    if not lines:
        return levels, []
    limits = (f"Bayes floor {number(levels['Bayes floor'])}", f"the sample’s own optimum {number(optimum)}")
    return {**levels, "sample’s optimum": optimum}, [
        ("Mean training loss, and its levels", (*limits, *lines))
    ]


QUESTIONS: tuple[tuple[str, str, str, tuple[str, ...], Callable[[Results], Part]], ...] = (
    (
        "gradients",
        "Why ReLU inside and a sigmoid at the end?",
        "… it helps to mitigate the vanishing gradient (Need to know what is this) problem.",
        ("depth", "activation", "xor"),
        _gradients,
    ),
    (
        "losses",
        "Why BCELoss and not MSELoss?",
        "This problem is a BCELoss problem. What does that mean?",
        ("loss", "tune_loss"),
        _losses,
    ),
    (
        "training",
        "The curve has not flattened: train for longer?",
        "… with 1500 epochs, the curve has still not yet asymptoted. So the model can still learn.",
        ("epochs", "width"),
        _longer,
    ),
)
