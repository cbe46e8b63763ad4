"""Text on pictures, a line at a time.

Matplotlib loads and hints each letter three times over and blends it by itself, which took half the time of a picture
of dots: Pillow's FreeType writes the same outlines, hinted alike, at a tenth of that. In an SVG it shaped each line
twice and each figure's letters anew, half the time again: letters and pairs of them are measured once here. Ligatures
are not made.
"""

import functools
import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, TextIO

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.colors import to_hex
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font, Kerning, LoadFlags
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import ImageFont


class Line(NamedTuple):
    """One line of text, drawn: its opacity (rows, columns), and how it lies about the start of its baseline."""

    ink: NDArray[np.uint8]
    left: int
    top: int
    """Above the baseline it is negative."""
    width: float
    """To where the next letter would begin."""


class Canvas(FigureCanvasAgg):
    """A canvas whose text Pillow writes."""

    _size: tuple[int, int, float] | None = None

    def get_renderer(self) -> RendererAgg:
        """Give this canvas's renderer, made anew where the figure's size has changed."""
        size = (*self.get_width_height(physical=True), self.figure.dpi)
        if size != self._size:
            self.renderer, self._size = _Renderer(*size), size
        return self.renderer


class _Renderer(RendererAgg):
    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: Any) -> Any:
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)
        line = self._line(s, prop)
        rows, columns = line.ink.shape
        return max(line.width, line.left + columns), rows, line.top + rows

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,
        mtext: Text | None = None,
    ) -> None:
        if ismath or angle:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        line = self._line(s, prop)
        rgba = np.empty((*line.ink.shape, 4), np.uint8)
        *color, opacity = gc.get_rgb()
        rgba[..., :3] = np.rint(255 * np.array(color))
        rgba[..., 3] = opacity * line.ink[::-1]
        bottom = round(y) + line.top + len(line.ink)  # from above, where images are placed from below
        self.draw_image(gc, round(x) + line.left, int(self.height) - bottom, rgba)

    def _line(self, s: str, prop: FontProperties) -> Line:
        return _write(s, findfont(prop), prop.get_size_in_points() * self.dpi / 72)


def width(text: str, prop: FontProperties) -> float:
    """Measure the longest line of a text, in points."""
    font, scale = _outlines(findfont(prop)), prop.get_size_in_points() / EM
    return max(map(font.width, text.split("\n"))) * scale


@functools.lru_cache(256)
def _write(text: str, path: str, size: float) -> Line:
    """Write a line of this many dots an em."""
    font = _font(path, size)
    mask, (left, top) = font.getmask2(text, "L", anchor="ls")
    ink = np.frombuffer(bytes(mask), np.uint8).reshape(mask.size[::-1])
    return Line(ink, left, top, font.getlength(text))


