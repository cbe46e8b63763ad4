"""Families of contrasts drawn from a pool of trained networks, and what the project's rules say of them.

A family is six contrasts of `n` seeds each, (6, n) differences A − B; its true means are known. The verdicts are
those of `intervals` and `stats`, called as `stats.compare` calls them: no rule is written down again here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.calibration.pool import CONTRASTS, Pool
from qwerties.config import DEFAULT
from qwerties.scoring import theory
from qwerties.stats.legacy import Look, bca_interval, decide, difference_interval

FAMILY = 6
"""Contrasts of a family: the primary ones of the study."""

DELTA = 0.01
"""Their margin in population accuracy."""

HEADROOM = float(theory.bayes_accuracy(DEFAULT.distance)) - 0.5

RESAMPLES = 9999
"""Of the bootstrap, as many as `stats.compare` takes: with fewer it cannot reach the quantiles that matter."""

ROUNDING = 1e-9
"""True means no further apart than this are equal."""

SUSPECT = 1.5
"""Standard errors: no interval of 90% or more is narrower, to either side."""

Draw = Callable[[Generator, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Population:
    """What families are drawn from.

    Attributes
    ----------
    name : str
    truth : ndarray, (6,)
        The true mean of each contrast.
    draw : callable
        A generator and n -> the differences of one family, (6, n); its first columns are a smaller sample.
    contrasts : tuple of str
        What the six are called, where they differ.
    """

    name: str
    truth: np.ndarray
    draw: Draw
    contrasts: tuple[str, ...] = ()


# Nothing to find


def two_blocks(name: str, sides: Sequence[np.ndarray]) -> Population:
    """Make contrasts of one config with itself: 2 n seeds drawn without replacement, half of them for each side.

    The finite pool flatters nothing here: what it takes from the variance of each side's mean, the negative
    correlation of the two sides gives back, so that their difference varies as in an endless pool.

    Parameters
    ----------
    name : str
    sides : sequence of 6 ndarrays, (seeds,)
        Scores of the config of each contrast; every contrast draws by itself.
    """

    def draw(rng: Generator, n: int) -> NDArray[np.float64]:
        drawn = np.stack([scores[rng.choice(len(scores), 2 * n, replace=False)] for scores in sides])
        return drawn[:, ::2] - drawn[:, 1::2]

    return Population(name, np.zeros(len(sides)), draw)


def swapped(pairs: np.ndarray) -> Population:
    """Make contrasts of real pairs, the sides of each swapped by a coin: (6, seeds) differences.

    A family's seeds are drawn without replacement and shared by its contrasts, as in the study; every contrast
    and seed has its own coin.
    """

    def draw(rng: Generator, n: int) -> NDArray[np.float64]:
        seeds = rng.choice(pairs.shape[1], n, replace=False)
        return pairs[:, seeds] * rng.choice([-1.0, 1.0], (len(pairs), n))

    return Population("real pairs, labels swapped", np.zeros(len(pairs)), draw)


# Something to find


def real_pairs(pairs: np.ndarray, *, replace: bool) -> Population:
    """Take the real contrasts, (6, seeds); the pool's mean is the true one, and a family's contrasts share its seeds.

    Parameters
    ----------
    pairs : ndarray, (6, seeds)
    replace : bool
        With replacement the pool is the population, and the sample's error is what the interval takes it for.
        Without, it is smaller by the factor sqrt(1 − n/seeds), which flatters the interval.
    """

    def draw(rng: Generator, n: int) -> NDArray[np.float64]:
        return pairs[:, rng.choice(pairs.shape[1], n, replace=replace)]

    name = "real pairs" if replace else "real pairs, without replacement"
    return Population(name, pairs.mean(1), draw, tuple(CONTRASTS))


class Part(NamedTuple):
    """Differences, (pairs,), and what share of a mixture they make up."""

    pairs: np.ndarray
    share: float


def mixture(name: str, contrasts: Sequence[Sequence[Part]], labels: Sequence[str] = ()) -> Population:
    """Make contrasts each of which mixes parts by their shares, every contrast and seed drawn by itself.

    With replacement: the parts are the population.
    """

    def draw(rng: Generator, n: int) -> NDArray[np.float64]:
        return np.stack([_draw_parts(rng, parts, n) for parts in contrasts])

    truth = np.array([sum(pairs.mean() * share for pairs, share in parts) for parts in contrasts])
    return Population(name, truth, draw, tuple(labels))


def _draw_parts(rng: Generator, parts: Sequence[Part], n: int) -> NDArray[np.float64]:
    ends = np.cumsum([part.share for part in parts])[:-1]
    which, u = np.searchsorted(ends, rng.random(n), side="right"), rng.random(n)  # (n,)
    of_each = np.stack([pairs[(u * len(pairs)).astype(int)] for pairs, _ in parts])  # (parts, n)
    return of_each[which, np.arange(n)]


def blend(common: np.ndarray, rare: np.ndarray, mean: float) -> tuple[Part, Part]:
    """Mix two kinds of pairs so that their mean is ``mean``.

    Raises
    ------
    ValueError
        If no mixture of the two has that mean.
    """
    from_, to = float(common.mean()), float(rare.mean())
    share = (mean - from_) / (to - from_) if to != from_ else np.nan
    if not 0 <= share <= 1:
        raise ValueError(f"no mixture of pairs of means {from_:g} and {to:g} has the mean {mean:g}")
    return Part(common, 1 - share), Part(rare, share)


def shifted(pairs: np.ndarray, mean: float) -> np.ndarray:
    """Move differences, (pairs,), so that their mean is ``mean``."""
    return pairs - pairs.mean() + mean


@dataclass(frozen=True)
class Pairs:
    """Real differences of a pool by kind.

    Attributes
    ----------
    every : ndarray, (6, seeds)
        Of all seeds, contrast by contrast.
    settled : tuple of 6 ndarrays
        Of the seeds on which both sides learned: small and steady.
    flips : ndarray, (pairs,)
        From a ReLU network that has not learned to the linear one of the same seed, which has.
    """

    every: np.ndarray
    settled: tuple[np.ndarray, ...]
    flips: np.ndarray

    @classmethod
    def of(cls, pool: Pool) -> Pairs:
        """Sort the pairs of a pool.

        Raises
        ------
        ValueError
            If it has no pair of some kind: too few seeds.
        """
        every = np.stack([pool.of(a) - pool.of(b) for a, b in CONTRASTS.values()])
        both = [pool.has_learned(a) & pool.has_learned(b) for a, b in CONTRASTS.values()]
        relu, linear = CONTRASTS["ReLU − linear"]
        one = ~pool.has_learned(relu) & pool.has_learned(linear)
        pairs = cls(
            every,
            tuple(d[seeds] for d, seeds in zip(every, both, strict=True)),
            (pool.of(linear) - pool.of(relu))[one],
        )
        if not len(pairs.flips) or not all(map(len, pairs.settled)):
            raise ValueError(f"a pool of {len(pool)} seeds has no pair of some kind to draw from")
        return pairs


# What the rules say


class Errors(NamedTuple):
    """Which statements on a family's contrasts are wrong, (6,) bool each."""

    lead: (
        np.ndarray
    )  # a lead, better or merely detectable, where there is none; or more than delta where not so
    equal: np.ndarray  # equivalent where the true difference is delta or more
    missed: np.ndarray  # an interval without the true mean


