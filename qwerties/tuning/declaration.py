"""A question whose configs are searched for before they are compared: arms, their spaces, the budget, the contrasts.

A `Tuning` is declared in ``experiments/`` like an `Experiment`. Its searches choose a config for every arm on seeds
that nothing else uses. Then all arms, tuned and fixed, form an ordinary `Experiment` on fresh seeds. The contrasts are
written down by the arms' names before the first trial.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qwerties.analysis.searches import OBJECTIVES
from qwerties.config import Config, Seeds
from qwerties.errors import UsageError
from qwerties.study.experiment import (
    CONTRAST_RULES,
    MAX_ORDER,
    MAX_SHARE,
    Contrast,
    Experiment,
    Figure,
    are_all,
    check_fields,
    is_text,
    is_whole,
)

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

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("name", "text without ' by '", lambda name: is_text(name) and " by " not in name),
            ("space", f"a function of a trial (arm {self.name})", callable),
        )


@dataclass(frozen=True)
class ArmContrast:
    """Two arms to be compared, by their names; ``delta`` and ``primary`` are as in a `Contrast`."""

    a: str
    b: str
    delta: float = 0.01
    primary: bool = False

    def __post_init__(self) -> None:
        check_fields(self, *CONTRAST_RULES)
        if self.a == self.b:
            raise ValueError(f"a contrast needs two different arms, got {self.a!r} twice")


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
        arms = tuple(arm.name for arm in self.arms) if are_all(TunedArm)(self.arms) else ()
        others = {*SAMPLERS} - {str(self.sampler)}
        check_fields(
            self,
            ("title", "text", is_text),
            ("question", "text", is_text),
            ("arms", "a tuple of TunedArms, (arm,) for one", lambda _: bool(arms)),
            ("contrasts", "a tuple of ArmContrasts, (c,) for one", are_all(ArmContrast)),
            ("fixed", "Configs by the arms' names", _is_named_configs),
            ("trials", "a whole number from 1 to 100000", is_whole(1, 100_000)),
            ("batch", "a whole number from 1 to 1000", is_whole(1, 1000)),
            ("seeds", f"a whole number from {MIN_SEEDS} to 10000", is_whole(MIN_SEEDS, 10_000)),
            ("seed", "a whole number from 0 to 2**32 - 1", is_whole(0, 2**32 - 1)),
            ("objectives", f"a tuple of {', '.join(OBJECTIVES)}", lambda x: x and _are_of(OBJECTIVES, x)),
            ("sampler", f"one of {', '.join(SAMPLERS)}", lambda name: name in SAMPLERS),
            ("baselines", "a tuple of other samplers", lambda names: _are_of(others, names)),
            ("figures", "Figures in a tuple", are_all(Figure)),
            ("champion", f"one of {', '.join(arms)}, or None", lambda name: name in (None, *arms)),
            ("order", f"a whole number of at most {MAX_ORDER}", is_whole(-MAX_ORDER, MAX_ORDER)),
        )
        names = [*arms, *self.fixed]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"every arm must have a name of its own, got {twice[0]!r} twice")
        if unknown := [arm for c in self.contrasts for arm in (c.a, c.b) if arm not in names]:
            raise ValueError(f"a contrast compares arms: one of {', '.join(names)}, got {unknown[0]!r}")
        pairs = [frozenset((contrast.a, contrast.b)) for contrast in self.contrasts]
        if again := [c for c, pair in zip(self.contrasts, pairs, strict=True) if pairs.count(pair) > 1]:
            raise ValueError(f"contrasts must differ, got {again[0].a} − {again[0].b} twice")

    def tuning_seeds(self, n_seeds: int) -> Seeds:
        """Return the seeds of every trial in a sweep of ``n_seeds``."""
        return Seeds(FIRST_SEED, FIRST_SEED + (self.seeds if n_seeds >= QUICK_SWEEP else MIN_SEEDS))

    def all_contrasts(self) -> tuple[ArmContrast, ...]:
        """Return the declared contrasts, then each winner against those of its baselines."""
        samplers = [(arm.name, sampler) for arm in self.arms for sampler in self.baselines]
        return (*self.contrasts, *(ArmContrast(arm, f"{arm} by {sampler}") for arm, sampler in samplers))

    def experiment(self, winners: Mapping[str, Config]) -> Experiment:
        """Return the comparison on fresh seeds, given the config of every search by `Search.confirmed_as`.

        Contrasts of one config with itself are left out.
        """
        configs = {**self.fixed, **winners}
        contrasts: dict[frozenset[Config], Contrast] = {}
        for c in self.all_contrasts():
            a, b = configs[c.a], configs[c.b]
            if a != b:
                contrasts.setdefault(frozenset((a, b)), Contrast(a, b, c.delta, c.primary, (c.a, c.b)))
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


def _are_of(known: Collection[str], names: Any) -> bool:
    return are_all(str)(names) and len(set(names)) == len(names) and set(names) <= set(known)


def _is_named_configs(fixed: object) -> bool:
    return isinstance(fixed, Mapping) and all(
        is_text(name) and isinstance(config, Config) for name, config in fixed.items()
    )
