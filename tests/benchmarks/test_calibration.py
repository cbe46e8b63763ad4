"""The calibration measures what it says, notices a broken interval, and reuses what is trained."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from benchmarks.calibration import __main__ as command
from benchmarks.calibration import pool, simulation
from benchmarks.calibration.__main__ import breaks_promise, main, table
from benchmarks.calibration.pool import CONTRASTS, load_differences
from benchmarks.calibration.simulation import COUNTS, measure, nasty_shapes, t_intervals, trained_shape
from qwerties.config import Seeds


def shape(name):
    return next(shape for shape in nasty_shapes() if shape.name.startswith(name))


def test_shapes_are_distributions_within_the_bounds():
    for one in nasty_shapes():
        assert one.probabilities.sum() == pytest.approx(1)
        assert (np.abs(one.values) <= 1).all()
    assert shape("steady lead undone").mean == pytest.approx(0)
    assert shape("the margin").mean == pytest.approx(0.01)


def test_trained_differences_keep_their_mean():
    differences = [0.0, 0.5, 0.0, -0.25]
    assert trained_shape("trained", differences).mean == np.mean(differences)


def test_students_t_is_scipys():
    values = np.random.default_rng(0).choice([-0.3, 0.1, 0.5], 200)
    counts = np.array([50, 200])
    low, high = t_intervals(values, counts, 0.05)
    for k, count in enumerate(counts):
        interval = ttest_1samp(values[:count], 0).confidence_interval(0.95)
        assert (low[k], high[k]) == pytest.approx(tuple(interval))


def test_the_sequence_holds_where_t_fails():
    result = measure(shape("rare flips (1"), 60, 0.05, seed=1)
    assert result["outside"] <= 0.05
    assert result["t outside at 500"] > 0.3
    assert result["t outside, ever"] >= max(result[f"t outside at {n}"] for n in COUNTS)
    assert result["decided at 500"] == 0
    assert result["decided at 2000"] == 1
    assert not breaks_promise(result)
    assert result == measure(shape("rare flips (1"), 60, 0.05, seed=1)


def test_a_broken_interval_is_noticed(monkeypatch):
    def narrow(values, **_):
        mean, error = values.mean(), values.std() / np.sqrt(len(values))
        return [mean - error], [mean + error]

    monkeypatch.setattr(simulation, "confidence_sequence", narrow)
    result = measure(shape("bimodal"), 200, 0.05, seed=1)
    assert breaks_promise(result)
    assert "BROKEN" in table([result])


def test_the_table_shows_every_shape_in_percent():
    results = [measure(shape(name), 20, 0.05, seed=1) for name in ("bimodal", "rare flips both ways")]
    text = table(results)
    assert "decided at 2000" in text
    for result in results:
        rates, prices = (line.split() for line in text.splitlines() if line.startswith(result["shape"]))
        assert float(rates[-1]) == pytest.approx(result["mean"], abs=1e-5)
        assert float(prices[-1]) == round(100 * result["t decided at 2000"], 1)


def fake_training(monkeypatch):
    """Replace training by numbers that name config and seed; return the blocks that were asked for."""
    asked = []

    def train_block(configs, seeds, path):
        asked.append(seeds)
        first = seeds.start - pool.FIRST_SEED
        np.save(path, np.arange(len(configs))[:, None] / 10 + (first + np.arange(len(seeds))) * 1e-6)

    monkeypatch.setattr(pool, "train_block", train_block)
    return asked


def test_a_pool_trains_only_what_it_lacks(tmp_path, monkeypatch):
    asked = fake_training(monkeypatch)
    small = load_differences(500, cache=tmp_path, workers=1)
    large = load_differences(1000, cache=tmp_path, workers=1)
    assert asked == [
        Seeds(pool.FIRST_SEED, pool.FIRST_SEED + 500),
        Seeds(pool.FIRST_SEED + 500, pool.FIRST_SEED + 1000),
    ]
    assert list(large) == list(CONTRASTS)
    for name, values in large.items():
        assert values.shape == (1000,)
        assert (values[:500] == small[name]).all()
    assert large["BCE − MSE"] == pytest.approx([-0.1] * 1000)


def test_a_block_holds_population_accuracies(tmp_path):
    a, b = CONTRASTS["BCE − MSE"]
    pool.train_block((a, b), Seeds(pool.FIRST_SEED, pool.FIRST_SEED + 4), tmp_path / "block.npy")
    accuracy = np.load(tmp_path / "block.npy")
    assert accuracy.shape == (2, 4)
    assert ((accuracy >= 0) & (accuracy <= 1)).all()
    assert (accuracy[0] != accuracy[1]).any()


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "enter_root", lambda: tmp_path)
    return tmp_path


def test_the_command_writes_every_figure(project, capsys, monkeypatch):
    monkeypatch.setattr(command, "nasty_shapes", lambda: [shape("bimodal")])
    assert main(["--pool", "0", "--sequences", "100", "--jobs", "1"]) == 0
    assert "bimodal" in capsys.readouterr().out
    (result,) = json.loads((project / "reports" / "calibration.json").read_text())["results"]
    assert result["shape"] == "bimodal"
    assert result["decided at 50"] <= result["decided at 2000"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--pool 700", "--pool must be a multiple of 500, got 700"),
        ("--sequences 5", "--sequences must be a whole number from 100 to 1000000, got '5'"),
    ],
)
def test_a_wrong_request_is_one_clear_line(capsys, line, message):
    assert main(line.split()) == 2
    assert capsys.readouterr().err == f"calibration: error: {message}\n"
