"""The store -> one page, and the state of the plan in plain text. Nothing else is read, and nothing is trained.

The page says only what the store and `stats` say: titles, questions and labels are the store's words, verdicts are
`Verdict.words`. The same store gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from qwerties import theory
from qwerties.config import DEFAULT, Config
from qwerties.findings import contrast_table
from qwerties.illustrations import config_names, draw, score_interval
from qwerties.ledger import (
    STATES,
    Entry,
    Ledger,
    Networks,
    config_of,
    read_curves,
    read_ledgers,
    read_networks,
)
from qwerties.markup import bounds, clean, markdown, number, percent, plural, slug
from qwerties.page import Cell, Link, Numbers, Row, Section, Table, said, share_bounds, shown
from qwerties.tracking import Store, StoreError, Tracked

UI = "http://127.0.0.1:5000"
"""Where ``make ui`` serves a store that has no server of its own."""

TEMPLATES = Path(__file__).with_name("templates")


def write_report(store: Store, path: Path) -> Path:
    """Write the page, all of it or nothing.

    Parameters
    ----------
    store : Store
    path : Path
        Of the page; its folder is made if need be.

    Returns
    -------
    Path
        The same.
    """
    page = render(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def render(store: Store) -> str:
    """Make the page."""
    ledgers = read_ledgers(store)
    base = store.uri.rstrip("/") if store.uri.startswith(("http://", "https://")) else UI
    numbers, anchors, trained = Numbers(), {"content", "reading"}, _Trained()
    sections = [_section(store, ledger, base, numbers, anchors, trained) for ledger in ledgers]
    style = (TEMPLATES / "summary.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("summary.html").render(
        style=Markup(style),  # ours
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        summary=trained.summary(),
        provenance=trained.provenance(),
        sections=sections,
        incomplete=[section for section in sections if section.unfinished],
        sampling_sd=number(_sampling_sd(DEFAULT), 3),
        points=2 * DEFAULT.samples,
        distance=f"{DEFAULT.distance:g}",
    )


class _Trained:
    """What was trained, counted over all experiments: a network that two of them share counts once."""

    def __init__(self) -> None:
        self.networks: dict[Config, set[tuple[int, int]]] = {}
        self.runs = self.experiments = 0
        self.tags: dict[str, list[str]] = {"qwerties.version": [], "mlflow.source.git.commit": []}

    def add(self, networks: Networks) -> None:
        frame = networks.frame
        pair = ("data_seed", "weight_seed") if "weight_seed" in frame else ("seed", "seed")
        drawn = zip(*(frame[column].tolist() for column in pair), strict=True)
        self.networks.setdefault(networks.config, set()).update(drawn)

    def add_runs(self, runs: Sequence[Tracked]) -> None:
        self.experiments += 1
        self.runs += len(runs)
        for tag, values in self.tags.items():
            for run in runs:
                if (value := clean(run.tags.get(tag, ""), 40)) and value not in values:
                    values.append(value)

    def summary(self) -> str:
        if not self.runs:
            return ""
        networks = plural(sum(map(len, self.networks.values())), "small network")
        seeds = {seed for pairs in self.networks.values() for pair in pairs for seed in pair}
        return (
            f"{networks} of {plural(len(self.networks), 'config')} on {plural(len(seeds), 'seed')}, "
            f"tracked as {plural(self.runs, 'run')} in {plural(self.experiments, 'experiment')}."
        )

    def provenance(self) -> str:
        told = []
        for tag, noun in (("qwerties.version", "version"), ("mlflow.source.git.commit", "commit")):
            values = sorted(self.tags[tag])
            short = [value[:12] if noun == "commit" else value for value in values[:3]]
            if values:
                more = f" and {len(values) - 3} more" if len(values) > 3 else ""
                told.append(f"{noun} {', '.join(short)}{more}")
        return f"Made with {'; '.join(told)}." if told else ""


def _section(
    store: Store, ledger: Ledger, base: str, numbers: Numbers, anchors: set[str], trained: _Trained
) -> Section:
    if ledger.plan is None:
        return _loose_section(ledger, base, numbers, anchors, trained)
    warnings = list(ledger.problems)
    networks: dict[int, Networks] = {}
    incomplete: list[str] = []
    wanted = set(ledger.plan.seeds.numbers.tolist())
    for i, entry in enumerate(ledger.entries):
        found, problems = read_networks(store, entry)
        warnings += problems
        if found is not None:
            networks[i] = found
            trained.add(found)
        if found is None or not wanted <= set(found.frame["seed"]):
            state = "its scores cannot be read" if entry.state == "done" else _state_words(entry, found)
            incomplete.append(f"{clean(entry.name)}: {state}")
    if not ledger.entries:
        warnings.append("the plan holds no configs")
    drawn = list(networks.values())
    trained.add_runs([run for one in drawn for run in one.runs])
    pictures = []
    for spec in ledger.figures if drawn else ():
        try:
            picture = draw(spec, drawn, lambda one, name: read_curves(store, one, name))
        except (ValueError, StoreError) as error:
            warnings.append(f"the figure of {spec.kind} could not be drawn: {error}")
            continue
        pictures.append(shown(picture, numbers))
    table = _table(ledger, drawn, base, numbers) if drawn else None
    complete = ledger.complete and not incomplete
    contrasts = contrast_table(ledger, networks, complete, numbers)
    return Section(
        anchor=slug(ledger.stem, anchors),
        title=clean(ledger.title),
        question=markdown(ledger.question),
        design=_design(ledger, drawn),
        warnings=tuple(clean(warning, 300) for warning in [*warnings, *_counts(ledger)]),
        unfinished=_unfinished(ledger, incomplete),
        pictures=tuple(pictures),
        table=table,
        notes=_notes(drawn),
        contrasts=contrasts,
    )


def _state_words(entry: Entry, found: Networks | None) -> str:
    some = f", {plural(len(found.frame), 'seed')} tracked" if found is not None else ""
    return {"missing": "not complete" if some else "not tracked", "failed": "its run failed"}.get(
        entry.state, entry.state
    ) + some


def _unfinished(ledger: Ledger, incomplete: Sequence[str]) -> tuple[str, ...]:
    if not incomplete:
        return ()
    planned = len(ledger.entries)
    first = f"{planned - len(incomplete)} of {plural(planned, 'planned config')} tracked; conclusions withheld until "
    return (f"{first}the design is complete.", *incomplete)


def _counts(ledger: Ledger) -> list[str]:
    said = []
    if ledger.stale:
        said.append(f"{plural(ledger.stale, 'run')} made by other code: left out.")
    if ledger.unplanned:
        said.append(f"{plural(ledger.unplanned, 'run')} of configs that are not in the plan: left out.")
    return said


def _design(ledger: Ledger, drawn: Sequence[Networks]) -> str:
    assert ledger.plan is not None
    seeds = ledger.plan.seeds
    if seeds.crossed is None:
        on = f"{plural(len(seeds), 'seed')} each ({str(seeds).replace('-', '–')})"
    else:
        on = f"{seeds.stop - seeds.start} data seeds, each with {plural(seeds.crossed, 'weight seed')}"
    parts = [one.config.label().split(" · ") for one in drawn]
    common = [part for part in parts[0] if all(part in other for other in parts)] if len(parts) > 1 else []
    shared = f"; all of them: {' · '.join(common)}" if common else ""
    return f"{plural(len(ledger.entries), 'config')}, {on}{shared}."


def _notes(drawn: Sequence[Networks]) -> tuple[str, ...]:
    if not drawn:
        return ()
    configs = [one.config for one in drawn]
    limits = sorted({(config.distance, float(theory.bayes_accuracy(config.distance))) for config in configs})
    levels = ", ".join(
        number(level, 4) + (f" at d={distance:g}" if len(limits) > 1 else " here")
        for distance, level in limits
    )
    deviations = sorted(_sampling_sd(config) for config in configs)
    sd = " to ".join(dict.fromkeys(number(value) for value in (deviations[0], deviations[-1])))
    points = " or ".join(map(str, sorted({2 * config.samples for config in configs})))
    notes = [
        f"Bayes accuracy, the best possible, is {levels}. A training accuracy above it is luck: on {points} points "
        f"the best classifier's own has a sampling standard deviation of {sd}."
    ]
    if any("weight_seed" in one.frame for one in drawn):
        notes.append(
            "Networks of a crossed layout share data and starts and are not independent, so that no intervals are "
            "given here."
        )
    return tuple(notes)


def _sampling_sd(config: Config) -> float:
    """Standard deviation of the best classifier's accuracy on a training set."""
    accuracy = float(theory.bayes_accuracy(config.distance))
    return float(np.sqrt(accuracy * (1 - accuracy) / (2 * config.samples)))


