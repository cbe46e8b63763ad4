"""Train and score networks by the C++ kernel, whose vectors hold a network in each lane."""

from __future__ import annotations

import ctypes
import functools
import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from qwerties.config import Config
from qwerties.training import compiler
from qwerties.training.networks import Weights
from qwerties.training.optimizers import bias_corrections

log = logging.getLogger(__name__)

# Weights of a network beyond which PyTorch's matrix products are faster, and the kernel's sums need megabytes of stack
MAX_WEIGHTS = 20_000

# Points times networks times epochs times weights of one call, which take about a second, so that Ctrl-C is handled
# between calls
WORK_PER_CALL = 2**32

SLOWER = "PyTorch trains instead, many times slower"


def load(config: Config) -> ctypes.CDLL | None:
    """Return the kernel of a config's batch; None where PyTorch must train, with one line that says why."""
    return _load(config.hidden, config.activation, config.loss, config.optimizer)


@functools.cache
def _load(hidden: tuple[int, ...], activation: str, loss: str, optimizer: str) -> ctypes.CDLL | None:
    if Config(hidden=hidden).weights > MAX_WEIGHTS:
        return None
    source = (compiler.SOURCES / "kernel.cpp").read_text(encoding="utf-8")
    entries = {"activation": activation, "loss": loss, "optimizer": optimizer}
    names = {field: f"{name}_{field}" for field, name in entries.items()}
    missing = [field for field, name in names.items() if f"struct {name} {{" not in source]
    for field in missing:
        _warn(f"kernel.cpp has no {field} {entries[field]!r}")
    if missing:
        return None
    widths = ",".join(map(str, (2, *hidden, 1)))
    try:
        return compiler.load(
            (f"WIDTHS={widths}", *(f"{field.upper()}={name}" for field, name in names.items()))
        )
    except (compiler.CompilerError, OSError) as error:  # a disk may be full
        _warn(str(error))
        return None


@functools.cache
def _warn(cause: str) -> None:
    """Log once what several kernels may lack."""
    log.warning("%s: %s", cause, SLOWER)


def _call(function: Callable[..., None], tensors: list[Tensor], counts: list[int]) -> None:
    function(*(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors), *map(ctypes.c_int64, counts))


def _pack(values: Tensor, lanes: int) -> Tensor:
    """Lay out (networks, ...) as (groups, ..., lanes); the last network fills up the last group."""
    if missing := -len(values) % lanes:
        values = torch.cat((values, values[-1:].expand(missing, *values.shape[1:])))
    return values.unflatten(0, (-1, lanes)).movedim(1, -1).contiguous()


def _unpack(values: Tensor, networks: int) -> Tensor:
    """Lay out (groups, ..., lanes) as (networks, ...)."""
    return values.movedim(-1, 1).flatten(0, 1)[:networks].contiguous()


def _flatten(weights: Weights) -> Tensor:
    return torch.cat([value.flatten(1) for value in weights.values()], dim=1)  # (networks, weights)


def _name(values: Tensor, weights: Weights) -> Weights:
    """Split (..., weights) into tensors named and shaped as those of ``weights``."""
    shapes = [value.shape[1:] for value in weights.values()]
    parts = values.split([math.prod(shape) for shape in shapes], dim=-1)
    return {name: part.unflatten(-1, shape) for name, part, shape in zip(weights, parts, shapes, strict=True)}


