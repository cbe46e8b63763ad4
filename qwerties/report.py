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
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from qwerties import theory
from qwerties.config import DEFAULT, Config
from qwerties.illustrations import Picture, config_names, draw, draw_contrasts, score_interval
from qwerties.intervals import Interval
from qwerties.ledger import (
    STATES,
    Entry,
    Ledger,
    Networks,
    PlannedContrast,
    config_of,
    read_curves,
    read_ledgers,
    read_networks,
)
from qwerties.markup import bounds, clean, markdown, number, p_value, percent, plural, slug
from qwerties.stats import FAMILY_ERROR, FEWEST, Comparison, compare, holm
from qwerties.tracking import Store, StoreError, Tracked

PRIMARY = 6
"""Primary contrasts that the study planned (SCIENCE.md), whatever of them is tracked yet."""

UI = "http://127.0.0.1:5000"
"""Where ``make ui`` serves a store that has no server of its own."""

TEMPLATES = Path(__file__).with_name("templates")


# What the template shows


@dataclass(frozen=True)
class Link:
    """Words that lead to a run."""

    text: str
    url: str


@dataclass(frozen=True)
class Shown:
    """A figure as the template embeds it."""

    number: int
    src: str
    width: int
    height: int
    caption: str
    alt: str


@dataclass(frozen=True)
class Cell:
    """An estimate, and its bounds or count in small print below it."""

    main: str
    small: str = ""


