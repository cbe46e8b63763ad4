"""The store -> one page. Nothing else is read, and nothing is trained.

The page says only what the store and `stats` say: titles, questions and labels are the store's words, verdicts are
those of `stats.verdict.words`. The same store gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from qwerties.analysis.contrasts import ExperimentResult, load_results
from qwerties.config import DEFAULT, Config
from qwerties.errors import clean, plural
from qwerties.execution.signals import stop_if_asked
from qwerties.report import drawing
from qwerties.report import export as exports
from qwerties.report.cache_key import bytes_digest, store_digest
from qwerties.report.elements import (
    Cell,
    Link,
    Numbers,
    Row,
    Section,
    Table,
    run_url,
    said,
    share_bounds,
    shown,
)
from qwerties.report.figures import draw
from qwerties.report.sections.examples import make_exemplars
from qwerties.report.sections.findings import contrast_table, headlines, top_picture
from qwerties.report.sections.maps import ANCHOR as MAP_ANCHOR
from qwerties.report.sections.maps import make_maps
from qwerties.report.sections import panel as panel_section
from qwerties.report.sections.provenance import ANCHOR, make_provenance
from qwerties.report.sections.questions import make_questions
from qwerties.report.sections.searches import make_studies
from qwerties.report.text import markdown, slug
from qwerties.report.verdicts_file import (
    VerdictsError,
    make_document,
    path_beside,
    read_verdicts,
    to_text,
)
from qwerties.scoring import theory
from qwerties.stats.formats import bounds, number, percent
from qwerties.stats.intervals import Interval
from qwerties.study.coverage import STATES, Coverage, SeedTable, config_names, config_of, read_curves
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError

UI = "http://127.0.0.1:5000"
"""Where ``make ui`` serves a store that has no server of its own."""

MANY = 4
"""Experiments whose figures keep a second process busy."""

KINDS = ("figure", "table")
"""What is numbered on the page."""

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Written:
    """What a report left, and what its verdicts are (`verdicts_file.make_document`)."""

    page: Path
    verdicts: Path
    document: Mapping[str, Any]
    files: Mapping[str, bytes]
    """The same without links from one to another, by their names beside ``summary.html``."""


@dataclass(frozen=True)
class Composed:
    """A page with links to the exports beside it, the same page by itself, and those exports by their names."""

    page: str
    alone: str
    files: Mapping[str, bytes]


def write_report(
    store: Store, path: Path, progress: Callable[[str], None] = lambda experiment_name: None
) -> Written:
    """Write the page, and beside it the exports and ``verdicts.json``; each is written whole or not at all.

    Parameters
    ----------
    store : Store
    path : Path
        Of the page; its folder is made if need be.
    progress : callable
        Called with the name of each experiment when its turn comes.

    Raises
    ------
    VerdictsError
        If there is a file in the verdicts' place that does not hold any: it is left as it is.
    """
    beside, places = path_beside(path), exports.Places.beside(path)
    before = read_verdicts(beside)
    much = len(store.experiments()) >= MANY
    with store.as_of_now(), drawing.drawing_elsewhere(at_once=much):
        made_from = store_digest(store)
        evidence = load_results(store)
        document = make_document(evidence, before)
        composed = compose(store, evidence, document["changes"], progress, places)
        runs = exports.runs_csv(
            store, {one.coverage.experiment_name: one.coverage.experiment_id for one in evidence}
        )
    page = composed.page.encode()
    document |= {"made_from": made_from, "page": hashlib.sha256(page).hexdigest()}
    files = {
        **composed.files,
        exports.FINDINGS: exports.findings_tex(document["contrasts"]),
        exports.RUNS: runs,
    }
    stop_if_asked()
    path.parent.mkdir(parents=True, exist_ok=True)
    exports.write(places, files)
    verdicts = to_text(document).encode()
    for target, content in ((path, page), (beside, verdicts)):
        exports.write_file(target, content)
    whole = {**files, "summary.html": composed.alone.encode(), "verdicts.json": verdicts}
    return Written(path, beside, document, whole)


def is_current(store: Store, path: Path) -> bool:
    """Tell whether a report is there, as it was written, and would be the same if it were written now."""
    try:
        before = read_verdicts(path_beside(path))
    except VerdictsError:
        return False
    return (
        before is not None
        and before.get("page") == bytes_digest(path)
        and exports.are_intact(exports.Places.beside(path))
        and before.get("made_from") == store_digest(store)
    )


def render(
    store: Store,
    evidence: Sequence[ExperimentResult] | None = None,
    changes: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[str], None] = lambda experiment_name: None,
) -> str:
    """Make the page by itself; parameters as in `compose`."""
    return compose(store, evidence, changes, progress).alone


def compose(
    store: Store,
    evidence: Sequence[ExperimentResult] | None = None,
    changes: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[str], None] = lambda experiment_name: None,
    places: exports.Places | None = None,
) -> Composed:
    """Make the page, and what can be taken away from it.

    Parameters
    ----------
    store : Store
    evidence : sequence of ExperimentResult, optional
        Of the store, where it has been read already.
    changes : sequence
        What changed since the report before, from `verdicts_file.changes`.
    progress : callable
        Called with the name of each experiment when its turn comes.
    places : Places, optional
        Of the exports, for the links to them.
    """
    evidence = load_results(store) if evidence is None else evidence
    base = store.uri.rstrip("/") if store.uri.startswith(("http://", "https://")) else UI
    numbers, anchors, trained = (
        Numbers(),
        {"content", "reading", "findings", "changes", "sections", "questions", ANCHOR, MAP_ANCHOR, panel_section.ANCHOR},
        _Trained(),
    )
    found = [finding for one in evidence for finding in one.findings]
    first = [finding for finding in found if finding.contrast.primary] or found
    picture = top_picture(first, numbers)
    questions = make_questions(store, evidence, numbers)
    panel = panel_section.build(evidence)
    sections = []
    for one in evidence:
        stop_if_asked()
        progress(one.coverage.experiment_name)
        sections.append(_section(store, one, base, numbers, anchors, trained))
    progress("maps")
    maps = make_maps(store, base, numbers)
    by_name = {
        one.coverage.experiment_name: section.anchor for one, section in zip(evidence, sections, strict=True)
    }
    style = Markup("").join(map(_ours, ("summary.css", "panel.css") if panel else ("summary.css",)))
    scripts = [_ours(name) for name, there in (("page.js", sections), ("panel.js", panel)) if there]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = {
        "style": style,
        "style_hash": _sha256(style),
        "scripts": scripts,
        "script_hashes": [_sha256(script) for script in scripts],
        "summary": trained.summary(),
        "provenance": trained.provenance(),
        "provenance_part": make_provenance(store, evidence, by_name, base, numbers),
        "headlines": headlines(first, by_name, base),
        "top_picture": picture,
        "questions": questions,
        "anchor_of": by_name,
        "panel": panel,
        "changes": [{name: _shown_text(value) for name, value in change.items()} for change in changes],
        "sections": sections,
        "maps": maps,
        "incomplete": [section for section in sections if section.unfinished],
        "sampling_sd": number(_sampling_sd(DEFAULT), 3),
        "points": 2 * DEFAULT.samples,
        "distance": f"{DEFAULT.distance:g}",
    }
    drawing.finish()
    files, names = exports.make_files(context)
    template = environment.get_template("summary.html")
    alone = template.render(**context, take=None)
    if places is None:
        return Composed(alone, alone, files)
    take = {kind: {n: places.link(name) for (k, n), name in names.items() if k == kind} for kind in KINDS}
    whole = {"findings": places.link(exports.FINDINGS), "runs": places.link(exports.RUNS)}
    return Composed(template.render(**context, take={**take, **whole}), alone, files)


def _ours(name: str) -> Markup:
    """Text of a style or script beside the templates, as it stands."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _sha256(text: str) -> str:
    """Hash by which the page's policy lets a style or script through, and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shown_text(value: Any) -> Any:
    """Text of an earlier report, made harmless."""
    if isinstance(value, bool):
        return value
    return clean("; ".join(map(str, value)) if isinstance(value, list) else value, 300)


class _Trained:
    """What was trained, counted over all experiments: a network that two of them share counts once."""

    def __init__(self) -> None:
        self.networks: dict[Config, set[tuple[int, int]]] = {}
        self.runs = self.experiments = 0
        self.tags: dict[str, list[str]] = {"qwerties.version": [], "mlflow.source.git.commit": []}

    def add(self, networks: SeedTable) -> None:
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
    store: Store,
    evidence: ExperimentResult,
    base: str,
    numbers: Numbers,
    anchors: set[str],
    trained: _Trained,
) -> Section:
    coverage = evidence.coverage
    if coverage.plan is None:
        return _loose_section(coverage, base, numbers, anchors, trained)
    warnings = [*coverage.problems, *evidence.problems]
    if not coverage.entries:
        warnings.append("the plan holds no configs")
    drawn = list(evidence.networks.values())
    for one in drawn:
        trained.add(one)
    trained.add_runs([run for one in drawn for run in one.runs])
    pictures = []
    for spec in coverage.figures if drawn else ():
        try:
            picture = draw(spec, drawn, lambda one, name: read_curves(store, one, name))
        except (ValueError, StoreError) as error:
            warnings.append(f"the figure of {spec.kind} could not be drawn: {error}")
            continue
        pictures.append(shown(picture, numbers))
    try:
        ended = make_exemplars(store, drawn, evidence.findings, numbers)
    except StoreError as error:
        ended = None
        warnings.append(f"the figure of exemplars could not be drawn: {error}")
    table = _table(coverage, drawn, base, numbers) if drawn else None
    return Section(
        anchor=slug(coverage.experiment_name, anchors),
        title=clean(coverage.title),
        question=markdown(coverage.question),
        design=_design(coverage, drawn),
        warnings=tuple(clean(warning, 300) for warning in [*warnings, *_counts(coverage)]),
        plan_changes=tuple(clean(change, 600) for change in coverage.plan_changes),
        unfinished=_unfinished(coverage, evidence.incomplete),
        pictures=(*pictures, *filter(None, [ended])),
        table=table,
        notes=_notes(drawn),
        contrasts=contrast_table(evidence, numbers),
        studies=make_studies(store, evidence, base, numbers),
    )


def _unfinished(coverage: Coverage, incomplete: Sequence[str]) -> tuple[str, ...]:
    if not incomplete:
        return ()
    planned = len(coverage.entries)
    first = f"{planned - len(incomplete)} of {plural(planned, 'planned config')} tracked; conclusions withheld until "
    return (f"{first}the design is complete.", *incomplete)


def _counts(coverage: Coverage) -> list[str]:
    said = []
    if coverage.stale:
        said.append(f"{plural(coverage.stale, 'run')} made by other code: left out.")
    if coverage.unplanned:
        said.append(f"{plural(coverage.unplanned, 'run')} of configs that are not in the plan: left out.")
    return said


def _design(coverage: Coverage, drawn: Sequence[SeedTable]) -> str:
    assert coverage.plan is not None
    seeds = coverage.plan.seeds
    if seeds.crossed is None:
        on = f"{plural(len(seeds), 'seed')} each ({str(seeds).replace('-', '–')})"
    else:
        on = f"{seeds.stop - seeds.start} data seeds, each with {plural(seeds.crossed, 'weight seed')}"
    parts = [one.config.label().split(" · ") for one in drawn]
    common = [part for part in parts[0] if all(part in other for other in parts)] if len(parts) > 1 else []
    shared = f"; all of them: {' · '.join(common)}" if common else ""
    return f"{plural(len(coverage.entries), 'config')}, {on}{shared}."


def _notes(drawn: Sequence[SeedTable]) -> tuple[str, ...]:
    if not drawn:
        return ()
    configs = [one.config for one in drawn]
    placed = sorted({(config.data, config.distance) for config in configs})
    several = len({data for data, _ in placed}) > 1
    bayes = ", ".join(
        number(float(theory.bayes_accuracy(distance, data)), 4)
        + (f" at {f'{data}, ' if several else ''}d={distance:g}" if len(placed) > 1 else " here")
        for data, distance in placed
    )
    deviations = sorted(_sampling_sd(config) for config in configs)
    sd = " to ".join(dict.fromkeys(number(value) for value in (deviations[0], deviations[-1])))
    points = " or ".join(map(str, sorted({2 * config.samples for config in configs})))
    simpler = [
        f"On {data} at d={distance:g}, the best strip between two parallel lines, which two ReLU units can draw, "
        f"reaches {number(levels['best strip'], 4)}, and the best straight line {number(levels['best line'], 4)}."
        for data, distance in placed
        if len(levels := theory.reference_accuracies(distance, data)) > 1
    ]
    notes = [
        f"Bayes accuracy, the best possible, is {bayes}. A training accuracy above it is luck: on {points} points "
        f"the best classifier's own has a sampling standard deviation of {sd}.",
        *simpler,
    ]
    if any("weight_seed" in one.frame for one in drawn):
        notes.append(
            "Networks of a crossed layout share data and starts and are not independent, so that no intervals are "
            "given here."
        )
    return tuple(notes)


def _sampling_sd(config: Config) -> float:
    """Standard deviation of the best classifier's accuracy on a training set."""
    accuracy = float(theory.bayes_accuracy(config.distance, config.data))
    return float(np.sqrt(accuracy * (1 - accuracy) / (2 * config.samples)))


