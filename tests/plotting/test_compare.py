import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from pictures import overlapping, words

from qwerties.plotting import compare as plots
from qwerties.plotting import style as theme
from qwerties.plotting.axes import panels

LONG = [
    f"{loss} · {activation} · d=4 · 2000 epochs · rate {rate} · and $more_ <b>"
    for loss in ("BCE", "MSE")
    for activation in ("ReLU", "linear", "tanh", "sigmoid")
    for rate in (0.01, 0.02, 0.05)
]


def draw(plot, frame, height=4.2, width=7.2, **arguments):
    """Axes with a plot, on a figure as the page has it."""
    name = "curves" if plot is plots.loss_lines else "frame"
    return panels([(plot, {name: frame, **arguments})], width, height).axes[0]


def grid(xs, lines):
    rows = [{"x": x, "line": line, "y": 0.9 - 0.05 * i} for i, line in enumerate(lines) for x in xs]
    return pd.DataFrame(rows).assign(lo=lambda f: f.y - 0.01, hi=lambda f: f.y + 0.02)


def rows(names):
    y = np.linspace(0.8, 0.97, len(names))
    return pd.DataFrame({"label": names, "y": y, "lo": y - 0.02, "hi": y + 0.01})


def curves(names, epochs=2000):
    epoch = pd.Index(np.arange(1, epochs + 1), name="epoch")
    return {
        name: pd.Series(0.1 + 0.05 * i + np.exp(-epoch / 900), index=epoch) for i, name in enumerate(names)
    }


def outcomes(names):
    shares = np.random.default_rng(0).dirichlet([6, 1, 0.6, 1.5, 0.1], len(names))
    return pd.DataFrame(shares, index=names, columns=list(theme.STATES))


def lines_of(ax, color):
    return [line for line in ax.lines if to_hex(line.get_color()) == color]


def intervals(ax):
    drawn = [c for c in ax.collections if isinstance(c, LineCollection) and c.get_zorder() > 1]
    return np.array([segment for c in drawn for segment in c.get_segments() if len(segment)])


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


# ----------------------------------------------------------------------------------- lines over numbers


def test_score_lines_carry_points_bands_names_and_references():
    frame = grid([0.5, 1, 2, 3, 4, 6], ["BCE", "MSE"])
    bayes = pd.Series([0.6, 0.7, 0.84, 0.93, 0.98, 0.99], [0.5, 1, 2, 3, 4, 6])
    references = {"Bayes": bayes, "one class": 0.5, "unknown": np.nan}
    ax = draw(
        plots.score_lines, frame, references=references, xlabel="distance", ylabel="accuracy", title="t"
    )
    for (_, part), style, band in zip(frame.groupby("line"), theme.STYLES, ax.collections, strict=False):
        (line,) = lines_of(ax, style.color)
        np.testing.assert_array_equal(line.get_xydata(), part[["x", "y"]])
        assert line.get_marker() == style.marker
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(9)}
        assert {(x, round(y, 9)) for x, y in part[["x", "lo"]].to_numpy()} <= corners
        assert {(x, round(y, 9)) for x, y in part[["x", "hi"]].to_numpy()} <= corners
    dashed = lines_of(ax, theme.MUTED)
    assert any(np.array_equal(line.get_ydata(), bayes) for line in dashed)
    assert {"BCE", "MSE", "Bayes", "one class"} <= set(words(ax))
    assert "unknown" not in words(ax)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("distance", "accuracy", "t")
    assert (ax.get_xscale(), ticks(ax.xaxis)) == ("linear", ["0.5", "1", "2", "3", "4", "6"])


