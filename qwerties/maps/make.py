"""Train a map block by block in worker processes, and track it as one run when all blocks are done.

Finished blocks lie in ``.cache/maps/<fingerprint>/`` until the run is written. The plan alone decides how a map is cut
into blocks, so that a resumed map finds the same ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qwerties.config import Seeds
from qwerties.execution.signals import finishing_first, stop_if_asked
from qwerties.execution.workers import Workers, run_tasks
from qwerties.maps.spec import MEASURES, STATES, Arrays, MapSpec, from_bytes, to_bytes
from qwerties.scoring.digest import code_digest
from qwerties.scoring.final import final_scores
from qwerties.study.sweep_lock import is_abandoned, sweep_lock
from qwerties.tracking.records import Record, Tracked
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import CODE, FINGERPRINT, MAP, NOTE, SUPERSEDED, TITLE, made_with
from qwerties.training.trainer import train

EXPERIMENT = "map"
ABOUT = "Maps: two settings spread over the pixels of a picture, each pixel the mean over a few seeds. `qwerties map`."
ARRAYS = "map.npz"

BLOCK = 1024  # networks, unless memory allows fewer: about 3 s of a core at 2000 epochs
MAX_VALUES = 2**23  # floats of any one of a block's arrays: losses, weights at the checkpoints, points


@dataclass(frozen=True)
class MadeMap:
    """A map that is tracked; ``networks`` counts those that this call trained, 0 where the map was tracked before."""

    run_id: str
    arrays: Arrays
    networks: int


@dataclass(frozen=True)
class Block:
    """Some of a map's pixels, as a range of `MapSpec.order`, and how many of their seeds are trained at once."""

    start: int
    stop: int
    seeds: int