def _table(coverage: Coverage, drawn: Sequence[SeedTable], base: str, numbers: Numbers) -> Table:
    names = config_names([one.config for one in drawn])
    records = [exports.outcome_record(name, one) for name, one in zip(names, drawn, strict=True)]
    rows = []
    for record, one in zip(records, drawn, strict=True):
        links = [
            Link(record["config"] if i == 0 else f"run {i + 1}", run_url(base, run))
            for i, run in enumerate(one.runs)
        ]
        rows.append(Row(links[0], tuple(links[1:]), tuple(_cells(record))))
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
        tuple(records),
    )


def _cells(record: Mapping[str, Any]) -> list[Cell]:
    """Round one of `exports.outcome_record`."""
    learned, population = (
        Interval(record[name], record[f"{name}_lo"], record[f"{name}_hi"], record["n"], 0.95)
        for name in ("learned", "population_accuracy")
    )
    phi = record["phi_median"]
    return [
        Cell(f"{record['n']:,}"),
        Cell(percent(learned.estimate), said(share_bounds(learned))),
        *(Cell(f"{record[state]:,}") for state in STATES[1:]),
        Cell(number(population.estimate), said(bounds(population))),
        Cell(number(record["train_accuracy"])),
        Cell(
            number(phi, 2) if np.isfinite(phi) else "undefined", (f"{record['phi_undefined']:,} undefined",)
        ),
    ]


# Runs without a plan


def _loose_section(
    coverage: Coverage, base: str, numbers: Numbers, anchors: set[str], trained: _Trained
) -> Section:
    trained.add_runs(coverage.loose)
    rows, data = [], []
    for run in coverage.loose:
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
        data.append({"run": run.run_id, "name": name, "state": state, **run.params, **run.metrics})
        rows.append(
            Row(
                Link(clean(name), run_url(base, run)),
                (),
                (Cell(state), Cell(number(metric[0], 4)), *(Cell(number(value)) for value in metric[1:])),
            )
        )
    table = Table(
        numbers.table(),
        "Runs tracked one by one. A dash is an undefined score.",
        ("Run", "State", "Training loss", "Training accuracy", "Population accuracy", "Phi"),
        tuple(rows),
        tuple(data),
    )
    return Section(
        anchor=slug(coverage.experiment_name, anchors),
        title=clean(coverage.title),
        question=markdown(coverage.question),
        design=f"{plural(len(coverage.loose), 'run')}, not part of a plan.",
        warnings=tuple(coverage.problems),
        plan_changes=(),
        unfinished=(),
        pictures=(),
        table=table if rows else None,
        notes=(),
        contrasts=None,
    )
