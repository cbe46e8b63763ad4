"""Variance components: by hand, against statsmodels, and with known components."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from qwerties.stats.variance import variance_components


def layout(scores):
    """Make the table of a crossed layout from scores, shape (data, start)."""
    scores = np.asarray(scores, float)
    data, start = np.indices(scores.shape)
    state = np.where(np.isnan(scores.ravel()), "diverged", "learned")
    return pd.DataFrame(
        {
            "data_seed": data.ravel(),
            "weight_seed": start.ravel(),
            "state": state,
            "population_accuracy": scores.ravel(),
        }
    )


def variances(found):
    return [found.data.variance, found.start.variance, found.interaction.variance]


def draw(rng, shape, data, start, interaction):
    """Draw normal scores with the given variances."""
    sizes = ((shape[0], 1), (1, shape[1]), shape)
    return sum(
        var**0.5 * rng.normal(size=size) for var, size in zip((data, start, interaction), sizes, strict=True)
    )


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[0, 1], [0, 1], [0, 1]], [0, 0.5, 0]),  # every data seed the same, the starts apart by 1
        ([[0, 1], [2, 3]], [2, 0.5, 0]),  # both add up
        ([[0, 1], [1, 0]], [0, 0, 1]),  # residuals ±½; the ANOVA's other two are −½, reported as 0
    ],
)
def test_by_hand(scores, expected):
    found = variance_components(layout(scores))
    assert variances(found) == pytest.approx(expected)
    shares = [found.data.share, found.start.share, found.interaction.share]
    assert shares == pytest.approx(np.array(expected) / sum(expected))
    assert (found.data_seeds, found.weight_seeds) == np.shape(scores)
    assert found.mean == np.mean(scores)


def test_estimates_are_those_of_the_anova_in_statsmodels():
    frame = layout(0.7 + 0.1 * draw(np.random.default_rng(0), (7, 9), 1, 2, 0.5))
    model = ols("population_accuracy ~ C(data_seed) + C(weight_seed)", frame).fit()
    data, start, residual = anova_lm(model)["mean_sq"]
    assert variances(variance_components(frame)) == pytest.approx(
        [(data - residual) / 9, (start - residual) / 7, residual]
    )


def test_known_components_come_out_on_average():
    rng, truth = np.random.default_rng(0), (1.0, 2.0, 0.5)
    found = np.array(
        [variances(variance_components(layout(draw(rng, (20, 30), *truth)), resamples=1)) for _ in range(100)]
    )
    standard_error = found.std(axis=0, ddof=1) / 10
    assert (np.abs(found.mean(axis=0) - truth) < 3 * standard_error).all()


def test_bounds_hold_nearly_as_often_as_promised_with_bimodal_scores():
    # learned where data + start + interaction, all normal, is above −½
    parts = np.array([0.25, 4, 0.16])
    edge = 0.5 / parts.sum() ** 0.5
    learned = norm.cdf(edge)

    def both_learned(correlation):  # two networks that share a seed
        return multivariate_normal.cdf([edge, edge], cov=[[1, correlation], [correlation, 1]])

    data, start = (0.477**2 * (both_learned(part / parts.sum()) - learned**2) for part in parts[:2])
    truth = [data, start, 0.477**2 * learned * (1 - learned) - data - start]

    rng, held = np.random.default_rng(1), np.zeros(3)
    for _ in range(100):
        scores = 0.5 + 0.477 * (draw(rng, (40, 40), *parts) > -0.5)
        found = variance_components(layout(scores), resamples=199)
        drawn = (found.data, found.start, found.interaction)
        held += [part.lo <= true <= part.hi for part, true in zip(drawn, truth, strict=True)]
    assert (held >= 87).all()


def test_a_diverged_network_counts_as_a_guess():
    assert variance_components(layout([[0.9, math.nan], [0.9, 0.5]])) == variance_components(
        layout([[0.9, 0.5], [0.9, 0.5]])
    )


def test_equal_scores_have_no_variance_and_no_shares():
    start = variance_components(layout(np.full((3, 4), 0.7))).start
    assert (start.variance, start.lo, start.hi) == (0, 0, 0)
    assert np.isnan([start.share, start.share_lo, start.share_hi]).all()


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000), st.floats(0.25, 0.75))
@settings(max_examples=30, deadline=None)
def test_turning_the_layout_swaps_data_and_start_and_a_constant_changes_nothing(rows, columns, seed, shift):
    scores = np.random.default_rng(seed).random((rows, columns))
    upright = variance_components(layout(scores), resamples=9)
    turned = variance_components(layout(scores.T + shift), resamples=9)
    assert variances(turned) == pytest.approx([variances(upright)[k] for k in (1, 0, 2)], abs=1e-12)
    assert upright.data.share + upright.start.share + upright.interaction.share == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(index=3), r"and have a score, unlike \[1\]"),
        (lambda frame: pd.concat([frame, frame.iloc[[3]]]), r"not more often: \[\(1, 0\)\]"),
        (lambda frame: frame.assign(population_accuracy=math.nan), r"unlike \[0, 1, 2\]"),
        (
            lambda frame: frame[frame.data_seed == 0],
            r"at least 2 data seeds and 2 weight seeds, not \(1, 3\)",
        ),
    ],
)
def test_a_broken_layout_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        variance_components(change(layout(np.eye(3))))
