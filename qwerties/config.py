"""One setting of every hyperparameter, validated in one place, and the seeds it is trained on."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qwerties.errors import suggestion

# Names that each field accepts. Importing the package replaces the first four by views of the tables in `training`, so
# that a new entry there is a valid name at once. `DEFAULT` is made before that, from the names here.
CHOICES: dict[str, Collection[str]] = {
    "data": ("clusters",),
    "loss": ("bce",),
    "activation": ("relu",),
    "optimizer": ("sgd",),
    "init": ("pytorch", "he"),
}

Rule = tuple[str, str, Callable[[Any], bool]]  # field, rule in words, whether a value keeps it

MAX_FLOAT32 = float(np.finfo(np.float32).max)
FLOAT32_RULE = "at most 3.4e38 in size (training is float32)"
ABOVE_0, BELOW_1 = math.nextafter(0, 1), math.nextafter(1, 0)


def is_whole(low: float, high: float) -> Callable[[object], bool]:
    """Return a predicate: whole numbers from ``low`` to ``high``, no booleans."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(low: float, high: float) -> Callable[[object], bool]:
    """Return a predicate: finite numbers from ``low`` to ``high``, no booleans."""
    low, high = max(low, -sys.float_info.max), min(high, sys.float_info.max)
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )


def is_one_of(names: Collection[str]) -> Callable[[object], bool]:
    """Return a predicate: strings among ``names``."""
    return lambda value: isinstance(value, str) and value in names


IS_FINITE, IS_WHOLE = is_number(-math.inf, math.inf), is_whole(-math.inf, math.inf)


def check_fields(declaration: Any, *rules: Rule) -> None:
    """Check the fields of a dataclass; first, lists become tuples and NumPy scalars become Python's.

    Raises
    ------
    ValueError
        Names every field that breaks its rule, the rule and the value.
    """
    for field in dataclasses.fields(declaration):
        object.__setattr__(declaration, field.name, _as_python(getattr(declaration, field.name)))
    problems = []
    for name, rule, holds in rules:
        value = getattr(declaration, name)
        if not holds(value):
            is_choice = rule.startswith("one of ") and isinstance(value, str)
            hint = suggestion(value, rule.removeprefix("one of ").split(", ")) if is_choice else ""
            problems.append(f"{name} must be {rule}, got {value!r}{hint}")
    if problems:
        raise ValueError("; ".join(problems))


def _as_python(value: Any) -> Any:
    """Return lists as tuples, NumPy numbers, flags and strings as Python's own, and anything else unchanged."""
    if isinstance(value, tuple | list):
        return tuple(map(_as_python, value))
    if isinstance(value, np.integer) and not isinstance(value, np.timedelta64):  # durations are integers, too
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    return value.item() if isinstance(value, np.bool_ | np.str_) else value


