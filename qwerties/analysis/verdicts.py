"""Findings -> ``verdicts.json``, a table for the terminal, and what changed since the verdicts before, and why.

A verdict changes when what it says of the two sides does: better, equivalent, open. That digits moved is no change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwerties.analysis.contrasts import OPEN, Evidence, Finding
from qwerties.errors import clean, plural
from qwerties.stats.formats import number
from qwerties.stats.intervals import plain

FORMAT = 1
"""Of ``verdicts.json``; raised when a field changes its meaning."""

SAYS = ("verdict", "direction")
"""Fields of a contrast that are its verdict."""


class VerdictsError(Exception):
    """A ``verdicts.json`` cannot be read; the message is one line."""


def path_beside(page: Path) -> Path:
    """Return where the verdicts of a page are: ``verdicts.json`` beside ``summary.html``."""
    return page.with_name("verdicts.json" if page.stem == "summary" else f"{page.stem}-verdicts.json")


def make_verdicts(evidence: Sequence[Evidence], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Put all findings into one document.

    Parameters
    ----------
    evidence : sequence of Evidence
        Every experiment of the store.
    before : mapping, optional
        The document before this one, from `read_verdicts`.

    Returns
    -------
    dict
        Fit for JSON: ``format``; ``contrasts``, one object each; ``changes`` since the document before. Where no
        contrast's numbers differ from that one's, its changes stay, so that the same store gives the same bytes.
    """
    contrasts = [_contrast(one, finding) for one in evidence for finding in one.findings]
    document: dict[str, Any] = {"format": FORMAT, "contrasts": contrasts, "changes": []}
    if before is not None:
        same = before["contrasts"] == contrasts
        document["changes"] = before["changes"] if same else changes(before, document)
    return document


def _contrast(evidence: Evidence, finding: Finding) -> dict[str, Any]:
    contrast, found = finding.contrast, finding.comparison
    verdict = finding.verdict
    given: dict[str, Any] = {
        "experiment": finding.stem,
        "a": contrast.a.to_params(),
        "b": contrast.b.to_params(),
        "a_minus_b": finding.sides,
        "where": finding.where,
        "primary": contrast.primary,
        "delta": contrast.delta,
        "verdict": verdict.kind if verdict else "withheld",
        "direction": verdict.direction if verdict else 0,
        "words": finding.words,
        "seeds_needed": verdict.seeds_needed if verdict else None,
        "n": None,
        "look": finding.look.seeds if finding.look else None,
        "pairs_waiting": finding.waiting,
        "holm_p": finding.holm,
        "family_size": finding.family_size,
        "code": evidence.ledger.plan.code if evidence.ledger.plan else None,
        "plan_changes": list(finding.plan_changes),
        "runs_a": [run.run_id for run in finding.runs_a],
        "runs_b": [run.run_id for run in finding.runs_b],
    }
    if found is not None:
        given |= {
            "n": found.n,
            "estimate": found.difference.estimate,
            "interval": [found.difference.lo, found.difference.hi],
            "bca_interval": [found.bootstrap.lo, found.bootstrap.hi],
            "level": found.level,
            "p_value": found.p_value,
            "smallest_delta": found.smallest_delta,
            "learned_a": found.learned[0].a.to_dict(),
            "learned_b": found.learned[0].b.to_dict(),
            "mcnemar_p": found.learned[0].p_value,
            "difference_where_both_learned": found.conditional.to_dict(),
            "superiority": found.superiority,
        }
    return plain(given)


