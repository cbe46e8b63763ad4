"""Maps: the newest one as a figure and in numbers, and where the others are.

A map is what somebody wrote into the store: its plan is parsed and its arrays are checked before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from qwerties.config import Config
from qwerties.errors import clean, plural
from qwerties.maps.marks import marks_of, place
from qwerties.maps.pictures import DPI, map_arguments, map_axes
from qwerties.maps.spec import STATES, UNREADABLE, Arrays, MapSpec, from_bytes
from qwerties.plotting.heatmap import UNITS, MapMark, map_figure, shares_figure
from qwerties.report.elements import Block, Cell, Details, Link, Row, Section, Table, Text, notices, paragraph
from qwerties.report.rendering import ReportFigure
from qwerties.report.results import Results
from qwerties.report.text import display
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
    runs = [run for run in store.maps() if run.status == "FINISHED" and SUPERSEDED not in run.tags][::-1]
    if not runs:
        return None
    warnings: list[str] = []
    shown: list[Block] = []
    others = runs
    for run in runs:
        try:
            spec = MapSpec.from_params(run.params)
            arrays = from_bytes(store.read(run, "map.npz"), spec)
        except (StoreError, *UNREADABLE, OverflowError, RecursionError) as error:
            warnings.append(f"map {run.name} (run {run.run_id}) cannot be shown: {error}")
            continue
        shown = _newest(results, run, spec, arrays)
        others = [other for other in runs if other is not run]
        break
    blocks: list[Block] = [paragraph(QUESTION, "question"), *notices(warnings), *shown]
    blocks += [_other_maps(results, others[:MAX_OTHERS])] if others else []
    return Section(blocks)


def _newest(results: Results, run: Tracked, spec: MapSpec, arrays: Arrays) -> list[Block]:
    marks = {config: display(name) for config, name in marks_of(results.store).items()}
    placed = place(spec, marks)
    design = f"{plural(spec.pixels, 'pixel')}, {plural(spec.seeds, 'seed')} each"
    if spec.setting:
        design += f", {plural(spec.networks, 'network')}; all of them: {display(spec.setting)}"
    notes = [
        "A map shows where things happen, not how surely: a pixel is the mean of "
        f"{plural(spec.seeds, 'network')}, all pixels share their seeds, and no verdict comes from here."
    ]
    if off := [name for config, name in marks.items() if config not in placed]:
        notes.append(f"Outside of these ranges or panels: {', '.join(off)}.")
    return [
        paragraph(f"{design}.", "design"),
        gain_figure(spec, arrays, placed),
        Details(
            "Shares of networks, and the panels in numbers",
            (_table(results, spec, arrays, run), states_figure(spec, arrays), *map(paragraph, notes)),
        ),
    ]


def _other_maps(results: Results, runs: Sequence[Tracked]) -> Text:
    links = Markup(", ").join(
        Markup('<a href="{}"><bdi>{}</bdi></a>').format(results.run_url(run), clean(run.name)) for run in runs
    )
    return Text(Markup("<p>Other maps in the store: {}.</p>").format(links), "note")


def gain_figure(spec: MapSpec, arrays: Arrays, placed: Mapping[Config, MapMark]) -> ReportFigure:
    """Show the mean gain of every pixel, a panel for each loss and activation, with marked configs."""
    across, up = (UNITS.get(axis.field, axis.words) for axis in (spec.x, spec.y))
    undefined = " Grey is undefined." if np.isnan(arrays["gain"]).any() else ""
    shares = {name: numbers["good_pixels"] for name, numbers in _panel_numbers(spec, arrays).items()}
    best = "; ".join(
        f"{display(name)}: undefined everywhere"
        if np.isnan(share)
        else f"{display(name)}: gain of {GOOD} or more on {percent(share)} of the pixels"
        for name, share in shares.items()
    )
    marked = "; ".join(
        f"{mark.name} on the panel "
        f"{display(f'{spec.losses[mark.panel[0]]} · {spec.activations[mark.panel[1]]}')} at "
        + ", ".join(f"{axis.words} {axis.number(config):.3g}" for axis in (spec.x, spec.y))
        for config, mark in placed.items()
    )
    hollow = " A hollow mark differs from the map’s networks in other settings."
    arguments = map_arguments(spec, arrays, "gain", placed.values())
    arguments["names"] = [list(map(display, row)) for row in arguments["names"]]
    return ReportFigure(
        map_figure,
        arguments,
        f"Mean gain of {plural(spec.seeds, 'network')} a pixel, by {across} (to the right) and {up} (upwards): 1 is "
        "the best that any classifier can do, 0 is a guess, below 0 is worse than one. A diverged network counts as a "
        f"guess.{undefined}{'' if all(mark.exact for mark in placed.values()) else hollow}",
        f"Maps, one for each loss and activation. {best}. Marked: {marked or 'nothing'}.",
        dpi=DPI,
    )


def states_figure(spec: MapSpec, arrays: Arrays) -> ReportFigure:
    """Show shares of each pixel's networks: a row for each state, a column for each panel."""
    listed = "; ".join(
        f"{display(name)}: {', '.join(f'{percent(numbers[state])} {state}' for state in SHARES)}"
        for name, numbers in _panel_numbers(spec, arrays).items()
    )
    arguments = {
        "values": np.stack([[arrays[state][i, j] for i, j, _ in spec.panels] for state in SHARES]),
        "names": [display(name) for *_, name in spec.panels],
        **map_axes(spec),
        "measures": list(SHARES),
    }
    return ReportFigure(
        shares_figure,
        arguments,
        "Share of each pixel’s networks that learned, died and diverged, on the same axes. A pixel has "
        f"{plural(spec.seeds, 'network')}.",
        f"Small maps. Over whole panels, {listed}.",
        dpi=DPI,
    )


def _panel_numbers(spec: MapSpec, arrays: Arrays) -> dict[str, dict[str, float]]:
    """Average each panel over its pixels, by its name: gain, where it is defined, and shares of states."""
    numbers: dict[str, dict[str, float]] = {}
    for i, j, name in spec.panels:
        gain = arrays["gain"][i, j]
        known = gain[np.isfinite(gain)]
        numbers[name] = {
            "pixels": gain.size,
            "undefined": gain.size - known.size,
            "mean_gain": float(known.mean(dtype=float)) if known.size else np.nan,
            "good_pixels": float((known >= GOOD).mean()) if known.size else np.nan,
            **{state: float(arrays[state][i, j].mean(dtype=float)) for state in STATES},
        }
    return numbers


def _table(results: Results, spec: MapSpec, arrays: Arrays, run: Tracked) -> Table:
    rows = []
    for name, numbers in _panel_numbers(spec, arrays).items():
        cells = {
            "Gain": Cell(number(numbers["mean_gain"], 2)),
            f"Pixels with gain ≥ {GOOD}": Cell(percent(numbers["good_pixels"])),
            **{state.capitalize(): Cell(percent(numbers[state])) for state in STATES},
        }
        data = {"panel": name, "run": run.run_id, **numbers}
        rows.append(Row(Link(display(name), results.run_url(run)), cells, data))
    return Table(
        "The panels in numbers: means over all pixels, each counted alike, so that they describe the ranges that were "
        "chosen as much as the networks.",
        "Panel",
        rows,
    )
