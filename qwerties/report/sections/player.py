"""Films -> the epoch player: which networks and seeds it shows, their weights packed for the page, and a still.

The page's script works everything out from the weights; where it does not run, and on paper, the still stands.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from scipy.special import expit

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.config import CHOICES, DEFAULT, Config
from qwerties.plotting import axes as labels
from qwerties.plotting import network as plots
from qwerties.plotting import style as theme
from qwerties.report import films
from qwerties.report.elements import Numbers, Shown, shown
from qwerties.report.figures import as_picture
from qwerties.report.films import Reel, read_reel
from qwerties.scoring import theory
from qwerties.scoring.predict import ACTIVATIONS, accuracy
from qwerties.scoring.states import STATES
from qwerties.stats.formats import percent
from qwerties.tracking.store import Store, StoreError

WANTED = {"learned": 2, "slow": 2, "constant": 1, "dead": 1, "diverged": 1}
"""Seeds to show, by how they ended under the left network's config."""

IDS = (
    "watch",
    "player",
    *(f"player-{n}" for n in ("figure", "play", "epoch", "clock", "seed", "stage", "said", "data")),
)
"""Ids that its part of the page takes."""

STILLS = 5
DOTS = 200  # of the still, per inch


@dataclass(frozen=True)
class Cast:
    """What the player shows: films of every reel on every seed; which ones first.

    Attributes
    ----------
    reels : tuple of Reel
        In the order of losses and activations; all with the same checkpoints, and points by seed.
    seeds : tuple of int
    left, right, seed : int
        Places of what is shown first. `left` is `right` where there is one reel.
    """

    reels: tuple[Reel, ...]
    seeds: tuple[int, ...]
    left: int
    right: int
    seed: int


@dataclass(frozen=True)
class Player:
    """The player as the template embeds it; `still` is what stands in its place without a script."""

    data: Markup
    still: Shown
    sides: tuple[str, ...]
    last: int  # place of the last checkpoint
    colors: dict[str, str]


def make_player(store: Store, evidence: Sequence[ExperimentResult], numbers: Numbers) -> Player | None:
    """Make the player of a store; None where no network can be watched."""
    cast = choose(read_reels(store, evidence))
    if cast is None:
        return None
    fig, alt = draw_still(cast)
    caption = (
        "What a network answers, by the weights it had after so many epochs: the shading is the probability of "
        "qwerties B, the line is where it is one half, and a ring marks a training point on the wrong side. The "
        "dashed line is the best possible cut."
    )
    return Player(
        embed(pack(cast)),
        shown(as_picture(fig, caption, alt, dots=DOTS), numbers),
        ("left", "right") if cast.left != cast.right else ("left",),
        len(cast.reels[0].checkpoints) - 1,
        {
            "a": theme.CLASSES[0],
            "b": theme.CLASSES[1],
            "ink": theme.INK,
            "muted": theme.MUTED,
            "card": theme.CARD,
        },
    )


# Which networks


def read_reels(store: Store, evidence: Sequence[ExperimentResult]) -> list[Reel]:
    """Read the films of every planned config that differs from the notebook's in loss and activation alone.

    What cannot be read is left out; where it matters, its own section tells of it.
    """
    found: dict[Config, Reel] = {}
    for networks in (one for part in evidence for one in part.networks.values()):
        config = networks.config
        if replace(config, loss=DEFAULT.loss, activation=DEFAULT.activation) != DEFAULT or config in found:
            continue
        if config.activation not in ACTIVATIONS:  # player.js computes these alone
            continue
        try:
            reel = read_reel(store, networks)
        except StoreError:
            continue
        if reel is not None and reel.films:
            found[config] = reel
    order = [Config(loss=loss, activation=act) for loss in CHOICES["loss"] for act in CHOICES["activation"]]
    return [found[config] for config in order if config in found]


