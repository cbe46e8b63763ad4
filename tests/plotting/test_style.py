import io
import itertools
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pictures as looks
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from qwerties.plotting import style as theme

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
EYES = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
TO_XYZ = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])


def lab(color, eye="normal"):
    c = np.array(to_rgb(color))
    linear = np.clip(
        np.array(EYES[eye]) @ np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4), 0, 1
    )
    f = np.cbrt(TO_XYZ @ linear / TO_XYZ.sum(axis=1))  # good enough above black
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize(
    "colors",
    [theme.CLASSES, tuple(theme.STATES.values()), tuple(style.color for style in theme.STYLES[:4])],
    ids=["classes", "states", "lines"],
)
def test_colours_that_stand_side_by_side_differ_for_every_eye(colors, eye):
    for one, other in itertools.combinations(colors, 2):
        assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 25, (one, other)


@pytest.mark.parametrize("eye", EYES)
def test_the_two_ends_of_the_shading_differ_for_every_eye(eye):
    low, half, high = (theme.PROBABILITY(p)[:3] for p in (0.0, 0.5, 1.0))
    assert np.linalg.norm(lab(low, eye) - lab(high, eye)) > 25
    assert min(np.linalg.norm(lab(end, eye) - lab(half, eye)) for end in (low, high)) > 15


def test_contrast_is_that_of_wcag():
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#ffffff", "#777777") == pytest.approx(4.48, abs=0.005)  # the known near miss


def test_text_can_be_read_on_the_card():
    for color in (theme.INK, theme.MUTED, *theme.CLASSES, *(style.color for style in theme.STYLES)):
        assert theme.contrast(theme.readable(color), theme.CARD) >= 4.5


def test_styles_differ_in_every_respect_and_then_in_some():
    seven = theme.styles("abcdefg").values()
    for respect in range(3):
        assert len({str(style[respect]) for style in seven}) == 7
    assert len(set(map(str, theme.styles(range(20)).values()))) == 20
    assert list(theme.styles(["b", "a", "b"])) == ["b", "a"]


def test_palette_holds_all_theme_colours_and_finds_them_exactly():
    palette = np.array(theme.palette().getpalette(), np.uint8).reshape(-1, 3)
    assert len(palette) <= 256
    found = Image.fromarray(palette[None]).quantize(palette=theme.palette(), dither=Image.Dither.NONE)
    np.testing.assert_array_equal(np.asarray(found.convert("RGB"))[0], palette)
    blue, card = np.array(to_rgb(theme.CLASSES[0])), np.array(to_rgb(theme.CARD))
    band = theme.BAND * blue + (1 - theme.BAND) * card
    for color in (theme.CARD, theme.INK, theme.GRID, *theme.CLASSES, *theme.STATES.values(), band):
        distance = np.abs(palette.astype(int) - np.rint(255 * np.array(to_rgb(color)))).max(axis=1)
        assert distance.min() <= 3, color


def test_shading_is_the_colour_map_within_two_levels():
    exact = 255 * theme.PROBABILITY(np.arange(256))
    assert np.abs(theme.SHADES.astype(float) - exact).max() <= 3
    assert (theme.SHADES[[127, 128], :3] == 252).all()  # one half is the card


@pytest.mark.parametrize(
    ("text", "limit", "drawn"),
    [
        ("mse · relu", 72, "mse · relu"),
        ("two\nlines\tand  a gap", 72, "two lines and a gap"),
        ("abcdef", 5, "abcd…"),
        ("rocket \U0001f680", 72, "rocket ?"),
        (3, 72, "3"),
        ("\x00", 72, "?"),
    ],
)
def test_plain_text(text, limit, drawn):
    assert theme.plain(text, limit) == drawn


def test_any_text_can_be_a_title():
    for text in ("<script>$x_{$ אבג عربي 漢字\n", "x" * 10_000):
        fig, (ax,) = theme.figure()
        theme.dress(ax, title=text, xlabel=text)
        assert theme.png(fig)
        assert theme.svg(fig)


def test_bytes_do_not_vary_and_neither_output_disturbs_the_other():
    def draw():
        fig, (ax,) = theme.figure()
        theme.dress(ax, title="t")
        ax.plot([1, 2], [3, 4])
        return fig

    fig, other = draw(), draw()
    png, svg = theme.png(fig), theme.svg(fig)
    assert (theme.svg(other), theme.png(other)) == (svg, png)
    assert (theme.png(fig), theme.svg(fig)) == (png, svg)
    assert b"<metadata" not in svg
    assert b"<text" not in svg  # outlines
    assert Image.open(io.BytesIO(png)).size == (720, 440)


@theme.look
def saved(fig):
    """The same figure by matplotlib's own way, which lays it out by drawing it once more."""
    out = io.BytesIO()
    fig.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return out.getvalue()


@pytest.mark.parametrize("rasterized", [False, True])
def test_a_figure_drawn_once_is_as_matplotlib_saves_it(rasterized):
    def made():
        fig, (left, right) = theme.figure(panels=2, sharey=True)
        left.plot([1, 1000], [0.1, 3e6], rasterized=rasterized)
        left.set(yscale="log", ylabel="a long name of an axis")
        right.annotate("beside it", (1, 2), (20, 0), textcoords="offset points")
        right.set_title("right", loc="left")
        return fig

    fig = made()
    ours, theirs = looks.shapes(theme.svg(fig)), looks.shapes(saved(made()))
    assert [kind for kind, _ in ours] == [kind for kind, _ in theirs]
    assert {"path"} | ({"image"} if rasterized else set()) == {kind for kind, _ in ours}
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=0.1)  # of a point, 1/72 inch
    assert (fig.dpi, fig.get_layout_engine() is not None) == (100, True)


def test_a_short_svg_says_the_same(monkeypatch):
    def draw():
        fig, (ax,) = theme.figure()
        theme.dress(ax, title="(0.123456 of $3.14159) −7", xlabel="x")
        ax.plot([1, 2, 1 / 3], [3.123456, 4, 1e-3], "-s")
        return theme.svg(fig)

    short = draw()
    monkeypatch.setattr(theme, "_shortened", lambda svg: svg)
    whole = draw()
    assert len(short) < 0.95 * len(whole)
    for (kind, one), (same, other) in zip(looks.shapes(short), looks.shapes(whole), strict=True):
        assert kind == same
        np.testing.assert_allclose(one, other, atol=0.01)
    elements = list(ElementTree.fromstring(short).iter())
    ids = {element.get("id") for element in elements}
    told = [
        value[1:] for element in elements for key, value in element.attrib.items() if key.endswith("href")
    ]
    assert told
    assert set(told) <= ids


def test_dpi_scales_the_picture():
    fig, _ = theme.figure(3, 2)
    assert int.from_bytes(theme.png(fig, dpi=200)[16:20], "big") == 600
    assert fig.dpi == 100


def test_settings_are_left_as_they_were():
    before = dict(mpl.rcParams)
    fig, (ax,) = theme.figure()
    theme.dress(ax)
    theme.png(fig)
    theme.svg(fig)
    assert dict(mpl.rcParams) == before


def test_neither_pyplot_nor_seaborn_nor_torch_is_imported():
    code = "import sys, qwerties.plotting.network, qwerties.plotting.compare; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"matplotlib.pyplot", "seaborn", "torch", "mlflow"} & set(modules.split())
