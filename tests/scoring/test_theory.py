"""Expected values are integrated afresh, counted by hand, or known in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.optimize import minimize
from scipy.special import entr, expit
from scipy.stats import norm

from qwerties.scoring import theory

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


# Limits


def test_limits_at_the_notebooks_distance():
    assert theory.bayes_accuracy(4.0) == pytest.approx(0.977250, abs=5e-7)
    assert theory.bayes_phi(4.0) == pytest.approx(0.954500, abs=5e-7)
    assert theory.bce_floor(4.0) == pytest.approx(0.060427, abs=5e-7)
    assert theory.brier_floor(4.0) == pytest.approx(0.017149, abs=5e-7)


def test_limits_where_the_clusters_coincide():
    assert theory.bayes_accuracy(0.0) == 0.5
    assert theory.bayes_phi(0.0) == 0
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


def test_bayes_phi_is_a_correlation():
    a = BAYES_4 / 2  # of all points: class 1 and called so; the rest of class 1 is called 0, and so mirrored
    covariance, variance = a - 0.25, 0.25
    assert theory.bayes_phi(4.0) == pytest.approx(covariance / variance)
    np.testing.assert_allclose(theory.bayes_phi(np.array([0.0, 4.0])), [0, covariance / variance])


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
    assert one(theory.population_accuracy, activation, w, b, v, c) == pytest.approx(expected, abs=1e-12)


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
    np.testing.assert_allclose(theory.population_accuracy(activation, *networks), expected, atol=1e-6)


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
    actual = theory.population_accuracy(activation, w, b, v, c, 2.5)
    np.testing.assert_allclose(actual, expected, atol=2e-4)


numbers = st.floats(-1e3, 1e3, width=32)
any_network = given(w=st.tuples(numbers, numbers), b=numbers, v=numbers, c=numbers, distance=st.floats(0, 12))


@activations
@settings(max_examples=50, deadline=None)
@any_network
def test_accuracy_is_at_most_bayes_and_mirrors_with_the_sign_of_the_logit(activation, w, b, v, c, distance):
    accuracy = one(theory.population_accuracy, activation, w, b, v, c, distance)
    assert accuracy <= theory.bayes_accuracy(distance) + 1e-12
    if activation != "relu" or c != 0:  # a ReLU's logit of exactly zero is class 0 either way
        mirrored = one(theory.population_accuracy, activation, w, b, -v, -c, distance)
        assert mirrored == pytest.approx(1 - accuracy, abs=1e-12)


# Losses


def test_the_best_linear_network_reaches_every_limit():
    d = np.array([0.5, 2.0, 4.0, 6.0])
    w, b = np.stack([d, 0 * d], axis=1), -d * (1 + d / 2)  # the log-likelihood ratio
    networks = "linear", w, b, np.ones(4), np.zeros(4), d
    bce, brier = theory.population_losses(*networks)
    np.testing.assert_allclose(theory.population_accuracy(*networks), theory.bayes_accuracy(d), atol=1e-12)
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
    actual = theory.population_losses(activation, *weights, distance)
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
    actual = one(theory.population_losses, activation, w, b, v, c, d)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@activations
def test_losses_of_constant_answers(activation):
    for w, b, v, c in [((1, 2), 3, 0, 0), ((0, 0), 0, 0, 0)]:
        assert one(theory.population_losses, activation, w, b, v, c) == pytest.approx(
            (theory.DEAD_PLATEAU["bce"], theory.DEAD_PLATEAU["mse"])
        )
    for w, v in [((1, 2), 0), ((0, 0), 0.7)]:
        logit = v * ACTIVATE[activation](0.4) - 1.3
        p = 1 / (1 + math.exp(-logit))
        expected = -(math.log(p) + math.log(1 - p)) / 2, (p**2 + (1 - p) ** 2) / 2
        assert one(theory.population_losses, activation, w, 0.4, v, -1.3) == pytest.approx(expected)


def test_log_loss_is_not_clamped():
    bce, brier = one(theory.population_losses, "linear", (0, 0), 1000, 1, 0)
    assert (bce, brier) == pytest.approx((500, 0.5))  # wrong by a logit of 1000 in half the cases
    bce, brier = one(theory.population_losses, "linear", (3e38, 0), -9e38, 3e38, 0)
    shortfall = norm.pdf(2) - 2 * norm.cdf(-2)  # E[max(0, z − 2)]: a vast logit costs what it is wrong by
    assert (bce, brier) == pytest.approx((9e76 * shortfall, 1 - BAYES_4), rel=1e-5)


@activations
@settings(max_examples=25, deadline=None)
@any_network
def test_losses_are_never_below_the_floors(activation, w, b, v, c, distance):
    bce, brier = one(theory.population_losses, activation, w, b, v, c, distance)
    assert bce >= theory.bce_floor(distance) - 1e-5
    assert theory.brier_floor(distance) - 1e-5 <= brier <= 1


# Batches and bad values


@activations
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_only_the_network_with_a_bad_weight_is_nan(activation, bad):
    for column in range(5):
        w, b, v, c, d = some_networks(seed=4, count=3)
        v[1], w[1] = 0, 0  # even where the formula has a constant for it
        clean = [theory.population_accuracy(activation, w, b, v, c, d)]
        clean += theory.population_losses(activation, w, b, v, c, d)
        [w[:, 0], w[:, 1], b, v, c][column][1] = bad
        spoilt = [theory.population_accuracy(activation, w, b, v, c, d)]
        spoilt += theory.population_losses(activation, w, b, v, c, d)
        assert np.isnan(np.array(spoilt)[:, 1]).all()
        np.testing.assert_array_equal(np.delete(spoilt, 1, axis=1), np.delete(clean, 1, axis=1))


@activations
def test_float32_weights_are_scored_in_float64(activation):
    w, b, v, c, d = some_networks(seed=5, count=3)
    single = [a.astype(np.float32) for a in (w, b, v, c)]
    double = [a.astype(np.float64) for a in single]
    for function in (theory.population_accuracy, theory.population_losses):
        np.testing.assert_array_equal(function(activation, *single, d), function(activation, *double, d))


@pytest.mark.parametrize("function", [theory.population_accuracy, theory.population_losses])
def test_unknown_activation_is_named(function):
    with pytest.raises(ValueError, match=r"one of relu, linear, sigmoid, tanh; got 'gelu'$"):
        one(function, "gelu", (1, 0), 0, 1, 0)


# Samples


def draw(rng, distance, points):
    """As many points of each class."""
    x = 1 + rng.standard_normal((2, 2 * points))
    x[0, points:] += distance
    return x, np.repeat([0, 1], points)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([[0, 1], [0, 0]], [0, 1], True),
        ([[0, 1], [0, 0]], [1, 0], True),
        ([[0, 1], [5, 9]], [1, 1], True),  # a line beside them all
        ([[0, 0], [1, 1]], [0, 1], False),  # the same point twice
        ([[0, 1, 2], [0, 0, 0]], [0, 1, 0], False),
        ([[0, 1, 2], [0, 1e-3, 0]], [0, 1, 0], True),
        ([[0, 1, 0, 1], [0, 1, 1, 0]], [0, 0, 1, 1], False),  # exclusive or
        ([[0, 1, 0, 1], [0, 1, 1, 0]], [0, 1, 1, 1], True),  # or
    ],
)
def test_separable_by_hand(x, y, expected):
    assert theory.is_separable(x, y) is expected


@pytest.mark.parametrize("distance", [0.5, 2.0, 3.0, 4.0, 6.0])
def test_separable_means_a_line_through_a_point_of_each_class(distance):
    """Two separated clouds touch a common line from opposite sides, in one point each."""
    rng = np.random.default_rng(6)
    for _ in range(40):
        x, y = draw(rng, distance, points=6)
        a, b = x[:, y == 0].T, x[:, y == 1].T
        along = b[None] - a[:, None]  # (6, 6, 2): one line for each pair
        normal = np.stack([-along[..., 1], along[..., 0]], axis=-1)
        side_a, side_b = (
            np.einsum("ijk,ijpk->ijp", normal, cloud - a[:, None, None]) for cloud in (a, b)
        )  # (6, 6, 6): each pair's line, each point
        apart = [(s * side_a < 1e-12).all(axis=-1) & (s * side_b > -1e-12).all(axis=-1) for s in (1, -1)]
        assert theory.is_separable(x, y) == np.any(apart)


def test_separability_depends_on_distance():
    rng = np.random.default_rng(7)
    separable = [np.mean([theory.is_separable(*draw(rng, d, 100)) for _ in range(20)]) for d in (1, 5, 8)]
    assert separable[0] == 0
    assert 0.2 < separable[1] < 1
    assert separable[2] == 1


def test_optimum_by_hand():
    square = np.tile([[0, 0, 1, 1], [0, 1, 0, 1]], 4)
    coin = np.repeat([0, 1, 0, 1], 4)  # each corner has two of each class
    assert theory.sample_optimum(square, coin) == pytest.approx(math.log(2), abs=1e-12)
    tilted = np.array([0, 0, 1, 1] * 3 + [1, 1, 0, 0])  # x₀ is the class in 3 of 4
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert theory.sample_optimum(square, tilted) == pytest.approx(entropy, abs=1e-12)


@pytest.mark.parametrize(("distance", "points"), [(0.5, 100), (2.0, 10), (4.0, 100), (5.0, 100)])
def test_optimum_is_where_descent_ends(distance, points):
    rng = np.random.default_rng(8)
    finite = 0
    for _ in range(10):
        x, y = draw(rng, distance, points)
        optimum = theory.sample_optimum(x, y)
        if theory.is_separable(x, y):
            assert math.isnan(optimum)
            continue
        finite += 1
        inputs = np.vstack([x - x.mean(axis=1, keepdims=True), np.ones(2 * points)])

        def loss(line, inputs=inputs, y=y):
            return np.mean(np.logaddexp(0, np.where(y == 1, -1, 1) * (line @ inputs)))

        def slope(line, inputs=inputs, y=y):
            return inputs @ (expit(line @ inputs) - y) / y.size

        descent = minimize(loss, np.zeros(3), jac=slope, method="BFGS", options={"gtol": 1e-7})
        assert optimum == pytest.approx(descent.fun, abs=1e-8)
    assert finite >= 3


def test_optimum_of_float32_data_is_found_in_float64():
    x, y = draw(np.random.default_rng(9), 4.0, 100)
    x32 = x.astype(np.float32)
    assert theory.sample_optimum(x32, y.astype(np.float32)) == theory.sample_optimum(x32.astype(float), y)


def test_optima_go_sample_by_sample():
    rng = np.random.default_rng(10)
    (near, y), (far, _), (other, _) = draw(rng, 1, 20), draw(rng, 20, 20), draw(rng, 2, 20)
    optima = theory.sample_optima(np.stack([near, far, other]), y)
    expected = [theory.sample_optimum(near, y), math.nan, theory.sample_optimum(other, y)]
    np.testing.assert_array_equal(optima, expected)
    assert theory.sample_optima(np.empty((0, 2, 40)), y).shape == (0,)


@pytest.mark.parametrize("distance", [0.1, 2.0, 4.0, 5.0, 6.0])
def test_many_samples_at_once_agree_with_a_fit_and_a_linear_program_each(distance: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 2, 200))
    x[:, 0, 100:] += distance
    y = np.repeat([0, 1], 100)
    each = np.array([theory.sample_optimum(sample, y) for sample in x])
    np.testing.assert_allclose(theory.sample_optima(x, y), each, rtol=0, atol=1e-12)


# Other arrangements


def xor_points(n, distance, rng):
    """Points of both classes drawn coordinate by coordinate, (2, n) and (n,): another route than `training.data`."""
    corner = rng.integers(0, 2, (2, n))
    return 1 + distance * corner + rng.standard_normal((2, n)), corner[0] ^ corner[1]


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
        x, y = xor_points(chunk, distance, rng)
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


@activations
def test_scores_of_one_unit_on_xor_agree_with_points(activation):
    w, b, v, c, distance = some_networks(3, 20, slope=1.0)
    accuracy = theory.population_accuracy(activation, w, b, v, c, distance, "xor")
    bce, brier = theory.population_losses(activation, w, b, v, c, distance, "xor")
    rng, n = np.random.default_rng(5), 400_000
    for i in range(len(b)):
        x, y = xor_points(n, distance[i], rng)
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
    accuracy = theory.population_accuracy(activation, w, b, v, c, 4.0, "xor")
    assert accuracy.max() <= theory.best_line(4.0, "xor") + 1e-12
    assert accuracy.min() >= 1 - theory.best_line(4.0, "xor") - 1e-12
