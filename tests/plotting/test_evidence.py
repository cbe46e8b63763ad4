"""The figure of the narrowing interval draws the arrays that it is given."""

import numpy as np
import pytest

from qwerties.plotting.evidence import evidence
from qwerties.plotting.style import figure, svg
from qwerties.stats.planning import narrowing


@pytest.fixture
def shown():
    differences = np.random.default_rng(0).choice([0.0, 0.3], 500, p=[0.7, 0.3])
    return narrowing(differences, alpha=0.05, margin=0.01, bounds=(-1, 1))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_every_line_is_drawn_and_named(shown):
    fig, (ax,) = figure()
    assert evidence(ax, **shown._asdict(), margin=0.01, unit="test", title="accuracy") is ax
    lines = [line.get_ydata() for line in ax.lines]
    for values in (shown.low, shown.high, shown.estimate, shown.t_low, shown.t_high):
        assert any(np.array_equal(values, line, equal_nan=True) for line in lines)
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == (1, 500)
    assert ax.get_xlabel() == "tests compared"
    assert set(texts(ax)) >= {"interval", "mean", "margin", "Student’s t"}
    assert f"decided at {shown.decided} tests " in texts(ax)
    assert svg(fig).startswith(b"<?xml")


def test_the_final_interval_and_the_margin_are_in_view(shown):
    _, (ax,) = figure()
    evidence(ax, *shown[:4], 0.4)
    low, high = ax.get_ylim()
    assert low < min(shown.low[-1], -0.4)
    assert high > max(shown.high[-1], 0.4)


def test_without_t_and_without_a_decision_nothing_is_said_of_them(shown):
    _, (ax,) = figure()
    evidence(ax, *shown[:4], 0.01)
    assert set(texts(ax)) == {"interval", "mean", "margin"}


def test_one_unit_is_drawn(shown):
    fig, (ax,) = figure()
    one = narrowing([0.5], alpha=0.05, margin=0.01, bounds=(-1, 1))
    evidence(ax, **one._asdict(), margin=0.01)
    assert svg(fig).startswith(b"<?xml")
