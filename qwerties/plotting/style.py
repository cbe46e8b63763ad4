"""One look for every picture: colours, a light card, and bytes that never vary.

The colours hold under simulated deuteranopia and protanopia (Machado et al. 2009); a test measures it.
Nothing here touches pyplot: figures are made by hand, and matplotlib's settings change only inside `look`.
"""

import functools
import io
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from qwerties.plotting.lettering import Canvas, SvgCanvas

CARD = "#fcfcfc"  # the light card that a figure brings along, on a light page and on a dark one
INK = "#23262e"
MUTED = "#636873"
FAINT = "#a0a3a9"
SPINE = "#b9bbbf"
GRID = "#e7e7e4"

CLASSES = ("#2b6cb0", "#c2560c")  # qwerties A, qwerties B
PROBABILITY = LinearSegmentedColormap.from_list(
    "probability", ["#a3c6e8", "#d3e3f2", CARD, "#f9dfca", "#f3b98f"], N=256
)  # of qwerties B: A's tint, the card at one half, B's tint
SHADES = np.rint(PROBABILITY(np.arange(256)) * 63.75).clip(max=63).astype(np.uint8) * np.uint8(4)
SHADES[:, 3] = 255  # the same as RGBA bytes, in steps of four: see `palette`
STATES = {
    "learned": "#0e7490",
    "slow": "#8cc5d6",
    "constant": "#f0b93a",
    "dead": "#343844",
    "diverged": "#c93a2b",
}
REFERENCE: dict[str, Any] = {"color": MUTED, "lw": 1.1, "ls": (0, (4, 2.5))}
WIDTH = 7.2  # of a figure, in inches
BAND = 0.22  # opacity of a band around a line


class Style(NamedTuple):
    """How one line looks; colour, marker and dash each tell it from the others."""

    color: str
    marker: str
    dash: Any


STYLES = (
    Style("#2467ad", "o", "-"),
    Style("#d9691e", "s", (0, (5, 1.6))),
    Style("#0b8f76", "^", (0, (1.3, 1.2))),
    Style("#343844", "D", (0, (6, 1.6, 1.3, 1.6))),
    Style("#c98bbd", "v", (0, (2.6, 1.2))),
    Style("#c9a227", "P", (0, (6, 1.4, 1.3, 1.4, 1.3, 1.4))),
    Style("#7a4b2e", "X", (0, (9, 2))),
)

SETTINGS: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so every machine has it
    "font.size": 9.5,
    "text.parse_math": False,  # a dollar in a run's name is a dollar
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.1,
    "svg.hashsalt": "qwerties",  # ids inside an SVG would be random without it
    "svg.fonttype": "path",  # an SVG in <img> has only the reader's fonts: outlines look the same everywhere
}
look = mpl.rc_context(SETTINGS)  # a decorator: matplotlib's settings for the time of one call


