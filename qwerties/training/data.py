"""Two classes of qwerties, drawn as the course notebook draws them.

Each class is an equal mixture of unit-variance isotropic Gaussians. `ARRANGEMENTS` says where their centres are; the
theory of an arrangement (`scoring.theory`) follows from its entry. Imported without torch, which only drawing needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

ORIGIN = (1.0, 1.0)  # the notebook's first centre

Offsets = tuple[tuple[float, float], ...]

# Centres of class 0 and of class 1, from ORIGIN, in units of the distance. `Config.data` takes these names.
ARRANGEMENTS: dict[str, tuple[Offsets, Offsets]] = {
    "clusters": (((0, 0),), ((1, 0),)),
    "xor": (((0, 0), (1, 1)), ((1, 0), (0, 1))),
}


def centres(data: str, distance: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cluster centres of class 0 and of class 1, each (clusters, 2)."""
    first, second = (np.array(ORIGIN) + distance * np.array(own, float) for own in ARRANGEMENTS[data])
    return first, second


def draw_noise(seeds: Iterable[int], samples: int) -> Tensor:
    """Draw the two classes of each seed around the origin, in the notebook's order (A0, A1, B0, B1).

    Returns
    -------
    Tensor, (seeds, 2, points)
        points = 2 * samples: first class 0, then class 1.
    """
    import torch

    numbers, generator = [int(seed) for seed in seeds], torch.Generator()
    noise = torch.empty(len(numbers), 2, 2, samples, dtype=torch.float32)  # (seeds, axes, classes, samples)
    drawn = zip(*(noise[:, axis, label].unbind() for label in (0, 1) for axis in (0, 1)), strict=True)
    for seed, parts in zip(numbers, drawn, strict=True):
        generator.manual_seed(2 * seed)
        for values in parts:
            values.normal_(generator=generator)
    return noise.flatten(2)  # (seeds, 2, points)


def labels(samples: int) -> Tensor:
    """Class of every point, (points,): zeros, then ones."""
    import torch

    return torch.cat((torch.zeros(samples, dtype=torch.float32), torch.ones(samples, dtype=torch.float32)))


def place(noise: Tensor, distance: Tensor, data: str = "clusters") -> Tensor:
    """Move the points of each class to its cluster centres.

    The points of a class are split evenly over its clusters, the first ones at its first centre; where they do not
    split evenly, earlier clusters get one more.

    Parameters
    ----------
    noise : Tensor, (networks, 2, points)
    distance : Tensor, (networks,), float64
    data : str
        A key of `ARRANGEMENTS`.

    Returns
    -------
    Tensor, (networks, 2, points)
        For ``clusters`` bit for bit what the notebook's ``A[0] + torch.randn(N)`` gives.
    """
    import torch

    samples = noise.shape[-1] // 2
    first, second = ARRANGEMENTS[data]
    offsets = torch.tensor([*first, *second], dtype=torch.float64).mT  # (2, clusters)
    origin = torch.tensor(ORIGIN, dtype=torch.float64)[:, None]
    at = (origin + distance[:, None, None] * offsets).float()  # (networks, 2, clusters)
    placed, cluster = torch.empty_like(noise), 0
    for label, own in enumerate((first, second)):
        edges = [samples * label + math.ceil(samples * k / len(own)) for k in range(len(own) + 1)]
        for begin, end in itertools.pairwise(edges):
            torch.add(noise[:, :, begin:end], at[:, :, cluster, None], out=placed[:, :, begin:end])
            cluster += 1
    return placed  # (networks, 2, points)


def draw(seeds: Iterable[int], distance: float, samples: int, data: str = "clusters") -> Tensor:
    """Draw the training points of several seeds at one distance, (seeds, 2, points)."""
    import torch

    noise = draw_noise(seeds, samples)
    return place(noise, torch.full((len(noise),), distance, dtype=torch.float64), data)