def test_lines_differ_in_colour_marker_and_dash_and_can_share_them():
    ax = draw(plots.score_lines, grid([1, 2], "abcdef"))
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2]
    looks = [(line.get_color(), line.get_marker(), str(line._dash_pattern)) for line in lines]
    assert [len(set(aspect)) for aspect in zip(*looks, strict=True)] == [6, 6, 6]
    shared = theme.styles(["MSE", "BCE"])
    for names in (["BCE"], ["BCE", "MSE"]):
        assert lines_of(draw(plots.score_lines, grid([1, 2], names), styles=shared), shared["BCE"].color)


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
    ax = draw(plots.score_lines, grid(values, ["a", "b"]))
    assert ax.get_xscale() == scale
    np.testing.assert_array_equal(ax.get_xticks(), values)
    assert ticks(ax.xaxis)[-1] != ""


def test_a_missing_score_is_marked_and_a_missing_interval_leaves_a_gap():
    frame = grid([1, 2, 3], ["a", "b"])
    frame.loc[1, ["lo", "hi"]] = np.nan
    frame.loc[3:, ["y", "lo", "hi"]] = np.nan
    ax = draw(plots.score_lines, frame)
    assert "b" not in words(ax)
    (marks,) = lines_of(ax, theme.STATES["diverged"])
    assert list(marks.get_xdata()) == [1, 2, 3]
    assert theme.svg(ax.figure)


def test_one_point_shows_its_interval():
    np.testing.assert_allclose(intervals(draw(plots.score_lines, grid([4], ["a"]))), [[(4, 0.89), (4, 0.92)]])


def test_small_numbers_on_a_log_axis_are_written_as_people_write_them():
    frame = pd.DataFrame({"x": [1, 2, 8], "y": [1, 1e-4, 1e-9], "line": "sigmoid"})
    ax = draw(plots.score_lines, frame, log_y=True, log_from=0.5)
    theme.png(ax.figure)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert {"10⁻⁴", "10⁻⁶"} <= set(ticks(ax.yaxis))
    assert not any("·10" in text and text.startswith("10·") for text in ticks(ax.yaxis))


def test_loss_lines_carry_every_curve():
    frames = curves(["BCE", "MSE"]) | curves(["short"], 500)
    frames["broken"] = frames["BCE"].copy()
    frames["broken"].loc[100:] = np.nan
    ax = draw(plots.loss_lines, frames, references={"floor": 0.06, "none": np.nan, "zero": 0.0})
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    for (_, frame), style in zip(frames.items(), theme.STYLES, strict=False):
        np.testing.assert_array_equal(lines_of(ax, style.color)[0].get_ydata(), frame)
    assert ax.get_ylim()[0] < 0.06
    np.testing.assert_array_equal(intervals(ax)[:, 0, 0], [2000, 2000, 500, 99])  # thin lines to the labels
    assert {"BCE", "MSE", "short", "broken", "floor"} <= set(words(ax))
    assert not {"none", "zero"} & set(words(ax))


@pytest.mark.parametrize("loss", [[0.5], [np.nan, np.nan], [0.0, 0.0], [1.0, np.inf, 0.0], []])
def test_odd_losses_are_drawn_without_a_warning(loss):
    curve = pd.Series(loss, index=np.arange(1, len(loss) + 1), dtype=float)
    assert theme.svg(draw(plots.loss_lines, {"odd": curve}).figure)


# ----------------------------------------------------------------------------------------- distributions


