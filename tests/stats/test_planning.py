"""How many units would decide a comparison."""

from bisect import bisect_left

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from qwerties.stats.confidence import confidence_sequence
from qwerties.stats.planning import narrowing, units_needed
from qwerties.stats.verdict import UNDECIDED, decide

RULE = {"alpha": 0.05, "margin": 0.01, "bounds": (-1, 1)}


def is_decided(values):
    (low,), (high,) = confidence_sequence(values, alpha=0.05)
    return decide(low, high, 0.01) not in UNDECIDED


def first_decided(values):
    """Return the first count at which the verdict is final; a final verdict stays."""
    return bisect_left(range(len(values) + 1), True, key=lambda count: is_decided(values[:count]))


@pytest.mark.parametrize("value", [0.05, -0.05, 0.0, 0.003])
def test_a_constant_needs_exactly_as_many_as_its_continuation(value):
    needed = units_needed([value] * 10, **RULE)
    assert needed == first_decided([value] * (2 * needed))


def test_the_number_would_decide_it_about_half_of_the_time():
    rng = np.random.default_rng(0)
    pool = np.where(rng.random(5000) < 0.12, 0.48, 0.001)
    needed = units_needed(pool[:400], **RULE)
    decided = [is_decided(rng.choice(pool[:400], needed)) for _ in range(40)]
    assert 0.15 < np.mean(decided) < 0.85


def test_a_mean_at_the_margin_is_out_of_reach():
    assert units_needed([0.01] * 50, **RULE, limit=20_000) is None
    assert units_needed([0.0101] * 50, **RULE, limit=20_000) is None


def test_the_limit_holds():
    needed = units_needed([0.0] * 10, **RULE)
    assert units_needed([0.0] * 10, **RULE, limit=needed) == needed
    assert units_needed([0.0] * 10, **RULE, limit=needed - 1) is None


def test_many_units_seen_are_not_beyond_reach():
    differences, rule = [0.0] * 100, RULE | {"margin": 0.05}
    assert units_needed(differences, **rule, limit=50) == units_needed(differences, **rule) > 100


def test_a_smaller_margin_needs_more():
    differences = np.random.default_rng(0).choice([-0.02, 0.05], 100)
    tight = units_needed(differences, alpha=0.05, margin=0.005, bounds=(-1, 1))
    loose = units_needed(differences, alpha=0.05, margin=0.1, bounds=(-1, 1))
    assert loose < tight


def test_swapping_changes_nothing_and_the_seed_hardly():
    differences = np.random.default_rng(0).choice([-0.4, 0.02, 0.4], 100, p=[0.05, 0.85, 0.1])
    needed = units_needed(differences, **RULE)
    assert units_needed(-differences, **RULE) == needed
    assert units_needed(differences, **RULE, seed=1) == pytest.approx(needed, rel=0.5)


def test_nothing_seen_has_no_answer():
    assert units_needed([], **RULE) is None


def test_narrowing_is_the_sequence_beside_students_t():
    values = np.random.default_rng(0).choice([-0.1, 0.3], 300)
    frame, decided = narrowing(values, **RULE)
    lower, upper = confidence_sequence(values, alpha=0.05, counts=frame["count"])
    assert frame["count"].iloc[[0, -1]].tolist() == [1, 300]
    assert (frame["low"] == lower).all()
    assert (frame["high"] == upper).all()
    for row in frame.to_dict("records"):
        seen = values[: row["count"]]
        assert row["estimate"] == pytest.approx(seen.mean())
        if len(seen) > 1 and seen.std() > 0:
            interval = ttest_1samp(seen, 0).confidence_interval(0.95)
            assert (row["t_low"], row["t_high"]) == pytest.approx(tuple(interval))
    assert np.isnan(frame["t_low"][0])
    assert decided == first_decided(values)


@pytest.mark.parametrize("values", [[], [0.1, 0.2, 0.3]])
def test_narrowing_without_a_decision(values):
    frame, decided = narrowing(values, **RULE)
    assert frame["count"].tolist() == list(range(1, len(values) + 1))
    assert decided is None
