"""Networks that ended in different ways, side by side: the boundaries that a config's lowest seeds came to.

Everything is worked out from the final weights and the training points that a run kept, without torch, for networks
of any width and depth. All panels are one drawing, as a figure of so many axes would take its time.
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit

from qwerties import plots, theme
from qwerties.config import Config
from qwerties.evidence import Finding
from qwerties.films import ACTIVATIONS, accuracy
from qwerties.illustrations import as_picture
from qwerties.ledger import STATES, UNREADABLE, Networks, config_names
from qwerties.markup import clean, percent
from qwerties.page import Numbers, Shown, shown
from qwerties.record import Tracked
from qwerties.tracking import Store, StoreError

MOST = 4
"""Configs in one figure."""

DOTS = 150  # per inch
GRID = (101, 161)
"""Rows and columns on which boundaries are found."""

LEVELS = 16
"""Shades of the probability: bands take a third of the bytes of a smooth shading."""

PANEL, GAP, MARGIN = (1.74, 1.0875), (0.08, 0.3), (0.06, 0.06)
"""In inches: a panel, what lies between two (a line of text fits), and around all."""


@dataclass(frozen=True)
class Exemplar:
    """One network as it ended.

    Attributes
    ----------
    seed : int
    state : str
    points : ndarray, (2, points)
        What it was trained on; the first half is class 0.
    layers : tuple of (ndarray, ndarray)
        Weights (out, in) and biases (out,), the first layer first.
    """

    seed: int
    state: str
    points: NDArray[Any]
    layers: tuple[tuple[NDArray[Any], NDArray[Any]], ...]


def make_exemplars(
    store: Store, drawn: Sequence[Networks], findings: Sequence[Finding], numbers: Numbers
) -> Shown | None:
    """Make an experiment's figure of exemplars; None where no run kept their points.

    Raises
    ------
    StoreError
        If what a run kept cannot be read.
    """
    rows: list[tuple[Networks, dict[str, Exemplar]]] = []
    for one in _by_interest(drawn, findings):
        found = read_exemplars(store, one)
        if found:
            rows.append((one, found))
        if len(rows) == MOST:
            break
    if not rows:
        return None
    names = dict(zip([one.config for one in drawn], config_names([one.config for one in drawn]), strict=True))
    labels = [names[one.config] for one, _ in rows]
    fig, alt = draw_exemplars([(one.config, found) for one, found in rows], labels)
    left = len(drawn) - len(rows)
    caption = (
        "How networks ended: the lowest seed of each state, and the share of its training points that it gets right. "
        "Shading is the probability of qwerties B, the line is where it is one half, a ring marks a point on the wrong "
        "side (where they are few), and the dashed line is the best possible cut"
        + (f" ({len(rows)} of {len(drawn)} configs)." if left else ".")
    )
    return shown(as_picture(fig, caption, alt, dots=DOTS), numbers)


def _by_interest(drawn: Sequence[Networks], findings: Sequence[Finding]) -> list[Networks]:
    """Order configs: those that are compared first."""
    compared = [side for finding in findings for side in (finding.contrast.a, finding.contrast.b)]
    by_config = {one.config: one for one in drawn if "weight_seed" not in one.frame}
    return [by_config[config] for config in dict.fromkeys([*compared, *by_config]) if config in by_config]


# What the runs kept


def read_exemplars(store: Store, networks: Networks) -> dict[str, Exemplar]:
    """Read the lowest seed of each state whose weights and points were kept.

    Raises
    ------
    StoreError
        If what was kept cannot be read, or is not what a run writes.
    """
    states = dict(zip(networks.frame["seed"].tolist(), networks.frame["state"], strict=True))
    found: dict[str, Exemplar] = {}
    for run in networks.runs:
        for one in _read(store, run, networks.config, states):
            if one.state not in found or one.seed < found[one.state].seed:
                found[one.state] = one
    return found


def _read(store: Store, run: Tracked, config: Config, states: Mapping[int, str]) -> list[Exemplar]:
    try:
        content = store.read(run, "curves.npz")
    except StoreError:  # no curves, no exemplars; the figure of the losses tells where they were wanted
        return []
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if not {"exemplars", "exemplar_points"} <= set(arrays.files):
                return []
            return _make(config, arrays, states)
    except (*UNREADABLE, KeyError, IndexError) as error:
        raise StoreError(
            f"run {run.run_id} ({run.name}): the exemplars in curves.npz cannot be read: {error}"
        ) from error


def _make(config: Config, arrays: Mapping[str, NDArray[Any]], states: Mapping[int, str]) -> list[Exemplar]:
    seeds = arrays["exemplars"]
    if seeds.ndim != 1 or not np.issubdtype(seeds.dtype, np.integer):
        raise ValueError("exemplars must be seeds")
    points = _floats(arrays, "exemplar_points", (len(seeds), 2, 2 * config.samples))
    if not np.isfinite(points).all():
        raise ValueError("points must be finite")
    wanted: dict[str, int] = {}  # place of each state's lowest seed
    for i in np.argsort(seeds, kind="stable").tolist():
        if states.get(int(seeds[i])) in STATES[:-1]:  # a diverged one has nothing to show
            wanted.setdefault(states[int(seeds[i])], i)
    sizes = (2, *config.hidden, 1)
    last = []
    for k, (into, out) in enumerate(itertools.pairwise(sizes)):
        pair = [
            _floats(arrays, f"exemplar.{2 * k}.{name}", (len(seeds), -1, *shape))[:, -1]
            for name, shape in (("weight", (out, into)), ("bias", (out,)))
        ]
        last.append(pair)
    return [
        Exemplar(int(seeds[i]), state, points[i], tuple((weight[i], bias[i]) for weight, bias in last))
        for state, i in wanted.items()
    ]


def _floats(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """One array, of this shape (−1: any length but none) and of numbers."""
    found = arrays[name]
    fits = found.ndim == len(shape) and all(
        n > 0 if want == -1 else n == want for n, want in zip(found.shape, shape, strict=True)
    )
    if not fits or not np.issubdtype(found.dtype, np.floating):
        raise ValueError(f"{name} must be numbers of shape {shape}, got {found.shape}")
    return found.astype(np.float64)


def answer(activation: str, one: Exemplar, x: NDArray[Any]) -> NDArray[np.float64]:
    """Log-odds of class 1 at points x (2, points): (points,)."""
    value = x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (weight, bias) in enumerate(one.layers):
            value = weight @ value + bias[:, None]  # (out, points)
            if k < len(one.layers) - 1:
                value = ACTIVATIONS[activation](value)
    return value[0]


# The figure


@theme.look
def draw_exemplars(
    rows: Sequence[tuple[Config, Mapping[str, Exemplar]]], labels: Sequence[str]
) -> tuple[Figure, str]:
    """Draw a row of panels for each config, a column for each state.

    Returns
    -------
    Figure
    str
        What it shows, in words.
    """
    columns = [state for state in STATES[:-1] if any(state in found for _, found in rows)]
    step = (PANEL[0] + GAP[0], PANEL[1] + GAP[1] + 0.22)
    width = (
        2 * MARGIN[0] + 4 * step[0] - GAP[0]
    )  # as wide with fewer columns: panels are of one size on the page
    height = 2 * MARGIN[1] + len(rows) * step[1]
    fig = Figure((width, height), dpi=DOTS, facecolor=theme.CARD)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))  # inches, downwards
    ax.set_axis_off()
    words, marks = [], _Marks()
    for i, ((config, found), label) in enumerate(zip(rows, labels, strict=True)):
        top = MARGIN[1] + i * step[1]
        ax.text(MARGIN[0], top + 0.16, theme.plain(label, 96), size=9, color=theme.INK, weight="bold")
        told = []
        for j, state in enumerate(columns):
            if state not in found:
                continue
            one = found[state]
            box = (MARGIN[0] + j * step[0], top + 0.42, *PANEL)
            share = _panel(ax, config, one, box, marks)
            ax.text(box[0], box[1] - 0.06, f"seed {one.seed:,} · {state}", size=8, color=theme.MUTED)
            ax.text(box[0] + PANEL[0], box[1] - 0.06, percent(share), size=8, color=theme.MUTED, ha="right")
            told.append(f"seed {one.seed:,} {state}, {percent(share)} of its training points right")
        words.append(f"{clean(label)}: {'; '.join(told)}")
    marks.draw(ax)
    return fig, f"Decision boundaries, one row per config. {'. '.join(words)}."


class _Marks:
    """What lies over the shading, of all panels in inches: one artist of each kind costs little."""

    def __init__(self) -> None:
        self.boundaries: list[NDArray[Any]] = []  # each (points, 2)
        self.cuts: list[NDArray[Any]] = []
        self.frames: list[NDArray[Any]] = []
        self.classes: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])  # each (2, points)
        self.rings: list[NDArray[Any]] = []

    def draw(self, ax: Any) -> None:
        dashed = {"colors": theme.REFERENCE["color"], "linestyles": theme.REFERENCE["ls"], "linewidths": 0.8}
        for lines, look, zorder in (
            (self.cuts, dashed, 3),
            (self.boundaries, {"colors": theme.INK, "linewidths": 1.2}, 4),
            (self.frames, {"colors": theme.SPINE, "linewidths": 0.8}, 7),
        ):
            ax.add_collection(LineCollection(lines, zorder=zorder, **look), autolim=False)
        for points, color in zip(self.classes, theme.CLASSES, strict=True):
            if points:
                at = np.concatenate(points, axis=1)
                ax.plot(*at, "s", ms=1.9, mew=0, color=color, ls="", aa=False, zorder=5)
        if self.rings:
            at = np.concatenate(self.rings, axis=1)
            ax.plot(*at, "o", ms=3.8, mew=0.6, mec=theme.INK, mfc="none", ls="", zorder=6)


@functools.cache
def _shades() -> ListedColormap:
    """The probability's colours in `LEVELS` bands."""
    return ListedColormap(theme.PROBABILITY((np.arange(LEVELS) + 0.5) / LEVELS))


