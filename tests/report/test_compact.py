"""Smaller pictures show the same: letters keep their size, coordinates their place, and an attribute holds them."""

import io
import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from qwerties.plotting.style import png, svg
from qwerties.report.compact import GLYPH, compact_png, compact_svg, data_uri

NUMBER = r"-?\d+(?:\.\d+)?"


def a_figure():
    fig = Figure(figsize=(3, 2))
    ax = fig.subplots()
    ax.plot([0, 1, 2], [0.123456, -1, 2], color="tab:blue")
    ax.set(title="Letters & <signs> “δ”", xlabel="x − y")
    return fig


def test_letters_keep_their_outlines():
    before = svg(a_figure()).decode()
    after = compact_svg(before.encode()).decode()
    outlines = dict(GLYPH.findall(before))
    kept = dict(re.findall(r'<path id="g([\w-]+)" d="([^"]*)" transform="scale\(\.25\)"/>', after))
    assert kept.keys() == outlines.keys()
    assert len(kept) > 10
    for name, outline in kept.items():
        small, large = (np.array(re.findall(NUMBER, text), float) for text in (outline, outlines[name]))
        np.testing.assert_allclose(small / 4, large / 64, atol=0.126)  # half a unit, of 100 an em
    assert not re.search(r' d="[^"]*" transform="scale\(0\.015625', after)  # a blank has no outline
    assert len(after) < 0.92 * len(before)


def test_an_attribute_holds_it_and_it_reads_back_as_a_picture():
    content = compact_svg(svg(a_figure()))
    uri = data_uri(content, "svg")
    assert not set('"<>& \n') & set(uri)
    root = ET.fromstring(unquote(uri.partition(",")[2]))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    paths = [ET.fromstring(text) for text in (content, ET.tostring(root))]
    places = [[re.findall(NUMBER, e.get("d", "")) for e in picture.iter()] for picture in paths]
    assert places[0] == places[1]


def test_a_palette_is_near_the_colours():
    before = png(a_figure(), 100)
    after = compact_png(before)
    one, other = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int) for data in (before, after)
    )
    assert np.abs(one - other).mean() < 1
    assert compact_png(before) == after
