"""The device that trains: the CPU, in blocks that fit a core's cache, or a GPU, a whole shard at a time.

The code is the same, compiled for either. The CPU scores and draws in any case, which takes longer than a GPU trains:
several processes share it. A GPU sums in another order, so its numbers agree with the CPU's within float32's rounding,
not bit for bit; every run's tag ``qwerties.device`` names the device.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from qwerties.config import Config
from qwerties.errors import UsageError
from qwerties.training import trainer as training

ROOM = 0.4  # share of a GPU's free memory for what `bytes_of` counts; the rest is for what the compiler adds
SHARERS = 4  # processes that share a GPU by default; each takes some hundred MB of its memory by itself


def choose(device: str, is_there: bool | None = None) -> str:
    """Return the device to train on, ``cpu`` or ``cuda``; ``auto`` is a GPU where there is one.

    ``is_there`` says whether the processes that train have a GPU; by default, this process's PyTorch is asked.

    Raises
    ------
    UsageError
        If ``cuda`` is asked for and there is none.
    """
    if device == "cpu":
        return "cpu"
    has_gpu = torch.cuda.is_available() if is_there is None else is_there
    if device == "cuda" and not has_gpu:
        where = f"(PyTorch {torch.__version__})" if is_there is None else "on every worker of the cluster"
        raise UsageError(f"--device cuda needs a CUDA device that PyTorch can use, got none {where}")
    if not has_gpu:
        return "cpu"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path.cwd() / ".cache" / "inductor"))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no process pools below our own workers
    return "cuda"


def name(device: str) -> str:
    """Return the device's name for the tag of a run."""
    return "CPU" if device == "cpu" else torch.cuda.get_device_name(device)


@contextmanager
def resident(device: str, config: Config, sharers: int = 1) -> Iterator[None]:
    """Within the block, train as many networks at once as the device has room for; on the CPU, change nothing.

    ``config`` is the largest one to be trained, and ``sharers`` counts the processes that train on the same GPU. A
    block's losses are copied back from the GPU before the next block, which bounds its memory.
    """
    usual = training.BLOCK
    if device != "cpu":
        free, _ = torch.cuda.mem_get_info(device)
        training.BLOCK = max(1, int(ROOM * free / sharers) // bytes_of(config))
    try:
        yield
    finally:
        training.BLOCK = usual


def bytes_of(config: Config) -> int:
    """Return roughly the memory of one network in training: points, activity and gradients, losses, stored weights."""
    points, widths = 2 * config.samples, (2, *config.hidden, 1)
    products = [a * b for a, b in itertools.pairwise(widths)]
    weights = sum(products) + sum(widths[1:])
    stored = len(training.checkpoints(config.epochs)) * weights
    activity = points * (6 * sum(widths) + max(products))
    return 4 * (activity + 2 * config.epochs + 2 * stored + 8 * weights)
