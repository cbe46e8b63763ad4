"""The store -> what the verdicts rest on: every experiment's coverage, its networks, and its contrasts compared.

A contrast is compared on all seeds that both arms have, in the order 0, 1, 2, ...: its interval holds wherever a sweep
stops. A diverged network counts as a guess, and no network is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qwerties.config import Config
from qwerties.errors import clean, plural
from qwerties.stats.compare import Comparison, compare
from qwerties.stats.confidence import confidence_sequence
from qwerties.stats.intervals import Interval, mean_interval, wilson
from qwerties.stats.scores import scores
from qwerties.stats.verdict import UNDECIDED, words
from qwerties.study.budget import EXPLORATORY_ALPHA, PRIMARY_SLOTS, primary_alpha
from qwerties.study.coverage import (
    Coverage,
    PlannedConfig,
    PlannedContrast,
    SeedTable,
    config_names,
    read_coverages,
    read_seed_tables,
)
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store

OPEN = ("open",)
"""Verdicts that do not say how the arms stand."""

LEARNED_GAINS = (0.8, 0.5, 0.9)
"""Gains from which a network has learned: the rule first, then its sensitivity."""

NEVER_LEARNED = ("dead", "constant", "diverged")


@dataclass(frozen=True)
class Learned:
    """How many networks of each arm learned, on the seeds that were compared.

    Attributes
    ----------
    a, b : tuple of Interval
        Share of each arm at each of `LEARNED_GAINS`, with Wilson's 95% intervals.
    only_a, only_b : int
        Seeds on which one arm alone learned.
    difference : Interval
        Mean difference of the 0/1 outcomes, with its 95% confidence sequence, which is not corrected for
        multiplicity.
    both : Interval
        Mean difference in accuracy where both arms learned, with a t interval. It conditions on an outcome and is
        descriptive.
    """

    a: tuple[Interval, ...]
    b: tuple[Interval, ...]
    only_a: int
    only_b: int
    difference: Interval
    both: Interval


@dataclass(frozen=True)
class ContrastResult:
    """One planned contrast, and its result.

    Attributes
    ----------
    name_a, name_b : str
        What differs between the arms, in words.
    where : str
        What both arms share that other contrasts of the experiment do not; may be empty.
    alpha : float
        Probability that the true mean difference is ever outside the interval.
    base_seeds : int
        Seeds per config in the experiment's plan.
    comparison, learned : Comparison, Learned or None
        None where an arm has no scores, or scores that cannot be compared.
    diverged : int
        Diverged networks of both arms among the seeds that were compared.
    withheld : str
        Why there is no verdict; empty where there is one.
    plan_changes : tuple of str
        What was changed in the experiment's contrasts after there were data.
    """

    experiment_name: str
    title: str
    contrast: PlannedContrast
    name_a: str
    name_b: str
    where: str
    alpha: float
    base_seeds: int
    comparison: Comparison | None
    learned: Learned | None
    diverged: int
    withheld: str
    plan_changes: tuple[str, ...]
    runs_a: tuple[Tracked, ...]
    runs_b: tuple[Tracked, ...]

    @property
    def verdict(self) -> str | None:
        """The verdict's code, from `stats.verdict`; None where it is withheld."""
        return None if self.withheld or self.comparison is None else self.comparison.verdict

    @property
    def words(self) -> str:
        """The verdict in words."""
        if self.verdict is None or self.comparison is None:
            return self.withheld
        if self.verdict == "identical":
            return f"{words('identical', self.name_a, self.name_b, self.contrast.delta)} of {self.comparison.n:,} seeds"
        return self.comparison.words(self.name_a, self.name_b, unit="seed")

    @property
    def told(self) -> bool:
        """Whether the verdict says which arm is better, or that neither is."""
        return self.verdict is not None and self.verdict not in OPEN

    @property
    def decided(self) -> bool:
        """Whether more seeds cannot change the verdict."""
        return self.verdict is not None and self.verdict not in UNDECIDED

    @property
    def sides(self) -> str:
        """What is compared, as a difference."""
        return " − ".join(name.replace(" · ", ", ") for name in (self.name_a, self.name_b))

    @property
    def difference(self) -> Interval | None:
        """The mean difference with its interval; None where nothing was compared."""
        if (found := self.comparison) is None:
            return None
        return Interval(found.estimate, found.low, found.high, found.n, 1 - found.alpha)


