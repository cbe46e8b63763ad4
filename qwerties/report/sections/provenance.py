"""The page's last part: what became of the design, what made the numbers, and how to make one of them again.

All of it is from the store, so that the same store gives the same bytes; when the runs were made is, when the page was
made is not.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from qwerties.analysis.tables import SeedTable
from qwerties.config import FIELDS, Config
from qwerties.errors import clean, command
from qwerties.report.elements import Block, Cell, Facts, Heading, Link, Row, Section, Table, Text
from qwerties.report.results import Results
from qwerties.report.text import display, typeset
from qwerties.study.coverage import experiment_json
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.tags import DEVICE, LIBRARIES, PYTHON, VERSION
from qwerties.tracking.uri import public_uri

TITLE, ANCHOR = "Design and provenance", "provenance"
MAX_VALUES = 3  # versions and commits that are listed

# Counts that are always shown, by their names in ``qwerties status --json``.
COLUMNS = {
    "planned": "Planned",
    "done": "Tracked",
    "missing": "Missing",
    "failed": "Failed",
    "stale": "Stale",
    "superseded": "Superseded",
    "unplanned": "No longer planned",
}

# Counts that are shown where there are any.
RARE = {"running": "Running", "damaged": "Damaged", "loose": "Not part of a plan"}

# Tags of runs that name what made them.
MADE_WITH = {
    VERSION: "qwerties",
    PYTHON: "Python",
    **dict(zip(LIBRARIES, ("PyTorch", "NumPy", "MLflow"), strict=True)),
    DEVICE: "trained on",
}

CODE = Markup(
    '<div class="scroll" tabindex="0" role="group" aria-label="Lines of Python">\n<pre><code>{}</code></pre>\n</div>'
)
LOSSES = {"bce": "BCELoss", "mse": "MSELoss"}


def build(results: Results) -> Section | None:
    """Count what became of the design; None where nothing was ever planned or tracked."""
    if not results.experiments:
        return None
    runs = [run for result in results.experiments for run in result.coverage.loose]
    runs += [
        run for result in results.experiments for table in result.networks.values() for run in table.runs
    ]
    made_with = (f"{name} {values}" for tag, name in MADE_WITH.items() if (values := _values(runs, tag)))
    commits = _values(runs, "mlflow.source.git.commit", 12)
    dirty = sum(run.tags.get("mlflow.source.git.dirty") == "true" for run in runs)
    if commits:
        commits += f"; {dirty:,} of {len(runs):,} runs with changes that were not committed"
    facts = {
        "Runs made with": "; ".join(made_with),
        "At the commit": commits,
        "Started": _times(runs),
        "Store": clean(public_address(results.store)),
        "Made by": f"“{command('sweep')}” trains what is not tracked yet; “{command('report')}” makes this page from "
        f"the store alone; “{command('verify')}” trains networks again and compares them with the store.",
    }
    known = Facts({term: text for term, text in facts.items() if text})
    return Section((known, _coverage(results), *_example(results)))


def _values(runs: Sequence[Tracked], tag: str, length: int = 40) -> str:
    """List the values of a tag of runs, each cut to a length."""
    values = sorted({value for run in runs if (value := clean(run.tags.get(tag, ""), 60)[:length])})
    more = f" and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
    return ", ".join(values[:MAX_VALUES]) + more


def _times(runs: Sequence[Tracked]) -> str:
    times = [run.start_time for run in runs if run.start_time > 0]
    ends = [
        datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        for moment in ((min(times), max(times)) if times else ())
    ]
    return " to ".join(dict.fromkeys(ends))


def public_address(store: Store) -> str:
    """Return the store's address without passwords, and without the folders of whoever made the page."""
    return f"sqlite:///{store.file.name}" if store.file is not None else public_uri(store.uri)


def _coverage(results: Results) -> Table:
    known = [(result.coverage, experiment_json(result.coverage)) for result in results.experiments]
    columns = {**COLUMNS, **{key: name for key, name in RARE.items() if any(n[key] for _, n in known)}}
    rows = []
    for coverage, counts in known:
        name = coverage.experiment_name
        seeds = str(coverage.plan.seeds) if coverage.plan else None
        texts = {"Seeds": seeds.replace("-", "–") if seeds else "–"}
        texts |= {title: "–" if counts[key] is None else f"{counts[key]:,}" for key, title in columns.items()}
        cells = {title: Cell(text) for title, text in texts.items()}
        data = {"experiment": name, "seeds": seeds, **{key: counts[key] for key in columns}}
        rows.append(Row(Link(typeset(coverage.title), f"#{results.anchors[name]}"), cells, data))
    return Table(
        "Planned configs and what became of them. Tracked, missing and failed count configs. The last columns count "
        "excluded runs: made by other code (stale), re-run since (superseded), or of configs no longer planned.",
        "Experiment",
        rows,
    )


# One number, made again


def _example(results: Results) -> list[Block]:
    for result in results.experiments:
        plan = result.coverage.plan
        for table in result.networks.values() if plan and plan.seeds.crossed is None else ():
            if table.config.loss in LOSSES and (network := _network(table)) is not None:
                seed, loss, run = network
                text = Markup(
                    "<p>The network of <bdi>{}</bdi> on seed {} ends, by the <code>seeds.csv</code> of "
                    '<a href="{}">this run</a>, at a training loss of {:.8g}. The notebook’s own loop prints it, up to '
                    "rounding:</p>"
                ).format(display(table.config.label()), seed, results.run_url(run), loss)
                code = CODE.format(_lines(table.config, seed))
                return [Heading("One number, reproduced"), Text(text), Text(code)]
    return []


def _network(table: SeedTable) -> tuple[int, float, Tracked] | None:
    """Return the lowest seed that learned, else the lowest of all, with its final loss and its run."""
    frame = table.frame
    if "train_loss" not in frame or not pd.api.types.is_numeric_dtype(frame["train_loss"]):
        return None
    sound = frame[np.isfinite(frame["train_loss"].to_numpy(float))]
    if sound.empty:
        return None
    learned = sound[sound["state"] == "learned"]
    place = int((sound if learned.empty else learned)["seed"].idxmin())
    run = table.runs[int(np.searchsorted(np.cumsum(list(map(len, table.rows))), place, side="right"))]
    return int(frame["seed"][place]), float(frame["train_loss"][place]), run


def _lines(config: Config, seed: int) -> str:
    changed = [f"{name}={value!r}" for name in FIELDS if (value := getattr(config, name)) != FIELDS[name]]
    return f"""\
import torch
from qwerties.config import Config
from qwerties.training.reference import train_reference

network = train_reference(Config({", ".join(changed)}), {seed})
loss = torch.nn.{LOSSES[config.loss]}()
print(loss(network.model(network.points), network.labels).item())"""
