"""What a page is made of: sections of blocks, as plain data. The template gives each kind of block its markup.

A section's ``build`` says what is shown and in which order; `build.compose` adds numbers, anchors, file names and
rendered figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from qwerties.errors import clean
from qwerties.report.rendering import ReportFigure
from qwerties.stats.formats import bounds, number
from qwerties.stats.intervals import Interval


@dataclass(frozen=True)
class Link:
    """Words that lead somewhere: to a run in MLflow, or to a section of the page (``#anchor``)."""

    text: str
    url: str


@dataclass(frozen=True)
class Cell:
    """A value, and its bounds or counts in small print below it."""

    main: str
    small: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, a cell under each header, the same in full for the download, and more links."""

    name: Link  # without an address, plain words
    cells: Mapping[str, Cell]
    data: Mapping[str, Any]
    more: Sequence[Link] = ()


@dataclass(frozen=True)
class Text:
    """Paragraphs, ready as markup."""

    html: Markup
    role: str = ""  # a class of the style sheet: question, design, note, lead


def paragraph(words: str, role: str = "note") -> Text:
    """Make a paragraph of plain words, of small print by default."""
    return Text(Markup("<p>{}</p>").format(words), role)


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Notice:
    """A box that says what is missing, or what failed."""

    lines: Sequence[str]
    title: str = ""


def notices(lines: Sequence[str]) -> list[Notice]:
    """Make a notice of lines from the store; none where there are no lines."""
    return [Notice([clean(line, 300) for line in lines])] if lines else []


@dataclass(frozen=True)
class Table:
    """A table of at least one row; all rows have the same headers."""

    caption: str
    names: str  # the header above the rows' names
    rows: Sequence[Row]
    suffix: str = ""  # of its file's name, where a section has several tables
    number: int = 0
    file: str = ""

    @property
    def headers(self) -> tuple[str, ...]:
        """The header of every column."""
        return (self.names, *self.rows[0].cells)


@dataclass(frozen=True)
class Statement:
    """A sentence that a verdict made, its receipts, and links to the evidence."""

    text: str
    settled: bool = True  # whether it says how the arms stand
    label: str = ""  # primary, exploratory
    receipts: Sequence[str] = ()
    links: Sequence[Link] = ()


@dataclass(frozen=True)
class Statements:
    """A list of statements."""

    items: Sequence[Statement]
    role: str = "verdicts"


@dataclass(frozen=True)
class Facts:
    """Terms, and what is said of each."""

    items: Mapping[str, str]


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away until the reader opens them."""

    summary: str
    blocks: Sequence[Block]


Block = Text | Heading | Notice | ReportFigure | Table | Statements | Facts | Details


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    blocks: Sequence[Block]
    unfinished: bool = False  # whether it withholds conclusions, so that the page's head names it
    style: str = ""  # CSS and JavaScript of its own; the page's policy lets them through by their hashes
    script: str = ""
    title: str = ""  # filled in by `build.compose`, like its id on the page
    anchor: str = ""


def walk(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield every block in the order of the page, folded ones too."""
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from walk(block.blocks)


# Numbers in tables


def interval_cell(
    interval: Interval | None, digits: int = 3, *, scale: float = 1, sign: bool = False
) -> Cell:
    """Write an estimate with its bounds below it; a dash where there is none."""
    if interval is None:
        return Cell("–")
    small = bounds(interval, digits, sign=sign, scale=scale)
    return Cell(number(scale * interval.estimate, digits, sign=sign), [small] if small else [])


def interval_record(name: str, interval: Interval | None) -> dict[str, float]:
    """Put an estimate and its bounds into three columns of a download."""
    values = (interval.estimate, interval.lo, interval.hi) if interval else (math.nan,) * 3
    return dict(zip((name, f"{name}_lo", f"{name}_hi"), values, strict=True))