def judge(differences: np.ndarray, truth: np.ndarray, level: float, resamples: int = RESAMPLES) -> Errors:
    """Say which of a family's verdicts, by the project's rule, are wrong.

    Every error comes of an interval without the true mean: 0, delta or the true mean itself, which the truth does
    not lie beyond, is left out. So the rule is asked only where the mean is SUSPECT standard errors or more from the
    truth; a rule whose intervals are narrower than that fails by far. The bootstrap, which takes most of the time and
    can only turn "equivalent" into something weaker, is made where t says "equivalent" and that would be wrong, up to
    the first such error.

    Parameters
    ----------
    differences : ndarray, (6, n)
    truth : ndarray, (6,)
    level : float
        Of every interval.
    resamples : int
        Of the bootstrap.
    """
    contrasts, n = differences.shape
    error = differences.std(1, ddof=1) / np.sqrt(n)  # (6,)
    suspect = np.abs(differences.mean(1) - truth) >= SUSPECT * error
    wrong = Errors(*np.zeros((3, contrasts), bool))
    for k in np.flatnonzero(suspect):
        mean = truth[k]
        interval = difference_interval(differences[k], level, headroom=HEADROOM)
        verdict = decide(interval, delta=DELTA, headroom=HEADROOM, family_size=FAMILY)
        wrong.missed[k] = not interval.lo - ROUNDING <= mean <= interval.hi + ROUNDING
        if verdict.kind == "equivalent" and abs(mean) > DELTA - ROUNDING:
            if wrong.equal.any():
                continue
            check = bca_interval(differences[k], level, resamples=resamples)
            verdict = decide(interval, delta=DELTA, headroom=HEADROOM, family_size=FAMILY, check=check)
        ahead = verdict.direction * mean  # how far the leader truly leads
        wrong.equal[k] = verdict.kind == "equivalent" and abs(mean) > DELTA - ROUNDING
        wrong.lead[k] = (verdict.direction != 0 and ahead < ROUNDING) or (
            verdict.kind == "better" and ahead < DELTA + ROUNDING
        )
    return wrong


@dataclass(frozen=True)
class Counts:
    """In how many of `families` something was wrong.

    Attributes
    ----------
    families : int
    any : dict of int
        Families with an error of each kind (a field of `Errors`) in any of the six contrasts, at any look.
    missed : ndarray, (6,)
        Families in which each contrast's interval misses the truth, at any look.
    """

    families: int
    any: dict[str, int]
    missed: np.ndarray


def simulate(
    population: Population,
    looks: Sequence[Look],
    families: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Counts:
    """Draw families and count those with errors.

    Parameters
    ----------
    population : Population
    looks : sequence of Look
        One for a fixed number of seeds. All are taken, whatever they say: whether an analyst stops when all is settled
        or as soon as anything pleases him, he makes no error that is not counted.
    families : int
    seed : int
        With the population's name and the numbers of seeds it fixes the draws: looks at other levels see the same.
    resamples : int
        Of the bootstrap.
    """
    numbers = [look.seeds for look in looks]
    rng = np.random.default_rng([seed, zlib.crc32(population.name.encode()), *numbers])
    missed = np.zeros(len(population.truth), int)
    in_any = dict.fromkeys(Errors._fields, 0)
    for _ in range(families):
        differences = population.draw(rng, numbers[-1])
        errors = np.zeros((3, len(population.truth)), bool)
        for look in looks:
            errors |= np.stack(judge(differences[:, : look.seeds], population.truth, look.level, resamples))
        missed += Errors(*errors).missed
        for kind, wrong in zip(Errors._fields, errors, strict=True):
            in_any[kind] += int(wrong.any())
    return Counts(families, in_any, missed)