@dataclass(frozen=True, kw_only=True)
class Config:
    """One setting of every hyperparameter; the defaults are the course notebook's.

    Numbers may be NumPy scalars: they are stored as the Python numbers they stand for.

    Parameters
    ----------
    data : {"clusters", "xor"}
        Arrangement of the cluster centres. ``clusters``: class A at (1, 1), class B at (1 + distance, 1). ``xor``: A at
        (1, 1) and (1 + distance, 1 + distance), B at (1 + distance, 1) and (1, 1 + distance).
    loss : {"bce", "mse"}
        What is minimised: mean binary cross-entropy (nats) or mean squared error of the probability.
    activation : {"relu", "linear", "tanh", "sigmoid"}
        Of every hidden layer. The output is always a sigmoid.
    hidden : tuple of int
        Widths of the hidden layers; its length is the depth.
    distance : float
        Between neighbouring cluster centres, in standard deviations of a cluster.
    samples : int
        Training points per class, split evenly over its clusters.
    epochs : int
        Full-batch updates.
    learning_rate : float
        Step size.
    optimizer : {"sgd", "adam"}
        As in ``torch.optim``.
    momentum : float
        Of SGD, in [0, 1).
    output_scale : float
        Multiplies the initial weights of the output layer.
    init : {"pytorch", "he"}
        Initial weights: ``nn.Linear``'s own (variance 1 / (3 fan_in)), or He's (variance 2 / fan_in, zero biases).

    Raises
    ------
    ValueError
        Names every field that breaks its rule, the rule and the value.

    Examples
    --------
    >>> Config(loss="mse", learning_rate=0.02).label()
    'mse · relu · d=4 · 2000 epochs · lr 0.02'
    >>> Config(epochs=0)
    Traceback (most recent call last):
    ValueError: epochs must be a whole number from 1 to 10000000, got 0
    """

    data: str = "clusters"
    loss: str = "bce"
    activation: str = "relu"
    hidden: tuple[int, ...] = (1,)
    distance: float = 4.0
    samples: int = 100
    epochs: int = 2000
    learning_rate: float = 0.01
    optimizer: str = "sgd"
    momentum: float = 0.0
    output_scale: float = 1.0
    init: str = "pytorch"

    def __post_init__(self) -> None:
        check_fields(
            self,
            *((name, f"one of {', '.join(names)}", is_one_of(names)) for name, names in CHOICES.items()),
            ("hidden", "one or more whole numbers from 1 to 1024, at most 64 layers", _is_shape),
            ("distance", "a finite number from 0 to 100", is_number(0, 100)),
            ("samples", "a whole number from 1 to 1000000", is_whole(1, 1_000_000)),
            ("epochs", "a whole number from 1 to 10000000", is_whole(1, 10_000_000)),
            ("learning_rate", "a finite number above 0", is_number(ABOVE_0, math.inf)),
            ("learning_rate", FLOAT32_RULE, _fits_float32),
            ("momentum", "a number from 0 to below 1", is_number(0, BELOW_1)),
            ("output_scale", "a finite number", IS_FINITE),
            ("output_scale", FLOAT32_RULE, _fits_float32),
        )
        if self.optimizer == "adam" and self.momentum != 0:
            raise ValueError(
                f"momentum must be 0 where optimizer is adam (it has its own), got {self.momentum!r}"
            )
        for name in ("distance", "learning_rate", "momentum", "output_scale"):  # 4 and 4.0 are one setting
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Values of the fields that a batch has in common: configs that share them train together."""
        return (self.data, self.loss, self.activation, self.hidden, self.samples, self.optimizer)

    @property
    def weights(self) -> int:
        """Weights and biases of a network."""
        widths = (2, *self.hidden, 1)
        return sum((a + 1) * b for a, b in itertools.pairwise(widths))

    @property
    def without_epochs(self) -> Config:
        """The config without its epochs: of two trainings that differ in epochs alone, one is a prefix of the other."""
        return dataclasses.replace(self, epochs=1)

    @property
    def init_key(self) -> Config:
        """The config with only those fields that the initial weights depend on."""
        return Config(hidden=self.hidden, init=self.init, output_scale=self.output_scale)

    def to_params(self) -> dict[str, str]:
        """Every field under its own name, as MLflow stores it."""
        return {
            field.name: "x".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> Config:
        """Inverse of :meth:`to_params`; params that are no fields are left aside, missing ones take the default.

        Raises
        ------
        ValueError
            If a value is not of its field's type, or breaks its rule.
        """
        return cls(**{name: parse_field(name, params[name]) for name in FIELDS if name in params})

    def label(self, among: Iterable[Config] = ()) -> str:
        """Name the config: loss, activation, distance, epochs, and every other field that is not the default.

        With ``among``, only the fields in which those configs differ.
        """
        compared = [self, *among]
        if len(compared) > 1:
            named = [name for name in FIELDS if len({getattr(config, name) for config in compared}) > 1]
        else:
            usual = ("loss", "activation", "distance", "epochs")
            named = [name for name in FIELDS if name in usual or getattr(self, name) != FIELDS[name]]
        return " · ".join(_words(name, getattr(self, name)) for name in named)


def _words(name: str, value: Any) -> str:
    """Return a field's value in words."""
    if name in ("data", "loss", "activation", "optimizer"):
        return str(value)
    if name == "hidden" and len(value) > 1 and len(set(value)) == 1:
        return f"{len(value)} layers of {value[0]}"
    if name == "hidden":
        return f"hidden {'x'.join(map(str, value))}"
    if name == "epochs":
        return f"{value} epochs"
    if name == "init":
        return {"pytorch": "PyTorch init", "he": "He init"}[value]
    signs = {"distance": "d=", "learning_rate": "lr "}
    return f"{signs.get(name, name.replace('_', ' ') + ' ')}{value:g}"


