"""The store -> what the verdicts rest on: every experiment's coverage, its networks, and its contrasts compared.

A contrast is compared on all seeds that both arms have, in the order 0, 1, 2, ...: its interval holds wherever a sweep
stops. A diverged network counts as a guess, and no network is left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qwerties.analysis.tables import SeedTable, read_seed_table
from qwerties.config import Config
from qwerties.errors import clean, plural
from qwerties.scoring.states import LEARNED_GAIN
from qwerties.stats.compare import Comparison, compare
from qwerties.stats.confidence import confidence_sequence
from qwerties.stats.intervals import Interval, mean_interval, share_interval
from qwerties.stats.scores import scores
from qwerties.stats.verdict import UNDECIDED, words
from qwerties.study.budget import EXPLORATORY_ALPHA, PRIMARY_SLOTS, primary_alpha
from qwerties.study.coverage import Coverage, PlannedConfig, read_coverages
from qwerties.study.experiment import config_names
from qwerties.study.plan import PlannedContrast, readable_contrasts
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store

LEARNED_GAINS = (LEARNED_GAIN, 0.5, 0.9)  # from which a network has learned: the rule, then its sensitivity
NEVER_LEARNED = ("dead", "constant", "diverged")


@dataclass(frozen=True)
class Learned:
    """How many networks of each arm learned, on the seeds that were compared."""

    a: tuple[Interval, ...]  # share at each of `LEARNED_GAINS`, with Wilson's 95% intervals
    b: tuple[Interval, ...]
    only_a: int  # seeds on which one arm alone learned
    only_b: int
    difference: Interval  # in learning (0 or 1): a 95% confidence sequence, not corrected for multiplicity
    both: Interval  # in accuracy where both learned: descriptive, as it conditions on an outcome


@dataclass(frozen=True)
class ContrastResult:
    """One planned contrast, and its result."""

    experiment_name: str
    title: str  # of the experiment
    contrast: PlannedContrast
    name_a: str  # what differs between the arms, in words
    name_b: str
    where: str  # what both arms share that other contrasts of the experiment do not; may be empty
    alpha: float  # probability that the true mean difference is ever outside the interval
    comparison: Comparison | None  # None where an arm has no scores, or scores that cannot be compared
    learned: Learned | None  # likewise
    diverged: int  # networks of both arms, among the seeds that were compared
    withheld: str  # why there is no verdict; empty where there is one
    plan_changes: tuple[str, ...]  # of the experiment's contrasts, after there were data
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
        if (comparison := self.comparison) is None:
            return None
        low, high = comparison.interval
        return Interval(comparison.estimate, low, high, comparison.n, 1 - comparison.alpha)


@dataclass(frozen=True)
class ExperimentResult:
    """One experiment and its results."""

    coverage: Coverage
    networks: Mapping[int, SeedTable]  # that could be read, by their config's index in ``coverage.entries``
    problems: tuple[str, ...]  # what could not be read
    incomplete: tuple[str, ...]  # planned configs that are not complete, and why
    findings: tuple[ContrastResult, ...]  # in the plan's order


def load_results(store: Store, experiment_names: Collection[str] | None = None) -> list[ExperimentResult]:
    """Read every experiment's scores, or those of some, and compare its contrasts."""
    study = [readable_contrasts(tags) for _, tags in store.experiments().values()]
    n_primary = sum(contrast.primary for contrasts in study for contrast in contrasts)
    return [compare_arms(store, coverage, n_primary) for coverage in read_coverages(store, experiment_names)]


def compare_arms(store: Store, coverage: Coverage, n_primary: int = PRIMARY_SLOTS) -> ExperimentResult:
    """Read one experiment's scores and compare its contrasts; the study has ``n_primary`` primary ones."""
    if coverage.plan is None:
        return ExperimentResult(coverage, {}, (), (), ())
    problems: list[str] = []
    tables: dict[int, SeedTable] = {}
    incomplete: list[str] = []
    planned = coverage.plan.seeds.numbers
    for i, entry in enumerate(coverage.entries):
        table, unread = read_seed_table(store, entry)
        problems += unread
        if table is not None:
            tables[i] = table
        if entry.state != "done" or table is None or not np.isin(planned, table.frame["seed"]).all():
            words = "its scores cannot be read" if entry.state == "done" else _state_words(entry, table)
            incomplete.append(f"{clean(entry.name)}: {words}")
    complete = coverage.complete and not incomplete
    findings = compare_contrasts(coverage, tables, n_primary=n_primary, complete=complete)
    return ExperimentResult(coverage, tables, tuple(problems), tuple(incomplete), findings)


def _state_words(entry: PlannedConfig, table: SeedTable | None) -> str:
    tracked = f", {plural(len(table.frame), 'seed')} tracked" if table is not None else ""
    words = {"missing": "not complete" if tracked else "not tracked", "failed": "its run failed"}
    if entry.state == "damaged":  # name what is lost of the first damaged run
        (lost, run_id), *more = [(lost, run_id) for run_id, paths in entry.damage.items() for lost in paths]
        others = f", and {len(more):,} more," if more else ""
        words["damaged"] = f"{clean(lost, 60)} of run {clean(run_id, 40)}{others} is lost or altered"
    return words.get(entry.state, entry.state) + tracked


