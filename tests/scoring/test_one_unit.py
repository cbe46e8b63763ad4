"""Exact scores of one hidden unit: expected values are integrated afresh, counted by hand, or known in closed form."""

import math

import numpy as np
import pytest
from factories import fresh_points
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.special import expit
from scipy.stats import norm

from qwerties.scoring import one_unit, theory

ACTIVATE = {
    "relu": lambda u: u * (u > 0),
    "linear": lambda u: u,
    "sigmoid": lambda u: 1 / (1 + np.exp(-u)),
    "tanh": np.tanh,
}


def density(z):
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


LOSSES = {  # of a logit that should be positive
    "bce": lambda logit: np.logaddexp(0, -logit),
    "brier": lambda logit: expit(-logit) ** 2,
}
BAYES_4 = norm.cdf(2)
activations = pytest.mark.parametrize("activation", ACTIVATE)


def some_networks(seed, count, slope=2.0):
    """weight, bias, out_weight, out_bias, distance; logits about as steep as `slope` squared."""
    rng = np.random.default_rng(seed)
    w, b, v = (slope * rng.standard_normal(shape) for shape in ((count, 2), count, count))
    level = rng.uniform(-0.5, 1.5, count)  # inside and outside of the range of each activation
    return w, b, v, -v * level, rng.uniform(0.5, 6, count)


def one(function, activation, w, b, v, c, distance=4.0):
    """The function's result for a single network."""
    result = function(activation, [w], [b], [v], [c], distance)
    return np.squeeze(result)


# Accuracy


@pytest.mark.parametrize(
    ("activation", "w", "b", "v", "c", "expected"),
    [
        # the cut x = 3 lies halfway between the centres 1 and 5
        ("linear", (1, 0), -3, 1, 0, BAYES_4),
        ("linear", (1, 0), 0, 1, -3, BAYES_4),
        ("linear", (-1, 0), 3, -1, 0, BAYES_4),
        ("linear", (1, 0), -3, -1, 0, 1 - BAYES_4),
        ("linear", (0, 1), -1, 1, 0, 0.5),  # blind to the direction that matters
        ("linear", (3, 4), -3, 1, 0, (norm.cdf(16 / 5) + norm.cdf(-4 / 5)) / 2),  # u is 4 or 16, n = 5
        ("relu", (1, 0), -3, 1, 0, BAYES_4),  # c = 0, v > 0: the kink is the cut
        ("relu", (1, 0), -2, 1, -1, BAYES_4),
        ("relu", (1, 0), -2, -1, 1, 1 - BAYES_4),
        ("relu", (-1, 0), 4, -1, 1, BAYES_4),
        ("relu", (1, 0), -3, -1, 0, 0.5),  # c = 0, v < 0: never above zero
        ("relu", (1, 0), -3, -1, -0.0, 0.5),
        ("relu", (1, 0), -3, 1, 1e-300, 0.5),  # just above zero everywhere
        ("relu", (1, 0), -3, 1, 1, 0.5),
        ("relu", (1, 0), -3, -1, -1, 0.5),
        ("relu", (1, 0), -1e9, 1, -1, 0.5),  # dead
        ("sigmoid", (1, 0), -3, 1, -0.5, BAYES_4),
        ("sigmoid", (1, 0), -3, -1, 0.5, 1 - BAYES_4),
        ("sigmoid", (1, 0), -3 + math.log(3), 1, -0.75, BAYES_4),
        ("sigmoid", (1, 0), -3, 1, 0, 0.5),  # thresholds 0 and 1 lie outside the range
        ("sigmoid", (1, 0), -3, 1, -1, 0.5),
        ("sigmoid", (1, 0), -3, 1, 2, 0.5),
        ("sigmoid", (1, 0), -3, 1, -2, 0.5),
        ("tanh", (1, 0), -3, 1, 0, BAYES_4),
        ("tanh", (1, 0), -3, -1, 0, 1 - BAYES_4),
        ("tanh", (1, 0), -3 + math.atanh(0.5), 2, -1, BAYES_4),
        ("tanh", (1, 0), -3, 1, 1, 0.5),
        ("tanh", (1, 0), -3, 1, -1, 0.5),
        ("tanh", (1, 0), -3, 1, 3, 0.5),
        *[(a, (0, 0), 1, 1, -0.2, 0.5) for a in ACTIVATE],  # n = 0
        *[(a, (0, 0), 0, 1, 0, 0.5) for a in ACTIVATE],
        *[(a, (1, 0), -3, 0, c, 0.5) for a in ACTIVATE for c in (-1, 0, 1)],  # v = 0
        *[(a, (3e38, 0), -9e38, 3e38, 0, BAYES_4) for a in ("relu", "linear", "tanh")],
        ("linear", (1, 0), -3, 1e-45, 0, BAYES_4),
        ("linear", (1, 0), -3, 1e-300, 1e300, 0.5),  # the threshold overflows
    ],
)
def test_accuracy_by_hand(activation, w, b, v, c, expected):
    assert one(one_unit.population_accuracy, activation, w, b, v, c) == pytest.approx(expected, abs=1e-12)


