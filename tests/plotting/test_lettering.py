"""Text as we write it against matplotlib's own: the same place, size, colour and weight."""

import io
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from pictures import shapes
from qwerties.plotting.lettering import Canvas, SvgCanvas

from qwerties.plotting import style as theme

WORDS = "seed 17 · learned · bce · d=4 · 10⁻⁶ x₀ “Ångström” ÅÄg|"


def drawn(canvas_of, text, **kwargs):
    """A picture of nothing but a text, from above, and the extent that the text says it has."""
    fig = Figure((7.2, 1.2), dpi=100, facecolor="white")
    kwargs = {"x": 0.5, "y": 0.5, "color": "black"} | kwargs
    words = fig.text(s=text, **kwargs)
    canvas = canvas_of(fig)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int), words.get_window_extent()


def ink_box(picture):
    """First and last row and column that have ink."""
    rows, columns = (np.flatnonzero((picture < 200).any(axis=(2, axis))) for axis in (1, 0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


@theme.look
@pytest.mark.parametrize("size", [8.5, 9, 11.5])
@pytest.mark.parametrize("style", ["normal", "italic"])
@pytest.mark.parametrize("ha", ["left", "center", "right"])
@pytest.mark.parametrize("va", ["top", "center", "baseline", "bottom"])
def test_text_lies_where_matplotlib_puts_it(size, style, ha, va):
    x = {"left": 0.1, "center": 0.5, "right": 0.9}[ha]
    ours, theirs = (
        drawn(canvas, WORDS, x=x, size=size, style=style, ha=ha, va=va)
        for canvas in (Canvas, FigureCanvasAgg)
    )
    long = 0.02 * np.ptp(ink_box(theirs[0])[2:])  # whole dots for every letter add up
    assert np.all(np.abs(ink_box(ours[0]) - ink_box(theirs[0])) <= [1, 1, long, long])
    assert (255 - ours[0]).sum() == pytest.approx((255 - theirs[0]).sum(), rel=0.05)
    np.testing.assert_allclose(ours[1].size, theirs[1].size, atol=max(long, 1.5))


@theme.look
def test_text_keeps_within_its_extent():
    picture, extent = drawn(Canvas, WORDS)
    top, bottom, left, right = ink_box(picture)
    assert extent.x0 - 1 <= left <= right <= extent.x1 + 1
    assert extent.y0 - 1 <= len(picture) - bottom <= len(picture) - top <= extent.y1 + 1


@pytest.mark.parametrize("color", ["black", "#c2560c", (1, 0, 0, 0.5)], ids=str)
@pytest.mark.parametrize("alpha", [None, 0.5])
def test_colours_and_opacity_are_kept(color, alpha):
    ours, theirs = (
        drawn(canvas, "████", size=20, color=color, alpha=alpha)[0] for canvas in (Canvas, FigureCanvasAgg)
    )
    assert np.abs(ours[60, 360] - theirs[60, 360]).max() <= 2


def test_text_on_its_side_is_matplotlibs():
    ours, theirs = (drawn(canvas, "loss (log)", rotation=90)[0] for canvas in (Canvas, FigureCanvasAgg))
    assert np.abs(ink_box(ours) - ink_box(theirs)).max() <= 2


@pytest.mark.parametrize("text", ["", " ", "\n", "two\nlines", "\u200b"])
def test_text_without_ink_and_of_two_lines(text):
    ours, theirs = (drawn(canvas, text)[0] for canvas in (Canvas, FigureCanvasAgg))
    assert (ours < 200).any() == (theirs < 200).any()


def test_a_figure_that_changes_its_size_is_drawn_anew():
    fig = Figure((2, 1), dpi=100)
    canvas = Canvas(fig)
    for dpi in (100, 200, 100):
        fig.set_dpi(dpi)
        canvas.draw()
        assert np.asarray(canvas.buffer_rgba()).shape == (dpi, 2 * dpi, 4)


def test_dots_are_as_many_as_the_canvas_says():
    canvas = Canvas(Figure((1, 4.56), dpi=100))  # of 455.99999999999994 dots
    canvas.draw()
    assert np.asarray(canvas.buffer_rgba()).shape == (*canvas.get_width_height()[::-1], 4)


# Outlines


@theme.look
def outlined(canvas_of, text, **kwargs):
    """The shapes of a text, of an SVG that holds nothing else; the extent that it says it has; the SVG."""
    fig = Figure((7.2, 1.2), dpi=72, facecolor="none")
    fig.patch.set_visible(False)
    words = fig.text(s=text, **{"x": 0.5, "y": 0.5} | kwargs)
    out = io.BytesIO()
    canvas_of(fig).print_svg(out)
    return shapes(out.getvalue()), words.get_window_extent(), out.getvalue().decode()


@pytest.mark.parametrize("text", [WORDS, "AVATAR To Ty 1,000", "two · lines\nof Ty|", "−1"])
@pytest.mark.parametrize(
    "look",
    [
        {},
        {"size": 8.5, "ha": "center", "va": "center"},
        {"size": 12, "ha": "right", "va": "top", "weight": "bold"},
        {"size": 9, "rotation": 90, "va": "bottom"},
        {"rotation": 30, "style": "italic"},
        {"clip_on": True},
    ],
    ids=str,
)
def test_outlines_are_those_of_matplotlib(text, look):
    (ours, extent, _), (theirs, expected, _) = (
        outlined(canvas, text, **look) for canvas in (SvgCanvas, FigureCanvasSVG)
    )
    assert len(ours) == len(theirs) > 0
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=0.06)  # of a point, 1/72 inch
    np.testing.assert_allclose(extent.bounds, expected.bounds, atol=0.06)


@pytest.mark.parametrize("text", ["", " ", "\n", "a b", "\u200b"])
def test_outlines_of_little_ink(text):
    (ours, _, _), (theirs, _, _) = (outlined(canvas, text) for canvas in (SvgCanvas, FigureCanvasSVG))
    assert len(ours) == len(theirs) == len(text.replace("\u200b", "").split())


def test_ligatures_are_letters():
    assert len(outlined(SvgCanvas, "fi ffi")[0]) == 5


def test_a_letter_is_told_once_for_each_font():
    fig = Figure((7.2, 1.2))
    for y, weight in ((0.2, "normal"), (0.5, "bold"), (0.8, "normal")):
        fig.text(0.1, y, "aa-b a", weight=weight)
    out = io.BytesIO()
    SvgCanvas(fig).print_svg(out)
    told = re.findall(r'<path id="(g\d+)"', out.getvalue().decode())
    assert len(told) == len(set(told)) == 6
    assert out.getvalue().count(b"<use") == 15


def test_what_text_says_is_no_markup():
    hostile = "</g><script>--> & \"'"
    ours, _, svg = outlined(SvgCanvas, hostile)
    assert "<script" not in svg
    assert len(ours) == len(hostile.replace(" ", ""))


@pytest.mark.parametrize("color", ["black", "#c2560c", (1, 0, 0, 0.5)], ids=str)
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_outlines_have_the_colour_and_opacity(color, alpha):
    _, _, svg = outlined(SvgCanvas, "words", color=color, alpha=alpha)
    (fill, opacity) = re.search(r'<g fill="(#\w{6})"(?: opacity="([\d.]+)")?', svg).groups()
    assert fill == {"black": "#000000", "#c2560c": "#c2560c"}.get(color, "#ff0000")
    assert float(opacity or 1) == (alpha or (0.5 if isinstance(color, tuple) else 1))