@dataclass(frozen=True)
class Row:
    """One config of a section's table."""

    name: Link
    more_runs: tuple[Link, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table: captions and headers, and a row per config."""

    number: int
    caption: str
    headers: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ContrastRow:
    """One contrast: what was compared, the verdict in words, and three views as cells."""

    sides: str
    where: str
    kind: str
    verdict: str
    settled: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ContrastTable:
    """The contrasts of one section."""

    number: int
    caption: str
    headers: tuple[str, ...]
    rows: tuple[ContrastRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One experiment."""

    anchor: str
    title: str
    question: Markup
    design: str
    warnings: tuple[str, ...]
    unfinished: tuple[str, ...]
    pictures: tuple[Shown, ...]
    table: Table | None
    notes: tuple[str, ...]
    contrasts: ContrastTable | None


class _Numbers:
    """Numbers of figures and tables, in the order of the page."""

    def __init__(self) -> None:
        self.figures = self.tables = 0

    def figure(self) -> int:
        self.figures += 1
        return self.figures

    def table(self) -> int:
        self.tables += 1
        return self.tables


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
    numbers, anchors, trained = _Numbers(), {"content", "reading"}, _Trained()
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
        networks = sum(map(len, self.networks.values()))
        seeds = {seed for pairs in self.networks.values() for pair in pairs for seed in pair}
        return (
            f"{plural(networks, 'small network')} of {plural(len(self.networks), 'config')} on {plural(len(seeds), 'seed')}, "
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
    store: Store, ledger: Ledger, base: str, numbers: _Numbers, anchors: set[str], trained: _Trained
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
        pictures.append(_shown(picture, numbers))
    table = _table(ledger, drawn, base, numbers) if drawn else None
    complete = ledger.complete and not incomplete
    contrasts = _contrasts(ledger, networks, complete, numbers, pictures)
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
    notes = []
    limits = sorted({(config.distance, float(theory.bayes_accuracy(config.distance))) for config in configs})
    deviations = sorted({_sampling_sd(config) for config in configs})
    if len(limits) == 1:
        notes.append(f"No classifier can do better than Bayes accuracy, {number(limits[0][1], 4)} here.")
    else:
        listed = ", ".join(f"{number(level, 4)} at d={distance:g}" for distance, level in limits)
        notes.append(f"No classifier can do better than Bayes accuracy: {listed}.")
    sd = " to ".join(dict.fromkeys(number(value) for value in (deviations[0], deviations[-1])))
    points = " or ".join(map(str, sorted({2 * config.samples for config in configs})))
    notes.append(
        f"A training accuracy above it is luck: on {points} points the sampling standard deviation of the "
        f"best classifier's own is {sd}."
    )
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


def _table(ledger: Ledger, drawn: Sequence[Networks], base: str, numbers: _Numbers) -> Table:
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
        Cell(percent(learned.estimate), _share_bounds(learned)),
        *(Cell(f"{int((frame['state'] == state).sum()):,}") for state in STATES[1:]),
        Cell(number(population.estimate), bounds(population)),
        Cell(number(training.estimate)),
        Cell(number(middle, 2) if np.isfinite(middle) else "undefined", f"{undefined:,} undefined"),
    ]


def _share_bounds(interval: Interval) -> str:
    return bounds(interval, 0, scale=100)


def _shown(picture: Picture, numbers: _Numbers) -> Shown:
    src = f"data:image/svg+xml;base64,{base64.b64encode(picture.svg).decode()}"
    return Shown(numbers.figure(), src, picture.width, picture.height, picture.caption, picture.alt)


def _url(base: str, run: Tracked) -> str:
    return f"{base}/#/experiments/{run.experiment_id}/runs/{run.run_id}"


# Contrasts


def _contrasts(
    ledger: Ledger, networks: dict[int, Networks], complete: bool, numbers: _Numbers, pictures: list[Shown]
) -> ContrastTable | None:
    if not ledger.contrasts:
        return None
    exploratory = sum(not contrast.primary for contrast in ledger.contrasts)
    compared = [_compare(ledger, contrast, networks, exploratory) for contrast in ledger.contrasts]
    adjusted = holm(
        [
            found.p_value if found is not None and not contrast.primary else np.nan
            for contrast, found in zip(ledger.contrasts, compared, strict=True)
        ]
    )
    among = [side for contrast in ledger.contrasts for side in (contrast.a, contrast.b)]
    rows, drawn = [], []
    for contrast, found, p in zip(ledger.contrasts, compared, adjusted, strict=True):
        where = _shared(contrast, among)
        sides = " − ".join(_sides(contrast))
        cells = _views(found, float(p), contrast.primary) if found is not None else (Cell("–"),) * 8
        if found is not None and not np.isnan(found.difference.estimate):
            drawn.append((f"{sides} · {where}" if where else sides, found))
        verdict = "withheld" if not complete or found is None else found.words
        rows.append(
            ContrastRow(
                sides,
                where,
                "primary" if contrast.primary else "exploratory",
                verdict,
                complete,
                tuple(cells),
            )
        )
    if drawn:
        pictures.append(_shown(draw_contrasts(drawn), numbers))
    return ContrastTable(
        numbers.table(),
        "Contrasts, A − B on the same seeds, in population accuracy.",
        (
            "Pairs",
            "A learned",
            "B learned",
            "McNemar p",
            "Difference where both learned",
            "Mean difference",
            "δ (smallest)",
            "Holm p",
        ),
        tuple(rows),
        _contrast_notes(ledger),
    )


def _compare(
    ledger: Ledger, contrast: PlannedContrast, networks: dict[int, Networks], exploratory: int
) -> Comparison | None:
    entries = [ledger.find(side) for side in (contrast.a, contrast.b)]
    sides = [networks.get(ledger.entries.index(entry)) for entry in entries if entry is not None]
    found = [side for side in sides if side is not None]
    if len(found) < 2:
        return None
    best = max(float(theory.bayes_accuracy(side.distance)) for side in (contrast.a, contrast.b))
    name_a, name_b = _sides(contrast)
    return compare(
        found[0].frame,
        found[1].frame,
        delta=contrast.delta,
        level=1 - FAMILY_ERROR / PRIMARY if contrast.primary else 0.95,
        family_size=PRIMARY if contrast.primary else exploratory,
        headroom=max(best - 0.5, 1e-9),
        name_a=name_a,
        name_b=name_b,
    )


def _sides(contrast: PlannedContrast) -> tuple[str, str]:
    """Names of both sides, by what differs between them."""
    a, b = (side.label([contrast.a, contrast.b]) for side in (contrast.a, contrast.b))
    return a, b


def _shared(contrast: PlannedContrast, among: Sequence[Config]) -> str:
    """What both sides share that other contrasts beside them do not."""
    a, b = (side.label(among).split(" · ") for side in (contrast.a, contrast.b))
    return " · ".join(part for part in a if part in b)


def _views(found: Comparison, adjusted: float, primary: bool) -> tuple[Cell, ...]:
    rule, *others = found.learned
    sensitivity = "gain ≥ {}: {} − {}"
    _ = others, sensitivity
    return (
        Cell(f"{found.n:,}", _left_out(found)),
        Cell(percent(rule.a.estimate), _share_bounds(rule.a)),
        Cell(percent(rule.b.estimate), _share_bounds(rule.b)),
        Cell(p_value(rule.p_value), f"{rule.only_a} : {rule.only_b}"),
        Cell(
            number(found.conditional.estimate, 4, sign=True),
            f"{bounds(found.conditional, 4, sign=True)} n = {found.conditional.n}",
        ),
        Cell(number(found.difference.estimate, 4, sign=True), bounds(found.difference, 4, sign=True)),
        Cell(f"{found.delta:g}", f"({number(found.smallest_delta, 4)})"),
        Cell("–" if primary else p_value(adjusted)),
    )


def _left_out(found: Comparison) -> str:
    unpaired = len(found.only_a) + len(found.only_b)
    diverged = len(found.a.diverged) + len(found.b.diverged)
    said = [f"{unpaired} unpaired"] * bool(unpaired) + [f"{diverged} diverged"] * bool(diverged)
    return ", ".join(said)


def _contrast_notes(ledger: Ledger) -> tuple[str, ...]:
    primary = any(contrast.primary for contrast in ledger.contrasts)
    exploratory = any(not contrast.primary for contrast in ledger.contrasts)
    notes = [
        "A learned and B learned: with Wilson intervals; beside them the exact McNemar test, and on how many seeds "
        "only A : only B learned. The verdict comes from the mean difference over all pairs, its interval, δ and the "
        f"number of pairs (at least {FEWEST}); in brackets the smallest δ that would have given equivalence.",
    ]
    if primary:
        level = percent(1 - FAMILY_ERROR / PRIMARY)
        notes.append(
            f"Primary: one of {PRIMARY} contrasts fixed beforehand, all intervals at {level} (Bonferroni)."
        )
    if exploratory:
        notes.append(
            "Exploratory: intervals at 95% each; p-values adjusted by Holm's method among those here."
        )
    if any(c.a.hidden != c.b.hidden or c.a.init != c.b.init for c in ledger.contrasts):
        notes.append(
            "Where shapes or kinds of initial weights differ, both sides share a seed's data, not its weights."
        )
    return tuple(notes)


# Runs without a plan


def _loose_section(
    ledger: Ledger, base: str, numbers: _Numbers, anchors: set[str], trained: _Trained
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
