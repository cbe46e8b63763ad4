"""The plan of a map, and its arrays as bytes: two fields of a config spread over the pixels of panels.

Each loss and activation has a panel. A range names the *edges* of a map, and every pixel is trained at its middle (on a
log scale, the middle of the logarithms), so that a map can be cut into smaller ones, and a distance of 0 at the edge,
where gain is undefined, is not trained at. Fields that count (samples, epochs, hidden units) are rounded.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwerties.config import CHOICES, DEFAULT, FIELDS, Config, Seeds, parse_field
from qwerties.errors import plural
from qwerties.scoring.states import STATES
from qwerties.tracking.arrays import read_arrays

# Arrays of a map: mean gain over the seeds, and the share that ended in each state
MEASURES = ("gain", *STATES)
SHOWN = ("gain", "learned", "constant", "dead", "diverged")  # measures that have a picture

# Fields that can be an axis: the default range, and its scale. `hidden` is the width of one layer.
RANGES = {
    "learning_rate": (1e-3, 10.0, "log"),
    "distance": (0.0, 6.0, "linear"),
    "samples": (10.0, 1000.0, "log"),
    "epochs": (10.0, 2000.0, "log"),
    "hidden": (1.0, 64.0, "log"),
    "momentum": (0.0, 1.0, "linear"),
    "output_scale": (0.1, 100.0, "log"),
}
SCALES = ("log", "linear")
MAX_SIDE, MAX_SEEDS = 1000, 1000
PANELS = ("loss", "activation")

UNREADABLE = (ValueError, TypeError, KeyError)  # raised on params that are no map

Arrays = dict[str, NDArray[np.float32]]


class MapError(ValueError):
    """A map cannot be made; the message names what, the rule and the value."""


@dataclass(frozen=True)
class Axis:
    """One field, spread over a number of pixels; MapError if it cannot be."""

    field: str  # a key of `RANGES`
    low: float  # edge of the first pixel
    high: float  # edge of the last pixel
    scale: str  # "log" or "linear"
    size: int  # pixels

    def __post_init__(self) -> None:
        if self.field not in RANGES:
            raise MapError(f"field must be one of {', '.join(RANGES)}, got {self.field!r}")
        if self.scale not in SCALES:
            raise MapError(f"scale must be one of {', '.join(SCALES)}, got {self.scale!r}")
        if not 1 <= self.size <= MAX_SIDE:
            raise MapError(f"size must be from 1 to {MAX_SIDE}, got {self.size}")
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise MapError(f"range must be finite, got {self.range}")
        if not self.low < self.high:
            raise MapError(f"range must go from a number to a larger one, got {self.range}")
        if self.scale == "log" and self.low <= 0:
            raise MapError(f"range must be above 0 on a log scale, got {self.range}")
        for value in (self.values[0], self.values[-1]):
            try:
                Config(**{self.field: value})
            except ValueError as error:
                raise MapError(f"range {self.range} reaches too far: {error}") from None
        if isinstance(FIELDS[self.field], float) and len(set(self.values)) < self.size:
            raise MapError(f"range must be wide enough for {self.size} different numbers, got {self.range}")

    @property
    def range(self) -> str:
        """Both edges, as an option names them."""
        return f"{self.low!r}:{self.high!r}"

    @cached_property
    def numbers(self) -> list[float]:
        """The middle of each pixel, (size,); whole numbers for fields that count."""
        middles = [self.at((i + 0.5) / self.size) for i in range(self.size)]
        return middles if isinstance(FIELDS[self.field], float) else [round(middle) for middle in middles]

    @property
    def values(self) -> list[Any]:
        """The field's value at each pixel, (size,)."""
        return [(number,) for number in self.numbers] if self.field == "hidden" else list(self.numbers)

    def number(self, config: Config) -> float:
        """Return where a config lies on the axis: the field's value, NaN for several hidden layers."""
        value = getattr(config, self.field)
        if isinstance(value, tuple):
            return float(value[0]) if len(value) == 1 else math.nan
        return float(value)

    def at(self, share: float) -> float:
        """Return the number at a share of the way from the lower edge (0) to the upper one (1)."""
        if self.scale == "log":
            return math.exp((1 - share) * math.log(self.low) + share * math.log(self.high))
        return (1 - share) * self.low + share * self.high

    def share(self, number: float) -> float | None:
        """Inverse of `at`; None for a number that is not on the axis."""
        if not self.low <= number <= self.high:
            return None
        if self.scale == "log":
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)

    @property
    def words(self) -> str:
        """The field as a person reads it."""
        return "hidden units" if self.field == "hidden" else self.field.replace("_", " ")


