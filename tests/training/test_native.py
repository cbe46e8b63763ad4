"""Compiled loops: each network is the notebook's own, whatever is beside it; and how kernels are kept."""

import functools
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from test_symbols import CASES, apply, inputs, told
from torch import nn

from qwerties.config import Config, Seeds
from qwerties.scoring import score as scoring
from qwerties.training import data, native, networks
from qwerties.training import trainer as training
from qwerties.training.networks import Knobs
from qwerties.training.optimizers import bias_corrections
from qwerties.training.reference import train_reference
from qwerties.training.trainer import train

ROOT = Path(__file__).parents[2]
LOSSES = {"bce": nn.BCELoss(), "mse": nn.MSELoss()}
pytestmark = pytest.mark.skipif(  # continuous integration installs one, and must not pass without it
    not training.has_compiler() and not os.environ.get("CI"), reason="compiling needs a C++ compiler"
)


def means(function, weights, x, **more):
    """Means of a function of (weights, x, y) over points, compiled, (networks, values)."""
    one = {name: value[0] for name, value in weights.items()}
    kernel = native.means(lambda w, k, x, y: function(w, x, y), one, {}, **more)
    assert kernel
    return kernel.means(weights, torch.zeros(len(next(iter(weights.values()))), len(Knobs._fields)), x)


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
FUNCTIONS = {  # and how near they must be, relatively and absolutely
    "sigmoid": (torch.sigmoid, 5e-7, 2e-38),
    "exp": (torch.exp, 5e-7, 1.7e-38),  # 0 below -87
    "tanh": (torch.tanh, 0, 2e-7),
    "log": (torch.log, 2e-7, 0),
    "sqrt": (torch.sqrt, 2e-7, 0),
    "reciprocal": (torch.reciprocal, 2e-7, 0),
    "abs": (torch.abs, 0, 0),
    "neg": (torch.neg, 0, 0),
    "relu": (torch.relu, 0, 0),
    "clamp_min": (lambda a: a.clamp_min(-0.3), 0, 0),
    "clamp_max": (lambda a: a.clamp_max(0.3), 0, 0),
    "where": (lambda a: torch.where(a > 0.5, a, 1.5), 0, 0),
    "relu's gradient": (lambda a: torch.ops.aten.threshold_backward(a + 1, a, 0), 0, 0),
}


