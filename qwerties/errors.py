"""Errors whose message is the one line that the user reads, and the text that such a line is made of.

Text from a store is untrusted: `clean` makes it printable and short before anything shows it.
"""

import re
import sys
import unicodedata

MAX_NAME = 160  # characters of the longest name in a message or on the page


class UsageError(Exception):
    """The request was wrong; the message is one line."""


class FailedError(Exception):
    """Something failed that the request is not to blame for; the message is one line."""


class NothingTrackedError(FailedError):
    """There is no store to read."""


def without_passwords(text: str) -> str:
    """Return a text whose addresses show no password; rather too little of an address than a piece of a password."""
    hidden = re.sub(r"(\w[\w+.-]*://[^\s:/@]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)((?:password|passwd|pwd|token|secret)=)[^&\s]*", r"\1***", hidden)


def complain(error: object, status: int) -> int:
    """Print an error as one line without passwords; return the exit status that is given."""
    line = "".join(c if c.isprintable() else " " for c in without_passwords(str(error)))
    print(f"qwerties: error: {line}", file=sys.stderr)
    return status


def first_line(error: object) -> str:
    """What an error says in its first line, which may be nothing."""
    try:
        return without_passwords(next((line for line in str(error).splitlines() if line.strip()), ""))
    except Exception:  # an error that cannot even be told
        return ""


def reason_of(error: object) -> str:
    """What an error says in its first line; its kind, where it says nothing."""
    return first_line(error) or type(error).__name__


def clean(text: object, limit: int = MAX_NAME) -> str:
    """Make any text one line (or, if long ones are allowed, paragraphs) of at most `limit` printable characters.

    Controls, and marks that turn the direction of what follows, become U+FFFD.
    """
    given = str(text)[: 2 * limit]
    lines = re.split(r"\n\s*\n", given.replace("\r\n", "\n")) if limit > MAX_NAME else [given]
    kept = "\n\n".join(" ".join(line.split()) for line in lines).strip()
    kept = kept if len(kept) <= limit else kept[: limit - 1] + "…"
    if kept.isprintable():  # nearly all are; looking at each character takes longer than the rest
        return kept
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c != "\n" else c for c in kept
    )


def plural(count: int, noun: str) -> str:
    """Write `1 run`, `2 runs`, `1,200 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
