"""What a reader would see at a glance, for the tests of plots."""

import re
from xml.etree import ElementTree

import numpy as np
from matplotlib.text import Text

from qwerties.plotting import style as theme


def words(ax):
    return [text.get_text() for text in ax.findobj(Text) if text.get_text()]


def overlapping(fig):
    """Pairs of texts that lie over each other, and texts that leave the card."""
    theme.png(fig)
    axes = [axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)]
    hidden = {t.label1 for axis in axes for t in axis.majorTicks} - {
        t.label1 for axis in axes for t in axis._update_ticks()
    }
    shown = [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in shown]
    card = fig.bbox
    cut = [n for n, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > card.x1 + 1 or b.y1 > card.y1 + 1]
    pairs = [
        (one, other)
        for k, (one, a) in enumerate(boxes)
        for other, b in boxes[:k]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    return cut, pairs


def shapes(svg):
    """What an SVG draws, in its order: the kind of each element, and its points on the page, (points, 2)."""
    root = ElementTree.fromstring(svg)
    named = {element.get("id"): element for element in root.iter()}

    def walk(element, matrix):
        kind = element.tag.rpartition("}")[2]
        matrix = matrix @ transform_of(element)
        if kind == "use":
            (address,) = (value for key, value in element.attrib.items() if key.endswith("href"))
            x, y = (float(element.get(name, 0)) for name in "xy")
            yield from walk(named[address[1:]], matrix @ [[1, 0, x], [0, 1, y], [0, 0, 1]])
        elif kind == "path" and element.get("d"):  # a space may be one without
            yield kind, points_of(element.get("d"), matrix)
        elif kind == "image":
            corner = [float(element.get(name)) for name in ("x", "y", "width", "height")]
            yield kind, points_of(" ".join(map(str, corner)), matrix)
        elif kind in ("svg", "g"):
            for child in element:
                yield from walk(child, matrix)

    return list(walk(root, np.eye(3)))


def points_of(text, matrix):
    points = np.array(re.findall(r"-?[\d.]+(?:e-?\d+)?", text), float).reshape(-1, 2)
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def transform_of(element):
    matrix = np.eye(3)
    for name, text in re.findall(r"(\w+)\(([^)]*)\)", element.get("transform", "")):
        values = [float(value) for value in re.split(r"[ ,]+", text.strip())]
        step = np.eye(3)
        if name == "translate":
            step[: len(values), 2] = values
        elif name == "scale":
            step[[0, 1], [0, 1]] = values[0], values[-1]
        elif name == "rotate":
            cos, sin = np.cos(np.radians(values[0])), np.sin(np.radians(values[0]))
            step[:2, :2] = [[cos, -sin], [sin, cos]]
        else:
            assert name == "matrix"
            step[:2] = np.reshape(values, (3, 2)).T
        matrix = matrix @ step
    return matrix
