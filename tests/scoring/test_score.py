"""Scores of networks whose weights are written by hand, against plain recomputation."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from factories import fresh_points
from scipy.special import expit
from scipy.stats import norm

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.scoring import optimum, theory
from qwerties.scoring.score import score
from qwerties.training import data, native
from qwerties.training.trainer import train

COLUMNS = [
    *("seed", "state", "dead_at_init", "train_loss", "train_accuracy", "phi", "population_accuracy", "gain"),
    *("bce", "brier", "epochs_to_learn", "settled", "excess_loss"),
]

# One hidden unit, (w1, w2, b, v, c); at distance 4 the best cut is at x = 3.
LEARNED = (1.0, 0.0, 0.0, 2.0, -6.0)
SLOW = (1.0, 0.0, 0.0, 2.0, -12.0)  # cuts at x = 6: all of A is right and a sixth of B
CONSTANT = (1.0, 0.0, 20.0, 1.0, 100.0)  # says B everywhere
DEAD = (-1.0, 0.0, -1000.0, 1.0, -0.5)
WRONG = (1.0, 0.0, 0.0, -2.0, 6.0)  # the answers of LEARNED, turned round
BROKEN = (math.nan,) * 5


def weights_of(*paths):
    """Arrays as the trainer leaves them, (networks, checkpoints, ...), from one list of units per network."""
    units = np.array(paths, dtype=np.float32)  # (networks, checkpoints, 5)
    return {
        "0.weight": units[:, :, None, :2],
        "0.bias": units[:, :, 2:3],
        "2.weight": units[:, :, None, 3:4],
        "2.bias": units[:, :, 4:5],
    }


def scored(config, weights, *, kept=(0, 20), losses=None, seeds=None):
    """Scores of networks that have these weights at their checkpoints, (networks, checkpoints, ...)."""
    n = len(weights["0.weight"])
    losses = np.full((n, 20), 0.3) if losses is None else losses
    config = dataclasses.replace(config, epochs=20)
    return score(config, seeds or Seeds(0, n), np.float32(losses), np.array(kept), weights)


def scores_of(*units, config=DEFAULT, **more):
    """Scores of networks that keep the same weights at both checkpoints."""
    return scored(config, weights_of(*[[unit, unit] for unit in units]), **more)


def twice(layers):
    """Weights of networks that keep them at both checkpoints, from (networks, ...) of each layer."""
    return {name: np.stack([value, value], axis=1).astype(np.float32) for name, value in layers.items()}


def copies(units, count):
    """Weights of networks whose hidden units are so many copies of one, at both checkpoints."""
    one = weights_of(*[[unit, unit] for unit in units])
    return {
        "0.weight": one["0.weight"].repeat(count, axis=2),
        "0.bias": one["0.bias"].repeat(count, axis=2),
        "2.weight": one["2.weight"].repeat(count, axis=3) / count,
        "2.bias": one["2.bias"],
    }


def logits(unit, x, activate=lambda u: np.maximum(u, 0)):
    w1, w2, b, v, c = unit
    return v * activate(w1 * x[0] + w2 * x[1] + b) + c


def sample(seed, config=DEFAULT):
    return data.draw([seed], config.distance, config.samples)[0].double().numpy(), np.repeat(
        [0, 1], config.samples
    )


# Shape of the table


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_the_table_has_the_columns_of_the_plan_and_a_row_per_seed(loss):
    table = scores_of(LEARNED, SLOW, DEAD, config=Config(loss=loss), seeds=Seeds(5, 8)).table
    assert list(table.columns) == COLUMNS
    assert table["seed"].tolist() == [5, 6, 7]
    assert table["state"].tolist() == ["learned", "slow", "dead"]
    assert table["dead_at_init"].dtype == bool
    assert table["settled"].dtype == bool
    assert table["epochs_to_learn"].dtype == "Int64"
    for name in set(COLUMNS) - {"seed", "state", "dead_at_init", "settled", "epochs_to_learn"}:
        assert table[name].dtype == np.float64, name


def test_crossed_seeds_name_both():
    table = scores_of(*[LEARNED] * 6, seeds=Seeds(3, 5, crossed=3)).table
    assert list(table.columns) == ["seed", "data_seed", "weight_seed", *COLUMNS[1:]]
    assert table["seed"].tolist() == list(range(6))
    assert table["data_seed"].tolist() == [3, 3, 3, 4, 4, 4]
    assert table["weight_seed"].tolist() == [0, 1, 2, 0, 1, 2]
    alone = scores_of(LEARNED, LEARNED, seeds=Seeds(3, 5)).table
    assert table["excess_loss"].tolist() == np.repeat(alone["excess_loss"], 3).tolist()
    assert table["train_loss"].tolist() == np.repeat(alone["train_loss"], 3).tolist()


# States


def test_states_of_networks_made_by_hand():
    table = scores_of(LEARNED, SLOW, CONSTANT, DEAD, BROKEN).table
    assert table["state"].tolist() == ["learned", "slow", "constant", "dead", "diverged"]
    assert table["dead_at_init"].tolist()[:4] == [False, False, False, True]
    undefined = (
        "train_loss",
        "train_accuracy",
        "phi",
        "population_accuracy",
        "gain",
        "bce",
        "brier",
        "excess_loss",
    )
    assert table.loc[4, list(undefined)].isna().all()
    assert not table["settled"][4]


def test_learned_begins_at_a_gain_of_four_fifths():
    full = norm.cdf(2) - 0.5

    def cut_at(t):
        return (1.0, 0.0, 0.0, 1.0, -t)

    def gain(t):
        return (norm.cdf(5 - t) + norm.cdf(t - 1) - 1) / 2 / full

    low, high = 3.0, 6.0
    for _ in range(60):  # the cut at which the gain is 0.8
        middle = (low + high) / 2
        low, high = (middle, high) if gain(middle) > 0.8 else (low, middle)
    table = scores_of(cut_at(low - 1e-4), cut_at(low + 1e-4)).table
    assert table["state"].tolist() == ["learned", "slow"]
    np.testing.assert_allclose(table["gain"], [gain(low - 1e-4), gain(low + 1e-4)], atol=1e-6)
    assert table["epochs_to_learn"].isna().tolist() == [False, True]


def test_dead_is_of_relu_alone():
    for activation in ("linear", "tanh", "sigmoid"):
        table = scores_of(DEAD, config=Config(activation=activation)).table
        assert table["state"][0] != "dead"
        assert not table["dead_at_init"][0]


def test_dead_at_init_looks_at_the_first_weights():
    found = scored(DEFAULT, weights_of([DEAD, LEARNED], [LEARNED, DEAD]))
    assert found.table["dead_at_init"].tolist() == [True, False]
    assert found.table["state"].tolist() == ["learned", "dead"]
    assert found.dead.tolist() == [[True, False], [False, True]]


def test_one_active_point_is_life():
    x, _ = sample(0)
    highest = np.sort(x[0])[-2:].mean()  # between the two points farthest to the right
    for cut, dead in ((highest, False), (x[0].max() + 0.01, True)):
        assert (scores_of((1.0, 0.0, -cut, 1.0, -0.1)).table["state"][0] == "dead") == dead


def test_a_dead_layer_kills_a_deep_network_and_a_dead_unit_does_not():
    def deep(bias_first, bias_second):
        return {
            "0.weight": [[1, 0], [1, 0]],
            "0.bias": bias_first,
            "2.weight": [[1, 0], [0, 1]],
            "2.bias": bias_second,
            "4.weight": [[1, 1]],
            "4.bias": [-6],
        }

    networks = [
        deep([0, 0], [0, 0]),
        deep([-99, 0], [0, -99]),  # one unit of each layer is dead, and nothing passes: but no layer is
        deep([-99, 0], [0, 0]),
        deep([-99, -99], [1, 1]),
        deep([0, 0], [-99, -99]),
    ]
    weights = twice({name: np.array([each[name] for each in networks]) for name in networks[0]})
    table = scored(Config(hidden=(2, 2)), weights).table
    assert (table["state"] == "dead").tolist() == [False, True, False, True, True]


# Scores on the training points


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_training_scores_are_recomputed_plainly(loss):
    units = (LEARNED, SLOW, CONSTANT, DEAD, (0.3, -0.8, 0.1, -1.1, 0.4), WRONG)
    table = scores_of(*units, config=Config(loss=loss)).table
    for seed, unit in enumerate(units):
        x, y = sample(seed)
        p = 1 / (1 + np.exp(-logits(unit, x)))
        predicted = p > 0.5
        with np.errstate(divide="ignore"):
            by_point = (
                -np.where(y == 1, np.log(p), np.log1p(-p)).clip(None, 100) if loss == "bce" else (p - y) ** 2
            )
        if unit != CONSTANT or loss == "mse":  # there float32 rounds 1 - p to 0, see test_networks
            assert table["train_loss"][seed] == pytest.approx(by_point.mean(), abs=2e-6)
        assert table["train_accuracy"][seed] == np.mean(predicted == y)
        if predicted.all() or not predicted.any():
            assert np.isnan(table["phi"][seed])
        else:
            assert table["phi"][seed] == pytest.approx(np.corrcoef(predicted, y)[0, 1], abs=1e-6)
    assert table["phi"].isna().tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize("hidden", [(1,), (1, 2), (2, 1)])
def test_the_kernel_classifies_as_torch_does(hidden, monkeypatch):
    config = Config(data="xor", hidden=hidden, epochs=30, learning_rate=0.5, samples=33)
    (trained,) = train([config], Seeds(0, 90))
    assert native.load(config)
    given = (config, trained.seeds, trained.losses, trained.checkpoints, trained.weights)
    by_kernel = score(*given)
    monkeypatch.setattr(native, "load", lambda config: None)
    by_torch = score(*given)
    np.testing.assert_array_equal(by_kernel.train_accuracy, by_torch.train_accuracy)
    np.testing.assert_array_equal(by_kernel.dead, by_torch.dead)
    assert by_kernel.dead.any()
    assert not by_kernel.dead.all()
    pd.testing.assert_series_equal(by_kernel.table["phi"], by_torch.table["phi"])


# Settled, epochs to learn


def curve(*tail):
    return [1.0] * (20 - len(tail)) + list(tail)


@pytest.mark.parametrize(
    ("losses", "settled"),
    [
        (curve(), True),
        (curve(0.995, 0.991), True),  # against the loss two epochs before the last
        (curve(0.995, 0.989), False),
        (curve(0.5, 0.5, 0.5), True),  # fell, but before the last tenth
        (curve(0.5, 0.5), False),
        ([0.1] * 18 + [0.0985, 0.098], False),  # by 2% of a small loss
        ([10.0] * 18 + [9.95, 9.92], True),  # by 0.8% of a large one
        (curve(1.2), True),
        (curve(math.nan), False),
    ],
)
def test_settled_by_hand(losses, settled):
    table = scores_of(LEARNED, losses=[losses]).table
    assert table["settled"].tolist() == [settled]


def test_the_dead_are_not_called_settled():
    assert scores_of(DEAD, LEARNED).table["settled"].tolist() == [False, True]


def test_epochs_to_learn_is_the_first_checkpoint_at_which_it_has_learned():
    paths = (
        [LEARNED] * 4,
        [SLOW, SLOW, LEARNED, LEARNED],
        [DEAD, CONSTANT, SLOW, LEARNED],
        [SLOW, LEARNED, SLOW, SLOW],  # lost it again
        [DEAD] * 4,
    )
    kept = (0, 3, 7, 20)
    found = scored(DEFAULT, weights_of(*paths), kept=kept)
    assert found.table["epochs_to_learn"].fillna(-1).tolist() == [0, 7, 20, 3, -1]
    assert found.table["epochs_to_learn"].isna().tolist() == [False] * 4 + [True]
    np.testing.assert_array_equal(found.checkpoints, kept)
    assert found.train_accuracy.shape == found.population_accuracy.shape == found.dead.shape == (5, 4)
    np.testing.assert_allclose(found.population_accuracy[0], norm.cdf(2), atol=1e-9)
    np.testing.assert_array_equal(found.train_accuracy[:, -1], found.table["train_accuracy"])
    np.testing.assert_array_equal(found.population_accuracy[:, -1], found.table["population_accuracy"])


# Excess loss


def test_excess_loss_is_the_distance_to_the_samples_optimum():
    config = Config(distance=1.0)
    table = scores_of(LEARNED, SLOW, config=config).table
    for seed in range(2):
        x, y = sample(seed, config)
        least = optimum.sample_optimum(x, y)
        assert table["excess_loss"][seed] == pytest.approx(table["train_loss"][seed] - least, abs=1e-8)
    assert (table["excess_loss"] > 0).all()


@pytest.mark.parametrize("config", [Config(loss="mse", distance=1.0), Config(data="xor", distance=1.0)])
def test_excess_loss_is_of_bce_on_clusters_alone(config):
    assert scores_of(LEARNED, SLOW, config=config).table["excess_loss"].isna().all()


def test_excess_loss_is_empty_where_the_sample_is_separable():
    config = Config(distance=5.0)
    table = scores_of(*[LEARNED] * 30, config=config).table
    separable = [optimum.is_separable(*sample(seed, config)) for seed in range(30)]
    assert table["excess_loss"].isna().tolist() == separable
    assert any(separable)
    assert not all(separable)


# Scores on the true distribution


def test_population_accuracy_and_gain_by_hand():
    table = scores_of(LEARNED, SLOW, CONSTANT, DEAD).table
    slow = (norm.cdf(5 - 6) + norm.cdf(6 - 1)) / 2
    np.testing.assert_allclose(table["population_accuracy"], [norm.cdf(2), slow, 0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(table["gain"], [1, (slow - 0.5) / (norm.cdf(2) - 0.5), 0, 0], atol=1e-5)


def test_bce_and_brier_are_on_the_true_distribution_whatever_the_loss():
    ideal = (1.0, 0.0, 0.0, 4.0, -12.0)  # the log-likelihood ratio itself, at distance 4
    for loss in ("bce", "mse"):
        table = scores_of(ideal, config=Config(loss=loss, activation="linear")).table
        assert table["bce"][0] == pytest.approx(theory.bce_floor(4.0), abs=1e-7)
        assert table["brier"][0] == pytest.approx(theory.brier_floor(4.0), abs=1e-7)
    dead = scores_of((-1.0, 0.0, -1000.0, 1.0, 0.0)).table
    assert dead["bce"][0] == pytest.approx(math.log(2), abs=1e-12)
    assert dead["brier"][0] == pytest.approx(0.25, abs=1e-12)


UNITS = [LEARNED, SLOW, (0.7, -0.4, -1.0, 1.5, -1.0), (0.5, 0.3, -1.0, -1.3, 1.0)]


@pytest.mark.parametrize(
    ("activation", "count"), [("relu", 2), ("linear", 2), ("tanh", 2), ("sigmoid", 2), ("relu", 8)]
)
def test_a_wide_network_of_copies_scores_as_the_narrow_one(activation, count):
    narrow = scores_of(*UNITS, config=Config(activation=activation)).table
    found = scored(Config(activation=activation, hidden=(count,)), copies(UNITS, count))
    for name in ("population_accuracy", "bce", "brier"):
        np.testing.assert_allclose(found.table[name], narrow[name], atol=5e-4, err_msg=name)
    np.testing.assert_allclose(found.population_accuracy[:, 0], narrow["population_accuracy"], atol=4e-3)
    assert found.table["state"].tolist() == narrow["state"].tolist()


@pytest.mark.parametrize(
    ("data", "distance", "activation", "hidden"),
    [
        ("clusters", 2.0, "relu", (3, 2)),
        ("clusters", 2.0, "tanh", (3, 2)),
        ("xor", 4.0, "relu", (1,)),
        ("xor", 1.0, "relu", (2,)),
        ("xor", 4.0, "relu", (2,)),
        ("xor", 4.0, "relu", (5, 3)),
    ],
)
def test_a_network_scores_as_on_fresh_points(data, distance, activation, hidden):
    rng, n = np.random.default_rng(len(hidden)), 1_000_000
    bend = {"relu": lambda u: np.maximum(u, 0), "tanh": np.tanh}[activation]
    weights = {}
    for k, (fan_in, fan_out) in enumerate(itertools.pairwise((2, *hidden, 1))):
        weights[f"{2 * k}.weight"] = rng.normal(size=(3, fan_out, fan_in))
        weights[f"{2 * k}.bias"] = rng.normal(size=(3, fan_out)) - 1
    result = scored(
        Config(data=data, distance=distance, activation=activation, hidden=hidden), twice(weights)
    )
    points, y = fresh_points(n, distance, rng, data)
    for i in range(3):
        z = points
        for k in range(len(hidden) + 1):
            z = bend(z) if k else z
            z = weights[f"{2 * k}.weight"][i] @ z + weights[f"{2 * k}.bias"][i][:, None]
        wrong = np.where(y == 1, -z[0], z[0])
        for name, each in (
            ("population_accuracy", wrong < 0),
            ("bce", np.logaddexp(0, wrong)),
            ("brier", expit(wrong) ** 2),
        ):
            noise = 5 * each.std() / math.sqrt(n) + 5e-4 * max(1, each.std())
            assert result.table[name][i] == pytest.approx(each.mean(), abs=noise), name
    np.testing.assert_allclose(
        result.population_accuracy[:, 0], result.table["population_accuracy"], atol=8e-3
    )


def test_four_relu_units_reach_bayes_accuracy_on_xor():
    units = np.array([[(1, 1), (-1, -1), (1, -1), (-1, 1)]], float)  # |x+y| − |x−y|, (1, 4, 2)
    weights = {
        "0.weight": units,
        "0.bias": -3 * units.sum(2),  # the middle is (3, 3) at distance 4
        "2.weight": np.array([[[-1.0, -1.0, 1.0, 1.0]]]),  # class A lies along x = y
        "2.bias": np.zeros((1, 1)),
    }
    table = scored(Config(data="xor", hidden=(4,)), twice(weights)).table
    assert table["population_accuracy"][0] == pytest.approx(theory.bayes_accuracy(4.0, "xor"), abs=4e-4)
    assert table["gain"][0] == pytest.approx(1, abs=1e-3)
    assert table["state"][0] == "learned"


def test_the_gain_uses_the_limit_of_its_own_data():
    for name, accuracy in (("xor", 0.5), ("clusters", theory.bayes_accuracy(4.0))):
        table = scores_of(LEARNED, config=Config(data=name)).table
        limit = theory.bayes_accuracy(4.0, name)
        assert table["population_accuracy"][0] == pytest.approx(accuracy, abs=1e-6)
        assert table["gain"][0] == pytest.approx((accuracy - 0.5) / (limit - 0.5), abs=1e-6)


def test_a_wide_network_that_says_the_same_everywhere_is_right_half_the_time():
    table = scored(Config(hidden=(2,)), copies([(0.0, 0.0, 0.0, 0.0, c) for c in (-1, 0, 1)], 2)).table
    assert table["population_accuracy"].tolist() == [0.5] * 3


def test_scores_do_not_depend_on_the_company():
    together = scores_of(LEARNED, SLOW, BROKEN, (0.3, -0.8, 0.1, -1.1, 0.4)).table
    alone = scores_of((0.3, -0.8, 0.1, -1.1, 0.4), seeds=Seeds(3, 4)).table
    row, expected = together.iloc[3], alone.iloc[0]
    for name in COLUMNS:
        if pd.isna(expected[name]):
            assert pd.isna(row[name]), name
        elif isinstance(expected[name], float):
            assert row[name] == pytest.approx(expected[name], abs=1e-7), name
        else:
            assert row[name] == expected[name], name


# Diverged networks, and trainings of one epoch


@pytest.mark.parametrize("count", [1, 2])
def test_accuracies_of_a_diverged_network_are_undefined_on_the_way_too_and_it_is_not_dead(count):
    found = scored(Config(hidden=(count,)), copies([LEARNED, BROKEN], count))
    assert found.table["state"].tolist() == ["learned", "diverged"]
    assert np.isnan(found.population_accuracy[1]).all()
    assert np.isnan(found.train_accuracy[1]).all()
    assert not found.dead[1].any()


def test_one_epoch_settles_nothing():
    weights = weights_of([LEARNED] * 2)
    table = score(
        Config(epochs=1), Seeds(0, 1), np.full((1, 1), 0.3, np.float32), np.array([0, 1]), weights
    ).table
    assert not table["settled"][0]
