import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.image import AxesImage
from pictures import overlapping, words
from PIL import Image

from qwerties.plotting import network as plots
from qwerties.plotting import style as theme
from qwerties.plotting.background import Renderer, blank

REFERENCES = {"Bayes floor": 0.0604, "dead plateau": 0.6931}


def network(distance=4.0, slope=2.0, seed=0, points=100):
    """Data as the notebook's, and a network whose logit is `slope * (x0 - 3)`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2 * points)) + 1
    x[0, points:] += distance
    y = np.repeat([0.0, 1.0], points)
    extent = plots.view(distance)
    columns = np.linspace(*extent[:2], 96)
    probability = np.tile(1 / (1 + np.exp(-slope * (columns - 3))), (60, 1))
    return x, y, (slope * (x[0] - 3) > 0).astype(float), probability, extent


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


def child(ax, label):
    (found,) = [artist for artist in ax.get_children() if artist.get_label() == f"_{label}"]
    return found


def on(page, plot, *args, **kwargs):
    fig, ax = blank(page)
    assert plot(ax, *args, **kwargs) is ax
    return fig, ax


# ----------------------------------------------------------------------------------------- what is drawn


def test_clusters_are_open_squares_at_the_points():
    x, y, *_ = network()
    _, ax = on(plots.PLANE, plots.data_scatter, x, y, title="data")
    for label, name in enumerate("AB"):
        line = child(ax, name)
        np.testing.assert_array_equal(line.get_xydata().T, x[:, y == label])
        assert line.get_marker() == "s"
        assert line.get_markeredgecolor() == theme.CLASSES[label]
    assert ax.get_title(loc="left") == "data"
    assert "misclassified" not in words(ax)


def test_misclassified_points_and_no_others_are_crossed():
    x, y, predicted, *_ = network(distance=1.0)
    _, ax = on(plots.PLANE, plots.misclassified, x, y, predicted, title="Performance = 62 %")
    np.testing.assert_array_equal(child(ax, "misclassified").get_xydata().T, x[:, predicted != y])
    assert child(ax, "misclassified").get_marker() == "x"


def test_boundary_is_where_the_probability_is_one_half():
    x, y, predicted, probability, extent = network()
    _, ax = on(plots.PLANE, plots.decision_boundary, x, y, predicted, probability, extent, distance=4.0)
    (segment,) = child(ax, "boundary").get_segments()
    np.testing.assert_allclose(segment[:, 0], 3, atol=1e-9)  # exact, though no grid column lies at 3
    assert sorted(segment[[0, -1], 1]) == pytest.approx(extent[2:])
    assert set(child(ax, "best").get_xdata()) == {3.0}
    assert ax.get_xlim() + ax.get_ylim() == pytest.approx(extent)


def test_shading_puts_each_class_on_its_side():
    x, y, predicted, probability, extent = network(slope=8.0)
    fig, ax = on(plots.PLANE, plots.decision_boundary, x[:, :0], y[:0], predicted[:0], probability, extent)
    picture = np.asarray(Image.open(io.BytesIO(theme.png(fig))).convert("RGB")).astype(int)
    for at, color in ((-2.0, theme.SHADES[0]), (8.0, theme.SHADES[255])):
        column, row = ax.transData.transform((at, 1.0)).astype(int)
        assert np.abs(picture[len(picture) - 1 - row, column] - color[:3].astype(int)).max() <= 4


def test_shading_is_what_imshow_would_draw():
    *_, extent = network()
    probability = np.random.default_rng(0).random((6, 9))
    nobody = np.zeros(0)
    _, ax = on(plots.PLANE, plots.decision_boundary, np.zeros((2, 0)), nobody, nobody, probability, extent)
    (shading,) = [artist for artist in ax.get_children() if isinstance(artist, AxesImage)]
    image, left, bottom, _ = shading.make_image(None)
    rows, columns = (np.linspace(0, n - 1, size) for n, size in zip((6, 9), image.shape[:2], strict=True))
    i, j = np.clip(rows.astype(int), 0, 4), np.clip(columns.astype(int), 0, 7)
    u, v = (rows - i)[:, None], (columns - j)[None]
    at = lambda di, dj: probability[np.ix_(i + di, j + dj)]  # noqa: E731
    smooth = (1 - u) * ((1 - v) * at(0, 0) + v * at(0, 1)) + u * ((1 - v) * at(1, 0) + v * at(1, 1))
    expected = theme.SHADES[np.rint(255 * smooth).astype(int)].astype(int)
    assert np.abs(image.astype(int) - expected).max() <= 8  # half a dot aside at most
    assert (left, bottom) == tuple(np.rint(ax.bbox.p0).astype(int))


@pytest.mark.parametrize(
    ("probability", "note"),
    [
        (0.5, "no boundary in view"),
        (0.9, "no boundary in view"),
        (0.0, "no boundary in view"),
        (np.nan, "weights not finite"),
    ],
)
def test_constant_networks_have_no_boundary_and_say_so(probability, note):
    x, y, _, grid, extent = network()
    fig, ax = on(plots.PLANE, plots.decision_boundary, x, y, 0 * y, np.full_like(grid, probability), extent)
    assert child(ax, "boundary").get_segments() == []
    assert note in words(ax)
    assert len(child(ax, "misclassified").get_xdata()) == 100
    theme.png(fig)


def test_extreme_weights():
    x, y, predicted, _, extent = network()
    step = np.tile(np.linspace(*extent[:2], 96) > 3, (60, 1)).astype(float)
    fig, ax = on(plots.PLANE, plots.decision_boundary, x, y, predicted, step, extent)
    (segment,) = child(ax, "boundary").get_segments()
    np.testing.assert_allclose(segment[:, 0], 3, atol=extent[1] / 96)
    theme.png(fig)


def test_points_out_of_view_are_counted():
    x, y, predicted, probability, extent = network()
    x[0, :2] = 100
    _, ax = on(plots.PLANE, plots.decision_boundary, x, y, predicted, probability, extent)
    assert "2 points outside" in words(ax)


@pytest.mark.parametrize("distance", [0.5, 1.0, 4.0, 6.0, 20.0])
def test_view_has_the_pages_proportions_and_room_for_four_deviations(distance):
    left, right, bottom, top = plots.view(distance)
    assert (right - left) / (top - bottom) == pytest.approx(plots.PLANE.axes[2] / plots.PLANE.axes[3])
    assert left <= 1 - 4
    assert right >= 1 + distance + 4
    assert (bottom, top) <= (-3, top)
    assert top >= 5


def test_loss_curve_draws_every_epoch_and_the_band():
    frame = curve()
    _, ax = on(plots.CURVE, plots.loss_curve, frame, REFERENCES, title="loss")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    line = child(ax, "train_loss")
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 2001))
    np.testing.assert_array_equal(line.get_ydata(), frame["train_loss"])
    np.testing.assert_array_equal(child(ax, "p50").get_ydata(), frame["p50"])
    (band,) = [c for c in ax.collections if isinstance(c, FillBetweenPolyCollection)]
    edges = band.get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((frame["p10"].min(), frame["p90"].max()))
    assert {"Bayes floor 0.0604", "dead plateau 0.693", "median", "10% to 90% of seeds"} <= set(words(ax))
    low, high = ax.get_ylim()
    assert low < 0.0604 < 0.6931 < high


def test_loss_of_one_network_has_no_band_and_no_legend():
    _, ax = on(plots.CURVE, plots.loss_curve, curve(band=False))
    assert ax.get_legend() is None
    assert not any(isinstance(c, FillBetweenPolyCollection) for c in ax.collections)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_loss_that_is_not_finite_breaks_off_with_a_note(bad):
    frame = curve()
    frame.loc[138:] = bad
    fig, ax = on(plots.CURVE, plots.loss_curve, frame, REFERENCES)
    drawn = child(ax, "train_loss").get_ydata()
    assert np.isfinite(drawn[:137]).all()
    assert np.isnan(drawn[137:]).all()
    assert child(ax, "train_loss").get_markevery() == [136]  # a dot on the last value
    assert "not finite from epoch 138" in words(ax)
    theme.png(fig)


def test_band_reaches_the_edge_where_a_tenth_of_seeds_is_infinite():
    frame = curve()
    frame.loc[1000:, "p90"] = np.inf
    fig, ax = on(plots.CURVE, plots.loss_curve, frame)
    (band,) = [c for c in ax.collections if isinstance(c, FillBetweenPolyCollection)]
    assert band.get_paths()[0].vertices[:, 1].max() == ax.get_ylim()[1]
    theme.png(fig)


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
    fig, _ = on(plots.CURVE, plots.loss_curve, frame, title="odd")
    assert theme.png(fig)


def test_references_that_a_log_axis_cannot_show_are_left_out():
    _, ax = on(plots.CURVE, plots.loss_curve, curve(), {"optimum": np.nan, "nothing": 0.0, "floor": 0.06})
    assert [name for name in words(ax) if name.startswith(("optimum", "nothing", "floor"))] == ["floor 0.06"]


def test_distribution_counts_every_seed_in_its_row():
    frame = scores(learned=450, slow=27, constant=20, dead=3)
    fig, ax = on(plots.SEEDS, plots.accuracy_distribution, frame, {"Bayes": 0.97725}, title="500 seeds")
    assert {"450  ·  90.0%", "27  ·  5.4%", "20  ·  4.0%", "3  ·  0.6%", "0", "Bayes 0.977"} <= set(words(ax))
    bars = child(ax, "seeds")
    corners = [path.vertices for path in bars.get_paths()]
    assert len(corners) == 4
    rows = [box[0, 1] for box in corners]
    assert rows == [0, 1, 2, 3]
    heights = [box[:, 1].max() - box[:, 1].min() for box in corners]
    expected = plots.ROW * np.log1p([450, 27, 20, 3]) / np.log1p(500)
    np.testing.assert_allclose(heights, expected)
    for box, accuracy in zip(corners, (0.97, 0.8, 0.5, 0.5), strict=True):
        assert box[:, 0].min() - 0.001 <= accuracy <= box[:, 0].max() + 0.001
    np.testing.assert_allclose(
        bars.get_facecolor(), mpl.colors.to_rgba_array(list(theme.STATES.values())[:4])
    )
    three_seeds = heights[3] * ax.bbox.height / np.ptp(ax.get_ylim())
    assert three_seeds > 5  # dots: 3 dead of 500 can be seen
    theme.png(fig)


def test_no_bar_passes_the_best_seed_and_one_is_centred_on_one_half():
    frame = scores(learned=10, dead=10)
    frame.loc[:4, "population_accuracy"] = 0.977249
    _, ax = on(plots.SEEDS, plots.accuracy_distribution, frame)
    boxes = [path.vertices[:, 0] for path in child(ax, "seeds").get_paths()]
    assert max(box.max() for box in boxes) <= 0.977249
    assert boxes[-1].mean() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "counts",
    [{"dead": 500}, {"diverged": 500}, {"learned": 1, "dead": 1}, {"slow": 0}],
    ids=str,
)
def test_odd_runs_are_drawn_without_a_warning(counts):
    fig, ax = on(plots.SEEDS, plots.accuracy_distribution, scores(**counts), {"Bayes": 0.97725})
    assert theme.png(fig)
    if "dead" in counts:
        half = child(ax, "seeds").get_paths()[-1].vertices[:, 0]
        assert half.mean() == pytest.approx(0.5, abs=1e-3)


def test_accuracies_at_both_ends_are_in_view():
    frame = scores(learned=2).assign(population_accuracy=[0.0, 1.0])
    _, ax = on(plots.SEEDS, plots.accuracy_distribution, frame)
    assert len(child(ax, "seeds").get_paths()) == 2
    assert ax.get_xlim() == (0, 1)


def test_an_unknown_state_is_named():
    frame = scores(learned=1).assign(state="zombie")
    message = "^state must be one of learned, slow, constant, dead, diverged; got 'zombie'$"
    with pytest.raises(ValueError, match=message):
        on(plots.SEEDS, plots.accuracy_distribution, frame)


# ---------------------------------------------------------------------------------------- how it looks


LONG = "mse · relu · d=4 · 2000 epochs · learning rate 0.02 · seed 17 · learned: 97.5% of points right, " * 2


@pytest.mark.parametrize("distance", [0.5, 6.0])
def test_no_text_is_cut_or_covered_in_the_plane(distance):
    x, y, predicted, probability, extent = network(distance)
    x[0, 0] = 100
    fig, _ = on(
        plots.PLANE,
        plots.decision_boundary,
        x,
        y,
        predicted,
        probability * np.nan,
        extent,
        distance=distance,
        title=LONG,
    )
    assert overlapping(fig) == ([], [])


@pytest.mark.parametrize("epochs", [1, 1500, 2000, 100_000])
def test_no_text_is_cut_or_covered_in_the_loss(epochs):
    references = REFERENCES | {"sample optimum": 0.0612, "training stands": 0.0661}
    frame = curve(epochs)
    frame.iloc[-1:] = np.nan
    fig, _ = on(plots.CURVE, plots.loss_curve, frame, references, title=LONG)
    assert overlapping(fig) == ([], [])


def test_no_text_is_cut_or_covered_in_the_distribution():
    references = {"always one class": 0.5, "sample optimum": 0.975, "Bayes": 0.97725}
    frame = scores(learned=100_000, slow=3)
    fig, _ = on(plots.SEEDS, plots.accuracy_distribution, frame, references, title=LONG)
    assert overlapping(fig) == ([], [])


# --------------------------------------------------------------------------------- the fast renderer


def pictures():
    """Every plot, with arguments that differ in ink and in frame."""
    one, other = network(), network(distance=6.0, slope=0.5, seed=1)
    return {
        "data": (plots.PLANE, plots.data_scatter, one[:2], {}),
        "crossed": (plots.PLANE, plots.misclassified, (*one[:3], one[4]), {"title": "Performance = 93 %"}),
        "boundary": (plots.PLANE, plots.decision_boundary, one, {"distance": 4.0, "title": "seed 0"}),
        "same frame": (
            plots.PLANE,
            plots.decision_boundary,
            (*network(seed=2, slope=-1)[:4], one[4]),
            {"distance": 4.0},
        ),
        "other frame": (plots.PLANE, plots.decision_boundary, other, {"distance": 6.0, "title": "seed 1"}),
        "loss": (plots.CURVE, plots.loss_curve, (curve(), REFERENCES), {"title": "a"}),
        "same loss frame": (plots.CURVE, plots.loss_curve, (curve(level=0.65), REFERENCES), {}),
        "short loss": (plots.CURVE, plots.loss_curve, (curve(500, band=False), REFERENCES), {"title": "b"}),
        "broken": (plots.CURVE, plots.loss_curve, (curve(band=False).where(lambda c: c > 0.3),), {}),
        "seeds": (plots.SEEDS, plots.accuracy_distribution, (scores(learned=5, dead=2), {"Bayes": 0.9}), {}),
    }


def plainly(page, plot, args, kwargs):
    return theme.png(on(page, plot, *args, **kwargs)[0])


@pytest.fixture(scope="module")
def expected():
    return {name: plainly(*picture) for name, picture in pictures().items()}


@pytest.mark.parametrize("keep", [3, 12])
def test_renderer_gives_the_same_bytes_in_any_order(expected, keep):
    renderer = Renderer(keep)
    names = list(expected)
    for name in names + names[::-1]:  # A ... B ... A
        _, plot, args, kwargs = pictures()[name]
        assert renderer(plot, *args, **kwargs) == expected[name], name
    assert len(renderer._frames) == min(keep, 8)


def test_renderer_survives_a_plot_that_fails_half_way(expected):
    renderer = Renderer()
    _, plot, args, kwargs = pictures()["boundary"]
    x, y, predicted, probability, extent = args
    with pytest.raises(IndexError):
        renderer(plot, x, y[:-1], predicted, probability, extent, **kwargs)
    assert renderer(plot, *args, **kwargs) == expected["boundary"]


def test_pictures_differ_where_the_data_does(expected):
    assert len(set(expected.values())) == len(expected)


def test_plots_leave_the_settings_as_they_were_and_do_not_depend_on_them(expected):
    _, plot, args, kwargs = pictures()["loss"]
    with mpl.rc_context({"font.family": ["serif"], "lines.linewidth": 9, "axes.grid": True}):
        before = dict(mpl.rcParams)
        assert Renderer()(plot, *args, **kwargs) == expected["loss"]
        assert dict(mpl.rcParams) == before


def test_sizes_are_those_that_mlflow_shows_well(expected):
    for name, picture in expected.items():
        assert Image.open(io.BytesIO(picture)).width == 720
        assert len(picture) < 60_000, name


def test_the_palette_does_not_show():
    x, y, predicted, probability, extent = network()
    fig, _ = on(plots.PLANE, plots.decision_boundary, x, y, predicted, probability, extent, distance=4.0)
    picture = np.asarray(Image.open(io.BytesIO(theme.png(fig))).convert("RGB")).astype(int)
    true = np.asarray(fig.canvas.buffer_rgba())[..., :3].astype(int)
    apart = np.abs(picture - true).max(axis=2)
    assert apart.mean() < 1
    assert (apart > 24).mean() < 1e-3  # soft edges of letters and squares at most