def _table(ledger: Ledger, drawn: Sequence[Networks], base: str, numbers: Numbers) -> Table:
    rows = []
    for name, one in zip(config_names([one.config for one in drawn]), drawn, strict=True):
        links = [Link(name if i == 0 else f"run {i + 1}", _url(base, run)) for i, run in enumerate(one.runs)]
        rows.append(Row(links[0], tuple(links[1:]), tuple(_cells(one))))
    return Table(
        numbers.table(),
        "Outcomes by config. Shares with Wilson, means with t intervals, both at 95%. Names lead to the runs in "
        "MLflow, while its server runs.",
        (
            "Config",
            "Seeds",
            *map(str.capitalize, STATES),
            "Population accuracy",
            "Training accuracy",
            "Phi, median",
        ),
        tuple(rows),
    )


def _cells(one: Networks) -> list[Cell]:
    frame, distance = one.frame, one.config.distance
    learned, population, training = (
        score_interval(frame, score, distance)
        for score in ("learned", "population_accuracy", "train_accuracy")
    )
    ranked = frame["phi"].fillna(-np.inf)  # undefined ranks lowest
    middle = float(np.sort(ranked)[[(len(ranked) - 1) // 2, len(ranked) // 2]].mean())
    undefined = int(frame["phi"].isna().sum())
    return [
        Cell(f"{len(frame):,}"),
        Cell(percent(learned.estimate), said(share_bounds(learned))),
        *(Cell(f"{int((frame['state'] == state).sum()):,}") for state in STATES[1:]),
        Cell(number(population.estimate), said(bounds(population))),
        Cell(number(training.estimate)),
        Cell(number(middle, 2) if np.isfinite(middle) else "undefined", (f"{undefined:,} undefined",)),
    ]


def _url(base: str, run: Tracked) -> str:
    return f"{base}/#/experiments/{run.experiment_id}/runs/{run.run_id}"


# Runs without a plan


def _loose_section(
    ledger: Ledger, base: str, numbers: Numbers, anchors: set[str], trained: _Trained
) -> Section:
    trained.add_runs(ledger.loose)
    rows = []
    for run in ledger.loose:
        config = config_of(run)
        name = (
            f"{config.label()} · seed {clean(run.params['seed'], 20)}"
            if config and "seed" in run.params
            else run.name
        )
        metric = [
            run.metrics.get(key, np.nan)
            for key in ("final_train_loss", "train_accuracy", "population_accuracy", "phi")
        ]
        state = clean(run.tags.get("qwerties.state", ""), 20) or run.status.lower()
        rows.append(
            Row(
                Link(clean(name), _url(base, run)),
                (),
                (Cell(state), Cell(number(metric[0], 4)), *(Cell(number(value)) for value in metric[1:])),
            )
        )
    table = Table(
        numbers.table(),
        "Runs tracked one by one. A dash is an undefined score.",
        ("Run", "State", "Training loss", "Training accuracy", "Population accuracy", "Phi"),
        tuple(rows),
    )
    return Section(
        anchor=slug(ledger.stem, anchors),
        title=clean(ledger.title),
        question=markdown(ledger.question),
        design=f"{plural(len(ledger.loose), 'run')}, not part of a plan.",
        warnings=tuple(ledger.problems),
        unfinished=(),
        pictures=(),
        table=table if rows else None,
        notes=(),
        contrasts=None,
    )


# The plan's state, in plain text


def status_table(store: Store) -> tuple[str, bool]:
    """Tell, per experiment, how many planned configs are done and what became of the others.

    Returns
    -------
    str
        A table in plain text.
    bool
        Whether every planned config is done.
    """
    headers = ("experiment", "planned", "done", "missing", "failed", "running", "stale", "no longer planned")
    ledgers = read_ledgers(store)
    if not ledgers:
        return "nothing tracked yet: make sweep", False
    lines: list[tuple[str, ...]] = [headers]
    for ledger in ledgers:
        if ledger.plan is None:
            told = "; ".join(ledger.problems) or f"{plural(len(ledger.loose), 'run')}, not part of a plan"
            lines.append((clean(ledger.stem, 40), told))
            continue
        counts = [
            len(ledger.entries),
            *(ledger.count(state) for state in ("done", "missing", "failed", "running")),
        ]
        lines.append((clean(ledger.stem, 40), *map(str, [*counts, ledger.stale, ledger.unplanned])))
    widths = [max(len(line[i]) for line in lines if len(line) == len(headers)) for i in range(len(headers))]
    widths[0] = max(len(line[0]) for line in lines)
    text = "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
        )
        if len(line) == len(headers)
        else f"{line[0].ljust(widths[0])}  {line[1]}"
        for line in lines
    )
    return text, all(ledger.complete for ledger in ledgers)
