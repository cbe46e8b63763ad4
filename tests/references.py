"""What a network of a batch must be: the notebook's own loop on that seed, of torch's own modules."""

import os

import numpy as np
import pytest
from torch import nn

from qwerties.training import networks, optimizers
from qwerties.training.compiler import find_compiler

MODULES = {"relu": nn.ReLU, "linear": nn.Identity, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
LOSSES = {"bce": nn.BCELoss(), "mse": nn.MSELoss()}

needs_compiler = pytest.mark.skipif(  # continuous integration installs one, and must not pass without it
    not find_compiler() and not os.environ.get("CI"), reason="compiling needs a C++ compiler"
)

LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4


def assert_equals_reference(trained, i, expected, relative=0.0):
    """Compare network i with a training by `train_reference`; weights may be ten times as far off as losses."""
    np.testing.assert_allclose(trained.losses[i], expected.losses, rtol=relative, atol=LOSS_TOLERANCE)
    state = expected.model.state_dict()
    assert list(trained.final) == list(state)
    for name, value in state.items():
        np.testing.assert_allclose(
            trained.final[name][i], value, rtol=10 * relative, atol=WEIGHT_TOLERANCE, err_msg=name
        )


def sign(weights, gradients, state, k, correction):
    return {name: w - k.learning_rate * gradients[name].sign() for name, w in weights.items()}, state


# Entries without lines in kernel.cpp, by field: their table, name and function
ENTRIES = {
    "activation": (networks.ACTIVATIONS, "softsign", lambda u: u / (1 + u.abs())),
    "loss": (networks.LOSSES, "fourth", lambda p, y: (p - y) ** 4),
    "optimizer": (optimizers.OPTIMIZERS, "sign", sign),
}
