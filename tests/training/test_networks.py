"""One network: initial weights, forward pass and loss against ``nn.Sequential``."""

import math

import pytest
import torch
from references import LOSSES, MODULES
from torch import nn

from qwerties.config import Config
from qwerties.scoring import predict
from qwerties.training import data, networks
from qwerties.training.networks import ACTIVATIONS, Hyperparameters

SHAPES = [(1,), (8,), (8, 8), (3, 5, 2), (40, 30)]


def sequential(config, seed):
    """The notebook's model, as a person would write it for this config."""
    torch.manual_seed(2 * seed + 1)
    layers = []
    fan_in = 2
    for width in config.hidden:
        layers += [nn.Linear(fan_in, width), MODULES[config.activation]()]
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(fan_in, 1), nn.Sigmoid())


# Initial weights


@pytest.mark.parametrize("hidden", SHAPES)
@pytest.mark.parametrize("seed", [0, 1, 499])
def test_initial_weights_are_the_notebooks_bit_for_bit(hidden, seed):
    config = Config(hidden=hidden)
    expected = sequential(config, seed).state_dict()
    found = networks.initial_weights(config, seed)
    assert list(found) == list(expected)
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize("hidden", SHAPES)
def test_hes_weights_are_torchs_bit_for_bit(hidden):
    generator = torch.Generator().manual_seed(7)
    for name, value in networks.initial_weights(Config(hidden=hidden, init="he"), 3).items():
        expected = torch.zeros_like(value)
        if name.endswith("weight"):
            nn.init.kaiming_normal_(expected, nonlinearity="relu", generator=generator)
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("init", ["pytorch", "he"])
@pytest.mark.parametrize("hidden", SHAPES)
def test_weights_drawn_together_are_those_drawn_alone(hidden, init):
    config, seeds = Config(hidden=hidden, init=init, output_scale=3.0), (5, 0, 5, 499)
    for name, value in networks.stacked_weights(config, seeds).items():
        alone = [networks.initial_weights(config, seed)[name] for seed in seeds]
        assert torch.equal(value, torch.stack(alone)), name