@dataclass(frozen=True)
class ExperimentResult:
    """One experiment: its plan, the networks that could be read, and its findings.

    ``networks`` are by the index of their config in the coverage; ``problems`` say what could not be read,
    ``incomplete`` which planned configs are not complete. ``findings`` are in the plan's order.
    """

    coverage: Coverage
    networks: Mapping[int, SeedTable]
    problems: tuple[str, ...]
    incomplete: tuple[str, ...]
    findings: tuple[ContrastResult, ...]


def load_results(
    store: Store, experiment_names: Sequence[str] | None = None, *, only_primary: bool = False
) -> list[ExperimentResult]:
    """Read every experiment's scores, or those of some, and compare its contrasts, or only the primary ones."""
    coverages = read_coverages(store)
    primary = sum(contrast.primary for coverage in coverages for contrast in coverage.contrasts)
    return [
        compare_arms(store, coverage, primary, only_primary=only_primary)
        for coverage in coverages
        if experiment_names is None or coverage.experiment_name in experiment_names
    ]


def compare_arms(
    store: Store, coverage: Coverage, primary: int = PRIMARY_SLOTS, *, only_primary: bool = False
) -> ExperimentResult:
    """Read one experiment's scores and compare its contrasts; the study has ``primary`` primary ones."""
    if coverage.plan is None:
        return ExperimentResult(coverage, {}, (), (), ())
    problems: list[str] = []
    networks: dict[int, SeedTable] = {}
    incomplete: list[str] = []
    planned = set(coverage.plan.seeds.numbers.tolist())
    for i, (entry, (table, unread)) in enumerate(
        zip(coverage.entries, read_seed_tables(store, coverage.entries), strict=True)
    ):
        problems += unread
        if table is not None:
            networks[i] = table
        if table is None or not planned <= set(table.frame["seed"]):
            state = "its scores cannot be read" if entry.state == "done" else _state_words(entry, table)
            incomplete.append(f"{clean(entry.name)}: {state}")
    complete = coverage.complete and not incomplete
    findings = find(coverage, networks, primary=primary, complete=complete, only_primary=only_primary)
    return ExperimentResult(coverage, networks, tuple(problems), tuple(incomplete), findings)


def _state_words(entry: PlannedConfig, table: SeedTable | None) -> str:
    some = f", {plural(len(table.frame), 'seed')} tracked" if table is not None else ""
    return {"missing": "not complete" if some else "not tracked", "failed": "its run failed"}.get(
        entry.state, entry.state
    ) + some


def find(
    coverage: Coverage,
    networks: Mapping[int, SeedTable],
    *,
    primary: int = PRIMARY_SLOTS,
    complete: bool,
    only_primary: bool = False,
) -> tuple[ContrastResult, ...]:
    """Compare the contrasts of an experiment.

    The whole study has ``primary`` primary contrasts, which share one error budget. Verdicts are withheld unless the
    design is ``complete``.
    """
    among = [side for contrast in coverage.contrasts for side in (contrast.a, contrast.b)]
    return tuple(
        _compare(coverage, contrast, networks, primary_alpha(primary), complete, _shared(contrast, among))
        for contrast in coverage.contrasts
        if contrast.primary or not only_primary
    )


