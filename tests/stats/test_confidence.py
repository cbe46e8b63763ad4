"""The confidence sequence: equal to a plain implementation, and right about the mean at every count."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwerties.stats.confidence import confidence_sequence

SHAPES = {  # values and their probabilities, of differences between −1 and 1
    "rare flips": ([0.48, 0.0], [0.001, 0.999]),
    "steady lead undone by rare flips": ([0.001, -0.499], [0.998, 0.002]),
    "bimodal": ([-0.45, 0.02, 0.45], [0.1, 0.75, 0.15]),
    "constant": ([0.02], [1.0]),
    "at the bounds": ([-1.0, 1.0], [0.5, 0.5]),
    "rare and at the bounds": ([-1.0, 0.0, 1.0], [0.002, 0.997, 0.001]),
}


def grid_bounds(values, alpha, low, high, step=5e-5):
    """Return both bounds after each value: one wealth per candidate mean, updated value by value."""
    means = np.arange(step, 1, step)
    up, down = np.ones_like(means), np.ones_like(means)
    excluded_up, excluded_down = np.zeros(len(means), bool), np.zeros(len(means), bool)
    total, squares = 0.5, 0.25
    lower, upper = [], []
    for t, value in enumerate(values, start=1):
        y = (value - low) / (high - low)
        bet = math.sqrt(2 * math.log(2 / alpha) / (squares / t * t * math.log(t + 1)))
        up *= 1 + np.minimum(bet, 0.5 / means) * (y - means)
        down *= 1 - np.minimum(bet, 0.5 / (1 - means)) * (y - means)
        mean_before = total / t
        total += y
        squares += (y - mean_before) ** 2
        excluded_up |= up / 2 >= 1 / alpha
        excluded_down |= down / 2 >= 1 / alpha
        lower.append(means[excluded_up].max() if excluded_up.any() else 0.0)
        upper.append(means[excluded_down].min() if excluded_down.any() else 1.0)
    return low + (high - low) * np.array(lower), low + (high - low) * np.array(upper)


def draw(shape, size, seed=0):
    values, probabilities = SHAPES[shape]
    return np.random.default_rng(seed).choice(values, size, p=probabilities)


@pytest.mark.parametrize("alpha", [0.05, 0.005])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_a_plain_implementation_on_a_grid(shape, alpha):
    values = draw(shape, 400)
    lower, upper = confidence_sequence(values, alpha=alpha, counts=range(1, 401))
    expected_lower, expected_upper = grid_bounds(values, alpha, -1, 1)
    assert lower == pytest.approx(expected_lower, abs=1e-4)
    assert upper == pytest.approx(expected_upper, abs=1e-4)


def test_other_bounds_only_change_the_scale():
    values = draw("bimodal", 300)
    lower, upper = confidence_sequence(values, alpha=0.05)
    scaled = confidence_sequence(20 + 5 * values, alpha=0.05, bounds=(15, 25))
    assert scaled == (pytest.approx(20 + 5 * lower), pytest.approx(20 + 5 * upper))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_true_mean_stays_inside_at_every_count(shape):
    sequences, alpha = 300, 0.1
    mean = float(np.dot(*SHAPES[shape]))
    values = draw(shape, (sequences, 1000), seed=1)
    outside = 0
    for row in values:
        (lower,), (upper,) = confidence_sequence(row, alpha=alpha)  # the intersection over all counts
        outside += not lower <= mean <= upper
    assert outside <= alpha * sequences


nasty = st.lists(st.floats(-1, 1) | st.sampled_from([-1.0, 0.0, 1.0, 0.02]), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(nasty, st.sampled_from([0.05, 0.005]))
def test_never_widens_never_leaves_the_bounds_and_mirrors(values, alpha):
    counts = range(len(values) + 1)
    lower, upper = confidence_sequence(values, alpha=alpha, counts=counts)
    assert (lower[0], upper[0]) == (-1, 1)
    assert (np.diff(lower) >= 0).all()
    assert (np.diff(upper) <= 0).all()
    assert (lower <= upper).all()
    mirrored_lower, mirrored_upper = confidence_sequence([-v for v in values], alpha=alpha, counts=counts)
    assert (mirrored_lower == -upper).all()
    assert (mirrored_upper == -lower).all()


def test_depends_on_the_values_so_far_and_not_on_the_other_counts():
    values = draw("bimodal", 500)
    counts = [500, 0, 17, 17, 250]
    lower, upper = confidence_sequence(values, alpha=0.05, counts=counts)
    for k, count in enumerate(counts):
        (alone,), (alone_upper,) = confidence_sequence(values[:count], alpha=0.05)
        assert (lower[k], upper[k]) == (alone, alone_upper)


def test_contradicting_values_leave_the_last_interval_that_is_not_empty():
    counts = [1000, 1400, 2000]
    lower, upper = confidence_sequence([1] * 1000 + [-1] * 1000, alpha=0.05, counts=counts)
    assert (lower <= upper).all()
    assert (np.diff(lower) >= 0).all()
    assert (np.diff(upper) <= 0).all()
    assert lower[-1] > 0.9


def test_nothing_seen_gives_the_bounds():
    assert confidence_sequence([], alpha=0.05, bounds=(0, 3)) == ([0], [3])


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.3, 1.0])
def test_a_constant_is_enclosed_ever_closer(value):
    lower, upper = confidence_sequence([value] * 3000, alpha=0.05, counts=[30, 300, 3000])
    assert (lower <= value).all()
    assert (upper >= value).all()
    assert upper[2] - lower[2] < 0.01 < upper[1] - lower[1] < upper[0] - lower[0]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.5], {}, "values must be from -1 to 1, got 1.5"),
        ([math.nan], {}, "values must be from -1 to 1, got nan"),
        ([[0.5]], {}, r"values must have one dimension, got shape \(1, 1\)"),
        ([0.5], {"alpha": 0}, "alpha must be between 0 and 1, got 0"),
        ([0.5], {"bounds": (1, 0)}, "bounds must be two finite numbers, the smaller one first, got 1 and 0"),
        ([0.5], {"bounds": (0, math.inf)}, "bounds must be two finite numbers"),
        ([0.5], {"counts": [2]}, r"counts must be from 0 to the 1 values, got \[2\]"),
    ],
)
def test_bad_input_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        confidence_sequence(values, **{"alpha": 0.05, **options})
