"""The store -> what the verdicts rest on: every experiment's ledger, its networks, and its contrasts compared.

A contrast is compared at the last planned look that its pairs of seeds are enough for (`sequential`): the seeds
beyond it wait for the next one, however many there are by accident, so that looking again is no second chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qwerties.config import Config
from qwerties.errors import clean, plural
from qwerties.scoring import theory
from qwerties.stats.legacy import Comparison, Look, Verdict, compare, holm, latest_look, study_looks
from qwerties.study.coverage import (
    Entry,
    Ledger,
    Networks,
    PlannedContrast,
    config_names,
    read_all_networks,
    read_ledgers,
)
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store

PRIMARY = 6
"""Primary contrasts that the study planned, whatever of them is tracked yet; a store may hold more."""

OPEN = ("inconclusive", "too_few", "incomplete")
"""Verdicts that do not say how the sides stand."""


@dataclass(frozen=True)
class Finding:
    """One planned contrast, and what the store says of it.

    Attributes
    ----------
    stem, title : str
        Of its experiment.
    contrast : PlannedContrast
    name_a, name_b : str
        What differs between the sides, in words.
    where : str
        What both sides share that other contrasts of the experiment do not; may be empty.
    family_size : int
        How many contrasts share the error.
    comparison : Comparison or None
        At `look`; None where a side has no scores.
    look : Look or None
        None with too few pairs for the first one.
    waiting : int
        Pairs beyond the look.
    holm : float
        Adjusted p-value within the experiment's exploratory family; NaN for a primary contrast.
    withheld : bool
        Whether the design is incomplete, so that nothing is said.
    plan_changes : tuple of str
        What was changed in the experiment's contrasts after there were data.
    runs_a, runs_b : tuple of Tracked
        Those that the scores come from.
    """

    stem: str
    title: str
    contrast: PlannedContrast
    name_a: str
    name_b: str
    where: str
    family_size: int
    comparison: Comparison | None
    look: Look | None
    waiting: int
    holm: float
    withheld: bool
    plan_changes: tuple[str, ...]
    runs_a: tuple[Tracked, ...]
    runs_b: tuple[Tracked, ...]

    @property
    def verdict(self) -> Verdict | None:
        """The verdict; None where nothing is said."""
        return None if self.withheld or self.comparison is None else self.comparison.verdict

    @property
    def words(self) -> str:
        """The verdict in words."""
        return "withheld" if self.verdict is None else self.verdict.words(self.name_a, self.name_b)

    @property
    def told(self) -> bool:
        """Whether the verdict says which side is better, or that neither is."""
        return self.verdict is not None and self.verdict.kind not in OPEN

    @property
    def sides(self) -> str:
        """What is compared, as a difference."""
        return " − ".join(name.replace(" · ", ", ") for name in (self.name_a, self.name_b))

    @property
    def next_look(self) -> Look | None:
        """The next planned look that would be likely to settle it; None where none would, or nothing is open."""
        if self.verdict is None or self.verdict.seeds_needed is None:
            return None
        later = [
            look
            for look in study_looks(self.family_size)
            if self.look is None or look.seeds > self.look.seeds
        ]
        return next((look for look in later if look.seeds >= self.verdict.seeds_needed), None)


@dataclass(frozen=True)
class Evidence:
    """One experiment: its plan, the networks that could be read, and its findings.

    Attributes
    ----------
    ledger : Ledger
    networks : mapping of int to Networks
        By the place of their entry in the ledger.
    problems : tuple of str
        What could not be read.
    incomplete : tuple of str
        Planned configs that are not complete, and how they stand.
    findings : tuple of Finding
        In the plan's order.
    """

    ledger: Ledger
    networks: Mapping[int, Networks]
    problems: tuple[str, ...]
    incomplete: tuple[str, ...]
    findings: tuple[Finding, ...]


def gather(
    store: Store, stems: Sequence[str] | None = None, progress: Callable[[str], None] = lambda stem: None
) -> list[Evidence]:
    """Read every experiment's scores, or those of some, and compare what was to be compared.

    ``progress`` is called with each experiment's stem before it is read.
    """
    ledgers = read_ledgers(store)
    primary = max(PRIMARY, sum(contrast.primary for ledger in ledgers for contrast in ledger.contrasts))
    found = []
    for ledger in ledgers:
        if stems is None or ledger.stem in stems:
            progress(ledger.stem)
            found.append(weigh(store, ledger, primary))
    return found


def weigh(store: Store, ledger: Ledger, primary: int = PRIMARY) -> Evidence:
    """Read one experiment's scores and compare what was to be compared; ``primary`` contrasts share one error."""
    if ledger.plan is None:
        return Evidence(ledger, {}, (), (), ())
    problems: list[str] = []
    networks: dict[int, Networks] = {}
    incomplete: list[str] = []
    wanted = set(ledger.plan.seeds.numbers.tolist())
    for i, (entry, (found, unread)) in enumerate(
        zip(ledger.entries, read_all_networks(store, ledger.entries), strict=True)
    ):
        problems += unread
        if found is not None:
            networks[i] = found
        if found is None or not wanted <= set(found.frame["seed"]):
            state = "its scores cannot be read" if entry.state == "done" else _state_words(entry, found)
            incomplete.append(f"{clean(entry.name)}: {state}")
    complete = ledger.complete and not incomplete
    return Evidence(
        ledger,
        networks,
        tuple(problems),
        tuple(incomplete),
        find(ledger, networks, primary=primary, complete=complete),
    )


