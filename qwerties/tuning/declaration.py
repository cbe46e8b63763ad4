"""A question whose configs are searched for before they are compared: what is tuned, by which budget, against what.

A `Tuning` stands in ``experiments/`` like an `Experiment`. Its studies choose a config for every side on seeds that
nothing else uses; then the sides, the chosen ones and the fixed ones, are an ordinary `Experiment` on fresh seeds. What
is to be compared, by the sides' names, is written down before the first trial.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qwerties.config import DEFAULT, FIELDS, Config, Seeds
from qwerties.study.experiment import MAX_SHARE, Contrast, Experiment, Figure
from qwerties.study.objectives import OBJECTIVES
from qwerties.study.search_space import SAMPLERS, Categorical, Dimension, Search

FIRST_SEED = 10_000_000
"""Of every study's trials; confirmation begins at 0, and no sweep reaches so far."""

FEWEST_SEEDS = 20
"""Per trial; fewer tell one setting from another by luck."""

QUICK = 500
"""A sweep of fewer seeds than this is a quick look: its trials see `FEWEST_SEEDS` only."""

CONFIRMATION = 2.0
"""Fresh seeds of the chosen configs, as a multiple of those that a sweep asks for."""


@dataclass(frozen=True)
class Tuned:
    """One side that is searched for.

    Attributes
    ----------
    base : Config
        All that is not searched.
    space : mapping of name to dimension
        Names are fields of a config, but for ``hidden``: that is ``depth``, and ``width_1`` and so on for its layers.
    trials : int
        The budget.
    objectives : tuple of str
        Of `OBJECTIVES`; the first chooses the winner.
    sampler : {"tpe", "random", "qmc"}
    baselines : tuple of str
        Other samplers, each given the same budget; their winners are confirmed as well.
    """

    base: Config
    space: Mapping[str, Dimension]
    trials: int
    objectives: tuple[str, ...] = ("population_accuracy",)
    sampler: str = "tpe"
    baselines: tuple[str, ...] = ()

    def config(self, params: Mapping[str, Any]) -> Config:
        """The config of a trial.

        Raises
        ------
        ValueError
            If the parameters make none.
        """
        return make_config(self.base, params)


@dataclass(frozen=True)
class Pair:
    """Two sides to be compared, by their names."""

    a: str
    b: str
    delta: float = 0.01
    primary: bool = False


