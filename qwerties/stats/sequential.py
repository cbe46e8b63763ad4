"""Looking again after a top-up, with the error of the whole family of contrasts kept.

Who looks after 500 seeds, adds more because nothing is settled, and looks again at the same level, errs more
often than that level says. So the looks are planned: numbers of seeds, fixed before the first run. Each
spends a part of the family's error (alpha spending: Lan & DeMets 1983, Biometrika 70), and its intervals have
the level that goes with that part (repeated confidence intervals: Jennison & Turnbull 1989, JRSS B 51).

The parts are added up by Bonferroni, over looks as over contrasts. That costs some width, as a later look
contains the seeds of the earlier ones, and assumes nothing: **all intervals of all contrasts at all planned
looks hold together with probability at least 1 − alpha**, however dependent they are, and for whatever reason a
look is taken or skipped. A verdict follows from its interval, so the verdicts err no more often.

This is true of the planned numbers only. Between two looks, the seeds beyond the earlier one wait for the
later.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qwerties.stats.compare import FAMILY_ERROR

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
