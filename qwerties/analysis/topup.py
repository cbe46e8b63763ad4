"""Which seeds would settle what is open: the next step of ``qwerties sweep --settle``.

A contrast that is open is looked at again at a planned number of seeds (`sequential`), the first one that its
interval lets hope to be enough; only its two configs get more seeds. As the looks were planned, and each has its part
of the error, to go on until nothing is open misleads no more often than to look once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qwerties.analysis.contrasts import Finding, gather
from qwerties.config import Config
from qwerties.stats.legacy import LOOKS
from qwerties.tracking.store import Store


@dataclass(frozen=True)
class Step:
    """What to train next: configs that need at least so many seeds, by experiment; and what to say of it."""

    more: dict[str, dict[Config, int]]
    lines: tuple[str, ...]


def next_step(store: Store, stems: Iterable[str], most: int | None = None) -> Step:
    """Tell which configs need how many seeds.

    Parameters
    ----------
    store : Store
    stems : iterable of str
        Experiments to settle.
    most : int, optional
        No more seeds per config than this; by default those of the last planned look.
    """
    most = max(LOOKS) if most is None else most
    more: dict[str, dict[Config, int]] = {}
    lines = []
    for evidence in gather(store, list(stems)):
        for finding in evidence.findings:
            if finding.verdict is None or not _is_open(finding):
                continue
            look = finding.next_look
            name = f"{finding.stem}: {finding.sides}"
            if look is None or look.seeds > most:
                reach = (
                    f"more than {most:,} seeds"
                    if most < max(LOOKS)
                    else "more seeds than the planned looks have"
                )
                lines.append(f"{name} stays open: it would take {reach}")
                continue
            lines.append(f"{name} is open after {finding.verdict.n:,} seeds: training up to {look.seeds:,}")
            wanted = more.setdefault(finding.stem, {})
            for side in (finding.contrast.a, finding.contrast.b):
                wanted[side] = max(look.seeds, wanted.get(side, 0))
    return Step(more, tuple(lines))


def _is_open(finding: Finding) -> bool:
    return finding.verdict is not None and finding.verdict.kind in (
        "inconclusive",
        "too_few",
        "better_unsettled",
    )
