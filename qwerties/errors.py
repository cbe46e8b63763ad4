"""What goes wrong in words: errors whose message is the one line that the user reads."""

import sys


class UsageError(Exception):
    """The request was wrong; the message is one line."""


class FailedError(Exception):
    """Something failed that the request is not to blame for; the message is one line."""


class NothingTrackedError(FailedError):
    """There is no store to read."""


def complain(error: object, status: int) -> int:
    """Print the one line; returns the exit status it was given."""
    line = "".join(c if c.isprintable() else " " for c in str(error))
    print(f"qwerties: error: {line}", file=sys.stderr)
    return status


def first_line(error: object) -> str:
    """What an error says in its first line, which may be nothing."""
    try:
        return next((line for line in str(error).splitlines() if line.strip()), "")
    except Exception:  # an error that cannot even be told
        return ""


def reason_of(error: object) -> str:
    """What an error says in its first line; its kind, where it says nothing."""
    return first_line(error) or type(error).__name__
