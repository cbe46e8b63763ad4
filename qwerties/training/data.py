"""Two clusters of qwerties, drawn as the course notebook draws them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

CENTRE = (1.0, 1.0)


def draw_noise(seeds: Iterable[int], samples: int) -> Tensor:
    """Draw the two clusters of each seed around the origin, in the notebook's order (A0, A1, B0, B1).

    Returns
    -------
    Tensor, (seeds, 2, points)
        points = 2 * samples: first class 0, then class 1.
    """
    numbers, generator = [int(seed) for seed in seeds], torch.Generator()
    noise = torch.empty(len(numbers), 4, samples)
    clusters = noise.flatten(0, 1).unbind()
    for i, seed in enumerate(numbers):
        generator.manual_seed(2 * seed)
        for cluster in clusters[4 * i : 4 * i + 4]:
            cluster.normal_(generator=generator)
    return noise[:, [0, 2, 1, 3]].reshape(-1, 2, 2 * samples)  # (seeds, 2, points)


def labels(samples: int) -> Tensor:
    """Class of every point, (points,): zeros, then ones."""
    return torch.cat((torch.zeros(samples), torch.ones(samples)))


def place(noise: Tensor, distance: Tensor) -> Tensor:
    """Move drawn clusters to their centres, (1, 1) and (1 + distance, 1).

    Parameters
    ----------
    noise : Tensor, (networks, 2, points)
    distance : Tensor, (networks,), float64

    Returns
    -------
    Tensor, (networks, 2, points)
        Bit for bit what the notebook's ``A[0] + torch.randn(N)`` gives.
    """
    samples = noise.shape[-1] // 2
    centres = (
        torch.tensor(CENTRE, dtype=torch.float64).expand(len(noise), 2, 2).mT.clone()
    )  # (networks, 2, classes)
    centres[:, 0, 1] += distance
    return noise + centres.float().repeat_interleave(samples, dim=-1)  # (networks, 2, points)


def draw(seeds: Iterable[int], distance: float, samples: int) -> Tensor:
    """Training points of several seeds at one distance, (seeds, 2, points)."""
    noise = draw_noise(seeds, samples)
    return place(noise, torch.full((len(noise),), distance, dtype=torch.float64))
