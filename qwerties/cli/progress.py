"""Progress on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal


class _Lines:
    """A stream that turns tqdm's carriage returns into lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if text.strip():
            self._stream.write(f"{text.strip()}\n")

    def flush(self) -> None:
        self._stream.flush()


class Progress(tqdm):
    """Progress of one piece of work: a bar where it has a ``total``, else a text alone.

    It goes from the terminal when the work is done, unless it is to ``stay``.
    """

    monitor_interval = 0  # no thread of tqdm's own

    def __init__(self, label: str, total: float | None = None, *, stay: bool = False) -> None:
        self.terminal = terminal = sys.stderr.isatty()
        self.text = ""
        if total is None:
            layout = "{desc}: {text}"
        else:
            bar = "|{bar}|" if terminal else ""
            layout = "{desc}: {percentage:3.0f}%" + bar + " {text} [{elapsed}<{remaining}]"
        super().__init__(
            desc=label,
            total=total,
            file=sys.stderr if terminal else _Lines(sys.stderr),
            bar_format=layout,
            leave=stay,
            mininterval=0.1 if terminal else SECONDS_BETWEEN_LINES,
            miniters=0,
            delay=0.001,  # nothing is shown where nothing was done
            smoothing=0.05,
            dynamic_ncols=terminal,
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the layout may name."""
        return {**super().format_dict, "text": self.text}

    def close(self) -> None:
        """End the bar; a line that stands already is not repeated."""
        if not self.terminal and self.n == self.last_print_n:
            self.leave = False
        super().close()

    def show(self, text: str, done: float | None = None, total: float | None = None) -> None:
        """Say what is being done, how much of it is done, and of how much."""
        if total is not None:
            self.total = total
        self.text = text
        self.update(0 if done is None else done - self.n)

    def show_bytes(self, done: int, total: int) -> None:
        """Say how many bytes are done, and of how many."""
        self.show(f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB", done, total)
