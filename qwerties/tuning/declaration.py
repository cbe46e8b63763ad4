"""A question whose configs are searched for before they are compared: arms, their spaces, the budget, the contrasts.

A `Tuning` is declared in ``experiments/`` like an `Experiment`. Its searches choose a config for every arm on seeds
that nothing else uses. Then all arms, tuned and fixed, form an ordinary `Experiment` on fresh seeds. The contrasts are
written down by the arms' names before the first trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qwerties.analysis.searches import OBJECTIVES
from qwerties.config import Config, Seeds
from qwerties.errors import UsageError
from qwerties.study.experiment import MAX_SHARE, Contrast, Experiment, Figure

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "random", "qmc")

FIRST_SEED = 10_000_000  # of every trial; confirmation starts at 0, and no sweep reaches this far
MIN_SEEDS = 20  # per trial; with fewer, the best trial is the luckiest one
QUICK_SWEEP = 500  # seeds of a sweep below which a trial gets only `MIN_SEEDS` seeds
CONFIRMATION = 2.0  # fresh seeds of each chosen config, as a multiple of the sweep's seeds
assert CONFIRMATION <= MAX_SHARE


class SearchError(UsageError):
    """A search, its space or its storage cannot be used; the message is one line."""


@dataclass(frozen=True)
class TunedArm:
    """An arm whose config is searched for.

    Attributes
    ----------
    name : str
    space : callable
        ``space(trial) -> Config``, define-by-run: it calls the ``suggest_*`` methods of an `optuna.trial.Trial`. The
        same suggested values must always give the same config.
    """

    name: str
    space: Callable[[optuna.Trial], Config]


@dataclass(frozen=True)
class ArmContrast:
    """Two arms to be compared, by their names; ``delta`` and ``primary`` are as in a `Contrast`."""

    a: str
    b: str
    delta: float = 0.01
    primary: bool = False


@dataclass(frozen=True)
class Tuning:
    """A question, the arms that are tuned for it, and the contrasts; one file in ``experiments/`` declares one.

    Attributes
    ----------
    title, question, figures, order
        As in an `Experiment`.
    arms : tuple of TunedArm
        All arms get the same budget, sampler and seeds.
    contrasts : tuple of ArmContrast
        Fixed before the first trial. Each winner is also compared with those of its baselines (exploratory).
    fixed : mapping of str to Config
        Arms that are not tuned.
    trials : int
        Budget of each search.
    batch : int
        Trials that are proposed together and trained at once. With TPE, 30 trials in one dimension end where one by one
        ends for batches up to 10. In eight dimensions, 64 trials end 4% lower for batches of 8, 8% lower for 16.
    seeds : int
        Networks per trial, on the same seeds for all trials of all arms.
    seed : int
        Seed of the samplers.
    objectives : tuple of {"population_accuracy", "regret", "cost"}
        The first one decides the winner.
    sampler : {"tpe", "random", "qmc"}
        Tree-structured Parzen estimator, independent draws, or a scrambled Sobol sequence.
    baselines : tuple of str
        Further samplers. Each gets the same budget, and its winner is confirmed too.
    champion : str, optional
        Arm whose winner may become the registered model.

    Raises
    ------
    ValueError
        Names every field that breaks its rule, the rule and the value.
    """

    title: str
    question: str
    arms: tuple[TunedArm, ...]
    contrasts: tuple[ArmContrast, ...] = ()
    fixed: Mapping[str, Config] = field(default_factory=dict)
    trials: int = 30
    batch: int = 4
    seeds: int = 64
    seed: int = 0
    objectives: tuple[str, ...] = ("population_accuracy",)
    sampler: str = "tpe"
    baselines: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = (Figure("outcomes"),)
    champion: str | None = None
    order: int = 100

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {rule}, got {getattr(self, name)!r}"
            for name, rule, holds in (
                ("title", "text", isinstance(self.title, str)),
                ("question", "text", isinstance(self.question, str)),
                ("arms", "a tuple of TunedArms, (arm,) for one", self.arms and _all_are(TunedArm, self.arms)),
                ("contrasts", "a tuple of ArmContrasts, (c,) for one", _all_are(ArmContrast, self.contrasts)),
                ("fixed", "Configs by the arms' names", _is_named_configs(self.fixed)),
                ("trials", "a whole number from 1 to 100000", _is_whole(self.trials, 1, 100_000)),
                ("batch", "a whole number from 1 to 1000", _is_whole(self.batch, 1, 1000)),
                (
                    "seeds",
                    f"a whole number from {MIN_SEEDS} to 10000",
                    _is_whole(self.seeds, MIN_SEEDS, 10_000),
                ),
                ("seed", "a whole number from 0 to 2**32 - 1", _is_whole(self.seed, 0, 2**32 - 1)),
                ("objectives", f"a tuple of {', '.join(OBJECTIVES)}", _are_of(OBJECTIVES, self.objectives)),
                ("sampler", f"one of {', '.join(SAMPLERS)}", self.sampler in SAMPLERS),
                ("baselines", "a tuple of other samplers", self._has_sound_baselines()),
                ("figures", "Figures in a tuple", _all_are(Figure, self.figures)),
                ("order", "a whole number", _is_whole(self.order, -math.inf, math.inf)),
            )
            if not holds
        ]
        problems = problems or [*self._problems_of_arms(), *self._problems_of_contrasts()]
        if problems:
            raise ValueError("; ".join(problems))

    def _has_sound_baselines(self) -> bool:
        return self.baselines == () or (
            _are_of(SAMPLERS, self.baselines) and self.sampler not in self.baselines
        )

    def _problems_of_arms(self) -> list[str]:
        """Return what is wrong with the arms' names and spaces."""
        problems, names = [], [*(arm.name for arm in self.arms), *self.fixed]
        for name in names:
            if not isinstance(name, str) or not name.strip() or " by " in name or names.count(name) > 1:
                problems.append(f"an arm must have a name of its own, without ' by ', got {name!r}")
        problems += [
            f"arm {arm.name}: space must be a function of a trial, got {arm.space!r}"
            for arm in self.arms
            if not callable(arm.space)
        ]
        if self.champion is not None and self.champion not in [arm.name for arm in self.arms]:
            problems.append(
                f"champion must be one of {', '.join(str(arm.name) for arm in self.arms)}, or None, "
                f"got {self.champion!r}"
            )
        return list(dict.fromkeys(problems))

    def _problems_of_contrasts(self) -> list[str]:
        """Return what is wrong with the contrasts."""
        problems, names = [], [*(arm.name for arm in self.arms), *self.fixed]
        for contrast in self.contrasts:
            arms = (contrast.a, contrast.b)
            problems += [
                f"a contrast compares arms: one of {', '.join(map(str, names))}, got {arm!r}"
                for arm in arms
                if arm not in names
            ]
            if contrast.a == contrast.b:
                problems.append(f"a contrast needs two different arms, got {contrast.a!r} twice")
            is_number = isinstance(contrast.delta, int | float) and not isinstance(contrast.delta, bool)
            if not is_number or not 0 < contrast.delta < math.inf:
                problems.append(f"delta must be a finite number above 0, got {contrast.delta!r}")
            if not isinstance(contrast.primary, bool):
                problems.append(f"primary must be True or False, got {contrast.primary!r}")
        pairs = [frozenset(map(repr, (contrast.a, contrast.b))) for contrast in self.contrasts]
        if len(set(pairs)) < len(pairs):
            again = next(c for c, pair in zip(self.contrasts, pairs, strict=True) if pairs.count(pair) > 1)
            problems.append(f"contrasts must differ, got {again.a} − {again.b} twice")
        return problems

    def tuning_seeds(self, n_seeds: int) -> Seeds:
        """Return the seeds of every trial in a sweep of ``n_seeds``."""
        return Seeds(FIRST_SEED, FIRST_SEED + (self.seeds if n_seeds >= QUICK_SWEEP else MIN_SEEDS))

    def all_contrasts(self) -> tuple[ArmContrast, ...]:
        """Return the declared contrasts, then each winner against those of its baselines."""
        return (
            *self.contrasts,
            *(
                ArmContrast(arm.name, f"{arm.name} by {sampler}")
                for arm in self.arms
                for sampler in self.baselines
            ),
        )

    def experiment(self, winners: Mapping[str, Config]) -> Experiment:
        """Return the comparison on fresh seeds, given the config of every search by `Search.confirmed_as`.

        Contrasts of one config with itself are left out.
        """
        configs = {**self.fixed, **winners}
        contrasts: dict[frozenset[Config], Contrast] = {}
        for contrast in self.all_contrasts():
            a, b = configs[contrast.a], configs[contrast.b]
            if a != b:
                names = (contrast.a, contrast.b)
                contrasts.setdefault(
                    frozenset((a, b)), Contrast(a, b, contrast.delta, contrast.primary, names=names)
                )
        return Experiment(
            title=self.title,
            question=self.question,
            configs=tuple(dict.fromkeys(configs.values())),
            contrasts=tuple(contrasts.values()),
            figures=self.figures,
            share=CONFIRMATION,
            order=self.order,
        )

    def main(self) -> None:
        """Run this tuning alone: ``python experiments/NAME.py`` takes the options of ``qwerties sweep``."""
        Experiment.main(self)  # type: ignore[arg-type]


def _all_are(kind: type, values: object) -> bool:
    return isinstance(values, tuple | list) and all(isinstance(value, kind) for value in values)


def _are_of(known: Mapping[str, Any] | tuple[str, ...], names: Any) -> bool:
    return _all_are(str, names) and 0 < len(set(names)) == len(names) and set(names) <= set(known)


def _is_whole(value: object, low: float, high: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_named_configs(fixed: object) -> bool:
    return isinstance(fixed, Mapping) and all(isinstance(config, Config) for config in fixed.values())