def compare_contrasts(
    coverage: Coverage,
    tables: Mapping[int, SeedTable],
    *,
    n_primary: int = PRIMARY_SLOTS,
    complete: bool,
) -> tuple[ContrastResult, ...]:
    """Compare the contrasts of an experiment.

    The whole study has ``n_primary`` primary contrasts, which share one error budget. Verdicts are withheld unless the
    design is ``complete``.
    """
    arms = [arm for contrast in coverage.contrasts for arm in (contrast.a, contrast.b)]
    by_config = {table.config: table for table in tables.values()}
    results = []
    for contrast in coverage.contrasts:
        a, b = by_config.get(contrast.a), by_config.get(contrast.b)
        alpha = primary_alpha(n_primary) if contrast.primary else EXPLORATORY_ALPHA
        comparison, learned, diverged, withheld = None, None, 0, "withheld"
        if a is not None and b is not None:
            frames = a.frame.set_index("seed"), b.frame.set_index("seed")
            pair = (scores(frame, "population_accuracy") for frame in frames)
            try:
                comparison = compare(*pair, bounds=(0, 1), margin=contrast.delta, alpha=alpha)
            except ValueError as error:
                withheld = f"withheld: {clean(error)}"
            else:
                learned, diverged = _describe(frames, comparison)
                if complete:
                    missing = len(comparison.missing)
                    withheld = f"withheld: {plural(missing, 'seed')} without a score" if missing else ""
        name_a, name_b = _arm_names(contrast)
        results.append(
            ContrastResult(
                experiment_name=coverage.experiment_name,
                title=coverage.title,
                contrast=contrast,
                name_a=name_a,
                name_b=name_b,
                where=_shared(contrast, arms),
                alpha=alpha,
                comparison=comparison,
                learned=learned,
                diverged=diverged,
                withheld=withheld,
                plan_changes=coverage.plan_changes,
                runs_a=a.runs if a else (),
                runs_b=b.runs if b else (),
            )
        )
    return tuple(results)


def _describe(frames: tuple[pd.DataFrame, pd.DataFrame], comparison: Comparison) -> tuple[Learned, int]:
    """Compare how many networks learned, and count the diverged ones, on the seeds that were compared.

    The frames are ``seeds.csv`` of both arms, indexed by seed.
    """
    frame_a, frame_b = (frame.loc[list(comparison.units)] for frame in frames)

    a, b = _has_learned(frame_a, LEARNED_GAIN), _has_learned(frame_b, LEARNED_GAIN)  # (n,) each
    outcomes = a.astype(float) - b.astype(float)  # (n,)
    (low,), (high,) = confidence_sequence(outcomes, alpha=EXPLORATORY_ALPHA)
    mean = float(outcomes.mean()) if comparison.n else math.nan
    learned = Learned(
        tuple(share_interval(_has_learned(frame_a, gain)) for gain in LEARNED_GAINS),
        tuple(share_interval(_has_learned(frame_b, gain)) for gain in LEARNED_GAINS),
        only_a=int((a & ~b).sum()),
        only_b=int((b & ~a).sum()),
        difference=Interval(mean, float(low), float(high), comparison.n, 1 - EXPLORATORY_ALPHA),
        both=mean_interval(comparison.differences[a & b]),
    )
    return learned, sum(int(frame["state"].eq("diverged").sum()) for frame in (frame_a, frame_b))


def _has_learned(frame: pd.DataFrame, gain: float) -> NDArray[np.bool_]:
    """Tell which networks reached ``gain``, (rows,); a dead, constant or diverged one has not learned."""
    return ((frame["gain"] >= gain) & ~frame["state"].isin(NEVER_LEARNED)).to_numpy(bool)


def _arm_names(contrast: PlannedContrast) -> tuple[str, str]:
    """Name both arms by what differs between them, after what the plan called them: `bce (lr 0.335)`."""
    a, b = (arm.label([contrast.a, contrast.b]) for arm in (contrast.a, contrast.b))
    if contrast.names is None:
        return a, b

    def named(name: str, label: str) -> str:
        parts = [part for part in label.split(" · ") if part and part != name]
        return f"{name} ({' · '.join(parts)})" if parts else name

    name_a, name_b = (clean(name, 40) for name in contrast.names)
    return named(name_a, a), named(name_b, b)


def _shared(contrast: PlannedContrast, arms: Sequence[Config]) -> str:
    """Return what both arms share that other contrasts beside them do not; empty where the plan names the arms."""
    if contrast.names is not None:
        return ""
    names = dict(zip(arms, config_names(arms), strict=True))
    a, b = (names[arm].split(" · ") for arm in (contrast.a, contrast.b))
    return " · ".join(part for part in a if part in b)
