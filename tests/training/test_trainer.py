"""The batched trainer: each of its networks is the notebook's loop on that seed, whatever else is in the batch."""

import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import LOSSES, assert_equals_reference, needs_compiler
from torch import nn

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.training import native
from qwerties.training import trainer as training
from qwerties.training.reference import build_model, train_reference
from qwerties.training.trainer import checkpoints, train

COMPANY_TOLERANCE = 1e-6

SEEDS = Seeds(0, 3)
FOUR = tuple(
    Config(loss=loss, activation=activation) for loss in ("bce", "mse") for activation in ("relu", "linear")
)
SHORT_FOUR = tuple(dataclasses.replace(config, epochs=500) for config in FOUR)
VARIANTS = tuple(
    Config(epochs=300, **changes)
    for changes in (
        {"optimizer": "adam"},
        {"optimizer": "adam", "loss": "mse", "activation": "tanh", "learning_rate": 0.1},
        {"momentum": 0.9},
        {"hidden": (8, 8)},
        {"hidden": (8, 8), "activation": "tanh", "init": "he"},
        {"activation": "tanh"},
        {"activation": "sigmoid", "learning_rate": 0.3},
        {"output_scale": 10.0},
        {"output_scale": 10.0, "loss": "mse"},
        {"init": "he"},
        {"distance": 0.5, "learning_rate": 0.1},
        {"data": "xor", "hidden": (4,), "learning_rate": 0.1},
    )
)


def ids(config):
    return config.label()


@functools.cache
def reference(config, data_seed, weight_seed=None):
    return train_reference(config, data_seed, weight_seed)


@functools.cache
def four(compiled):
    """The flagship: all four configs at both lengths, in one call."""
    trained = train((*FOUR, *SHORT_FOUR), SEEDS, compiled=compiled)
    return dict(zip((*FOUR, *SHORT_FOUR), trained, strict=True))


@functools.cache
def variants(compiled=False):
    return dict(zip(VARIANTS, train(VARIANTS, Seeds(0, 2), compiled=compiled), strict=True))


both_ways = pytest.mark.parametrize(
    "compiled", [pytest.param(False, id="eager"), pytest.param(True, id="compiled", marks=needs_compiler)]
)


@pytest.fixture(autouse=True)
def _compiling_does_not_fail(caplog):
    """Else the compiled tests would test PyTorch, which trains where the compiler fails."""
    yield
    assert [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)] == []


def assert_identical(one, other):
    assert one.config == other.config
    np.testing.assert_array_equal(one.losses, other.losses)
    np.testing.assert_array_equal(one.checkpoints, other.checkpoints)
    np.testing.assert_array_equal(one.gradient_rms, other.gradient_rms)
    assert list(one.weights) == list(other.weights)
    for name in one.weights:
        np.testing.assert_array_equal(one.weights[name], other.weights[name], err_msg=name)


def assert_same_network(one, i, other, j, tolerance=COMPANY_TOLERANCE):
    np.testing.assert_allclose(one.losses[i], other.losses[j], rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.gradient_rms[i], other.gradient_rms[j], rtol=0, atol=tolerance)
    for name in one.weights:
        np.testing.assert_allclose(
            one.weights[name][i], other.weights[name][j], rtol=0, atol=tolerance, err_msg=name
        )


# The reference is the notebook


def notebook(seed, epochs):
    """The course notebook's cells, word for word but for plots, the two seeds, and the epochs as an argument."""
    torch.manual_seed(2 * seed)

    # Prepare data
    N = 100
    A = [1, 1]
    B = [5, 1]

    a = torch.vstack((A[0] + torch.randn(N), A[1] + torch.randn(N)))
    b = torch.vstack((B[0] + torch.randn(N), B[1] + torch.randn(N)))

    data = torch.vstack((a.T, b.T))
    labels = torch.vstack((torch.zeros(N, 1), torch.ones(N, 1)))

    torch.manual_seed(2 * seed + 1)

    # Building Model
    class ANNClassify(nn.Module):
        def __init__(self):
            super().__init__()
            self.stack = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1), nn.Sigmoid())

        def forward(self, x):
            return self.stack(x)

    model = ANNClassify()

    # Metaparameter Set Up
    learning_rate = 0.01
    loss_func = nn.BCELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)

    # Training Model
    losses = torch.zeros(epochs)

    for epoch in range(epochs):
        # forward pass
        yHat = model(data)

        # Calculating Loss
        loss = loss_func(yHat, labels)
        losses[epoch] = loss

        # Backpropagation
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return data, labels, losses.detach(), model.stack.state_dict()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_reference_is_the_notebook_bit_for_bit(seed):
    points, labels, losses, state = notebook(seed, DEFAULT.epochs)
    found = reference(DEFAULT, seed)
    assert torch.equal(found.points, points)
    assert torch.equal(found.labels, labels)
    assert torch.equal(found.losses, losses)
    assert list(found.model.state_dict()) == list(state)
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, state[name]), name


