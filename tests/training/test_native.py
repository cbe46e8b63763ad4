"""The C++ kernel: its arithmetic is torch's, and each network is the notebook's own, whatever is beside it."""

import dataclasses
import functools
import logging
import math

import numpy as np
import pytest
import torch
from references import ENTRIES, LOSSES, assert_equals_reference, needs_compiler
from torch.func import grad, vmap

from qwerties.config import Config, Seeds
from qwerties.scoring import score as scoring
from qwerties.training import data, native, networks
from qwerties.training.compiler import SOURCES
from qwerties.training.reference import train_reference
from qwerties.training.trainer import train

pytestmark = needs_compiler
SOURCE = (SOURCES / "kernel.cpp").read_text(encoding="utf-8")
ACTIVATIONS = [name for name in networks.ACTIVATIONS if f"struct {name}_activation {{" in SOURCE]


def ignore(network_epochs):
    """Progress that nobody watches."""


def run(config, weights, x, stops=(0, 1), hyper=None):
    """Losses, kept weights and first gradients of networks with these weights and points."""
    library = native.load(config)
    assert library
    hyper = networks.hyperparameters([config] * len(x)) if hyper is None else hyper
    return native.train(library, weights, hyper, x, torch.tensor(stops), ignore)


def stacked(config, seeds):
    return networks.stacked_weights(config, list(seeds))


# The arithmetic, over all of float32

CORNERS = [
    *(-math.inf, -200.0, -104.0, -103.0, -90.0, -88.73, -88.71, -87.4, -40.0, -17.0, -1e-45, 0.0, 1e-45),
    *(15.0, 17.0, 40.0, 87.4, 88.0, 88.71, 88.73, 200.0, math.inf, math.nan),
]
EVERYWHERE = torch.cat(
    [
        torch.from_numpy(np.arange(0, 2**32, 104729, dtype=np.uint64).astype(np.uint32).view(np.float32)),
        torch.linspace(-110, 110, 20001),
        torch.tensor(CORNERS),
    ]
)


@functools.cache
def at_every_logit(loss):
    """Mean loss of both labels, and its derivative by the logit for label 0 and label 1, (numbers,) each.

    A linear unit without weights answers its bias, whatever the point. Each label has one point, which alone is seen by
    one of the weights, so that this one's gradient is half of that label's derivative.
    """
    n = len(EVERYWHERE)
    weights = {
        "0.weight": torch.zeros(n, 1, 2),
        "0.bias": EVERYWHERE[:, None],
        "2.weight": torch.ones(n, 1, 1),
        "2.bias": torch.zeros(n, 1),
    }
    config = Config(activation="linear", loss=loss)
    losses, _, gradients = run(config, weights, torch.eye(2).expand(n, 2, 2))
    return losses[:, 0], *(2 * gradients["0.weight"][:, 0].T)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_loss_is_torchs_at_every_logit(loss):
    found, z = at_every_logit(loss)[0], EVERYWHERE
    p = torch.sigmoid(z)
    expected = sum(networks.LOSSES[loss](p, torch.full_like(z, float(label))) for label in (0, 1)) / 2
    # a last bit of p is all of what is left of 1 - p, and is divided by it in the logarithm
    rounding = 2.4e-7 * (1 + z.double().clamp(max=16.7).exp())
    some = ~z.isnan()
    assert torch.equal(found.isnan(), z.isnan())
    assert ((found - expected).abs() <= 1e-6 * expected + rounding)[some].all()
    corners = slice(-len(CORNERS), -1)
    torch.testing.assert_close(found[corners], expected[corners], rtol=1e-6, atol=1.2e-7)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_derivative_is_torchs_at_every_logit(loss, label):
    found = at_every_logit(loss)[1 + label]
    z = EVERYWHERE.clone().requires_grad_()
    networks.LOSSES[loss](torch.sigmoid(z), torch.full_like(z, float(label))).sum().backward()
    some = z.isfinite()
    torch.testing.assert_close(found[some], z.grad[some], rtol=1e-6, atol=3e-7)
    assert (found[z.isnan()]).isnan().all()
    finite = torch.tensor([math.isfinite(corner) for corner in CORNERS])
    corners = slice(-len(CORNERS), None)
    torch.testing.assert_close(found[corners][finite], z.grad[corners][finite], rtol=1e-5, atol=1e-44)


