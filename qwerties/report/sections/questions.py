"""The notebook's three questions, answered from the store.

What a word means and how a mechanism works is explained by the template. Whatever was found is composed here, of
numbers and verdicts of the store alone, and where an experiment is not in it, the answer says which file would give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from qwerties.analysis.contrasts import ContrastResult, ExperimentResult
from qwerties.analysis.tables import SeedTable, read_curves
from qwerties.config import CHOICES, DEFAULT
from qwerties.errors import clean, plural
from qwerties.plotting.axes import short
from qwerties.report import question_figures
from qwerties.report.elements import Numbers, Shown, said, shown
from qwerties.report.figures import Curves, Picture, gradient_ratios
from qwerties.scoring import theory
from qwerties.scoring.states import STATES
from qwerties.stats.compare import Comparison
from qwerties.stats.formats import bounds, number, percent
from qwerties.stats.intervals import wilson
from qwerties.study.experiment import config_names
from qwerties.tracking.store import Store, StoreError

ANCHOR = "questions"
RESTS_ON = {"inside": ("depth", "activation"), "loss": ("loss",), "longer": ("epochs", "width")}
"""Experiments that each question rests on, by the experiment_names of their files."""

LAST = 0.25
"""Of the training: over its last quarter, the fall of the loss is measured."""

STUCK = ("constant", "dead")
"""States that answer with one class for all points, right half the time."""


Fact = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Said:
    """One verdict that an answer rests on."""

    sides: str
    words: str
    told: bool
    kind: str
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """One experiment that an answer rests on: how it stands, and what it says.

    Attributes
    ----------
    experiment_name : str
    title : str
        Empty where it is not in the store.
    missing : str
        What is missing of it, in words; empty where nothing is.
    facts : tuple of (str, tuple of str)
        What was measured, and its numbers.
    verdicts : tuple of Said
    """

    experiment_name: str
    title: str
    missing: str
    facts: tuple[Fact, ...]
    verdicts: tuple[Said, ...]


@dataclass(frozen=True)
class Answer:
    """One question's part of the page: its figure, and what it rests on."""

    picture: Shown | None
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Questions:
    """The section: an answer for each name in `RESTS_ON`."""

    anchor: str
    inside: Answer
    loss: Answer
    longer: Answer


def make_questions(store: Store, evidence: Sequence[ExperimentResult], numbers: Numbers) -> Questions | None:
    """Answer the notebook's questions; None where nothing at all is tracked."""
    if not evidence:
        return None
    found = {one.coverage.experiment_name: one for one in evidence if one.coverage.plan is not None}

    def curves(one: SeedTable, name: str) -> tuple[np.ndarray, np.ndarray]:
        return read_curves(store, one, name)

    def part(key: str, picture: Picture | None, facts: Mapping[str, list[Fact]]) -> Answer:
        sources = tuple(
            _source(experiment_name, found.get(experiment_name), facts.get(experiment_name, []))
            for experiment_name in RESTS_ON[key]
        )
        return Answer(shown(picture, numbers) if picture else None, sources)

    ratios = _ratios(found.get("depth"), curves)
    inside = part(
        "inside",
        question_figures.gradients(ratios),
        {"depth": _gradients(ratios), "activation": _outcomes(found.get("activation"))},
    )
    loss = part("loss", question_figures.losses(_compared(found.get("loss"))), {})
    picture, facts = _longer(found.get("epochs"), found.get("width"), curves)
    return Questions(ANCHOR, inside, loss, part("longer", picture, facts))


def _source(experiment_name: str, one: ExperimentResult | None, facts: Sequence[Fact]) -> Source:
    if one is None:
        return Source(experiment_name, "", "is not in the store", (), ())
    missing = ""
    if not one.networks:
        missing = "has no network in the store yet"
    elif one.incomplete or not one.coverage.complete:
        done = len(one.coverage.entries) - len(one.incomplete)
        missing = f"is not complete, with {done} of {plural(len(one.coverage.entries), 'config')} tracked"
    verdicts = tuple(_said(finding, one) for finding in one.findings)
    return Source(experiment_name, clean(one.coverage.title), missing, tuple(facts), verdicts)


