"""What a worker does of a sweep: the records of a shard. Kept apart, as workers need not know the store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from qwerties.study.experiment import Shard
from qwerties.tracking.records import Record

SHARD: dict[str, int | None] = {"cpu": None, "cuda": 2**12}
"""Networks of a shard by device; None is one batch. Fewer leave a GPU idle between two calls; with more, there are too
few shards for what its workers do besides."""

TRAINS = "qwerties.study.runs"  # the module that brings what a worker needs: torch, above all

SECONDS_BETWEEN_REPORTS = 0.5


@dataclass(frozen=True)
class Task:
    """A shard on its way.

    Attributes
    ----------
    shard : Shard
    device : {"cpu", "cuda"}
    meter : Path, optional
        The file in which a worker of this machine says how many network-epochs are done.
    sharers : int
        Workers of one GPU.
    """

    shard: Shard
    device: str
    meter: Path | None
    sharers: int = 1


def train_shard(task: Task) -> list[Record]:
    """Train a shard, and say now and then how far it is."""
    done, said = 0, 0.0

    def progress(network_epochs: int) -> None:
        nonlocal done, said
        done += network_epochs
        if task.meter and time.monotonic() - said > SECONDS_BETWEEN_REPORTS:
            said = time.monotonic()
            task.meter.write_text(str(done))

    from qwerties.study import runs as results  # and torch, which a sweep with nothing to do needs not

    shard = task.shard
    return results.train_records(
        shard.configs,
        shard.seeds,
        device=task.device,
        sharers=task.sharers,
        progress=progress,
    )
