"""The store -> one page, its exports and its verdicts. Nothing else is read, and nothing is trained.

The page is a list of sections (`sections.SECTIONS`). One walk over their blocks numbers figures and tables, names their
files and finds the contents; one template gives all of them their markup. The same store gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qwerties.analysis.contrasts import ExperimentResult, load_results
from qwerties.errors import clean, reason_of
from qwerties.execution.signals import stop_if_asked
from qwerties.report import answers, export, sections
from qwerties.report.cache_key import store_digest
from qwerties.report.elements import Block, Details, Notice, Section, Table, walk
from qwerties.report.rendering import RenderedFigure, ReportFigure
from qwerties.report.rendering import render as render_figures
from qwerties.report.results import Results
from qwerties.report.sections.answers import answers_of
from qwerties.report.text import fill, source
from qwerties.report.verdicts_file import (
    VerdictsError,
    changes_text,
    make_document,
    read_verdicts,
    table,
    to_text,
)
from qwerties.tracking.store import Store


@dataclass(frozen=True)
class Written:
    """What a report left."""

    page: Path
    verdicts: Path
    # By their names beside summary.html; the page is one, without links to the others
    files: Mapping[str, bytes]
    text: str  # answers, verdicts and changes for the terminal
    failures: tuple[str, ...]  # sections that could not be made, with the reason


@dataclass(frozen=True)
class Composed:
    """A page before it is markup, its figures and tables as files by their names, and the sections that failed."""

    lead: str
    introduction: str
    sections: Sequence[Section]
    files: Mapping[str, bytes]
    failures: tuple[str, ...]

    def html(self, links: Mapping[str, str] | None = None) -> str:
        """Return the page's markup, with links to the files where there are any."""
        own = [section.style for section in self.sections if section.style]
        style = "\n".join([source("page.css"), *own])
        scripts = [source("page.js")] if self.sections else []
        scripts += [section.script for section in self.sections if section.script]
        return fill(
            "page.html",
            kind_of=lambda block: type(block).__name__,
            sections=self.sections,
            lead=self.lead,
            introduction=self.introduction,
            links=links,
            style=Markup(style),
            style_hash=_sha256(style),
            scripts=[Markup(script) for script in scripts],
            script_hashes=[_sha256(script) for script in scripts],
        )


def write_report(
    store: Store, page: Path, progress: Callable[[str], None] = lambda section: None, jobs: int = 2
) -> Written:
    """Write the page and its exports, all of them or none, and then ``verdicts.json``, which lists them.

    The page's folder is made if need be. ``progress`` is called with the name of each section before it is made, and
    figures are drawn by ``jobs`` processes.

    Raises
    ------
    VerdictsError
        If the file in the verdicts' place does not hold any: it is left as it is.
    """
    verdicts = export.place(page, export.VERDICTS)
    before = read_verdicts(verdicts)
    with store.as_of_now():
        made_from = store_digest(store)
        experiments = load_results(store)
        document = make_document(experiments, before)
        composed = compose(store, experiments, document["changes"], progress, jobs)
        runs = export.runs_csv(store, (result.coverage for result in experiments))
    exports = {
        **composed.files,
        export.FINDINGS: export.findings_tex(document["contrasts"]),
        export.RUNS: runs,
    }
    html = composed.html({name: export.link(page, name) for name in exports})
    files = {**exports, export.PAGE: html.encode()}
    document |= {"made_from": made_from, "files": export.digests(files)}
    stop_if_asked()
    export.write_files({export.place(page, name): content for name, content in files.items()})
    if before is not None:
        export.remove_old(page, before["files"], document["files"])
    files[export.VERDICTS] = to_text(document).encode()
    export.write_files({verdicts: files[export.VERDICTS]})  # last: it says that the others are there
    parts = (
        answers.to_text(answers_of(experiments)),
        table(document),
        changes_text(document["changes"]) if before is not None else "",
    )
    files[export.PAGE] = composed.html().encode()
    return Written(page, verdicts, files, "\n".join(filter(None, parts)), composed.failures)


def is_current(store: Store, page: Path) -> bool:
    """Tell whether a report is there, as it was written, and would be the same if it were written now."""
    try:
        before = read_verdicts(export.place(page, export.VERDICTS))
    except VerdictsError:
        return False
    return (
        before is not None
        and all(export.is_intact(page, name, digest) for name, digest in before["files"].items())
        and before.get("made_from") == store_digest(store)
    )


def render(store: Store) -> str:
    """Make the page by itself."""
    return compose(store, load_results(store)).html()


def compose(
    store: Store,
    experiments: Sequence[ExperimentResult],
    changes: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[str], None] = lambda section: None,
    jobs: int = 1,
) -> Composed:
    """Make the page's sections and draw their figures; parameters as in `write_report` and `Results`."""
    results = Results(store, experiments, changes, reserved=sections.ANCHORS)
    failures: list[str] = []
    made = []
    for anchor, title, build in sections.parts(results):
        stop_if_asked()
        progress(title)
        try:
            section = build()
        except Exception as error:  # all other sections stand
            reason = clean(f"{type(error).__name__}: {reason_of(error)}", 300)
            failures.append(f"section {title}: {reason}")
            section = Section((Notice((reason,), "This section could not be made."),))
        if section is not None:
            made.append(replace(section, title=title, anchor=anchor))
    blocks = (block for section in made for block in walk(section.blocks))
    drawn = render_figures([block for block in blocks if isinstance(block, ReportFigure)], jobs)
    stop_if_asked()
    filled, files = _fill_in(made, iter(drawn))
    return Composed(*sections.head(results), filled, files, tuple(failures))


def _fill_in(
    made: Sequence[Section], drawn: Iterator[RenderedFigure | Exception]
) -> tuple[list[Section], dict[str, bytes]]:
    """Give figures and tables their numbers, files and pictures, in the page's order; return the files' contents too.

    A notice stands in place of a figure that failed.
    """
    files: dict[str, bytes] = {}
    tables, figures = itertools.count(1), itertools.count(1)

    def fill_block(block: Block, anchor: str) -> Block:
        if isinstance(block, Details):
            return replace(block, blocks=[fill_block(inner, anchor) for inner in block.blocks])
        if isinstance(block, Table):
            number = next(tables)
            name = f"tables/{number:02d}-{anchor}{block.suffix}.csv"
            files[name] = export.to_csv([row.data for row in block.rows])
            return replace(block, number=number, file=name)
        if isinstance(block, ReportFigure):
            rendered = next(drawn)
            if isinstance(rendered, Exception):
                return Notice((f"A figure could not be drawn: {clean(reason_of(rendered), 300)}",))
            number = next(figures)
            name = f"figures/{number:02d}-{anchor}.{rendered.suffix}"
            files[name] = rendered.content
            return replace(block, number=number, rendered=rendered, file=name)
        return block

    filled = [
        replace(section, blocks=[fill_block(block, section.anchor) for block in section.blocks])
        for section in made
    ]
    return filled, files


def _sha256(text: str) -> str:
    """Hash by which the page's policy lets a style or script through, and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
