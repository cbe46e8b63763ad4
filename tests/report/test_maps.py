"""Pictures of maps, their marks, and the report's part on them, whatever somebody wrote into the store."""

import dataclasses
import io
import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from factories import make_folder, new_store
from map_files import HOSTILE, made
from matplotlib.colors import to_rgb
from pages import section
from pictures import overlapping, words
from PIL import Image

from qwerties.config import DEFAULT, Config
from qwerties.maps.make import EXPERIMENT, make_record
from qwerties.maps.marks import marks_of, place
from qwerties.maps.pictures import DPI, draw_map, map_arguments, pictures
from qwerties.maps.spec import STATES, Axis, MapSpec
from qwerties.plotting.heatmap import GAIN, UNDEFINED, map_figure, scale
from qwerties.plotting.style import png
from qwerties.report.build import render
from qwerties.report.rendering import CSS_DPI
from qwerties.report.sections.maps import gain_figure, states_figure
from qwerties.report.text import display
from qwerties.tracking.records import Record
from qwerties.tracking.tags import MAP, STUDY, SUPERSEDED, TRIAL, TUNING

pytestmark = pytest.mark.usefixtures("undrawn")  # pages; figures by themselves are drawn

SPEC = MapSpec(Axis("learning_rate", 1e-3, 10, "log", 20), Axis("distance", 0, 6, "linear", 15))
MARKS = {
    DEFAULT: "the default",
    Config(loss="mse", learning_rate=1): "on it",
    Config(activation="linear", optimizer="adam", learning_rate=0.1): "near it",
}
OUTSIDE = {Config(activation="tanh"): "another panel", Config(learning_rate=11): "out of range"}


def test_marks_lie_where_their_configs_do():
    placed = list(place(SPEC, MARKS | OUTSIDE).values())
    assert [(mark.name, mark.panel, mark.exact) for mark in placed] == [
        ("the default", (0, 0), True),
        ("on it", (1, 0), True),
        ("near it", (0, 1), False),
    ]
    assert (placed[0].x, placed[0].y) == (pytest.approx(0.25), pytest.approx(4 / 6))


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_every_pixel_of_the_map_has_its_colour():
    arrays = made(SPEC)
    arrays["gain"][0, 0] = np.linspace(-1, 1, 300, dtype=np.float32).reshape(15, 20)
    arrays["gain"][1, 1, 0, 0] = np.nan
    fig = map_figure(**map_arguments(SPEC, arrays, "gain"))
    drawn = pixels(png(fig, DPI))
    for (i, j, _), ax in zip(SPEC.panels, fig.axes, strict=False):
        box = ax.get_window_extent()
        for row, column in np.ndindex(15, 20):
            x = int(box.x0 + (column + 0.5) * box.width / 20)
            y = drawn.shape[0] - 1 - int(box.y0 + (row + 0.5) * box.height / 15)
            value = float(arrays["gain"][i, j, row, column])
            color = to_rgb(UNDEFINED) if np.isnan(value) else GAIN((value + 1) / 2)[:3]
            assert np.abs(drawn[y, x] - 255 * np.array(color)).max() <= 16, (i, j, row, column)  # one shade


@pytest.mark.parametrize("measure", ["gain", *STATES])
def test_scales_hold_without_red_or_green(measure):
    colors, low = scale(measure)
    values = np.linspace(0.5 if measure == "gain" else 0, 1, 9)
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b, _ in colors(values)]
    steps = np.diff(light)
    assert (steps > 0).all() or (steps < 0).all()  # lightness alone tells
    assert low == (-1 if measure == "gain" else 0)


SIZES = {
    "square": SPEC,
    "one panel": dataclasses.replace(SPEC, losses=("bce",), activations=("relu",)),
    "many panels": dataclasses.replace(SPEC, activations=("relu", "linear", "tanh", "sigmoid")),
    "one pixel": MapSpec(Axis("learning_rate", 1e-3, 10, "log", 1), Axis("momentum", 0, 1, "linear", 1)),
    "more pixels than dots": MapSpec(
        Axis("epochs", 1, 2000, "log", 1000), Axis("output_scale", -2, 2, "linear", 700), ("bce",), ("relu",)
    ),
    "a narrow range": MapSpec(
        Axis("learning_rate", 0.30001, 0.30002, "log", 9), Axis("samples", 10, 1000, "log", 9)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SIZES))
def test_figures_of_any_size_are_legible_and_small(name):
    spec = SIZES[name]
    arrays = made(spec)
    gain, shares = gain_figure(spec, arrays, place(spec, MARKS)), states_figure(spec, arrays)
    for figure, most in ((gain, 230_000), (shares, 150_000)):
        fig = figure.draw(**figure.arguments)
        assert overlapping(fig) == ([], [])
        assert fig.get_size_inches().max() * CSS_DPI <= 1000
        assert {display(text) for _, _, text in spec.panels} <= {
            text for ax in fig.axes for text in words(ax)
        }
        assert len(png(fig, DPI)) < most


