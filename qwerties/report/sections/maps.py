"""Maps: the newest one as a figure and in numbers, and where the others are.

A map is what somebody wrote into the store: its plan is parsed and its arrays are checked before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from qwerties.errors import clean, plural
from qwerties.maps.marks import Mark, Placed, marks_of, place
from qwerties.maps.spec import STATES, UNREADABLE, Arrays, MapSpec, from_bytes
from qwerties.plotting.heatmap import UNITS
from qwerties.report import figures
from qwerties.report.elements import (
    Block,
    Cell,
    Details,
    Figure,
    Link,
    Notice,
    Row,
    Section,
    Table,
    Text,
    paragraph,
)
from qwerties.report.results import Results
from qwerties.stats.formats import number, percent
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import StoreError
from qwerties.tracking.tags import SUPERSEDED

TITLE, ANCHOR = "Map", "map"
QUESTION = (
    "Where does training work at all? Two settings are spread over a picture, and every pixel is trained."
)
SHARES = ("learned", "dead", "diverged")
GOOD = 0.8  # mean gain of a pixel that counts as good: what a single network needs to have learned
MAX_OTHERS = 8  # maps that are listed besides the newest


def build(results: Results) -> Section | None:
    """Show the newest map that can be read; None where there are none."""
    store = results.store
    runs = [run for run in store.maps() if run.status == "FINISHED" and SUPERSEDED not in run.tags]
    warnings: list[str] = []
    shown: list[Block] = []
    newest = None
    for run in reversed(runs):
        try:
            spec = MapSpec.from_params(run.params)
            arrays = from_bytes(store.read(run, "map.npz"), spec)
        except (StoreError, *UNREADABLE, OverflowError, RecursionError) as error:
            warnings.append(clean(f"map {run.name} (run {run.run_id}) cannot be shown: {error}", 300))
            continue
        marks, newest = marks_of(store), run
        gain, shares = _figures(spec, arrays, marks)
        notes = map(paragraph, _notes(spec, marks))
        numbers: list[Block] = [_table(results, spec, arrays, run), Figure(shares), *notes]
        shown = [
            paragraph(_design(spec), "design"),
            Figure(gain),
            Details("Shares of networks, and the panels in numbers", tuple(numbers)),
        ]
        break
    if not (shown or warnings):
        return None
    others = [run for run in reversed(runs) if run is not newest][:MAX_OTHERS]
    blocks: list[Block] = [paragraph(QUESTION, "question")]
    blocks += [Notice(tuple(warnings))] if warnings else []
    blocks += shown
    blocks += [_other_maps(results, others)] if others else []
    return Section(TITLE, tuple(blocks))


def _other_maps(results: Results, runs: Sequence[Tracked]) -> Text:
    links = Markup(", ").join(
        Markup('<a href="{}"><bdi>{}</bdi></a>').format(results.run_url(run), clean(run.name)) for run in runs
    )
    return Text(Markup("<p>Other maps in the store: {}.</p>").format(links), "note")


def _design(spec: MapSpec) -> str:
    return (
        f"{plural(spec.pixels, 'pixel')}, {plural(spec.seeds, 'seed')} each, {plural(spec.networks, 'network')}; all "
        f"of them: {spec.setting}."
        if spec.setting
        else f"{plural(spec.pixels, 'pixel')}, {plural(spec.seeds, 'seed')} each."
    )


def _figures(
    spec: MapSpec, arrays: Arrays, marks: Sequence[Mark]
) -> tuple[figures.ReportFigure, figures.ReportFigure]:
    """The figure of mean gains with its marks, and that of the shares."""
    placed = place(spec, marks)
    axes = f"{_words(spec.x.field)} to the right and {_words(spec.y.field)} upwards"
    best = "; ".join(f"{name}: {_summary(arrays, i, j)}" for i, j, name in spec.panels)
    marked = "; ".join(
        f"{one.mark.name} on the panel {spec.losses[one.panel[0]]} · {spec.activations[one.panel[1]]} at "
        f"{_at(spec, one)}"
        for one in placed
    )
    undefined = " Grey is undefined." if np.isnan(arrays["gain"]).any() else ""
    hollow = (
        " A hollow mark differs from the map’s networks in other settings."
        if not all(one.exact for one in placed)
        else ""
    )
    gain = figures.map_gain_figure(
        spec,
        arrays,
        placed,
        f"Mean gain of {plural(spec.seeds, 'network')} a pixel, by {axes}: 1 is the best that any classifier can do, 0 "
        f"is a guess, below 0 is worse than one. A diverged network counts as a guess.{undefined}{hollow}",
        f"Maps, one for each loss and activation. {best}. Marked: {marked or 'nothing'}.",
    )
    listed = "; ".join(
        f"{name}: {', '.join(f'{percent(float(arrays[s][i, j].mean(dtype=float)))} {s}' for s in SHARES)}"
        for i, j, name in spec.panels
    )
    shares = figures.map_shares_figure(
        spec,
        arrays,
        SHARES,
        f"Share of each pixel’s networks that learned, died and diverged, on the same axes. A pixel has "
        f"{plural(spec.seeds, 'network')}.",
        f"Small maps. Over whole panels, {listed}.",
    )
    return gain, shares


def _words(field: str) -> str:
    return UNITS.get(field, field.replace("_", " "))


def _at(spec: MapSpec, one: Placed) -> str:
    """Where a mark lies, in words."""
    config = one.mark.config
    return ", ".join(f"{axis.words} {getattr(config, axis.field):.3g}" for axis in (spec.x, spec.y))


def _summary(arrays: Arrays, i: int, j: int) -> str:
    gain = arrays["gain"][i, j]
    if not np.isfinite(gain).any():
        return "undefined everywhere"
    return f"gain of {GOOD} or more on {percent(_good(gain))} of the pixels"


def _good(gain: Any) -> float:
    """Share of the pixels with a value whose gain is good."""
    known = gain[np.isfinite(gain)]
    return float((known >= GOOD).mean()) if len(known) else np.nan


def _table(results: Results, spec: MapSpec, arrays: Arrays, run: Tracked) -> Table:
    rows, data = [], []
    for i, j, name in spec.panels:
        gain = arrays["gain"][i, j]
        known = gain[np.isfinite(gain)].astype(float)
        record = {
            "pixels": int(gain.size),
            "undefined": int(gain.size - len(known)),
            "mean_gain": float(known.mean()) if len(known) else np.nan,
            "good_pixels": _good(gain),
            **{state: float(arrays[state][i, j].mean(dtype=float)) for state in STATES},
        }
        cells = [Cell(number(record["mean_gain"], 2)), Cell(percent(record["good_pixels"]))]
        cells += [Cell(percent(record[state])) for state in STATES]
        rows.append(Row(Link(name, results.run_url(run)), tuple(cells)))
        data.append({"panel": name, "run": run.run_id, **record})
    return Table(
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
