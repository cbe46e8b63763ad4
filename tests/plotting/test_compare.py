import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from pictures import overlapping, words

from qwerties.analysis.tables import SeedTable
from qwerties.config import Config
from qwerties.plotting import compare as figures
from qwerties.plotting import style as theme
from qwerties.report import figures as illustrations
from qwerties.study.plan import FigureSpec

CONFIGS = [
    f"{loss} · {activation} · d=4 · 2000 epochs"
    for loss in ("bce", "mse")
    for activation in ("relu", "linear", "tanh", "sigmoid")
]


def grid(xs, hues):
    rows = [{"x": x, "hue": hue, "y": 0.9 - 0.05 * i} for i, hue in enumerate(hues) for x in xs]
    return pd.DataFrame(rows).assign(lo=lambda f: f.y - 0.01, hi=lambda f: f.y + 0.02)


def rows(names):
    y = np.linspace(0.8, 0.97, len(names))
    return pd.DataFrame({"name": names, "y": y, "lo": y - 0.02, "hi": y + 0.01})


def curves(names, epochs=2000):
    epoch = pd.Index(np.arange(1, epochs + 1), name="epoch")
    return {
        name: pd.DataFrame({"train_loss": 0.1 + 0.05 * i + np.exp(-epoch / 900)}, index=epoch)
        for i, name in enumerate(names)
    }


def outcomes(names):
    shares = np.random.default_rng(0).dirichlet([6, 1, 0.6, 1.5, 0.1], len(names))
    return pd.DataFrame(shares, index=names, columns=list(theme.STATES))


def line(ax, name):
    (found,) = [artist for artist in ax.lines if artist.get_label() == f"_{name}"]
    return found


def intervals(ax):
    """Ends of the interval lines, one row each; what lies below them is the grid."""
    drawn = [c for c in ax.collections if isinstance(c, LineCollection) and c.get_zorder() > 1]
    return np.array([segment for c in drawn for segment in c.get_segments() if len(segment)])


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


# ----------------------------------------------------------------------------------------- what is drawn


def test_score_lines_carry_points_intervals_and_names():
    _, (ax,) = theme.figure()
    frame = grid([0.5, 1, 2, 3, 4, 6], ["bce", "mse"])
    bayes = pd.Series([0.6, 0.7, 0.84, 0.93, 0.98, 0.99], [0.5, 1, 2, 3, 4, 6])
    assert (
        figures.score_lines(
            ax,
            frame,
            "x",
            "y",
            "lo",
            "hi",
            "hue",
            {"Bayes": bayes, "one class": 0.5, "unknown": np.nan},
            "distance",
            "accuracy",
        )
        is ax
    )
    for name, part in frame.groupby("hue"):
        np.testing.assert_allclose(line(ax, name).get_xdata(), part.x, atol=0.05)  # a little apart
        np.testing.assert_array_equal(line(ax, name).get_ydata(), part.y)
    assert (line(ax, "bce").get_xdata() < line(ax, "mse").get_xdata()).all()
    np.testing.assert_allclose(intervals(ax)[:, :, 1], frame[["lo", "hi"]])
    np.testing.assert_array_equal(line(ax, "Bayes").get_ydata(), bayes)
    assert set(line(ax, "one class").get_ydata()) == {0.5}
    assert {"bce", "mse", "Bayes", "one class"} <= set(words(ax))
    assert "unknown" not in words(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("distance", "accuracy")
    assert ax.get_xscale() == "linear"
    assert ticks(ax.xaxis) == ["0.5", "1", "2", "3", "4", "6"]


def test_lines_are_told_apart_by_colour_marker_and_dash():
    _, (ax,) = theme.figure()
    figures.score_lines(ax, grid([1, 2], "abcdef"), "x", "y", hue="hue")
    assert len({to_hex(drawn.get_color()) for drawn in ax.lines}) == 6
    assert len({drawn.get_marker() for drawn in ax.lines}) == 6
    assert len({str(drawn._dash_pattern) for drawn in ax.lines}) == 6


def test_figures_can_share_their_styles():
    shared = theme.styles(["mse", "bce"])
    for hues in (["bce"], ["bce", "mse"]):
        _, (ax,) = theme.figure()
        figures.score_lines(ax, grid([1, 2], hues), "x", "y", hue="hue", styles=shared)
        assert line(ax, "bce").get_color() == shared["bce"].color


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([500, 1000, 1500, 2000, 4000, 8000], "log"),
        ([1, 2, 4, 8, 16], "log"),
        ([0.001, 0.01, 0.1], "log"),
        ([1, 15], "linear"),
        ([0, 1, 1000], "linear"),  # no zero on a log axis
        ([-5, 5], "linear"),
        ([4], "linear"),
    ],
)
def test_scale_follows_the_values(values, scale):
    fig, (ax,) = theme.figure()
    figures.score_lines(ax, grid(values, ["a", "b"]), "x", "y", "lo", "hi", "hue")
    assert ax.get_xscale() == scale
    np.testing.assert_array_equal(ax.get_xticks(), values)
    assert ticks(ax.xaxis)[-1] != ""
    theme.png(fig)


