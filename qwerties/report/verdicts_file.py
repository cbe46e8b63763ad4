"""``verdicts.json`` beside a page: written, read, and compared with what the store says now.

A verdict changes when what it says of the two arms does: better, equivalent, open. That digits moved is no change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.analysis.verdicts import FORMAT, make_verdicts
from qwerties.errors import UsageError, clean, command, plural
from qwerties.stats.formats import number
from qwerties.stats.verdict import UNDECIDED

MAX_SENTENCE = 600  # characters of a verdict in words
SILENT = ("open", "withheld")  # verdicts that say nothing of the arms, so that nothing is taken back


class VerdictsError(UsageError):
    """A ``verdicts.json`` cannot be read; the message is one line."""


def make_document(
    experiments: Sequence[ExperimentResult], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make the document of all findings (`make_verdicts`), with the changes since an earlier one, ``before``.

    Where no contrast's numbers differ from those before, its changes stay, so that the same store gives the same bytes.
    """
    document = {**make_verdicts(experiments), "changes": []}
    if before is not None:
        same = before["contrasts"] == document["contrasts"]
        document["changes"] = before["changes"] if same else changes(before, document)
    return document


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
            _check(contrast, CONTRAST_TYPES)
            if contrast["interval"] is not None:
                low, high = contrast["interval"]
                _check({"low": low, "high": high}, {"low": NUMBER, "high": NUMBER})
        for change in document["changes"]:
            _check(change, CHANGE_TYPES)
            for reason in change["why"]:
                _check({"why": reason}, {"why": (str,)})
        document.setdefault("files", {})  # those of an older report are not listed
        _check(document, {"files": (dict,)})
        _check(document["files"], dict.fromkeys(document["files"], (str,)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise VerdictsError(f"{path} must hold the verdicts of a report, got {reason}") from None
    return document


NULL = type(None)
NUMBER = (int, float, NULL)
CONTRAST_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("experiment", "verdict", "words"), (str,)),
    "code": (str, NULL),
    "n": NUMBER,
    "delta": (int, float),
    "interval": (list, NULL),
}
CHANGE_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("experiment", "contrast", "before", "now"), (str,)),
    "why": (list,),
    "flipped": (bool,),
}


