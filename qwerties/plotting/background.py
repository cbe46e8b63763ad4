"""Many pictures, fast: what they share is drawn once and kept, what differs is drawn on top.

A plot builds a *frame* (axes, ticks, labels, legend) by `frame`, and puts its *ink* on it: artists whose
zorder is `INK_ORDER` or more. Given axes, it draws as any plot does. Given a `Renderer` instead, it gets axes
whose frame was drawn before, and only its ink costs time. The bytes are the same either way.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Concatenate, NamedTuple, ParamSpec

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qwerties.plotting.lettering import Canvas
from qwerties.plotting.style import CARD, encode

P = ParamSpec("P")
INK_ORDER = 10


class Page(NamedTuple):
    """A card for one picture: its size, and where the axes lie (left, bottom, width, height), in inches."""

    width: float
    height: float
    axes: tuple[float, float, float, float]


def blank(page: Page) -> tuple[Figure, Axes]:
    """Make an empty card: `theme.png` of a plot on it gives the bytes that a `Renderer` gives.

    Returns
    -------
    Figure, Axes
    """
    fig = Figure((page.width, page.height), dpi=100, facecolor=CARD)
    left, bottom, width, height = page.axes
    box = (left / page.width, bottom / page.height, width / page.width, height / page.height)
    return fig, fig.add_axes(box)


class Renderer:
    """Draws many pictures: ``renderer(plot, ...)`` is `theme.png` of ``plot(ax, ...)``, but far faster.

    A picture does not depend on what was drawn before. One renderer serves one thread.

    Parameters
    ----------
    keep : int
        Frames to remember, about 2 MB each; the one used longest ago goes first.
    """

    def __init__(self, keep: int = 40) -> None:
        self.keep = keep
        self._frames: OrderedDict[Hashable, tuple[Axes, Canvas, Any]] = OrderedDict()

    def __call__(self, plot: Callable[Concatenate[Any, P], Axes], *args: P.args, **kwargs: P.kwargs) -> bytes:
        """Draw a plot of `plots`, called with these arguments after its `ax`.

        Returns
        -------
        bytes
            A PNG.
        """
        ax = plot(self, *args, **kwargs)
        _, canvas, pixels = next(reversed(self._frames.values()))
        canvas.restore_region(pixels)
        for artist in sorted(_ink(ax), key=lambda artist: artist.get_zorder()):
            ax.draw_artist(artist)
        return encode(canvas)

    def frame(self, page: Page, build: Callable[..., None], settings: tuple[Hashable, ...]) -> Axes:
        """Give axes with this frame and no ink, from memory where it was built before."""
        key = (page, build, settings)
        if key not in self._frames:
            fig, ax = blank(page)
            build(ax, *settings)
            canvas = Canvas(fig)
            canvas.draw()
            self._frames[key] = ax, canvas, canvas.copy_from_bbox(fig.bbox)
            if len(self._frames) > self.keep:
                _, (_, oldest, _) = self._frames.popitem(last=False)
                # a figure is full of cycles, and waits long to be collected: its pixels need not
                del oldest.renderer
        self._frames.move_to_end(key)
        ax = self._frames[key][0]
        title = ax.set_title("", loc="left", zorder=1)
        for artist in _ink(ax):  # of the picture before, also where that one failed half-way
            if artist is not title:
                artist.remove()
        return ax


def _ink(ax: Axes) -> list[Artist]:
    return [artist for artist in ax.get_children() if artist.get_zorder() >= INK_ORDER]


def frame(ax: Axes | Renderer, page: Page, build: Callable[..., None], *settings: Hashable) -> Axes:
    """Give axes with a frame: build it on given axes, or have a renderer find one.

    Parameters
    ----------
    ax : Axes or Renderer
    page : Page
        The card that a renderer draws on.
    build : callable
        ``build(ax, *settings)`` makes the frame, with limits fixed, of artists below `INK_ORDER`.
    *settings : hashable
        All that the frame depends on.
    """
    if isinstance(ax, Renderer):
        return ax.frame(page, build, settings)
    build(ax, *settings)
    return ax