@functools.cache
def of_everything():
    """Each function at each number: a network has one weight, and one point."""

    def function(w, x, y):
        return [f(w["z"]) for f, *_ in FUNCTIONS.values()]

    return means(function, {"z": EVERYWHERE[:, None]}, torch.zeros(2, 1), shared=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_torchs_for_every_kind_of_number(name):
    function, rtol, atol = FUNCTIONS[name]
    found = of_everything()[:, list(FUNCTIONS).index(name)]
    torch.testing.assert_close(found, function(EVERYWHERE), rtol=rtol, atol=atol, equal_nan=True)


@functools.cache
def at_every_logit():
    """Loss and derivative, (numbers, 8): BCE of both labels, then MSE."""

    def function(w, x, y):
        return [
            value
            for is_mse in (False, True)
            for label in (0.0, 1.0)
            for value in networks.at_logit(w["z"], torch.tensor([label]), torch.tensor(is_mse))
        ]

    return means(function, {"z": EVERYWHERE[:, None]}, torch.zeros(2, 1), shared=True)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("loss", list(LOSSES))
def test_loss_and_derivative_are_torchs_at_every_logit(loss, label):
    value, slope = at_every_logit()[:, 4 * (loss == "mse") + 2 * label :][:, :2].T
    z = EVERYWHERE
    y = torch.full_like(z, float(label))
    expected = networks.at_logit(z, y, torch.tensor(loss == "mse"))
    # a last bit of p is all of what is left of 1 - p, and is divided by it in the logarithm
    rounding = 2.4e-7 * (1 + (0 if label else z.double().clamp(max=16.7).exp()))
    some = ~z.isnan()
    assert torch.equal(value.isnan(), z.isnan())
    assert ((value - expected[0]).abs() <= 1e-6 * expected[0] + rounding)[some].all()
    torch.testing.assert_close(slope, expected[1], rtol=1e-6, atol=3e-7, equal_nan=True)

    corners = torch.tensor(CORNERS[:-1])  # nn.BCELoss refuses NaN
    p = torch.sigmoid(corners.requires_grad_())
    each = type(LOSSES[loss])(reduction="none")(p, torch.full_like(p, float(label)))
    each.sum().backward()
    assert not label or loss == "mse" or each.max() == 100
    torch.testing.assert_close(value[-len(CORNERS) : -1], each.detach(), rtol=1e-6, atol=1.2e-7)
    torch.testing.assert_close(slope[-len(CORNERS) : -1], corners.grad, rtol=1e-5, atol=0)


def test_a_small_derivative_is_right_in_its_own_size():
    """Of a BCE that is nearly learned: p - y is p itself."""
    _, slope = at_every_logit()[:, :2].T
    some = (EVERYWHERE > -80) & (EVERYWHERE < 0)
    expected = torch.sigmoid(EVERYWHERE) * (torch.sigmoid(EVERYWHERE) * 1e12).clamp_max(1)
    torch.testing.assert_close(slope[some], expected[some], rtol=2e-6, atol=1e-44)


@pytest.mark.parametrize("least", [-100.0, -1.0, 0.0, -1000.0, 60.0])
def test_a_sum_of_clamped_logarithms_is_that_of_torch(least):
    """Summed as one product where that can be, which no other of our losses asks of it."""
    p = torch.tensor([[0.0, 1e-45, 1e-38, 0.3, 1.0, 2.0, 1e30], [math.nan, 1, 1, 1, 1, 1, 1]])
    p = torch.cat([p, torch.rand(9, 7, generator=torch.Generator().manual_seed(0))])
    found = means(
        lambda w, x, y: [-torch.log(w["p"] + 0 * x[0]).clamp_min(least)],
        {"p": p},
        torch.zeros(2, 600),
        shared=True,
    )
    torch.testing.assert_close(found, -torch.log(p).clamp_min(least), rtol=1e-5, atol=1e-5, equal_nan=True)


def test_every_operation_compiles_to_torchs_numbers():
    drawn = [inputs(3, 4, seed) for seed in range(11)]
    weights = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    found = means(
        lambda w, x, y: [v for case in CASES for v in apply(case, w)], weights, torch.zeros(2, 1), shared=True
    )
    expected = torch.stack(
        [torch.cat([v.flatten() for case in CASES for v in apply(case, one)]) for one in drawn]
    )
    names = [told(case) for case in CASES for v in apply(case, drawn[0]) for _ in range(v.numel())]
    assert found.shape == expected.shape
    wrong = ((found - expected).abs() > 1e-6 + 2e-6 * expected.abs()).any(0)
    assert {name for name, is_wrong in zip(names, wrong.tolist(), strict=True) if is_wrong} == set()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("size", [1, native.FEWEST_WEIGHTS + 1, native.FEW_WEIGHTS + 1])
@pytest.mark.parametrize("half", [1, 3, 127, 128, 129, 300, 1000])
def test_means_are_over_all_points_of_which_the_first_half_is_of_class_0(size, half, shared):
    draw = torch.Generator().manual_seed(half)
    x, w = torch.randn(11, 2, 2 * half, generator=draw), torch.randn(11, size, generator=draw)
    x = x[0] if shared else x
    found = means(
        lambda w, x, y: [y * x[0], x[1] * w["w"][-1], (1 - y) * x[1]], {"w": w}, x.double(), shared=shared
    )
    y = data.labels(half).double()
    x0, x1 = x.double().expand(11, 2, -1).unbind(1)
    expected = torch.stack([y * x0, x1 * w[:, -1:].double(), (1 - y) * x1]).mean(-1).T
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("hidden", [(2,), (8, 8)])
@pytest.mark.parametrize("activation", list(networks.ACTIVATIONS))
def test_scores_on_shared_points_are_those_without_the_compiler(activation, hidden, monkeypatch):
    config = Config(hidden=hidden, activation=activation, init="he")
    drawn = [networks.initial_weights(config, seed) for seed in range(7)]
    weights = {name: torch.stack([one[name] for one in drawn]) * 4 for name in drawn[0]}
    weights["0.bias"][3, 0] = math.nan
    found = {}
    for least in (0, math.inf):
        monkeypatch.setattr(scoring, "WORTH_COMPILING", least)
        found[least] = scoring._on_sobol_points(config, weights, 2**12)
    assert scoring._kernel(hidden, activation)
    assert np.isnan(found[0][:, 3]).all()
    np.testing.assert_allclose(
        found[0][0], found[math.inf][0], rtol=0, atol=2**-12
    )  # a point at the boundary
    np.testing.assert_allclose(found[0], found[math.inf], rtol=1e-5, atol=1e-6)


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
]


def kernel_of(config):
    kernel = training._kernel(config.hidden, config.optimizer, training.kind_of(config))
    assert kernel
    return kernel