def test_a_missing_score_and_a_missing_interval_leave_gaps():
    frame = grid([1, 2, 3], ["a", "b"])
    frame.loc[1, ["lo", "hi"]] = np.nan
    frame.loc[3:, ["y", "lo", "hi"]] = np.nan
    fig, (ax,) = theme.figure()
    figures.score_lines(ax, frame, "x", "y", "lo", "hi", "hue")
    assert "b" not in words(ax)
    theme.png(fig)


def test_a_reference_is_named_where_it_leaves_the_axes():
    fig, (ax,) = theme.figure()
    theory = pd.Series([0.5, 0.9, 0.99], [0, 2, 100])
    figures.score_lines(ax, grid([1, 2], ["a"]), "x", "y", references={"theory": theory})
    theme.png(fig)
    (note,) = [text for text in ax.texts if text.get_text() == "theory"]
    height = ax.transAxes.inverted().transform(ax.transData.transform((2, 0.9)))[1]
    assert note.xy[1] == pytest.approx(height)


def test_score_points_go_downwards_with_their_numbers_beside_them():
    frame = pd.DataFrame(
        {"name": ["one", "two", "three"], "y": [0.9, -0.1, np.nan], "lo": [0.8, np.nan, np.nan]}
    ).assign(hi=lambda f: f.lo + 0.15)
    fig, (ax,) = theme.figure(height=theme.rows_height(3))
    figures.score_points(
        ax, frame, "name", "y", "lo", "hi", {"Bayes": 0.977, "lost": np.nan}, band=(-0.01, 0.01)
    )
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert [heights[name] for name in ("one", "two", "three")] == [0, 1, 2]
    top, bottom = sorted(ax.get_ylim(), reverse=True)
    assert ax.get_ylim() == (top, bottom)  # the first row on top
    (dots,) = [drawn for drawn in ax.lines if drawn.get_marker() == "o"]
    np.testing.assert_array_equal(dots.get_xydata(), np.column_stack([frame.y, [0, 1, 2]]))
    np.testing.assert_allclose(intervals(ax), [[(0.8, 0), (0.95, 0)]])
    assert {"+0.900  [+0.800, +0.950]", "−0.100", "–", "Bayes"} <= set(words(ax))
    assert "lost" not in words(ax)
    theme.png(fig)


def test_outcome_bars_add_up_and_share_the_states_colours():
    frame = pd.DataFrame(
        {"learned": [0.9, 0.0], "dead": [0.006, 1.0], "slow": [0.094, 0.0]}, index=["bce", "mse"]
    )
    _, (ax,) = theme.figure(height=theme.rows_height(2))
    figures.outcome_bars(ax, frame)
    bars = {container.get_label()[1:]: container for container in ax.containers}
    assert list(bars) == ["learned", "slow", "dead"]  # the theme's order, not the frame's
    for state, container in bars.items():
        assert [bar.get_width() for bar in container] == pytest.approx(list(frame[state]))
        assert {to_hex(bar.get_facecolor()) for bar in container} == {theme.STATES[state]}
    assert [bar.get_x() + bar.get_width() for bar in bars["dead"]] == pytest.approx([1, 1])
    assert {"90%", "9.4%", "100%"} <= set(words(ax))
    assert "0.6%" not in words(ax)  # would not fit
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["learned", "slow", "dead"]


