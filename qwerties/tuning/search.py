"""Searches: one arm by one sampler, what its ``space`` function suggests and returns, and the batches of trials.

A batch is proposed by a study in memory that holds the trials of all earlier batches and has a sampler of its own,
seeded from the search's seed and the number of the batch. So the proposals depend on finished trials alone, and a
search that was interrupted, or got a larger budget, ends with the same trials as one that was not.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, TrialState, create_trial

from qwerties.analysis.searches import OBJECTIVES
from qwerties.config import Config, Seeds
from qwerties.errors import clean, reason_of
from qwerties.scoring.digest import code_digest
from qwerties.tuning.declaration import SearchError, TunedArm, Tuning

optuna.logging.set_verbosity(optuna.logging.WARNING)
# `config_of` refuses such choices
warnings.filterwarnings("ignore", "Choices for a categorical distribution", UserWarning)

DRAWS = 64  # of a space, by which its parameters and their distributions are learned


@dataclass(frozen=True)
class Search:
    """One arm searched by one sampler.

    Attributes
    ----------
    name : str
        Name of the Optuna study. It holds all that decides a config's scores: seeds, objectives, code.
    arm : TunedArm
    sampler : str
    is_baseline : bool
        Whether the winner is compared with the arm's own, rather than being it.
    tuning : Tuning
        Its objectives, budget, batch and seed are the search's.
    seeds : Seeds
        Seeds of every trial.
    distributions : dict of str to BaseDistribution
        Every parameter that some draw of the space suggests, in the order of their first suggestion.
    examples : tuple of Config
        Configs of these draws.
    """

    name: str
    arm: TunedArm
    sampler: str
    is_baseline: bool
    tuning: Tuning
    seeds: Seeds
    distributions: dict[str, BaseDistribution]
    examples: tuple[Config, ...]

    @property
    def label(self) -> str:
        """Arm and sampler, in words."""
        return f"{self.arm.name} by {self.sampler}"

    @property
    def confirmed_as(self) -> str:
        """Name under which the winner is compared: the arm, or arm and sampler for a baseline."""
        return self.label if self.is_baseline else self.arm.name

    def spec(self) -> dict[str, Any]:
        """Return all that decides the trials, as JSON holds it."""
        configs = [config.to_params() for config in self.examples]
        return {
            "name": self.name,
            "arm": self.arm.name,
            "sampler": self.sampler,
            "is_baseline": self.is_baseline,
            "objectives": list(self.tuning.objectives),
            "seeds": str(self.seeds),
            "trials": self.tuning.trials,
            "batch": self.tuning.batch,
            "seed": self.tuning.seed,
            "space": {name: str(distribution) for name, distribution in self.distributions.items()},
            "digest of its configs": _digest(json.dumps(configs)),
            "digest of its source text": _digest(_source(self.arm)),
        }


def make_searches(experiment_name: str, tuning: Tuning, n_seeds: int) -> tuple[Search, ...]:
    """Return the searches of a tuning in a sweep of ``n_seeds``: for each arm its sampler's, then the baselines'.

    Raises
    ------
    SearchError
        If the space of an arm cannot be used; the message is one line that names the arm.
    """
    seeds = tuning.tuning_seeds(n_seeds)
    digest = _digest(json.dumps([tuning.objectives, str(seeds), code_digest()]))[:8]
    return tuple(
        Search(
            f"{experiment_name}/{arm.name} by {sampler}, seeds {seeds}, {digest}",
            arm,
            sampler,
            sampler != tuning.sampler,
            tuning,
            seeds,
            *space,
        )
        for arm in tuning.arms
        for space in [_explore(arm)]
        for sampler in (tuning.sampler, *tuning.baselines)
    )


def _explore(arm: TunedArm) -> tuple[dict[str, BaseDistribution], tuple[Config, ...]]:
    """Draw from a space; return the distributions of all parameters, and the draws' configs."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    distributions: dict[str, BaseDistribution] = {}
    examples = []
    for _ in range(DRAWS):
        trial = study.ask()
        examples.append(config_of(arm, trial))
        distributions |= {name: d for name, d in trial.distributions.items() if name not in distributions}
        if config_of(arm, FixedTrial(trial.params)) != examples[-1]:
            raise SearchError(
                f"arm {arm.name}: space must return the same Config for the same suggested values"
            )
    return distributions, tuple(examples)


