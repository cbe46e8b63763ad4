"""Networks laid out for a compiled loop, which is then called: by blocks of epochs, so that Ctrl-C is seen."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from qwerties.training.networks import Weights

AT_ONCE = 2**29
"""Points times networks times epochs of one call, about a second of it: then Ctrl-C is seen."""


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


class Kernel:
    """A compiled loop, and how networks are laid out for it: (groups, values, lanes)."""

    def __init__(
        self, library: ctypes.CDLL, weights: Weights, count: int, shared: bool, *, moments: int
    ) -> None:
        self._library, self._count, self._shared, self._moments = library, count, shared, moments
        self._shapes = {name: value.shape for name, value in weights.items()}
        self.lanes: int = library.lanes()

    def _pack(self, values: Tensor) -> Tensor:
        """(networks, values) -> (groups, values, lanes); the last group is filled up with the last network."""
        groups = -(-len(values) // self.lanes)
        taken = torch.arange(groups * self.lanes).clamp(max=len(values) - 1)
        return values[taken].reshape(groups, self.lanes, -1).transpose(1, 2).contiguous().float()

    def _points(self, x: Tensor) -> Tensor:
        """Points as the loop reads them: of each network (networks, 2, points), or of all (2, points)."""
        return x.T.contiguous().float() if self._shared else self._pack(x.transpose(1, 2).flatten(1))

    def _weights(self, weights: Weights) -> Tensor:
        flat = torch.cat([value.reshape(len(value), -1) for value in weights.values()], dim=1)
        return self._pack(torch.nn.functional.pad(flat, (0, self._moments * flat.shape[1])))

    def means(self, weights: Weights, k: Tensor, x: Tensor) -> Tensor:
        """Mean of every value over the points, (networks, values).

        Parameters
        ----------
        weights : dict of Tensor, (networks, ...)
        k : Tensor, (networks, knobs)
        x : Tensor, (networks, 2, points) or, where they are shared, (2, points)
            The first half is of class 0, the second of class 1.
        """
        out = self._call_means(self._points(x), self._pack(k), self._weights(weights), x.shape[-1])
        return out.transpose(1, 2).flatten(0, 1)[: len(k)]

    def _call_means(self, x: Tensor, k: Tensor, moved: Tensor, points: int) -> Tensor:
        """Means of what is laid out already, (groups, values, lanes)."""
        out = torch.empty(len(moved), self._count, self.lanes)
        self._library.means(*map(_address, (x, k, moved, out)), *map(ctypes.c_int64, (len(moved), points)))
        return out

    def start(self, weights: Weights, k: Tensor, x: Tensor, corrections: Tensor) -> Running:
        """Begin a training; weights, k and x as in `means`, corrections of Adam (epochs, 2)."""
        return Running(self, weights, k, x, corrections)


class Running:
    """A training under way.

    Attributes
    ----------
    done : int
        Epochs.
    """

    def __init__(self, kernel: Kernel, weights: Weights, k: Tensor, x: Tensor, corrections: Tensor) -> None:
        self._kernel, self._networks, self._points = kernel, len(k), x.shape[-1]
        self._x, self._k, self._moved = kernel._points(x), kernel._pack(k), kernel._weights(weights)
        self._corrections = corrections.contiguous().float()
        self._losses = torch.empty(len(self._moved), len(corrections), kernel.lanes)
        self.done = 0

    def advance(self, epochs: int) -> None:
        """Train for so many more epochs; for no more than there are corrections."""
        if self.done + epochs > len(self._corrections):
            raise ValueError(f"{self.done + epochs} epochs of {len(self._corrections)}")
        stop, at_once = self.done + epochs, max(1, AT_ONCE // (self._networks * self._points))
        while self.done < stop:
            end = min(self.done + at_once, stop)
            counts = (len(self._moved), self._points, len(self._corrections), self.done, end)
            self._kernel._library.advance(
                *map(_address, (self._x, self._k, self._moved, self._corrections, self._losses)),
                *map(ctypes.c_int64, counts),
            )
            self.done = end

    @property
    def weights(self) -> Weights:
        """A copy of the weights as they are, (networks, ...)."""
        return self._named(self._moved)

    @property
    def gradients(self) -> Weights:
        """Means of the gradients by the weights as they are, (networks, ...)."""
        return self._named(self._kernel._call_means(self._x, self._k, self._moved, self._points))

    def _named(self, values: Tensor) -> Weights:
        """(groups, values, lanes), of which the first are one for each weight -> a copy of these, (networks, ...)."""
        flat = values.transpose(1, 2).flatten(0, 1)[: self._networks]
        sizes = [math.prod(shape) for shape in self._kernel._shapes.values()]
        parts = flat[:, : sum(sizes)].clone().split(sizes, dim=1)
        return {
            name: part.reshape(-1, *shape)
            for (name, shape), part in zip(self._kernel._shapes.items(), parts, strict=True)
        }

    @property
    def losses(self) -> Tensor:
        """Loss before each epoch's update, (networks, epochs)."""
        return self._losses.transpose(1, 2).flatten(0, 1)[: self._networks]
