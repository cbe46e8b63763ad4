"""Pairing by unit, what is left out, and the verdict on two arms."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from qwerties.stats.compare import compare
from qwerties.stats.confidence import confidence_sequence

RULE = {"bounds": (0, 1), "margin": 0.01}


@pytest.fixture
def arms():
    """Two arms on 300 seeds; A is ahead by about .1."""
    rng = np.random.default_rng(0)
    b = pd.Series(rng.uniform(0.4, 0.8, 300), name="accuracy")
    return (b + rng.uniform(0, 0.2, 300)).rename("accuracy"), b


def test_the_result_is_that_of_the_differences(arms):
    a, b = arms
    result = compare(a, b, **RULE)
    differences = a.to_numpy() - b.to_numpy()
    (low,), (high,) = confidence_sequence(differences, alpha=0.05, bounds=(-1, 1))
    assert result.interval == (low, high)
    assert result.estimate == differences.mean()
    assert (result.differences == differences).all()
    assert (result.n, result.bounds, result.alpha, result.margin) == (300, (-1, 1), 0.05, 0.01)
    assert (result.verdict, result.needed) == ("a_better", None)
    assert result.equivalence_margin == high
    assert result.words("X", "Y") == "X beats Y by more than 0.01"


def test_the_order_of_the_rows_does_not_matter(arms):
    a, b = arms
    assert compare(a.sample(frac=1, random_state=1), b.sample(frac=1, random_state=2), **RULE) == compare(
        a, b, **RULE
    )


def test_swapping_mirrors(arms):
    a, b = arms
    a, b = a.drop([3, 4]), b.drop([5])
    assert compare(b, a, **RULE) == compare(a, b, **RULE).swapped()
    assert compare(b, a, **RULE).verdict == "b_better"
    assert (compare(b, a, **RULE).differences == compare(a, b, **RULE).swapped().differences).all()


def test_swapping_mirrors_where_one_arm_holds_its_units_as_floats(arms):
    tasks, seeds = ["x", "y", "z"] * 100, np.arange(300)
    a, b = arms[0].set_axis([tasks, seeds]), arms[1].set_axis([tasks, seeds / 1])
    assert compare(b, a, **RULE) == compare(a, b, **RULE).swapped()


def test_unpaired_and_missing_units_are_named_and_left_out(arms):
    a, b = arms
    shortened_a, holed_b = a.drop([7, 8]), b.drop([1]).mask(b.index.isin([20, 30])[np.arange(300) != 1])
    result = compare(shortened_a, holed_b, **RULE)
    assert (result.unpaired_a, result.unpaired_b, result.missing) == ((1,), (7, 8), (20, 30))
    left = [unit for unit in range(300) if unit not in (1, 7, 8, 20, 30)]
    assert result.n == 295
    assert result.interval == compare(a[left], b[left], **RULE).interval


def test_names_are_weighed_in_an_order_that_is_not_the_alphabet(arms):
    """Sorted by name, tests of one kind would come first, and an early lead would say more than it can."""
    half = 500
    units = [f"easy {k:03}" for k in range(half)] + [f"hard {k:03}" for k in range(half)]
    a = pd.Series([0.9] * half + [0.1] * half, index=units)
    b = pd.Series([0.1] * half + [0.9] * half, index=units)
    result = compare(a, b, **RULE)
    assert result.verdict == "open"
    assert result.low < 0 < result.high
    assert compare(a[::-1], b, **RULE) == result
    pairs = pd.MultiIndex.from_product([["easy", "hard"], range(half)], names=["task", "seed"])
    several = compare(a.set_axis(pairs), b.set_axis(pairs), **RULE)
    assert several.verdict == "open"
    dropped = compare(a.set_axis(pairs)[1:], b.set_axis(pairs), **RULE)
    assert dropped.unpaired_b == (("easy", 0),)


def test_frames_with_one_column_are_taken(arms):
    a, b = arms
    assert compare(a.to_frame(), b.to_frame(), **RULE) == compare(a, b, **RULE)


def test_more_seeds_never_widen_the_interval(arms):
    a, b = arms
    few, many = compare(a[:100], b[:100], **RULE), compare(a, b, **RULE)
    assert few.low <= many.low <= many.high <= few.high


def test_equal_arms_are_identical_unless_their_values_are_few(arms):
    a, _ = arms
    result = compare(a, a, **RULE)
    assert (result.verdict, result.estimate, result.needed) == ("identical", 0, None)
    passed, grades = pd.Series([0, 1] * 10), pd.Series([0, 0.25, 0.5, 1] * 3)
    assert compare(passed, passed, **RULE).verdict == "open"
    assert compare(grades, grades, **RULE).verdict == "open"
    assert not compare(grades, grades, **RULE).meets("equivalent")
    assert compare(passed, passed, bounds=(0, 1), margin=0.5).verdict == "equivalent"
    assert compare(pd.Series([0.7]), pd.Series([0.7]), **RULE).verdict == "open"


def test_nothing_compared_is_open():
    result = compare(pd.Series([0.5, np.nan]), pd.Series([np.nan, 0.5]), **RULE)
    assert (result.n, result.verdict, result.needed, result.interval) == (0, "open", None, (-1, 1))
    assert (result.missing, result.equivalence_margin) == ((0, 1), 1)
    assert math.isnan(result.estimate)
    assert result.to_dict()["estimate"] is None


def test_an_open_comparison_says_how_many_units_would_decide_it():
    rng = np.random.default_rng(0)
    result = compare(pd.Series(0.5 + rng.uniform(-0.1, 0.1, 50)), pd.Series(0.5, range(50)), **RULE)
    assert result.verdict == "open"
    assert 300 < result.needed < 5000
    assert result.words(unit="seed") == f"open; about {result.needed:,} seeds would decide it"


@pytest.mark.parametrize("level", [0.05, -0.06])
def test_any_margin_beyond_the_interval_means_equivalent(level):
    a, b = pd.Series([0.5 + level] * 300), pd.Series([0.5] * 300)
    bound = compare(a, b, **RULE).equivalence_margin
    assert compare(a, b, bounds=(0, 1), margin=bound + 1e-9).verdict == "equivalent"
    assert compare(a, b, bounds=(0, 1), margin=bound).verdict != "equivalent"


def test_the_dictionary_is_fit_for_json(arms):
    a, b = arms
    pairs = pd.MultiIndex.from_product([["x", "y"], range(150)])
    a, b = a.set_axis(pairs), b.set_axis(pairs).drop(("y", 3))
    result = compare(a, b, bounds=(0, 1), margin=np.float64(0.01), alpha=np.float32(0.05))
    assert json.loads(json.dumps(result.to_dict())) == {
        "verdict": "a_better",
        "estimate": result.estimate,
        "low": result.low,
        "high": result.high,
        "n": 299,
        "alpha": float(np.float32(0.05)),
        "margin": 0.01,
        "unpaired": {"a": [["y", 3]], "b": []},
        "needed": None,
    }


def test_markdown_shows_the_verdict_and_its_numbers(arms):
    a, b = arms
    result = compare(a.drop([1, 2]), b, **RULE)
    text = result.to_markdown("new|er", "old", unit="seed")
    assert text.startswith("**new\\|er beats old by more than 0.01**\n")
    assert result.to_markdown("<a>`\\*", "~[b]").startswith("**\\<a>\\`\\\\\\* beats \\~\\[b] by more")
    assert f"| 95% interval, wherever one stops | [{result.low:+.4g}, {result.high:+.4g}] |" in text
    assert "| Paired seeds | 298 |" in text
    assert "| Left out | 0 only in new\\|er, 2 only in old |" in text
    assert all(line.count("|") - line.count("\\|") == 3 for line in text.splitlines()[2:])


def test_an_order_that_tells_the_outcome_is_warned_of(arms):
    sorted_by_outcome = compare(pd.Series([1] * 1000 + [0] * 1000), pd.Series(0, range(2000)), **RULE)
    warning = "the mean is outside its interval; the outcome seems to depend on the order of the cases"
    assert sorted_by_outcome.warning("case") == warning
    assert f"| Warning | {warning} |" in sorted_by_outcome.to_markdown(unit="case")
    assert "Warning" not in compare(*arms, **RULE).to_markdown()


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ({0: "x"}, {0: 0.5}, {}, "the metric of A must be numbers, got"),
        ({0: 0.5}, {0: True}, {"bounds": (0.6, 1)}, "outside in A: 0.5 at unit 0"),
        ({0: 0.5}, {0: 1.5}, {}, "the metric must be from 0 to 1; outside in B: 1.5 at unit 0"),
        ({0: 0.5}, {0: math.inf}, {}, "the metric must be from 0 to 1; outside in B: inf at unit 0"),
        ({0: 0.5}, {1: 0.5}, {}, "the two arms share no unit: A has 0; B has 1"),
        ({}, {}, {}, "the two arms share no unit: A has none; B has none"),
        ({0: 0.5}, {0: 0.5}, {"bounds": (1, 0)}, "bounds must be two finite numbers, the smaller one first"),
        ({0: 0.5}, {0: 0.5}, {"bounds": 1}, "bounds must be two numbers, got 1"),
        ({0: 0.5}, {0: 0.5}, {"margin": "0.01"}, "margin must be a finite number above 0, got '0.01'"),
        ({0: 0.5}, {0: 0.5}, {"margin": 0}, "margin must be a finite number above 0, got 0"),
        ({0: 0.5}, {0: 0.5}, {"margin": math.nan}, "margin must be a finite number above 0, got nan"),
        ({0: 0.5}, {0: 0.5}, {"margin": 1}, "margin must be less than the range of the bounds, 1, got 1"),
        ({0: 0.5}, {0: 0.5}, {"alpha": 1}, "alpha must be between 0 and 1, got 1"),
        ({0: 0.5}, {0: 0.5}, {"alpha": "5%"}, "alpha must be between 0 and 1, got '5%'"),
    ],
)
def test_bad_input_is_one_clear_line(a, b, options, message):
    series = [pd.Series(values, dtype=None if values else float) for values in (a, b)]
    with pytest.raises(ValueError, match=message) as error:
        compare(*series, **(RULE | options))
    assert "\n" not in str(error.value)


def test_duplicated_units_are_named():
    values = pd.Series([0.1] * 8, index=[0, 1, 1, 2, 2, 3, 4, 4])
    with pytest.raises(ValueError, match="each unit must occur once in A; more often: 1, 2, 4"):
        compare(values, values, **RULE)


def test_units_that_do_not_fit_together_are_refused(arms):
    """Levels in another order would pair task 4 on seed 7 with task 7 on seed 4."""
    a, b = arms
    pairs = pd.MultiIndex.from_product([range(20), range(15)], names=["task", "seed"])
    with pytest.raises(ValueError, match=r"same order, got \['task', 'seed'\] and \['seed', 'task'\]"):
        compare(a.set_axis(pairs), b.set_axis(pairs).swaplevel(), **RULE)
    with pytest.raises(ValueError, match="each value of B must have a unit, the index has NaN"):
        compare(a, b.rename({3: math.nan}), **RULE)
    with pytest.raises(ValueError, match="share no unit, numbers in one and text in the other: A has 0, 1"):
        compare(a, b.rename(str), **RULE)


def test_many_units_are_not_all_named():
    with pytest.raises(ValueError, match=r"A has 0, 1, 2, 3, 4 and 995 more; B has 1000, "):
        compare(pd.Series(0.5, range(1000)), pd.Series(0.5, range(1000, 1010)), **RULE)


def test_frames_with_several_columns_and_lists_are_refused():
    frame = pd.DataFrame({"x": [0.5], "y": [0.5]})
    with pytest.raises(ValueError, match=r"A must have one column, the metric, got \['x', 'y'\]"):
        compare(frame, frame, **RULE)
    with pytest.raises(ValueError, match="A must be a pandas Series indexed by unit, got list"):
        compare([0.5], [0.5], **RULE)
