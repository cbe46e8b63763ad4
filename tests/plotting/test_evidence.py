"""The figure of the narrowing interval draws the numbers that it is given."""

import numpy as np

from qwerties.plotting.axes import panels
from qwerties.plotting.evidence import evidence
from qwerties.plotting.style import svg
from qwerties.stats.planning import narrowing


def course(differences):
    return narrowing(differences, alpha=0.05, margin=0.01, bounds=(-1, 1))


COURSE = course(np.random.default_rng(0).choice([0.0, 0.3], 500, p=[0.7, 0.3]))


def draw(**arguments):
    return panels([(evidence, arguments)]).axes[0]


def texts(ax):
    return [text.get_text().strip() for text in ax.texts]


def test_every_line_is_drawn_and_named():
    ax = draw(course=COURSE, margin=0.01, unit="test", title="accuracy")
    lines = [line.get_ydata() for line in ax.lines]
    for values in COURSE[1:6]:
        assert any(np.array_equal(values, line, equal_nan=True) for line in lines)
    assert (ax.get_xscale(), ax.get_xlim()) == ("log", (1, 500))
    assert ax.get_xlabel() == "tests compared"
    named = {"interval", "mean", "margin", "Student’s t", f"decided at {COURSE.decided} tests"}
    assert set(texts(ax)) == named


def test_the_final_interval_and_the_margin_are_in_view():
    ax = draw(course=COURSE._replace(decided=None), margin=0.4)
    low, high = ax.get_ylim()
    assert low < min(COURSE.low[-1], -0.4)
    assert high > max(COURSE.high[-1], 0.4)
    assert not any("decided" in text for text in texts(ax))


def test_one_unit_is_drawn():
    ax = draw(course=course([0.5]), margin=0.01)
    assert "Student’s t" not in texts(ax)  # undefined
    assert svg(ax.figure).startswith(b"<?xml")