def test_numbers_can_be_read_on_every_state():
    for state, color in theme.STATES.items():
        _, (ax,) = theme.figure()
        figures.outcome_bars(ax, pd.DataFrame({state: [1.0]}, index=["config"]))
        (number,) = [text for text in ax.texts if text.get_text() == "100%"]
        assert theme.contrast(number.get_color(), color) >= 4.5


def test_gradient_lines_have_a_reference_at_one_and_share_y():
    frame = pd.DataFrame({"relu": [1, 0.5, 0.1], "sigmoid": [1, 0.01, 0.0]}, index=[1, 2, 8])
    fig, axes = theme.figure(9, 4, panels=2, sharey=True)
    for ax, factor, title in zip(axes, (1, 100), ("default", "He"), strict=True):
        figures.gradient_lines(ax, factor * frame, title=title)
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ticks(ax.xaxis) == ["1", "2", "8"]
        np.testing.assert_array_equal(line(ax, "relu").get_ydata(), factor * frame["relu"])
        assert any(set(drawn.get_ydata()) == {1} for drawn in ax.lines if len(drawn.get_ydata()) == 2)
        assert ax.get_title(loc="left") == title
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_ylim()[0] < 0.01 < 100 < axes[0].get_ylim()[1]
    assert [bool(ax.get_ylabel()) for ax in axes] == [True, False]
    theme.png(fig)


def test_loss_lines_carry_every_curve():
    frames = curves(["bce", "mse"]) | curves(["short"], 500)
    frames["broken"] = frames["bce"].copy()
    frames["broken"].loc[100:] = np.nan
    fig, (ax,) = theme.figure()
    figures.loss_lines(ax, frames, {"floor": 0.06, "none": np.nan, "zero": 0.0}, title="loss")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    for name, frame in frames.items():
        np.testing.assert_array_equal(line(ax, name).get_ydata(), frame["train_loss"])
    assert ax.get_ylim()[0] < 0.06
    early = intervals(ax)[:, 0, 0]  # where the thin lines to the labels begin
    np.testing.assert_array_equal(early, [2000, 2000, 500, 99])
    assert {"bce", "mse", "short", "broken", "floor"} <= set(words(ax))
    assert not {"none", "zero"} & set(words(ax))
    theme.png(fig)


@pytest.mark.parametrize("loss", [[0.5], [np.nan, np.nan], [0.0, 0.0], [1.0, np.inf, 0.0], []])
def test_odd_losses_are_drawn_without_a_warning(loss):
    frame = pd.DataFrame({"train_loss": loss}, index=np.arange(1, len(loss) + 1), dtype=float)
    fig, (ax,) = theme.figure()
    figures.loss_lines(ax, {"odd": frame})
    assert theme.png(fig)


def test_variance_bars():
    frame = pd.DataFrame(
        {"share": [0.31, np.nan], "lo": [0.2, np.nan], "hi": [0.42, np.nan]}, index=["data", "start"]
    )
    fig, (ax,) = theme.figure(height=theme.rows_height(2))
    figures.variance_bars(ax, frame, title="variance")
    assert ax.patches[0].get_width() == 0.31
    np.testing.assert_allclose(intervals(ax), [[(0.2, 0), (0.42, 0)]])
    assert {"31%  [20, 42]", "–"} <= set(words(ax))
    theme.png(fig)


