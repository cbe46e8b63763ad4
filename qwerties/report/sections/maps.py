"""The report's part on maps: the newest one in pictures and in numbers, and where the others are.

A map is what somebody wrote into the store: its plan is parsed and its arrays are checked before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qwerties.errors import clean, plural
from qwerties.maps.marks import Mark, Placed, marks_of, place
from qwerties.maps.spec import STATES, UNREADABLE, Arrays, MapSpec, from_bytes
from qwerties.plotting.heatmap import UNITS, encode, map_figure, shares_figure
from qwerties.report.drawing import PNG, Drawing
from qwerties.report.elements import Cell, Link, Numbers, Row, Shown, Table, run_url, shown
from qwerties.report.figures import Picture
from qwerties.stats.formats import number, percent
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import SUPERSEDED

ANCHOR = "map"
SHARES = ("learned", "dead", "diverged")
GOOD = 0.8
"""Mean gain of a pixel that the table counts as good: what a single network needs to have learned."""

MAX_OTHERS = 8
"""Maps that are listed besides the newest."""


@dataclass(frozen=True)
class Maps:
    """What the template shows."""

    anchor: str
    design: str
    pictures: tuple[Shown, ...]
    table: Table | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    others: tuple[Link, ...]


def make_maps(store: Store, base: str, numbers: Numbers) -> Maps | None:
    """Make the part on maps; None where there are none.

    Parameters
    ----------
    store : Store
    base : str
        Address of MLflow's UI.
    numbers : Numbers
        Of figures and tables, in the order of the page.
    """
    runs = [run for run in store.maps() if run.status == "FINISHED" and SUPERSEDED not in run.tags]
    warnings: list[str] = []
    design, table, shown_run = "", None, None
    pictures: tuple[Shown, ...] = ()
    notes: tuple[str, ...] = ()
    for run in reversed(runs):
        try:
            spec = MapSpec.from_params(run.params)
            arrays = from_bytes(store.read(run, "map.npz"), spec)
        except (StoreError, *UNREADABLE, OverflowError, RecursionError) as error:
            warnings.append(clean(f"map {run.name} (run {run.run_id}) cannot be shown: {error}", 300))
            continue
        marks = marks_of(store)
        pictures = tuple(shown(picture, numbers) for picture in _pictures(spec, arrays, marks))
        table, notes, shown_run = _table(spec, arrays, run, base, numbers), _notes(spec, marks), run
        design = _design(spec)
        break
    if not (pictures or warnings):
        return None
    others = [run for run in reversed(runs) if run is not shown_run][:MAX_OTHERS]
    links = tuple(Link(clean(run.name), run_url(base, run)) for run in others)
    return Maps(ANCHOR, design, pictures, table, notes, tuple(warnings), links)


def _design(spec: MapSpec) -> str:
    return (
        f"{plural(spec.pixels, 'pixel')}, {plural(spec.seeds, 'seed')} each, {plural(spec.networks, 'network')}; all "
        f"of them: {spec.setting}."
        if spec.setting
        else f"{plural(spec.pixels, 'pixel')}, {plural(spec.seeds, 'seed')} each."
    )


def _pictures(spec: MapSpec, arrays: Arrays, marks: Sequence[Mark]) -> list[Picture]:
    placed = place(spec, marks)
    axes = f"{_words(spec.x.field)} to the right and {_words(spec.y.field)} upwards"
    best = "; ".join(f"{name}: {_summary(spec, arrays, i, j)}" for i, j, name in spec.panels)
    marked = "; ".join(
        f"{one.mark.name} on the panel {spec.losses[one.panel[0]]} · {spec.activations[one.panel[1]]} at "
        f"{_at(spec, one)}"
        for one in placed
    )
    undefined = " Grey is undefined." if np.isnan(arrays["gain"]).any() else ""
    hollow = (
        " A hollow mark differs from the map’s networks in other settings."
        if not all(p.exact for p in placed)
        else ""
    )
    gain = _picture(
        map_figure(spec, arrays["gain"], "gain", placed),
        ("gain",),
        f"Mean gain of {plural(spec.seeds, 'network')} a pixel, by {axes}: 1 is the best that any classifier can do, 0 "
        f"is a guess, below 0 is worse than one. A diverged network counts as a guess.{undefined}{hollow}",
        f"Maps, one for each loss and activation. {best}. Marked: {marked or 'nothing'}.",
    )
    told = "; ".join(
        f"{name}: {', '.join(f'{percent(float(arrays[s][i, j].mean(dtype=float)))} {s}' for s in SHARES)}"
        for i, j, name in spec.panels
    )
    shares = _picture(
        shares_figure(spec, arrays, SHARES),
        SHARES,
        f"Share of each pixel’s networks that learned, died and diverged, on the same axes. A pixel has "
        f"{plural(spec.seeds, 'network')}.",
        f"Small maps. Over whole panels, {told}.",
    )
    return [gain, shares]


def _picture(fig: Figure, measures: tuple[str, ...], caption: str, alt: str) -> Picture:
    width, height = (round(100 * float(inches)) for inches in fig.get_size_inches())
    return Picture(Drawing(PNG, encode, fig, *measures), width, height, caption, alt)


def _words(field: str) -> str:
    return UNITS.get(field, field.replace("_", " "))


def _at(spec: MapSpec, one: Placed) -> str:
    """Where a mark lies, in words."""
    config = one.mark.config
    return ", ".join(f"{axis.words} {getattr(config, axis.field):.3g}" for axis in (spec.x, spec.y))


def _summary(spec: MapSpec, arrays: Arrays, i: int, j: int) -> str:
    gain = arrays["gain"][i, j]
    if not np.isfinite(gain).any():
        return "undefined everywhere"
    return f"gain of {GOOD} or more on {percent(_good(gain))} of the pixels"


def _good(gain: Any) -> float:
    """Share of the pixels with a value whose gain is good."""
    known = gain[np.isfinite(gain)]
    return float((known >= GOOD).mean()) if len(known) else np.nan


def _table(spec: MapSpec, arrays: Arrays, run: Tracked, base: str, numbers: Numbers) -> Table:
    rows, data = [], []
    for i, j, name in spec.panels:
        gain = arrays["gain"][i, j]
        known = gain[np.isfinite(gain)].astype(float)
        told = {
            "pixels": int(gain.size),
            "undefined": int(gain.size - len(known)),
            "mean_gain": float(known.mean()) if len(known) else np.nan,
            "good_pixels": _good(gain),
            **{state: float(arrays[state][i, j].mean(dtype=float)) for state in STATES},
        }
        cells = [Cell(number(told["mean_gain"], 2)), Cell(percent(told["good_pixels"]))]
        rows.append(
            Row(
                Link(name, run_url(base, run)),
                (),
                (*cells, *(Cell(percent(told[state])) for state in STATES)),
            )
        )
        data.append({"panel": name, "run": run.run_id, **told})
    return Table(
        numbers.table(),
        "The panels in numbers: means over all pixels, each counted alike, so that they describe the ranges that were "
        "chosen as much as the networks.",
        ("Panel", "Gain", f"Pixels with gain ≥ {GOOD}", *map(str.capitalize, STATES)),
        tuple(rows),
        tuple(data),
    )


def _notes(spec: MapSpec, marks: Sequence[Mark]) -> tuple[str, ...]:
    placed = {one.mark.config for one in place(spec, marks)}
    off = [mark.name for mark in marks if mark.config not in placed]
    notes = [
        "A map shows where things happen, not how surely: a pixel is the mean of "
        f"{plural(spec.seeds, 'network')}, all pixels share their seeds, and no verdict comes from here."
    ]
    if off:
        notes.append(f"Outside of these ranges or panels: {', '.join(off)}.")
    return tuple(notes)
