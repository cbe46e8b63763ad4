"""Intervals: by hand, by formula, and where they are undefined."""

import math

import pytest
from scipy import stats

from qwerties.stats.intervals import mean_interval, wilson


def test_wilson_recomputed_from_its_formula():
    k, n, z = 7, 10, stats.norm.ppf(0.975)
    centre = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
    assert wilson(k, n) == pytest.approx((centre - half, centre + half))


def test_wilson_at_the_ends():
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
    assert all(math.isnan(bound) for bound in wilson(0, 0))


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