def to_text(document: Mapping[str, Any]) -> str:
    """Write the document as JSON, the same bytes for the same content."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_verdicts(path: Path) -> dict[str, Any] | None:
    """Read the verdicts of an earlier report; None where there are none, or those of another format.

    Raises
    ------
    VerdictsError
        If the file is there and is no such document.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            return None
        for contrast in document["contrasts"]:
            key(contrast)
            tuple(contrast[name] for name in (*SAYS, "words", "n", "code", "delta"))
        for change in document["changes"]:
            tuple(change[name] for name in ("experiment", "contrast", "before", "now", "why", "flipped"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise VerdictsError(f"{path} must hold the verdicts of a report, got {reason}") from None
    return document


def key(contrast: Mapping[str, Any]) -> str:
    """Return what makes a contrast the same one in two reports: its experiment and its sides."""
    return json.dumps([contrast[name] for name in ("experiment", "a", "b")], sort_keys=True)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tell which verdicts are others than before, and why.

    Returns
    -------
    list of dict
        ``experiment``, ``contrast``, ``before`` and ``now`` (in words), ``why`` (list of str), and ``flipped``:
        whether a verdict that had been told no longer holds. To settle what was open, or to say more of the same, is
        no flip.
    """
    earlier = {key(contrast): contrast for contrast in before["contrasts"]}
    found = []
    for contrast in now["contrasts"]:
        old = earlier.pop(key(contrast), None)
        if old is None:
            if contrast["verdict"] != "withheld":
                found.append(_change(contrast, "not asked", contrast["words"], ["new contrast"]))
        elif any(old[name] != contrast[name] for name in SAYS):
            found.append(
                _change(
                    contrast, old["words"], contrast["words"], _why(old, contrast), _flipped(old, contrast)
                )
            )
    for old in earlier.values():
        told = old["verdict"] not in (*OPEN, "withheld")
        found.append(_change(old, old["words"], "no longer asked", ["contrast removed"], told))
    return found


def _change(
    contrast: Mapping[str, Any], before: str, now: str, why: Sequence[str], flipped: bool = False
) -> dict[str, Any]:
    sides = contrast.get("a_minus_b", "")
    where = f" at {contrast['where']}" if contrast.get("where") else ""
    return {
        "experiment": contrast["experiment"],
        "contrast": f"{sides}{where}",
        "before": before,
        "now": now,
        "why": list(why),
        "flipped": flipped,
    }


def _why(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    why = []
    if new["verdict"] == "withheld":
        why.append("the design is no longer complete")
    elif old["verdict"] == "withheld":
        why.append("the design is now complete")
    if old["n"] != new["n"] and old["n"] and new["n"]:
        why.append(
            f"{'more' if new['n'] > old['n'] else 'fewer'} seeds: {new['n']:,} pairs, {old['n']:,} before"
        )
    if old["code"] != new["code"]:
        why.append("other code")
    if old["delta"] != new["delta"]:
        why.append(f"other margin: {new['delta']:g}, {old['delta']:g} before")
    if old.get("family_size") != new.get("family_size"):
        why.append("a family of another size")
    runs = ("runs_a", "runs_b")
    if not why and any(old.get(name) != new.get(name) for name in runs):
        why.append("other runs of the same seeds")
    return why or ["other scores in the same runs, or another rule"]


def _flipped(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether what was said is taken back: not where it was open, nor where as much and more is said now."""
    if old["verdict"] in (*OPEN, "withheld"):
        return False
    ahead = ("better", "better_unsettled")
    sharper = old["verdict"] == "better_unsettled" and new["verdict"] in ahead
    small = old["verdict"] == new["verdict"] == "equivalent"  # "detectable" or not, within delta both times
    return not (small or (sharper and old["direction"] == new["direction"]))


# For the terminal


def table(document: Mapping[str, Any]) -> str:
    """Lay the verdicts out in plain text, primary ones first; nothing where there are none."""
    contrasts = document["contrasts"]
    if not contrasts:
        return ""
    lines = []
    for primary in (True, False):
        chosen = [contrast for contrast in contrasts if contrast["primary"] is primary]
        if not chosen:
            continue
        rows = [_cells(contrast) for contrast in chosen]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines.append("primary contrasts" if primary else "exploratory contrasts")
        lines += [
            "  "
            + "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip()
            for row in rows
        ]
    opened = [c for c in contrasts if c["seeds_needed"] and c["verdict"] != "incomplete"]
    if opened:
        lines.append(
            f"{plural(len(opened), 'contrast')} not settled: make sweep SETTLE=1 trains the seeds that may settle them"
        )
    return "\n".join(lines)


def _cells(contrast: Mapping[str, Any]) -> tuple[str, ...]:
    where = f" ({contrast['where']})" if contrast["where"] else ""
    estimate = ""
    if contrast.get("estimate") is not None:
        lo, hi = contrast["interval"]
        estimate = number(contrast["estimate"], 4, sign=True)
        if lo is not None:
            estimate += f" [{number(lo, 4, sign=True)}, {number(hi, 4, sign=True)}]"
    late = "; the plan was changed after data were seen" if contrast["plan_changes"] else ""
    return (
        clean(contrast["experiment"], 40),
        clean(f"{contrast['a_minus_b']}{where}", 80),
        "" if contrast["n"] is None else f"n={contrast['n']:,}",
        estimate,
        clean(contrast["words"] + late),
    )


def changes_text(found: Sequence[Mapping[str, Any]]) -> str:
    """Lay changes out in plain text; says so where there are none."""
    if not found:
        return "no verdict changed since the last report"
    lines = [f"{plural(len(found), 'verdict')} changed since the last report"]
    for change in found:
        mark = "FLIPPED  " if change["flipped"] else ""
        lines.append(f"  {mark}{clean(change['experiment'], 40)}: {clean(change['contrast'], 80)}")
        lines.append(f"    was: {clean(change['before'])}")
        lines.append(f"    now: {clean(change['now'])}")
        lines.append(f"    why: {clean('; '.join(change['why']))}")
    return "\n".join(lines)
