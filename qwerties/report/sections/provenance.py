"""The page's last part: what became of the design, what made the numbers, and how to make one of them again.

All of it is from the store, so that the same store gives the same bytes; when the runs were made is, when the page was
made is not.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.tables import SeedTable
from qwerties.config import FIELDS, Config
from qwerties.errors import clean
from qwerties.report.elements import Cell, Link, Numbers, Row, Table, run_url
from qwerties.study.coverage import experiment_json, read_coverages
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.uri import public_uri

ANCHOR = "provenance"

COLUMNS = {
    "planned": "Planned",
    "done": "Tracked",
    "missing": "Missing",
    "failed": "Failed",
    "stale": "Stale",
    "superseded": "Superseded",
    "unplanned": "No longer planned",
}
"""Counts that are always shown, by their names in ``qwerties status --json``."""

RARE = {"running": "Running", "damaged": "Damaged", "loose": "Not part of a plan"}
"""Counts that are shown where there are any."""

MADE_WITH = {
    "qwerties.version": "qwerties",
    "qwerties.python": "Python",
    "qwerties.torch": "PyTorch",
    "qwerties.numpy": "NumPy",
    "qwerties.mlflow": "MLflow",
    "qwerties.device": "trained on",
}
"""Tags of runs that name what made them."""

MOST = 3
"""Versions of one thing that are listed."""

LOSSES = {"bce": "BCELoss", "mse": "MSELoss"}


@dataclass(frozen=True)
class Example:
    """One number of the store, and the lines that make it again."""

    config: str
    seed: int
    lines: str
    value: str
    run: Link


@dataclass(frozen=True)
class Provenance:
    """What the template shows: `facts` are terms and what is to be said of them."""

    anchor: str
    table: Table
    facts: tuple[tuple[str, str], ...]
    example: Example | None


def make_provenance(
    store: Store,
    evidence: Sequence[ExperimentResult],
    sections: Mapping[str, str],
    base: str,
    numbers: Numbers,
) -> Provenance | None:
    """Make the page's last part; None where nothing was ever planned or tracked.

    Parameters
    ----------
    store : Store
    evidence : sequence of ExperimentResult
        Every experiment of the store.
    sections : mapping of str to str
        Anchor of each experiment's section.
    base : str
        Address of MLflow's UI.
    numbers : Numbers
        Of tables, in the order of the page.
    """
    if not evidence:
        return None
    runs = [run for one in evidence for run in (*_counted(one), *one.coverage.loose)]
    return Provenance(
        ANCHOR,
        _coverage(store, evidence, sections, numbers),
        tuple((term, told) for term, told in _facts(store, runs) if told),
        _example(evidence, base),
    )


def _counted(evidence: ExperimentResult) -> list[Tracked]:
    return [run for networks in evidence.networks.values() for run in networks.runs]


def _coverage(
    store: Store, evidence: Sequence[ExperimentResult], sections: Mapping[str, str], numbers: Numbers
) -> Table:
    counts = {coverage.experiment_name: experiment_json(coverage) for coverage in read_coverages(store)}
    found = [
        (one.coverage, counts[one.coverage.experiment_name])
        for one in evidence
        if one.coverage.experiment_name in counts
    ]
    columns = {**COLUMNS, **{key: name for key, name in RARE.items() if any(n[key] for _, n in found)}}
    rows, data = [], []
    for coverage, told in found:
        seeds = str(coverage.plan.seeds) if coverage.plan else None
        cells = [Cell(seeds.replace("-", "–") if seeds else "–")]
        cells += [Cell("–" if told[key] is None else f"{told[key]:,}") for key in columns]
        rows.append(
            Row(Link(clean(coverage.title), f"#{sections[coverage.experiment_name]}"), (), tuple(cells))
        )
        data.append(
            {"experiment": coverage.experiment_name, "seeds": seeds, **{key: told[key] for key in columns}}
        )
    return Table(
        numbers.table(),
        "Planned configs and what became of them. Tracked, missing and failed count configs; stale, superseded and no "
        "longer planned count runs that are left out: made by other code, made anew since, of configs that the plan "
        "does not hold.",
        ("Experiment", "Seeds", *columns.values()),
        tuple(rows),
        tuple(data),
    )


def _facts(store: Store, runs: Sequence[Tracked]) -> list[tuple[str, str]]:
    versions = [f"{name} {told}" for tag, name in MADE_WITH.items() if (told := _values(runs, tag))]
    commits = _values(runs, "mlflow.source.git.commit", 12)
    dirty = sum(run.tags.get("mlflow.source.git.dirty") == "true" for run in runs)
    states = f"; {dirty:,} of {len(runs):,} runs with changes that were not committed" if commits else ""
    return [
        ("Runs made with", "; ".join(versions)),
        ("At the commit", f"{commits}{states}" if commits else ""),
        ("Started", _times(runs)),
        ("Store", clean(_place(store))),
    ]


def _values(runs: Sequence[Tracked], tag: str, length: int = 40) -> str:
    found = sorted({value for run in runs if (value := clean(run.tags.get(tag, ""), 60)[:length])})
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return ", ".join(found[:MOST]) + more


def _times(runs: Sequence[Tracked]) -> str:
    times = [run.start_time for run in runs if run.start_time > 0]
    ends = [
        datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        for moment in ((min(times), max(times)) if times else ())
    ]
    return " to ".join(dict.fromkeys(ends))


def _place(store: Store) -> str:
    """The store's address without passwords, and without the folders of whoever made the page."""
    if store.file is not None:
        return f"sqlite:///{store.file.name}"
    return public_uri(store.uri)


# One number, made again


def _example(evidence: Sequence[ExperimentResult], base: str) -> Example | None:
    for one in evidence:
        plan = one.coverage.plan
        for networks in one.networks.values() if plan and plan.seeds.crossed is None else ():
            if (found := _network(networks)) is not None:
                seed, value, run = found
                config = networks.config
                return Example(
                    clean(config.label()),
                    seed,
                    _lines(config, seed),
                    f"{value:.8g}",
                    Link("this run", run_url(base, run)),
                )
    return None


def _network(networks: SeedTable) -> tuple[int, float, Tracked] | None:
    """The lowest seed that learned, else the lowest of all, with its final loss and its run."""
    frame = networks.frame
    if "train_loss" not in frame or not pd.api.types.is_numeric_dtype(frame["train_loss"]):
        return None
    losses = frame["train_loss"].to_numpy(float)
    sound = np.isfinite(losses)
    learned = sound & frame["state"].eq("learned").to_numpy()
    if not sound.any():
        return None
    seeds = frame["seed"].to_numpy()
    places = np.flatnonzero(learned if learned.any() else sound)
    place = int(places[seeds[places].argmin()])
    ends = np.cumsum([len(rows) for rows in networks.rows])
    run = networks.runs[int(np.searchsorted(ends, place, side="right"))]
    return int(seeds[place]), float(losses[place]), run


def _lines(config: Config, seed: int) -> str:
    changed = [f"{name}={value!r}" for name in FIELDS if (value := getattr(config, name)) != FIELDS[name]]
    return "\n".join(
        (
            "import torch",
            "from qwerties.config import Config",
            "from qwerties.training.reference import train_reference",
            "",
            f"network = train_reference(Config({', '.join(changed)}), {seed})",
            f"loss = torch.nn.{LOSSES[config.loss]}()",
            "print(loss(network.model(network.points), network.labels).item())",
        )
    )