def test_drawing_weights_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    networks.initial_weights(Config(), 0)
    networks.initial_weights(Config(init="he"), 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("init", ["pytorch", "he"])
@pytest.mark.parametrize("hidden", [(1,), (4, 3)])
def test_output_scale_multiplies_the_output_weights_alone(init, hidden):
    plain = networks.initial_weights(Config(hidden=hidden, init=init), 3)
    scaled = networks.initial_weights(Config(hidden=hidden, init=init, output_scale=-10), 3)
    last = f"{2 * len(hidden)}.weight"
    for name in plain:
        assert torch.equal(scaled[name], plain[name] * (-10 if name == last else 1)), name


# Forward pass


@pytest.mark.parametrize("hidden", SHAPES)
@pytest.mark.parametrize("activation", list(MODULES))
def test_forward_pass_is_the_models(activation, hidden):
    config = Config(activation=activation, hidden=hidden, init="he")
    weights = networks.initial_weights(config, 2)
    model = sequential(config, 2)
    model.load_state_dict(weights)
    x = data.draw([2], 4.0, 30)[0]
    activate = networks.ACTIVATIONS[activation]
    with torch.no_grad():
        activity, logit = networks.forward(weights, x, activate)
        assert torch.equal(networks.logit(weights, x, activate), logit)
        torch.testing.assert_close(torch.sigmoid(logit), model(x.T)[:, 0], atol=1e-6, rtol=1e-5)
        assert [layer.shape for layer in activity] == [(width, 60) for width in hidden]
        torch.testing.assert_close(activity[0], model[:2](x.T).T, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(activity[-1], model[:-2](x.T).T, atol=1e-5, rtol=1e-5)


def test_hyperparameters_are_one_row_per_config_in_the_fields_order():
    rows = networks.hyperparameters([Config(), Config(learning_rate=0.5, momentum=0.25)])
    assert rows.dtype == torch.float32
    first, second = (Hyperparameters(*row.tolist()) for row in rows)
    assert first == Hyperparameters(pytest.approx(0.01), 0)
    assert second == Hyperparameters(0.5, 0.25)


@pytest.mark.parametrize("activation", list(predict.ACTIVATIONS))
def test_what_the_page_draws_without_torch_is_the_entry(activation):
    u = torch.cat((torch.linspace(-30, 30, 2001), torch.tensor([-1e30, -1e-30, 0.0, 1e-30, 1e30])))
    found = torch.from_numpy(predict.activation(activation)(u.double().numpy()))
    torch.testing.assert_close(found, ACTIVATIONS[activation](u.double()), rtol=1e-12, atol=1e-300)


def test_layers_go_from_the_input_to_the_output():
    weights = networks.initial_weights(Config(hidden=(4, 3)), 0)
    assert [(tuple(w.shape), tuple(b.shape)) for w, b in networks.layers(weights)] == [
        ((4, 2), (4,)),
        ((3, 4), (3,)),
        ((1, 3), (1,)),
    ]


# Loss


@pytest.mark.parametrize("scale", [1, 60, -40, 200, -200])
@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("activation", list(MODULES))
@pytest.mark.parametrize("seed", [0, 2, 5])
def test_loss_and_gradient_are_those_of_torch_where_outputs_saturate_too(scale, loss, activation, seed):
    config = Config(loss=loss, activation=activation, output_scale=scale)
    weights = networks.initial_weights(config, seed)
    x, y = data.draw([seed], 4.0, 100)[0], data.labels(100)
    model = sequential(config, seed)
    model.load_state_dict(weights)
    expected = LOSSES[loss](model(x.T), y[:, None])
    expected.backward()

    activate, loss_of = networks.ACTIVATIONS[activation], networks.LOSSES[loss]
    gradient, value = torch.func.grad_and_value(networks.loss)(weights, x, y, activate, loss_of)
    torch.testing.assert_close(value, expected.detach(), atol=1e-6, rtol=2e-6)
    size = max(parameter.grad.abs().max().item() for parameter in model.parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            gradient[name], parameter.grad, atol=2e-6 * max(size, 1), rtol=1e-4, msg=name
        )


@pytest.mark.parametrize(
    "z", [-math.inf, -200, -104, -103, -90, -40, -27, -17, 0, 15, 16, 17, 40, 200, math.inf]
)
@pytest.mark.parametrize("y", [0.0, 1.0])
@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_corners_of_float32_one_point_at_a_time(z, y, loss):
    target = torch.full((1,), y)
    v = torch.tensor(float(z), requires_grad=True)
    expected = LOSSES[loss](torch.sigmoid(v.reshape(1)), target)
    expected.backward()
    z = torch.tensor([float(z)], requires_grad=True)
    value = networks.LOSSES[loss](torch.sigmoid(z), target)
    value.sum().backward()
    torch.testing.assert_close(value[0], expected, atol=6e-8, rtol=1e-6)  # 1 - p is rounded there
    torch.testing.assert_close(z.grad[0], v.grad, atol=0, rtol=1e-5)


def test_the_corners_are_reached():
    """Else the tests above would prove nothing: a clamped loss, and a BCE gradient that has died."""
    wrong_at_full = LOSSES["bce"](torch.sigmoid(torch.tensor([17.0])), torch.zeros(1))
    assert wrong_at_full == 100
    v = torch.tensor(-40.0, requires_grad=True)
    LOSSES["bce"](torch.sigmoid(v), torch.tensor(1.0)).backward()
    assert abs(v.grad) < 1e-4


def test_nan_weights_give_a_nan_loss():
    for loss_of in networks.LOSSES.values():
        weights = {name: value * math.nan for name, value in networks.initial_weights(Config(), 0).items()}
        x, y = data.draw([0], 4.0, 5)[0], data.labels(5)
        assert networks.loss(weights, x, y, torch.relu, loss_of).isnan()
