import io
import itertools
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from qwerties.plotting import style as theme
from qwerties.plotting.axes import panels
from qwerties.plotting.compare import curve_lines
from qwerties.scoring.states import STATES

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


def lab(color, eye):
    c = np.array(to_rgb(color))
    linear = np.array(EYES[eye]) @ np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear, 0, 1)
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


def test_every_state_has_a_colour():
    assert tuple(theme.STATES) == STATES


def test_styles_differ_in_every_respect_and_then_in_some():
    seven = theme.styles("abcdefg").values()
    for respect in range(3):
        assert len({str(style[respect]) for style in seven}) == 7
    assert len(set(map(str, theme.styles(range(20)).values()))) == 20
    assert list(theme.styles(["b", "a", "b"])) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "limit", "drawn"),
    [
        ("mse · relu", 72, "mse · relu"),
        ("two\nlines\tand  a gap", 72, "two lines and a gap"),
        ("abcdef", 5, "abcd…"),
        ("rocket \U0001f680", 72, "rocket ?"),
        (3, 72, "3"),
        ("\x00", 72, "\ufffd"),
    ],
)
def test_plain_text(text, limit, drawn):
    assert theme.plain(text, limit) == drawn


def example(title="t", xlabel="x"):
    words = {"title": title, "xlabel": xlabel}
    return panels([(curve_lines, {"frame": FRAME, "styles": theme.styles(FRAME), **words})])


FRAME = pd.DataFrame({"a": [3.123456, 4, 1e-3], "b": [1, 2, 1 / 3]}, index=[1, 2, 3])


@pytest.mark.parametrize("text", ["<script>$x_{$ אבג عربي 漢字\n", "x" * 10_000], ids=["hostile", "long"])
def test_any_text_can_be_a_title(text):
    fig = example(text, text)
    assert theme.png(fig)
    assert theme.svg(fig)


def test_bytes_do_not_vary_and_neither_output_disturbs_the_other():
    fig, other = example(), example()
    png, svg = theme.png(fig), theme.svg(fig)
    assert (theme.svg(other), theme.png(other)) == (svg, png)
    assert (theme.png(fig), theme.svg(fig)) == (png, svg)
    assert b"<metadata" not in svg
    assert b"<text" not in svg  # outlines
    assert Image.open(io.BytesIO(png)).size == (720, 420)
    assert Image.open(io.BytesIO(theme.png(fig, dpi=200))).width == 1440


NUMBER = r"-?[\d.]+(?:e-?\d+)?"


def drawn(svg):
    """What an SVG draws, in its order: of each element the commands, the numbers and the place."""
    for element in ElementTree.fromstring(svg).iter():
        outline, transform = element.get("d", ""), element.get("transform", "")
        if shift := re.fullmatch(rf"translate\(({NUMBER}) ({NUMBER})\)", transform):  # the same as x and y
            place, transform = shift.groups(), ""
        else:
            place = (element.get("x", 0), element.get("y", 0))
        numbers = [*map(float, re.findall(NUMBER, outline + transform)), *map(float, place)]
        yield re.sub(rf"{NUMBER}|\s|,", "", outline + transform), numbers


def test_a_short_svg_draws_the_same(monkeypatch):
    def draw():
        fig = example("(0.123456 of $3.14159) −7 MLQC z")
        fig.axes[0].imshow([[0, 1]], extent=(1, 2, 0, 1), rasterized=True)
        return theme.svg(fig)

    short = draw()
    monkeypatch.setattr(theme, "_shortened", lambda svg: svg)
    whole = draw()
    assert len(short) < 0.8 * len(whole)
    for (commands, numbers), (same, others) in zip(drawn(short), drawn(whole), strict=True):
        assert commands == same
        np.testing.assert_allclose(numbers, others, atol=0.01)  # of a point, 1/72 inch
    elements = list(ElementTree.fromstring(short).iter())
    used = [e.attrib.get("href", "#")[1:] for e in elements if e.tag.endswith("use")]
    clips = [name.decode() for name in re.findall(rb"url\(#(\w+)\)", short)]
    assert len(used) > 10
    assert clips
    assert {*used, *clips} <= {element.get("id") for element in elements}


def test_the_users_settings_change_no_byte_and_are_restored():
    expected = theme.svg(example()), theme.png(example())
    with mpl.rc_context(
        {"font.family": ["serif"], "lines.linewidth": 9, "axes.grid": False, "text.usetex": True}
    ):
        mpl.rcParams["axes.prop_cycle"] = mpl.cycler(color=["red"])
        before = dict(mpl.rcParams)
        for _ in range(2):  # the style can be used many times
            assert (theme.svg(example()), theme.png(example())) == expected
        assert dict(mpl.rcParams) == before


def test_the_settings_are_restored_after_a_failure_and_nested_blocks():
    before = dict(mpl.rcParams)

    def fail():
        with theme.style(), theme.style():
            assert mpl.rcParams["svg.hashsalt"] == "qwerties"
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
        assert dict(mpl.rcParams) == before


DRAW = """
import hashlib, sys
from qwerties.plotting.axes import panels
from qwerties.plotting.compare import outcome_bars
from qwerties.plotting import network, style
import pandas as pd
print(*({"matplotlib.pyplot", "seaborn", "torch", "mlflow"} & set(sys.modules)), file=sys.stderr)
if "seaborn" in sys.argv:
    import seaborn
    seaborn.set_theme()
fig = panels([(outcome_bars, {"frame": pd.DataFrame({"learned": [0.3], "dead": [0.7]}, index=["a"])})])
curve = pd.DataFrame({"train_loss": [0.7, 0.3]}, index=[1, 2])
for content in (style.svg(fig), style.png(fig), network.loss_picture(curve, {"floor": 0.1})):
    print(hashlib.sha256(content).hexdigest())
"""


@pytest.mark.slow
def test_no_matplotlibrc_backend_or_theme_changes_a_byte_or_crashes(tmp_path):
    rc = tmp_path / "matplotlibrc"
    rc.write_text(
        "backend: tkagg\nfont.size: 30\nfigure.constrained_layout.use: False\nsavefig.dpi: 17\nsvg.fonttype: none\n"
    )
    printed = set()
    for backend, settings, arguments in (("agg", os.devnull, []), ("nonsense", rc, ["seaborn"])):
        env = os.environ | {"MPLBACKEND": backend, "MATPLOTLIBRC": str(settings)}
        done = subprocess.run(
            [sys.executable, "-c", DRAW, *arguments], capture_output=True, text=True, check=True, env=env
        )
        assert done.stderr.split() == []  # neither pyplot, nor seaborn, torch or MLflow for a run's pictures
        printed.add(done.stdout)
    assert len(printed) == 1