@activations
def test_accuracy_counts_what_the_network_gets_right(activation):
    """In each class a million equally likely values of w·x + b are pushed through the network and counted."""
    w, b, v, c, d = networks = some_networks(seed=12, count=9)
    z = norm.ppf((np.arange(1_000_000) + 0.5) / 1_000_000)
    expected = np.zeros(9)
    for i in range(9):
        noise = np.hypot(*w[i]) * z
        called_1 = [
            np.mean(v[i] * ACTIVATE[activation](w[i] @ centre + b[i] + noise) + c[i] > 0)
            for centre in [(1, 1), (1 + d[i], 1)]
        ]
        expected[i] = (1 - called_1[0] + called_1[1]) / 2
    assert np.sum(expected != 0.5) >= 3  # not only constant predictions
    np.testing.assert_allclose(one_unit.population_accuracy(activation, *networks), expected, atol=1e-6)


@activations
def test_accuracy_counts_points_of_the_plane(activation):
    w, b, v, c, _ = some_networks(seed=2, count=4)
    z = norm.ppf((np.arange(500) + 0.5) / 500)
    cloud = np.stack(np.meshgrid(z, z)).reshape(2, -1) + 1
    logits = [
        v[:, None] * ACTIVATE[activation](w @ (cloud + shift) + b[:, None]) + c[:, None]
        for shift in ([[0], [0]], [[2.5], [0]])
    ]
    expected = (np.mean(logits[0] <= 0, axis=1) + np.mean(logits[1] > 0, axis=1)) / 2
    actual = one_unit.population_accuracy(activation, w, b, v, c, 2.5)
    np.testing.assert_allclose(actual, expected, atol=2e-4)


numbers = st.floats(-1e3, 1e3, width=32)
any_network = given(w=st.tuples(numbers, numbers), b=numbers, v=numbers, c=numbers, distance=st.floats(0, 12))


@activations
@settings(max_examples=50, deadline=None)
@any_network
def test_accuracy_is_at_most_bayes_and_mirrors_with_the_sign_of_the_logit(activation, w, b, v, c, distance):
    accuracy = one(one_unit.population_accuracy, activation, w, b, v, c, distance)
    assert accuracy <= theory.bayes_accuracy(distance) + 1e-12
    if activation != "relu" or c != 0:  # a ReLU's logit of exactly zero is class 0 either way
        mirrored = one(one_unit.population_accuracy, activation, w, b, -v, -c, distance)
        assert mirrored == pytest.approx(1 - accuracy, abs=1e-12)


# Losses


def test_the_best_linear_network_reaches_every_limit():
    d = np.array([0.5, 2.0, 4.0, 6.0])
    w, b = np.stack([d, 0 * d], axis=1), -d * (1 + d / 2)  # the log-likelihood ratio
    networks = "linear", w, b, np.ones(4), np.zeros(4), d
    bce, brier = one_unit.population_losses(*networks)
    np.testing.assert_allclose(one_unit.population_accuracy(*networks), theory.bayes_accuracy(d), atol=1e-12)
    np.testing.assert_allclose(bce, [theory.bce_floor(x) for x in d], rtol=1e-10)
    np.testing.assert_allclose(brier, [theory.brier_floor(x) for x in d], rtol=1e-10)


@activations
@pytest.mark.parametrize("slope", [1, 2, 7])  # 7 · 7: logits as steep as 50 per standard deviation
def test_losses_integrate_over_the_hidden_unit(activation, slope):
    *weights, distance = some_networks(seed=3, count=3, slope=slope)

    def integrand(z, loss, label, w, b, v, c, d):
        u = w @ (1 + label * d, 1) + b + np.hypot(*w) * z
        logit = v * ACTIVATE[activation](u) + c
        return density(z) * loss(logit if label else -logit) / 2

    options = {"points": np.linspace(-9.5, 9.5, 39), "limit": 500, "epsabs": 1e-10}
    expected = [
        [
            sum(quad(integrand, -10, 10, args=(loss, label, *network), **options)[0] for label in (0, 1))
            for network in zip(*weights, distance, strict=True)
        ]
        for loss in LOSSES.values()
    ]
    actual = one_unit.population_losses(activation, *weights, distance)
    np.testing.assert_allclose(actual, expected, atol=1e-7)


@activations
def test_losses_integrate_over_the_plane(activation):
    w, b, v, c, d = np.array([0.8, -0.5]), -1.2, 1.5, -0.7, 3.0

    def integrand(y, x, loss, label):
        logit = v * ACTIVATE[activation](w @ [1 + label * d + x, 1 + y] + b) + c
        return density(x) * density(y) * loss(logit if label else -logit) / 2

    expected = [
        sum(dblquad(integrand, -7, 7, -7, 7, args=(loss, k), epsabs=1e-6, epsrel=1e-6)[0] for k in (0, 1))
        for loss in LOSSES.values()
    ]
    actual = one(one_unit.population_losses, activation, w, b, v, c, d)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@activations