def choose(reels: Sequence[Reel]) -> Cast | None:
    """Choose configs that share seeds, and a few seeds that ended in different ways.

    For each state under the left config, its lowest seed comes first, then the lowest one that ended otherwise under
    the right config. The page opens on a seed that only the left one learned, or else that ended in two ways.
    """
    if not reels:
        return None
    first = next((reel for reel in reels if reel.config == DEFAULT), reels[0])
    kept, shared = [], set(first.films)
    for reel in reels:
        same = {seed for seed in shared & set(reel.films) if _agree(first, reel, seed)}
        if 2 * len(same) >= len(shared):  # a config that shares few seeds would cost the others theirs
            kept.append(reel)
            shared = same
    left = next(i for i, reel in enumerate(kept) if reel is first)
    other = replace(first.config, loss="mse")
    right = next((i for i, reel in enumerate(kept) if reel.config == other), (left + 1) % len(kept))

    def ended(i: int, seed: int) -> str:
        return kept[i].films[seed].state

    def differs(seed: int) -> bool:
        return ended(left, seed) != ended(right, seed)

    seeds: list[int] = []
    for state in STATES:
        same_state = sorted(seed for seed in shared if ended(left, seed) == state)
        by_interest = same_state[:1] + sorted(same_state[1:], key=lambda seed: not differs(seed))
        seeds += sorted(by_interest[: WANTED[state]])
    opening = (
        [seed for seed in seeds if differs(seed) and ended(left, seed) == "learned"]
        + [seed for seed in seeds if differs(seed)]
        + seeds
    )
    return Cast(tuple(kept), tuple(seeds), left, right, seeds.index(opening[0]))


def _agree(one: Reel, other: Reel, seed: int) -> bool:
    """Whether two reels show a seed at the same epochs on the same points."""
    times = ((one.checkpoints, other.checkpoints), (one.epochs, other.epochs))
    points = (one.films[seed].points, other.films[seed].points)
    return all(np.array_equal(a, b) for a, b in (*times, points))


# What the script gets


def pack(cast: Cast) -> dict[str, Any]:
    """Gather what the script needs; arrays as base64 of little-endian float32, so that they are exact.

    The weights of a network are (checkpoints, 5) as in `films.Film`, its states one letter per checkpoint.
    """
    first = cast.reels[0]
    config = first.config
    networks = []
    seen: dict[str, list[NDArray[Any]]] = {}
    for reel in cast.reels:
        shown = [reel.films[seed] for seed in cast.seeds]
        seen.setdefault(reel.config.loss, []).extend(film.losses for film in shown)
        networks.append(
            {
                "loss": reel.config.loss,
                "activation": reel.config.activation,
                "runs": [
                    {
                        "weights": _base64(film.weights),
                        "losses": _base64(film.losses),
                        "states": "".join(state[:2] for state in films.states(reel.config, film)),
                    }
                    for film in shown
                ],
            }
        )
    palette = np.rint(255 * theme.PROBABILITY(np.arange(256))[:, :3]).astype(np.uint8)
    return {
        "epochs": config.epochs,
        "ticks": [0, *map(int, labels.epoch_ticks(config.epochs))],
        "checkpoints": first.checkpoints.tolist(),
        "kept": first.epochs.tolist(),
        "extent": plots.view(config.distance),
        "cut": 1 + config.distance / 2,
        "curves": {loss: _curve_axis(loss, config.distance, losses) for loss, losses in seen.items()},
        "seeds": [
            {"seed": seed, "points": _base64(cast.reels[cast.left].films[seed].points)} for seed in cast.seeds
        ],
        "networks": networks,
        "states": {state[:2]: {"name": state, "color": theme.STATES[state]} for state in STATES},
        "shown": {"left": cast.left, "right": cast.right, "seed": cast.seed},
        "colors": {
            "a": theme.CLASSES[0],
            "b": theme.CLASSES[1],
            "ink": theme.INK,
            "muted": theme.MUTED,
            "faint": theme.FAINT,
            "spine": theme.SPINE,
            "grid": theme.GRID,
            "card": theme.CARD,
        },
        "shades": base64.b64encode(palette.tobytes()).decode(),
    }


