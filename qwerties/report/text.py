"""Other people's text -> what a page may show.

Text from the store is untrusted. `errors.clean` makes it printable and short; escaping is the template's, which
escapes whatever is not `Markup`. `markdown` alone makes `Markup`, out of escaped text.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from qwerties.errors import clean

TEXT = 6000  # characters of the longest text shown


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
