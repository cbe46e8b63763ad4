"""A map: two fields of a config spread over the pixels of panels, one panel for each loss and activation.

This is the plan of it, and its arrays as bytes; nothing here trains. A range names the *edges* of a map, and every
pixel is trained at its middle (on a log scale, the middle of the logarithms), so that a map can be cut into smaller
ones, and a distance of 0 at the edge, where gain is undefined, is not trained at. Fields that count, samples and
epochs, are rounded to whole numbers.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwerties.config import CHOICES, DEFAULT, FIELDS, Config, Seeds, parse_field

STATES = ("learned", "slow", "constant", "dead", "diverged")
MEASURES = ("gain", *STATES)
"""Arrays of a map: mean gain over the seeds, and the share of them that ended in each state."""

RANGES = {
    "learning_rate": (1e-3, 10.0, "log"),
    "distance": (0.0, 6.0, "linear"),
    "samples": (10.0, 1000.0, "log"),
    "epochs": (10.0, 2000.0, "log"),
    "momentum": (0.0, 1.0, "linear"),
    "output_scale": (0.1, 100.0, "log"),
}
"""The numeric fields: the range that is shown unless another is asked for, and its scale."""

SCALES = ("log", "linear")
MAX_SIDE, MAX_SEEDS = 1000, 1000
PANELS = ("loss", "activation")

UNREADABLE = (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
"""What is raised on bytes that are no map."""

WHERE = ("x", "y")
DIMENSIONS = (*PANELS, *reversed(WHERE))

Arrays = dict[str, NDArray[np.float32]]


class MapError(ValueError):
    """A map cannot be as it was asked for; the message names what, the rule and the value."""


@dataclass(frozen=True)
class Axis:
    """One field, spread over a number of pixels.

    Parameters
    ----------
    field : str
        A key of `RANGES`.
    low, high : float
        Edges of the first and of the last pixel.
    scale : {"log", "linear"}
    size : int
        Pixels.

    Raises
    ------
    MapError
    """

    field: str
    low: float
    high: float
    scale: str
    size: int

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
        """The edges as they are asked for."""
        return f"{self.low!r}:{self.high!r}"

    @cached_property
    def values(self) -> list[Any]:
        """What the field is in the middle of each pixel, (size,)."""
        middles = [self.at((i + 0.5) / self.size) for i in range(self.size)]
        return [round(value) for value in middles] if isinstance(FIELDS[self.field], int) else middles

    def at(self, share: float) -> float:
        """The field's value at a share of the way from the lower edge (0) to the upper one (1)."""
        if self.scale == "log":
            return math.exp((1 - share) * math.log(self.low) + share * math.log(self.high))
        return (1 - share) * self.low + share * self.high

    def share(self, value: float) -> float | None:
        """Inverse of `at`; None for a value that is not on the axis."""
        if not self.low <= value <= self.high:
            return None
        if self.scale == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def words(self) -> str:
        """The field as a person reads it."""
        return self.field.replace("_", " ")


