"""Sequences drawn from known distributions: how often an interval misses the mean, and when it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from qwerties.stats.confidence import confidence_sequence
from qwerties.stats.planning import first_decided

BOUNDS = (-1.0, 1.0)
MARGIN = 0.01
LENGTH = 2000  # values of a sequence
COUNTS = (50, 100, 200, 500, 1000, 2000)  # at which the decided shares are reported
LOOK_EVERY = 50  # values, for whoever looks at Student's t again and again


@dataclass(frozen=True)
class Shape:
    """A distribution of differences: values, with their probabilities."""

    name: str
    values: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The true mean."""
        return float(self.values @ self.probabilities)


def nasty_shapes() -> list[Shape]:
    """Return bounded distributions that small samples show badly."""
    return [
        _shape("rare flips (1 in 1,000)", {0.48: 0.001, 0.0: 0.999}),
        _shape("rare flips both ways", {0.48: 0.001, -0.48: 0.001, 0.0: 0.998}),
        _shape("steady lead undone by rare flips", {0.001: 0.998, -0.499: 0.002}),
        _shape("the margin, by a lead and rare flips", {0.009: 0.49 / 0.491, 0.5: 0.001 / 0.491}),
        _shape("bimodal", {-0.45: 0.1, 0.02: 0.75, 0.45: 0.15}),
        _shape("constant", {0.02: 1.0}),
        _shape("constant at a bound", {1.0: 1.0}),
        _shape("both bounds, evenly", {-1.0: 0.5, 1.0: 0.5}),
        _shape("both bounds, rarely", {-1.0: 0.002, 0.0: 0.997, 1.0: 0.001}),
    ]


def _shape(name: str, shares: Mapping[float, float]) -> Shape:
    return Shape(name, np.array(list(shares)), np.array(list(shares.values())))


def trained_shape(name: str, differences: ArrayLike) -> Shape:
    """Return the distribution of trained differences, shape (n,), each as likely as any other."""
    values, counts = np.unique(np.asarray(differences, float), return_counts=True)
    return Shape(name, values, counts / counts.sum())


def measure(shape: Shape, sequences: int, alpha: float, seed: int) -> dict[str, Any]:
    """Draw sequences of `LENGTH` values and measure both intervals on them, each at this ``alpha``.

    Returns
    -------
    dict
        ``shape``, its true ``mean``, ``sequences``, ``alpha``, and shares of the sequences: ``outside``, the confidence
        sequence excludes the true mean at some count up to `LENGTH`; ``t outside at N``, Student's t interval excludes
        it at this count; ``t outside, ever``, at one of the looks, every `LOOK_EVERY` values; ``decided at N`` and
        ``t decided at N``, the verdict is "better" or "equivalent" by the sequence and by a single t interval.
    """
    rng = np.random.default_rng(seed)
    at = np.arange(LOOK_EVERY, LENGTH + 1, LOOK_EVERY)
    columns = np.searchsorted(at, COUNTS)
    outside, ever = np.zeros(sequences, bool), np.zeros(sequences, bool)
    decided = np.zeros(sequences)
    t_outside, t_decided = (np.zeros((sequences, len(COUNTS)), bool) for _ in range(2))
    for k in range(sequences):
        values = rng.choice(shape.values, LENGTH, p=shape.probabilities)
        (low,), (high,) = confidence_sequence(values, alpha=alpha, bounds=BOUNDS)
        outside[k] = not low <= shape.mean <= high
        decided[k] = first_decided(values, alpha, MARGIN, BOUNDS)
        t_low, t_high = t_intervals(values, at, alpha)
        missed = (t_low > shape.mean) | (t_high < shape.mean)  # (looks,)
        ever[k], t_outside[k] = missed.any(), missed[columns]
        beyond, within = (t_low > MARGIN) | (t_high < -MARGIN), (t_low > -MARGIN) & (t_high < MARGIN)
        t_decided[k] = (beyond | within)[columns]
    return {
        "shape": shape.name,
        "mean": shape.mean,
        "sequences": sequences,
        "alpha": alpha,
        "outside": float(outside.mean()),
        **{f"t outside at {n}": float(share) for n, share in zip(COUNTS, t_outside.mean(0), strict=True)},
        "t outside, ever": float(ever.mean()),
        **{f"decided at {n}": float((decided <= n).mean()) for n in COUNTS},
        **{f"t decided at {n}": float(share) for n, share in zip(COUNTS, t_decided.mean(0), strict=True)},
    }


def t_intervals(
    values: NDArray[np.float64], counts: NDArray[np.int64], alpha: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Student's t interval of the first values, at each count; equal values give a point.

    Bounds this close to the mean are rounding, so they are widened by 1e-12.
    """
    mean = np.cumsum(values)[counts - 1] / counts  # (counts,)
    centred = np.cumsum((values - values[0]) ** 2)[counts - 1] / counts - (mean - values[0]) ** 2  # (counts,)
    half = stdtrit(counts - 1, 1 - alpha / 2) * np.sqrt(np.maximum(centred, 0) / (counts - 1)) + 1e-12
    return mean - half, mean + half