def config_of(arm: TunedArm, trial: BaseTrial) -> Config:
    """Return the config that an arm's space makes of a trial.

    Raises
    ------
    SearchError
        If the space raises, suggests nothing, or returns something else.
    """
    try:
        config = arm.space(trial)  # type: ignore[arg-type]
    except (Exception, SystemExit) as error:  # whatever the code of an experiment file raises
        reason = f"{type(error).__name__}: {reason_of(error)} (for {clean(trial.params)})"
        raise SearchError(f"arm {arm.name}: space must return a Config, got {reason}") from error
    if not isinstance(config, Config):
        raise SearchError(f"arm {arm.name}: space must return a Config, got {clean(repr(config))}")
    if not trial.params:
        raise SearchError(f"arm {arm.name}: space must suggest one value or more, got none")
    for name, distribution in trial.distributions.items():
        choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
        if odd := [c for c in choices if not (c is None or isinstance(c, str | bool | int | float))]:
            rule = "text, numbers, True, False or None"
            raise SearchError(f"arm {arm.name}: choices of {name} must be {rule}, got {odd[0]!r}")
    return config


def _source(arm: TunedArm) -> str:
    """Return the source text of a space; empty where Python cannot find it."""
    try:
        return inspect.cleandoc(inspect.getsource(arm.space))
    except (OSError, TypeError):
        return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words how two specs of a search differ; digests tell something only where nothing else does."""
    there, here = (
        {**spec["space"], **{key: value for key, value in spec.items() if key not in ("name", "space")}}
        for spec in (before, now)
    )
    changed = [key for key in dict.fromkeys([*there, *here]) if there.get(key) != here.get(key)]
    plain = [key for key in changed if not key.startswith("digest of")]
    return [
        f"{key} was {there.get(key, 'not searched')} and is {here.get(key, 'not searched')}"
        for key in plain or changed
    ]


@dataclass(frozen=True)
class Proposal:
    """A trial to be trained."""

    number: int
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    config: Config


def propose(search: Search, earlier: Sequence[FrozenTrial]) -> list[Proposal]:
    """Propose the batch that follows all earlier ones, whose finished trials stand in the order of their proposals."""
    start, size = len(earlier), search.tuning.batch
    seed = int(np.random.SeedSequence((search.tuning.seed, start // size)).generate_state(1)[0])
    sampler: BaseSampler = RandomSampler(seed=seed)
    if search.sampler == "tpe":
        sampler = TPESampler(seed=seed)
    elif search.sampler == "qmc":
        sampler = _SobolSampler(search)
    directions = [OBJECTIVES[name] for name in search.tuning.objectives]
    study = optuna.create_study(directions=directions, sampler=sampler)
    if search.sampler == "qmc":
        for _ in range(start):  # go through the sequence
            study.ask(search.distributions)
    else:
        study.add_trials([_as_seen(trial) for trial in earlier])
    proposals = []
    for number in range(start, start + size):
        trial = study.ask()
        config = config_of(search.arm, trial)
        proposals.append(Proposal(number, trial.params, trial.distributions, config))
    return proposals


class _SobolSampler(QMCSampler):
    """A scrambled Sobol sequence with an axis for each parameter; a conditional one is not always read.

    Optuna's own sampler learns the axes from the first trial, which it draws at random.
    """

    def __init__(self, search: Search) -> None:
        with warnings.catch_warnings():  # experimental since 2021; its points are SciPy's
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(scramble=True, seed=search.tuning.seed)
        self._distributions = search.distributions

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions


def _as_seen(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as TPE learns from it: a diverged one counts as bad, as a running one does.

    TPE ignores failed trials, and would try their neighbourhood again and again.
    """
    return create_trial(
        state=TrialState.RUNNING if trial.state == TrialState.FAIL else TrialState.COMPLETE,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
    )
