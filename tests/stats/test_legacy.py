"""Verdicts: cases countable by hand, then properties, then calibration by enumeration."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

from qwerties.stats.intervals import Interval, mean_interval, wilson
from qwerties.stats.legacy import (
    FAMILY_ERROR,
    FEWEST,
    Verdict,
    compare,
    decide,
    difference_interval,
    flip_guard,
    flip_reach,
    holm,
    scores,
    seeds_needed,
)

BAYES = float(scipy_stats.norm.cdf(2))  # A* at d=4
HEADROOM = BAYES - 0.5
RULES = {"delta": 0.01, "headroom": HEADROOM, "family_size": 6}
LEVEL = 1 - FAMILY_ERROR / 6


def table(accuracy, seeds=None, **columns):
    """Make the seeds.csv of one side from its population accuracies."""
    accuracy = np.asarray(accuracy, float)
    gain = (accuracy - 0.5) / HEADROOM
    state = np.select([np.isnan(gain), gain >= 0.8, gain == 0], ["diverged", "learned", "dead"], "slow")
    seeds = np.arange(len(accuracy)) if seeds is None else seeds
    return pd.DataFrame(
        {"seed": seeds, "state": state, "population_accuracy": accuracy, "gain": gain, **columns}
    )


def contrast(a, b, **options):
    """Compare two sides by the rules of the primary contrasts, with a short bootstrap."""
    return compare(a, b, **({"level": LEVEL, "resamples": 99, "fewest": 2} | RULES | options))


def interval(lo, hi, n=500):
    return Interval((lo + hi) / 2, lo, hi, n, LEVEL)


def test_holm_by_hand():
    # sorted .01 .02 .04, times 3, 2, 1: .03 .04 .04; what was not tested is not counted
    assert holm([0.04, math.nan, 0.01, 0.02]) == pytest.approx([0.04, math.nan, 0.03, 0.04], nan_ok=True)
    assert np.isnan(holm([math.nan])).all()


# The four rules


@pytest.mark.parametrize(
    ("lo", "hi", "n", "kind", "direction"),
    [
        (0.011, 0.030, 100, "better", 1),
        (-0.030, -0.011, 100, "better", -1),
        (0.010, 0.030, 500, "better_unsettled", 1),  # lo must be beyond delta, not at it
        (-0.005, 0.005, 262, "equivalent", 0),
        (0.002, 0.005, 262, "equivalent", 1),  # small but detectable
        (-0.005, -0.002, 262, "equivalent", -1),
        (-0.005, 0.005, 261, "inconclusive", 0),  # flip guard
        (0.002, 0.005, 261, "better_unsettled", 1),
        (-0.005, 0.010, 500, "inconclusive", 0),
        (-0.010, 0.005, 500, "inconclusive", 0),
        (-0.030, -0.002, 500, "better_unsettled", -1),
        (-0.030, 0.030, 500, "inconclusive", 0),
        (0.0, 0.030, 500, "inconclusive", 0),
        (0.011, 0.030, 49, "too_few", 0),
        (0.011, 0.030, 50, "better", 1),
        (math.nan, math.nan, 500, "incomplete", 0),
    ],
)
def test_rules(lo, hi, n, kind, direction):
    verdict = decide(interval(lo, hi, n), **RULES)
    assert (verdict.kind, verdict.direction, verdict.n, verdict.delta) == (kind, direction, n, 0.01)


@pytest.mark.parametrize(
    ("lo", "hi", "kind"),
    [
        (-0.009, 0.009, "equivalent"),
        (-0.009, 0.011, "inconclusive"),
        (-0.011, 0.009, "inconclusive"),
        (math.nan, math.nan, "equivalent"),  # nothing to check with
    ],
)
def test_equivalence_needs_the_check_to_agree(lo, hi, kind):
    verdict = decide(interval(-0.005, 0.005), **RULES, check=Interval(0, lo, hi, 500, LEVEL))
    assert verdict.kind == kind


def test_rare_flips_to_one_side_pass_t_but_not_the_check():
    # four flips of 500, where a true difference of delta brings 10.5 on average, and four or fewer in 2%
    few = table([0.5 + HEADROOM] * 4 + [0.5] * 496), table([0.5] * 500)
    found = contrast(*few, resamples=9999)
    t = mean_interval(few[0].population_accuracy - few[1].population_accuracy, LEVEL)
    assert t.hi < 0.01 < min(found.bootstrap.hi, found.difference.hi)
    assert found.verdict.kind == "inconclusive"
    assert found.verdict.seeds_needed > 500
    assert found.smallest_delta == max(found.difference.hi, found.bootstrap.hi)


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=30), st.floats(0.5, 0.999))
@settings(max_examples=100, deadline=None)
def test_the_interval_is_students_and_what_unseen_flips_could_add(differences, level):
    t, found = mean_interval(differences, level), difference_interval(differences, level, headroom=HEADROOM)
    reach = flip_reach(len(differences), headroom=HEADROOM, level=level)
    assert (found.lo, found.hi) == (t.lo - reach, t.hi + reach)
    # flips that would move the mean further than this show themselves in so many seeds, but for the error to one side
    rate = reach / HEADROOM
    if rate < 1:
        assert (1 - rate) ** len(differences) <= (1 - level) / 2


def test_a_steady_lead_that_unseen_flips_could_undo_is_no_verdict():
    """All of 50 seeds by .02: flips the other way on 1 seed in 20 are absent from 8% of such samples, and undo it."""
    found = contrast(table([0.92] * 50, epochs=range(50)), table([0.90] * 50, epochs=range(50)), fewest=50)
    assert mean_interval([0.02] * 50, LEVEL).lo > 0.01
    assert found.verdict.kind == "inconclusive"
    many = contrast(table([0.92] * 500), table([0.90] * 500))
    assert many.verdict.kind == "better"


def test_flip_guard_is_262_at_distance_4():
    assert flip_guard(**RULES) == math.ceil(math.log(2 * 6 / 0.05) * (BAYES - 0.5) / 0.01) == 262
    assert flip_reach(262, headroom=HEADROOM, level=LEVEL) <= 0.01
    assert flip_reach(261, headroom=HEADROOM, level=LEVEL) > 0.01
    # at the rate that matters, the guard's seeds show no flip with the error of one contrast to one side
    assert (1 - 0.01 / HEADROOM) ** 262 <= 0.05 / 12


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (Verdict("better", 1, 500, 0.01), "BCE is better by more than 0.01"),
        (Verdict("better", -1, 500, 0.01), "MSE is better by more than 0.01"),
        (Verdict("equivalent", 0, 500, 0.01), "BCE and MSE are equivalent within 0.01"),
        (
            Verdict("equivalent", -1, 500, 0.01),
            "BCE and MSE are equivalent within 0.01; small but detectable difference",
        ),
        (
            Verdict("better_unsettled", 1, 500, 0.01, 900),
            "BCE is better; size relative to 0.01 not settled, about 900 seeds needed",
        ),
        (Verdict("inconclusive", 0, 500, 0.01, 900), "inconclusive; about 900 seeds needed"),
        (Verdict("inconclusive", 0, 500, 0.01), "inconclusive; more seeds than are within reach needed"),
        (
            Verdict("identical", 0, 9, 0.01),
            "identical runs: BCE and MSE agree in every number on all 9 seeds",
        ),
        (Verdict("too_few", 0, 9, 0.01, 50), "no verdict from 9 seeds; at least 50 needed"),
        (Verdict("incomplete", 0, 90, 0.01), "no verdict: some of the 90 pairs of seeds lack a score"),
    ],
)
def test_words(verdict, sentence):
    assert verdict.words("BCE", "MSE") == sentence


@pytest.mark.parametrize(
    ("lo", "hi"), [(-0.009, 0.009), (-0.004, 0.009), (-0.03, 0.02), (0.002, 0.013), (0.008, 0.022)]
)
def test_seeds_needed_give_the_power_promised(lo, hi):
    sd = (hi - lo) / 2 / scipy_stats.t.ppf((1 + LEVEL) / 2, 299) * 300**0.5
    mean = (lo + hi) / 2
    n = seeds_needed(interval(lo, hi, 300), delta=0.01, headroom=HEADROOM, guard=1)

    def chance(n):  # that the interval of n seeds is beyond delta, or within ±delta; the SD taken as known
        half, error = scipy_stats.t.ppf((1 + LEVEL) / 2, n - 1) * sd / n**0.5, sd / n**0.5
        half += flip_reach(n, headroom=HEADROOM, level=LEVEL)
        sample_mean = scipy_stats.norm(mean, error)
        if abs(mean) > 0.01:
            return sample_mean.sf(0.01 + half) + sample_mean.cdf(-0.01 - half)
        return max(0, sample_mean.cdf(0.01 - half) - sample_mean.cdf(half - 0.01))

    assert 0.9 <= chance(n) < 0.96
    assert chance(n // 2) < 0.8


def test_seeds_needed_against_statsmodels_and_at_the_edges():
    d = np.random.default_rng(3).normal(0.03, 0.2, 100)
    effect = (d.mean() - 0.01) / d.std(ddof=1)
    plain = TTestPower().solve_power(effect_size=effect, alpha=1 - LEVEL, power=0.9)
    rules = {"delta": 0.01, "headroom": 1e-9}  # next to no reach
    needed = seeds_needed(mean_interval(d, LEVEL), **rules, guard=10**6)
    assert needed == math.ceil(plain)  # no guard outside
    assert seeds_needed(interval(-0.001, 0.001), **rules, guard=262) == 501
    assert seeds_needed(interval(-0.001, 0.001, 100), **rules, guard=262) == 262
    assert seeds_needed(interval(0.005, 0.015), **rules, guard=262) is None
    assert seeds_needed(interval(0.4, 0.4, 2), **rules, guard=262) <= 5
    beyond = {"delta": 0.01, "headroom": HEADROOM, "guard": 1}
    assert seeds_needed(interval(0.02, 0.02, 2), **beyond) == math.ceil(
        flip_reach(1, headroom=HEADROOM, level=LEVEL) / 0.01 + 1e-9
    )


# Comparisons countable by hand


def test_three_views_countable_by_hand():
    #        both learn       only a      only b  neither  seed 6 and 7 on one side only
    a = table([0.97, 0.95, 0.96, 0.94, 0.5, 0.5, 0.9], seeds=[0, 1, 2, 3, 4, 5, 6])
    b = table([0.96, 0.95, 0.50, 0.50, 0.93, 0.5, 0.9], seeds=[0, 1, 2, 3, 4, 5, 7])
    found = contrast(a, b, level=0.95)
    assert found.n == 6
    assert (found.only_a, found.only_b) == ((6,), (7,))
    rule = found.learned[0]
    assert (rule.both, rule.only_a, rule.only_b, rule.neither) == (2, 2, 1, 1)
    assert (rule.a.estimate, rule.b.estimate) == (4 / 6, 3 / 6)
    assert (rule.a.lo, rule.a.hi) == wilson(4, 6)
    assert rule.p_value == 1  # two against one: 2·P(Bin(3, ½) ≥ 2) = 1
    assert found.conditional.n == 2
    assert found.conditional.estimate == pytest.approx(0.005)
    d = [0.01, 0, 0.46, 0.44, -0.43, 0]
    assert found.difference.estimate == pytest.approx(sum(d) / 6)
    assert (found.mean_a, found.mean_b) == pytest.approx((4.82 / 6, 4.34 / 6))
    assert found.superiority == pytest.approx((3 + 2 / 2) / 6)
    assert found.p_value == pytest.approx(scipy_stats.ttest_rel([*a.gain[:6]], [*b.gain[:6]]).pvalue)
    assert found.smallest_delta == max(-found.difference.lo, found.difference.hi)
    assert found.verdict.kind == "inconclusive"


def test_exact_mcnemar_of_six_flips_one_way():
    found = contrast(table([0.97] * 6 + [0.5] * 4), table([0.5] * 10))
    assert found.learned[0].p_value == pytest.approx(2 / 2**6)


def test_learned_at_other_gains():
    a = table(0.5 + HEADROOM * np.array([0.95, 0.85, 0.60, 0.10]))
    b = table([0.5] * 4)
    found = contrast(a, b)
    assert [(view.gain, view.only_a) for view in found.learned] == [(0.8, 2), (0.5, 3), (0.9, 1)]


def test_a_dead_network_has_not_learned_whatever_its_gain():
    a = table([0.97, 0.97]).assign(state=["learned", "dead"])
    assert contrast(a, table([0.5, 0.5])).learned[0].only_a == 1


def test_identical_runs():
    side = table([0.97, 0.5, math.nan], epochs_to_learn=[40.0, math.nan, math.nan])
    found = contrast(side, side.copy(), fewest=FEWEST)
    assert found.verdict == Verdict("identical", 0, 3, 0.01)
    assert math.isnan(found.p_value)
    assert found.superiority == 0.5


def test_equal_scores_of_different_runs_are_not_identical_runs():
    a, b = table([0.5] * 300, train_loss=0.69), table([0.5] * 300, train_loss=0.25)
    assert contrast(a, b).verdict == Verdict("equivalent", 0, 300, 0.01)
    few = contrast(a[:100], b[:100]).verdict
    assert (few.kind, few.seeds_needed) == ("inconclusive", 262)


def test_a_constant_difference_decides_without_a_warning():
    found = contrast(table([0.9] * 60), table([0.5] * 60))
    assert found.verdict.kind == "better"
    reach = flip_reach(60, headroom=HEADROOM, level=LEVEL)
    assert (found.difference.lo, found.difference.hi) == pytest.approx((0.4 - reach, 0.4 + reach))
    assert math.isnan(found.bootstrap.lo)
    assert math.isnan(found.p_value)


# Seeds that are missing, repeated, diverged, without a score


def test_a_diverged_network_counts_as_a_guess_and_is_listed():
    a, b = table([0.9, math.nan, 0.8]), table([0.6, 0.6, 0.6])
    found = contrast(a, b)
    assert found.a.diverged == (1,)
    assert found.difference.estimate == pytest.approx((0.3 - 0.1 + 0.2) / 3)
    assert found.n == 3
    assert found.learned[0].only_a == 1  # only the .9 has a gain of .8
    assert contrast(a, b, column="gain").mean_a == pytest.approx((0.4 + 0 + 0.3) / HEADROOM / 3)


def test_a_diverged_network_with_a_score_keeps_it():
    frame = table([0.7, math.nan]).assign(state="diverged")
    assert scores(frame, "population_accuracy").tolist() == [0.7, 0.5]


def test_a_score_missing_without_divergence_leaves_no_verdict_and_names_the_seed():
    a, b = table([0.9] * 60), table([0.6] * 60)
    a.loc[7, "population_accuracy"] = math.nan
    found = contrast(a, b)
    assert found.verdict.kind == "incomplete"
    assert (found.a.unscored, found.b.unscored) == ((7,), ())
    assert math.isnan(found.difference.estimate)
    assert math.isnan(found.superiority)
    assert math.isnan(found.smallest_delta)


def test_a_repeated_seed_counts_once_and_is_listed():
    a, b = table([0.9, 0.8, 0.7]), table([0.6, 0.6, 0.6])
    found = contrast(pd.concat([a, a.iloc[[2]]]), b)
    assert found.a.duplicated == (2,)
    assert found.b.duplicated == ()
    assert found.a.seeds == found.n == 3
    assert found.difference == contrast(a, b).difference


def test_a_seed_with_two_different_scores_has_none():
    a, b = table([0.9, 0.8, 0.7]), table([0.6, 0.6, 0.6])
    found = contrast(pd.concat([a, table([0.71], seeds=[2])]), b)
    assert found.a.unscored == found.a.duplicated == (2,)
    assert found.verdict.kind == "incomplete"


def test_no_seed_in_common():
    found = contrast(table([0.9]), table([0.9], seeds=[1]))
    assert (found.n, found.only_a, found.only_b) == (0, (0,), (1,))
    assert found.verdict.kind == "too_few"
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_seeds_are_paired_by_number_not_by_row():
    a, b = table([0.9, 0.8, 0.5]), table([0.7, 0.7, 0.5])
    shuffled = contrast(a.iloc[[2, 0, 1]].reset_index(drop=True), b)
    assert shuffled.difference.estimate == pytest.approx(0.1)
    assert shuffled.learned == contrast(a, b).learned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 0}, "delta must be above 0, not 0"),
        ({"headroom": -0.1}, "headroom must be above 0, not -0.1"),
        ({"family_size": 0}, "family_size must be above 0, not 0"),
        ({"level": 95}, "level must be between 0 and 1, not 95"),
        ({"column": "state"}, r"column must be one of \['gain', 'population_accuracy'.*'state'"),
        ({"column": "phi"}, r"the seeds of A lack the columns \['phi'\]"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        contrast(table([0.9]), table([0.9]), **options)


def test_seeds_must_be_whole_numbers():
    with pytest.raises(ValueError, match="seeds of B must be whole numbers, not float64"):
        contrast(table([0.9]), table([0.9], seeds=[math.nan]))


def test_result_is_json():
    found = compare(
        table([0.9, math.nan, 0.5] * 20), table([0.6, 0.6, 0.5] * 20), **RULES, level=LEVEL, name_b="B"
    )
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["words"] == found.words
    assert read["difference"] == found.difference.to_dict()
    assert read["verdict"] == found.verdict.to_dict()
    assert read["a"]["diverged"] == list(range(1, 60, 3))
    assert read["learned"][0]["only_a"] == 20


# Properties

accuracy = st.sampled_from([0.5, math.nan, 0.97, 0.975, 0.96, 0.9, 0.7, 0.3])
side = st.dictionaries(st.integers(0, 40), accuracy, max_size=30).map(
    lambda by_seed: table(list(by_seed.values()), seeds=np.array(list(by_seed), dtype=int))
)
bounds = st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=2).map(sorted)


def close(found: Interval, wanted: Interval) -> bool:
    return found.to_dict() == pytest.approx(wanted.to_dict(), abs=1e-12)


def turned(it: Interval) -> Interval:
    return replace(it, estimate=-it.estimate, lo=-it.hi, hi=-it.lo)


@given(side, side)
@settings(max_examples=40, deadline=None)
def test_swapping_the_sides_mirrors_the_comparison(a, b):
    options = {"level": 0.9}
    found = contrast(a, b, **options, name_a="BCE", name_b="MSE")
    swapped = contrast(b, a, **options, name_a="MSE", name_b="BCE")
    assert swapped.verdict == replace(found.verdict, direction=-found.verdict.direction)
    if found.verdict.kind not in ("equivalent", "identical"):  # these name both, in the order given
        assert swapped.words == found.words
    assert close(swapped.difference, turned(found.difference))
    assert close(swapped.conditional, turned(found.conditional))
    assert close(swapped.bootstrap, turned(found.bootstrap))
    assert swapped.superiority == pytest.approx(1 - found.superiority, nan_ok=True)
    assert swapped.p_value == pytest.approx(found.p_value, nan_ok=True)
    assert swapped.smallest_delta == pytest.approx(found.smallest_delta, nan_ok=True)
    assert (swapped.a, swapped.b, swapped.only_a, swapped.only_b) == (
        found.b,
        found.a,
        found.only_b,
        found.only_a,
    )
    for theirs, ours in zip(swapped.learned, found.learned, strict=True):
        assert (theirs.both, theirs.only_a, theirs.only_b) == (ours.both, ours.only_b, ours.only_a)
        assert theirs.p_value == ours.p_value


@given(side.filter(len))
@settings(max_examples=30, deadline=None)
def test_identical_sides_are_identical_runs(a):
    assert contrast(a, a.copy(), fewest=FEWEST).verdict.kind == "identical"


@given(side, side, st.data())
@settings(max_examples=40, deadline=None)
def test_no_seed_is_dropped_silently(a, b, data):
    again = data.draw(st.sets(st.sampled_from([*a.seed]) if len(a) else st.nothing()))
    found = contrast(pd.concat([a, a[a.seed.isin(again)]]), b)
    seeds_a, seeds_b = set(a.seed), set(b.seed)
    assert found.n == len(seeds_a & seeds_b) == found.difference.n == found.learned[0].a.n
    assert set(found.only_a) == seeds_a - seeds_b
    assert set(found.only_b) == seeds_b - seeds_a
    assert set(found.a.duplicated) == again
    assert set(found.a.diverged) == set(a.seed[a.population_accuracy.isna()])
    assert set(found.b.diverged) == set(b.seed[b.population_accuracy.isna()])
    for view in found.learned:
        assert view.both + view.only_a + view.only_b + view.neither == found.n


@given(bounds, st.floats(0, 1), st.floats(0, 1), st.integers(2, 2000))
@settings(max_examples=200, deadline=None)
def test_a_narrower_interval_never_turns_a_decided_verdict_into_its_opposite(wide, left, right, n):
    lo, hi = wide
    narrow = sorted(np.clip([lo + left * (hi - lo), lo + right * (hi - lo)], lo, hi))
    before, after = (decide(interval(*edges, n), **RULES) for edges in (wide, narrow))
    if before.direction:
        assert after.direction == before.direction
    if before.kind in ("better", "equivalent"):
        assert after.kind == before.kind


@given(bounds, st.integers(0, 261))
@settings(max_examples=200, deadline=None)
def test_below_the_guard_nothing_is_equivalent(edges, n):
    assert decide(interval(*edges, n), **RULES, fewest=2).kind != "equivalent"


@given(bounds, st.integers(50, 4000))
@settings(max_examples=200, deadline=None)
def test_smallest_delta_is_where_equivalence_begins(edges, n):
    lo, hi = edges
    reach = flip_reach(n, headroom=HEADROOM, level=LEVEL)
    smallest = max(-lo, hi, reach)
    for factor, equivalent in ((1.001, True), (0.999, False)):
        verdict = decide(interval(lo, hi, n), **RULES | {"delta": smallest * factor})
        assert (verdict.kind == "equivalent") is equivalent


@given(bounds, st.integers(50, 4000))
@settings(max_examples=100, deadline=None)
def test_an_undecided_comparison_needs_more_seeds_than_it_has(edges, n):
    verdict = decide(interval(*edges, n), **RULES)
    if verdict.kind in ("better_unsettled", "inconclusive"):
        needed = seeds_needed(interval(*edges, n), delta=0.01, headroom=HEADROOM, guard=262)
        assert needed is None or needed > n


# Calibration


def error_of_t(n: int, level: float, rate: float) -> float:
    """Return the exact chance that t finds a difference where A and B lead by one flip at the same rate."""
    up, down = (grid.ravel() for grid in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    up, down = up[up + down <= n], down[up + down <= n]
    mean = (up - down) / n
    sd = np.sqrt(np.maximum((up + down - n * mean**2) / (n - 1), 0))
    found = np.abs(mean) > scipy_stats.t.ppf((1 + level) / 2, n - 1) * sd / n**0.5 + 1e-12
    counts = np.stack([up, down, n - up - down], axis=1)[found]
    return float(scipy_stats.multinomial.pmf(counts, n, [rate, rate, 1 - 2 * rate]).sum())


def test_fewest_is_where_the_t_interval_becomes_trustworthy():
    rates = np.linspace(0.01, 0.5, 50)
    nominal = 1 - LEVEL
    assert max(error_of_t(FEWEST, LEVEL, rate) for rate in rates) < 1.25 * nominal
    assert max(error_of_t(10, LEVEL, rate) for rate in rates) > 2.5 * nominal
