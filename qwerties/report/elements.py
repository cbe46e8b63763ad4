"""What the template shows: plain, ready values, and how numbers become table cells."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from qwerties.report.drawing import Drawing
from qwerties.report.figures import Picture
from qwerties.stats.formats import bounds
from qwerties.stats.intervals import Interval
from qwerties.tracking.records import Tracked


@dataclass(frozen=True)
class Link:
    """Words that lead to a run."""

    text: str
    url: str


@dataclass(frozen=True)
class Shown:
    """A figure as the template embeds it."""

    number: int
    drawing: Drawing
    width: int
    height: int
    caption: str
    alt: str

    @property
    def src(self) -> str:
        """The picture as a data URI."""
        return f"data:{self.drawing.mime};base64,{base64.b64encode(self.drawing.content).decode()}"


@dataclass(frozen=True)
class Cell:
    """An estimate, and its bounds or counts in small print below it."""

    main: str
    small: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One config of a section's table."""

    name: Link
    more_runs: tuple[Link, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table: captions and headers, and a row per config; `data` is the same in full, for who takes it away."""

    number: int
    caption: str
    headers: tuple[str, ...]
    rows: tuple[Row, ...]
    data: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ContrastRow:
    """One contrast: what was compared, the verdict in words, and three views as cells."""

    sides: str
    where: str
    kind: str
    verdict: str
    told: bool  # whether the verdict says which side is better, or that neither is
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ContrastTable:
    """The contrasts of one section: all of them on one scale, and how the evidence for each primary one came in."""

    pictures: tuple[Shown, ...]
    number: int
    caption: str
    headers: tuple[str, ...]
    rows: tuple[ContrastRow, ...]
    notes: tuple[str, ...]
    data: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Headline:
    """One finding of the list that the page begins with."""

    sides: str
    verdict: str
    told: bool
    kind: str
    numbers: tuple[str, ...]
    plan_changed: bool
    anchor: str
    title: str
    runs: tuple[Link, ...]


@dataclass(frozen=True)
class Studies:
    """What one section says of the studies that chose its configs."""

    pictures: tuple[Shown, ...]
    table: Table | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One experiment."""

    anchor: str
    title: str
    question: Markup
    design: str
    warnings: tuple[str, ...]
    plan_changes: tuple[str, ...]
    unfinished: tuple[str, ...]
    pictures: tuple[Shown, ...]
    table: Table | None
    notes: tuple[str, ...]
    contrasts: ContrastTable | None
    studies: Studies | None = None


class Numbers:
    """Numbers of figures and tables, in the order of the page."""

    def __init__(self) -> None:
        self.figures = self.tables = 0

    def figure(self) -> int:
        """Count one more figure."""
        self.figures += 1
        return self.figures

    def table(self) -> int:
        """Count one more table."""
        self.tables += 1
        return self.tables


def shown(picture: Picture, numbers: Numbers) -> Shown:
    """Embed a figure, as the page's next."""
    return Shown(
        numbers.figure(), picture.drawing, picture.width, picture.height, picture.caption, picture.alt
    )


def run_url(base: str, run: Tracked) -> str:
    """Address of a run in MLflow's UI."""
    return f"{base}/#/experiments/{quote(run.experiment_id)}/runs/{quote(run.run_id)}"


def share_bounds(interval: Interval) -> str:
    """Write the bounds of a share, in percents."""
    return bounds(interval, 0, scale=100)


def said(*texts: str) -> tuple[str, ...]:
    """Leave out what is empty."""
    return tuple(text for text in texts if text)
