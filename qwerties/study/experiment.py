"""How an experiment file declares a question: its configs, its contrasts and its figures, each field validated."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwerties.config import (
    ABOVE_0,
    BELOW_1,
    DEFAULT,
    FIELDS,
    Config,
    Rule,
    Seeds,
    check_fields,
    is_number,
    is_one_of,
    is_whole,
)
from qwerties.errors import suggestion

MAX_SHARE = 4.0
MAX_ORDER = 10**6
MAX_TEXT = 5000  # characters that every MLflow server takes in a tag of an experiment

FIGURES = (
    *("scores", "lines", "distribution", "outcomes", "losses", "gradients", "variance"),
    *("relu_minus_linear", "retraining"),
)
FIGURES_OVER_A_FIELD = ("lines", "distribution", "relu_minus_linear")


def is_text(value: object) -> bool:
    """Return whether a value is text that is not blank, and that every database can hold."""
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > MAX_TEXT:
        return False
    return value.encode(errors="ignore").decode() == value


CONTRAST_RULES: tuple[Rule, ...] = (  # of a contrast, whatever its arms are
    ("delta", "a number above 0 and below 1 (0.01 is one point)", is_number(ABOVE_0, BELOW_1)),
    ("primary", "True or False", lambda value: isinstance(value, bool)),
)


def are_all(kind: type) -> Callable[[object], bool]:
    """Return a predicate: a tuple of instances of a class."""
    return lambda value: isinstance(value, tuple) and all(isinstance(item, kind) for item in value)


def _is_pair(value: object, holds: Callable[[object], bool]) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(holds, value))


@dataclass(frozen=True)
class Contrast:
    """Two configs to be compared on the same seeds.

    Attributes
    ----------
    a, b : Config
        The arms.
    delta : float
        Margin: the difference in population accuracy that matters, 0.01 for one point.
    primary : bool
        Whether the contrast takes a slot of the study's error budget.
    names : (str, str), optional
        Names of the arms where the contrast was planned before their configs were known, as for a tuned one.

    Raises
    ------
    ValueError
        Names every field that breaks its rule.
    """

    a: Config
    b: Config
    delta: float = 0.01
    primary: bool = False
    names: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.a, Config) and isinstance(self.b, Config)):
            raise ValueError(f"a contrast needs two Configs, got {self.a!r} and {self.b!r}")
        check_fields(
            self,
            *CONTRAST_RULES,
            (
                "names",
                "None or two different names",
                lambda value: value is None or (_is_pair(value, is_text) and value[0] != value[1]),
            ),
        )
        if self.a == self.b:
            raise ValueError(f"a contrast needs two different configs, got {self.a.label()} twice")


@dataclass(frozen=True)
class Figure:
    """The figure that answers an experiment's question.

    Attributes
    ----------
    kind : str
        ``scores``: scores per config as dots with intervals. ``lines``: a score against a numeric field, a panel for
        each arrangement of the data. ``distribution``: the whole distribution of a score over seeds, against a field.
        ``outcomes``: shares of states per config. ``losses``: mean loss curves. ``gradients``: first-layer over
        last-layer gradient by depth. ``variance``: components of variance. ``relu_minus_linear``: the paired
        difference of a score between the two activations, against a numeric field. ``retraining``: the best of k
        networks by training loss.
    x : str, optional
        Of ``lines``, ``distribution`` and ``relu_minus_linear``: the field; everything else in which configs differ
        makes a line each.
    score : str
        Of ``scores`` and ``lines``: a column of ``seeds.csv``, ``learned``, or ``regret`` (Bayes accuracy minus
        population accuracy). Of ``distribution`` and ``relu_minus_linear``: an accuracy or ``gain``.

    Raises
    ------
    ValueError
        Names the field that breaks its rule.
    """

    kind: str = "scores"
    x: str | None = None
    score: str = "population_accuracy"

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("kind", f"one of {', '.join(FIGURES)}", is_one_of(FIGURES)),
            ("x", f"one of {', '.join(FIELDS)}", lambda value: value is None or is_one_of(FIELDS)(value)),
            (
                *("x", f"a field where kind is {self.kind}"),
                lambda value: value is not None or self.kind not in FIGURES_OVER_A_FIELD,
            ),
            ("score", "the name of a score", is_text),
        )


@dataclass(frozen=True)
class Experiment:
    """A question, the configs that answer it, and what is to be compared; one file in ``experiments/`` declares one.

    Attributes
    ----------
    title : str
        A few words, the heading of its section.
    question : str
        What is asked and how it is answered, in Markdown; shown in MLflow and in the report.
    configs : tuple of Config
    contrasts : tuple of Contrast
        Fixed before anything runs.
    figures : tuple of Figure
    share : float
        Where networks are costly: train only this part of the seeds that a sweep asks for. More than 1, up to 4, where
        that many are not enough.
    crossed : (int, int), optional
        Number of data seeds and of weight seeds, every one with every other, in place of a block of seeds.
    order : int
        Position of its section in the report.

    Raises
    ------
    ValueError
        Names every field that breaks its rule, the rule and the value.
    """

    title: str
    question: str
    configs: tuple[Config, ...]
    contrasts: tuple[Contrast, ...] = ()
    figures: tuple[Figure, ...] = (Figure(),)
    share: float = 1.0
    crossed: tuple[int, int] | None = None
    order: int = 100

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("title", "text", is_text),
            ("question", "text", is_text),
            ("configs", "a tuple of Configs, (config,) for one", are_all(Config)),
            ("contrasts", "a tuple of Contrasts, (contrast,) for one", are_all(Contrast)),
            ("figures", "a tuple of Figures, (figure,) for one", are_all(Figure)),
            ("share", f"above 0 and at most {MAX_SHARE:g}", is_number(ABOVE_0, MAX_SHARE)),
            (
                "crossed",
                "None or two whole numbers above 0",
                lambda value: value is None or _is_pair(value, is_whole(1, 10**6)),
            ),
            ("order", f"a whole number of at most {MAX_ORDER}", is_whole(-MAX_ORDER, MAX_ORDER)),
        )
        if not self.configs:
            raise ValueError("configs must hold one config or more, got none")
        if len(set(self.configs)) < len(self.configs):
            twice = next(config for config in self.configs if self.configs.count(config) > 1)
            raise ValueError(f"configs must differ, got {twice.label()} twice")
        for contrast in self.contrasts:
            for config in (contrast.a, contrast.b):
                if config not in self.configs:
                    raise ValueError(f"a contrast compares configs of the experiment, got {config.label()}")
        if self.crossed is not None and self.contrasts:
            raise ValueError(
                f"contrasts need independent seeds: crossed ones must have none, got {len(self.contrasts)}"
            )
        pairs = [frozenset((contrast.a, contrast.b)) for contrast in self.contrasts]
        again = [c for c, pair in zip(self.contrasts, pairs, strict=True) if pairs.count(pair) > 1]
        if again:
            raise ValueError(f"contrasts must differ, got {difference_name(again[-1].a, again[-1].b)} twice")

    def seeds(self, n_seeds: int) -> Seeds:
        """Return the seeds to train when a sweep asks for ``n_seeds`` per config."""
        if self.crossed is not None:
            data_seeds, weight_seeds = (min(n, n_seeds) for n in self.crossed)
            return Seeds(0, data_seeds, crossed=weight_seeds)
        return Seeds(0, max(1, round(self.share * n_seeds)))

    def main(self) -> None:
        """Run this experiment alone: ``python experiments/NAME.py`` takes the options of ``qwerties sweep``."""
        import runpy

        import __main__

        sys.argv = ["qwerties", "sweep", Path(__main__.__file__).stem, *sys.argv[1:]]
        runpy.run_module("qwerties", run_name="__main__", alter_sys=True)


def grid(base: Config = DEFAULT, **axes: Iterable[Any]) -> tuple[Config, ...]:
    """Return every combination of the given fields' values, the last field varying fastest.

    Examples
    --------
    >>> [(config.loss, config.epochs) for config in grid(loss=("bce", "mse"), epochs=(100, 200))]
    [('bce', 100), ('bce', 200), ('mse', 100), ('mse', 200)]

    Raises
    ------
    ValueError
        If ``base`` is no Config, an axis is no field or has no values, or a value breaks its field's rule.
    """
    if not isinstance(base, Config):
        raise ValueError(f"the base of a grid must be a Config, got {base!r}")
    for name, values in axes.items():
        if name not in FIELDS:
            raise ValueError(
                f"a grid's axis must be one of {', '.join(FIELDS)}, got {name!r}{suggestion(name, FIELDS)}"
            )
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(f"{name} must be a list of values in a grid, got {values!r}")
    lists = {name: tuple(values) for name, values in axes.items()}
    if empty := [name for name, values in lists.items() if not values]:
        raise ValueError(f"{empty[0]} must be a list of values in a grid, got none")
    return tuple(
        dataclasses.replace(base, **dict(zip(lists, values, strict=True)))
        for values in itertools.product(*lists.values())
    )


def difference_name(a: Config, b: Config) -> str:
    """Return what a contrast compares, by what differs between its arms: "mse − bce"."""
    return " − ".join(arm.label([a, b]).replace(" · ", ", ") for arm in (a, b))


def config_names(configs: Sequence[Config]) -> list[str]:
    """Name configs by what differs among them; a single one by all that one would say of it."""
    full = [config.label().split(" · ") for config in configs]
    if len(set(configs)) < 2:
        return [" · ".join(parts) for parts in full]
    common = set(full[0]).intersection(*full)
    short = [" · ".join(part for part in parts if part not in common) for parts in full]
    return short if all(short) else [config.label(configs) for config in configs]
