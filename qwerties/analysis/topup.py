"""Which configs need more seeds: the next step of a sweep that goes on until its contrasts are decided.

A contrast is evaluated after its base seeds, then at every multiple of `BLOCK` up to the cap, until its verdict is
decided. A confidence sequence holds at all these counts at once, so this has no price in errors. The first of these
counts at which a contrast is decided depends on the plan and the data alone: a sweep that was stopped on the way, or
two sweeps on one server, end with the same seeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qwerties.analysis.contrasts import ContrastResult, ExperimentResult
from qwerties.config import Config
from qwerties.errors import plural
from qwerties.stats.confidence import confidence_sequence
from qwerties.stats.verdict import UNDECIDED, decide
from qwerties.study.experiment import Contrast
from qwerties.study.plan import PlannedContrast

BLOCK = 500  # seeds between two stages


def gets_more(contrast: Contrast | PlannedContrast, settle: str) -> bool:
    """Return whether a contrast gets seeds until it is decided; ``settle`` is "primary", "all" or "none"."""
    return settle == "all" or (settle == "primary" and contrast.primary)


@dataclass(frozen=True)
class Step:
    """What to train next."""

    more: dict[str, dict[Config, int]]  # by experiment, how many seeds each config needs
    open: tuple[ContrastResult, ...]  # undecided contrasts that get more seeds
    capped: tuple[ContrastResult, ...]  # undecided contrasts that have as many as they may
    decided: int  # number of the other contrasts

    @property
    def words(self) -> str:
        """How many contrasts are open, and up to how many seeds they are trained."""
        most = max(seeds for needs in self.more.values() for seeds in needs.values())
        return f"open contrasts: {len(self.open)}, {plural(most, 'seed')}"


def next_step(results: Iterable[ExperimentResult], settle: str, max_seeds: int) -> Step:
    """Return which configs need how many seeds, at most ``max_seeds``, given the results so far."""
    more: dict[str, dict[Config, int]] = {}
    undecided: list[ContrastResult] = []
    capped: list[ContrastResult] = []
    decided = 0
    for result in results:
        for finding in result.findings:
            plan = result.coverage.plan
            if plan is None or finding.verdict is None or not gets_more(finding.contrast, settle):
                continue
            target = next_stage(finding, len(plan.seeds), max_seeds)
            if target is None:
                decided += finding.decided
                capped += [] if finding.decided else [finding]
                continue
            undecided.append(finding)
            needs = more.setdefault(finding.experiment_name, {})
            for arm in (finding.contrast.a, finding.contrast.b):
                needs[arm] = max(target, needs.get(arm, 0))
    return Step(more, tuple(undecided), tuple(capped), decided)


def next_stage(finding: ContrastResult, base: int, max_seeds: int) -> int | None:
    """Return the seeds at which a contrast is evaluated next; None where it is decided or at the cap.

    ``base`` is the number of planned seeds.
    """
    comparison = finding.comparison
    if comparison is None or finding.verdict == "identical":
        return None
    stages = [base, *range(base // BLOCK * BLOCK + BLOCK, max_seeds, BLOCK)]
    stages += [max_seeds] if max_seeds > base else []
    counts = np.searchsorted(comparison.units, stages)  # pairs below each stage
    reached = int((counts == stages).sum())
    if reached == len(stages):
        return None
    if finding.decided and reached:  # perhaps on more seeds than this stage has
        differences = comparison.differences[: stages[reached - 1]]
        (low,), (high,) = confidence_sequence(differences, alpha=finding.alpha, bounds=comparison.bounds)
        if decide(low, high, comparison.margin) not in UNDECIDED:
            return None
    return stages[reached]
