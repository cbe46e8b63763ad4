"""The former rules of inference, for the modules that still import them: from per-seed scores to verdicts.

Frames in (one `seeds.csv` a side, columns as in SCIENCE.md), frozen results out. The unit is a seed: both
sides of a comparison share its data and its initial weights, so all inference is on per-seed differences, A
minus B. Which side is better is said by `decide` and `Verdict.words`, from the numbers alone.

What a network counts for, once and for all:

- A **diverged** one has no population accuracy (NaN), yet whoever presses Run may get it. An output of NaN
  tells nothing about the label, so it counts as a guess: ½, which is what dead and constant networks score.
  To leave it out would condition the mean on the outcome, and flatter the side that diverges more. The result
  lists them.
- A score that is missing for any other reason, or a seed whose rows contradict each other, has no value that
  one could defend. Nothing is left out: the mean is undefined, and the verdict is "incomplete".
- A seed that only one side has makes no pair. Blocks of seeds go missing for reasons unrelated to their
  outcome, so the comparison goes on without them, and lists them.
"""

import math
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from qwerties.stats.intervals import SAME, Interval, mean_interval, plain, wilson
from qwerties.stats.scores import scores

FAMILY_ERROR = 0.05  # chance of any wrong claim among the primary contrasts together

# The t interval is not to be trusted with few bimodal scores. With flips of equal size and no true difference
# it errs (by exact enumeration, over all flip rates) at up to 2.6 times its nominal .05/6 with 8 to 16 seeds,
# and at up to 1.2 times from 50 on.
FEWEST = 50

LEARNED = (0.8, 0.5, 0.9)  # gains from which a network has learned: the rule first, then its sensitivity

Kind = Literal[
    "better", "equivalent", "better_unsettled", "inconclusive", "identical", "too_few", "incomplete"
]


@dataclass(frozen=True)
class Learned:
    """How many seeds of each side reached a gain, with the exact McNemar test of the pairs that differ."""

    gain: float
    a: Interval  # P(learned), Wilson
    b: Interval
    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float


@dataclass(frozen=True)
class Side:
    """What became of one side's seeds."""

    seeds: int  # distinct ones
    duplicated: tuple[int, ...]  # given more than once; counted once
    diverged: tuple[int, ...]  # counted as a guess where the score is undefined
    unscored: tuple[int, ...]  # no score though not diverged, or rows that contradict each other


