"""Errors whose message is the one line that the user reads, and the text that such a line is made of.

Text from a store is untrusted: `clean` makes it printable and short before anything shows it.
"""

import difflib
import re
import sys
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MAX_NAME = 160  # characters of the longest name in a message or on the page
MAX_LINE = 2000  # characters of an error's line
MAX_REDACTED = 10 * MAX_LINE  # characters that are searched for passwords; the rest is not shown either


class UsageError(Exception):
    """The request was wrong; the message is one line."""


class FailedError(Exception):
    """Something failed although the request was right; the message is one line."""

    hint = ""  # what the user can do, appended to the line


class NothingTrackedError(FailedError):
    """There is no store to read."""


def without_passwords(text: str) -> str:
    """Return a text whose URIs show no password; where that is not certain, more of the URI is hidden."""
    hidden = re.sub(r"((?:\w[\w+.-]{0,40}:)?//[^\s:/@]*):\S*@", r"\1:***@", text[:MAX_REDACTED])
    hidden = re.sub(r"(https?://)[^\s:/@]+@", r"\1***@", hidden)  # a token in place of a user
    return re.sub(
        r"(?i)((?:password|passwd|pwd|token|secret|key|sig|signature|auth)=)[^&\s]*", r"\1***", hidden
    )


def complain(error: object, status: int) -> int:
    """Print an error as one line without passwords; return the given exit status."""
    text = f"{error}{getattr(error, 'hint', '')}"
    line = "".join(c if c.isprintable() else " " for c in without_passwords(text)[:MAX_LINE])
    with suppress(OSError):  # a full disk or a closed pipe: the exit status says enough
        print(f"qwerties: error: {line}", file=sys.stderr)
    return status


def first_line(error: object) -> str:
    """Return the first line of an error's message, which may be empty."""
    try:
        return without_passwords(next((line for line in str(error).splitlines() if line.strip()), ""))
    except Exception:  # `str` of a stranger's error may raise anything
        return ""


def reason_of(error: object) -> str:
    """Return the first line of an error's message; the name of its type where the message is empty."""
    return first_line(error) or type(error).__name__


def reason_for_uri(uri: str, error: object) -> str:
    """Return why a URI cannot be used; only the error's type where the reason may show a part of a password.

    The drivers end a password at its first ``@``, and name what follows as the host that they did not find.
    """
    if uri.count("@") < 2:
        return reason_of(error)
    return f"{type(error).__name__}; an @ of a user or a password must be written %40"


def command(name: str, *names: str, **options: str) -> str:
    """Return how a user calls a command in the working folder: by this package's Makefile, or else by itself.

    ``command("sweep", "loss", settle="all")`` is ``make sweep ONLY=loss SETTLE=all`` or
    ``qwerties sweep loss --settle all``.
    """
    try:
        has_makefile = "/qwerties sweep" in Path("Makefile").read_text(encoding="utf-8", errors="replace")
    except OSError:
        has_makefile = False
    if has_makefile:
        variables = {"only": " ".join(names)} if names else {}
        return " ".join(
            ["make", name, *(f"{key.upper()}={value}" for key, value in (variables | options).items())]
        )
    flags = (f"--{key.replace('_', '-')} {value}" for key, value in options.items())
    return " ".join(["qwerties", name, *names, *flags])


def nothing_tracked() -> str:
    """Say that there is no store to read."""
    return f"nothing tracked yet: {command('sweep')}"


def clean(text: object, limit: int = MAX_NAME) -> str:
    """Make any text one line (paragraphs, if `limit` is above `MAX_NAME`) of at most `limit` printable characters.

    Control characters, and marks that turn the direction of what follows, become U+FFFD.
    """
    given = str(text)[: 2 * limit]
    lines = re.split(r"\n\s*\n", given.replace("\r\n", "\n")) if limit > MAX_NAME else [given]
    line = "\n\n".join(" ".join(part.split()) for part in lines).strip()
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    if line.isprintable():  # nearly every text is; checking each character takes longer than the rest
        return line
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c != "\n" else c for c in line
    )


def plural(count: int, noun: str) -> str:
    """Write `1 run`, `2 runs`, `1,200 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def suggestion(text: str, known: Iterable[str]) -> str:
    """Return `` (did you mean NAME?)`` with the known name closest to a text; empty if none or two are closest."""
    names = list(known)
    close = difflib.get_close_matches(text, names, n=2, cutoff=0.7)  # gpu is not cpu
    likeness = [difflib.SequenceMatcher(None, name, text).ratio() for name in close]
    if len(close) == 2 and likeness[0] == likeness[1]:  # better: a_better or b_better
        return ""
    close = close or [name for name in names if len(text) > 1 and name.startswith(text)]
    return f" (did you mean {close[0]}?)" if close else ""
