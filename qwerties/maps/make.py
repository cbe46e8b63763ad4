"""Train a map: block by block in worker processes, each block kept when it is done, and one run when all are.

Blocks lie in ``.cache/maps/<fingerprint>/`` until the run is written. How a map is cut into them follows from its plan
alone, so that whoever goes on finds the same ones.
"""

from __future__ import annotations

import itertools
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from qwerties.config import Seeds
from qwerties.execution.signals import finishing_first, stop_if_asked
from qwerties.execution.workers import Workers, run_tasks
from qwerties.maps.scores import Measured, measure
from qwerties.maps.spec import (
    MEASURES,
    STATES,
    UNREADABLE,
    Arrays,
    MapSpec,
    block_from_bytes,
    block_to_bytes,
    from_bytes,
    to_bytes,
)
from qwerties.scoring.digest import code_digest
from qwerties.study.sweep_lock import is_abandoned, sweep_lock
from qwerties.tracking.records import Record, Tracked
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import MAP, NOTE, SUPERSEDED
from qwerties.training.trainer import train

STEM = "map"
ABOUT = "Maps: two settings spread over the pixels of a picture, each pixel the mean over a few seeds. `qwerties map`."
FINGERPRINT = "qwerties.fingerprint"
ARRAYS = "map.npz"

BLOCK = 1024
"""Networks of a block, unless something makes it smaller: about 3 s of a core at 2000 epochs."""

MAX_VALUES = 2**23
"""Floats that any one of a block's arrays may hold: losses, weights at the checkpoints, points."""

WAITED = 0.5
"""Seconds between two looks at a lock that another process holds."""


@dataclass(frozen=True)
class Made:
    """A map that is tracked."""

    run_id: str
    arrays: Arrays
    networks: int
    """Trained by this call; 0 where the map was tracked before."""


@dataclass(frozen=True)
class Block:
    """Some of a map's pixels, as a range of `MapSpec.order`, and how many of their seeds are trained at once."""

    number: int
    start: int
    stop: int
    seeds: int