def _state_words(entry: Entry, found: Networks | None) -> str:
    some = f", {plural(len(found.frame), 'seed')} tracked" if found is not None else ""
    return {"missing": "not complete" if some else "not tracked", "failed": "its run failed"}.get(
        entry.state, entry.state
    ) + some


def find(
    ledger: Ledger, networks: Mapping[int, Networks], *, primary: int = PRIMARY, complete: bool
) -> tuple[Finding, ...]:
    """Compare an experiment's contrasts, exploratory ones as one family.

    Parameters
    ----------
    ledger : Ledger
    networks : mapping of int to Networks
        Of the entries that could be read, by their place in the ledger.
    primary : int
        Primary contrasts of the whole study.
    complete : bool
        Whether the whole design is there: verdicts are withheld until it is.
    """
    sizes = {True: primary, False: sum(not contrast.primary for contrast in ledger.contrasts)}
    among = [side for contrast in ledger.contrasts for side in (contrast.a, contrast.b)]
    compared = [
        _compare(ledger, contrast, networks, sizes[contrast.primary]) for contrast in ledger.contrasts
    ]
    adjusted = holm(
        [
            found.p_value if found is not None and not contrast.primary else np.nan
            for contrast, (found, _, _, _) in zip(ledger.contrasts, compared, strict=True)
        ]
    )
    return tuple(
        Finding(
            stem=ledger.stem,
            title=ledger.title,
            contrast=contrast,
            name_a=_sides(contrast)[0],
            name_b=_sides(contrast)[1],
            where=_shared(contrast, among),
            family_size=sizes[contrast.primary],
            comparison=found,
            look=look,
            waiting=waiting,
            holm=float(p),
            withheld=not complete,
            plan_changes=ledger.plan_changes,
            runs_a=sides[0].runs if sides[0] else (),
            runs_b=sides[1].runs if sides[1] else (),
        )
        for contrast, (found, look, waiting, sides), p in zip(
            ledger.contrasts, compared, adjusted, strict=True
        )
    )


def _compare(
    ledger: Ledger, contrast: PlannedContrast, networks: Mapping[int, Networks], family_size: int
) -> tuple[Comparison | None, Look | None, int, tuple[Networks | None, Networks | None]]:
    entries = (ledger.find(contrast.a), ledger.find(contrast.b))
    a, b = (networks.get(ledger.entries.index(entry)) if entry is not None else None for entry in entries)
    if a is None or b is None:
        return None, None, 0, (a, b)
    looks = study_looks(family_size)
    pairs = np.intersect1d(a.frame["seed"], b.frame["seed"])  # sorted
    look = latest_look(looks, len(pairs))
    seen = pairs if look is None else pairs[: look.seeds]
    last = seen[-1] if len(seen) else -1
    best = max(float(theory.bayes_accuracy(side.distance)) for side in (contrast.a, contrast.b))
    name_a, name_b = _sides(contrast)
    found = compare(
        a.frame[a.frame["seed"] <= last],
        b.frame[b.frame["seed"] <= last],
        delta=contrast.delta,
        level=(look or looks[0]).level,
        family_size=family_size,
        headroom=max(best - 0.5, 1e-9),
        name_a=name_a,
        name_b=name_b,
        fewest=(look or looks[0]).seeds,
    )
    return found, look, len(pairs) - len(seen), (a, b)


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