def train(
    library: ctypes.CDLL,
    weights: Weights,
    hyper: Tensor,
    x: Tensor,
    stops: Tensor,
    progress: Callable[[int], None],
) -> tuple[Tensor, Weights, Weights]:
    """Train networks of one batch.

    Parameters
    ----------
    library : CDLL
        The batch's kernel.
    weights : dict of Tensor, (networks, ...)
    hyper : Tensor, (networks, fields of Hyperparameters)
    x : Tensor, (networks, 2, points)
        The first half is of class 0, the second of class 1.
    stops : Tensor, (stops,), int64
        Updates after which weights are kept: 0 first, rising, all epochs last.
    progress : callable
        Called now and then with the number of network-epochs done since the last call.

    Returns
    -------
    losses : Tensor, (networks, epochs)
        Before each update.
    kept : dict of Tensor, (networks, stops, ...)
    gradients : dict of Tensor, (networks, ...)
        Before the first update.
    """
    lanes, networks, points, epochs = library.lanes(), len(hyper), x.shape[-1], int(stops[-1])
    flat = _flatten(weights)
    size = flat.shape[1]
    inputs = [_pack(x.mT, lanes), _pack(hyper, lanes)]
    fixed = [bias_corrections(epochs), stops]
    state = _pack(torch.nn.functional.pad(flat, (0, 2 * size)), lanes)  # (groups, 3 weights, lanes)
    groups = len(state)
    losses, kept, gradients = (
        torch.empty(groups, *shape, lanes, dtype=torch.float32)
        for shape in ((epochs,), (len(stops), size), (size,))
    )
    work = lanes * points * size  # of a group's epoch
    epochs_per_call = min(epochs, max(1, WORK_PER_CALL // work))
    groups_per_call = max(1, WORK_PER_CALL // (work * epochs))
    for first in range(0, groups, groups_per_call):
        some = slice(first, first + groups_per_call)
        outputs = [array[some] for array in (state, losses, kept, gradients)]
        count = len(outputs[0])
        for begin in range(0, epochs, epochs_per_call):
            end = min(begin + epochs_per_call, epochs)
            tensors = [*(array[some] for array in inputs), *fixed, *outputs]
            _call(library.train, tensors, [count, points, epochs, len(stops), begin, end])
            progress((end - begin) * min(lanes * count, networks - lanes * first))
    return (
        _unpack(losses, networks),
        _name(_unpack(kept, networks), weights),
        _name(_unpack(gradients, networks), weights),
    )


def score(library: ctypes.CDLL, weights: Weights, x: Tensor) -> Tensor:
    """Return accuracy, BCE (nats) and Brier score of networks on points that they share, (networks, 3).

    Parameters
    ----------
    library : CDLL
        A kernel of these widths and this activation.
    weights : dict of Tensor, (networks, ...)
    x : Tensor, (2, points)
        The first half is of class 0, the second of class 1.
    """
    flat = _flatten(weights)
    packed = _pack(flat, library.lanes())
    scores = torch.empty(len(packed), 3, library.lanes(), dtype=torch.float32)
    _call(library.score, [x.T.contiguous(), packed, scores], [len(packed), x.shape[1]])
    return _unpack(scores, len(flat))


def classify(library: ctypes.CDLL, weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Classify every network's own points with each of its weights.

    Parameters
    ----------
    library : CDLL
        A kernel of these widths and this activation.
    weights : dict of Tensor, (networks, checkpoints, ...)
    x : Tensor, (networks, 2, points)
        The first half is of class 0, the second of class 1.

    Returns
    -------
    positives : Tensor, (networks, checkpoints, 2), int64
        Points of class 0 and of class 1 that are put into class 1.
    active : Tensor, (networks, checkpoints), bool
        Whether every hidden layer has a positive activity on some point.
    """
    lanes, networks, points = library.lanes(), len(x), x.shape[-1]
    flat = torch.cat(
        [value.flatten(2) for value in weights.values()], dim=2
    )  # (networks, checkpoints, weights)
    packed = _pack(flat, lanes)  # (groups, checkpoints, weights, lanes)
    groups, checkpoints = packed.shape[:2]
    positives = torch.empty(groups, checkpoints, 2, lanes, dtype=torch.float32)
    active = torch.empty(groups, checkpoints, lanes, dtype=torch.float32)
    _call(library.classify, [_pack(x.mT, lanes), packed, positives, active], [groups, points, checkpoints])
    return _unpack(positives, networks).long(), _unpack(active, networks) > 0