def parse_field(name: str, text: str) -> Any:
    """Read one field from text, as on the command line and in MLflow's params.

    Raises
    ------
    ValueError
        If the text is not of the field's type.
    """
    default = FIELDS[name]
    if isinstance(default, str):
        return text
    try:
        if isinstance(default, tuple):
            return tuple(int(part) for part in re.split(r"[x,]", text.strip("() ").rstrip(",")))
        return type(default)(text)
    except ValueError:
        kind = {tuple: "widths such as 8 or 8x8", int: "a whole number", float: "a number"}[type(default)]
        raise ValueError(f"{name} must be {kind}, got {text!r}") from None


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and 1 <= len(value) <= 64 and all(map(is_whole(1, 1024), value))


def _fits_float32(value: Any) -> bool:
    """Return whether float32 holds a number; values that are no finite numbers break another rule."""
    return not IS_FINITE(value) or abs(value) <= MAX_FLOAT32


FIELDS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Config)}
DEFAULT = Config()

MAX_NETWORKS = 1_000_000  # of one block of seeds


@dataclass(frozen=True)
class Seeds:
    """A block of replicates: seeds ``start`` to ``stop - 1``, or data seeds crossed with weight seeds.

    Seed ``s`` fixes the data (generator seed ``2 s``) and the initial weights (``2 s + 1``). In a crossed block
    every one of ``range(start, stop)`` as data seed meets every one of ``range(crossed)`` as weight seed; the
    networks are numbered row by row.

    Raises
    ------
    ValueError
        If a value is no whole number, or the block is empty or reaches below zero.
    """

    start: int
    stop: int
    crossed: int | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("start", "a whole number", IS_WHOLE),
            ("stop", "a whole number", IS_WHOLE),
            ("crossed", "None or a whole number", lambda value: value is None or IS_WHOLE(value)),
        )
        if not 0 <= self.start < self.stop <= 2**31:
            raise ValueError(
                f"seeds must run from 0 or more up to a larger number, got {self.start} to {self.stop}"
            )
        if self.crossed is not None and self.crossed < 1:
            raise ValueError(f"crossed weight seeds must be 1 or more, got {self.crossed}")

    def __len__(self) -> int:
        return (self.stop - self.start) * (self.crossed or 1)

    def __str__(self) -> str:
        block = f"{self.start}-{self.stop - 1}"
        return block if self.crossed is None else f"{block} x 0-{self.crossed - 1}"

    @classmethod
    def parse(cls, text: str) -> Seeds:
        """Read what ``str`` writes; ValueError if the text is no block of seeds, or one of more than `MAX_NETWORKS`.

        The text may come from a store that somebody else wrote, and the block's seeds are listed in memory.
        """
        match = re.fullmatch(r"(\d{1,10})-(\d{1,10})(?: x 0-(\d{1,10}))?", text)
        if not match:
            raise ValueError(f"seeds must look like 0-499 or 0-29 x 0-29, got {text!r}")
        first, last, crossed = match.groups()
        seeds = cls(int(first), int(last) + 1, None if crossed is None else int(crossed) + 1)
        if len(seeds) > MAX_NETWORKS:
            raise ValueError(f"seeds must be at most {MAX_NETWORKS:,} networks, got {text!r}")
        return seeds

    @property
    def data(self) -> np.ndarray:
        """Data seed of every network, (networks,)."""
        return np.repeat(np.arange(self.start, self.stop), self.crossed or 1)

    @property
    def weights(self) -> np.ndarray:
        """Weight seed of every network, (networks,)."""
        return self.data if self.crossed is None else np.tile(np.arange(self.crossed), self.stop - self.start)

    @property
    def numbers(self) -> np.ndarray:
        """Number of every network in ``seeds.csv``, (networks,)."""
        return self.data if self.crossed is None else np.arange(len(self))


def fingerprint(config: Config, seeds: Seeds, code: str) -> str:
    """Hash of all that decides a run's numbers: the config, the seeds, and ``code`` (a digest of the source)."""
    text = json.dumps([config.to_params(), str(seeds), code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