# The flagship: network i of a batch is the notebook's loop on that seed


@both_ways
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("config", FOUR, ids=ids)
def test_a_network_of_a_batch_is_the_notebooks_loop_on_that_seed(config, seed, compiled):
    trained = four(compiled)[config]
    assert trained.losses.shape == (3, 2000)
    assert_equals_reference(trained, seed, reference(config, seed))


@pytest.mark.slow
@both_ways
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("config", VARIANTS, ids=ids)
def test_so_it_is_for_every_other_hyperparameter(config, seed, compiled):
    assert_equals_reference(variants(compiled)[config], seed, reference(config, seed))


@both_ways
def test_the_seeds_tell_networks_apart(compiled):
    """Else the tests above could pass on one network repeated."""
    for trained in four(compiled).values():
        assert len({tuple(losses) for losses in trained.losses}) == 3
    assert len({tuple(four(compiled)[config].losses[0]) for config in FOUR}) == 4


@both_ways
def test_crossed_seeds_are_their_pairs_of_data_and_weights(compiled):
    config, seeds = Config(epochs=100, learning_rate=0.1), Seeds(1, 3, crossed=3)
    trained = train([config], seeds, compiled=compiled)[0]
    pairs = list(itertools.product((1, 2), (0, 1, 2)))
    assert len(trained.losses) == len(pairs)
    for i, (data_seed, weight_seed) in enumerate(pairs):
        assert_equals_reference(trained, i, reference(config, data_seed, weight_seed))
    diagonal = train([config], Seeds(1, 3), compiled=compiled)[0]
    assert_same_network(trained, 1, diagonal, 0)  # data 1 meets weights 1
    assert_same_network(trained, 5, diagonal, 1)  # data 2 meets weights 2


# What training leaves


@pytest.mark.parametrize("config", [*FOUR, *VARIANTS], ids=ids)
def test_shapes_and_types(config):
    trained = (four(False) if config in FOUR else variants())[config]
    n = len(trained.seeds)
    assert trained.config == config
    assert trained.losses.shape == (n, config.epochs)
    np.testing.assert_array_equal(trained.checkpoints, checkpoints(config.epochs))
    widths = (2, *config.hidden, 1)
    assert trained.gradient_rms.shape == (n, len(widths) - 1)
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        kept = len(trained.checkpoints)
        assert trained.weights[f"{2 * layer}.weight"].shape == (n, kept, fan_out, fan_in)
        assert trained.weights[f"{2 * layer}.bias"].shape == (n, kept, fan_out)
    arrays = (trained.losses, trained.gradient_rms, *trained.weights.values())
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    for name, value in trained.final.items():
        np.testing.assert_array_equal(value, trained.weights[name][:, -1])


@both_ways
def test_weights_are_those_after_as_many_updates_as_the_checkpoint_says(compiled):
    config = VARIANTS[0]
    trained = variants(compiled)[config]
    for epoch in (1, 2, 10, 100):
        column = trained.checkpoints.tolist().index(epoch)
        state = reference(dataclasses.replace(config, epochs=epoch), 1).model.state_dict()
        for name, value in state.items():
            np.testing.assert_allclose(trained.weights[name][1, column], value.numpy(), atol=1e-6)