@dataclass(frozen=True)
class MapSpec:
    """All that decides a map's numbers, except the code; MapError if it cannot be."""

    x: Axis
    y: Axis  # of another field than `x`
    losses: tuple[str, ...] = ("bce", "mse")  # a panel for each loss and activation
    activations: tuple[str, ...] = ("relu", "linear")
    seeds: int = 2  # every pixel is trained on seeds 0 to ``seeds - 1``
    base: Config = DEFAULT  # what all pixels share; the fields in which they differ are set to their defaults

    def __post_init__(self) -> None:
        if self.x.field == self.y.field:
            raise MapError(f"x and y must be different fields, got {self.x.field} for both")
        for name, chosen in (("loss", self.losses), ("activation", self.activations)):
            if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(CHOICES[name]):
                raise MapError(
                    f"{name} must be different ones of {', '.join(CHOICES[name])}, got {','.join(chosen)!r}"
                )
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise MapError(f"seeds must be from 1 to {MAX_SEEDS}, got {self.seeds}")
        object.__setattr__(self, "base", replace(self.base, **{name: FIELDS[name] for name in self.varied}))
        for corner in itertools.product((0, -1), (0, -1)):
            try:
                self.config((0, 0, *corner))
            except ValueError as error:
                raise MapError(str(error)) from None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the map's arrays: losses, activations, pixels upwards, pixels to the right."""
        return len(self.losses), len(self.activations), self.y.size, self.x.size

    @property
    def pixels(self) -> int:
        """Pixels of all panels."""
        return math.prod(self.shape)

    @property
    def networks(self) -> int:
        """Networks to train."""
        return self.pixels * self.seeds

    @property
    def varied(self) -> tuple[str, ...]:
        """Fields in which pixels differ."""
        return (*PANELS, self.x.field, self.y.field)

    @property
    def panels(self) -> Iterator[tuple[int, int, str]]:
        """Index and name of every panel."""
        for (i, loss), (j, activation) in itertools.product(
            enumerate(self.losses), enumerate(self.activations)
        ):
            yield i, j, f"{loss} · {activation}"

    def config(self, index: tuple[int, int, int, int]) -> Config:
        """Return the config of one pixel by its index in the arrays."""
        i, j, row, column = index
        return replace(
            self.base,
            loss=self.losses[i],
            activation=self.activations[j],
            **{self.y.field: self.y.values[row], self.x.field: self.x.values[column]},
        )

    @property
    def largest(self) -> Config:
        """The most that a network of the map takes: the largest value of each field that counts."""
        axes = (axis for axis in (self.x, self.y) if axis.field in ("samples", "epochs", "hidden"))
        return replace(self.base, **{axis.field: max(axis.values) for axis in axes})

    @property
    def order(self) -> NDArray[np.intp]:
        """Pixels, as indices of the flattened arrays, in the order of training, (pixels,).

        Widths and sizes of training sets vary slowest, as each is a batch of its own; epochs vary fastest, as the
        shorter of two such trainings is a prefix of the longer.
        """
        by_field = {self.x.field: 3, self.y.field: 2}
        slow = [by_field[name] for name in ("hidden", "samples") if name in by_field]
        axes = sorted(range(4), key=lambda axis: (axis == by_field.get("epochs"), axis not in slow, axis))
        return np.arange(self.pixels).reshape(self.shape).transpose(axes).ravel()

    def to_params(self) -> dict[str, str]:
        """Return the plan as MLflow stores it; the fields that pixels share stand under their own names."""
        axes: dict[str, str] = {}
        for which, axis in (("x", self.x), ("y", self.y)):
            axes |= {which: axis.field, f"{which}_range": axis.range, f"{which}_scale": axis.scale}
        return {
            **axes,
            "size": f"{self.x.size}x{self.y.size}",
            "losses": ",".join(self.losses),
            "activations": ",".join(self.activations),
            "seeds": str(Seeds(0, self.seeds)),
            **{name: value for name, value in self.base.to_params().items() if name not in self.varied},
        }

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> MapSpec:
        """Inverse of :meth:`to_params`; ValueError, or KeyError where something is missing."""
        width, _, height = params["size"].partition("x")
        axes = []
        for which, size in (("x", width), ("y", height)):
            low, high = map(float, params[f"{which}_range"].split(":"))
            axes.append(Axis(params[which], low, high, params[f"{which}_scale"], int(size)))
        seeds = Seeds.parse(params["seeds"])
        if seeds.start or seeds.crossed is not None:
            raise MapError(f"seeds must begin with 0, got {params['seeds']!r}")
        varied = (*PANELS, *(axis.field for axis in axes))
        shared = [name for name in FIELDS if name in params and name not in varied]
        base = Config(**{name: parse_field(name, params[name]) for name in shared})
        losses, activations = (tuple(params[key].split(",")) for key in ("losses", "activations"))
        return cls(axes[0], axes[1], losses, activations, len(seeds), base)

    def fingerprint(self, code: str) -> str:
        """Return a hash of all that decides the numbers; ``code`` is a digest of the source."""
        text = json.dumps([self.to_params(), code], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The map as a person would call it."""
        return f"{self.x.words} × {self.y.words} · {self.x.size}×{self.y.size} · {plural(self.seeds, 'seed')}"

    @property
    def setting(self) -> str:
        """What all pixels share, in words."""
        named = [
            f"{self.base.epochs} epochs" if "epochs" not in self.varied else "",
            f"d={self.base.distance:g}" if "distance" not in self.varied else "",
        ]
        usual = (*self.varied, "epochs", "distance")
        rest = replace(self.base, **{name: FIELDS[name] for name in usual})
        others = rest.label([rest, DEFAULT]) if rest != DEFAULT else ""
        return " · ".join(part for part in (*named, others) if part)


def to_bytes(spec: MapSpec, arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Pack a map's arrays and axes as ``map.npz``.

    Parameters
    ----------
    spec : MapSpec
    arrays : mapping of measure to ndarray, `MapSpec.shape`, float32
        NaN in ``gain`` where it is undefined.
    """
    out = io.BytesIO()
    axes: dict[str, Any] = {
        "x": np.array(spec.x.numbers, float),
        "y": np.array(spec.y.numbers, float),
        "losses": np.array(spec.losses),
        "activations": np.array(spec.activations),
    }
    np.savez_compressed(out, **{**arrays, **axes})
    return out.getvalue()


def from_bytes(content: bytes, spec: MapSpec) -> Arrays:
    """Read a map's arrays from bytes that anybody may have written.

    Returns
    -------
    dict of measure to ndarray, `MapSpec.shape`, float32

    Raises
    ------
    ValueError
        If they are no arrays of that map.
    """
    try:
        arrays = read_arrays(content, MEASURES)
    except ValueError as error:
        raise ValueError(f"it cannot be read: {error}") from error
    for name in MEASURES:
        if name not in arrays:
            raise ValueError(f"it cannot be read: {name} is missing")
        shape, dtype = arrays[name].shape, arrays[name].dtype
        if shape != spec.shape or dtype != np.dtype("<f4"):
            raise ValueError(
                f"it cannot be read: {name} must be float32 of shape {spec.shape}, got {dtype} of {shape}"
            )
    measures = {name: arrays[name].astype(np.float32) for name in MEASURES}
    if not all(((measures[state] >= 0) & (measures[state] <= 1)).all() for state in STATES):
        raise ValueError("its shares must be from 0 to 1")
    if np.abs(sum(measures[state] for state in STATES) - 1).max() > 1e-3:
        raise ValueError("its shares must add up to 1")
    if np.isinf(measures["gain"]).any() or (measures["gain"] > 1 + 1e-3).any():
        raise ValueError("its gain must be at most 1, or missing")
    return measures