def test_a_small_derivative_is_right_in_its_own_size():
    """Of a BCE that is nearly learned: p - y is p itself."""
    slope = at_every_logit("bce")[1]
    some = (EVERYWHERE > -80) & (EVERYWHERE < 0)
    expected = torch.sigmoid(EVERYWHERE) * (torch.sigmoid(EVERYWHERE) * 1e12).clamp_max(1)
    torch.testing.assert_close(slope[some], expected[some], rtol=2e-6, atol=1e-44)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_torchs_at_every_number(activation):
    """Where the output is 1/2, the gradient by the output weight is the unit's answer, here less that at 0."""
    finite = EVERYWHERE[EVERYWHERE.isfinite()]
    n = len(finite)
    weights = {
        "0.weight": torch.stack([finite, torch.zeros(n)], 1)[:, None],
        "0.bias": torch.zeros(n, 1),
        "2.weight": torch.zeros(n, 1, 1),
        "2.bias": torch.zeros(n, 1),
    }
    gradients = run(Config(activation=activation), weights, torch.eye(2).expand(n, 2, 2))[2]
    activate = networks.ACTIVATIONS[activation]
    expected = activate(finite) - activate(torch.zeros(1))
    torch.testing.assert_close(4 * gradients["2.weight"][:, 0, 0], expected, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("hidden", [(1,), (9,), (32,), (5, 3), (16, 16), (40, 40)])
@pytest.mark.parametrize("half", [1, 3, 127, 128, 129, 300, 1000])
def test_means_are_over_all_points_of_which_the_first_half_is_of_class_0(hidden, half):
    config = Config(hidden=hidden, activation="tanh", samples=half)
    weights, x = stacked(config, range(3)), data.draw(range(3), 4.0, half)
    losses, _, gradients = run(config, weights, x)
    y = data.labels(half)
    loss = functools.partial(networks.loss, activate=torch.tanh, loss_of=networks.bce)
    torch.testing.assert_close(losses[:, 0], vmap(loss, (0, 0, None))(weights, x, y), rtol=1e-5, atol=1e-6)
    for name, expected in vmap(grad(loss), (0, 0, None))(weights, x, y).items():
        torch.testing.assert_close(gradients[name], expected, rtol=1e-4, atol=2e-6)


# Scores


@pytest.mark.parametrize("hidden", [(2,), (8, 8), (32, 32)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_on_shared_points_are_those_without_the_kernel(activation, hidden, monkeypatch):
    config = Config(hidden=hidden, activation=activation, init="he")
    weights = {name: value * 4 for name, value in stacked(config, range(7)).items()}
    weights["0.bias"][3, 0] = math.nan
    assert native.load(config)
    found = scoring._on_sobol_points(config, weights, 2**12)
    monkeypatch.setattr(native, "load", lambda config: None)
    expected = scoring._on_sobol_points(config, weights, 2**12)
    assert np.isnan(found[:, 3]).all()
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=2**-12)  # a point at the boundary
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# Training


def config(*hidden, epochs=60, **changes):
    return Config(hidden=hidden, epochs=epochs, **{"learning_rate": 0.1, **changes})


TRAINED = [
    config(1, samples=3),
    config(1, samples=5000, epochs=12),
    config(1, loss="mse", activation="linear", momentum=0.9),
    config(2, loss="mse", activation="tanh", optimizer="adam"),
    config(4, activation="sigmoid", samples=300, momentum=0.5),
    config(2, 2, 2, optimizer="adam", init="he"),
    config(3, 3, loss="mse", activation="sigmoid", samples=300, learning_rate=1.0),
    config(16, activation="tanh", samples=300),
    config(8, 8, samples=20, optimizer="adam", learning_rate=0.01),
    config(8, 8, loss="mse", activation="linear", samples=3, learning_rate=0.01),
    config(2, output_scale=60, learning_rate=1e-3),
    config(4, data="xor", samples=101),
    config(32, 32, epochs=20),
    config(64, 64, epochs=5, samples=11),
]


@pytest.mark.parametrize("config", TRAINED, ids=lambda config: f"{config.label()} {config.samples}")
def test_a_compiled_training_is_the_notebooks_loop(config):
    assert native.load(config)
    trained = train([config], Seeds(2, 7))[0]
    for i, seed in enumerate(range(2, 7)):
        assert_equals_reference(trained, i, train_reference(config, seed), relative=1e-5)


MANY = 19  # no multiple of the lanes there may be
RATES = (0.1, 0.3, 0.02, 1.0)


def bits(chosen, *, optimizer="adam", weights=None, epochs=40):
    """All that a training has of each network, (networks, numbers), as integers: NaN equals itself.

    Network i has its own rate, distance, data and weights.
    """
    one = config(2, optimizer=optimizer)
    hyper = networks.hyperparameters([dataclasses.replace(one, learning_rate=RATES[i % 4]) for i in chosen])
    x = torch.cat([data.draw([i], 1.0 + i % 5, 100) for i in chosen])
    start = {**stacked(one, chosen), **(weights or {})}
    losses, kept, gradients = run(one, start, x, (0, 1, 7, epochs), hyper)
    parts = [losses, *kept.values(), *gradients.values()]
    return torch.cat([part.flatten(1) for part in parts], 1).contiguous().view(torch.int32)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_network_is_the_same_bit_for_bit_whatever_is_beside_it(optimizer):
    everyone = bits(range(MANY), optimizer=optimizer)
    assert len({tuple(row.tolist()) for row in everyone}) == MANY
    for chosen in ([7], [18, 3], range(MANY)[::-1], [5] * 8, [*range(11)], [2, *range(15, 19)] * 5):
        assert torch.equal(bits(chosen, optimizer=optimizer), everyone[list(chosen)]), chosen


@pytest.mark.parametrize("wild", [math.nan, math.inf, 3e38])
def test_a_diverged_lane_leaves_its_neighbours_as_they_are_bit_for_bit(wild):
    weight = stacked(config(2), range(MANY))["0.weight"]
    weight[10] = wild
    found = bits(range(MANY), weights={"0.weight": weight})
    others = [i for i in range(MANY) if i != 10]
    assert not torch.isfinite(found[10, :40].view(torch.float32)).all()
    assert torch.equal(found[others], bits(range(MANY))[others])


def test_training_in_pieces_is_training_at_once(monkeypatch):
    expected = bits(range(50))
    calls, call = [], native._call
    monkeypatch.setattr(native, "_call", lambda *arguments: calls.append(arguments[2]) or call(*arguments))
    for work in (1, 16 * 200 * 9 * 7, 16 * 200 * 9 * 90):  # an epoch, some epochs, some groups
        calls.clear()
        monkeypatch.setattr(native, "WORK_PER_CALL", work)
        assert torch.equal(bits(range(50)), expected)
        assert len(calls) > 1


def test_what_is_given_is_not_changed():
    weights = stacked(config(2), range(5))
    before = {name: value.clone() for name, value in weights.items()}
    run(config(2), weights, data.draw(range(5), 4.0, 100), (0, 20))
    for name, value in before.items():
        assert torch.equal(weights[name], value)


# Entries without lines in kernel.cpp


@pytest.fixture
def by_torch(caplog):
    """A function that trains by the notebook's loop and by whatever is there; returns what was said of it.

    Kernels and warnings are remembered for a process: other tests may have asked for the same before.
    """
    native._load.cache_clear()
    native._warn.cache_clear()

    def call(config):
        with caplog.at_level(logging.WARNING):
            trained = train([config], Seeds(0, 3))[0]
        for seed in range(3):
            assert_equals_reference(trained, seed, train_reference(config, seed))
        return [record.getMessage() for record in caplog.records]

    yield call
    native._load.cache_clear()


@pytest.mark.parametrize("hidden", [(1,), (4, 4)])
@pytest.mark.parametrize("field", ENTRIES)
def test_what_has_an_entry_and_no_more_is_trained_by_torch(field, hidden, by_torch, monkeypatch):
    table, name, entry = ENTRIES[field]
    monkeypatch.setitem(table, name, entry)
    said = by_torch(Config(hidden=hidden, epochs=30, learning_rate=0.1, **{field: name}))
    assert said == [f"kernel.cpp has no {field} {name!r}: {native.SLOWER}"]


def test_networks_that_are_too_large_are_trained_by_torch(by_torch, monkeypatch):
    monkeypatch.setattr(native, "MAX_WEIGHTS", 8)
    assert native.load(Config(hidden=(2,))) is None
    assert by_torch(Config(hidden=(2,), epochs=20)) == []
