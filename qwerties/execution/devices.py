"""What networks are trained on: the CPU, in blocks that fit a core's cache, or a GPU, a whole shard at a time.

The code is the same, compiled for either. Scores and pictures are the CPU's work in any case, and take longer than a
GPU takes to train: several processes share it. A GPU adds up in another order, so that its numbers agree with the CPU's
within float32's rounding and not bit for bit; every run's tag ``qwerties.device`` says what trained it.
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

TAG = "qwerties.device"

ROOM = 0.4
"""Share of a GPU's free memory for what a block holds by our count; the rest is for what the compiler adds."""


SHARERS = 4
"""Processes that share a GPU unless somebody says how many. Each takes some hundred MB of its memory by itself."""


def choose(wanted: str, is_there: bool | None = None) -> str:
    """Return the device that is meant, ``cpu`` or ``cuda``.

    Parameters
    ----------
    wanted : {"cpu", "cuda", "auto"}
        Auto is a GPU where there is one.
    is_there : bool, optional
        Whether whoever trains has a GPU; asks PyTorch in this process unless given.

    Raises
    ------
    UsageError
        If there is no GPU and one is wanted.
    """
    if wanted == "cpu":
        return "cpu"
    found = torch.cuda.is_available() if is_there is None else is_there
    if wanted == "cuda" and not found:
        where = f"(PyTorch {torch.__version__})" if is_there is None else "on every worker of the cluster"
        raise UsageError(f"--device cuda needs a CUDA device that PyTorch can use, got none {where}")
    if not found:
        return "cpu"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path.cwd() / ".cache" / "inductor"))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pools below our own workers
    return "cuda"


def name(device: str) -> str:
    """A device in words, for the tag of a run."""
    return "CPU" if device == "cpu" else torch.cuda.get_device_name(device)


@contextmanager
def resident(device: str, config: Config, sharers: int = 1) -> Iterator[None]:
    """Within the block, train as many networks at once as the device has room for.

    A GPU takes a whole shard where its memory allows. What a block leaves there (all its losses) is copied back when it
    is through, before the next block: that bounds the memory, however many networks a shard has.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        On the CPU, nothing changes.
    config : Config
        The largest one to be trained.
    sharers : int
        Processes that train on the same GPU.
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
    """Memory that one network takes while it trains, roughly: points, activity and gradients, losses, weights kept."""
    points, widths = 2 * config.samples, (2, *config.hidden, 1)
    products = [a * b for a, b in itertools.pairwise(widths)]
    weights = sum(products) + sum(widths[1:])
    kept = len(training.checkpoints(config.epochs)) * weights
    activity = points * (6 * sum(widths) + max(products))
    return 4 * (activity + 2 * config.epochs + 2 * kept + 8 * weights)
