"""XOR from the draw to the scores: the trainer against the notebook's loop, the scores against fresh points."""

import dataclasses
import math

import numpy as np
import pytest

from qwerties.config import Config, Seeds
from qwerties.scoring import theory
from qwerties.scoring.predict import answer
from qwerties.scoring.score import score
from qwerties.training.reference import train_reference
from qwerties.training.trainer import train

XOR = Config(data="xor", learning_rate=0.1, epochs=60, samples=25)
WIDE = dataclasses.replace(XOR, hidden=(8,))
BAYES_UNITS = [(1, 1), (-1, -1), (1, -1), (-1, 1)]  # |x+y| − |x−y| of four ReLU units


def scored(config, weights):
    """Scores of networks that keep these weights, (networks, ...), at both checkpoints."""
    config = dataclasses.replace(config, epochs=20)
    n = len(next(iter(weights.values())))
    kept = {name: np.stack([value, value], axis=1).astype(np.float32) for name, value in weights.items()}
    return score(config, Seeds(0, n), np.full((n, 20), 0.3, np.float32), np.array([0, 20]), kept)


def fresh_points(n, distance, rng):
    corner = rng.integers(0, 2, (2, n))
    return 1 + distance * corner + rng.standard_normal((2, n)), corner[0] ^ corner[1]


@pytest.mark.parametrize("config", [XOR, WIDE, dataclasses.replace(WIDE, activation="tanh", loss="mse")])
def test_training_on_xor_equals_the_notebooks_loop(config):
    trained = train([config, dataclasses.replace(config, data="clusters")], Seeds(0, 3))
    for one in trained:
        for seed in range(3):
            expected = train_reference(one.config, seed)
            np.testing.assert_allclose(one.losses[seed], expected.losses.numpy(), rtol=0, atol=1e-5)
            for name, value in expected.model.state_dict().items():
                np.testing.assert_allclose(one.final[name][seed], value.numpy(), rtol=0, atol=1e-4)


def test_four_relu_units_reach_bayes_accuracy():
    units = np.array([BAYES_UNITS], float)  # (1, 4, 2)
    weights = {
        "0.weight": units,
        "0.bias": -3 * units.sum(2),  # the middle is (3, 3) at distance 4
        "2.weight": np.array([[[-1.0, -1.0, 1.0, 1.0]]]),  # class A lies along x = y
        "2.bias": np.zeros((1, 1)),
    }
    result = scored(dataclasses.replace(XOR, hidden=(4,)), weights)
    assert result.table["population_accuracy"][0] == pytest.approx(
        theory.bayes_accuracy(4.0, "xor"), abs=4e-4
    )
    assert result.table["gain"][0] == pytest.approx(1, abs=1e-3)
    assert result.table["state"][0] == "learned"


def test_the_gain_uses_the_limit_of_its_own_data():
    one_unit = {
        "0.weight": np.array([[[1.0, 0.0]]]),
        "0.bias": np.zeros((1, 1)),
        "2.weight": np.array([[[2.0]]]),
        "2.bias": np.array([[-6.0]]),
    }
    for data, accuracy in (("xor", 0.5), ("clusters", theory.bayes_accuracy(4.0))):
        table = scored(dataclasses.replace(XOR, data=data), one_unit).table
        limit = theory.bayes_accuracy(4.0, data)
        assert table["population_accuracy"][0] == pytest.approx(accuracy, abs=1e-6)
        assert table["gain"][0] == pytest.approx((accuracy - 0.5) / (limit - 0.5), abs=1e-6)


@pytest.mark.parametrize("hidden", [(1,), (2,), (5, 3)])
@pytest.mark.parametrize("distance", [1.0, 4.0])
def test_scores_on_xor_agree_with_fresh_points(hidden, distance):
    rng, n = np.random.default_rng(len(hidden)), 1_000_000
    sizes = (2, *hidden, 1)
    weights = {}
    for k in range(len(sizes) - 1):
        weights[f"{2 * k}.weight"] = rng.normal(size=(3, sizes[k + 1], sizes[k]))
        weights[f"{2 * k}.bias"] = rng.normal(size=(3, sizes[k + 1])) - 1
    result = scored(dataclasses.replace(XOR, hidden=hidden, distance=distance), weights)
    x, y = fresh_points(n, distance, rng)
    for i in range(3):
        values = [value[i].astype(np.float32).astype(float) for value in weights.values()]
        z = answer("relu", tuple(zip(values[::2], values[1::2], strict=True)), x)
        wrong = np.where(y == 1, -z, z)
        for name, each in (
            ("population_accuracy", (z > 0) == (y == 1)),
            ("bce", np.logaddexp(0, wrong)),
            ("brier", 1 / (1 + np.exp(-wrong)) ** 2),
        ):
            noise = 5 * each.std() / math.sqrt(n)
            assert result.table[name][i] == pytest.approx(
                each.mean(), abs=noise + 5e-4 * max(1, each.std())
            ), name
    np.testing.assert_allclose(
        result.population_accuracy[:, 0], result.table["population_accuracy"], atol=8e-3
    )


def test_excess_loss_is_of_clusters_alone():
    near = Config(distance=1.0, epochs=20)
    trained = train([near, dataclasses.replace(near, data="xor")], Seeds(0, 2))
    clusters, xor = (
        score(one.config, one.seeds, one.losses, one.checkpoints, one.weights).table for one in trained
    )
    assert clusters["excess_loss"].notna().all()
    assert xor["excess_loss"].isna().all()
    assert xor["bce"].notna().all()
