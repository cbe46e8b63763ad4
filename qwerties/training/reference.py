"""The notebook's own loop, kept as it was taught: the yardstick that the batched trainer is held to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qwerties.config import Config
from qwerties.training import networks
from qwerties.training.optimizers import OPTIMIZERS, bias_corrections, initial_state

# The notebook's own modules; any other entry of `networks` and `optimizers` stands for itself
_ACTIVATIONS = {"relu": nn.ReLU, "linear": nn.Identity, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
_LOSSES = {"bce": nn.BCELoss, "mse": nn.MSELoss}


class Activation(nn.Module):
    """An entry of `networks.ACTIVATIONS` as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, u: Tensor) -> Tensor:
        """Return what the next layer takes, from what this layer's units add up."""
        return networks.ACTIVATIONS[self.name](u)


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
        own = _ACTIVATIONS.get(config.activation)
        activation = own() if own else Activation(config.activation)
        modules += [nn.Linear(fan_in, fan_out, dtype=torch.float32), activation]
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
        ax, ay, bx, by = (torch.randn(n, dtype=torch.float32) for _ in range(4))
        a = torch.vstack(
            (torch.cat((near + ax[:half], far + ax[half:])), torch.cat((near + ay[:half], far + ay[half:])))
        )
        b = torch.vstack(
            (torch.cat((far + bx[:half], near + bx[half:])), torch.cat((near + by[:half], far + by[half:])))
        )
    else:
        a = torch.vstack(
            (near + torch.randn(n, dtype=torch.float32), near + torch.randn(n, dtype=torch.float32))
        )
        b = torch.vstack(
            (far + torch.randn(n, dtype=torch.float32), near + torch.randn(n, dtype=torch.float32))
        )
    points = torch.vstack((a.T, b.T))
    labels = torch.vstack((torch.zeros(n, 1, dtype=torch.float32), torch.ones(n, 1, dtype=torch.float32)))

    model = build_model(config, data_seed if weight_seed is None else weight_seed)
    loss_func = _loss(config.loss)
    update = _update(config, model)

    losses = torch.zeros(config.epochs, dtype=torch.float32)
    for epoch in range(config.epochs):
        watch(epoch, model)
        y_hat = model(points)
        loss = loss_func(y_hat, labels)
        losses[epoch] = loss.detach()
        model.zero_grad()
        loss.backward()
        update()
    watch(config.epochs, model)
    return Reference(model, points, labels, losses)


def _loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss over points."""
    return _LOSSES[name]() if name in _LOSSES else lambda p, y: networks.LOSSES[name](p, y).mean()


def _update(config: Config, model: nn.Module) -> Callable[[], object]:
    """Return a function that updates the model by its gradients."""
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=config.learning_rate).step
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=config.momentum).step
    weights = {
        name: value.detach() for name, value in model.named_parameters()
    }  # which share the model's memory
    hyper = networks.Hyperparameters(*networks.hyperparameters([config])[0])
    state, corrections = initial_state(weights), iter(bias_corrections(config.epochs))

    def step() -> None:
        nonlocal state
        gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        updated, state = OPTIMIZERS[config.optimizer](weights, gradients, state, hyper, next(corrections))
        for name, value in updated.items():
            weights[name].copy_(value)

    return step
