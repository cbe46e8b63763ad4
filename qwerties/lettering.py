"""Text on pictures of dots, a line at a time.

Matplotlib loads and hints each letter three times over and blends it by itself, which took half the time of a picture.
Pillow's FreeType writes the same outlines, hinted alike, at a tenth of that.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.font_manager import FontProperties, findfont
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
