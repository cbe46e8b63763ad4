"""Data: the notebook's own draws, from a seed."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from qwerties.training import data


def as_in_the_notebook(seed, n, distance):
    """The notebook's first cell after ``torch.manual_seed(2 * seed)``; returns data.T and labels."""
    torch.manual_seed(2 * seed)
    A, B = [1, 1], [1 + distance, 1]
    a = torch.vstack((A[0] + torch.randn(n), A[1] + torch.randn(n)))
    b = torch.vstack((B[0] + torch.randn(n), B[1] + torch.randn(n)))
    return torch.vstack((a.T, b.T)).T, torch.vstack((torch.zeros(n, 1), torch.ones(n, 1)))[:, 0]


@pytest.mark.parametrize("seed", [0, 1, 499, 2**31 - 1])
@pytest.mark.parametrize("distance", [0.0, 0.1, 1 / 3, 4, 6.0, math.pi])
@pytest.mark.parametrize("samples", [1, 7, 100])
def test_points_are_the_notebooks_bit_for_bit(seed, distance, samples):
    x, y = as_in_the_notebook(seed, samples, distance)
    assert torch.equal(data.draw([seed], distance, samples)[0], x)
    assert torch.equal(data.labels(samples), y)


def xor_as_specified(seed, n, distance):
    """XOR drawn point by point: the notebook's four draws, then each point at its own centre."""
    torch.manual_seed(2 * seed)
    draws = [torch.randn(n) for _ in range(4)]  # x of A, y of A, x of B, y of B
    near, far = 1.0, 1.0 + distance
    corners = {0: ((near, near), (far, far)), 1: ((far, near), (near, far))}
    x = torch.empty(2, 2 * n)
    for label in (0, 1):
        for i in range(n):
            centre = corners[label][0 if i < (n + 1) // 2 else 1]
            for coordinate in (0, 1):
                x[coordinate, label * n + i] = centre[coordinate] + draws[2 * label + coordinate][i]
    return x


@pytest.mark.parametrize("seed", [0, 499])
@pytest.mark.parametrize("distance", [0.0, 1 / 3, 4, math.pi])
@pytest.mark.parametrize("samples", [1, 2, 7, 100])
def test_xor_splits_each_class_over_its_two_centres(seed, distance, samples):
    drawn = data.draw([seed], distance, samples, "xor")[0]
    assert torch.equal(drawn, xor_as_specified(seed, samples, distance))


def test_centres_are_where_the_points_are():
    for name in data.ARRANGEMENTS:
        x = data.draw([1], 3.0, 42_000, name)[0].double().numpy()  # (2, points)
        for own, points in zip(data.centres(name, 3.0), np.split(x, 2, axis=1), strict=True):
            for centre, part in zip(own, np.split(points, len(own), axis=1), strict=True):
                np.testing.assert_allclose(part.mean(1), centre, atol=5 / math.sqrt(part.shape[1]))


def test_centres_are_known_without_torch():
    code = "import sys; from qwerties.training import data; data.centres('xor', 4.0); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_seeds_and_distances_are_drawn_together_as_they_are_alone():
    noise = data.draw_noise((3, 3, 8), 5)
    placed = data.place(noise, torch.tensor([4.0, 0.3, 1.1], dtype=torch.float64))
    assert placed.shape == (3, 2, 10)
    assert placed.dtype == torch.float32
    for x, seed, distance in zip(placed, (3, 3, 8), (4.0, 0.3, 1.1), strict=True):
        assert torch.equal(x, data.draw([seed], distance, 5)[0])


def test_drawing_neither_uses_nor_moves_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = data.draw(range(3), 4.0, 10)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(data.draw(range(3), 4.0, 10), first)