def _check(record: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> None:
    """Raise TypeError or KeyError unless the fields are there and of exactly their types."""
    for name, allowed in types.items():
        if type(record[name]) not in allowed:
            kinds = " or ".join("null" if kind is NULL else kind.__name__ for kind in allowed)
            raise TypeError(f"{name} must be {kinds}, got {str(record[name])[:40]!r}")


def key(contrast: Mapping[str, Any]) -> str:
    """Return what makes a contrast the same one in two reports: its experiment and its arms."""
    return json.dumps([contrast[name] for name in ("experiment", "a", "b")], sort_keys=True)


def sides_of(contrast: Mapping[str, Any]) -> str:
    """Name a contrast as a difference: ``bce − mse at relu``."""
    sides, where = contrast.get("a_minus_b", ""), contrast.get("where")
    return f"{sides} at {where}" if where else str(sides)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return which verdicts differ from the previous ones, and why.

    Returns
    -------
    list of dict
        ``experiment``, ``contrast``, ``before`` and ``now`` (in words), ``why`` (list of str), and ``flipped``:
        whether an earlier verdict no longer holds. To settle what was open, or to say more of the same, is no flip.
    """
    earlier = {key(contrast): contrast for contrast in before["contrasts"]}
    changed = []
    for new in now["contrasts"]:
        old = earlier.pop(key(new), None)
        if old is None:
            if new["verdict"] != "withheld":
                changed.append(_change(new, "no such contrast", new["words"], ["new contrast"]))
        elif old["verdict"] != new["verdict"]:
            changed.append(_change(new, old["words"], new["words"], _why(old, new), _flipped(old, new)))
    for old in earlier.values():
        flipped = old["verdict"] not in SILENT
        changed.append(_change(old, old["words"], "no longer asked", ["contrast removed"], flipped))
    return changed


def _change(
    contrast: Mapping[str, Any], before: str, now: str, why: Sequence[str], flipped: bool = False
) -> dict[str, Any]:
    return {
        "experiment": contrast["experiment"],
        "contrast": sides_of(contrast),
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
        more = "more" if new["n"] > old["n"] else "fewer"
        why.append(f"{more} seeds: {new['n']:,} pairs, {old['n']:,} before")
    if old["code"] != new["code"]:
        why.append("other code")
    if old["delta"] != new["delta"]:
        why.append(f"other margin: {new['delta']:g}, {old['delta']:g} before")
    if old.get("alpha") != new.get("alpha"):
        why.append(f"other error rate: {new['alpha']:g} now")
    if not why and any(old.get(runs) != new.get(runs) for runs in ("runs_a", "runs_b")):
        why.append("other runs of the same seeds")
    return why or ["other scores in the same runs, or another rule"]


def _flipped(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether a verdict is taken back: not where it was open, nor where the new one says as much and more."""
    if old["verdict"] in SILENT:
        return False
    if old["verdict"] not in UNDECIDED:
        return True
    leader = old["verdict"][0]  # of "a_ahead" or "b_ahead"
    low, high = new.get("interval") or (None, None)
    still_ahead = low is not None and high is not None and (low > 0 if leader == "a" else high < 0)
    return not (new["verdict"] == f"{leader}_better" or (new["verdict"] == "equivalent" and still_ahead))


# For the terminal


def table(document: Mapping[str, Any]) -> str:
    """Lay the verdicts out in plain text, primary ones first; nothing where there are none."""
    contrasts = document["contrasts"]
    lines = []
    for primary, title in ((True, "primary contrasts"), (False, "exploratory contrasts")):
        if rows := [_cells(contrast) for contrast in contrasts if contrast["primary"] is primary]:
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            padded = (map(str.ljust, row, widths) for row in rows)
            lines += [title, *(f"  {'  '.join(cells)}".rstrip() for cells in padded)]
    undecided = [c for c in contrasts if c["verdict"] in UNDECIDED]
    if undecided:
        more = command("sweep", settle="all", max_seeds="N")
        lines.append(f"{plural(len(undecided), 'contrast')} not decided: {more} trains more seeds")
    return "\n".join(lines)


def _cells(contrast: Mapping[str, Any]) -> tuple[str, ...]:
    where = f" ({contrast['where']})" if contrast["where"] else ""
    estimate = ""
    if contrast.get("estimate") is not None:
        lo, hi = contrast["interval"]
        estimate = number(contrast["estimate"], 4, sign=True)
        if lo is not None:
            estimate += f" [{number(lo, 4, sign=True)}, {number(hi, 4, sign=True)}]"
    late = f"; exploratory, as it {contrast['late']}" if contrast["late"] else ""
    if contrast["plan_changes"]:
        late += "; the plan was changed after data were seen"
    return (
        clean(contrast["experiment"], 40),
        clean(f"{contrast['a_minus_b']}{where}", 80),
        "" if contrast["n"] is None else f"n={contrast['n']:,}",
        estimate,
        _sentence(contrast["words"] + late),
    )


def _sentence(text: str) -> str:
    """Return a verdict in words as one line; the names of a search's winners may fill one before the verdict comes."""
    return " ".join(clean(text, MAX_SENTENCE).split())


def changes_text(changed: Sequence[Mapping[str, Any]]) -> str:
    """Lay changes out in plain text; say so where there are none."""
    if not changed:
        return "no verdict changed since the previous report"
    lines = [f"{plural(len(changed), 'verdict')} changed since the previous report"]
    for change in changed:
        mark = "FLIPPED  " if change["flipped"] else ""
        lines.append(f"  {mark}{clean(change['experiment'], 40)}: {clean(change['contrast'], 80)}")
        lines.append(f"    was: {_sentence(change['before'])}")
        lines.append(f"    now: {_sentence(change['now'])}")
        lines.append(f"    why: {clean('; '.join(change['why']))}")
    return "\n".join(lines)