@dataclass(frozen=True)
class Study:
    """One search of a tuning, ready to run: its name in the storage, and all that decides its trials."""

    name: str
    side: str
    label: str
    tuned: Tuned
    search: Search
    seeds: Seeds

    def spec(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return {
            "study": self.name,
            "side": self.side,
            "label": self.label,
            "own": self.label == f"{self.side} by {self.search.sampler}",
            "base": self.tuned.base.to_params(),
            "objectives": list(self.tuned.objectives),
            "seeds": str(self.seeds),
            "search": self.search.to_dict(),
        }


@dataclass(frozen=True)
class Tuning:
    """A question, the sides that are tuned for it, and what is compared; one file in ``experiments/`` declares one.

    Attributes
    ----------
    title, question, figures, order
        As of an `Experiment`.
    searches : mapping of side to Tuned
    fixed : mapping of side to Config
        Sides that are not tuned.
    contrasts : tuple of Pair
        Fixed before the first trial. Each winner is compared with those of its baselines besides, as exploratory
        contrasts.
    seeds : int
        Per trial, the same for all trials of all sides.
    seed : int
        Of the proposals, the same for all sides.
    champion : str, optional
        The side whose winner may be registered as the model.
    """

    title: str
    question: str
    searches: Mapping[str, Tuned]
    contrasts: tuple[Pair, ...]
    fixed: Mapping[str, Config] = field(default_factory=dict)
    figures: tuple[Figure, ...] = (Figure("outcomes"),)
    seeds: int = 64
    seed: int = 0
    champion: str | None = None
    order: int = 100

    def __post_init__(self) -> None:
        if not self.searches:
            raise ValueError("searches must name one side or more, got none")
        if not isinstance(self.seeds, int) or self.seeds < FEWEST_SEEDS:
            raise ValueError(
                f"seeds must be a whole number of {FEWEST_SEEDS} or more per trial, got {self.seeds!r}"
            )
        for side, tuned in self.searches.items():
            _check_side(side, tuned, self)
        if self.champion is not None and self.champion not in self.searches:
            raise ValueError(
                f"champion must be one of {', '.join(self.searches)}, or None, got {self.champion!r}"
            )
        known = {**self.searches, **self.fixed}
        for pair in self.contrasts:
            if not pair.delta > 0:
                raise ValueError(f"delta must be above 0, got {pair.delta!r}")
            for side in (pair.a, pair.b):
                if side not in known:
                    raise ValueError(f"a contrast compares sides: one of {', '.join(known)}, got {side!r}")
            if pair.a == pair.b:
                raise ValueError(f"a contrast needs two different sides, got {pair.a!r} twice")
            if pair.a in self.searches and pair.b in self.searches:
                _check_budgets(pair, self.searches[pair.a], self.searches[pair.b])

    def tuning_seeds(self, wanted: int) -> Seeds:
        """Seeds of every trial when a sweep asks for ``wanted`` of them per config."""
        return Seeds(FIRST_SEED, FIRST_SEED + (self.seeds if wanted >= QUICK else FEWEST_SEEDS))

    def confirmation(self, wanted: int) -> str:
        """Fresh seeds of the comparison, in the words of `Seeds`."""
        return str(Seeds(0, max(1, round(CONFIRMATION * wanted))))

    def studies(self, experiment_name: str, wanted: int, code: str) -> tuple[Study, ...]:
        """All searches to be made, side by side, baselines after their own; ``code`` is a digest of the source."""
        seeds = self.tuning_seeds(wanted)
        found = []
        for side, tuned in self.searches.items():
            for sampler in (tuned.sampler, *tuned.baselines):
                told = json.dumps([tuned.base.to_params(), tuned.objectives, str(seeds), code])
                digest = hashlib.sha256(told.encode()).hexdigest()[:8]
                search = Search(
                    space=tuned.space,
                    trials=tuned.trials,
                    sampler=sampler,
                    seed=self.seed,
                    directions=tuple(OBJECTIVES[name] for name in tuned.objectives),
                )
                own = sampler == tuned.sampler
                found.append(
                    Study(
                        name=f"{experiment_name}/{side} by {sampler}, seeds {seeds}, {digest}",
                        side=side if own else f"{side} by {sampler}",
                        label=f"{side} by {sampler}",
                        tuned=tuned,
                        search=search,
                        seeds=seeds,
                    )
                )
        return tuple(found)

    def pairs(self) -> tuple[Pair, ...]:
        """All that is compared: the planned contrasts, and every winner with those of its baselines."""
        return self.contrasts + tuple(
            Pair(side, f"{side} by {sampler}")
            for side, tuned in self.searches.items()
            for sampler in tuned.baselines
        )

    def experiment(self, sides: Mapping[str, Config]) -> Experiment:
        """The comparison on fresh seeds, once every side has its config; pairs of one and the same are left out."""
        known = {**self.fixed, **sides}
        contrasts: dict[frozenset[Config], Contrast] = {}
        for pair in self.pairs():
            a, b = known[pair.a], known[pair.b]
            if a != b:
                contrasts.setdefault(
                    frozenset((a, b)), Contrast(a, b, pair.delta, pair.primary, names=(pair.a, pair.b))
                )
        return Experiment(
            title=self.title,
            question=self.question,
            configs=tuple(dict.fromkeys(known.values())),
            contrasts=tuple(contrasts.values()),
            figures=self.figures,
            share=CONFIRMATION,
            order=self.order,
        )

    def placeholder(self, pair: Pair) -> dict[str, Any]:
        """A contrast as the store holds it before its sides are known: their bases stand in for them."""
        bases = {**{side: tuned.base for side, tuned in self.searches.items()}, **self.fixed}
        a, b = (bases[side.partition(" by ")[0]] for side in (pair.a, pair.b))
        return {
            "a": a.to_params(),
            "b": b.to_params(),
            "delta": pair.delta,
            "primary": pair.primary,
            "names": [pair.a, pair.b],
        }

    def main(self) -> None:
        """Run this tuning alone: ``python experiments/NAME.py`` takes the options of ``qwerties sweep``."""
        Experiment.main(self)  # type: ignore[arg-type]


assert CONFIRMATION <= MAX_SHARE


def make_config(base: Config, params: Mapping[str, Any]) -> Config:
    """A config from a base and a trial's parameters, ``depth`` and ``width_...`` making ``hidden``.

    Raises
    ------
    ValueError
        If they make none.
    """
    fields = {name: value for name, value in params.items() if name in FIELDS}
    others = [name for name in params if name not in FIELDS]
    widths = [name for name in others if name != "depth"]
    if others:
        depth = params.get("depth", 1)
        wanted = [f"width_{layer + 1}" for layer in range(depth)]
        if widths != wanted:
            raise ValueError(f"a net of depth {depth} takes {', '.join(wanted)}, got {', '.join(widths)}")
        fields["hidden"] = tuple(params[name] for name in widths)
    return dataclasses.replace(base, **fields)


def corner(space: Mapping[str, Dimension], high: bool) -> dict[str, Any]:
    """One end of a space, less what is no part of a trial there."""
    params: dict[str, Any] = {}
    for name, dimension in space.items():
        if dimension.when is None or params.get(dimension.when[0]) in dimension.when[1]:
            if isinstance(dimension, Categorical):
                params[name] = dimension.choices[-1 if high else 0]
            else:
                params[name] = dimension.high if high else dimension.low
    return params


def _check_side(side: str, tuned: Tuned, tuning: Tuning) -> None:
    """Refuse at once what would fail after hours."""
    if not side or " by " in side or side in tuning.fixed:
        raise ValueError(
            f"a side must have a name of its own, that does not say by which sampler, got {side!r}"
        )
    samplers = (tuned.sampler, *tuned.baselines)
    if len(set(samplers)) < len(samplers) or not set(samplers) <= set(SAMPLERS):
        raise ValueError(
            f"searches: {side}: samplers must be different ones of {', '.join(SAMPLERS)}, got {', '.join(samplers)}"
        )
    if not tuned.objectives or not set(tuned.objectives) <= set(OBJECTIVES):
        raise ValueError(
            f"searches: {side}: objectives must be of {', '.join(OBJECTIVES)}, got {tuned.objectives!r}"
        )
    try:
        Search(tuned.space, tuned.trials)  # its own message names what is wrong
        for high in (False, True):
            tuned.config(corner(tuned.space, high))
    except ValueError as error:
        raise ValueError(f"searches: {side}: {error}") from None


def _check_budgets(pair: Pair, a: Tuned, b: Tuned) -> None:
    for what in ("trials", "objectives", "sampler"):
        one, other = getattr(a, what), getattr(b, what)
        if one != other:
            raise ValueError(
                f"both sides of a contrast must have the same {what}, "
                f"got {one!r} for {pair.a} and {other!r} for {pair.b}"
            )


def spec_changes(before: str, now: str) -> list[str]:
    """Tell what a new ``qwerties.tuning`` tag changes that must not change unseen once there are data.

    Parameters
    ----------
    before, now : str
        The tag as it is stored, and as it is to be.

    Returns
    -------
    list of str
        In words; empty where nothing of the kind changed, and where ``before`` is no such tag.
    """
    try:
        old, new = ({spec["label"]: spec for spec in json.loads(text)["studies"]} for text in (before, now))
        return [
            f"search for {label}: {difference}"
            for label, spec in new.items()
            if label in old
            for difference in _differences(old[label], spec)
        ]
    except (ValueError, TypeError, KeyError):
        return []


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    there, here = Search.from_dict(old["search"]), Search.from_dict(new["search"])
    told = [text.replace(" there", " before").replace(" here", " now") for text in there.differences(here)]
    if there.trials != here.trials:
        told.append(f"trials were {there.trials} before and are {here.trials} now")
    told += [
        f"{name} was {old['base'].get(name, DEFAULT.to_params()[name])} before and is {value} now"
        for name, value in new["base"].items()
        if old["base"].get(name) != value
    ]
    if old["objectives"] != new["objectives"]:
        told.append(
            f"objectives were {', '.join(old['objectives'])} before and are {', '.join(new['objectives'])} now"
        )
    return told