def styles(labels: Iterable[Hashable]) -> dict[Any, Style]:
    """Give each label its own look, in order, so that several figures can share it."""
    looks: dict[Any, Style] = {}
    for i, label in enumerate(dict.fromkeys(labels)):
        again = STYLES[(i + i // len(STYLES)) % len(STYLES)]  # colours come round with another marker
        looks[label] = STYLES[i % len(STYLES)]._replace(marker=again.marker)
    return looks


@look
def figure(
    width: float = WIDTH, height: float = 4.4, panels: int = 1, **kwargs: Any
) -> tuple[Figure, list[Axes]]:
    """Make a card, with panels side by side, that lays itself out.

    Parameters
    ----------
    width, height : float
        In inches of 100 dots.
    panels : int
        Number of axes.
    **kwargs
        For `Figure.subplots`, such as ``sharey=True``.

    Returns
    -------
    Figure, list of Axes
    """
    fig = Figure((width, height), dpi=100, facecolor=CARD, layout="constrained")
    return fig, list(fig.subplots(1, panels, squeeze=False, **kwargs)[0])


def rows_height(rows: int) -> float:
    """Height in inches of a figure that lists so many rows, such as `figures.outcome_bars`."""
    return 1.15 + 0.36 * max(rows, 2)


@look
def png(fig: Figure, dpi: float = 100) -> bytes:
    """Draw a figure as PNG, with the same bytes each time."""
    before = fig.dpi
    fig.set_dpi(dpi)
    try:
        canvas = Canvas(fig)
        canvas.draw()
        return encode(canvas, dpi)
    finally:
        fig.set_dpi(before)


@look
def svg(fig: Figure) -> bytes:
    """Draw a figure as SVG, with the same bytes each time; its text becomes outlines.

    `Figure.savefig` would draw it twice, the first time for the layout alone.
    """
    out = io.BytesIO()
    canvas = SvgCanvas(fig)
    with _laid_out(fig):
        canvas.print_svg(out)
    return _shortened(out.getvalue())


def built(build: Callable[..., Figure], arguments: Sequence[Any], dots: float | None = None) -> bytes:
    """Draw the figure that ``build(*arguments)`` is, as SVG, or as PNG of so many `dots` per inch."""
    fig = build(*arguments)
    return png(fig, dots) if dots else svg(fig)


@contextmanager
def _laid_out(fig: Figure) -> Iterator[None]:
    """Within the block a figure has the layout of an SVG, and draws without working it out again."""
    layout, dpi = fig.get_layout_engine(), fig.dpi
    try:
        if layout is not None:
            fig.set_dpi(72)  # what an SVG counts in; rasters inside it keep their own
            layout.execute(fig)
            fig.set_layout_engine("none")
            fig.set_dpi(dpi)
        yield
    finally:
        if layout is not None:
            fig.set_layout_engine(layout)
        fig.set_dpi(dpi)


def _shortened(svg: bytes) -> bytes:
    """Say the same in less: a coordinate has two decimals, and no line is indented."""
    return re.sub(rb'\b([1-9]\d*\.\d\d)\d+(?=[ \n"])', rb"\1", re.sub(rb"\n\s+", b"\n", svg))


def encode(canvas: Canvas, dpi: float = 100) -> bytes:
    """Turn what is drawn on a canvas into a PNG in the theme's colours.

    A palette fixed beforehand costs a tenth of one found for the picture, and does not band the shading;
    true colour takes twice as long to compress and three times the bytes.
    """
    rgba = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    out = io.BytesIO()
    indexed = rgba.convert("RGB").quantize(palette=palette(), dither=Image.Dither.NONE)
    indexed.save(out, "png", compress_level=3, dpi=(dpi, dpi))
    return out.getvalue()


@functools.cache
def palette() -> Image.Image:
    """At most 256 colours: the shading, and each ink in steps over what it is drawn on (its soft edges)."""
    ink, muted, card, blue = (np.array(to_rgb(color)) for color in (INK, MUTED, CARD, CLASSES[0]))
    grounds = (*PROBABILITY([0.0, 1.0])[:, :3], BAND * blue + (1 - BAND) * card)
    over: list[tuple[Any, Any, int]] = [(ink, card, 14), (muted, card, 9), (GRID, card, 2), (SPINE, card, 2)]
    for ground in grounds:
        over += [(ink, ground, 6), (muted, ground, 4)]
    over += [(color, ground, 5) for color in CLASSES for ground in (card, *grounds)]
    over += [pair for color in STATES.values() for pair in ((color, card, 5), (card, color, 4))]
    over += [(style.color, card, 5) for style in STYLES]
    colors = [card[None], *(ground[None] for ground in grounds), SHADES[:, :3] / 255]
    for top, ground, steps in over:
        share = np.linspace(1, 0, steps, endpoint=False)[:, None]
        colors.append(share * to_rgb(top) + (1 - share) * to_rgb(ground))
    # Pillow looks colours up in steps of four; those that lie on the steps it finds exactly.
    levels = np.rint(255 * np.vstack(colors)).astype(np.uint8) & ~np.uint8(3)
    image = Image.new("P", (1, 1))
    image.putpalette(np.unique(levels, axis=0).tobytes())
    return image


def dress(
    ax: Axes, grid: Any = "y", title: str = "", xlabel: str = "", ylabel: str = "", pad: float = 12
) -> None:
    """Give axes the theme's quiet frame: two light spines, short ticks, a faint grid behind the data."""
    ax.set_facecolor("none")
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=SPINE, linewidth=0.8, zorder=1)
    ax.tick_params(which="both", length=3, width=0.8, color=SPINE, labelcolor=MUTED, labelsize=9, pad=4)
    ax.minorticks_off()
    ax.grid(False)
    if grid:
        ax.grid(True, axis=grid, color=GRID, linewidth=0.8)
    ax.set_xlabel(plain(xlabel), color=INK, size=9.5, labelpad=6)
    ax.set_ylabel(plain(ylabel), color=INK, size=9.5, labelpad=6)
    if title:
        ax.set_title(plain(title, 104), loc="left", color=INK, size=11, pad=pad)


def plain(text: object, limit: int = 72) -> str:
    """Make any text fit to be drawn: one line, not too long, `?` for what the font cannot write."""
    line = " ".join(str(text).split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    return "".join(c if ord(c) in _glyphs() else "?" for c in line)


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


@functools.cache
def readable(color: str) -> str:
    """Darken a colour until text in it can be read on the card (contrast 4.5 to 1)."""
    r, g, b = to_rgb(color)
    while contrast(to_hex((r, g, b)), CARD) < 4.5:
        r, g, b = 0.95 * r, 0.95 * g, 0.95 * b
    return to_hex((r, g, b))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(color: str) -> float:
        c = np.array(to_rgb(color))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