@dataclass(frozen=True)
class Verdict:
    """What an interval says, by the rules of `decide`.

    `direction` is 1 where A is shown to be ahead, −1 where B is, else 0. `seeds_needed` is None where nothing
    is left to settle, or where no number of seeds within reach would settle it.
    """

    kind: Kind
    direction: int
    n: int
    delta: float
    seeds_needed: int | None = None

    def words(self, name_a: str, name_b: str) -> str:
        """Say it in a sentence, without the full stop."""
        ahead = name_a if self.direction > 0 else name_b
        more = f"about {self.seeds_needed} seeds" if self.seeds_needed else "more seeds than are within reach"
        match self.kind:
            case "better":
                return f"{ahead} is better by more than {self.delta:g}"
            case "equivalent":
                small = "; small but detectable difference" if self.direction else ""
                return f"{name_a} and {name_b} are equivalent within {self.delta:g}{small}"
            case "better_unsettled":
                return f"{ahead} is better; size relative to {self.delta:g} not settled, {more} needed"
            case "inconclusive":
                return f"inconclusive; {more} needed"
            case "identical":
                return f"identical runs: {name_a} and {name_b} agree in every number on all {self.n} seeds"
            case "too_few":
                return f"no verdict from {self.n} seeds; at least {self.seeds_needed} needed"
            case "incomplete":
                return f"no verdict: some of the {self.n} pairs of seeds lack a score"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, fit for JSON."""
        return plain(asdict(self))


@dataclass(frozen=True)
class Comparison:
    """One contrast: three views of A against B on the same seeds, and the verdict."""

    name_a: str
    name_b: str
    column: str
    n: int  # pairs of seeds
    delta: float
    level: float  # of every interval here
    family_size: int
    headroom: float
    learned: tuple[Learned, ...]  # view 1, in the order of LEARNED
    conditional: Interval  # view 2: mean A − B among the seeds on which both learned
    difference: Interval  # view 3: mean A − B over all pairs, paired t and `flip_reach`: the verdict's
    bootstrap: Interval  # the same mean with BCa bounds, a check that "equivalent" has to pass
    p_value: float  # paired t test, unadjusted; undefined where all differences are equal
    mean_a: float
    mean_b: float
    superiority: float  # P(A > B) on the same seed, ties counted half
    verdict: Verdict
    smallest_delta: float  # any larger margin would have given "equivalent"
    a: Side
    b: Side
    only_a: tuple[int, ...]  # seeds that the other side lacks
    only_b: tuple[int, ...]

    @property
    def words(self) -> str:
        """The verdict's sentence, with the names of the sides."""
        return self.verdict.words(self.name_a, self.name_b)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict's sentence (`words`), fit for JSON."""
        return plain(asdict(self)) | {"words": self.words}


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjust the p-values of one exploratory family by Holm's method, shape (family,).

    NaN stays NaN and does not count: where there was nothing to test there was no hypothesis.
    """
    adjusted = np.array(p_values, float)
    tested = ~np.isnan(adjusted)
    if tested.any():
        adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
    return adjusted


def flip_reach(n: int, *, headroom: float, level: float) -> float:
    """Return how far flips that `n` seeds have not shown might still move the mean, to either side.

    A flip is a seed on which one side learns and the other does not; it is worth `headroom`. Flips of rate r
    are absent from n seeds with probability below exp(−n·r). The reach is `headroom` times the rate at which
    that is (1 − level)/2, the error that an interval of this level makes towards one side.
    """
    return math.log(2 / (1 - level)) * headroom / n if n else math.inf


def flip_guard(*, delta: float, headroom: float, family_size: int) -> int:
    """Return from how many seeds on `flip_reach` is within `delta`, so that "equivalent" may be said."""
    level = 1 - FAMILY_ERROR / family_size
    return math.ceil(flip_reach(1, headroom=headroom, level=level) / delta)


def difference_interval(differences: ArrayLike, level: float, *, headroom: float) -> Interval:
    """Return the mean paired difference, of (n,) values, with the interval that its verdict comes from.

    It is Student's t interval, widened on both sides by `flip_reach`. The t interval knows only what was drawn:
    where a flip comes once in a thousand seeds, most samples of some hundred show none, and t misses the true
    mean in 9% of samples of 500 where it promises 5%, and calls a small steady lead proved that rare flips undo
    in one of five such families (measured on trained networks by `calibration`). The reach fills that gap, and
    falls with 1/n, so that it costs hardly anything where there are many seeds.
    """
    plain_t = mean_interval(differences, level)
    reach = flip_reach(plain_t.n, headroom=headroom, level=level)
    return replace(plain_t, lo=plain_t.lo - reach, hi=plain_t.hi + reach)


def decide(
    difference: Interval,
    *,
    delta: float,
    headroom: float,
    family_size: int,
    check: Interval | None = None,
    fewest: int = FEWEST,
) -> Verdict:
    """Give the verdict on an interval for the mean paired difference A − B.

    Where there are too few seeds, or the mean is undefined, there is none. Else, in this order:

    1. Interval beyond ±delta: "better".
    2. Interval and `check` inside ±delta, and no fewer seeds than `flip_guard`: "equivalent"; a direction
       says that 0 is outside, so that the difference is small but detectable.
    3. 0 outside: "better_unsettled", by an amount that may be more or less than delta.
    4. Else "inconclusive".

    Parameters
    ----------
    difference : Interval
        From `difference_interval`, at level 1 − FAMILY_ERROR/family_size for a primary contrast, or at that of
        the look at hand.
    delta : float
        The smallest difference that matters, in the score's unit.
    headroom : float
        What a flip is worth: A* − ½ for a population accuracy.
    family_size : int
        How many contrasts share the error.
    check : Interval, optional
        The same mean with BCa bounds; undefined ones are left aside.
    fewest : int
        Fewer seeds than this give no verdict.

    Returns
    -------
    Verdict
        `seeds_needed` is set for "too_few" only; `compare` adds it elsewhere.
    """
    lo, hi, n = difference.lo, difference.hi, difference.n
    if n < max(fewest, 2):
        return Verdict("too_few", 0, n, delta, seeds_needed=max(fewest, 2))
    if math.isnan(difference.estimate):
        return Verdict("incomplete", 0, n, delta)
    direction = int(lo > 0) - int(hi < 0)
    if lo > delta or hi < -delta:
        return Verdict("better", direction, n, delta)
    guard = flip_guard(delta=delta, headroom=headroom, family_size=family_size)
    if _farthest(difference, check) < delta and n >= guard:
        return Verdict("equivalent", direction, n, delta)
    return Verdict("better_unsettled" if direction else "inconclusive", direction, n, delta)


def _farthest(difference: Interval, check: Interval | None) -> float:
    """Return how far from 0 the bounds of both reach; those of the check may be undefined."""
    bounds = [difference.lo, difference.hi]
    if check is not None and not math.isnan(check.lo):
        bounds += [check.lo, check.hi]
    return float(np.abs(bounds).max())  # NaN stays NaN


def seeds_needed(
    difference: Interval, *, delta: float, headroom: float, guard: int, power: float = 0.9
) -> int | None:
    """Say about how many seeds would settle a comparison: "better by more than delta", or "equivalent".

    This is the n (`TTestPower`) at which the interval, `flip_reach` included, leaves out the nearer of the
    margins ±delta with chance `power`, were the observed mean and SD the true ones. Between the margins it has to
    leave out both, so each gets half the risk, and `guard` is the least. One seed more than there are is the
    least in any case.

    Parameters
    ----------
    difference : Interval
        From `mean_interval`; its width gives the SD.
    delta, headroom, guard
        As in `decide` and from `flip_guard`.
    power : float
        The chance that so many seeds do settle it.

    Returns
    -------
    int or None
        None where the mean is within a thousandth of an SD of a margin, which takes ten million seeds or
        more.
    """
    inside = abs(difference.estimate) < delta
    gap = abs(abs(difference.estimate) - delta)
    standard_error = (difference.hi - difference.lo) / 2 / t.ppf((1 + difference.level) / 2, difference.n - 1)
    sd = standard_error * math.sqrt(difference.n)
    if gap <= max(1e-3 * sd, SAME):
        return None
    reach = flip_reach(1, headroom=headroom, level=difference.level)
    share = (1 + power) / 2 if inside else power

    def enough(n: int) -> bool:
        left = gap - reach / n
        if left <= 0:
            return False
        effect = left / max(sd, left / 5)  # the solver fails beyond 5 SDs, where a handful of seeds would do
        return n >= TTestPower().solve_power(effect_size=effect, alpha=1 - difference.level, power=share)

    most = 2
    while not enough(most):
        most *= 2
    found = bisect_left(range(most), True, lo=most // 2, key=enough) if most > 2 else most
    return max(found, guard if inside else 0, difference.n + 1)


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    delta: float,
    level: float,
    family_size: int,
    headroom: float,
    name_a: str = "A",
    name_b: str = "B",
    column: str = "population_accuracy",
    fewest: int = FEWEST,
    resamples: int = 9999,
) -> Comparison:
    """Compare two configs on the seeds that they share.

    Parameters
    ----------
    a, b : DataFrame
        One row a seed, with `seed`, `state`, `gain` and `column`. Whatever other columns both have tell
        identical runs from different ones with equal scores.
    delta : float
        Margin, in the unit of `column`.
    level : float
        Of every interval: 1 − FAMILY_ERROR/family_size for a primary contrast, or that of the look at hand
        (`sequential`); .95 for an exploratory one, whose p-value then goes through `holm`.
    family_size : int
        How many contrasts share the error, for the flip guard.
    headroom : float
        What a flip is worth in `column`: A* − ½ for a population accuracy.
    name_a, name_b : str
        What the sentence calls the sides.
    column : str
        One of CHANCE.
    fewest : int
        Fewer pairs than this give no verdict; the first planned look, where there is a plan.
    resamples : int
        Of the bootstrap.

    Returns
    -------
    Comparison
        Swapping the sides mirrors it. Where both agree in every column on all pairs it says "identical", of
        however few, and tests nothing.

    Raises
    ------
    ValueError
        If an argument is out of range, a column is missing, or a seed is not a whole number.
    """
    for argument, value in {"delta": delta, "headroom": headroom, "family_size": family_size}.items():
        if not value > 0:
            raise ValueError(f"{argument} must be above 0, not {value!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level!r}")

    all_a, side_a = _one_row_a_seed(a, column, name_a)
    all_b, side_b = _one_row_a_seed(b, column, name_b)
    rows_a, rows_b = all_a.align(all_b, join="inner")  # pairs of seeds, the columns that both have
    d = (rows_a[column] - rows_b[column]).to_numpy()  # (n,)
    n = len(d)
    by_t = mean_interval(d, level)
    difference = difference_interval(d, level, headroom=headroom)
    bootstrapped = bca_interval(d, level, resamples=resamples)
    both = _has_learned(rows_a, LEARNED[0]) & _has_learned(rows_b, LEARNED[0])  # (n,)

    guard = flip_guard(delta=delta, headroom=headroom, family_size=family_size)
    if difference.estimate == 0 and _agree(rows_a, rows_b):
        verdict = Verdict("identical", 0, n, delta)
    else:
        verdict = decide(
            difference,
            delta=delta,
            headroom=headroom,
            family_size=family_size,
            check=bootstrapped,
            fewest=fewest,
        )
    if verdict.kind in ("better_unsettled", "inconclusive"):
        needed = seeds_needed(by_t, delta=delta, headroom=headroom, guard=guard)
        verdict = replace(verdict, seeds_needed=needed)

    return Comparison(
        name_a=name_a,
        name_b=name_b,
        column=column,
        n=n,
        delta=delta,
        level=level,
        family_size=family_size,
        headroom=headroom,
        learned=tuple(_learned(rows_a, rows_b, gain, level) for gain in LEARNED),
        conditional=mean_interval(d[both], level),
        difference=difference,
        bootstrap=bootstrapped,
        p_value=float(ttest_1samp(d, 0).pvalue) if by_t.lo < by_t.hi else math.nan,
        mean_a=float(rows_a[column].mean(skipna=False)),
        mean_b=float(rows_b[column].mean(skipna=False)),
        superiority=float(np.sign(d).mean() + 1) / 2 if n else math.nan,
        verdict=verdict,
        smallest_delta=_farthest(difference, bootstrapped),
        a=side_a,
        b=side_b,
        only_a=_sorted(all_a.index.difference(all_b.index)),
        only_b=_sorted(all_b.index.difference(all_a.index)),
    )


def _agree(rows_a: pd.DataFrame, rows_b: pd.DataFrame) -> bool:
    """Tell whether two frames with the same rows and columns hold the same, what is missing included."""
    same = rows_a.eq(rows_b) | (rows_a.isna() & rows_b.isna())
    return bool(same.all(axis=None))


def _sorted(seeds: Iterable[Any]) -> tuple[int, ...]:
    return tuple(sorted({int(seed) for seed in seeds}))


def _one_row_a_seed(frame: pd.DataFrame, column: str, name: str) -> tuple[pd.DataFrame, Side]:
    """Return the frame by seed, with what each counts for in `column`, and what became of the seeds."""
    needed = list({"seed", "state", "gain", column})
    if absent := sorted(set(needed) - set(frame.columns)):
        raise ValueError(f"the seeds of {name} lack the columns {absent}; they have {list(frame.columns)}")
    if len(frame) and not pd.api.types.is_integer_dtype(frame["seed"]):
        raise ValueError(f"the seeds of {name} must be whole numbers, not {frame['seed'].dtype}")
    again = frame["seed"].duplicated()
    contradictory = frame["seed"][again & ~frame.duplicated(needed)] if again.any() else ()
    rows = frame[~again].set_index("seed").sort_index()
    score = scores(rows, column).mask(rows.index.isin(contradictory))
    return rows.assign(**{column: score}), Side(
        seeds=len(rows),
        duplicated=_sorted(frame["seed"][again]),
        diverged=_sorted(rows.index[rows["state"] == "diverged"]),
        unscored=_sorted(rows.index[score.isna()]),
    )


def _has_learned(rows: pd.DataFrame, gain: float) -> NDArray[np.bool_]:
    """Tell which networks reached `gain`, shape (rows,); a dead, constant or diverged one has not learned."""
    return ((rows["gain"] >= gain) & ~rows["state"].isin(("dead", "constant", "diverged"))).to_numpy(bool)


def _learned(rows_a: pd.DataFrame, rows_b: pd.DataFrame, gain: float, level: float) -> Learned:
    a, b = _has_learned(rows_a, gain), _has_learned(rows_b, gain)  # (n,)
    n = len(a)
    both, only_a, only_b, neither = (int(cell.sum()) for cell in (a & b, a & ~b, ~a & b, ~a & ~b))

    def share(learned: int) -> Interval:
        return Interval(learned / n if n else math.nan, *wilson(learned, n, level), n, level)

    return Learned(
        gain=gain,
        a=share(both + only_a),
        b=share(both + only_b),
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        p_value=float(mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue),
    )


def bca_interval(values: ArrayLike, level: float = 0.95, *, resamples: int = 9999, seed: int = 0) -> Interval:
    """Return the mean of `values`, shape (n,), with its BCa bootstrap interval (Efron 1987).

    The bounds are NaN where there is nothing to resample: fewer than two values, all equal, or a NaN among
    them.
    """
    from scipy.stats import (  # a second, which a process that draws does without
        DegenerateDataWarning,
        bootstrap,
    )

    values = np.asarray(values, float)
    found = replace(mean_interval(values, level), lo=math.nan, hi=math.nan)
    if len(values) < 2 or math.isnan(found.estimate) or np.ptp(values) <= SAME:
        return found
    # The first turned positive: mirrored values get exactly mirrored bounds, whatever rounding does.
    sign = np.sign(values[values != 0][0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # the NaN that comes with it says the same
        bounds = bootstrap(
            (sign * values,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, 250_000 // len(values)),  # 2 MB at a time, which stays in the cache
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    lo, hi = sorted(float(sign * bound) for bound in bounds)
    return replace(found, lo=lo, hi=hi)


LOOKS = {50: 0.1, 500: 0.5, 1000: 0.2, 2000: 0.1, 4000: 0.1}
"""The study's looks: after how many seeds, and the share of the family's error that each spends.

