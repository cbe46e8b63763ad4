"""Numbers and other people's text -> what a page may show.

Text from the store is untrusted. `clean` makes it printable and short; escaping is the template's, which escapes
whatever is not `Markup`. `markdown` is the only other thing here that makes `Markup`, out of escaped text.
"""

from __future__ import annotations

import math
import re
import unicodedata

from markupsafe import Markup, escape

from qwerties.intervals import Interval

NAME, TEXT = 160, 6000
"""Longest name and longest text shown."""


def clean(text: object, limit: int = NAME) -> str:
    """Make any text one line (or, if long ones are allowed, paragraphs) of at most `limit` printable characters.

    Controls, and marks that turn the direction of what follows, become U+FFFD.
    """
    given = str(text)[: 2 * limit]
    lines = re.split(r"\n\s*\n", given.replace("\r\n", "\n")) if limit > NAME else [given]
    kept = "\n\n".join(" ".join(line.split()) for line in lines).strip()
    kept = kept if len(kept) <= limit else kept[: limit - 1] + "…"
    if kept.isprintable():  # nearly all are; looking at each character takes longer than the rest
        return kept
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c != "\n" else c for c in kept
    )


def markdown(text: str) -> Markup:
    """Render paragraphs, *emphasis* and `code`; everything else stays as it is written."""
    paragraphs = [part for part in clean(text, TEXT).split("\n\n") if part]
    return Markup("\n").join(Markup("<p>{}</p>").format(_inline(part)) for part in paragraphs)


def _inline(text: str) -> Markup:
    parts = re.split(r"`([^`]+)`", text)  # what stands between backticks is every second part
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else _emphasis(part) for i, part in enumerate(parts)
    )


def _emphasis(text: str) -> Markup:
    return Markup(re.sub(r"\*(?!\s)([^*]+)(?<!\s)\*", r"<em>\1</em>", str(escape(text))))


def slug(text: str, taken: set[str]) -> str:
    """Make an id that is not taken yet, and take it."""
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()[:60]).strip("-") or "section"
    found, number = stem, 1
    while found in taken:
        number += 1
        found = f"{stem}-{number}"
    taken.add(found)
    return found


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Write a number with a true minus sign; a dash where it is undefined."""
    if not math.isfinite(value):
        return "–"
    text = f"{value + 0.0:{'+' if sign else ''}.{digits}f}"
    return re.sub(r"^[+-](?=0\.?0*$)", "", text).replace("-", "−")


def bounds(interval: Interval, digits: int = 3, *, sign: bool = False, scale: float = 1) -> str:
    """Write an interval's bounds; nothing where they are undefined."""
    if math.isnan(interval.lo):
        return ""
    return "[{}, {}]".format(*(number(scale * end, digits, sign=sign) for end in (interval.lo, interval.hi)))


def percent(share: float, digits: int = 1) -> str:
    """Write a share as whole percents, with `digits` decimals below 1% and above 99% unless it is exact."""
    if not math.isfinite(share):
        return "–"
    near_end = 0 < share < 0.01 or 0.99 < share < 1
    return f"{100 * share:.{digits if near_end else 0}f}%"


def p_value(p: float) -> str:
    """Write a p-value; a dash where there was nothing to test."""
    if math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def plural(count: int, noun: str) -> str:
    """Write `1 run`, `2 runs`, `1,200 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