@pytest.mark.parametrize("config", VARIANTS, ids=ids)
def test_the_first_weights_are_the_initial_draws(config):
    trained = variants()[config]
    assert trained.checkpoints[0] == 0
    for seed in range(2):
        for name, value in build_model(config, seed).state_dict().items():
            np.testing.assert_array_equal(trained.weights[name][seed, 0], value.numpy())


@both_ways
@pytest.mark.parametrize("config", VARIANTS, ids=ids)
def test_gradient_rms_is_that_of_each_layers_weights_before_the_first_update(config, compiled):
    for seed in range(2):
        untrained = reference(dataclasses.replace(config, epochs=1), seed)
        model = build_model(config, seed)
        LOSSES[config.loss](model(untrained.points), untrained.labels).backward()
        expected = [
            parameter.grad.square().mean().sqrt().item()
            for name, parameter in model.named_parameters()
            if name.endswith("weight")
        ]
        np.testing.assert_allclose(variants(compiled)[config].gradient_rms[seed], expected, rtol=1e-4)


# Fewer epochs are a prefix of more


@both_ways
def test_fewer_epochs_are_an_exact_prefix_of_more(compiled):
    alone = train(SHORT_FOUR, SEEDS, compiled=compiled)
    for config, short, trained in zip(FOUR, SHORT_FOUR, alone, strict=True):
        assert_identical(four(compiled)[short], trained)
        np.testing.assert_array_equal(four(compiled)[config].losses[:, :500], trained.losses)
        assert_identical(four(compiled)[config].until(2000), four(compiled)[config])


def test_lengths_of_one_call_come_back_in_the_order_asked_for():
    configs = [Config(epochs=n, loss=loss) for n in (7, 30, 1) for loss in ("mse", "bce")]
    configs.append(configs[0])
    together = train(configs, Seeds(4, 6), compiled=False)
    assert [trained.config for trained in together] == configs
    for config, trained in zip(configs, together, strict=True):
        assert_identical(trained, train([config], Seeds(4, 6), compiled=False)[0])


# A network's results do not depend on the batch's company

MIXED = tuple(
    Config(epochs=60, **{"learning_rate": 0.2, **changes})
    for changes in (
        {},
        {"loss": "mse", "activation": "linear"},
        {"distance": 1.0, "learning_rate": 0.05},
        {"output_scale": 5.0},
        {"momentum": 0.5, "init": "he"},
    )
)


@functools.cache
def mixed():
    return train(MIXED, Seeds(0, 8), compiled=False)


@needs_compiler
@pytest.mark.parametrize("chosen", range(4))
def test_a_compiled_network_is_the_same_alone_and_in_company(chosen):
    config = SHORT_FOUR[chosen]
    for seed in range(3):
        alone = train([config], Seeds(seed, seed + 1), compiled=True)[0]
        assert_same_network(four(True)[config], seed, alone, 0)


@pytest.mark.parametrize("chosen", range(len(MIXED)))
def test_every_kind_of_network_is_the_same_alone_and_in_company(chosen):
    alone = train([MIXED[chosen]], Seeds(0, 8), compiled=False)[0]
    for i in range(8):
        assert_same_network(mixed()[chosen], i, alone, i)


def test_the_bounds_of_blocks_do_not_matter(monkeypatch):
    sizes = []
    of_block = training._train_block

    def spy(configs, seeds, chunk, *rest):
        sizes.append(len(configs) * len(chunk))
        return of_block(configs, seeds, chunk, *rest)

    monkeypatch.setattr(training, "_train_block", spy)
    monkeypatch.setattr(training, "BLOCK", 3)
    blocks = train(MIXED[1:3], Seeds(0, 8), compiled=False)
    assert max(sizes) <= 3
    assert sum(sizes) == 16
    for one, other in zip(blocks, mixed()[1:3], strict=True):
        np.testing.assert_array_equal(one.seeds.data, range(8))
        for i in range(8):
            assert_same_network(one, i, other, i)


# One diverged network leaves the others alone