def piles(values, lines=("",), n=40):
    """Half of the networks at 0.5, half from 0.9 to 0.97."""
    scores = np.concatenate([np.full(n // 2, 0.5), np.linspace(0.9, 0.97, n - n // 2)])
    return pd.DataFrame(
        [(x, line, y) for line in lines for x in values for y in scores], columns=["x", "line", "y"]
    )


def test_distributions_keep_both_piles_apart_and_mark_means():
    ax = draw(plots.score_distributions, piles([0.1, 1.0]), references={"Bayes": 0.98})
    shape = ax.collections[0].get_paths()[0].vertices
    assert (shape[:, 1].min(), shape[:, 1].max()) == pytest.approx((0.5, 0.97))  # no tail beyond the scores
    width = lambda y: np.abs(shape[np.abs(shape[:, 1] - y).argmin(), 0])  # noqa: E731
    assert width(0.7) < 0.05 * width(0.95)
    assert ticks(ax.xaxis) == ["0.1", "1"]
    (means,) = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(means.get_ydata(), piles([1])["y"].mean())
    assert {"Bayes"} <= set(words(ax))


def test_lines_of_a_distribution_stand_side_by_side():
    ax = draw(plots.score_distributions, piles([1, 2, 3], ("ReLU", "linear")))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ReLU", "linear"]
    (means,) = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(
        np.sort(means.get_xdata()), np.ravel([[x - 0.215, x + 0.215] for x in range(3)])
    )


@pytest.mark.parametrize(
    "values", [[0.10001, 0.10002], ["16x16x16x16x16", "16x16x16x16x8"]], ids=["numbers", "layers"]
)
def test_values_that_look_alike_have_a_shape_each(values):
    ax = draw(plots.score_distributions, piles(values))
    assert ticks(ax.xaxis) == [str(value) for value in values]
    assert len(ax.collections) == 2


@pytest.mark.parametrize(
    "scores", [[], [np.nan, np.nan], [0.5] * 3, [0.5, np.nan, 0.9]], ids=["none", "nan", "one", "gap"]
)
def test_a_distribution_of_little_is_drawn(scores):
    frame = pd.DataFrame({"x": [1] * len(scores), "y": np.array(scores, float), "line": ""})
    assert theme.svg(draw(plots.score_distributions, frame).figure)


# -------------------------------------------------------------------------------------------- named rows


def test_score_points_go_downwards_with_their_numbers_beside_them():
    frame = pd.DataFrame(
        {"label": ["one", "two", "three"], "y": [0.9, -0.1, np.nan], "lo": [0.8, np.nan, np.nan]}
    )
    frame["hi"] = frame.lo + 0.15
    references = {"Bayes": 0.977, "lost": np.nan}
    ax = draw(plots.score_points, frame, references=references, band=(-0.01, 0.01))
    assert ticks(ax.yaxis) == ["one", "two", "three"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row on top
    (dots,) = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(dots.get_xydata(), np.column_stack([frame.y, [0, 1, 2]]))
    np.testing.assert_allclose(intervals(ax), [[(0.8, 0), (0.95, 0)]])
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert band.intervalx == pytest.approx([-0.01, 0.01])
    assert {"+0.900  [+0.800, +0.950]", "−0.100", "–", "Bayes"} <= set(words(ax))
    assert "lost" not in words(ax)


def test_outcome_bars_add_up_and_share_the_states_colours():
    frame = pd.DataFrame(
        {"learned": [0.9, 0.0], "dead": [0.006, 1.0], "slow": [0.094, 0.0]}, index=["BCE", "MSE"]
    )
    ax = draw(plots.outcome_bars, frame, height=plots.rows_height(2))
    bars = {container.get_label(): container for container in ax.containers}
    assert list(bars) == ["learned", "slow", "dead"]  # the order of the states, not the frame's
    for state, container in bars.items():
        assert [bar.get_width() for bar in container] == pytest.approx(list(frame[state]))
        assert {to_hex(bar.get_facecolor()) for bar in container} == {theme.STATES[state]}
    assert [bar.get_x() + bar.get_width() for bar in bars["dead"]] == pytest.approx([1, 1])
    assert {"90%", "9%", "100%"} <= set(words(ax))
    assert "0.6%" not in words(ax)  # would not fit
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["learned", "slow", "dead"]


def test_numbers_can_be_read_on_every_state():
    for state, color in theme.STATES.items():
        ax = draw(plots.outcome_bars, pd.DataFrame({state: [1.0]}, index=["config"]))
        (number,) = [text for text in ax.texts if text.get_text() == "100%"]
        assert theme.contrast(number.get_color(), color) >= 4.5


def test_share_bars_carry_shares_and_bounds():
    frame = pd.DataFrame(
        {"share": [0.31, np.nan], "lo": [0.2, np.nan], "hi": [0.42, np.nan]}, index=["data", "start"]
    )
    ax = draw(plots.share_bars, frame, title="variance")
    assert ax.patches[0].get_width() == 0.31
    np.testing.assert_allclose(intervals(ax), [[(0.2, 0), (0.42, 0)]])
    assert {"31%  [20%, 42%]", "–"} <= set(words(ax))
    near_ends = pd.DataFrame(
        {"share": [0.995, 0.004], "lo": [0.99, 0.0], "hi": [0.999, 0.01]}, index=["data", "start"]
    )
    assert {"99.5%  [99%, 99.9%]", "0.4%  [0%, 1%]"} <= set(words(draw(plots.share_bars, near_ends)))
    assert "31%" in words(draw(plots.share_bars, frame[["share"]].dropna(), full=False))


@pytest.mark.parametrize(
    ("plot", "frame"),
    [
        (plots.score_points, rows([])),
        (plots.outcome_bars, outcomes(["BCE"]).iloc[:0]),
        (plots.share_bars, pd.DataFrame({"share": [], "lo": [], "hi": []}, dtype=float)),
        (plots.loss_lines, {}),
        (plots.score_lines, grid([1], ["a"]).iloc[:0]),
    ],
)
def test_nothing_to_draw(plot, frame):
    assert theme.png(draw(plot, frame).figure)


# ------------------------------------------------------------------------------------------ how it looks


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.5, 1, 2, 3, 4, 6], ["BCE · ReLU", "MSE · ReLU", "BCE · linear", "MSE · linear"]),
        ([500, 1000, 1500, 2000, 4000, 8000], ["BCE"]),
        (np.geomspace(1e-5, 1, 30), LONG[:10]),
        (range(40), ["a", "b"]),
    ],
    ids=["distance", "epochs", "rates", "many"],
)
def test_no_text_is_cut_or_covered_over_numbers(values, names):
    frame = grid(values, names).assign(y=0.9, lo=0.89, hi=0.91)
    references = {"Bayes": 0.91, "sample optimum": 0.905}
    ax = draw(plots.score_lines, frame, references=references, xlabel="x", ylabel="y", title=LONG[0])
    assert overlapping(ax.figure) == ([], [])


