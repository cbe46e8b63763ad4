import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from pictures import overlapping, words
from PIL import Image

from qwerties.plotting import network as plots
from qwerties.plotting import style as theme

REFERENCES = {"Bayes floor": 0.0604, "dead plateau": 0.6931}


def network(distance=4.0, slope=2.0, seed=0, points=100):
    """Data as the notebook's, and a network whose logit is `slope * (x0 - 3)`, the best one's −3 times that."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2 * points)) + 1
    x[0, points:] += distance
    y = np.repeat([0.0, 1.0], points)
    extent = plots.view(distance)
    log_odds = (slope * (plots.grid_points(extent)[0] - 3)).reshape(plots.GRID_SHAPE)
    predicted = (slope * (x[0] - 3) > 0).astype(float)
    return plots.NetworkView(extent, log_odds, -3 * log_odds, x, y, predicted)


def curve(epochs=2000, level=0.7, band=True):
    epoch = np.arange(1, epochs + 1)
    mean = 0.06 + level * np.exp(-epoch / 900)
    columns = {"train_loss": mean}
    if band:
        columns |= {"p10": 0.8 * mean, "p50": 0.95 * mean, "p90": 1.2 * mean}
    return pd.DataFrame(columns, index=pd.Index(epoch, name="epoch"))


def scores(**counts):
    """So many seeds of each state, at one half or near the best."""
    state = np.repeat(list(counts), list(counts.values()))
    at = {"learned": 0.97, "slow": 0.8, "diverged": np.nan}
    return pd.DataFrame({"state": state, "population_accuracy": [at.get(s, 0.5) for s in state]})


@pytest.fixture
def axes_of(monkeypatch):
    """Draw a picture without blitting; returns its axes."""

    def call(picture, *args, **kwargs):
        drawn = []

        def draw(size, box, background, settings, foreground):
            (width, height), (left, bottom, wide, tall) = size, box
            with theme.style():
                fig = Figure(size)
                fig.set_layout_engine("none")
                ax = fig.add_axes((left / width, bottom / height, wide / width, tall / height))
                background(ax, *settings)
                foreground(ax)
            drawn.append(ax)

        with monkeypatch.context() as patch:
            patch.setattr(plots, "blitted_png", draw)
            picture(*args, **kwargs)
        return drawn[0]

    return call


def size_of(content):
    return Image.open(io.BytesIO(content)).size


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


# ----------------------------------------------------------------------------------------- the plane


def test_points_are_open_squares_and_errors_and_no_others_are_crossed(axes_of):
    shown = network(distance=1.0)
    ax = axes_of(plots.data_picture, shown, crossed=True)
    a, b, crosses = (line for line in ax.lines if len(line.get_xdata()))
    for label, line in enumerate((a, b)):
        np.testing.assert_array_equal(line.get_xydata().T, shown.x[:, shown.y == label])
        assert (line.get_marker(), line.get_markeredgecolor()) == ("s", theme.CLASSES[label])
    np.testing.assert_array_equal(crosses.get_xydata().T, shown.x[:, shown.predicted != shown.y])
    assert crosses.get_marker() == "x"


def test_the_boundary_is_where_the_log_odds_are_zero(axes_of):
    shown = network()
    ax = axes_of(plots.boundary_picture, shown)
    best, own = (c for c in ax.collections if isinstance(c, LineCollection))
    for lines in (best, own):
        (segment,) = lines.get_segments()
        np.testing.assert_allclose(segment[:, 0], 3, atol=1e-9)  # exact, though no grid column lies at 3
        assert sorted(segment[[0, -1], 1]) == pytest.approx(shown.extent[2:])
    assert best.get_linestyle() != own.get_linestyle()
    assert ax.get_xlim() + ax.get_ylim() == pytest.approx(shown.extent)


@pytest.mark.parametrize("slope", [2.0, 40.0, -1.0])
def test_the_shading_is_the_probability_in_steps(slope):
    """Each place has the colour of its own sixteenth of the probability."""
    shown = network(slope=slope, points=0)
    extent, drawn = shown.extent, pixels(plots.boundary_picture(shown))
    (_, height), (left, bottom, wide, tall) = plots.PLANE
    row = drawn[round(100 * (height - bottom - 0.9 * tall))]
    for share in np.linspace(0.02, 0.98, 60):
        z = slope * (extent[0] + share * (extent[1] - extent[0]) - 3)
        band = 16 / (1 + np.exp(-z))
        if abs(z) > 0.4 * abs(slope) and 0.1 < band % 1 < 0.9:  # not on the line, nor where two shades meet
            expected = 255 * np.array(mpl.colors.to_rgb(plots.SHADE_COLORS[min(int(band), 15)]))
            assert np.abs(row[round(100 * (left + share * wide))] - expected).max() <= 10


@pytest.mark.parametrize(
    ("log_odds", "note"),
    [
        (0.0, "no boundary in view"),
        (3.0, "no boundary in view"),
        (-800.0, "no boundary in view"),
        (np.nan, "weights not finite"),
        (np.inf, "weights not finite"),
    ],
)
def test_constant_networks_have_no_boundary_and_say_so(log_odds, note, axes_of):
    shown = network()
    constant = shown._replace(log_odds=np.full_like(shown.log_odds, log_odds))
    assert note in words(axes_of(plots.boundary_picture, constant))
    assert note not in words(axes_of(plots.boundary_picture, shown))


def test_weights_that_overflow_in_places_leave_those_out():
    shown = network(slope=1e300)
    shown.log_odds[:5, :5] = np.nan
    shown.log_odds[-5:, -5:] = np.inf
    assert plots.boundary_picture(shown)


def test_points_out_of_view_are_counted(axes_of):
    shown = network()
    shown.x[0, :2] = 100
    assert "2 points outside" in words(axes_of(plots.boundary_picture, shown))
    shown.x[0, 0] = 0
    assert "1 point outside" in words(axes_of(plots.data_picture, shown))


@pytest.mark.parametrize("distance", [0.5, 1.0, 4.0, 6.0, 20.0])
def test_view_has_the_pictures_proportions_and_room_for_four_deviations(distance):
    left, right, bottom, top = plots.view(distance)
    _, box = plots.PLANE
    assert (right - left) / (top - bottom) == pytest.approx(box[2] / box[3])
    assert left <= 1 - 4
    assert right >= 1 + distance + 4
    assert bottom <= -3
    assert top >= 5


# ------------------------------------------------------------------------------------------ the loss


def test_loss_curve_draws_every_epoch_and_the_band(axes_of):
    frame = curve()
    ax = axes_of(plots.loss_picture, frame, REFERENCES)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    drawn = [line.get_xydata().T for line in ax.lines]
    for name in ("train_loss", "p50"):
        assert any(np.array_equal(values, [frame.index, frame[name]]) for values in drawn)
    (band,) = [c for c in ax.collections if isinstance(c, FillBetweenPolyCollection)]
    edges = band.get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((frame["p10"].min(), frame["p90"].max()))
    assert {"Bayes floor 0.0604", "dead plateau 0.693", "median", "10% to 90% of seeds"} <= set(words(ax))


def test_loss_of_one_network_has_no_band_no_legend_and_its_optimum(axes_of):
    ax = axes_of(plots.loss_picture, curve(band=False), {}, 0.09)
    assert ax.get_legend() is None
    assert not any(isinstance(c, FillBetweenPolyCollection) for c in ax.collections)
    assert "this sample's optimum 0.09" in " ".join(words(ax))
    undefined = axes_of(plots.loss_picture, curve(band=False), {})
    assert not any("optimum" in text for text in words(undefined))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_loss_that_is_not_finite_breaks_off_with_a_note(bad, axes_of):
    frame = curve(band=False)
    frame.loc[138:] = bad
    ax = axes_of(plots.loss_picture, frame, {})
    (line,) = ax.lines
    assert np.isfinite(line.get_ydata()[:137]).all()
    assert np.isnan(line.get_ydata()[137:]).all()
    assert line.get_markevery() == [136]  # a dot on the last value
    assert "not finite from epoch 138" in words(ax)


def test_band_reaches_the_edge_where_a_tenth_of_seeds_is_infinite(axes_of):
    frame = curve()
    frame.loc[1000:, "p90"] = np.inf
    ax = axes_of(plots.loss_picture, frame, {})
    (band,) = [c for c in ax.collections if isinstance(c, FillBetweenPolyCollection)]
    assert band.get_paths()[0].vertices[:, 1].max() == ax.get_ylim()[1]


@pytest.mark.parametrize(
    "frame",
    [
        curve(1),
        curve(1, band=False),
        curve(2),
        curve(5).iloc[:0],
        curve(50) * np.nan,
        curve(50) * 0,
        curve(50) * 0 + 0.6931,
        curve(50) * 1e-320,
        curve(50) * 1e300,
        curve(50).assign(train_loss=np.where(np.arange(50) < 25, 0.5, 0.0)),
        curve(3).assign(train_loss=[np.nan, 0.5, np.nan]),
    ],
    ids=["one", "one bare", "two", "none", "nan", "zero", "constant", "tiny", "huge", "to zero", "lone"],
)
def test_odd_losses_are_drawn_without_a_warning(frame):
    levels = {"optimum": np.nan, "nothing": 0.0, "floor": 0.06}
    assert size_of(plots.loss_picture(frame, levels, title="odd")) == (720, 440)


# ----------------------------------------------------------------------------------------- the seeds


def bars_of(ax):
    (bars,) = [c for c in ax.collections if type(c) is PolyCollection]
    return [path.vertices for path in bars.get_paths()], bars.get_facecolor()


def test_distribution_counts_every_seed_in_its_row(axes_of):
    frame = scores(learned=450, slow=27, constant=20, dead=3)
    ax = axes_of(plots.accuracy_picture, frame, {"Bayes": 0.97725})
    counts = {"450  ·  90.0%", "27  ·  5.4%", "20  ·  4.0%", "3  ·  0.6%", "0"}
    assert counts | {"Bayes 0.977"} <= set(words(ax))
    corners, colors = bars_of(ax)
    assert [box[0, 1] for box in corners] == [0, 1, 2, 3]
    heights = [box[:, 1].max() - box[:, 1].min() for box in corners]
    np.testing.assert_allclose(heights, plots.ROW * np.log1p([450, 27, 20, 3]) / np.log1p(500))
    for box, accuracy in zip(corners, (0.97, 0.8, 0.5, 0.5), strict=True):
        assert box[:, 0].min() - 0.001 <= accuracy <= box[:, 0].max() + 0.001
    assert [to_hex(color) for color in colors] == list(theme.STATES.values())[:4]
    assert heights[3] * ax.bbox.height / np.ptp(ax.get_ylim()) > 5  # dots: 3 dead of 500 can be seen


def test_no_bar_passes_the_best_seed_and_one_is_centred_on_one_half(axes_of):
    frame = scores(learned=10, dead=10)
    frame.loc[:4, "population_accuracy"] = 0.977249
    boxes = [vertices[:, 0] for vertices in bars_of(axes_of(plots.accuracy_picture, frame, {}))[0]]
    assert max(box.max() for box in boxes) <= 0.977249
    assert (boxes[-1].min() + boxes[-1].max()) / 2 == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "counts", [{"dead": 500}, {"diverged": 500}, {"learned": 1, "dead": 1}, {"slow": 0}], ids=str
)
def test_odd_runs_are_drawn_without_a_warning(counts):
    assert size_of(plots.accuracy_picture(scores(**counts), {"Bayes": 0.97725})) == (720, 440)


def test_accuracies_at_both_ends_are_in_view(axes_of):
    ax = axes_of(plots.accuracy_picture, scores(learned=2).assign(population_accuracy=[0.0, 1.0]), {})
    assert ax.get_xlim() == (0, 1)
    assert len(bars_of(ax)[0]) == 2


# -------------------------------------------------------------------------------------- how it looks


LONG = "mse · relu · d=4 · 2000 epochs · learning rate 0.02 · seed 17 · learned: 97.5% of points right, " * 2


@pytest.mark.parametrize("picture", ["plane", "loss", "long loss", "seeds"])
def test_no_text_is_cut_or_covered(picture, axes_of):
    if picture == "plane":
        arguments = (plots.boundary_picture, network(6.0))
    elif picture == "seeds":
        levels = {"always one class": 0.5, "best strip": 0.891, "Bayes accuracy": 0.97725}
        arguments = (plots.accuracy_picture, scores(learned=100_000, slow=3), levels)
    else:
        frame = curve(1 if picture == "loss" else 100_000)
        frame.loc[frame.index[-1], "train_loss"] = np.nan
        arguments = (plots.loss_picture, frame, REFERENCES | {"training stands": 0.0661})
    assert overlapping(axes_of(*arguments, title=LONG).figure) == ([], [])


# ------------------------------------------------------------------------------------------ blitting


def pictures():
    """Every picture, of arguments that differ in foreground and in background."""
    one, other = network(), network(distance=6.0, slope=0.5, seed=1)
    return {
        "data": lambda: plots.data_picture(one),
        "crossed": lambda: plots.data_picture(one, "Performance = 93 %", crossed=True),
        "boundary": lambda: plots.boundary_picture(one, "seed 0"),
        "same background": lambda: plots.boundary_picture(network(seed=2, slope=-1)),
        "other background": lambda: plots.boundary_picture(other, "seed 1"),
        "loss": lambda: plots.loss_picture(curve(), REFERENCES, title="a"),
        "same loss background": lambda: plots.loss_picture(curve(level=0.65), REFERENCES),
        "short loss": lambda: plots.loss_picture(curve(500, band=False), REFERENCES, 0.07, title="b"),
        "seeds": lambda: plots.accuracy_picture(scores(learned=5, dead=2), {"Bayes": 0.9}),
    }


def test_bytes_do_not_depend_on_earlier_pictures():
    fresh = {name: draw() for name, draw in pictures().items()}
    assert len(set(fresh.values())) == len(fresh)
    for name in [*fresh, *reversed(fresh)]:  # A ... B ... A
        assert pictures()[name]() == fresh[name], name
    for content in fresh.values():  # as MLflow shows well
        assert size_of(content)[0] == 720
        assert len(content) < 60_000


def test_blitting_draws_what_drawing_everything_draws_and_256_colours_do_not_show(axes_of):
    for picture, *arguments in (
        (plots.loss_picture, curve(), REFERENCES),
        (plots.boundary_picture, network()),
    ):
        fig = axes_of(picture, *arguments).figure
        whole = pixels(theme.png(fig))
        apart = np.abs(pixels(picture(*arguments)) - whole).max(axis=2)
        assert (apart > 24).mean() < 2e-3  # where lines cross the frame
        true = np.asarray(fig.canvas.buffer_rgba())[..., :3].astype(int)
        apart = np.abs(whole - true).max(axis=2)
        assert apart.mean() < 2
        assert (apart > 24).mean() < 1e-3


def test_a_plot_that_fails_half_way_leaves_nothing_behind():
    shown = network()
    expected = plots.boundary_picture(shown)
    with pytest.raises(IndexError):
        plots.boundary_picture(shown._replace(y=shown.y[:-1]))
    assert plots.boundary_picture(shown) == expected