def test_losses_of_constant_answers(activation):
    for w, b, v, c in [((1, 2), 3, 0, 0), ((0, 0), 0, 0, 0)]:
        assert one(one_unit.population_losses, activation, w, b, v, c) == pytest.approx(
            (theory.DEAD_PLATEAU["bce"], theory.DEAD_PLATEAU["mse"])
        )
    for w, v in [((1, 2), 0), ((0, 0), 0.7)]:
        logit = v * ACTIVATE[activation](0.4) - 1.3
        p = 1 / (1 + math.exp(-logit))
        expected = -(math.log(p) + math.log(1 - p)) / 2, (p**2 + (1 - p) ** 2) / 2
        assert one(one_unit.population_losses, activation, w, 0.4, v, -1.3) == pytest.approx(expected)


def test_log_loss_is_not_clamped():
    bce, brier = one(one_unit.population_losses, "linear", (0, 0), 1000, 1, 0)
    assert (bce, brier) == pytest.approx((500, 0.5))  # wrong by a logit of 1000 in half the cases
    bce, brier = one(one_unit.population_losses, "linear", (3e38, 0), -9e38, 3e38, 0)
    shortfall = norm.pdf(2) - 2 * norm.cdf(-2)  # E[max(0, z − 2)]: a vast logit costs what it is wrong by
    assert (bce, brier) == pytest.approx((9e76 * shortfall, 1 - BAYES_4), rel=1e-5)


@activations
@settings(max_examples=25, deadline=None)
@any_network
def test_losses_are_never_below_the_floors(activation, w, b, v, c, distance):
    bce, brier = one(one_unit.population_losses, activation, w, b, v, c, distance)
    assert bce >= theory.bce_floor(distance) - 1e-5
    assert theory.brier_floor(distance) - 1e-5 <= brier <= 1


# Batches and bad values


@activations
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_only_the_network_with_a_bad_weight_is_nan(activation, bad):
    for column in range(5):
        w, b, v, c, d = some_networks(seed=4, count=3)
        v[1], w[1] = 0, 0  # even where the formula has a constant for it
        clean = [one_unit.population_accuracy(activation, w, b, v, c, d)]
        clean += one_unit.population_losses(activation, w, b, v, c, d)
        [w[:, 0], w[:, 1], b, v, c][column][1] = bad
        spoilt = [one_unit.population_accuracy(activation, w, b, v, c, d)]
        spoilt += one_unit.population_losses(activation, w, b, v, c, d)
        assert np.isnan(np.array(spoilt)[:, 1]).all()
        np.testing.assert_array_equal(np.delete(spoilt, 1, axis=1), np.delete(clean, 1, axis=1))


@activations
def test_float32_weights_are_scored_in_float64(activation):
    w, b, v, c, d = some_networks(seed=5, count=3)
    single = [a.astype(np.float32) for a in (w, b, v, c)]
    double = [a.astype(np.float64) for a in single]
    for function in (one_unit.population_accuracy, one_unit.population_losses):
        np.testing.assert_array_equal(function(activation, *single, d), function(activation, *double, d))


@pytest.mark.parametrize("function", [one_unit.population_accuracy, one_unit.population_losses])
def test_unknown_activation_is_named(function):
    with pytest.raises(ValueError, match=r"one of relu, linear, sigmoid, tanh; got 'gelu'$"):
        one(function, "gelu", (1, 0), 0, 1, 0)


@activations
def test_scores_of_one_unit_on_xor_agree_with_points(activation):
    w, b, v, c, distance = some_networks(3, 20, slope=1.0)
    accuracy = one_unit.population_accuracy(activation, w, b, v, c, distance, "xor")
    bce, brier = one_unit.population_losses(activation, w, b, v, c, distance, "xor")
    rng, n = np.random.default_rng(5), 400_000
    for i in range(len(b)):
        x, y = fresh_points(n, distance[i], rng)
        z = v[i] * ACTIVATE[activation](w[i] @ x + b[i]) + c[i]
        wrong = np.where(y == 1, -z, z)
        for found, values in (
            (accuracy[i], (z > 0) == (y == 1)),
            (bce[i], np.logaddexp(0, wrong)),
            (brier[i], expit(wrong) ** 2),
        ):
            assert found == pytest.approx(values.mean(), abs=6 * values.std() / math.sqrt(n) + 1e-12)


@activations
def test_one_unit_on_xor_never_beats_the_best_line(activation):
    w, b, v, c, _ = some_networks(4, 2000, slope=3.0)
    accuracy = one_unit.population_accuracy(activation, w, b, v, c, 4.0, "xor")
    assert accuracy.max() <= theory.best_line(4.0, "xor") + 1e-12
    assert accuracy.min() >= 1 - theory.best_line(4.0, "xor") - 1e-12
