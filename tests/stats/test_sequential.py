"""Looks: their levels by hand, their promise by simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from qwerties.stats.intervals import mean_interval
from qwerties.stats.legacy import bca_interval, decide, latest_look, plan_looks

NUMBERS = (100, 200, 400, 800)
HEADROOM = 0.4772
FAMILIES = 1500


def test_levels_by_hand():
    looks = plan_looks(NUMBERS, family_size=6)
    assert [look.seeds for look in looks] == list(NUMBERS)
    assert [look.alpha for look in looks] == pytest.approx([0.025, 0.0125, 0.00625, 0.00625])
    assert [look.level for look in looks] == pytest.approx([1 - look.alpha / 6 for look in looks])


@pytest.mark.parametrize("count", range(1, 12))
def test_all_error_is_spent_and_no_more(count):
    looks = plan_looks([500 * 2**k for k in range(count)], family_size=6)
    assert sum(look.alpha for look in looks) == pytest.approx(0.05)


def test_one_look_is_plain_bonferroni():
    assert plan_looks([500], family_size=6)[0].level == 1 - 0.05 / 6


@pytest.mark.parametrize("seeds", [[], [500, 500], [1000, 500], [0, 500]])
def test_looks_must_increase(seeds):
    with pytest.raises(ValueError, match="positive, increasing numbers of seeds, at least one, not "):
        plan_looks(seeds, family_size=6)


@pytest.mark.parametrize(("n", "seeds"), [(100, 100), (199, 100), (200, 200), (5000, 800)])
def test_between_looks_the_earlier_one_counts(n, seeds):
    assert latest_look(plan_looks(NUMBERS, family_size=6), n).seeds == seeds


def test_before_the_first_look_there_is_none():
    assert latest_look(plan_looks(NUMBERS, family_size=6), 99) is None


def flips(rng, up, down):
    """Draw families of contrasts that share a side, (families, 6, seeds): ±headroom at the rates given, and
    jitter."""
    shape = (FAMILIES, 6, NUMBERS[-1])
    common = rng.random((FAMILIES, 1, NUMBERS[-1]), dtype=np.float32)
    u = np.where(rng.random(shape, dtype=np.float32) < 0.5, common, rng.random(shape, dtype=np.float32))
    d = HEADROOM * ((u < up).astype(np.float32) - (u > 1 - down))
    return d + np.float32(0.003) * rng.standard_normal(shape, dtype=np.float32)


def intervals(d, levels):
    """Yield n, level and the t bounds of every contrast, (families, 6) each, look by look."""
    for n, level in zip(NUMBERS, levels, strict=True):
        mean, sd = d[..., :n].mean(-1), d[..., :n].std(-1, ddof=1)
        half = scipy_stats.t.ppf((1 + level) / 2, n - 1) * sd / n**0.5
        yield n, level, mean - half, mean + half


SPENT = [look.level for look in plan_looks(NUMBERS, family_size=6)]
NAIVE = [1 - 0.05 / 6] * len(NUMBERS)


def families_that_find_a_difference(d, levels):
    return np.mean(np.any([(lo > 0) | (hi < 0) for _, _, lo, hi in intervals(d, levels)], axis=(0, 2)))


def test_no_difference_is_found_in_at_most_5_percent_of_families():
    d = flips(np.random.default_rng(0), up=0.1, down=0.1)
    three_standard_errors = 3 * (0.05 * 0.95 / FAMILIES) ** 0.5
    assert families_that_find_a_difference(d, SPENT) < 0.05
    assert (
        families_that_find_a_difference(d, NAIVE) > 0.05 + three_standard_errors
    )  # what looking again costs


def test_a_difference_of_delta_is_called_equivalent_in_at_most_5_percent_of_families():
    delta = 0.05
    d = flips(np.random.default_rng(1), up=0.02 + delta / HEADROOM, down=0.02)
    wrong = set()
    for n, level, lo, hi in intervals(d, SPENT):
        for family, contrast in zip(*np.nonzero((lo > -delta) & (hi < delta)), strict=True):
            sample = d[family, contrast, :n]
            verdict = decide(
                mean_interval(sample, level),
                delta=delta,
                headroom=HEADROOM,
                family_size=6,
                check=bca_interval(sample, level, resamples=999),
            )
            wrong |= {family} if verdict.kind == "equivalent" else set()
    assert 0 < len(wrong) / FAMILIES < 0.05
