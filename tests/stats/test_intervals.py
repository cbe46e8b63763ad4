"""Intervals: by hand, by formula, and where they are undefined."""

import math

import pytest
from scipy import stats

from qwerties.stats.intervals import mean_interval, share_interval


@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (0, 10), (7, 10), (10, 10), (1, 500), (499, 500), (250, 500)]
)
def test_a_share_has_wilsons_interval(k, n):
    found = share_interval([True] * k + [False] * (n - k))
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert (found.estimate, found.n, found.level) == (k / n, n, 0.95)
    assert (found.lo, found.hi) == pytest.approx(tuple(expected), rel=1e-12)


def test_a_share_at_the_ends():
    assert share_interval([False] * 10).lo == 0
    assert share_interval([True] * 10).hi == 1
    nothing = share_interval([])
    assert all(map(math.isnan, (nothing.estimate, nothing.lo, nothing.hi)))


def test_mean_interval_by_hand():
    # mean 2, SD 1, standard error 1/√3; t(2) at 97.5% is 4.302653
    found = mean_interval([1, 2, 3])
    assert (found.estimate, found.n, found.level) == (2, 3, 0.95)
    assert (found.lo, found.hi) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


@pytest.mark.parametrize("values", [[], [0.3]])
def test_mean_interval_is_undefined_below_two_values(values):
    found = mean_interval(values)
    assert math.isnan(found.lo)
    assert math.isnan(found.hi)
    assert found.n == len(values)


@pytest.mark.parametrize("values", [[0.2, 0.2, 0.2], [0.9 - 0.8, 0.5 - 0.4, 0.1]])
def test_mean_interval_of_equal_values_is_that_value(values):
    found = mean_interval(values)
    assert found.lo == found.estimate == found.hi == pytest.approx(values[0])


def test_mean_interval_drops_no_nan():
    assert math.isnan(mean_interval([0.1, math.nan, 0.2]).estimate)


def test_undefined_is_none_in_json():
    assert mean_interval([0.5]).to_dict() == {"estimate": 0.5, "lo": None, "hi": None, "n": 1, "level": 0.95}
