"""Run a ``qwerties`` command and tell its peak of memory: ``python -m benchmarks.peak sweep ...``.

The last line printed is JSON, in MiB: ``own``, the peak of this process, ``largest_child``, that of the largest of its
children, and ``together``, the largest sum over this process and all below it at one moment, a page that several share
counted once (PSS); null where the system does not tell that.
"""

import json
import os
import resource
import sys
import threading
from pathlib import Path

from qwerties.cli.main import main

EVERY = 0.2
"""Seconds between two looks."""

PROC = Path("/proc")


def _mib(who: int) -> float:
    kibibytes = resource.getrusage(who).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kibibytes / 1024


def pss(pid: int) -> float | None:
    """Memory of a process, each page divided by how many share it, in MiB; None where it cannot be told."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it ended, or the system has no such file
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), None)


def family(pid: int) -> list[int]:
    """List a process and all below it, by ``/proc``."""
    parents: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it ended
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:  # grows on the way
        found += parents.get(one, [])
    return found


def spent(pid: int) -> float | None:
    """CPU seconds of a process, of all below it, and of those that ended; None where the system does not tell."""
    ticks = 0
    for one in family(pid):
        try:
            fields = (PROC / str(one) / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended, and counts for its parent
            if one == pid:
                return None
            continue
        ticks += sum(map(int, fields[11:15]))  # user and system, its own and those of children that ended
    return ticks / os.sysconf("SC_CLK_TCK")


class Sampler:
    """Within the block, looks every `EVERY` seconds at what this process and all below it take.

    Attributes
    ----------
    peak : float or None
        The largest sum seen, in MiB; None where the system does not tell.
    """

    def __init__(self) -> None:
        self.peak: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Sampler":
        self._look()
        if self.peak is not None:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self._look()

    def _look(self) -> None:
        if (own := pss(os.getpid())) is not None:
            below = sum(pss(pid) or 0.0 for pid in family(os.getpid())[1:])
            self.peak = max(self.peak or 0.0, own + below)


def _run() -> int:
    with Sampler() as sampler:
        status = main(sys.argv[1:])
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor(reuse=True).shutdown(wait=True)  # children count once they have ended
    own, child = _mib(resource.RUSAGE_SELF), _mib(resource.RUSAGE_CHILDREN)
    print(json.dumps({"own": own, "largest_child": child, "together": sampler.peak}))
    return status


if __name__ == "__main__":
    sys.exit(_run())