def _said(finding: ContrastResult, one: ExperimentResult) -> Said:
    kind = "primary" if finding.contrast.primary else "exploratory"
    difference, learned = finding.difference, finding.learned
    told: tuple[str, ...] = ()
    if difference is not None and learned is not None:
        told = said(
            f"{number(difference.estimate, 4, sign=True)} {bounds(difference, 4, sign=True)}".strip(),
            plural(difference.n, "pair"),
            f"learned {percent(learned.a[0].estimate)} against {percent(learned.b[0].estimate)}",
            _stuck(finding, one),
        )
    return Said(_sides(finding), finding.words, finding.is_conclusive, kind, told)


def _sides(finding: ContrastResult) -> str:
    return f"{finding.sides} at {finding.where}" if finding.where else finding.sides


def _stuck(finding: ContrastResult, one: ExperimentResult) -> str:
    """Shares of both arms that answer with one class, among the seeds that both have."""
    frames = {networks.config: networks.frame for networks in one.networks.values()}
    a, b = (frames[side] for side in (finding.contrast.a, finding.contrast.b))
    seeds = np.intersect1d(a["seed"], b["seed"])
    shares = [
        percent(float(side.loc[side["seed"].isin(seeds), "state"].isin(STUCK).mean())) for side in (a, b)
    ]
    return f"{' or '.join(STUCK)} {shares[0]} against {shares[1]}"


def _compared(one: ExperimentResult | None) -> list[tuple[str, Comparison]]:
    return [
        (_sides(finding), finding.comparison)
        for finding in (one.findings if one else ())
        if finding.comparison is not None and not np.isnan(finding.comparison.estimate)
    ]


# Why ReLU inside


def _ratios(one: ExperimentResult | None, curves: Curves) -> pd.DataFrame | None:
    if one is None or not one.networks:
        return None
    try:
        return gradient_ratios(list(one.networks.values()), curves)
    except (ValueError, IndexError, StoreError):  # its own section tells of it
        return None


def _gradients(ratios: pd.DataFrame | None) -> list[Fact]:
    facts = []
    for init, part in [] if ratios is None else ratios.groupby("init", sort=False):
        name = replace(DEFAULT, init=str(init)).label([replace(DEFAULT, init=i) for i in CHOICES["init"]])
        told = []
        for activation, own in part.sort_values("depth").groupby("activation", sort=False):
            first, last = own.iloc[0], own.iloc[-1]
            text = f"{activation} {_small(first['ratio'])} at {plural(int(first['depth']), 'hidden layer')}"
            if len(own) > 1:
                text += f", {_small(last['ratio'])} at {int(last['depth'])}"
                if first["ratio"] > 0 and last["ratio"] > 0:
                    steps = last["depth"] - first["depth"]
                    text += (
                        f" (× {_small((last['ratio'] / first['ratio']) ** (1 / steps))} for each layer more)"
                    )
            told.append(text)
        facts.append((f"Gradient of the first layer ÷ that of the last, {name}", tuple(told)))
    return facts


def _small(value: float) -> str:
    """Two digits that tell, however small the number."""
    return short(float(f"{value:.2g}"))


def _outcomes(one: ExperimentResult | None) -> list[Fact]:
    """How the networks of each config ended."""
    drawn = list(one.networks.values()) if one else []
    if not drawn:
        return []
    told = []
    for name, own in zip(config_names([networks.config for networks in drawn]), drawn, strict=True):
        shares = {state: float((own.frame["state"] == state).mean()) for state in STATES}
        told.append(
            f"{name}: " + ", ".join(f"{percent(share)} {state}" for state, share in shares.items() if share)
        )
    return [("How networks ended", tuple(told))]


# Train longer?


def _longer(
    epochs: ExperimentResult | None, width: ExperimentResult | None, curves: Curves
) -> tuple[Picture | None, dict[str, list[Fact]]]:
    facts: dict[str, list[Fact]] = {"epochs": [], "width": []}
    shares = by_width = None
    lines: dict[str, pd.DataFrame] = {}
    levels: dict[str, float] = {}
    if trained := _family(epochs, "epochs"):
        shares = _shares(trained, lambda one: one.config.epochs, ("learned", "settled", "dead"))
        config = trained[-1].config
        name = f"{config.loss} · {config.activation}"
        facts["epochs"] += [
            (f"{str(what).capitalize()}, {name}", _over(part, "epoch"))
            for what, part in shares.groupby("what", sort=False)
        ]
        falls = {one.config.epochs: _fall(one, curves) for one in trained}
        if fell := [f"{100 * fall:.1f}% of {n:,} epochs" for n, fall in falls.items() if np.isfinite(fall)]:
            facts["epochs"].append(("Fall of the mean loss over the last quarter", tuple(fell)))
        lines = _by_state(trained[-1], curves)
        levels, told = _levels(trained)
        facts["epochs"] += told
    if grown := _family(width, "hidden"):
        by_width = _shares(grown, lambda one: one.config.hidden[0], ("learned", "dead"))
        facts["width"] = [
            (str(what).capitalize(), _over(part, "hidden unit"))
            for what, part in by_width.groupby("what", sort=False)
        ]
    return question_figures.training(shares, lines, levels, by_width), facts