@pytest.mark.parametrize("name", ["square", "one panel"])
def test_long_names_of_marks_stay_on_the_card(name):
    spec = SIZES[name]
    names = ("the notebook’s default", "tuned: bce", "tuned: mse with a long name")
    marks = {Config(learning_rate=0.1 * i, optimizer="adam"): name for i, name in enumerate(names, 1)}
    figure = gain_figure(spec, made(spec), place(spec, marks))
    assert overlapping(figure.draw(**figure.arguments)) == ([], [])


def test_pictures_are_the_same_each_time():
    arrays = made(SPEC)
    drawn = pictures(SPEC, arrays, MARKS)
    assert list(drawn) == [
        f"plots/{name}.png" for name in ("gain", "learned", "constant", "dead", "diverged")
    ]
    assert drawn["plots/dead.png"] == draw_map(SPEC, arrays, "dead", MARKS)


# The report's part


def track(store, spec=SPEC, seed=0, **changes):
    """Write a map as `make_map` does, without training anything; changes are the record's."""
    experiment_id = store.experiment(EXPERIMENT, {MAP: "1"})
    arrays = made(spec, seed)
    record = make_record(spec, arrays, {}, "code")
    if "params" in changes:
        changes["params"] = {**record.params, **changes["params"]}
    return store.write(experiment_id, dataclasses.replace(record, **changes))


def part(store):
    return section(render(store), "map")


def test_a_page_without_maps_has_no_such_part(store):
    assert 'aria-labelledby="map"' not in render(store)


def test_the_newest_map_is_shown_and_the_others_are_named(store):
    old = track(store, dataclasses.replace(SPEC, seeds=3))
    gone = track(store, seed=1)
    new = track(store, seed=2)
    store.tag_run(gone, SUPERSEDED, new)
    shown = part(store)
    arrays = made(SPEC, 2)
    assert "1,200 pixels, 2 seeds each, 2,400 networks; all of them: 2000 epochs." in shown
    for i, j, name in SPEC.panels:
        good = round(100 * (arrays["gain"][i, j] >= 0.8).mean())
        assert f"{display(name)}: gain of 0.8 or more on {good}% of the pixels" in shown
        assert f"<td>{arrays['gain'][i, j].mean():.2f}</td>".replace("-", "−") in shown
    assert "the notebook’s default on the panel BCE · ReLU at learning rate 0.01, distance 4" in shown
    assert "by learning rate (to the right) and distance, in standard deviations (upwards): 1 is" in shown
    assert shown.count("<img") == 2
    assert new in shown
    assert gone not in shown
    assert f"/runs/{old}" in shown.partition("Other maps in the store")[2]


def test_tuned_bests_are_marked(store):
    winner = Config(loss="mse", learning_rate=1.5)
    search = {"name": "s", "arm": "mse", "sampler": "tpe", "is_baseline": False, "seeds": "0-9", "trials": 1}
    search |= {"objectives": ["population_accuracy"], "space": ["learning_rate"]}
    tuned = store.experiment("tuned", {TUNING: json.dumps({"searches": [search]})})
    parent = store.write(tuned, Record("search", {}, {}, {STUDY: "s"}))
    scores = {"population_accuracy": 0.9, "train_loss": 0.1}
    trial = Record("trial", winner.to_params(), scores, {STUDY: "s", TRIAL: "0"})
    store.write(tuned, trial, parent)
    track(store)
    marks = marks_of(store)
    assert marks == {DEFAULT: "the notebook’s default", winner: "tuned: mse"}
    assert "tuned: MSE on the panel MSE · ReLU at learning rate 1.5, distance 4" in part(store)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A store with one map, whose arrays are to be written over."""
    folder = make_folder(tmp_path_factory.mktemp("spoilt") / "home")
    with chdir(folder):
        store = new_store(folder)
        track(store)
    return store, store.maps()[0]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("what", list(HOSTILE))
def test_arrays_that_cannot_be_shown_are_told(spoilt, what):
    store, found = spoilt
    Path(found.artifact_uri.removeprefix("file://"), "map.npz").write_bytes(HOSTILE[what][0])
    shown = part(store)
    assert f"(run {found.run_id}) cannot be shown: " in shown
    assert "<script>" not in shown
    assert "<img" not in shown


def test_a_map_that_cannot_be_read_leaves_the_one_before_it(store):
    track(store)
    bad = track(store, seed=1, name="<script>alert(1)</script>\u202e", params={"x": "<img src=x>"})
    shown = part(store)
    assert f"(run {bad}) cannot be shown: " in shown
    assert "<script>" not in shown
    assert "<img src=x>" not in shown
    assert "\u202e" not in shown
    assert shown.count("<img") == 2
