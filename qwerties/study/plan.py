"""An experiment's plan in the store: written before the first run, read by sweep, status and report alike.

The plan stands in tags of the MLflow experiment. MLflow's API has no artifacts of an experiment, a run that held the
plan could be deleted by itself, and one query reads the tags of all experiments. A text longer than a tag is cut into
chunks, `NAME`, `NAME.2`, ...; the first chunk then says how many there are and the digest of the whole text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from qwerties.config import Config, Seeds, fingerprint
from qwerties.errors import clean
from qwerties.scoring.digest import code_digest
from qwerties.study.experiment import Experiment, difference_name
from qwerties.tracking.records import Tracked
from qwerties.tracking.tags import (
    CONTRASTS,
    FAILURE,
    FIGURES,
    NOTE,
    ORDER,
    PLAN,
    PLAN_CHANGES,
    QUESTION,
    STUDY,
    SUPERSEDED,
    TITLE,
    TRIAL,
)

MAX_TAG = 5000  # characters that every MLflow server takes in a tag of an experiment
MAX_CHUNKS = 10_000
ALWAYS_TRACKED = "train_loss"  # a metric of every run that trains
LAST = 10**9  # order of an experiment whose tags give it none

UNREADABLE_JSON = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What is trained: configs by their fingerprints, each with its label, on these seeds, by this code."""

    seeds: Seeds
    code: str
    configs: Mapping[str, str]

    def key(self, config: Config) -> str:
        """Return the fingerprint that the config has in this plan, if it is in it."""
        return fingerprint(config, self.seeds, self.code)


@dataclass(frozen=True)
class FigureSpec:
    """A figure that an experiment asks for; fields as in ``experiment.Figure``."""

    kind: str
    x: str | None
    score: str


