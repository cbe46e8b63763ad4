import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from qwerties.plotting import axes as labels
from qwerties.plotting import style as theme


def test_labels_with_room_stay_where_they_are():
    np.testing.assert_allclose(labels.spread([0.9, 0.1, 0.5], 0.1), [0.9, 0.1, 0.5])


def test_two_that_touch_move_apart_by_the_same():
    np.testing.assert_allclose(labels.spread([0.5, 0.52], 0.1), [0.46, 0.56])


def test_labels_at_the_edge_move_inwards():
    np.testing.assert_allclose(labels.spread([0.0, 0.0], 0.1), [0.0, 0.1])
    np.testing.assert_allclose(labels.spread([1.0, 1.0], 0.1), [0.9, 1.0])


def test_a_large_label_takes_more_room():
    np.testing.assert_allclose(labels.spread([0.5, 0.5], [0.1, 0.3]), [0.4, 0.6])


def test_nothing_to_spread():
    assert labels.spread([], 0.1).size == 0


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12),
    st.floats(0, 0.3),
)
def test_spread_keeps_order_range_and_distance(wanted, size):
    placed = labels.spread(wanted, size)
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9
    ordered = placed[np.argsort(wanted, kind="stable")]
    gap = min(size, 1 / max(len(wanted) - 1, 1))
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


def test_epoch_ticks():
    assert labels.epoch_ticks(2000) == [1, 10, 100, 1000, 2000]
    assert labels.epoch_ticks(1100) == [1, 10, 100, 1100]
    assert labels.epoch_ticks(1) == [1]


def boxes(fig, notes):
    theme.png(fig)
    return [Text.get_window_extent(note) for note in notes]  # without their leaders


@pytest.mark.parametrize("count", [2, 24])
def test_end_labels_do_not_overlap(count):
    fig, (ax,) = theme.figure()
    ax.set_ylim(0, 1)
    labels.end_labels(ax, [(0.5 + 0.001 * i, f"config {i}", "#123456") for i in range(count)])
    ax.set_ylim(-1, 3)  # limits may change afterwards
    for one, other in itertools.pairwise(boxes(fig, ax.texts)):
        assert one.y1 <= other.y0 + 1


def test_end_labels_stand_at_their_heights():
    fig, (ax,) = theme.figure()
    ax.set(yscale="log", ylim=(0.01, 1))
    labels.end_labels(ax, [(0.1, "middle", "#123456"), (np.nan, "lost", "#123456"), (50, "high", "#123456")])
    middle, lost, high = boxes(fig, ax.texts)
    axes = ax.get_window_extent()
    assert (middle.y0 + middle.y1) / 2 == pytest.approx((axes.y0 + axes.y1) / 2, abs=2)
    assert lost.y0 < axes.y0 + 20
    assert high.y1 > axes.y1 - 20


def test_top_labels_do_not_overlap():
    fig, (ax,) = theme.figure()
    labels.top_labels(ax, [(0.50, "sample optimum"), (0.51, "Bayes"), (0.1, "one class")])
    sample, bayes, one = boxes(fig, ax.texts)
    assert one.x1 < sample.x0 < sample.x1 < bayes.x0


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("grid", [False, True])
def test_a_ruled_axis_looks_as_matplotlibs_own(scale, grid):
    pictures = []
    for ruled in (False, True):
        fig = Figure((5, 3), dpi=100, facecolor=theme.CARD)
        ax = fig.add_axes((0.2, 0.2, 0.7, 0.7))
        theme.dress(ax, grid="both" if grid and not ruled else None)
        ax.set(xscale=scale, yscale=scale, xlim=(1, 2000), ylim=(0.1, 50))
        ax.minorticks_off()
        for name, at in (("x", [1, 10, 1000]), ("y", [0.1, 0.5, 20])):
            if ruled:
                labels.rule(ax, name, at, grid=grid)
            else:
                labels.fixed_ticks(getattr(ax, f"{name}axis"), at)
        pictures.append(theme.png(fig))
    assert pictures[0] == pictures[1]


def test_the_label_of_a_ruled_axis_keeps_off_the_ticks_texts():
    fig = Figure((5, 3), dpi=100)
    ax = fig.add_axes((0.3, 0.3, 0.6, 0.6))
    theme.dress(ax, grid=None, xlabel="across", ylabel="up")
    labels.rule(ax, "x", [0, 0.5, 1])
    labels.rule(ax, "y", [0, 0.00055, 1], ["0", "0.00055", "1,000,000"])
    texts = boxes(fig, ax.texts)
    across, up = (axis.label.get_window_extent() for axis in (ax.xaxis, ax.yaxis))
    assert all(across.y1 < box.y0 for box in texts[:3])
    assert all(0 < up.x0 < up.x1 < box.x0 for box in texts)


def test_an_axis_without_ticks_can_be_ruled():
    fig = Figure((5, 3), dpi=100)
    labels.rule(fig.add_axes((0.2, 0.2, 0.7, 0.7)), "y", [])
    assert theme.png(fig)
