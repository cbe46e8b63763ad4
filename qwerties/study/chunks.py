"""Tags of an experiment that would be longer than MLflow takes: written in parts, and joined when they are read.

The first part has the tag's own name, the others ``NAME.2``, ``NAME.3``, ... Each tells how many there are, so that
what an earlier, longer value left behind does not count, and parts of two values are not joined.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST = 5000
"""Characters of a part: as many as every MLflow server takes of an experiment's tag, new ones take 20,000."""

PARTS = "parts"
"""Key that tells of how many parts there are; absent where there is one."""

DIGITS = 6
"""Room that is left for the number of parts."""


class PartError(ValueError):
    """A part that is missing or is none of its tag's; its text is the name of the part's tag."""


def in_parts(name: str, items: Sequence[Any], wrap: Callable[[Sequence[Any], int], Any]) -> dict[str, str]:
    """Write a value as tags, as few as it takes.

    Parameters
    ----------
    name : str
        Of the tag.
    items : sequence
        What is split; none is. One that is longer than a tag stands by itself.
    wrap : callable
        ``wrap(items, parts)`` puts some of them into what JSON takes; with more than one part it must be an object
        that has their number as `PARTS`.

    Returns
    -------
    dict of str to str
        JSON by the tags' names.
    """
    room = MOST - len(json.dumps(wrap([], 2))) - DIGITS
    groups: list[list[Any]] = [[]]
    used = 0
    for item in items:
        size = len(json.dumps(item)) + 2
        if groups[-1] and used + size > room:
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += size
    return {tag_of(name, i): json.dumps(wrap(group, len(groups))) for i, group in enumerate(groups, start=1)}


def tag_of(name: str, part: int) -> str:
    """Name the tag of a part, counted from 1."""
    return name if part == 1 else f"{name}.{part}"


def read_parts(name: str, tags: Mapping[str, str]) -> list[Any]:
    """Read what JSON says in each part of a tag, in order.

    Raises
    ------
    PartError
        With the name of the first part that is missing, is no JSON, or tells another number of parts.
    """
    found: list[Any] = []
    count = 1
    while len(found) < count:
        tag = tag_of(name, len(found) + 1)
        try:
            one = json.loads(tags[tag])
        except (KeyError, ValueError, RecursionError) as error:
            raise PartError(tag) from error
        told = one.get(PARTS, 1) if isinstance(one, dict) else 1
        if not found:
            count = told
        if type(told) is not int or told != count or count < 1:
            raise PartError(tag)
        found.append(one)
    return found


CONTRASTS = "qwerties.contrasts"


def contrasts_of(tags: Mapping[str, str]) -> list[Any]:
    """Join the contrasts that an experiment's tags hold: none where there is no such tag.

    Raises
    ------
    PartError
        As in `read_parts`, and where a part does not hold a list.
    """
    if CONTRASTS not in tags:
        return []
    joined: list[Any] = []
    for i, part in enumerate(read_parts(CONTRASTS, tags), start=1):
        one = part.get("contrasts") if isinstance(part, dict) else part
        if not isinstance(one, list):
            raise PartError(tag_of(CONTRASTS, i))
        joined += one
    return joined


def contrasts_text(tags: Mapping[str, str]) -> str:
    """Join the same as one JSON list; where they cannot be read, the tag as it is."""
    try:
        return json.dumps(contrasts_of(tags))
    except PartError:
        return tags[CONTRASTS]


def contrasts_tags(contrasts: Sequence[Any]) -> dict[str, str]:
    """Write contrasts as tags, as `contrasts_of` reads them."""
    return in_parts(
        CONTRASTS,
        contrasts,
        lambda some, parts: list(some) if parts == 1 else {PARTS: parts, "contrasts": list(some)},
    )
