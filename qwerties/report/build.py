"""The store -> one page, its exports and its verdicts. Nothing else is read, and nothing is trained.

The page is a list of sections (`sections.SECTIONS`). One walk over their blocks numbers figures and tables, names their
files and finds the contents; one template gives all of them their markup. The same store gives the same bytes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from qwerties.analysis.contrasts import ExperimentResult, load_results
from qwerties.errors import clean, reason_of
from qwerties.execution.signals import stop_if_asked
from qwerties.report import answers, export, sections
from qwerties.report.cache_key import bytes_digest, store_digest
from qwerties.report.elements import Block, Details, Figure, Notice, Section, Table, walk
from qwerties.report.rendering import RenderedFigure
from qwerties.report.rendering import render as render_figures
from qwerties.report.results import make_results
from qwerties.report.verdicts_file import (
    VerdictsError,
    changes_text,
    make_document,
    path_beside,
    read_verdicts,
    table,
    to_text,
)
from qwerties.tracking.store import Store

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Written:
    """What a report left, and what its verdicts are (`verdicts_file.make_document`).

    Attributes
    ----------
    page, verdicts : Path
    document : mapping
    files : mapping of str to bytes
        By their names beside ``summary.html``; the page is the one without links to the others.
    text : str
        Answers, verdicts and changes for the terminal.
    failures : tuple of str
        Sections that could not be made, with the reason.
    """

    page: Path
    verdicts: Path
    document: Mapping[str, Any]
    files: Mapping[str, bytes]
    text: str
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Composed:
    """A page with links to the exports beside it, the same page by itself, and those exports by their names."""

    page: str
    alone: str
    files: Mapping[str, bytes]
    failures: tuple[str, ...] = ()


def write_report(
    store: Store, path: Path, progress: Callable[[str], None] = lambda section: None, jobs: int = 2
) -> Written:
    """Write the page, and beside it the exports and ``verdicts.json``; each is written whole or not at all.

    Parameters
    ----------
    store : Store
    path : Path
        Of the page; its folder is made if need be.
    progress : callable
        Called with the name of each section before it is made.
    jobs : int
        Processes that draw.

    Raises
    ------
    VerdictsError
        If the file in the verdicts' place does not hold any: it is left as it is.
    """
    beside, places = path_beside(path), export.Places.beside(path)
    before = read_verdicts(beside)
    with store.as_of_now():
        made_from = store_digest(store)
        experiments = load_results(store)
        document = make_document(experiments, before)
        composed = compose(store, experiments, document["changes"], progress, places, jobs)
        runs = export.runs_csv(
            store, {one.coverage.experiment_name: one.coverage.experiment_id for one in experiments}
        )
    page = composed.page.encode()
    document |= {
        "made_from": made_from,
        "page": hashlib.sha256(page).hexdigest(),
        "runs": hashlib.sha256(runs).hexdigest(),
    }
    files = {
        **composed.files,
        export.FINDINGS: export.findings_tex(document["contrasts"]),
        export.RUNS: runs,
    }
    stop_if_asked()
    path.parent.mkdir(parents=True, exist_ok=True)
    export.write(places, files)
    verdicts = to_text(document).encode()
    for target, content in ((path, page), (beside, verdicts)):
        export.write_file(target, content)
    whole = {**files, "summary.html": composed.alone.encode(), "verdicts.json": verdicts}
    parts = [table(document)]
    if experiments:
        parts.insert(0, answers.to_text(answers.answers(experiments)))
    if before is not None:
        parts.append(changes_text(document["changes"]))
    return Written(path, beside, document, whole, "\n".join(filter(None, parts)), composed.failures)


def is_current(store: Store, path: Path) -> bool:
    """Tell whether a report is there, as it was written, and would be the same if it were written now."""
    places = export.Places.beside(path)
    try:
        before = read_verdicts(path_beside(path))
    except VerdictsError:
        return False
    return (
        before is not None
        and before.get("page") == bytes_digest(path)
        and before.get("runs") == bytes_digest(places.path(export.RUNS))
        and export.are_intact(places)
        and before.get("made_from") == store_digest(store)
    )


def render(store: Store, changes: Sequence[Mapping[str, Any]] = (), jobs: int = 1) -> str:
    """Make the page by itself; parameters as in `compose`."""
    return compose(store, changes=changes, jobs=jobs).alone


def compose(
    store: Store,
    experiments: Sequence[ExperimentResult] | None = None,
    changes: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[str], None] = lambda section: None,
    places: export.Places | None = None,
    jobs: int = 1,
) -> Composed:
    """Make the page, and its downloads.

    Parameters
    ----------
    store : Store
    experiments : sequence of ExperimentResult, optional
        Of the store, where it has been read already.
    changes : sequence
        What changed since the previous report, from `verdicts_file.changes`.
    progress : callable
        Called with the name of each section before it is made.
    places : Places, optional
        Of the exports, for the links to them.
    jobs : int
        Processes that draw.
    """
    results = make_results(store, experiments, changes, taken=sections.ANCHORS)
    failures: list[str] = []
    made = []
    for part in sections.parts(results):
        stop_if_asked()
        progress(part.title)
        section = _build(part, failures)
        if section is not None:
            made.append(replace(section, anchor=part.anchor))
    blocks = [block for section in made for block in walk(section.blocks)]
    drawn = render_figures([block.figure for block in blocks if isinstance(block, Figure)], jobs)
    stop_if_asked()
    walked = _Walk(iter(drawn))
    made = [walked.section(section) for section in made]
    head = sections.head(results)
    alone = _page(made, head, None)
    if places is None:
        return Composed(alone, alone, walked.files, tuple(failures))
    names = (*walked.files, export.FINDINGS, export.RUNS)
    page = _page(made, head, {name: places.link(name) for name in names})
    return Composed(page, alone, walked.files, tuple(failures))


def _build(part: sections.Part, failures: list[str]) -> Section | None:
    """Make a section; where that fails, one that says so, so that all others stand."""
    try:
        return part.build()
    except Exception as error:
        reason = clean(f"{type(error).__name__}: {reason_of(error)}", 300)
        failures.append(f"section {part.title}: {reason}")
        return Section(part.title, (Notice((reason,), "This section could not be made."),))


@dataclass
class _Walk:
    """The walk over a page's blocks: numbers, file names and rendered figures, in the order of the page."""

    drawn: Iterator[RenderedFigure | Exception]
    files: dict[str, bytes] = field(default_factory=dict)
    figures: int = 0
    tables: int = 0

    def section(self, section: Section) -> Section:
        """Return the section with its blocks filled in."""
        return replace(section, blocks=tuple(self.block(block, section.anchor) for block in section.blocks))

    def block(self, block: Block, anchor: str) -> Block:
        """Return a block with its number, its file and its picture; a notice in place of a figure that failed."""
        if isinstance(block, Details):
            return replace(block, blocks=tuple(self.block(inner, anchor) for inner in block.blocks))
        if isinstance(block, Table):
            self.tables += 1
            name = f"tables/{self.tables:02d}-{anchor}{block.suffix}.csv"
            self.files[name] = export.to_csv(block.data or export.as_displayed(block))
            return replace(block, number=self.tables, file=name)
        if isinstance(block, Figure):
            rendered = next(self.drawn)
            if isinstance(rendered, Exception):
                return Notice((f"A figure could not be drawn: {clean(reason_of(rendered), 300)}",))
            self.figures += 1
            ending = "svg" if rendered.mime == "image/svg+xml" else "png"
            name = f"figures/{self.figures:02d}-{anchor}.{ending}"
            self.files[name] = rendered.content
            return replace(block, number=self.figures, rendered=rendered, file=name)
        return block


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _page(made: Sequence[Section], head: sections.Head, links: Mapping[str, str] | None) -> str:
    style = "\n".join([_ours("page.css"), *(section.style for section in made if section.style)])
    scripts = [_ours("page.js"), *(section.script for section in made if section.script)] if made else []
    return _template().render(
        sections=made,
        head=head,
        links=links,
        style=Markup(style),
        style_hash=_sha256(style),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[_sha256(script) for script in scripts],
    )


@functools.cache
def _ours(name: str) -> str:
    """Text of a style or script beside the templates, as it stands."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    """Hash by which the page's policy lets a style or script through, and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
