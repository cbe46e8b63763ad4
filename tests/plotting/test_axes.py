import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from qwerties.plotting import axes as labels
from qwerties.plotting import style as theme


@pytest.mark.parametrize(
    ("centres", "sizes", "placed"),
    [
        ([0.9, 0.1, 0.5], [0.1] * 3, [0.9, 0.1, 0.5]),  # with room they stay
        ([0.5, 0.52], [0.1] * 2, [0.46, 0.56]),  # two that touch move by the same
        ([0.0, 0.0], [0.1] * 2, [0.0, 0.1]),  # at an edge they move inwards
        ([1.0, 1.0], [0.1] * 2, [0.9, 1.0]),
        ([0.5, 0.5], [0.1, 0.3], [0.4, 0.6]),  # a large label takes more room
    ],
)
def test_labels_are_spread(centres, sizes, placed):
    np.testing.assert_allclose(labels.spread(centres, sizes, 0, 1), placed)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0, 0.3))
def test_spread_keeps_order_range_and_distance(centres, size):
    placed = labels.spread(centres, [size] * len(centres), 0, 1)
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9
    ordered = placed[np.argsort(centres, kind="stable")]
    gap = min(size, 1 / max(len(centres) - 1, 1))
    assert (np.diff(ordered) >= gap - 1e-9).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.05, "0.05"),
        (-2, "−2"),
        (2000, "2,000"),
        (0.001, "0.001"),
        (1e-4, "10⁻⁴"),
        (3e-4, "3·10⁻⁴"),
        (1e5, "10⁵"),
        (-2e-7, "−2·10⁻⁷"),
        (-1e-4, "−10⁻⁴"),
        (9.9999e-5, "10⁻⁴"),  # not 10·10⁻⁵
        (9.996e-4, "0.001"),
        (12345.678, "12,346"),  # not 1.235e+04
        (99999.6, "10⁵"),  # not 1e+05
        (999.96, "1,000"),
        (123456, "1.23·10⁵"),
        (0.123456, "0.1235"),
    ],
)
def test_short_numbers(value, text):
    assert labels.short(value) == text


def test_nice_limits():
    assert labels.nice_limits(0.0604, 0.84) == (0.05, 1.0)
    assert labels.nice_limits(0.6931, 0.6931) == (0.5, 1.0)
    assert labels.nice_limits(0.05, 1.0) == (0.02, 2.0)  # never on the edge itself


@given(st.floats(-30, 30), st.floats(0, 30))
def test_limits_enclose_and_ticks_are_few(exponent, decades):
    low, high = labels.nice_limits(10**exponent, 10 ** (exponent + decades))
    assert low < 10**exponent <= 10 ** (exponent + decades) < high
    ticks = labels.log_ticks(low, high)
    assert 2 <= len(ticks) <= 10
    assert low * 0.999 <= ticks[0] <= ticks[-1] <= high * 1.001


@pytest.mark.parametrize(("low", "high"), [(0.63, 0.74), (0.9, 1.1), (8.1, 9.9), (0.21, 0.49)])
def test_near_ends_have_ticks_too(low, high):
    ticks = labels.log_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert low <= ticks[0] < ticks[-1] <= high


def test_epoch_ticks():
    assert labels.epoch_ticks(2000) == [1, 10, 100, 1000, 2000]
    assert labels.epoch_ticks(1100) == [1, 10, 100, 1100]
    assert labels.epoch_ticks(1) == [1]


@given(st.floats(1e-300, 1e300), st.sampled_from([1, -1]))
def test_any_short_number_is_near_and_reads_back(value, sign):
    text = labels.short(sign * value).replace("−", "-").replace(",", "")
    factor, power, exponent = text.rpartition("10") if set(text) & set("⁻⁰¹²³⁴⁵⁶⁷⁸⁹") else (text, "", "0")
    factor = factor.removesuffix("·") if factor not in ("", "-") else f"{factor}1"
    if power:
        exponent = exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        assert 1 <= abs(float(factor)) < 10
    number = float(f"{factor}e{exponent}")
    assert "e" not in text
    assert number == pytest.approx(sign * value, rel=6e-3)


def drawn(labelled, *rest, **settings):
    """Label axes, and give the boxes of the labels where they are drawn."""

    def plot(ax):
        ax.set(**settings)
        labelled(ax, *rest)

    fig = labels.panels([(plot, {})])
    theme.png(fig)
    return fig.axes[0], [Text.get_window_extent(note) for note in fig.axes[0].texts]  # without their leaders


@pytest.mark.parametrize("count", [2, 24])
def test_end_labels_do_not_overlap(count):
    entries = [(0.5 + 0.001 * i, f"config {i}", "#123456") for i in range(count)]
    _, boxes = drawn(labels.end_labels, entries, ylim=(-1, 3))
    for one, other in itertools.pairwise(boxes):
        assert one.y1 <= other.y0 + 1


def test_end_labels_stand_at_their_heights_and_outside_ones_at_the_edge():
    entries = [(0.1, "middle", "#123456"), (np.nan, "undefined", "#123456"), (50, "high", "#123456")]
    ax, (middle, high) = drawn(labels.end_labels, entries, yscale="log", ylim=(0.01, 1))
    axes = ax.get_window_extent()
    assert (middle.y0 + middle.y1) / 2 == pytest.approx((axes.y0 + axes.y1) / 2, abs=2)
    assert high.y1 > axes.y1 - 20


def test_top_labels_do_not_overlap():
    entries = [(0.50, "sample optimum"), (0.51, "Bayes"), (0.1, "one class")]
    _, (sample, bayes, one) = drawn(labels.top_labels, entries, xlim=(0, 1))
    assert one.x1 < sample.x0 < sample.x1 < bayes.x0


def test_ticks_stand_at_the_values_and_texts_keep_apart():
    def plot(ax):
        labels.log_axis(ax.xaxis)
        ax.set_xlim(1, 2000)
        labels.ticks_at(ax, [1, 10, 100, 1900, 2000])

    ax = labels.panels([(plot, {})]).axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "10", "100", "", "2,000"]
    assert list(ax.get_xticks()) == [1, 10, 100, 1900, 2000]
    assert not len(ax.get_xticks(minor=True))