def _family(one: ExperimentResult | None, field: str) -> list[SeedTable]:
    """Configs that differ in one field alone: the notebook's, if they are there, else those of the first config."""
    drawn = [
        networks
        for networks in (one.networks.values() if one else ())
        if len(networks.config.hidden) == 1 and "weight_seed" not in networks.frame
    ]
    rest = [replace(networks.config, **{field: getattr(DEFAULT, field)}) for networks in drawn]
    wanted = DEFAULT if DEFAULT in rest else rest[0] if rest else None
    found = [networks for networks, other in zip(drawn, rest, strict=True) if other == wanted]
    return sorted(found, key=lambda networks: getattr(networks.config, field))


def _shares(drawn: Sequence[SeedTable], x: Callable[[SeedTable], int], whats: Sequence[str]) -> pd.DataFrame:
    """Shares of the seeds, in the form that the figure takes."""
    rows = []
    for what in whats:
        for one in drawn:
            if what == "settled" and "settled" not in one.frame:
                continue
            met = one.frame["settled"].eq(True) if what == "settled" else one.frame["state"].eq(what)
            lo, hi = wilson(int(met.sum()), len(met))
            rows.append((float(x(one)), what, float(met.mean()), lo, hi))
    return pd.DataFrame(rows, columns=["x", "what", "y", "lo", "hi"])


def _over(part: pd.DataFrame, unit: str) -> tuple[str, ...]:
    return tuple(f"{percent(y)} at {plural(int(x), unit)}" for x, y in zip(part["x"], part["y"], strict=True))


def _fall(one: SeedTable, curves: Curves) -> float:
    """By how much the mean loss fell over the last quarter of the epochs, as a share of what it was."""
    try:
        epochs, losses = curves(one, "loss")
    except StoreError:
        return np.nan
    mean = losses.mean(0, dtype=np.float64)
    before = float(np.interp(np.log((1 - LAST) * one.config.epochs), np.log(epochs), mean))
    return 1 - float(mean[-1]) / before if before > 0 else np.nan


def _by_state(one: SeedTable, curves: Curves) -> dict[str, pd.DataFrame]:
    """Mean loss of the networks that ended in each state."""
    try:
        epochs, losses = curves(one, "loss")
    except StoreError:
        return {}
    found = {}
    for state in STATES[:-1]:
        own = losses[(one.frame["state"] == state).to_numpy()]
        if len(own):
            found[state] = pd.DataFrame({"train_loss": own.mean(0, dtype=np.float64)}, index=epochs)
    return found


def _levels(trained: Sequence[SeedTable]) -> tuple[dict[str, float], list[Fact]]:
    """The levels that a loss is held against, and where training stands between them."""
    config = trained[-1].config
    floor = (theory.bce_floor if config.loss == "bce" else theory.brier_floor)(config.distance, config.data)
    levels = {"Bayes floor": float(floor), "dead plateau": theory.DEAD_PLATEAU[config.loss]}
    stands = []
    optimum = np.nan
    for one in trained:
        if not {"train_loss", "excess_loss"} <= set(one.frame):
            continue
        loss, excess = (
            pd.to_numeric(one.frame[name], errors="coerce") for name in ("train_loss", "excess_loss")
        )
        known = np.isfinite(loss) & np.isfinite(excess)
        if known.any():
            optimum = float((loss - excess)[known].mean())
            learned = loss[known & (one.frame["state"] == "learned")]
            among = f" ({number(float(learned.mean()))} where learned)" if len(learned) else ""
            stands.append(
                f"{number(float(loss[known].mean()))}{among} after {plural(one.config.epochs, 'epoch')}"
            )
    if not stands:
        return levels, []
    limits = (f"Bayes floor {number(levels['Bayes floor'])}", f"the sample’s own optimum {number(optimum)}")
    return {**levels, "sample’s optimum": optimum}, [
        ("Mean training loss, and its levels", (*limits, *stands))
    ]
