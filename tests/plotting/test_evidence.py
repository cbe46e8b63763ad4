"""The figure of the narrowing interval draws the numbers that it is given."""

import numpy as np
import pytest

from qwerties.plotting.axes import panels
from qwerties.plotting.evidence import evidence
from qwerties.plotting.style import svg
from qwerties.stats.planning import narrowing


def course(differences):
    return narrowing(differences, alpha=0.05, margin=0.01, bounds=(-1, 1))


@pytest.fixture
def frame():
    return course(np.random.default_rng(0).choice([0.0, 0.3], 500, p=[0.7, 0.3]))


def draw(**arguments):
    return panels([(evidence, arguments)]).axes[0]


def texts(ax):
    return [text.get_text().strip() for text in ax.texts]


def test_every_line_is_drawn_and_named(frame):
    frame, decided = frame
    ax = draw(frame=frame, margin=0.01, decided=decided, unit="test", title="accuracy")
    lines = [line.get_ydata() for line in ax.lines]
    for name in ("low", "high", "estimate", "t_low", "t_high"):
        assert any(np.array_equal(frame[name], line, equal_nan=True) for line in lines)
    assert (ax.get_xscale(), ax.get_xlim()) == ("log", (1, 500))
    assert ax.get_xlabel() == "tests compared"
    assert set(texts(ax)) == {"interval", "mean", "margin", "Student’s t", f"decided at {decided} tests"}


def test_the_point_of_decision_is_legible_over_the_interval(frame):
    (text,) = [
        text for text in draw(frame=frame[0], margin=0.01, decided=1).texts if "decided" in text.get_text()
    ]
    assert text.get_text().strip() == "decided at 1 seed"
    assert text.get_bbox_patch().get_alpha() > 0.5


def test_the_final_interval_and_the_margin_are_in_view(frame):
    ax = draw(frame=frame[0], margin=0.4)
    low, high = ax.get_ylim()
    assert low < min(frame[0]["low"].iloc[-1], -0.4)
    assert high > max(frame[0]["high"].iloc[-1], 0.4)
    assert not any("decided" in text for text in texts(ax))


def test_one_unit_is_drawn():
    frame, _ = course([0.5])
    ax = draw(frame=frame, margin=0.01)
    assert "Student’s t" not in texts(ax)  # undefined
    assert svg(ax.figure).startswith(b"<?xml")
