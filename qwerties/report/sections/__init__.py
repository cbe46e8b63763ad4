"""The parts of the page, one file each: ``build(results) -> Section | None``, None where there is nothing to show.

A new section is a file with `TITLE`, `ANCHOR` and `build`, and its place in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from qwerties.report.elements import Section
from qwerties.report.results import Results
from qwerties.report.sections import (
    answers,
    changes,
    experiments,
    findings,
    maps,
    panel,
    provenance,
    questions,
    reading,
    searches,
)
from qwerties.report.sections.head import head
from qwerties.report.text import typeset

SECTIONS = (
    answers,
    panel,
    findings,
    changes,
    questions,
    experiments,  # one section for each experiment
    searches,
    maps,
    reading,
    provenance,
)
ANCHORS = ("content", "contents", *(module.ANCHOR for module in SECTIONS if module is not experiments))

__all__ = ["ANCHORS", "SECTIONS", "head", "parts"]


def parts(results: Results) -> Iterator[tuple[str, str, Callable[[], Section | None]]]:
    """List the anchor, the title and the maker of each section, in the page's order."""
    for module in SECTIONS:
        if module is experiments:
            for result in results.experiments:
                name = result.coverage.experiment_name
                build = partial(experiments.build, results, result)
                yield results.anchors[name], typeset(result.coverage.title), build
        else:
            yield module.ANCHOR, module.TITLE, partial(module.build, results)
