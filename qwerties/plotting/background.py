"""Many pictures, fast, by blitting: the background that pictures share is drawn once, then restored.

A background (axes, ticks, legend) depends on a few hashable settings; a foreground on the data. Drawing
whole pictures would take about five times as long, more than the training of the networks that they show.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qwerties.plotting.style import encode, style

DPI = 100

Size = tuple[float, float]  # width and height in inches
Box = tuple[float, float, float, float]  # left, bottom, width, height in inches


def blitted_png(
    size: Size,
    box: Box,
    background: Callable[..., None],
    settings: tuple[Hashable, ...],
    foreground: Callable[[Axes], Any],
) -> bytes:
    """Draw a foreground over a background as PNG of 100 dots per inch; the bytes do not depend on earlier calls.

    Parameters
    ----------
    size : (width, height)
        Of the picture, in inches.
    box : (left, bottom, width, height)
        Of the axes, in inches.
    background : callable
        ``background(ax, *settings)`` draws what pictures share, and fixes the limits.
    settings : tuple of hashable
        All that the background depends on.
    foreground : callable
        ``foreground(ax)`` adds artists to the axes, and changes nothing else.
    """
    with style():
        ax, canvas, pixels, shared = _drawn(size, box, background, settings)

        def added() -> list[Artist]:
            return [artist for artist in ax.get_children() if artist not in shared]

        try:
            foreground(ax)
            canvas.restore_region(pixels)
            for artist in sorted(added(), key=Artist.get_zorder):
                ax.draw_artist(artist)
        finally:
            for artist in added():
                artist.remove()
    return encode(canvas, DPI)


@functools.lru_cache(maxsize=40)  # about 2 MB each
def _drawn(
    size: Size, box: Box, background: Callable[..., None], settings: Any
) -> tuple[Axes, Any, Any, frozenset[Artist]]:
    fig = Figure(size)
    fig.set_layout_engine("none")
    canvas = FigureCanvasAgg(fig)
    left, bottom, width, height = box
    ax = fig.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]))
    background(ax, *settings)
    ax.autoscale(False)
    canvas.draw()
    return ax, canvas, canvas.copy_from_bbox(fig.bbox), frozenset(ax.get_children())