@pytest.mark.parametrize("draw", ["points", "outcomes", "variance", "losses"])
def test_nothing_to_draw(draw):
    fig, (ax,) = theme.figure()
    if draw == "points":
        figures.score_points(ax, rows([]), "name", "y", "lo", "hi")
    elif draw == "outcomes":
        figures.outcome_bars(ax, outcomes(CONFIGS).iloc[:0])
    elif draw == "variance":
        figures.variance_bars(ax, pd.DataFrame({"share": [], "lo": [], "hi": []}, dtype=float))
    else:
        figures.loss_lines(ax, {})
    assert theme.png(fig)


# ------------------------------------------------------------------------------------------ how it looks


LONG = [
    f"{config} · learning rate {rate} · and $more_ <b>" for config in CONFIGS for rate in (0.01, 0.02, 0.05)
]


@pytest.mark.parametrize(
    ("values", "hues"),
    [
        ([0.5, 1, 2, 3, 4, 6], ["bce · relu", "mse · relu", "bce · linear", "mse · linear"]),
        ([500, 1000, 1500, 2000, 4000, 8000], ["bce"]),
        (np.geomspace(1e-5, 1, 30), LONG[:10]),
        (range(40), ["a", "b"]),
    ],
    ids=["distance", "epochs", "rates", "many"],
)
def test_no_text_is_cut_or_covered_over_numbers(values, hues):
    fig, (ax,) = theme.figure()
    frame = grid(values, hues).assign(y=0.9, lo=0.89, hi=0.91)
    references = {"Bayes": 0.91, "sample optimum": 0.905}
    figures.score_lines(ax, frame, "x", "y", "lo", "hi", "hue", references, "x", "y", title=LONG[0])
    assert overlapping(fig) == ([], [])


@pytest.mark.parametrize("names", [["bce"], LONG], ids=["1", "24 long"])
@pytest.mark.parametrize("plot", ["points", "outcomes"])
def test_no_text_is_cut_or_covered_in_rows(names, plot):
    fig, (ax,) = theme.figure(height=theme.rows_height(len(names)))
    if plot == "points":
        references = {"sample optimum": 0.973, "Bayes": 0.97725}
        figures.score_points(ax, rows(names), "name", "y", "lo", "hi", references, title="Accuracy")
    else:
        figures.outcome_bars(ax, outcomes(names), title="How the seeds ended")
    assert overlapping(fig) == ([], [])


def test_no_text_is_cut_or_covered_in_panels():
    frame = pd.DataFrame(
        {name: [1.0, 0.9, 0.8, 0.7] for name in ("sigmoid", "tanh", "relu", "linear")}, index=[1, 2, 4, 8]
    )
    fig, axes = theme.figure(9, 4.2, panels=2, sharey=True)
    for ax in axes:
        figures.gradient_lines(ax, frame, title="PyTorch's default initialisation")
    assert overlapping(fig) == ([], [])


def test_svg_is_the_same_each_time():
    def draw():
        fig, (ax,) = theme.figure()
        figures.score_lines(ax, grid([1, 2], ["a", "b"]), "x", "y", "lo", "hi", "hue", {"Bayes": 0.9})
        return theme.svg(fig)

    assert draw() == draw()


@pytest.mark.parametrize("kind", ["scores", "outcomes"])
@pytest.mark.parametrize("configs", [illustrations.MAX_ROWS, 60])
def test_more_rows_than_one_can_read_are_left_to_the_table(kind, configs):
    drawn = []
    for i in range(configs):
        learned = 40 + (7 * i) % configs  # of 100
        frame = pd.DataFrame(
            {
                "seed": np.arange(100),
                "state": ["learned"] * learned + ["dead"] * (100 - learned),
                "population_accuracy": learned / 100 + np.linspace(-0.01, 0.01, 100),
            }
        )
        config = Config(learning_rate=(i + 1) / 1000)
        drawn.append(SeedTable(config, (), (), frame))
    picture = illustrations.draw(FigureSpec(kind, None, "population_accuracy"), drawn, None)
    shown = [
        i
        for i in range(configs)
        if f"lr {(i + 1) / 1000:g}" + {"scores": " ", "outcomes": ":"}[kind] in picture.alt
    ]
    if configs <= illustrations.MAX_ROWS:
        assert shown == list(range(configs))
        assert "more in the table" not in picture.caption
    else:
        half = illustrations.MAX_ROWS // 2
        places = [(7 * i) % configs for i in range(configs)]
        assert shown == [i for i in range(configs) if places[i] < half or places[i] >= configs - half]
        assert "Of 60 configs the 12 highest and the 12 lowest" in picture.caption
        assert "36 more in the table" in picture.caption


