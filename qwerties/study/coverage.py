"""What was planned, and what of it is in the store: one coverage per experiment.

The plan stands in the experiment's tags; a run counts towards it if it is finished, was made by the plan's code,
is no exemplar, and was not made anew since. Runs of one config on different blocks of seeds are one config with more
seeds. Everything read here was written by somebody else: what cannot be read is told, and counts as missing.
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qwerties.config import Config, Seeds, fingerprint
from qwerties.errors import clean
from qwerties.study.chunks import CONTRASTS, PartError, contrasts_of, read_parts, tag_of
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import FAILURE, PROCESS, STUDY, SUPERSEDED

STATES = ("learned", "slow", "constant", "dead", "diverged")
SCORES = ("train_accuracy", "phi", "population_accuracy", "gain")
"""Columns without which a run's ``seeds.csv`` is of no use."""

UNREADABLE = (ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises on bytes that are no archive of arrays."""

PARTED = ("qwerties.plan", CONTRASTS)
"""Tags that may be too long for one (`parts`)."""

LAST = 10**9  # place of an experiment whose tags give it none

COUNTED = ("done", "missing", "running", "failed", "lost")
"""How a planned config may stand."""


@dataclass(frozen=True)
class Plan:
    """What an experiment wants: configs by their fingerprints, each on these seeds, by this code."""

    seeds: Seeds
    code: str
    configs: Mapping[str, str]  # fingerprint -> the config in words

    def key(self, config: Config) -> str:
        """Return the fingerprint that the config has in this plan, if it is in it."""
        return fingerprint(config, self.seeds, self.code)


@dataclass(frozen=True)
class FigureSpec:
    """The figure that an experiment asks for; fields as in ``experiment.Figure``."""

    kind: str
    x: str | None
    score: str


@dataclass(frozen=True)
class PlannedContrast:
    """Two configs that were to be compared; ``names`` are what the plan called them before they were known.

    ``late`` says why a contrast that was declared primary counts as exploratory; it is empty for all others.
    """

    a: Config
    b: Config
    delta: float
    primary: bool
    names: tuple[str, str] | None = None
    late: str = ""


@dataclass(frozen=True)
class PlannedConfig:
    """One planned config, and the runs that count towards it.

    `state` is "done" where the runs cover every planned seed; else "running", "lost" or "failed" where a run of it is,
    else "missing". `config` is None where no run of it tells. `others` are those that do not count: running, failed,
    or without their scores.
    """

    name: str
    config: Config | None
    runs: tuple[Tracked, ...]
    state: str
    others: tuple[Tracked, ...] = ()


@dataclass(frozen=True)
class Coverage:
    """One experiment: its plan, and what became of it.

    Attributes
    ----------
    plan : Plan or None
        None where the experiment never had one (single networks), or has one that cannot be read (see `problems`).
    entries : tuple of PlannedConfig
        In the plan's order.
    stale, unplanned : int
        Finished runs of other code, and of configs that are not, or no longer, in the plan.
    loose : tuple of Tracked
        Runs of an experiment without a plan.
    plan_changes : tuple of str
        What was changed in margins and primary contrasts after there were runs, in words.
    problems : tuple of str
        What in the tags cannot be read.
    superseded : int
        Runs that others took the place of; they count nowhere.
    """

    experiment_name: str
    experiment_id: str
    title: str
    question: str
    order: int
    figures: tuple[FigureSpec, ...]
    contrasts: tuple[PlannedContrast, ...]
    plan: Plan | None
    entries: tuple[PlannedConfig, ...]
    stale: int
    unplanned: int
    loose: tuple[Tracked, ...]
    plan_changes: tuple[str, ...]
    problems: tuple[str, ...]
    superseded: int = 0

    def count(self, state: str) -> int:
        """Count the planned configs in a state."""
        return sum(entry.state == state for entry in self.entries)

    @property
    def complete(self) -> bool:
        """Whether every planned config is done."""
        return not self.problems and all(entry.state == "done" for entry in self.entries)

    def find(self, config: Config) -> PlannedConfig | None:
        """Find a config's entry; None where it is not planned."""
        keys = list(self.plan.configs) if self.plan else []
        key = self.plan.key(config) if self.plan else ""
        return self.entries[keys.index(key)] if key in keys else None


def read_coverages(store: Store, is_lost: Callable[[Tracked], bool] = lambda run: False) -> list[Coverage]:
    """Read every experiment of the store, in the report's order; ``is_lost`` as in `make_coverage`."""
    coverages = [
        make_coverage(experiment_name, experiment_id, tags, store.runs(experiment_id), is_lost)
        for experiment_name, (experiment_id, tags) in store.experiments().items()
    ]
    return sorted(coverages, key=lambda coverage: (coverage.order, coverage.experiment_name))


def make_coverage(
    experiment_name: str,
    experiment_id: str,
    tags: Mapping[str, str],
    runs: Sequence[Tracked],
    is_lost: Callable[[Tracked], bool] = lambda run: False,
) -> Coverage:
    """Join an experiment's plan with its runs; a finished run that ``is_lost`` says has lost its scores is not done."""
    problems: list[str] = []

    def parsed(tag: str, parse: Any, otherwise: Any) -> Any:
        if tag not in tags:
            return otherwise
        try:
            return parse(tags) if tag in PARTED else parse(tags[tag])
        except PartError as error:
            problems.append(f"the tag {error} cannot be read")
            return otherwise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            problems.append(f"the tag {tag} cannot be read")
            return otherwise

    runs = [run for run in runs if STUDY not in run.tags]
    top = [run for run in runs if run.parent is None and SUPERSEDED not in run.tags]
    plan: Plan | None = parsed("qwerties.plan", _parse_plan, None)
    common: dict[str, Any] = {
        "experiment_name": experiment_name,
        "experiment_id": experiment_id,
        "title": tags.get("qwerties.title") or experiment_name,
        "question": tags.get("qwerties.question") or tags.get("mlflow.note.content") or "",
        "order": parsed("qwerties.order", int, LAST),
        "figures": parsed("qwerties.figures", _parse_figures, ()),
        "contrasts": parsed(CONTRASTS, _parse_contrasts, ()),
        "plan_changes": parsed("qwerties.plan_changes", _parse_changes, ()),
        "superseded": sum(run.parent is None and SUPERSEDED in run.tags for run in runs),
    }
    if plan is None:
        return Coverage(
            **common, plan=None, entries=(), stale=0, unplanned=0, loose=tuple(top), problems=tuple(problems)
        )

    stale = [run for run in top if run.status == "FINISHED" and run.tags.get("qwerties.code") != plan.code]
    current = [run for run in top if run.tags.get("qwerties.code") == plan.code]
    counted: dict[str, list[tuple[Config, Tracked]]] = {key: [] for key in plan.configs}
    unplanned = 0
    for run in current:
        config = config_of(run)
        key = plan.key(config) if config else ""
        if config and key in counted and _fits(run, plan):
            counted[key].append((config, run))
        else:
            unplanned += run.status == "FINISHED"
    entries = tuple(_make_entry(name, counted[key], plan, is_lost) for key, name in plan.configs.items())
    return Coverage(
        **common,
        plan=plan,
        entries=entries,
        stale=len(stale),
        unplanned=unplanned,
        loose=(),
        problems=tuple(problems),
    )


def _make_entry(
    name: str, found: Sequence[tuple[Config, Tracked]], plan: Plan, is_lost: Callable[[Tracked], bool]
) -> PlannedConfig:
    finished = tuple(run for _, run in found if run.status == "FINISHED" and not is_lost(run))
    others = tuple(run for _, run in found if run not in finished)
    covered = {number for run in finished for number in Seeds.parse(run.params["seeds"]).numbers.tolist()}
    statuses = {run.status for _, run in found}
    if covered >= set(plan.seeds.numbers.tolist()):
        state = "done"
    elif statuses & {"RUNNING", "SCHEDULED"}:
        state = "running"
    elif any(run.status == "FINISHED" for run in others):
        state = "lost"
    else:
        state = "failed" if statuses & {"FAILED", "KILLED"} else "missing"
    return PlannedConfig(name, found[0][0] if found else None, finished, state, others)


def config_of(run: Tracked) -> Config | None:
    """Return the config that a run's params tell, or None where they tell none."""
    try:
        return Config.from_params(run.params)
    except ValueError:
        return None


def config_names(configs: Sequence[Config]) -> list[str]:
    """Name configs by what differs among them; a single one by all that one would say of it."""
    full = [config.label().split(" · ") for config in configs]
    if len(set(configs)) < 2:
        return [" · ".join(parts) for parts in full]
    common = set(full[0]).intersection(*full)
    short = [" · ".join(part for part in parts if part not in common) for parts in full]
    return short if all(short) else [config.label(configs) for config in configs]


def _fits(run: Tracked, plan: Plan) -> bool:
    """Tell whether a run's seeds can be joined with the plan's: a crossed layout must be the very same."""
    try:
        block = Seeds.parse(run.params.get("seeds", ""))
    except ValueError:
        return False
    return block == plan.seeds or (block.crossed is None and plan.seeds.crossed is None)


def _parse_plan(tags: Mapping[str, str]) -> Plan:
    first, *more = read_parts("qwerties.plan", tags)
    configs: dict[str, str] = {}
    for i, part in enumerate((first, *more), start=1):
        try:
            if (part["seeds"], part["code"]) != (first["seeds"], first["code"]):
                raise ValueError("a part of another plan")
            configs |= {str(key): str(name) for key, name in part["configs"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PartError(tag_of("qwerties.plan", i)) from error
    return Plan(Seeds.parse(first["seeds"]), str(first["code"]), configs)


def _parse_figures(text: str) -> tuple[FigureSpec, ...]:
    return tuple(
        FigureSpec(
            str(figure["kind"]),
            None if figure.get("x") is None else str(figure["x"]),
            str(figure.get("score", "population_accuracy")),
        )
        for figure in json.loads(text)
    )


def _parse_contrasts(tags: Mapping[str, str]) -> tuple[PlannedContrast, ...]:
    return tuple(
        PlannedContrast(
            Config.from_params(contrast["a"]),
            Config.from_params(contrast["b"]),
            float(contrast["delta"]),
            contrast["primary"] is True and not contrast.get("late"),
            _parse_names(contrast.get("names")),
            clean(str(contrast["late"]), 200) if contrast["primary"] is True and contrast.get("late") else "",
        )
        for contrast in contrasts_of(tags)
    )


def _parse_names(names: Any) -> tuple[str, str] | None:
    if names is None:
        return None
    one, other = (str(name) for name in names)
    return one, other


def _parse_changes(text: str) -> tuple[str, ...]:
    return tuple(
        f"on {change['when']}, with {int(change['runs']):,} runs tracked: {'; '.join(map(str, change['what']))}"
        for change in json.loads(text)
    )


# What the runs hold


@dataclass(frozen=True)
class SeedTable:
    """Every network of one config: its runs' tables joined, no seed twice.

    Attributes
    ----------
    config : Config
    runs : tuple of Tracked
        Those that could be read.
    rows : tuple of ndarray
        For each run, which rows of its tables are used.
    frame : DataFrame
        ``seeds.csv`` of all of them, in the runs' order.
    """

    config: Config
    runs: tuple[Tracked, ...]
    rows: tuple[NDArray[np.intp], ...]
    frame: pd.DataFrame


def read_seed_table(store: Store, entry: PlannedConfig) -> tuple[SeedTable | None, list[str]]:
    """Read a config's per-seed scores.

    Returns
    -------
    SeedTable or None
        None where no run could be read.
    list of str
        What could not be read, or contradicts itself.
    """
    (found,) = read_seed_tables(store, [entry])
    return found


def read_seed_tables(
    store: Store, entries: Sequence[PlannedConfig]
) -> list[tuple[SeedTable | None, list[str]]]:
    """Read the per-seed scores of many configs at once, each as `read_seed_table` returns it."""
    contents: dict[str, bytes] = {}
    unread: dict[str, Exception] = {}
    for run in (run for entry in entries for run in entry.runs):
        try:
            contents[run.run_id] = store.read(run, "seeds.csv")
        except StoreError as error:
            unread[run.run_id] = error
    tables = dict(zip(contents, parse_tables(list(contents.values())), strict=True))
    return [_join(entry, {**tables, **unread}) for entry in entries]


def _join(
    entry: PlannedConfig, tables: Mapping[str, pd.DataFrame | Exception]
) -> tuple[SeedTable | None, list[str]]:
    """Join the tables of a config's runs, by the runs' ids."""
    runs, rows, frames, problems = [], [], [], []
    seen: set[int] = set()
    for run in entry.runs:
        frame = tables[run.run_id]
        if isinstance(frame, StoreError):
            problems.append(str(frame))
            continue
        if isinstance(frame, Exception):
            problems.append(f"run {run.run_id} ({run.name}): seeds.csv cannot be read: {frame}")
            continue
        numbers = frame["seed"].tolist()
        fresh = set(numbers) - seen
        if len(fresh) == len(numbers):
            used = np.arange(len(numbers))
        else:
            used = np.flatnonzero(frame["seed"].isin(fresh) & ~frame["seed"].duplicated())
            frame = frame.iloc[used]
        seen |= fresh
        runs.append(run)
        rows.append(used)
        frames.append(frame)
    if entry.config is None or not frames:
        return None, problems
    joined = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    return SeedTable(entry.config, tuple(runs), tuple(rows), joined), problems


def parse_tables(contents: Sequence[bytes]) -> list[pd.DataFrame | ValueError]:
    """Read many ``seeds.csv``, each as `parse_scores` does, or the error that it raises.

    Tables with the same columns are read as one: pandas takes as long to begin with one as to read a thousand rows.
    A column that holds whole numbers in some tables only is one of floats in all of them.
    """
    alike: dict[bytes, list[int]] = {}
    for i, content in enumerate(contents):
        alike.setdefault(content.partition(b"\n")[0], []).append(i)
    found: dict[int, pd.DataFrame | ValueError] = {}
    for places in alike.values():
        together = _parse_alike([contents[i] for i in places]) if len(places) > 1 else None
        if together is None:
            together = [_parsed(contents[i]) for i in places]
        found.update(zip(places, together, strict=True))
    return [found[i] for i in range(len(contents))]


def _parse_alike(contents: Sequence[bytes]) -> list[pd.DataFrame | ValueError] | None:
    """Read tables with the same header as one; None where what is in one might change how another one is read."""
    header = contents[0].partition(b"\n")[0]
    rows = [content.partition(b"\n")[2].removesuffix(b"\n") for content in contents]
    frame = _parsed(b"\n".join((header, *rows)))
    ends = np.cumsum([part.count(b"\n") + 1 for part in rows])
    if isinstance(frame, ValueError) or len(frame) != ends[-1] or any(b"\r" in part for part in rows):
        return None
    plain = (pd.api.types.is_numeric_dtype(kind) for name, kind in frame.dtypes.items() if name != "state")
    if not isinstance(frame.index, pd.RangeIndex) or not all(plain):
        return None
    return [frame.iloc[start:end] for start, end in itertools.pairwise((0, *ends.tolist()))]


def _parsed(content: bytes) -> pd.DataFrame | ValueError:
    try:
        return parse_scores(content)
    except ValueError as error:
        return error


def parse_scores(content: bytes) -> pd.DataFrame:
    """Read a ``seeds.csv``.

    Raises
    ------
    ValueError
        If it is no table of scores.
    """
    frame = pd.read_csv(io.BytesIO(content), low_memory=False)
    if absent := sorted({"seed", "state", *SCORES} - set(frame.columns)):
        raise ValueError(f"it lacks the columns {', '.join(absent)}")
    if not pd.api.types.is_integer_dtype(frame["seed"]):
        raise ValueError("its seeds must be whole numbers")
    if not set(frame["state"]) <= set(STATES):
        raise ValueError(f"its states must be among {', '.join(STATES)}")
    for column in SCORES:
        if frame[column].dtype != np.float64:
            frame[column] = frame[column].astype(float)
    return frame


def read_curves(store: Store, networks: SeedTable, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read one array of ``curves.npz`` over all of a config's networks.

    Returns
    -------
    epochs : ndarray, (points,)
        Where losses were kept.
    array : ndarray, (networks, ...)
        Row by row as `networks.frame`.

    Raises
    ------
    StoreError
        If it is missing or cannot be read.
    """
    epochs: NDArray[Any] = np.empty(0)
    parts: list[NDArray[Any]] = []
    for run, rows in zip(networks.runs, networks.rows, strict=True):
        content = store.read(run, "curves.npz")
        try:
            arrays = read_arrays(content, ("epochs", name))
            epochs = arrays["epochs"]
            parts.append(arrays[name][rows])
        except (*UNREADABLE, KeyError, IndexError) as error:
            raise StoreError(f"run {run.run_id} ({run.name}): curves.npz cannot be read") from error
    try:
        return epochs, np.concatenate(parts)
    except ValueError as error:
        raise StoreError(f"the runs of {networks.config.label()} hold curves of different shapes") from error


def checked_coverages(store: Store) -> list[Coverage]:
    """Read the coverages of a store; a finished run without its ``seeds.csv`` has lost its scores."""
    return read_coverages(store, lambda run: store.lacks(run, "seeds.csv"))


def experiment_json(coverage: Coverage) -> dict[str, Any]:
    """Put one experiment into an object, as `to_json` tells it."""
    return {
        "experiment": coverage.experiment_name,
        "title": coverage.title,
        "complete": coverage.complete,
        "planned": None if coverage.plan is None else len(coverage.entries),
        **{state: coverage.count(state) for state in COUNTED},
        "stale": coverage.stale,
        "superseded": coverage.superseded,
        "unplanned": coverage.unplanned,
        "loose": len(coverage.loose),
        "problems": list(coverage.problems),
        "configs": [
            {
                "config": entry.name,
                "state": entry.state,
                "runs": [run.run_id for run in entry.runs],
                "others": [
                    {
                        "run": run.run_id,
                        "status": run.status,
                        "process": run.tags.get(PROCESS),
                        "failure": run.tags.get(FAILURE),
                    }
                    for run in entry.others
                ],
            }
            for entry in coverage.entries
        ],
    }