A quick look at 50 seeds is a look as well; most is spent at 500, the default.
"""


@dataclass(frozen=True)
class Look:
    """One planned look at a contrast: the first `seeds` seeds, every interval at `level`."""

    seeds: int
    alpha: float  # the part of the family's error that is spent here
    level: float


def plan_looks(
    seeds: Sequence[int],
    *,
    family_size: int,
    alpha: float = FAMILY_ERROR,
    shares: Sequence[float] | None = None,
) -> tuple[Look, ...]:
    """Return the planned looks with their levels.

    Parameters
    ----------
    seeds : sequence of int
        After how many seeds to look, increasing: (500, 1000, 2000, 4000). With one look its level is the
        plain Bonferroni one, 1 − alpha/family_size.
    family_size : int
        How many contrasts share the error.
    alpha : float
        Error of the family over all looks.
    shares : sequence of float, optional
        What part of it each look spends; they add up to 1. By default each look spends half of what is left,
        the last one all of it, so that the first is nearly as sharp as a single one.

    Raises
    ------
    ValueError
        If there is no look, the numbers are not positive and increasing, or the shares do not fit.
    """
    if not seeds or list(seeds) != sorted(set(seeds)) or seeds[0] < 1:
        raise ValueError(f"looks must be positive, increasing numbers of seeds, at least one, not {seeds!r}")
    if shares is None:
        shares = [0.5**k for k in range(1, len(seeds))]
        shares = [*shares, 1 - sum(shares)]
    if len(shares) != len(seeds) or min(shares) <= 0 or not math.isclose(sum(shares), 1):
        raise ValueError(f"shares must be positive, one a look, and add up to 1, not {shares!r}")
    spent = [alpha * share for share in shares]
    return tuple(Look(n, part, 1 - part / family_size) for n, part in zip(seeds, spent, strict=True))


def study_looks(family_size: int) -> tuple[Look, ...]:
    """Return the looks of the study, for one of its families of contrasts."""
    return plan_looks(tuple(LOOKS), family_size=family_size, shares=tuple(LOOKS.values()))


def latest_look(looks: Sequence[Look], n: int) -> Look | None:
    """Return the last look that `n` seeds are enough for; None before the first."""
    reached = [look for look in looks if look.seeds <= n]
    return reached[-1] if reached else None
