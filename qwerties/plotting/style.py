"""The look of every picture: colours, one style sheet, and bytes that never vary.

The colours differ under simulated deuteranopia and protanopia (Machado et al. 2009); a test measures it.
Nothing here uses pyplot, and a user's matplotlib settings have no influence inside `style`.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from qwerties.errors import clean

SHEET = mpl.rc_params_from_file(Path(__file__).with_name("qwerties.mplstyle"), use_default_template=False)

CARD: str = to_hex(SHEET["figure.facecolor"])  # the light card of a figure, on a light and on a dark page
INK: str = to_hex(SHEET["text.color"])
MUTED: str = to_hex(SHEET["xtick.labelcolor"])
SPINE: str = to_hex(SHEET["axes.edgecolor"])
GRID: str = to_hex(SHEET["grid.color"])
FAINT = "#a0a3a9"

CLASSES = ("#2b6cb0", "#c2560c")  # qwerties A, qwerties B
PROBABILITY = LinearSegmentedColormap.from_list(
    "probability", ["#a3c6e8", "#d3e3f2", CARD, "#f9dfca", "#f3b98f"], N=256
)  # of qwerties B: A's tint, the card at one half, B's tint
STATES = {
    "learned": "#0e7490",
    "slow": "#8cc5d6",
    "constant": "#f0b93a",
    "dead": "#343844",
    "diverged": "#c93a2b",
}
REFERENCE: dict[str, Any] = {"color": MUTED, "lw": 1.1, "ls": (0, (4, 2.5))}
BAND = 0.22  # opacity of a band around a line
WIDTH, WIDE = 7.2, 9.6  # of a figure with one panel and with several, in inches of 100 CSS pixels


class Style(NamedTuple):
    """How one line looks: colour, marker and dash pattern each identify it."""

    color: str
    marker: str
    ls: Any  # as matplotlib takes it: solid, or lengths of dashes and gaps in line widths


STYLES = (
    Style("#2467ad", "o", "-"),
    Style("#d9691e", "s", (0, (5, 1.6))),
    Style("#0b8f76", "^", (0, (1.3, 1.2))),
    Style("#343844", "D", (0, (6, 1.6, 1.3, 1.6))),
    Style("#c98bbd", "v", (0, (2.6, 1.2))),
    Style("#c9a227", "P", (0, (6, 1.4, 1.3, 1.4, 1.3, 1.4))),
    Style("#7a4b2e", "X", (0, (9, 2))),
)

_active = ContextVar("active", default=False)


@contextmanager
def style() -> Iterator[None]:
    """Apply matplotlib's defaults and the style sheet inside the block, then restore the user's settings.

    A block inside another costs nothing.
    """
    if _active.get():
        yield
        return
    token = _active.set(True)
    try:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(SHEET)
            yield
    finally:
        _active.reset(token)


def styles(labels: Iterable[Hashable]) -> dict[Any, Style]:
    """Assign each label its own style, in order, so that several figures can share it."""
    assigned: dict[Any, Style] = {}
    for i, label in enumerate(dict.fromkeys(labels)):
        shifted = STYLES[(i + i // len(STYLES)) % len(STYLES)]  # repeated colours get another marker
        assigned[label] = STYLES[i % len(STYLES)]._replace(marker=shifted.marker)
    return assigned


def png(fig: Figure, dpi: float = 100) -> bytes:
    """Render a figure as PNG, with the same bytes each time."""
    with style():
        fig.set_dpi(dpi)
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
    return encode(canvas, dpi)


def encode(canvas: FigureCanvasAgg, dpi: float) -> bytes:
    """Write what is drawn on a canvas as PNG of 256 colours: half the bytes and the time of true colour."""
    rgb = Image.frombytes("RGB", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBX")
    image = rgb.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    out = io.BytesIO()
    image.save(out, "png", compress_level=3, dpi=(dpi, dpi))
    return out.getvalue()


def svg(fig: Figure) -> bytes:
    """Render a figure as SVG, with the same bytes each time."""
    out = io.BytesIO()
    with style():
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        fig.savefig(out, format="svg", dpi=150, metadata=no_metadata)  # of rasterised parts
    return _shortened(out.getvalue())


def _shortened(content: bytes) -> bytes:
    """Write an SVG in two thirds of its bytes: two decimals, short names, no blanks in paths, no unused ids."""
    content = re.sub(rb"\n\s*", b"\n", content)
    content = re.sub(rb"\b([1-9]\d*\.\d\d)\d+", rb"\1", content)
    content = re.sub(rb" ?\n?\b([MLQCz])\b ?(?=[-\d\nMLQCz\"])", rb"\1", content)
    content = re.sub(rb'transform="translate\((-?[\d.]+) 0\)"', rb'x="\1"', content)
    content = re.sub(rb' id="[a-z]\w*_\d+"', b"", content)
    return content.replace(b"DejaVuSans-", b"g").replace(b"xlink:href", b"href")


def plain(text: object, limit: int = 72) -> str:
    """Return text that can be drawn: one line, cut to a length, `?` for what the font cannot write."""
    return "".join(c if ord(c) in _glyphs() else "?" for c in clean(text, limit))


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
    """Return the contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(color: str) -> float:
        c = np.array(to_rgb(color))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