def _panel(
    ax: Any, config: Config, one: Exemplar, box: tuple[float, float, float, float], marks: _Marks
) -> float:
    """Shade one network's box (left, top, width, height) and mark the rest; returns its training accuracy."""
    left, right, bottom, top = plots.view(config.distance)
    x0, y0, wide, tall = box

    def place(points: NDArray[Any]) -> NDArray[Any]:
        """From the plane to the figure, (2, points)."""
        return np.stack(
            [x0 + (points[0] - left) / (right - left) * wide, y0 + (top - points[1]) / (top - bottom) * tall]
        )

    across, up = np.linspace(left, right, GRID[1]), np.linspace(bottom, top, GRID[0])
    plane = np.stack([axis.ravel() for axis in np.meshgrid(across, up)])
    grid = np.nan_to_num(answer(config.activation, one, plane)).reshape(GRID)
    ax.imshow(
        expit(grid),
        extent=(x0, x0 + wide, y0 + tall, y0),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
        interpolation_stage="data",
        cmap=_shades(),
        vmin=0,
        vmax=1,
        zorder=1,
    )
    if grid.min() < 0 < grid.max():
        found: Any = contour_generator(across, up, grid).lines(0.0)
        marks.boundaries += [place(line.T).T for line in found]
    marks.cuts.append(place(np.array([[1 + config.distance / 2] * 2, [bottom, top]])).T)
    half = one.points.shape[1] // 2
    logit = answer(config.activation, one, one.points)
    inside = (one.points > [[left], [bottom]]).all(0) & (one.points < [[right], [top]]).all(0)
    at = place(one.points)
    own = np.arange(2 * half) >= half
    marks.classes[0].append(at[:, ~own & inside])
    marks.classes[1].append(at[:, own & inside])
    wrong = (logit > 0) != (np.arange(2 * half) >= half)
    if 0 < wrong.sum() <= half / 2:  # more rings than that would hide the points
        marks.rings.append(at[:, wrong & inside])
    corners = [(x0, y0), (x0 + wide, y0), (x0 + wide, y0 + tall), (x0, y0 + tall), (x0, y0)]
    marks.frames.append(np.array(corners))
    return float(accuracy(logit[None])[0])