def _compare(
    coverage: Coverage,
    contrast: PlannedContrast,
    networks: Mapping[int, SeedTable],
    alpha: float,
    complete: bool,
    where: str,
) -> ContrastResult:
    entries = (coverage.find(contrast.a), coverage.find(contrast.b))
    a, b = (networks.get(coverage.entries.index(entry)) if entry is not None else None for entry in entries)
    alpha = alpha if contrast.primary else EXPLORATORY_ALPHA
    withheld = "" if complete and a is not None and b is not None else "withheld"
    comparison = learned = None
    diverged = 0
    if a is not None and b is not None:
        frame_a, frame_b = (arm.frame.set_index("seed") for arm in (a, b))
        try:
            comparison = compare(
                *(scores(frame, "population_accuracy") for frame in (frame_a, frame_b)),
                bounds=(0, 1),
                margin=contrast.delta,
                alpha=alpha,
            )
        except ValueError as error:
            withheld = f"withheld: {clean(error)}"
        else:
            if comparison.missing:
                withheld = withheld or f"withheld: {plural(len(comparison.missing), 'seed')} without a score"
            pairs = frame_a.index.intersection(frame_b.index).difference(pd.Index(comparison.missing))
            frame_a, frame_b = frame_a.loc[pairs.sort_values()], frame_b.loc[pairs.sort_values()]
            learned = _learned(frame_a, frame_b, comparison.differences)
            diverged = int(sum(frame["state"].eq("diverged").sum() for frame in (frame_a, frame_b)))
    name_a, name_b = _sides(contrast)
    return ContrastResult(
        experiment_name=coverage.experiment_name,
        title=coverage.title,
        contrast=contrast,
        name_a=name_a,
        name_b=name_b,
        where=where,
        alpha=alpha,
        base_seeds=len(coverage.plan.seeds) if coverage.plan else 0,
        comparison=comparison,
        learned=learned,
        diverged=diverged,
        withheld=withheld,
        plan_changes=coverage.plan_changes,
        runs_a=a.runs if a else (),
        runs_b=b.runs if b else (),
    )


def _learned(frame_a: pd.DataFrame, frame_b: pd.DataFrame, differences: NDArray[np.float64]) -> Learned:
    """Compare how many networks learned; the frames have the same seeds, in order, as the (n,) differences."""
    n = len(differences)

    def shares(frame: pd.DataFrame) -> tuple[Interval, ...]:
        counts = [int(_has_learned(frame, gain).sum()) for gain in LEARNED_GAINS]
        return tuple(Interval(k / n if n else math.nan, *wilson(k, n), n, 0.95) for k in counts)

    a, b = (_has_learned(frame, LEARNED_GAINS[0]) for frame in (frame_a, frame_b))  # (n,) each
    outcomes = a.astype(float) - b.astype(float)  # (n,)
    (low,), (high,) = confidence_sequence(outcomes, alpha=EXPLORATORY_ALPHA)
    return Learned(
        shares(frame_a),
        shares(frame_b),
        only_a=int((a & ~b).sum()),
        only_b=int((b & ~a).sum()),
        difference=Interval(
            float(outcomes.mean()) if n else math.nan, float(low), float(high), n, 1 - EXPLORATORY_ALPHA
        ),
        both=mean_interval(differences[a & b]),
    )


def _has_learned(frame: pd.DataFrame, gain: float) -> NDArray[np.bool_]:
    """Tell which networks reached ``gain``, (rows,); a dead, constant or diverged one has not learned."""
    return ((frame["gain"] >= gain) & ~frame["state"].isin(NEVER_LEARNED)).to_numpy(bool)


def _sides(contrast: PlannedContrast) -> tuple[str, str]:
    """Names of both sides, by what differs between them, after what the plan called them."""
    a, b = (side.label([contrast.a, contrast.b]) for side in (contrast.a, contrast.b))
    if contrast.names is None:
        return a, b
    one, other = (clean(name, 40) for name in contrast.names)
    return (
        a if one in a.split(" · ") else f"{one}: {a}",
        b if other in b.split(" · ") else f"{other}: {b}",
    )


def _shared(contrast: PlannedContrast, among: Sequence[Config]) -> str:
    """What both sides share that other contrasts beside them do not."""
    names = dict(zip(among, config_names(among), strict=True))
    a, b = (names[side].split(" · ") for side in (contrast.a, contrast.b))
    return " · ".join(part for part in a if part in b)