@both_ways
def test_a_diverged_network_leaves_the_others_alone(compiled):
    wild = dataclasses.replace(SHORT_FOUR[1], epochs=150, learning_rate=3e38)
    sane = [dataclasses.replace(config, epochs=150) for config in FOUR]
    found = train([*sane[:2], wild, *sane[2:]], SEEDS, compiled=compiled)
    assert not np.isfinite(found[2].losses[:, -1]).any()
    for config, trained in zip(sane, [*found[:2], *found[3:]], strict=True):
        assert trained.config == config
        assert np.isfinite(trained.losses).all()
        for i in range(3):
            np.testing.assert_allclose(
                trained.losses[i],
                four(compiled)[dataclasses.replace(config, epochs=500)].losses[i, :150],
                atol=1e-6,
            )
            assert_equals_reference(trained, i, reference(config, i))


def test_a_diverged_seed_leaves_the_other_seeds_alone():
    config = Config(epochs=30, learning_rate=3e38)
    trained = train([config], Seeds(0, 20), compiled=False)[0]
    finite = np.isfinite(trained.losses[:, -1])
    assert 0 < finite.sum() < 20  # one of them is dead before the first update, and unharmed
    for i in np.flatnonzero(finite):
        alone = train([config], Seeds(int(i), int(i) + 1), compiled=False)[0]
        assert_same_network(trained, i, alone, 0)


# Determinism


@both_ways
def test_training_twice_gives_the_same_bits(compiled):
    torch.manual_seed(1)
    first = train(FOUR[:2] if compiled else MIXED, SEEDS, compiled=compiled)
    torch.manual_seed(2)
    second = train(FOUR[:2] if compiled else MIXED, SEEDS, compiled=compiled)
    for one, other in zip(first, second, strict=True):
        assert_identical(one, other)


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train([Config(epochs=2)], SEEDS, compiled=False)
    assert torch.equal(torch.get_rng_state(), before)


# Checkpoints


@given(st.integers(1, 10_000_000))
def test_checkpoints_rise_from_nothing_to_the_end(epochs):
    kept = checkpoints(epochs)
    assert kept[0] == 0
    assert kept[1] == 1
    assert kept[-1] == epochs
    assert (np.diff(kept) > 0).all()
    assert np.issubdtype(kept.dtype, np.integer)
    assert len(kept) <= 2 + 18 * max(1, math.log10(epochs) + 1)


@given(st.integers(1, 10_000_000), st.integers(1, 10_000_000))
def test_checkpoints_of_fewer_epochs_are_among_those_of_more_but_for_the_last(one, other):
    few, many = sorted((one, other))
    assert set(checkpoints(few)[:-1]) <= set(checkpoints(many))


@given(st.integers(100, 10_000_000))
def test_checkpoints_are_evenly_spaced_on_a_log_scale(epochs):
    kept = checkpoints(epochs)
    late = kept[(kept >= 30)]
    assert (late[1:] / late[:-1]).max() < 1.2
    assert (late[1:-1] / late[:-2]).min(initial=np.inf) > 1.05


def test_checkpoints_by_hand():
    assert checkpoints(1).tolist() == [0, 1]
    assert checkpoints(5).tolist() == [0, 1, 2, 3, 4, 5]
    assert 45 <= len(checkpoints(2000)) <= 60


# Options of the caller


def test_a_users_default_type_does_not_change_results():
    config, default = Config(hidden=(2,), epochs=5), torch.get_default_dtype()
    expected = [train([config], SEEDS, compiled=compiled)[0] for compiled in (True, False)]
    torch.set_default_dtype(torch.float64)
    try:
        for compiled, trained in zip((True, False), expected, strict=True):
            assert_identical(train([config], SEEDS, compiled=compiled)[0], trained)
        found = train_reference(config, 0)
    finally:
        torch.set_default_dtype(default)
    assert torch.equal(found.losses, reference(config, 0).losses)


@both_ways
def test_progress_adds_up_to_the_network_epochs_of_the_longest(compiled, monkeypatch):
    monkeypatch.setattr(native, "WORK_PER_CALL", 50_000)  # a few epochs
    done = []
    train(
        [Config(epochs=20), Config(epochs=10), Config(epochs=5, loss="mse")],
        Seeds(0, 4),
        compiled=compiled,
        progress=done.append,
    )
    assert sum(done) == 4 * 20 + 4 * 5
    assert len(done) > 2