@functools.lru_cache(64)
def _font(path: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


# Outlines

EM = 2048
"""Units of an em that outlines are told in; most TrueType fonts', so that coordinates are whole."""


class SvgCanvas(FigureCanvasSVG):
    """A canvas whose text is outlines, each letter of a figure told once."""

    def print_svg(self, out: BinaryIO, **_: Any) -> None:  # type: ignore[override]  # nothing else is asked for
        """Write the figure as SVG."""
        text, dpi, (width, height) = io.StringIO(), self.figure.dpi, self.figure.get_size_inches()
        self.figure.dpi = 72
        vectors = _SvgRenderer(72 * width, 72 * height, text, dpi)
        renderer: Any = MixedModeRenderer(self.figure, width, height, dpi, vectors)
        self.figure.draw(renderer)
        renderer.finalize()
        out.write(text.getvalue().encode())


class _SvgRenderer(RendererSVG):
    def __init__(self, width: float, height: float, out: TextIO, dpi: float) -> None:
        self._out = out
        self._told: dict[tuple[str, str], str] = {}  # ids of letters, by font and sign
        unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        super().__init__(width, height, out, image_dpi=dpi, metadata=unsaid)

    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: Any) -> Any:
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)
        font, scale = _outlines(findfont(prop)), prop.get_size_in_points() / EM
        low, high = font.reach(s)
        return font.width(s) * scale, (high - low) * scale, -low * scale

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,
        mtext: Text | None = None,
    ) -> None:
        if ismath or gc.get_url() or gc.get_clip_rectangle() or gc.get_clip_path()[0]:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        path = findfont(prop)
        font, scale = _outlines(path), prop.get_size_in_points() / EM
        new = []
        for sign in dict.fromkeys(s):
            outline = font.letter(sign).outline
            if outline and (path, sign) not in self._told:
                self._told[path, sign] = name = f"g{len(self._told)}"
                new.append(f'<path id="{name}" d="{outline}"/>')
        letters = [
            f'<use href="#{self._told[path, sign]}" x="{at:.0f}"/>'
            for sign, at in font.places(s)
            if (path, sign) in self._told
        ]
        red, green, blue, opacity = gc.get_rgb()
        faded = f' opacity="{opacity:g}"' if opacity != 1 else ""
        turned = f" rotate({-angle:g})" if angle else ""
        place = f"translate({x:.2f} {y:.2f}){turned} scale({scale:.6g} {-scale:.6g})"
        self.writer.comment(s)  # it closes the element before, so that markup may follow
        if new:
            self._out.write(f"<defs>{''.join(new)}</defs>\n")
        self._out.write(
            f'<g fill="{to_hex((red, green, blue))}"{faded} transform="{place}">{"".join(letters)}</g>\n'
        )


class Letter(NamedTuple):
    """One letter in an em's units: how far to the next, lowest and highest point, and its outline as a path's data."""

    advance: float
    low: float
    high: float
    outline: str


class _Outlines:
    """Letters of a font, measured as they are asked for; all lengths are in units of `EM` to the em."""

    def __init__(self, path: str) -> None:
        self._font = FT2Font(path)
        self._font.set_size(EM, 72)
        self.letter = functools.cache(self._letter)
        self._nearer = functools.cache(self._kerning)

    def places(self, text: str) -> Iterator[tuple[str, float]]:
        """Give each letter, and where it begins."""
        at, before = 0.0, ""
        for sign in text:
            at += self._nearer(before, sign) if before else 0
            yield sign, at
            at += self.letter(sign).advance
            before = sign

    def width(self, text: str) -> float:
        """Measure a line to where the next letter would begin."""
        *_, (last, at) = [("", 0.0), *self.places(text)]
        return at + self.letter(last).advance if last else 0.0

    def reach(self, text: str) -> tuple[float, float]:
        """Find the lowest and the highest point of a line; (0, 0) where there is no ink."""
        letters = [letter for letter in map(self.letter, text) if letter.outline]
        return min((one.low for one in letters), default=0), max((one.high for one in letters), default=0)

    def _letter(self, sign: str) -> Letter:
        glyph = self._font.load_char(ord(sign), LoadFlags.NO_HINTING)
        _, low, _, high = (value / 64 for value in glyph.bbox)
        return Letter(glyph.linearHoriAdvance / 65536, low, high, _path_data(*self._font.get_path()))

    def _kerning(self, left: str, right: str) -> float:
        one, other = (self._font.get_char_index(ord(sign)) for sign in (left, right))
        return self._font.get_kerning(one, other, Kerning.UNFITTED) / 64


_outlines = functools.cache(_Outlines)

COMMANDS = {1: ("M", 1), 2: ("L", 1), 3: ("Q", 2), 4: ("C", 3), 79: ("Z", 1)}
"""Of a path by matplotlib's codes, with the points that each takes."""


def _path_data(vertices: NDArray[np.float64], codes: NDArray[np.integer]) -> str:
    """Tell an outline in SVG's words."""
    words, at = [], 0
    while at < len(codes):
        command, points = COMMANDS[int(codes[at])]
        numbers = vertices[at : at + points].ravel() if command != "Z" else ()
        words.append(command + " ".join(f"{value:g}" for value in numbers))
        at += points
    return "".join(words)
