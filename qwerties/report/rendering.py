"""Figures of the page: what is to be drawn, as plain data, and its rendering by several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from qwerties.report.compact import compact_png, compact_svg, data_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qwerties.plotting.axes import Panel

CSS_DPI = 100  # CSS pixels per inch of a figure
MIN_PARALLEL = 8  # figures: starting processes takes about as long as drawing so many
BATCH = 4  # figures that a process draws in one go


@dataclass(frozen=True)
class RenderedFigure:
    """A figure's bytes, their kind (svg or png), and the size in CSS pixels."""

    content: bytes
    suffix: str
    width: int
    height: int

    @property
    def src(self) -> Markup:
        """The picture as a data URI, ready for an attribute."""
        return data_uri(self.content, self.suffix)


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the page: a block, of which `build.compose` fills in the last three fields."""

    draw: Callable[..., Figure]  # of a module of `plotting`, which loads neither the store nor torch
    arguments: Mapping[str, Any]  # picklable: frames, numbers, words
    caption: str
    alt: str  # its content in words
    dpi: float | None = None  # of a PNG, for what would be large as SVG; None for SVG
    number: int = 0
    file: str = ""
    rendered: RenderedFigure | None = None


def figure_of(
    parts: Sequence[Panel], caption: str, alt: str, *, dpi: float | None = None, **size: Any
) -> ReportFigure:
    """Make a figure of plots side by side; ``size`` goes to `plotting.axes.panels`."""
    from qwerties.plotting.axes import panels

    return ReportFigure(panels, {"parts": list(parts), **size}, caption, alt, dpi)


def render(figures: Sequence[ReportFigure], jobs: int = 1) -> list[RenderedFigure | Exception]:
    """Draw figures, by several processes where there are many.

    Returns
    -------
    list of RenderedFigure or Exception
        In the order of ``figures``: the picture, or why it could not be drawn.
    """
    if jobs == 1 or len(figures) < MIN_PARALLEL:
        return _render(figures)
    from qwerties.execution.workers import Workers, run_tasks

    batches = ((figures[i : i + BATCH],) for i in range(0, len(figures), BATCH))
    drawn = dict(run_tasks(_render, batches, Workers(jobs)))
    return [picture for i in sorted(drawn) for picture in drawn[i]]


def _render(figures: Sequence[ReportFigure]) -> list[RenderedFigure | Exception]:
    from qwerties.plotting.style import png, svg

    drawn: list[RenderedFigure | Exception] = []
    for figure in figures:
        try:
            fig = figure.draw(**figure.arguments)
            content = compact_png(png(fig, figure.dpi)) if figure.dpi else compact_svg(svg(fig))
        except Exception as error:  # whatever the store's numbers led to: the other figures stand
            drawn.append(error)
            continue
        width, height = (round(float(inches) * CSS_DPI) for inches in fig.get_size_inches())
        drawn.append(RenderedFigure(content, "png" if figure.dpi else "svg", width, height))
    return drawn