def make_blocks(spec: MapSpec) -> list[Block]:
    """Cut a map into blocks whose memory is bounded, whatever the map's size, seeds and epochs are."""
    line = next((axis.size for axis in (spec.x, spec.y) if axis.field == "epochs"), 1)
    config = spec.largest
    width = max(2, *config.hidden)
    # 64 checkpoints of the weights, and those of a line of epochs
    values = max(config.epochs, 2 * config.samples * width, (64 + line) * config.weights)
    networks = max(1, min(BLOCK, MAX_VALUES // values))
    seeds = min(spec.seeds, networks)
    pixels = line * max(1, networks // seeds)
    return [Block(start, min(start + pixels, spec.pixels), seeds) for start in range(0, spec.pixels, pixels)]


def train_block(spec: MapSpec, block: Block) -> NDArray[np.float32]:
    """Train a block's networks; return their mean `MEASURES`, (measures, pixels), pixels as in `MapSpec.order`.

    A diverged network counts as a guess, whose gain is 0.
    """
    indices = np.unravel_index(spec.order[block.start : block.stop], spec.shape)
    configs = [spec.config(index) for index in zip(*(axis.tolist() for axis in indices), strict=True)]
    parts = []
    for first in range(0, spec.seeds, block.seeds):
        seeds = Seeds(first, min(first + block.seeds, spec.seeds))
        parts.append(final_scores(train(configs, seeds)))
    gain, state = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))  # (pixels, seeds)
    means = [gain.mean(1), *((state == name).mean(1) for name in STATES)]
    return np.array(means, np.float32)


def train_map(
    spec: MapSpec,
    scratch: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> Arrays:
    """Train what is not in ``scratch``, the folder of finished blocks, yet.

    ``progress`` is called with the number of finished networks and that of all, ``log`` with a line where finished
    blocks were found.

    Returns
    -------
    dict of measure to ndarray, `MapSpec.shape`, float32

    Raises
    ------
    WorkerLostError
        If a block killed every worker that took it; finished blocks stay.
    """
    blocks = make_blocks(spec)
    finished = {block: values for block in blocks if (values := _load(scratch, block)) is not None}
    todo = [block for block in blocks if block not in finished]
    done = spec.seeds * sum(block.stop - block.start for block in finished)
    if done:
        log(f"going on after {done:,} of {spec.networks:,} networks")
    progress(done, spec.networks)
    for i, values in run_tasks(train_block, [(spec, block) for block in todo], Workers(workers)):
        stop_if_asked()
        _save(scratch, todo[i], values)
        finished[todo[i]] = values
        done += spec.seeds * values.shape[1]
        progress(done, spec.networks)
    flat = np.empty((len(MEASURES), spec.pixels), np.float32)
    flat[:, spec.order] = np.concatenate([finished[block] for block in blocks], axis=1)
    return {name: values.reshape(spec.shape) for name, values in zip(MEASURES, flat, strict=True)}


def _path(scratch: Path, block: Block) -> Path:
    return scratch / f"{block.start}-{block.stop}.npy"


def _load(scratch: Path, block: Block) -> NDArray[np.float32] | None:
    """Return a finished block; None where it is missing or damaged."""
    try:
        values = np.load(_path(scratch, block))
    except (OSError, ValueError, EOFError):
        return None
    sound = values.shape == (len(MEASURES), block.stop - block.start) and values.dtype == np.float32
    return values if sound else None


def _save(scratch: Path, block: Block, values: NDArray[np.float32]) -> None:
    """Write a block, all of it or nothing."""
    scratch.mkdir(parents=True, exist_ok=True)
    path = _path(scratch, block)
    part = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(part, values)
    part.replace(path)


# The tracked run


def make_map(
    spec: MapSpec,
    store: Store,
    root: Path,
    pictures: Callable[[Arrays], Mapping[str, bytes]],
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Callable[[str], None] = lambda line: None,
) -> MadeMap:
    """Train and track a map, unless it is tracked, with its ``pictures``, artifacts by their paths.

    Finished blocks lie in the project's ``.cache`` until the run is written. Two processes that make the same map in
    one store take turns: the second finds the map tracked. ``workers``, ``progress`` and ``log`` are as in `train_map`.
    """
    code = code_digest()
    key = spec.fingerprint(code)
    scratch = root / ".cache" / "maps" / key
    about = {MAP: "1", TITLE: "Maps", NOTE: ABOUT}
    # a lease needs the experiment before there is a run; in a file, the experiment comes with its first run
    ids = [] if store.file is not None else [store.experiment(EXPERIMENT, about)]

    def waiting(holder: str) -> None:
        log(f"waiting for another process that makes the same map, {holder}")

    with sweep_lock(store, ids, waiting, f"map-{key}"):
        store.end_abandoned(store.maps(), is_abandoned)
        runs = [run for run in store.maps() if run.status == "FINISHED" and SUPERSEDED not in run.tags]
        for run in runs:
            if run.tags.get(FINGERPRINT) == key and (arrays := _read(store, run, spec, log)) is not None:
                return MadeMap(run.run_id, arrays, 0)
        arrays = train_map(spec, scratch, workers=workers, progress=progress, log=log)
        record = make_record(spec, arrays, pictures(arrays), code)
        experiment_id = store.experiment(EXPERIMENT, about)
        stop_if_asked()
        with finishing_first():
            run_id = store.write(experiment_id, record)
            for run in runs:
                if run.params == record.params:  # the very same map, by this code or another
                    store.tag_run(run.run_id, SUPERSEDED, run_id)
        shutil.rmtree(scratch, ignore_errors=True)
        return MadeMap(run_id, arrays, spec.networks)


def _read(store: Store, run: Tracked, spec: MapSpec, log: Callable[[str], None]) -> Arrays | None:
    """Return the arrays of a tracked map; None where they, or a picture, are not as they were written."""
    damaged = store.damaged(run)
    try:
        if not damaged:
            return from_bytes(store.read(run, ARRAYS), spec)
    except (StoreError, ValueError):
        damaged = [ARRAYS]
    log(f"making the map again, because {', '.join(damaged)} of run {run.run_id} is lost or altered")
    return None


def make_record(spec: MapSpec, arrays: Arrays, pictures: Mapping[str, bytes], code: str) -> Record:
    """Make the run of a map: its plan as params, means over all panels as metrics, arrays and pictures as files."""
    gain = arrays["gain"][np.isfinite(arrays["gain"])].astype(float)
    tags = {
        FINGERPRINT: spec.fingerprint(code),
        CODE: code,
        **made_with("qwerties map"),
        NOTE: f"{spec.name}; {spec.setting}. `map.npz` holds every measure, "
        f"(losses, activations, y, x); missing gain is undefined.",
    }
    metrics: dict[str, float | None] = {
        "pixels": float(spec.pixels),
        "networks": float(spec.networks),
        "gain": float(gain.mean()) if len(gain) else None,
        "undefined_fraction": float(1 - len(gain) / spec.pixels),
        **{f"{state}_fraction": float(arrays[state].mean(dtype=float)) for state in STATES},
    }
    return Record(
        spec.name, spec.to_params(), metrics, tags, files={ARRAYS: to_bytes(spec, arrays), **pictures}
    )