@dataclass(frozen=True)
class MapSpec:
    """All that decides a map's numbers, but for the code.

    Parameters
    ----------
    x, y : Axis
        Of different fields.
    losses, activations : tuple of str
        One panel for each pair.
    seeds : int
        Every pixel is trained on seeds 0 to ``seeds - 1``.
    base : Config
        What all pixels share; its loss, activation and the fields of the axes mean nothing and are set to the defaults.

    Raises
    ------
    MapError
        Also where a pixel's config breaks a rule.
    """

    x: Axis
    y: Axis
    losses: tuple[str, ...] = ("bce", "mse")
    activations: tuple[str, ...] = ("relu", "linear")
    seeds: int = 2
    base: Config = field(default_factory=Config)

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
        meaningless = {name: FIELDS[name] for name in (*PANELS, self.x.field, self.y.field)}
        object.__setattr__(self, "base", replace(self.base, **meaningless))
        for corner in itertools.product((0, self.shape[2] - 1), (0, self.shape[3] - 1)):
            try:
                self.config((0, 0, *corner))
            except ValueError as error:
                raise MapError(str(error)) from None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the map's arrays: losses, activations, pixels upwards, pixels to the right."""
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
    def panels(self) -> Iterator[tuple[int, int, str]]:
        """Place and name of every panel."""
        for (i, loss), (j, activation) in itertools.product(
            enumerate(self.losses), enumerate(self.activations)
        ):
            yield i, j, f"{loss} · {activation}"

    def config(self, place: tuple[int, int, int, int]) -> Config:
        """The config of the pixel at a place in the arrays."""
        i, j, row, column = place
        return replace(
            self.base,
            loss=self.losses[i],
            activation=self.activations[j],
            **{self.y.field: self.y.values[row], self.x.field: self.x.values[column]},
        )

    @property
    def order(self) -> NDArray[np.intp]:
        """Pixels, as places in the flattened arrays, in the order in which they are trained, (pixels,).

        Sizes of training sets come slowest, as each is a batch of its own; epochs come fastest, as the shorter of two
        such trainings is a prefix of the longer.
        """
        by_field = {self.x.field: 3, self.y.field: 2}
        slow, fast = by_field.get("samples"), by_field.get("epochs")
        axes = sorted(range(4), key=lambda axis: (axis == fast, axis != slow, axis))
        return np.arange(self.pixels).reshape(self.shape).transpose(axes).ravel()

    def to_params(self) -> dict[str, str]:
        """All of it as MLflow stores it: the fields that pixels share under their own names."""
        shared = {name: value for name, value in self.base.to_params().items() if name not in self.varied}
        axes = {
            key: value
            for which in WHERE
            for axis in [getattr(self, which)]
            for key, value in (
                (which, axis.field),
                (f"{which}_range", axis.range),
                (f"{which}_scale", axis.scale),
            )
        }
        return {
            **axes,
            "size": f"{self.x.size}x{self.y.size}",
            "losses": ",".join(self.losses),
            "activations": ",".join(self.activations),
            "seeds": str(Seeds(0, self.seeds)),
            **shared,
        }

    @property
    def varied(self) -> tuple[str, ...]:
        """Fields in which pixels differ."""
        return (*PANELS, self.x.field, self.y.field)

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> MapSpec:
        """Inverse of :meth:`to_params`; ValueError, or KeyError where something is missing."""
        size = params["size"].split("x")
        if len(size) != 2:
            raise MapError(f"size must be two numbers, got {params['size']!r}")
        axes = []
        for which, side in zip(WHERE, size, strict=True):
            low, high = params[f"{which}_range"].split(":")
            axes.append(Axis(params[which], float(low), float(high), params[f"{which}_scale"], int(side)))
        seeds = Seeds.parse(params["seeds"])
        if seeds.start or seeds.crossed is not None:
            raise MapError(f"seeds must begin with 0, got {params['seeds']!r}")
        varied = (*PANELS, *(axis.field for axis in axes))
        base = Config(
            **{
                name: parse_field(name, params[name])
                for name in FIELDS
                if name in params and name not in varied
            }
        )
        losses, activations = (tuple(params[key].split(",")) for key in ("losses", "activations"))
        return cls(axes[0], axes[1], losses, activations, len(seeds), base)

    def fingerprint(self, code: str) -> str:
        """Hash of all that decides the numbers; ``code`` is a digest of the source."""
        text = json.dumps([self.to_params(), code], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """What a person would call it."""
        return (
            f"{self.x.words} × {self.y.words} · {self.x.size}×{self.y.size} · {_plural(self.seeds, 'seed')}"
        )

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


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# The arrays


def to_bytes(spec: MapSpec, arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Pack a map's arrays and axes as ``map.npz``.

    Parameters
    ----------
    spec : MapSpec
    arrays : mapping of measure to ndarray, `MapSpec.shape`, float32
        NaN in ``gain`` where it is undefined.
    """
    out = io.BytesIO()
    axes: dict[str, Any] = {which: np.array(getattr(spec, which).values, float) for which in WHERE}
    names: dict[str, Any] = {"losses": np.array(spec.losses), "activations": np.array(spec.activations)}
    np.savez_compressed(out, **{**arrays, **axes, **names})
    return out.getvalue()


def from_bytes(content: bytes, spec: MapSpec) -> Arrays:
    """Read a map's arrays from bytes that anybody may have written.

    Returns
    -------
    dict of measure to ndarray, `MapSpec.shape`, float32

    Raises
    ------
    ValueError
        If they are no arrays of that map; nothing larger than the map is unpacked.
    """
    arrays = _read(content, dict.fromkeys(MEASURES, spec.shape))
    if not all(((arrays[state] >= 0) & (arrays[state] <= 1)).all() for state in STATES):
        raise ValueError("its shares must be from 0 to 1")
    if np.abs(sum(arrays[state] for state in STATES) - 1).max() > 1e-3:
        raise ValueError("its shares must add up to 1")
    if np.isinf(arrays["gain"]).any() or (arrays["gain"] > 1 + 1e-3).any():
        raise ValueError("its gain must be at most 1, or missing")
    return arrays


def block_to_bytes(arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Pack a finished block's measures, each (pixels,)."""
    out = io.BytesIO()
    arguments: dict[str, Any] = dict(arrays)
    np.savez(out, **arguments)
    return out.getvalue()


def block_from_bytes(content: bytes, pixels: int) -> Arrays:
    """Inverse of `block_to_bytes`; ValueError where it is no block of so many pixels."""
    return _read(content, dict.fromkeys(MEASURES, (pixels,)))


def _read(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name, shape in shapes.items():
                size = 4 * math.prod(shape)
                with archive.open(f"{name}.npy") as file:
                    if np.lib.format.read_magic(file) != (1, 0):
                        raise ValueError(f"{name} must be an array of format 1.0")
                    told, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                    if told != shape or fortran or dtype != np.dtype("<f4"):
                        raise ValueError(f"{name} must be float32 of shape {shape}, got {dtype} of {told}")
                    held = file.read(size + 1)
                    if len(held) != size:
                        raise ValueError(f"{name} must hold {size} bytes and no more")
                found[name] = np.frombuffer(held, "<f4").reshape(shape).astype(np.float32)
    except (*UNREADABLE, NotImplementedError, RuntimeError) as error:  # the last: encrypted, packed oddly
        raise ValueError(f"it cannot be read: {error}") from error
    return found
