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

SVG, PNG = "image/svg+xml", "image/png"
CSS_DPI = 100  # CSS pixels per inch of a figure
MIN_PARALLEL = 8  # figures: starting processes takes about as long as drawing so many
BATCHES = 2  # batches of figures per process, so that one with slow figures does not end last


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the page before it is drawn.

    Attributes
    ----------
    draw : callable
        A function of a module of `plotting`, which loads neither the store nor torch: ``draw(**arguments)``.
    arguments : mapping of str to object
        Picklable: frames, numbers, words.
    caption : str
    alt : str
        Its content in words.
    dpi : float or None
        Dots per inch of a PNG, for what would be large as SVG; None for SVG.
    """

    draw: Callable[..., Figure]
    arguments: Mapping[str, Any]
    caption: str
    alt: str
    dpi: float | None = None


def figure_of(
    parts: Sequence[Panel],
    caption: str,
    alt: str,
    *,
    dpi: float | None = None,
    **size: Any,
) -> ReportFigure:
    """Make a figure of plots side by side; ``size`` goes to `plotting.axes.panels`."""
    from qwerties.plotting.axes import panels

    return ReportFigure(panels, {"parts": list(parts), **size}, caption, alt, dpi)


@dataclass(frozen=True)
class RenderedFigure:
    """A figure's bytes, their media type, and the size in CSS pixels."""

    content: bytes
    mime: str
    width: int
    height: int

    @property
    def src(self) -> Markup:
        """The picture as a data URI, ready for an attribute."""
        return data_uri(self.content, self.mime)


def render(figures: Sequence[ReportFigure], jobs: int = 1) -> list[RenderedFigure | Exception]:
    """Draw figures, by several processes where there are many.

    Parameters
    ----------
    figures : sequence of ReportFigure
    jobs : int
        Processes that draw.

    Returns
    -------
    list of RenderedFigure or Exception
        In the order of ``figures``: the picture, or why it could not be drawn.
    """
    tasks = [(figure.draw, dict(figure.arguments), figure.dpi) for figure in figures]
    if jobs == 1 or len(tasks) < MIN_PARALLEL:
        return [_render(*task) for task in tasks]
    from qwerties.execution.workers import Workers, run_tasks

    step = max(1, -(-len(tasks) // (BATCHES * jobs)))
    batches = [(tasks[i : i + step],) for i in range(0, len(tasks), step)]
    drawn = dict(run_tasks(_render_all, batches, Workers(jobs)))
    return [picture for i in range(len(batches)) for picture in drawn[i]]


def _render_all(tasks: Sequence[tuple]) -> list[RenderedFigure | Exception]:
    return [_render(*task) for task in tasks]


def _render(
    draw: Callable[..., Figure], arguments: Mapping[str, Any], dpi: float | None
) -> RenderedFigure | Exception:
    from qwerties.plotting.style import png, svg

    try:
        fig = draw(**arguments)
        content = compact_png(png(fig, dpi)) if dpi else compact_svg(svg(fig))
    except Exception as error:  # whatever the store's numbers led to: the other figures stand
        return error
    width, height = (round(float(inches) * CSS_DPI) for inches in fig.get_size_inches())
    return RenderedFigure(content, PNG if dpi else SVG, width, height)
