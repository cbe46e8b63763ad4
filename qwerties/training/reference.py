"""The notebook's own loop, kept as it was taught: the yardstick that the batched trainer is held to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qwerties.config import Config
from qwerties.training import networks

_ACTIVATIONS = {"relu": nn.ReLU, "linear": nn.Identity, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
_LOSSES = {"bce": nn.BCELoss, "mse": nn.MSELoss}


@dataclass(frozen=True)
class Reference:
    """One network trained by the notebook's loop: the model, its data, and its loss at every epoch."""

    model: nn.Sequential
    points: Tensor
    """(points, 2)"""
    labels: Tensor
    """(points, 1)"""
    losses: Tensor
    """(epochs,), before each update"""


def build_model(config: Config, seed: int) -> nn.Sequential:
    """The notebook's model with its initial weights."""
    torch.manual_seed(2 * seed + 1)
    widths = (2, *config.hidden, 1)
    modules: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        modules += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[config.activation]()]
    model = nn.Sequential(*modules[:-1], nn.Sigmoid())
    if config.init == "he":  # nn.Linear has drawn by now: He's initialisation starts from the seed again
        model.load_state_dict(networks.initial_weights(config, seed))
    else:
        output = model[-2]
        assert isinstance(output, nn.Linear)
        with torch.no_grad():
            output.weight *= config.output_scale
    return model


def train_reference(
    config: Config,
    data_seed: int,
    weight_seed: int | None = None,
    watch: Callable[[int, nn.Sequential], None] = lambda updates, model: None,
) -> Reference:
    """Train one network as the notebook does.

    ``weight_seed`` is the data's seed unless given. ``watch`` is shown the model before the first update and after
    each, with the number of updates made.
    """
    torch.manual_seed(2 * data_seed)
    n, near, far = config.samples, 1, 1 + config.distance
    if config.data == "xor":  # each class in two halves, the first at its first centre
        half = n - n // 2
        ax, ay, bx, by = (torch.randn(n) for _ in range(4))
        a = torch.vstack(
            (torch.cat((near + ax[:half], far + ax[half:])), torch.cat((near + ay[:half], far + ay[half:])))
        )
        b = torch.vstack(
            (torch.cat((far + bx[:half], near + bx[half:])), torch.cat((near + by[:half], far + by[half:])))
        )
    else:
        a = torch.vstack((near + torch.randn(n), near + torch.randn(n)))
        b = torch.vstack((far + torch.randn(n), near + torch.randn(n)))
    points = torch.vstack((a.T, b.T))
    labels = torch.vstack((torch.zeros(n, 1), torch.ones(n, 1)))

    model = build_model(config, data_seed if weight_seed is None else weight_seed)
    loss_func = _LOSSES[config.loss]()
    if config.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=config.momentum)

    losses = torch.zeros(config.epochs)
    for epoch in range(config.epochs):
        watch(epoch, model)
        y_hat = model(points)
        loss = loss_func(y_hat, labels)
        losses[epoch] = loss.detach()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    watch(config.epochs, model)
    return Reference(model, points, labels, losses)
