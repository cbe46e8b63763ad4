"""What a study searches and what it found, in plain data; :mod:`qwerties.search` does the searching."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

SAMPLERS = ("tpe", "random", "qmc")
DIRECTIONS = ("maximize", "minimize")

When = tuple[str, tuple[Any, ...]]
"""A parameter that another hangs on, and the values of it at which it exists."""


class SearchError(ValueError):
    """A search, its study or its storage cannot be used; the message is one line for the user."""


@dataclass(frozen=True)
class Float:
    """A real number from ``low`` to ``high``, evenly in its logarithm where ``log`` is set."""

    low: float
    high: float
    log: bool = False
    when: When | None = None

    def problem(self) -> str | None:
        """What is wrong with the range, or None."""
        return _problem_of_range(self, (int, float), "finite numbers", lowest_log=math.ulp(0.0))

    def offers(self, value: Any) -> bool:
        """Whether the value is one of the range."""
        return _is_a(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class Int:
    """A whole number from ``low`` to ``high``, both included, evenly in its logarithm where ``log`` is set."""

    low: int
    high: int
    log: bool = False
    when: When | None = None

    def problem(self) -> str | None:
        """What is wrong with the range, or None."""
        return _problem_of_range(self, (int,), "whole numbers", lowest_log=1)

    def offers(self, value: Any) -> bool:
        """Whether the value is one of the range."""
        return _is_a(value, (int,)) and self.low <= value <= self.high


@dataclass(frozen=True)
class Categorical:
    """One of two or more choices: text, numbers, True, False or None."""

    choices: tuple[Any, ...]
    when: When | None = None

    def __post_init__(self) -> None:
        if isinstance(self.choices, list):
            object.__setattr__(self, "choices", tuple(self.choices))

    def problem(self) -> str | None:
        """What is wrong with the choices, or None."""
        if not isinstance(self.choices, tuple):
            return f"must have its choices in a tuple, got {self.choices!r}"
        odd = [
            c for c in self.choices if not (c is None or isinstance(c, str | bool) or _is_a(c, (int, float)))
        ]
        if odd:
            return f"must have choices that are text, finite numbers, True, False or None, got {odd[0]!r}"
        if len(self.choices) < 2 or any(a == b for a, b in itertools.combinations(self.choices, 2)):
            return f"must have two or more different choices, got {self.choices!r}"
        return None

    def offers(self, value: Any) -> bool:
        """Whether the value is one of the choices."""
        return value in self.choices


Dimension = Float | Int | Categorical


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value is a number of one of the kinds, that a double holds exactly."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    number: Any = value
    return bool(abs(number) <= 2**53)


def _problem_of_range(
    dimension: Float | Int, kinds: tuple[type, ...], words: str, *, lowest_log: float
) -> str | None:
    low, high = dimension.low, dimension.high
    if not (_is_a(low, kinds) and _is_a(high, kinds)):
        return f"must have {words} of at most 2**53 as low and high, got {low!r} and {high!r}"
    if not low < high:
        return f"must have low below high, got low {low!r} and high {high!r}"
    if dimension.log and low < lowest_log:
        return (
            f"must have low {'above 0' if lowest_log < 1 else 'of 1 or more'} where log is set, got {low!r}"
        )
    return None


@dataclass(frozen=True)
class Search:
    """What a study searches, and how.

    Parameters
    ----------
    space : mapping of parameter name to Float, Int or Categorical
        In the order in which they are drawn. A dimension with ``when=("depth", (2,))`` is part of a trial only where
        the earlier parameter ``depth`` is 2.
    trials : int
        The budget, over all processes and resumptions. A study may be taken up again with a larger one.
    batch : int
        Trials proposed together, all before any of them is evaluated. By TPE, 30 trials in one dimension by tens end
        where one by one ends; 64 trials in eight dimensions do so by fours, 4% lower by eights, and 8% by sixteens.
    sampler : {"tpe", "random", "qmc"}
        Tree-structured Parzen estimators, that learn from earlier batches; independent draws; scrambled Sobol points.
    seed : int
        Fixes the proposals.
    directions : tuple of {"maximize", "minimize"}
        One per objective.

    Raises
    ------
    SearchError
        Names every field that breaks its rule, the rule and the value.
    """

    space: Mapping[str, Dimension]
    trials: int
    batch: int = 4
    sampler: str = "tpe"
    seed: int = 0
    directions: tuple[str, ...] = ("maximize",)

    def __post_init__(self) -> None:
        if isinstance(self.directions, list):
            object.__setattr__(self, "directions", tuple(self.directions))
        problems = [
            f"{name} must be {rule}, got {getattr(self, name)!r}"
            for name, rule, holds in (
                ("trials", "a whole number from 1 to 1000000", _is_whole(self.trials, 1, 1_000_000)),
                ("batch", "a whole number from 1 to 100000", _is_whole(self.batch, 1, 100_000)),
                ("sampler", f"one of {', '.join(SAMPLERS)}", self.sampler in SAMPLERS),
                ("seed", "a whole number from 0 to 2**32 - 1", _is_whole(self.seed, 0, 2**32 - 1)),
                (
                    "directions",
                    f"one or more of {', '.join(DIRECTIONS)}",
                    isinstance(self.directions, tuple)
                    and self.directions
                    and all(direction in DIRECTIONS for direction in self.directions),
                ),
            )
            if not holds
        ]
        if not isinstance(self.space, Mapping) or not self.space:
            problems.append(f"space must name one parameter or more, got {self.space!r}")
        else:
            object.__setattr__(self, "space", dict(self.space))
            earlier: dict[str, Dimension] = {}
            for name, dimension in self.space.items():
                problem = _problem_of_dimension(dimension, earlier)
                if problem:
                    problems.append(f"space: {name} {problem}")
                else:
                    earlier[name] = dimension
        if problems:
            raise SearchError("; ".join(problems))

    def active(self, params: Mapping[str, Any], name: str) -> bool:
        """Whether a parameter is part of a trial, given those drawn before it."""
        when = self.space[name].when
        return when is None or (when[0] in params and params[when[0]] in when[1])

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON holds it, for the study's own record; :meth:`from_dict` reads it."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "directions": list(self.directions),
            "space": [
                {"name": name, "kind": type(dimension).__name__, **_as_json(dataclasses.asdict(dimension))}
                for name, dimension in self.space.items()
            ],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Search:
        """Inverse of :meth:`to_dict`."""
        space = {}
        for entry in stored["space"]:
            fields = {key: value for key, value in entry.items() if key not in ("name", "kind")}
            if fields["when"] is not None:
                fields["when"] = (fields["when"][0], tuple(fields["when"][1]))
            space[entry["name"]] = KINDS[entry["kind"]](**fields)
        return cls(**{**stored, "space": space, "directions": tuple(stored["directions"])})

    def differences(self, other: Search) -> list[str]:
        """What two searches differ in that decides their trials, other than their budgets: ``this`` and ``other``."""
        told = [
            f"{field.name} is {mine!r} there and {theirs!r} here"
            for field in dataclasses.fields(self)
            if field.name not in ("space", "trials")
            for mine, theirs in [(getattr(self, field.name), getattr(other, field.name))]
            if mine != theirs
        ]
        for name in dict.fromkeys([*self.space, *other.space]):
            there, here = self.space.get(name), other.space.get(name)
            if there != here:
                told.append(f"{name} is {there or 'not searched'} there and {here or 'not searched'} here")
        if not told and list(self.space) != list(other.space):
            told.append(f"the order is {', '.join(self.space)} there and {', '.join(other.space)} here")
        return told


KINDS: dict[str, Any] = {"Float": Float, "Int": Int, "Categorical": Categorical}


def _as_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [value[0], list(value[1])]
        if key == "when" and value
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in fields.items()
    }


def _is_whole(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _problem_of_dimension(dimension: Any, earlier: Mapping[str, Dimension]) -> str | None:
    if not isinstance(dimension, Dimension):
        return f"must be a Float, an Int or a Categorical, got {dimension!r}"
    problem = dimension.problem()
    if problem or dimension.when is None:
        return problem
    parent, values = dimension.when
    if parent not in earlier:
        return f"must hang on a parameter that is drawn before it, got when={dimension.when!r}"
    if not values or not all(earlier[parent].offers(value) for value in values):
        return f"must hang on values that {parent} can take, got when={dimension.when!r}"
    return None


# What was found


@dataclass(frozen=True)
class Trial:
    """One point of the space, and what came of it.

    Attributes
    ----------
    number : int
        From 0, in the order of proposal.
    batch : int
        Number of its batch.
    params : dict
    state : {"complete", "failed", "running"}
        Failed: it diverged, and has no values. Running: proposed, and not evaluated yet.
    values : tuple of float, optional
        One per objective.
    started, finished : datetime, optional
        Local time of its proposal and of its result; trials that were evaluated together took that time together.
    """

    number: int
    batch: int
    params: dict[str, Any]
    state: str
    values: tuple[float, ...] | None = None
    started: datetime | None = None
    finished: datetime | None = None


@dataclass(frozen=True)
class Found:
    """A study as the storage holds it, its trials in the order of their numbers."""

    name: str
    search: Search
    trials: tuple[Trial, ...]

    @property
    def complete(self) -> tuple[Trial, ...]:
        """The trials that have values."""
        return tuple(trial for trial in self.trials if trial.state == "complete")

    @property
    def failed(self) -> tuple[Trial, ...]:
        """The trials that diverged."""
        return tuple(trial for trial in self.trials if trial.state == "failed")

    @property
    def done(self) -> bool:
        """Whether every trial of the budget has its result."""
        return len(self.complete) + len(self.failed) >= self.search.trials

    @property
    def losses(self) -> np.ndarray:
        """Values of the complete trials, signed so that less is better, (complete trials, objectives)."""
        signs = [-1.0 if direction == "maximize" else 1.0 for direction in self.search.directions]
        values = [trial.values for trial in self.complete]  # noqa: PD011 -- not pandas'
        return np.array(values, float).reshape(-1, len(signs)) * signs

    @property
    def best(self) -> Trial | None:
        """The best trial, the earliest of equals; None where no trial is complete.

        Raises
        ------
        SearchError
            Where there are several objectives: they have a front.
        """
        if len(self.search.directions) > 1:
            raise SearchError(
                f"study {self.name} has {len(self.search.directions)} objectives, a front and no best"
            )
        return self.complete[int(self.losses[:, 0].argmin())] if self.complete else None

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other is as good as in every objective and better in one."""
        losses = self.losses
        return tuple(
            trial
            for trial, own in zip(self.complete, losses, strict=True)
            if not ((losses <= own).all(1) & (losses < own).any(1)).any()
        )

    @property
    def history(self) -> tuple[tuple[int, float], ...]:
        """Number of every complete trial, with the best value up to it; of the first objective."""
        sign = -1.0 if self.search.directions[0] == "maximize" else 1.0
        best = sign * np.minimum.accumulate(self.losses[:, 0])
        return tuple((trial.number, float(value)) for trial, value in zip(self.complete, best, strict=True))

    def frame(self) -> pd.DataFrame:
        """One row per trial: number, batch, state, every parameter, ``value_0`` and so on (empty where it has none)."""
        objectives = range(len(self.search.directions))
        return pd.DataFrame(
            [
                {
                    "number": trial.number,
                    "batch": trial.batch,
                    "state": trial.state,
                    **{name: trial.params.get(name) for name in self.search.space},
                    **{f"value_{i}": value for i, value in enumerate(trial.values or ())},  # noqa: PD011
                }
                for trial in self.trials
            ],
            columns=["number", "batch", "state", *self.search.space, *(f"value_{i}" for i in objectives)],
        ).astype({f"value_{i}": float for i in objectives})
