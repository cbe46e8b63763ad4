"""What `calibration` tries: populations of contrasts, numbers of seeds and looks, and what is promised of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.calibration.pool import CONFIGS, CONTRASTS, Pool
from benchmarks.calibration.simulation import (
    DELTA,
    FAMILY,
    RESAMPLES,
    Pairs,
    Part,
    Population,
    blend,
    mixture,
    real_pairs,
    shifted,
    swapped,
    two_blocks,
)
from qwerties.stats.legacy import FAMILY_ERROR, Look, plan_looks, study_looks

SAMPLES = (50, 100, 200, 262, 500, 1000, 2000)
"""Seeds of a contrast; 262 is the flip guard."""

EQUAL_SAMPLES = (262, 300, 500, 1000)
"""Seeds from which "equivalent" may be said."""

MORE = 4
"""Times as many families are drawn where no bootstrap is made, which takes nearly all the time."""

LOOKS = (500, 1000, 2000, 4000)

STUDY = "the study's looks"

LEVEL = 1 - FAMILY_ERROR / FAMILY
"""Of the study's primary contrasts."""

MISSED = 0.06
"""At most so often may a 95% interval miss the true mean."""


@dataclass(frozen=True)
class Ask:
    """A rate to be told of a trial, and what was promised of it.

    Attributes
    ----------
    error : {"lead", "equal", "missed"}
        A field of `Errors`.
    of : {"any", "worst"}
        In any of a family's six contrasts; or (missed only) in the contrast in which it is most frequent.
    most : float, optional
        The promise: at most this rate.
    binding : bool
        Whether a rate beyond it breaks a promise of the project, or only shows where a rule is weak.
    """

    error: Literal["lead", "equal", "missed"]
    of: Literal["any", "worst"]
    most: float | None
    binding: bool = True


@dataclass(frozen=True)
class Trial:
    """Families to be drawn from a population, so many times the number asked for, and judged by a rule."""

    population: Population
    looks: tuple[Look, ...]
    asks: tuple[Ask, ...]
    rule: str = "one look"
    resamples: int = RESAMPLES
    times: int = MORE


def trials(pool: Pool) -> list[Trial]:
    """All that is measured; the same pool gives the same trials."""
    pairs = Pairs.of(pool)
    return [
        *_nothing_to_find(pool, pairs),
        *_coverage(pairs),
        *_at_the_margin(pairs),
        *_repeated(pool, pairs),
    ]


def one_look(n: int, level: float = LEVEL) -> tuple[Look, ...]:
    """A look that nobody repeats."""
    return (Look(n, (1 - level) * FAMILY, level),)


def _nulls(pool: Pool, pairs: Pairs) -> list[Population]:
    return [
        two_blocks(
            "two blocks of one config, six configs", [pool.of(config) for config in CONFIGS[-FAMILY:]]
        ),
        two_blocks("two blocks of the default, six times", [pool.of(CONFIGS[0])] * FAMILY),
        swapped(pairs.every),
    ]


def _undone(pairs: Pairs) -> Population:
    """Small steady leads, all undone by flips that are rarer the smaller the lead: true means of 0."""
    steady = [d * np.sign(d.mean()) for d in pairs.settled]
    return mixture(
        "steady leads that rare flips undo", [blend(d, -pairs.flips, 0) for d in steady], tuple(CONTRASTS)
    )


def _nothing_to_find(pool: Pool, pairs: Pairs) -> list[Trial]:
    told = (Ask("lead", "any", FAMILY_ERROR),)
    found = [Trial(null, one_look(n), told) for null in _nulls(pool, pairs) for n in SAMPLES]
    return found + [Trial(_undone(pairs), one_look(n), told) for n in SAMPLES]


def _coverage(pairs: Pairs) -> list[Trial]:
    found = []
    for n in SAMPLES:
        population = real_pairs(pairs.every, replace=True)
        found.append(Trial(population, one_look(n, 0.95), (Ask("missed", "worst", MISSED),)))
        asks = (
            Ask("missed", "any", FAMILY_ERROR),
            Ask("lead", "any", FAMILY_ERROR),
            Ask("equal", "any", FAMILY_ERROR),
        )
        found.append(Trial(population, one_look(n), asks))
    flattered = real_pairs(pairs.every, replace=False)
    told = (Ask("missed", "worst", None),)
    return found + [Trial(flattered, one_look(n, 0.95), told) for n in (500, 2000)]


def margin_populations(pairs: Pairs) -> list[Population]:
    """Populations whose six true means are delta."""
    names = list(CONTRASTS)
    alike, slight = names.index("BCE − MSE, fast"), names.index("BCE − MSE at twice the rate")
    steady = pairs.settled[alike]
    turned = pairs.every * np.sign(pairs.every.mean(1, keepdims=True))
    large = [k for k in range(FAMILY) if turned[k].mean() > DELTA]
    both_ways = np.concatenate([pairs.flips, pairs.flips, pairs.flips, -pairs.flips])
    return [
        mixture("rare flips one way, others learned alike", [blend(steady, pairs.flips, DELTA)] * FAMILY),
        mixture("rare flips one way, others dead alike", [blend(np.zeros(1), pairs.flips, DELTA)] * FAMILY),
        mixture("rare flips, three one way and one the other", [blend(steady, both_ways, DELTA)] * FAMILY),
        mixture(
            "real contrasts among nearly equal pairs",
            ([blend(turned[common], turned[k], DELTA) for common in (alike, slight) for k in large] * FAMILY)[
                :FAMILY
            ],
        ),
        mixture("real contrasts, shifted", [[Part(shifted(d, DELTA), 1.0)] for d in turned], names),
        mixture(
            "real contrasts, mirrored and shifted", [[Part(shifted(-d, DELTA), 1.0)] for d in turned], names
        ),
        mixture(
            "nearly delta on all pairs, the rest by rare flips",
            [blend(shifted(steady, 0.9 * DELTA), pairs.flips, DELTA)] * FAMILY,
        ),
    ]


def _at_the_margin(pairs: Pairs) -> list[Trial]:
    told = (Ask("equal", "any", FAMILY_ERROR),)
    populations = margin_populations(pairs)
    found = [
        Trial(population, one_look(n), told, times=1) for population in populations for n in EQUAL_SAMPLES
    ]
    fewer = (Ask("equal", "any", None),)
    return [*found, Trial(populations[0], one_look(500), fewer, resamples=999, times=1)]


def _repeated(pool: Pool, pairs: Pairs) -> list[Trial]:
    planned = plan_looks(LOOKS, family_size=FAMILY)
    naive = tuple(one_look(n)[0] for n in LOOKS)
    truth = real_pairs(pairs.every, replace=True)
    told = (Ask("lead", "any", None),)
    found = [Trial(population, naive, told, "same level at every look") for population in _nulls(pool, pairs)]
    found.append(Trial(truth, naive, (Ask("missed", "any", None),), "same level at every look"))
    for rule, looks in {"planned looks": planned, STUDY: study_looks(FAMILY)}.items():
        lead = (Ask("lead", "any", FAMILY_ERROR),)
        found += [Trial(population, looks, lead, rule) for population in _nulls(pool, pairs)]
        found.append(Trial(_undone(pairs), looks, lead, rule))
        equal = (Ask("equal", "any", FAMILY_ERROR),)
        shapes = margin_populations(pairs)
        found += [
            Trial(population, looks, equal, rule, times=1)
            for population in (shapes if rule == STUDY else shapes[:1])
        ]
        missed = Ask("missed", "any", FAMILY_ERROR)
        found.append(Trial(truth, looks, (missed, *lead), rule))
    return found