@pytest.mark.parametrize("names", [["BCE"], LONG], ids=["1", "24 long"])
def test_no_text_is_cut_or_covered_in_rows(names):
    height, references = plots.rows_height(len(names)), {"sample optimum": 0.973, "Bayes": 0.97725}
    points = draw(plots.score_points, rows(names), height, references=references)
    bars = draw(plots.outcome_bars, outcomes(names), height)
    assert overlapping(points.figure) == overlapping(bars.figure) == ([], [])


def test_no_text_of_a_distribution_is_cut_or_covered():
    rates = [0.001, 0.002, 0.004, 0.007, 0.013, 0.025, 0.05, 0.08, 0.15, 0.3, 0.55, 1.0]
    frame = piles(rates, ("ReLU", "linear"))
    ax = draw(
        plots.score_distributions, frame, width=9.6, references={"Bayes accuracy": 0.977}, xlabel="rate"
    )
    assert overlapping(ax.figure) == ([], [])
    assert ticks(ax.xaxis) == [f"{rate:g}" for rate in rates]


def test_no_text_is_cut_or_covered_in_panels():
    frame = grid([1, 2, 4, 8], ["sigmoid", "tanh", "ReLU", "linear"])
    words = {"log_y": True, "log_from": 0.5, "title": "PyTorch's default initialisation", "xlabel": "layers"}
    fig = panels([(plots.score_lines, {"frame": frame, **words})] * 2, 9, 4.2, sharey=True)
    assert fig.axes[0].get_ylim() == fig.axes[1].get_ylim()
    assert overlapping(fig) == ([], [])
