"""What a sample allows: separability and optima by hand, by geometry, and by descent."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from qwerties.scoring import optimum


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
    assert optimum.is_separable(x, y) is expected


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
        assert optimum.is_separable(x, y) == np.any(apart)


def test_separability_depends_on_distance():
    rng = np.random.default_rng(7)
    separable = [np.mean([optimum.is_separable(*draw(rng, d, 100)) for _ in range(20)]) for d in (1, 5, 8)]
    assert separable[0] == 0
    assert 0.2 < separable[1] < 1
    assert separable[2] == 1


def test_optimum_by_hand():
    square = np.tile([[0, 0, 1, 1], [0, 1, 0, 1]], 4)
    coin = np.repeat([0, 1, 0, 1], 4)  # each corner has two of each class
    assert optimum.sample_optimum(square, coin) == pytest.approx(math.log(2), abs=1e-12)
    tilted = np.array([0, 0, 1, 1] * 3 + [1, 1, 0, 0])  # x₀ is the class in 3 of 4
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert optimum.sample_optimum(square, tilted) == pytest.approx(entropy, abs=1e-12)


@pytest.mark.parametrize(("distance", "points"), [(0.5, 100), (2.0, 10), (4.0, 100), (5.0, 100)])
def test_optimum_is_where_descent_ends(distance, points):
    rng = np.random.default_rng(8)
    finite = 0
    for _ in range(10):
        x, y = draw(rng, distance, points)
        found = optimum.sample_optimum(x, y)
        if optimum.is_separable(x, y):
            assert math.isnan(found)
            continue
        finite += 1
        inputs = np.vstack([x - x.mean(axis=1, keepdims=True), np.ones(2 * points)])

        def loss(line, inputs=inputs, y=y):
            return np.mean(np.logaddexp(0, np.where(y == 1, -1, 1) * (line @ inputs)))

        def slope(line, inputs=inputs, y=y):
            return inputs @ (expit(line @ inputs) - y) / y.size

        descent = minimize(loss, np.zeros(3), jac=slope, method="BFGS", options={"gtol": 1e-7})
        assert found == pytest.approx(descent.fun, abs=1e-8)
    assert finite >= 3


def test_optimum_of_float32_data_is_found_in_float64():
    x, y = draw(np.random.default_rng(9), 4.0, 100)
    x32 = x.astype(np.float32)
    assert optimum.sample_optimum(x32, y.astype(np.float32)) == optimum.sample_optimum(x32.astype(float), y)


@pytest.mark.parametrize("distance", [0.1, 2.0, 4.0, 5.0, 6.0])
def test_many_samples_at_once_agree_with_a_fit_and_a_linear_program_each(distance):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 2, 200))
    x[:, 0, 100:] += distance
    y = np.repeat([0, 1], 100)
    each = np.array([optimum.sample_optimum(sample, y) for sample in x])
    np.testing.assert_allclose(optimum.sample_optima(x, y), each, rtol=0, atol=1e-12)
    assert optimum.sample_optima(x[:0], y).shape == (0,)