def embed(value: Any) -> Markup:
    """Write JSON that no markup can end: it may stand between script tags."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII alone
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _curve_axis(loss: str, distance: float, losses: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Give the loss curves of one loss their common axis and reference lines."""
    plateau = theory.DEAD_PLATEAU[loss]
    floor = float({"bce": theory.bce_floor, "mse": theory.brier_floor}[loss](distance))
    values = np.concatenate([*losses, [plateau, floor]])
    values = values[np.isfinite(values) & (values > 0)]
    low, high = labels.nice_limits(float(values.min()), float(values.max()))
    return {
        "plateau": plateau,
        "floor": floor,
        "low": low,
        "high": high,
        "ticks": labels.log_ticks(low, high),
    }


# The still


def still_checkpoints(reel: Reel) -> list[int]:
    """Places of the checkpoints that the still shows: nearest to powers of ten, and the last."""
    epochs = reel.config.epochs
    powers = [10**k for k in range(9) if 10**k < epochs][1 - STILLS :]
    return sorted({int(np.abs(reel.checkpoints - epoch).argmin()) for epoch in (*powers, epochs)})


def _still_size(cast: Cast) -> tuple[float, float]:
    return 7.2, 1.36 + 1.08 * (cast.left != cast.right)


@theme.look
def draw_still(cast: Cast) -> tuple[Figure, str]:
    """Draw the networks that are shown first, at a few epochs; says what it shows in words."""
    first = [cast.reels[i] for i in dict.fromkeys((cast.left, cast.right))]
    seed = cast.seeds[cast.seed]
    places = still_checkpoints(first[0])
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    fig = Figure(_still_size(cast), dpi=100, facecolor=theme.CARD, layout=layout)
    axes = fig.subplots(len(first), len(places), squeeze=False)
    words = []
    for i, reel in enumerate(first):
        film, name = reel.films[seed], f"{reel.config.loss} · {reel.config.activation}"
        share = accuracy(films.logits(reel.config.activation, film.weights, film.points))
        for j, place in enumerate(places):
            _plane(axes[i, j], reel, seed, place)
            axes[i, j].set_xlabel(f"{percent(share[place])} correct", size=8, color=theme.MUTED, labelpad=3)
            if i == 0:
                axes[i, j].set_title(f"epoch {reel.checkpoints[place]:,}", size=9, color=theme.INK, pad=5)
        axes[i, 0].set_ylabel(name, size=9, color=theme.INK, labelpad=5)
        steps = ", ".join(f"{percent(share[place])} at epoch {reel.checkpoints[place]:,}" for place in places)
        words.append(f"{name}: {steps}; it ends {film.state}")
    alt = (
        f"Decision boundaries on seed {seed} as training goes on, and the share of training points that it gets right. "
        f"{'. '.join(words)}."
    )
    return fig, alt


def _plane(ax: Axes, reel: Reel, seed: int, place: int) -> None:
    film, config = reel.films[seed], reel.config
    left, right, bottom, top = extent = plots.view(config.distance)
    across, up = np.meshgrid(np.linspace(left, right, 161), np.linspace(bottom, top, 101))
    logit = films.logits(config.activation, film.weights[[place]], np.stack([across.ravel(), up.ravel()]))
    grid = np.nan_to_num(logit.reshape(across.shape))
    ax.imshow(
        expit(grid),
        cmap=theme.PROBABILITY,
        vmin=0,
        vmax=1,
        extent=extent,
        origin="lower",
        interpolation="bilinear",
    )
    if grid.min() < 0 < grid.max():
        ax.contour(across, up, grid, [0.0], colors=[theme.INK], linewidths=1.1)
    ax.axvline(1 + config.distance / 2, **{**theme.REFERENCE, "lw": 0.8})
    half = film.points.shape[1] // 2
    for points, color in (
        (film.points[:, :half], theme.CLASSES[0]),
        (film.points[:, half:], theme.CLASSES[1]),
    ):
        ax.plot(*points, "s", ms=1.5, mew=0.45, mec=color, mfc=theme.CARD)
    answers = films.logits(config.activation, film.weights[[place]], film.points)[0] > 0
    wrong = answers != (np.arange(2 * half) >= half)
    if 0 < wrong.sum() < half:  # with one class for all, half the points would be ringed
        ax.plot(*film.points[:, wrong], "o", ms=3.4, mew=0.5, mec=theme.INK, mfc="none")
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set(color=theme.SPINE, linewidth=0.8)