def make_blocks(spec: MapSpec) -> list[Block]:
    """Cut a map into blocks, whose memory is bounded whatever its size, seeds and epochs are."""
    line = spec.x.size if spec.x.field == "epochs" else spec.y.size if spec.y.field == "epochs" else 1
    epochs, samples = (_most(spec, name) for name in ("epochs", "samples"))
    widths = (2, *spec.base.hidden, 1)
    weights = sum(b * (a + 1) for a, b in itertools.pairwise(widths))
    largest = max(epochs, 2 * samples * max(widths), (64 + line) * weights)  # floats that a network takes
    together = max(1, min(BLOCK, MAX_VALUES // largest))
    seeds = min(spec.seeds, together)
    pixels = line * max(1, together // seeds)
    return [
        Block(number, start, min(start + pixels, spec.pixels), seeds)
        for number, start in enumerate(range(0, spec.pixels, pixels))
    ]


def _most(spec: MapSpec, name: str) -> int:
    for axis in (spec.x, spec.y):
        if axis.field == name:
            return max(axis.values)
    return int(getattr(spec.base, name))


def train_block(spec: MapSpec, block: Block) -> Arrays:
    """Train a block's networks.

    Returns
    -------
    dict of measure to ndarray, (pixels,), float32
        Pixels as in `MapSpec.order`.
    """
    places = np.unravel_index(spec.order[block.start : block.stop], spec.shape)
    configs = [spec.config(place) for place in zip(*(axis.tolist() for axis in places), strict=True)]
    parts = []
    for first in range(0, spec.seeds, block.seeds):
        seeds = Seeds(first, min(first + block.seeds, spec.seeds))
        parts.append(measure(train(configs, seeds)))
    return average(parts)


def average(parts: Sequence[Measured]) -> Arrays:
    """Means over all seeds of parts of them; a diverged network counts as a guess, whose gain is 0."""
    gain = np.concatenate([part.gain for part in parts], axis=1)  # (pixels, seeds)
    state = np.concatenate([part.state for part in parts], axis=1)
    means = {"gain": gain.mean(1).astype(np.float32)}
    return means | {name: (state == i).mean(1).astype(np.float32) for i, name in enumerate(STATES)}


# Blocks on disk, blocks in workers


def train_map(
    spec: MapSpec,
    scratch: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda old, new: None,
) -> Arrays:
    """Train what is not in the scratch folder yet.

    Parameters
    ----------
    spec : MapSpec
    scratch : Path
        Folder of the finished blocks.
    workers : int
        Processes that train.
    progress : callable
        Called with the numbers of networks that were there before, and that are done by now.

    Returns
    -------
    dict of measure to ndarray, `MapSpec.shape`, float32

    Raises
    ------
    WorkerLostError
        If a block killed every worker that took it; finished blocks stay.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    flat = {name: np.full(spec.pixels, np.nan, np.float32) for name in MEASURES}
    order, todo, done = spec.order, [], 0

    def place(block: Block, arrays: Mapping[str, np.ndarray]) -> int:
        for name in MEASURES:
            flat[name][order[block.start : block.stop]] = arrays[name]
        return (block.stop - block.start) * spec.seeds

    for block in make_blocks(spec):
        try:
            content = (scratch / _name(block)).read_bytes()
            done += place(block, block_from_bytes(content, block.stop - block.start))
        except (OSError, ValueError):  # not there, or half written: made anew
            todo.append(block)
    before = done
    progress(before, done)
    for block, arrays in _run(spec, todo, workers):
        stop_if_asked()
        _write(scratch / _name(block), block_to_bytes(arrays))
        done += place(block, arrays)
        progress(before, done)
    return {name: values.reshape(spec.shape) for name, values in flat.items()}


def _name(block: Block) -> str:
    return f"{block.start}-{block.stop}.npz"


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


def _run(spec: MapSpec, todo: Sequence[Block], workers: int) -> Iterator[tuple[Block, Arrays]]:
    """Train blocks in processes of one thread each, as a sweep's shards; as they come, few at a time in memory."""
    for i, arrays in run_tasks(train_block, [(spec, block) for block in todo], Workers(workers)):
        yield todo[i], arrays


# The tracked run


def make_map(
    spec: MapSpec,
    store: Store,
    root: Path,
    pictures: Callable[[MapSpec, Arrays], Mapping[str, bytes]],
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda old, new: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Made:
    """Train and track a map, unless it is tracked.

    Parameters
    ----------
    spec : MapSpec
    store : Store
    root : Path
        The study's folder; finished blocks lie in its ``.cache`` until the run is written.
    pictures : callable
        Draws the map: artifacts by their paths.
    workers, progress
        As in `train_map`.
    tell : callable
        Called with what there is to say besides, a line each.

    Two that make the same map, in this folder or in others with the same store, take turns: the second finds it made.
    """
    code = code_digest()
    key = spec.fingerprint(code)
    folder = root / ".cache" / "maps"
    folder.mkdir(parents=True, exist_ok=True)
    about = {MAP: "1", "qwerties.title": "Maps", NOTE: ABOUT}
    # only a lease hangs on the experiment before there is a run: elsewhere it is made with the first
    ids = [] if store.file is not None else [store.experiment(STEM, about)]
    with (
        _alone(folder / f"{key}.lock", tell),
        sweep_lock(
            store,
            ids,
            lambda holder: tell(f"waiting for another that makes the same map, {holder}"),
            f"map-{key}",
        ),
    ):
        store.end_abandoned(store.maps(), is_abandoned)
        runs = [run for run in store.maps() if run.status == "FINISHED" and SUPERSEDED not in run.tags]
        for run in runs:
            if run.tags.get(FINGERPRINT) == key and (arrays := _sound(store, run, spec, tell)) is not None:
                return Made(run.run_id, arrays, 0)
        arrays = train_map(spec, folder / key, workers=workers, progress=progress)
        record = make_record(spec, arrays, pictures(spec, arrays), code)
        experiment_id = store.experiment(STEM, about)
        stop_if_asked()
        with finishing_first():
            run_id = store.write(experiment_id, record)
            for run in _same(runs, spec):
                store.tag_run(run.run_id, SUPERSEDED, run_id)
        shutil.rmtree(folder / key, ignore_errors=True)
        return Made(run_id, arrays, spec.networks)


class _alone:  # noqa: N801 - reads as a statement
    """Hold the lock of a map's blocks; it ends with its process, however that ends."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._lock, self._tell = FileLock(path, poll_interval=WAITED), tell

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._tell("waiting for another process that makes the same map")
            self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


def _sound(store: Store, run: Tracked, spec: MapSpec, tell: Callable[[str], None]) -> Arrays | None:
    """The arrays of a tracked map; None where they, or a picture, are not as they were written."""
    damaged = store.damaged(run)
    try:
        if not damaged:
            return from_bytes(store.read(run, ARRAYS), spec)
    except (StoreError, *UNREADABLE):
        damaged = [ARRAYS]
    tell(f"making the map anew, as {', '.join(damaged)} of run {run.run_id} is lost or altered")
    return None


def _same(runs: Iterable[Tracked], spec: MapSpec) -> list[Tracked]:
    """Runs of the very same map, by this code or another."""
    params = spec.to_params()
    return [run for run in runs if run.params == params]


def make_record(spec: MapSpec, arrays: Arrays, pictures: Mapping[str, bytes], code: str) -> Record:
    """Make the run of a map: its plan as params, shares over all panels as metrics, arrays and pictures as files."""
    gain = arrays["gain"][np.isfinite(arrays["gain"])].astype(float)
    shares = {f"{state}_fraction": float(arrays[state].mean(dtype=float)) for state in STATES}
    tags = {
        FINGERPRINT: spec.fingerprint(code),
        "qwerties.code": code,
        "qwerties.version": version("qwerties"),
        "qwerties.python": platform.python_version(),
        **{f"qwerties.{name}": version(name) for name in ("torch", "numpy", "mlflow")},
        "mlflow.source.name": "qwerties map",
        NOTE: f"{spec.name}; {spec.setting}. `map.npz` holds every measure, "
        f"(losses, activations, y, x); missing gain is undefined.",
    }
    metrics: dict[str, float | None] = {
        "pixels": float(spec.pixels),
        "networks": float(spec.networks),
        "gain": float(gain.mean()) if len(gain) else None,
        "undefined_fraction": float(1 - len(gain) / spec.pixels),
        **shares,
    }
    return Record(
        spec.name, spec.to_params(), metrics, tags, files={ARRAYS: to_bytes(spec, arrays), **pictures}
    )
