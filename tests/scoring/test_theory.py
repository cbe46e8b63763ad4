"""Limits of any classifier: expected values are integrated afresh, counted by hand, or known in closed form."""

import math

import numpy as np
import pytest
from factories import fresh_points
from scipy.integrate import quad
from scipy.special import entr, expit
from scipy.stats import norm

from qwerties.scoring import theory


def density(z):
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def test_limits_at_the_notebooks_distance():
    assert theory.bayes_accuracy(4.0) == pytest.approx(0.977250, abs=5e-7)
    np.testing.assert_allclose(theory.bayes_phi(np.array([0.0, 4.0])), [0, 0.954500], atol=5e-7)
    assert theory.bce_floor(4.0) == pytest.approx(0.060427, abs=5e-7)
    assert theory.brier_floor(4.0) == pytest.approx(0.017149, abs=5e-7)


def test_limits_where_the_clusters_coincide():
    assert theory.bayes_accuracy(0.0) == 0.5
    assert theory.bce_floor(0.0) == pytest.approx(theory.DEAD_PLATEAU["bce"], rel=1e-12)
    assert theory.brier_floor(0.0) == pytest.approx(theory.DEAD_PLATEAU["mse"], rel=1e-12)


@pytest.mark.parametrize("distance", [0.3, 1.0, 4.0, 6.0, 12.0])
def test_floors_are_the_mean_uncertainty_of_the_posterior(distance):
    """Entropy and variance of the label given x, averaged over the mixture."""

    def mean(uncertainty):
        def integrand(x):
            a, b = density(x), density(x - distance)
            return (a + b) / 2 * uncertainty(b / (a + b))

        return quad(integrand, -8, distance + 8, points=[distance / 2], epsabs=0, limit=200)[0]

    assert theory.bce_floor(distance) == pytest.approx(mean(lambda p: entr(p) + entr(1 - p)), rel=1e-8, abs=0)
    assert theory.brier_floor(distance) == pytest.approx(mean(lambda p: p * (1 - p)), rel=1e-8, abs=0)


def test_floors_vanish_quietly_when_far_apart():
    assert 0 < theory.brier_floor(30.0) < theory.bce_floor(30.0) < 1e-48
    assert theory.bce_floor(1000.0) == theory.brier_floor(1000.0) == 0


# Other arrangements


def test_xor_limits_at_the_notebooks_distance():
    assert theory.bayes_accuracy(4.0, "xor") == pytest.approx(0.955535, abs=5e-7)
    assert theory.best_line(4.0, "xor") == pytest.approx(0.6954, abs=5e-5)
    assert theory.best_strip(4.0, "xor") == pytest.approx(0.8909, abs=5e-5)
    assert list(theory.reference_accuracies(4.0, "xor")) == ["Bayes accuracy", "best strip", "best line"]
    assert list(theory.reference_accuracies(4.0)) == ["Bayes accuracy"]


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0, 4.0, 6.0, 12.0])
def test_xor_bayes_accuracy_is_its_closed_form(distance):
    a = distance / 2
    expected = norm.cdf(a) ** 2 + norm.cdf(-a) ** 2
    assert theory.bayes_accuracy(distance, "xor") == pytest.approx(expected, abs=1e-9)
    assert theory.bayes_phi(distance, "xor") == pytest.approx(2 * expected - 1, abs=2e-9)
    several = theory.bayes_accuracy(np.array([[distance, 4.0, distance]]), "xor")
    assert several.shape == (1, 3)
    assert several[0, 0] == several[0, 2] == theory.bayes_accuracy(distance, "xor")


@pytest.mark.parametrize("distance", [0.0, 0.7, 4.0])
def test_xor_posterior_is_its_closed_form(distance):
    a = distance / 2
    x = np.random.default_rng(1).normal(1 + a, 3, (2, 500))
    centred = np.tanh(a * (x - 1 - a))
    expected = (1 - centred[0] * centred[1]) / 2
    np.testing.assert_allclose(expit(theory.log_odds(x, distance, "xor")), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("distance", [0.5, 4.0])
def test_the_quadrature_over_the_plane_agrees_with_the_closed_forms_of_clusters(distance):
    limits = theory._limits(distance, "clusters")
    assert limits.accuracy == pytest.approx(theory.bayes_accuracy(distance), abs=1e-9)
    assert limits.bce == pytest.approx(theory.bce_floor(distance), abs=1e-9)
    assert limits.brier == pytest.approx(theory.brier_floor(distance), abs=1e-9)
    for cuts in (1, 2):
        assert theory._best_cuts(distance, "clusters", cuts) == pytest.approx(
            theory.bayes_accuracy(distance), abs=1e-9
        )


def test_xor_limits_where_the_clusters_coincide():
    assert theory.bce_floor(0.0, "xor") == pytest.approx(math.log(2), abs=1e-9)
    assert theory.brier_floor(0.0, "xor") == pytest.approx(0.25, abs=1e-9)
    assert theory.reference_accuracies(0.0, "xor") == {"Bayes accuracy": pytest.approx(0.5, abs=1e-9)}


def test_xor_limits_agree_with_ten_million_points():
    n, chunk, distance = 10_000_000, 500_000, 4.0
    rng, a = np.random.default_rng(17), 2.0
    cut = np.linspace(-4, 4, 161)  # offsets of lines and half-widths of strips, across the diagonal
    sums, squares = np.zeros(3), np.zeros(3)
    lines, strips = np.zeros(len(cut)), np.zeros(len(cut))
    edges = np.concatenate([[-np.inf], cut, [np.inf]])
    for _ in range(n // chunk):
        x, y = fresh_points(chunk, distance, rng)
        u = x - 1 - a
        chance = (1 - np.tanh(a * u[0]) * np.tanh(a * u[1])) / 2  # P(B | x)
        own = np.where(y == 1, chance, 1 - chance)
        values = np.stack([(chance > 0.5) == (y == 1), -np.log(own), (1 - own) ** 2])
        sums += values.sum(1)
        squares += (values**2).sum(1)
        across = (u[0] + u[1]) / math.sqrt(2)
        lead = np.histogram(across, edges, weights=1.0 - 2 * y)[0].cumsum()[:-1]  # A less B below each cut
        lines += lead
        inside = np.histogram(np.abs(across), edges, weights=2.0 * y - 1)[0].cumsum()[:-1]
        strips += inside
    mean = sums / n
    error = 5 * np.sqrt((squares / n - mean**2) / n)
    expected = [f(distance, "xor") for f in (theory.bayes_accuracy, theory.bce_floor, theory.brier_floor)]
    assert (np.abs(mean - expected) < error).all()
    found = [0.5 + np.abs(values).max() / n for values in (lines, strips)]
    assert found == pytest.approx([theory.best_line(4.0, "xor"), theory.best_strip(4.0, "xor")], abs=1e-3)