@pytest.mark.parametrize("config", TRAINED, ids=lambda config: f"{config.label()} {config.samples}")
def test_a_compiled_training_is_the_notebooks_loop(config):
    assert kernel_of(config)
    trained = train([config], Seeds(2, 7), compiled=True)[0]
    for i, seed in enumerate(range(2, 7)):
        expected = train_reference(config, seed)
        np.testing.assert_allclose(trained.losses[i], expected.losses, rtol=1e-5, atol=1e-5)
        for name, value in expected.model.state_dict().items():
            np.testing.assert_allclose(trained.final[name][i], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_every_kind_of_loop_is_among_them():
    """One for each class, two points at once, and point by point; few points and several stretches."""
    bounds = (native.FEWEST_WEIGHTS, native.FEW_WEIGHTS)
    assert {sum(config.weights > bound for bound in bounds) for config in TRAINED} == {0, 1, 2}
    assert {config.samples % 2 for config in TRAINED} == {0, 1}
    points = {2 * config.samples for config in TRAINED}
    assert min(points) < native.STRETCH < max(points)


COMPANY = [
    config(2, learning_rate=rate, activation=kind) for rate in (0.1, 0.3) for kind in ("relu", "linear")
]
MANY = 19  # no multiple of the lanes there may be


def start(chosen, *, optimizer="adam", weights=None, epochs=40):
    """Begin the training of networks by their numbers: network i has its own config, data and weights."""
    each = [COMPANY[i % len(COMPANY)] for i in chosen]
    x = torch.stack([data.draw([i], 1.0 + i % 5, 100)[0] for i in chosen])
    drawn = [networks.initial_weights(config, i) for config, i in zip(each, chosen, strict=True)]
    stacked = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    kernel = training._kernel((2,), optimizer, training.Kind("bce", squashing=False, activation=None))
    return kernel.start({**stacked, **(weights or {})}, networks.knobs(each), x, bias_corrections(epochs))


def bits(running):
    """All that a training has of each network, (networks, numbers), as integers: NaN equals itself."""
    parts = [running.losses, *running.weights.values(), *running.gradients.values()]
    return torch.cat([part.flatten(1) for part in parts], 1).contiguous().view(torch.int32)


def trained(chosen, **more):
    running = start(chosen, **more)
    running.advance(40)
    return bits(running)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_network_is_the_same_bit_for_bit_whatever_is_beside_it(optimizer):
    everyone = trained(range(MANY), optimizer=optimizer)
    assert len({tuple(row.tolist()) for row in everyone}) == MANY
    for chosen in ([7], [18, 3], range(MANY)[::-1], [5] * 8, [*range(11)], [2, *range(15, 19)] * 5):
        assert torch.equal(trained(chosen, optimizer=optimizer), everyone[list(chosen)]), chosen


@pytest.mark.parametrize("wild", [math.nan, math.inf, 3e38])
def test_a_diverged_lane_leaves_its_neighbours_as_they_are_bit_for_bit(wild):
    sane = start(range(MANY)).weights
    weights = {name: value.clone() for name, value in sane.items()}
    weights["0.weight"][10] = wild
    found = trained(range(MANY), weights=weights)
    others = [i for i in range(MANY) if i != 10]
    assert not torch.isfinite(found[10, :40].view(torch.float32)).all()
    assert torch.equal(found[others], trained(range(MANY))[others])


def test_advancing_in_pieces_is_advancing_at_once():
    running = start(range(5))
    for epochs in (1, 0, 7, 2, 30):
        running.advance(epochs)
    assert running.done == 40
    assert torch.equal(bits(running), trained(range(5)))
    with pytest.raises(ValueError, match="41 epochs of 40"):
        running.advance(1)


def test_what_was_read_off_does_not_move_on():
    running = start(range(5))
    before, first = running.weights, start(range(5)).weights
    running.advance(40)
    for name, value in before.items():
        assert torch.equal(value, first[name])
        assert not torch.equal(value, running.weights[name])


@pytest.mark.parametrize("config", TRAINED, ids=lambda config: f"{config.label()} {config.samples}")
def test_gradients_are_those_of_autograd_at_the_weights_as_they_are(config):
    seeds = range(3)
    drawn = [networks.initial_weights(config, seed) for seed in seeds]
    weights = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    x, k = data.draw(seeds, config.distance, config.samples), networks.knobs([config] * 3)
    running = kernel_of(config).start(weights, k, x, bias_corrections(9))
    for epochs in (0, 9):
        running.advance(epochs)
        found, now = running.gradients, running.weights
        for seed in seeds:
            model = train_reference(config.__class__(**{**vars(config), "epochs": 1}), seed).model
            model.load_state_dict({name: value[seed] for name, value in now.items()})
            model.zero_grad()
            LOSSES[config.loss](model(x[seed].T), data.labels(config.samples)[:, None]).backward()
            for name, parameter in model.named_parameters():
                size = max(1.0, parameter.grad.abs().max().item())
                torch.testing.assert_close(found[name][seed], parameter.grad, rtol=1e-4, atol=2e-6 * size)