# ----------------------------------------------------------------------------- the distribution over seeds


def spread(values, hues=("",), n=40):
    """Half of the networks at 0.5, half from 0.9 to 0.97."""
    scores = np.concatenate([np.full(n // 2, 0.5), np.linspace(0.9, 0.97, n - n // 2)])
    return pd.DataFrame(
        [(x, hue, y) for hue in hues for x in values for y in scores], columns=["x", "hue", "y"]
    )


def bars_of(ax, name):
    """Left, right, lower and upper edge of each bar of one hue."""
    (found,) = [c for c in ax.collections if c.get_label() == f"_{name}"]
    corners = [path.get_extents() for path in found.get_paths()]
    return np.array([(box.x0, box.x1, box.y0, box.y1) for box in corners])


def test_a_distributions_bars_are_as_wide_as_the_root_of_their_share():
    _, (ax,) = theme.figure()
    assert figures.score_distributions(ax, spread([0.1, 1.0]), "x", "y", references={"Bayes": 0.98}) is ax
    bars = bars_of(ax, "")
    first = bars[bars[:, 0] < 0.5]
    width = first[:, 1] - first[:, 0]
    counts, edges = np.histogram(spread([1])["y"], figures.BINS)
    np.testing.assert_allclose(first[:, 2], edges[:-1][counts > 0], atol=1e-12)
    np.testing.assert_allclose(width / width.max(), np.sqrt(counts[counts > 0] / counts.max()))
    np.testing.assert_allclose((first[:, 0] + first[:, 1]) / 2, 0, atol=1e-12)
    assert ticks(ax.xaxis) == ["0.1", "1"]
    assert line(ax, "Bayes").get_ydata()[0] == 0.98
    (means,) = [artist for artist in ax.lines if artist.get_marker() == "o"]
    np.testing.assert_allclose(means.get_ydata(), spread([1])["y"].mean())


def test_hues_of_a_distribution_stand_side_by_side():
    _, (ax,) = theme.figure()
    figures.score_distributions(ax, spread([1, 2, 3], ("relu", "linear")), "x", "y", "hue")
    left, right = bars_of(ax, "relu"), bars_of(ax, "linear")
    assert len(left) == len(right)
    for place in range(3):
        own = [part[np.abs(part[:, :2].mean(1) - place) < 0.5] for part in (left, right)]
        assert own[0][:, 1].max() < own[1][:, 0].min()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["relu", "linear"]


@pytest.mark.parametrize(
    "scores", [[], [np.nan, np.nan], [0.5] * 3, [0.5, np.nan, 0.9]], ids=["none", "nan", "one", "gap"]
)
def test_a_distribution_of_little_is_drawn(scores):
    fig, (ax,) = theme.figure()
    figures.score_distributions(ax, pd.DataFrame({"x": [1] * len(scores), "y": scores}), "x", "y")
    theme.svg(fig)
    finite = np.array(scores)[np.isfinite(scores)]
    assert len(bars_of(ax, "")) == len(set(finite.tolist()))


def test_no_text_of_a_distribution_is_cut_or_covered():
    rates = [0.001, 0.002, 0.004, 0.007, 0.013, 0.025, 0.05, 0.08, 0.15, 0.3, 0.55, 1.0]
    fig, (ax,) = theme.figure(9.6, 4.4)
    figures.score_distributions(
        ax,
        spread(rates, ("relu", "linear")),
        "x",
        "y",
        "hue",
        {"Bayes accuracy": 0.977},
        xlabel="learning rate",
    )
    assert overlapping(fig) == ([], [])
    assert ticks(ax.xaxis) == [f"{rate:g}" for rate in rates]
