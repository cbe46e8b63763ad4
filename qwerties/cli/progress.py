"""Progress on the terminal: a bar there, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from qwerties.study.sweep import Progress


class Display:
    """Progress of a sweep: a bar on a terminal, now and then a plain line elsewhere."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, label: str = "") -> None:
        self._label = f"{label}: " if label else ""
        self._bar: tqdm | None = None
        self._started = time.monotonic()
        self._said = -self.SECONDS_BETWEEN_LINES

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, state: Progress) -> None:
        """Show the state of things."""
        if not state.runs_planned:
            return
        elapsed = time.monotonic() - self._started
        share = state.cost / state.cost_planned
        rate = share * state.networks_planned / elapsed if elapsed else 0
        counts = (
            f"{state.runs}/{state.runs_planned} runs, {state.networks:,}/{state.networks_planned:,} networks, "
            f"{rate:,.0f}/s"
        )
        if sys.stderr.isatty():
            if self._bar is None:
                layout = "{percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
                self._bar = tqdm(
                    total=state.cost_planned, bar_format=layout, dynamic_ncols=True, smoothing=0.05
                )
            self._bar.set_postfix_str(f"{self._label}{counts}", refresh=False)
            self._bar.update(state.cost - self._bar.n)
            self._bar.refresh()
        elif time.monotonic() - self._said > self.SECONDS_BETWEEN_LINES or state.runs == state.runs_planned:
            self._said = time.monotonic()
            left = f", about {elapsed * (1 / share - 1):.0f} s left" if share else ""
            print(f"{100 * share:3.0f}%  {self._label}{counts}{left}", file=sys.stderr, flush=True)


class Trials:
    """Progress of studies: a bar each on a terminal, a plain line each elsewhere."""

    def __init__(self, experiment_name: str) -> None:
        self._experiment_name = experiment_name
        self._bar: tqdm | None = None
        self._label = ""

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, label: str, done: int, of: int) -> None:
        """Show how many trials of a study are done."""
        if label != self._label:
            self.__exit__()
            self._label, self._bar = label, None
            if sys.stderr.isatty():
                name = f"{self._experiment_name}, {label}"
                self._bar = tqdm(total=of, initial=done, desc=name, unit=" trials", leave=False)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif done == of:
            print(f"{self._experiment_name}, {label}: {done} trials", file=sys.stderr, flush=True)


class Pixels:
    """Progress of a map: a bar on a terminal, now and then a plain line elsewhere."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, networks: int) -> None:
        self._networks = networks
        self._bar: tqdm | None = None
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Pixels:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, before: int, done: int) -> None:
        """Show how many networks were there before, and how many are by now."""
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(
                    total=self._networks,
                    initial=before,
                    unit=" networks",
                    unit_scale=True,
                    dynamic_ncols=True,
                )
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if done == before:
            self._started = now
            if before:
                print(
                    f"going on after {before:,} of {self._networks:,} networks", file=sys.stderr, flush=True
                )
        elif now - self._said > self.SECONDS_BETWEEN_LINES or done == self._networks:
            self._said, rate = now, (done - before) / (now - self._started)
            print(
                f"{100 * done / self._networks:3.0f}%  {done:,}/{self._networks:,} networks, {rate:,.0f}/s, "
                f"about {(self._networks - done) / rate:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


class Bytes:
    """Progress of a file: a bar on a terminal, now and then a plain line elsewhere."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = time.monotonic()
        self._bar = tqdm(
            desc=what,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def __enter__(self) -> Bytes:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def update(self, done: int, of: int) -> None:
        """Show how many bytes are done."""
        if self._bar.disable and time.monotonic() - self._said > self.SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            print(f"{self._what}: {done / 1e6:,.0f} of {of / 1e6:,.0f} MB", file=sys.stderr, flush=True)
        self._bar.total = of
        self._bar.update(done - self._bar.n)


class Steps:
    """Progress of something that takes seconds: one line that is rewritten on a terminal, nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *exception: object) -> None:
        self._show("")

    def step(self, name: str) -> None:
        """Say what is being worked on."""
        self._show(f"{self._what}: {name}")

    def _show(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
