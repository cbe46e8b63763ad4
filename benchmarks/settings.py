"""What a bench is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How much to measure.

    Attributes
    ----------
    root : Path
        The repository; read only.
    repeats : int
        Of each way; they are interleaved.
    quick : bool
        Small sizes, to see it work; the figures mean little.
    processes : int
        Worker processes of one thread each.
    tell : callable
        Called with what is being measured.
    """

    root: Path
    repeats: int
    quick: bool
    processes: int
    tell: Callable[[str], None] = lambda line: None
