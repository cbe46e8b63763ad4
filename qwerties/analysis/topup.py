"""Which configs need more seeds: the next step of a sweep that goes on until its contrasts are decided.

A contrast is weighed after its base seeds, then at every multiple of `BLOCK` up to the cap, until its verdict is
decided. A confidence sequence holds at all these counts at once, so this has no price in errors. The first of these
counts at which a contrast is decided depends on the plan and the data alone: a sweep that was stopped on the way, or
two sweeps on one server, end with the same seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from qwerties.analysis.contrasts import ContrastResult, load_results
from qwerties.config import Config
from qwerties.errors import plural
from qwerties.stats.confidence import confidence_sequence
from qwerties.stats.verdict import UNDECIDED, decide
from qwerties.tracking.store import Store

BLOCK = 500  # seeds between two stages


@dataclass(frozen=True)
class Step:
    """What to train next.

    ``more`` tells by experiment how many seeds each config needs, at most ``seeds``. Undecided contrasts get more seeds
    (``open``) or have as many as they may (``capped``); ``decided`` counts the others.
    """

    more: dict[str, dict[Config, int]]
    open: tuple[ContrastResult, ...]
    capped: tuple[ContrastResult, ...]
    decided: int
    seeds: int

    @property
    def words(self) -> str:
        """How many contrasts are open, and up to how many seeds they are trained."""
        return f"open contrasts: {len(self.open)}, {plural(self.seeds, 'seed')}"


def next_step(store: Store, experiment_names: Iterable[str], settle: str, max_seeds: int) -> Step:
    """Tell which configs of some experiments need how many seeds, at most ``max_seeds``.

    With ``settle="primary"`` primary contrasts alone get more, else all of them.
    """
    more: dict[str, dict[Config, int]] = {}
    undecided: list[ContrastResult] = []
    capped: list[ContrastResult] = []
    decided = 0
    for experiment in load_results(store, list(experiment_names), only_primary=settle == "primary"):
        trained = {table.config: table.frame["seed"] for table in experiment.networks.values()}
        for finding in experiment.findings:
            if finding.verdict is None:
                continue
            arms = (finding.contrast.a, finding.contrast.b)
            paired = set(trained[arms[0]]) & set(trained[arms[1]])
            target = next_stage(finding, paired, max_seeds)
            if target is None:
                decided += finding.decided
                capped += [] if finding.decided else [finding]
                continue
            undecided.append(finding)
            needs = more.setdefault(finding.experiment_name, {})
            for arm in arms:
                needs[arm] = max(target, needs.get(arm, 0))
    largest = max((n for needs in more.values() for n in needs.values()), default=0)
    return Step(more, tuple(undecided), tuple(capped), decided, largest)


def next_stage(finding: ContrastResult, paired: Collection[int], max_seeds: int) -> int | None:
    """Return the seeds at which a contrast is to be weighed next; None where it is decided or at the cap."""
    comparison = finding.comparison
    if comparison is None or finding.verdict == "identical":
        return None
    base = finding.base_seeds
    stages = [
        base,
        *range(base // BLOCK * BLOCK + BLOCK, max_seeds, BLOCK),
        *[max_seeds] * (max_seeds > base),
    ]
    paired = np.sort(np.fromiter(paired, int))  # (n,)
    reached = sum(int((paired < stage).sum()) == stage for stage in stages)
    if reached == len(stages):
        return None
    if finding.decided and reached:  # perhaps on more seeds than this stage has
        seen = comparison.differences[: stages[reached - 1]]
        (low,), (high,) = confidence_sequence(seen, alpha=finding.alpha, bounds=comparison.bounds)
        if decide(low, high, comparison.margin) not in UNDECIDED:
            return None
    return stages[reached]