@dataclass(frozen=True)
class PlannedContrast:
    """A contrast as the store holds it; fields as in ``experiment.Contrast``.

    ``late`` says why a contrast was declared primary too late, and is empty for all others. Read from the store,
    ``primary`` is False where it is not empty.
    """

    a: Config
    b: Config
    delta: float
    primary: bool
    names: tuple[str, str] | None = None
    late: str = ""

    @property
    def key(self) -> tuple[Any, Any]:
        """What identifies a contrast when its plan changes: the arms, or their names."""
        return self.names or (self.a, self.b)

    @property
    def declared_primary(self) -> bool:
        """Whether its file calls it primary, late or not."""
        return self.primary or bool(self.late)

    @property
    def label(self) -> str:
        """What is compared, as a difference."""
        return " − ".join(self.names) if self.names else difference_name(self.a, self.b)

    def to_json(self) -> dict[str, Any]:
        """Return what the store holds of it."""
        return {
            "a": self.a.to_params(),
            "b": self.b.to_params(),
            "delta": self.delta,
            "primary": self.declared_primary,
            **({"names": list(self.names)} if self.names else {}),
            **({"late": self.late} if self.late else {}),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PlannedContrast:
        """Read what `to_json` returned; `UNREADABLE_JSON` is raised where the store holds something else."""
        names = stored.get("names")
        first, second = names or ("", "")
        delta = float(stored["delta"])
        if not 0 < delta < math.inf:
            raise ValueError(f"delta must be a finite number above 0, got {delta!r}")
        primary, late = stored["primary"] is True, stored.get("late")
        return cls(
            a=Config.from_params(stored["a"]),
            b=Config.from_params(stored["b"]),
            delta=delta,
            primary=primary and not late,
            names=(str(first), str(second)) if names else None,
            late=clean(late, 200) if primary and late else "",
        )


@dataclass(frozen=True)
class Declaration:
    """What the tags of an experiment say; ``problems`` name the tags that cannot be read."""

    title: str
    question: str
    order: int
    figures: tuple[FigureSpec, ...]
    contrasts: tuple[PlannedContrast, ...]
    plan: Plan | None
    plan_changes: tuple[str, ...]
    problems: tuple[str, ...]


# Writing


def planned_contrasts(experiment: Experiment) -> list[PlannedContrast]:
    """Return an experiment's contrasts as its plan holds them."""
    return [PlannedContrast(**vars(contrast)) for contrast in experiment.contrasts]


def plan_tags(experiment: Experiment, seeds: Seeds) -> dict[str, str]:
    """Return the tags that hold an experiment's plan, but for its contrasts."""
    code = code_digest()
    plan = {
        "seeds": str(seeds),
        "code": code,
        "configs": {fingerprint(config, seeds, code): config.label() for config in experiment.configs},
    }
    return {
        **question_tags(experiment.title, experiment.question, experiment.order),
        FIGURES: json.dumps([dataclasses.asdict(figure) for figure in experiment.figures]),
        **to_chunks(PLAN, json.dumps(plan)),
    }


def question_tags(title: str, question: str, order: int) -> dict[str, str]:
    """Return the tags that say what an experiment asks, and where its section stands."""
    return {NOTE: question, TITLE: title, QUESTION: question, ORDER: str(order)}


def to_chunks(name: str, text: str) -> dict[str, str]:
    """Return the tags that hold a text, one where it fits."""
    if len(text) <= MAX_TAG:
        return {name: text}
    chunks = [text[first : first + MAX_TAG] for first in range(0, len(text), MAX_TAG)]
    head = json.dumps({"chunks": len(chunks), "digest": _digest(text)})
    return {name: head, **{f"{name}.{i}": chunk for i, chunk in enumerate(chunks, start=2)}}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Reading


def read_declaration(experiment_name: str, tags: Mapping[str, str]) -> Declaration:
    """Read an experiment's tags, which anybody may have written; what cannot be read is named."""
    problems = []

    def read(name: str, parse: Callable[[str], T], default: T) -> T:
        if name not in tags:
            return default
        try:
            return parse(from_chunks(name, tags))
        except UNREADABLE_JSON:
            problems.append(f"the tag {name} cannot be read")
            return default

    return Declaration(
        title=tags.get(TITLE) or experiment_name,
        question=tags.get(QUESTION) or tags.get(NOTE) or "",
        plan=read(PLAN, _parse_plan, None),
        order=read(ORDER, int, LAST),
        figures=read(FIGURES, _parse_figures, ()),
        contrasts=read(CONTRASTS, _parse_contrasts, ()),
        plan_changes=read(PLAN_CHANGES, _parse_changes, ()),
        problems=tuple(problems),
    )


def from_chunks(name: str, tags: Mapping[str, str]) -> str:
    """Join the text that `to_chunks` has cut.

    Raises
    ------
    ValueError, TypeError, KeyError
        If a chunk is missing, or belongs to another text.
    """
    text = tags[name]
    if not text.startswith('{"chunks"'):
        return text
    head = json.loads(text)
    if type(head["chunks"]) is not int or not 2 <= head["chunks"] <= MAX_CHUNKS:
        raise ValueError(f"chunks must be a whole number from 2 to {MAX_CHUNKS}, got {head['chunks']!r}")
    joined = "".join(tags[f"{name}.{i}"] for i in range(2, head["chunks"] + 2))
    if _digest(joined) != head["digest"]:
        raise ValueError(f"the chunks of {name} belong to different texts")
    return joined


def _parse_plan(text: str) -> Plan | None:
    plan = json.loads(text)
    configs = {str(key): str(label) for key, label in plan["configs"].items()}
    return Plan(Seeds.parse(plan["seeds"]), str(plan["code"]), configs)


def _parse_figures(text: str) -> tuple[FigureSpec, ...]:
    def parse(figure: Mapping[str, object]) -> FigureSpec:
        x = figure.get("x")
        score = figure.get("score", "population_accuracy")
        return FigureSpec(str(figure["kind"]), None if x is None else str(x), str(score))

    return tuple(map(parse, json.loads(text)))


def _parse_contrasts(text: str) -> tuple[PlannedContrast, ...]:
    return tuple(map(PlannedContrast.from_json, json.loads(text)))


def _parse_changes(text: str) -> tuple[str, ...]:
    return tuple(
        f"on {change['when']}, with {int(change['runs']):,} runs tracked: {'; '.join(map(str, change['what']))}"
        for change in json.loads(text)
    )


def readable_contrasts(tags: Mapping[str, str]) -> list[PlannedContrast]:
    """Return the stored contrasts; none where they cannot be read."""
    try:
        return list(_parse_contrasts(from_chunks(CONTRASTS, tags)))
    except UNREADABLE_JSON:  # no such tag, or somebody else's
        return []


def arms_by_name(contrasts: Iterable[PlannedContrast]) -> dict[str, Config]:
    """Return the arms of contrasts between named arms."""
    return {name: arm for c in contrasts if c.names for name, arm in zip(c.names, (c.a, c.b), strict=True)}


def config_of(run: Tracked) -> Config | None:
    """Return the config that a run's params hold, or None where they hold none."""
    try:
        return Config.from_params(run.params)
    except ValueError:
        return None


def seeds_of(run: Tracked) -> Seeds | None:
    """Return the seeds that a run's params hold, or None where they hold none."""
    try:
        return Seeds.parse(run.params.get("seeds", ""))
    except ValueError:
        return None


def runs_of_search(name: str, runs: Sequence[Tracked]) -> tuple[Tracked | None, list[Tracked]]:
    """Return the run of a search that counts, and the runs of trials that are not superseded."""
    current = [run for run in runs if run.tags.get(STUDY) == name and SUPERSEDED not in run.tags]
    parents = [run for run in current if run.parent is None and TRIAL not in run.tags]
    return parents[-1] if parents else None, [run for run in current if TRIAL in run.tags]


def is_whole_trial(run: Tracked) -> bool:
    """Return whether a trial's run was written to its end, and holds its losses; a diverged one is FAILED, no more."""
    is_ended = run.status == "FINISHED" or (run.status == "FAILED" and FAILURE not in run.tags)
    return is_ended and ALWAYS_TRACKED in run.metrics and config_of(run) is not None
