"""Update rules against ``torch.optim``."""

import math

import pytest
import torch

from qwerties.config import Config
from qwerties.training import networks
from qwerties.training.networks import Hyperparameters
from qwerties.training.optimizers import OPTIMIZERS, adam, bias_corrections, initial_state, sgd

STEPS = 50


def start():
    generator = torch.Generator().manual_seed(0)
    return {
        "0.weight": torch.randn(3, 2, generator=generator),
        "0.bias": 100 * torch.randn(3, generator=generator),
        "2.weight": 1e-3 * torch.randn(1, 3, generator=generator),
    }


def slope(w):
    """Gradient of a bumpy bowl."""
    return w + torch.sin(3 * w) / 2


def hyper_of(**settings):
    return Hyperparameters(*networks.hyperparameters([Config(**settings)])[0])


def path(update, k):
    weights, state, kept = start(), initial_state(start()), []
    for correction in bias_corrections(STEPS):
        gradients = {name: slope(w) for name, w in weights.items()}
        weights, state = update(weights, gradients, state, k, correction)
        kept.append(weights)
    return kept


def path_of_torch(make):
    parameters = {name: torch.nn.Parameter(w) for name, w in start().items()}
    optimizer, kept = make(parameters.values()), []
    for _ in range(STEPS):
        for parameter in parameters.values():
            parameter.grad = slope(parameter.detach())
        optimizer.step()
        kept.append({name: parameter.detach().clone() for name, parameter in parameters.items()})
    return kept


def assert_same_path(found, expected):
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True), 1):
        for name in theirs:
            torch.testing.assert_close(
                ours[name], theirs[name], atol=1e-5, rtol=1e-5, msg=f"{name}, step {step}"
            )


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_sgd_is_torchs(rate, momentum):
    assert_same_path(
        path(sgd, hyper_of(learning_rate=rate, momentum=momentum)),
        path_of_torch(lambda p: torch.optim.SGD(p, lr=rate, momentum=momentum)),
    )


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.3])
def test_adam_is_torchs(rate):
    assert_same_path(
        path(adam, hyper_of(optimizer="adam", learning_rate=rate)),
        path_of_torch(lambda p: torch.optim.Adam(p, lr=rate)),
    )


def test_adam_is_torchs_where_gradients_are_tiny_or_zero():
    gradients = torch.tensor([0.0, 1e-10, 1e-8, 1e-4, 1.0])
    k = hyper_of(optimizer="adam")
    weights, state = {"w": torch.zeros(5)}, initial_state({"w": torch.zeros(5)})
    parameter = torch.nn.Parameter(torch.zeros(5))
    optimizer = torch.optim.Adam([parameter], lr=0.01)
    for correction in bias_corrections(10):
        weights, state = adam(weights, {"w": gradients}, state, k, correction)
        parameter.grad = gradients.clone()
        optimizer.step()
    torch.testing.assert_close(weights["w"], parameter.detach(), atol=1e-9, rtol=1e-5)


def test_bias_corrections():
    found = bias_corrections(5000)
    assert found.shape == (5000, 2)
    assert found.dtype == torch.float32
    for t in (1, 2, 10, 1000, 5000):
        assert found[t - 1, 0].item() == pytest.approx(1 - 0.9**t, rel=1e-7)
        assert found[t - 1, 1].item() == pytest.approx(math.sqrt(1 - 0.999**t), rel=1e-7)
    assert torch.equal(found[:7], bias_corrections(7))


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_updating_mutates_nothing(name):
    weights, gradients = start(), {n: slope(w) for n, w in start().items()}
    state = initial_state(weights)
    OPTIMIZERS[name](weights, gradients, state, hyper_of(optimizer=name), bias_corrections(1)[0])
    for n, w in start().items():
        assert torch.equal(weights[n], w)
        assert torch.equal(gradients[n], slope(w))
        assert not state[0][n].any()
        assert not state[1][n].any()
