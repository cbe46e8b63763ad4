"""Records: every metric, series, file and child that a run leaves in the store."""

# ruff: noqa: PD011  (values are those of our own Series)

import dataclasses
import functools
import io
import math

import numpy as np
import pandas as pd
import pytest

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.study.runs import curve_epochs, make_record, train_records
from qwerties.training import data
from qwerties.training.trainer import Trained, checkpoints, train

PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = ("plots/decision_boundary.png", "plots/loss_curve.png", "plots/accuracy_distribution.png")
METRICS = {
    *("train_accuracy", "population_accuracy", "gain", "bce", "brier", "phi", "phi_undefined"),
    *("learned_fraction", "slow_fraction", "constant_fraction", "dead_fraction", "diverged_fraction"),
    *("dead_at_init_fraction", "settled_fraction", "ever_learned_fraction", "epochs_to_learn"),
    *("excess_loss", "separable", "gradient_ratio", "final_train_loss"),
}
AT_CHECKPOINTS = ("train_accuracy", "population_accuracy", "learned_fraction", "dead_fraction")
COLUMNS = [
    *("seed", "state", "dead_at_init", "train_loss", "train_accuracy", "phi", "population_accuracy", "gain"),
    *("bce", "brier", "epochs_to_learn", "settled", "excess_loss"),
]
SEEDS = Seeds(3, 11)  # seed 10 is dead before the first update
CONFIG = dataclasses.replace(DEFAULT, learning_rate=0.02)


@functools.cache
def trained():
    return train([CONFIG], SEEDS, compiled=False)[0]


@functools.cache
def record():
    return make_record(trained())


def table_of(record):
    return pd.read_csv(io.BytesIO(record.files["seeds.csv"]))


def arrays_of(record, name):
    with np.load(io.BytesIO(record.files[name]), allow_pickle=False) as archive:
        return dict(archive)


LEARNED, DEAD, BROKEN = (1.0, 0.0, 0.0, 2.0, -6.0), (-1.0, 0.0, -1000.0, 1.0, -0.5), (math.nan,) * 5
SLOW, CONSTANT = (1.0, 0.0, 0.0, 2.0, -12.0), (1.0, 0.0, 20.0, 1.0, 100.0)


def by_hand(*paths, config=DEFAULT, epochs=20):
    """A training that was never run: each network's (w1, w2, b, v, c) at epochs 0, 3 and the last."""
    kept = np.array([0, 3, epochs])
    units = np.array([path if isinstance(path, list) else [path] * 3 for path in paths], dtype=np.float32)
    losses = np.full((len(paths), epochs), 0.3, dtype=np.float32)
    losses[np.isnan(units[:, -1, 0]), 2:] = np.nan
    weights = {
        "0.weight": units[:, :, None, :2],
        "0.bias": units[:, :, 2:3],
        "2.weight": units[:, :, None, 3:4],
        "2.bias": units[:, :, 4:5],
    }
    ratios = np.array([[0.1 * (i + 1), 0.2] for i in range(len(paths))], dtype=np.float32)
    config = dataclasses.replace(config, epochs=epochs)
    return Trained(config, Seeds(0, len(paths)), losses, kept, weights, ratios)


# Params, metrics, series


def test_a_run_has_its_name_params_metrics_and_files():
    assert record().name == CONFIG.label()
    assert record().params == {**CONFIG.to_params(), "seeds": "3-10"}
    assert set(record().metrics) == METRICS
    defined = [value for value in record().metrics.values() if value is not None]
    assert all(type(value) is float and math.isfinite(value) for value in defined)
    assert set(record().files) == {"seeds.csv", "curves.npz", "weights.npz", *PICTURES}
    assert all(record().files[name].startswith(PNG) for name in PICTURES)


def test_metrics_are_recomputed_from_the_table():
    metrics, table = record().metrics, table_of(record())
    for name in ("train_accuracy", "population_accuracy", "gain", "bce", "brier"):
        assert metrics[name] == pytest.approx(table[name].mean())
    assert metrics["final_train_loss"] == pytest.approx(table["train_loss"].mean())
    for state in ("learned", "slow", "constant", "dead", "diverged"):
        assert metrics[f"{state}_fraction"] == np.mean(table["state"] == state)
    assert metrics["dead_at_init_fraction"] == table["dead_at_init"].mean()
    assert metrics["settled_fraction"] == table["settled"].mean()
    assert metrics["phi_undefined"] == table["phi"].isna().sum()
    assert metrics["ever_learned_fraction"] == table["epochs_to_learn"].notna().mean()
    assert metrics["separable"] == table["excess_loss"].isna().sum()
    with np.errstate(invalid="ignore"):  # the dead have no gradient
        ratio = trained().gradient_rms[:, 0] / trained().gradient_rms[:, -1]
    assert metrics["gradient_ratio"] == pytest.approx(np.median(ratio[np.isfinite(ratio)]), rel=1e-6)
    assert {"learned", "dead"} <= set(table["state"])  # else the seeds above would show little


def test_a_score_that_is_undefined_for_some_is_not_averaged_over_the_rest():
    some = make_record(by_hand(LEARNED, LEARNED, CONSTANT)).metrics
    assert (some["phi"], some["phi_undefined"]) == (None, 1)
    none = make_record(by_hand(LEARNED, SLOW))
    assert none.metrics["phi"] == pytest.approx(table_of(none)["phi"].mean())
    assert none.metrics["phi_undefined"] == 0
    made = make_record(by_hand(LEARNED, BROKEN, DEAD))
    for name in ("train_accuracy", "population_accuracy", "gain", "bce", "brier", "phi"):
        assert made.metrics[name] is None, name
    assert made.metrics["diverged_fraction"] == made.metrics["learned_fraction"] == pytest.approx(1 / 3)
    assert made.metrics["separable"] == 0
    assert made.series["dead_fraction"].values[-1] == made.metrics["dead_fraction"]


def test_epochs_to_learn_is_given_only_where_half_learned():
    slowly = [SLOW, SLOW, LEARNED]
    quickly = [SLOW, LEARNED, LEARNED]
    assert make_record(by_hand(quickly, slowly, slowly)).metrics["epochs_to_learn"] == 20
    assert make_record(by_hand(quickly, quickly, SLOW)).metrics["epochs_to_learn"] == 3
    few = make_record(by_hand(LEARNED, SLOW, SLOW)).metrics
    assert (few["epochs_to_learn"], few["ever_learned_fraction"]) == (None, pytest.approx(1 / 3))
    nine = make_record(by_hand(*[slowly] * 3, *[quickly] * 3, *[SLOW] * 3)).metrics
    assert nine["epochs_to_learn"] == 20  # the fifth to learn does so at epoch 20


@pytest.mark.parametrize("config", [Config(loss="mse"), Config(data="xor")], ids=["mse", "xor"])
def test_where_no_sample_has_an_optimum_there_is_no_excess_loss(config):
    metrics = make_record(by_hand(LEARNED, SLOW, config=config)).metrics
    assert (metrics["excess_loss"], metrics["separable"]) == (None, None)


def test_gradient_ratio_leaves_out_networks_without_a_gradient():
    made = by_hand(LEARNED, SLOW, SLOW)
    ratios = np.array([[1, 2], [0, 0], [3, 0]], dtype=np.float32)
    assert make_record(dataclasses.replace(made, gradient_rms=ratios)).metrics["gradient_ratio"] == 0.5
    nothing = dataclasses.replace(made, gradient_rms=np.zeros((3, 2), np.float32))
    assert make_record(nothing).metrics["gradient_ratio"] is None


def test_series_are_there_with_all_their_steps():
    quantiles = dict.fromkeys(("train_loss_p10", "train_loss_p50", "train_loss_p90"), curve_epochs(2000))
    at_checkpoints = dict.fromkeys(AT_CHECKPOINTS, checkpoints(2000))
    steps = {"train_loss": range(1, 2001), **quantiles, **at_checkpoints}
    assert set(record().series) == set(steps)
    for name, points in record().series.items():
        np.testing.assert_array_equal(points.steps, steps[name])
        assert points.values.shape == points.steps.shape
        assert points.values.dtype == np.float64
        assert np.isfinite(points.values).all()


def test_series_are_recomputed_from_the_training():
    series, losses = record().series, trained().losses.astype(float)
    np.testing.assert_allclose(series["train_loss"].values, losses.mean(0), rtol=1e-12)
    ranked = np.sort(losses[:, curve_epochs(2000) - 1], axis=0)
    for name, row in (("p10", 1), ("p50", 4), ("p90", 6)):  # of eight seeds: 0.7, 3.5 and 6.3
        np.testing.assert_array_equal(series[f"train_loss_{name}"].values, ranked[row])
    table = table_of(record())
    assert series["train_accuracy"].values[-1] == pytest.approx(table["train_accuracy"].mean())
    assert series["population_accuracy"].values[-1] == pytest.approx(table["population_accuracy"].mean())
    assert series["dead_fraction"].values[-1] == np.mean(table["state"] == "dead")
    assert series["dead_fraction"].values[0] == table["dead_at_init"].mean()
    assert series["learned_fraction"].values[-1] == np.mean(table["gain"] >= 0.8)


def test_a_diverged_network_makes_the_mean_loss_undefined_and_is_the_largest_of_the_quantiles():
    series = make_record(by_hand(*[LEARNED] * 5, BROKEN, BROKEN)).series
    np.testing.assert_array_equal(np.isnan(series["train_loss"].values), np.arange(1, 21) > 2)
    for name in ("train_loss_p10", "train_loss_p50"):
        np.testing.assert_allclose(series[name].values, 0.3, rtol=1e-6)
    np.testing.assert_array_equal(np.isinf(series["train_loss_p90"].values), curve_epochs(20) > 2)


@pytest.mark.parametrize("epochs", [1, 2, 5, 200, 2000, 8000, 10**6])
def test_curve_epochs(epochs):
    kept = curve_epochs(epochs)
    assert kept[0] == 1
    assert kept[-1] == epochs
    assert len(kept) <= 200
    assert (np.diff(kept) > 0).all()


# Files


def test_seeds_csv_round_trips():
    from qwerties.scoring import score as scoring

    table = table_of(record())
    assert list(table.columns) == COLUMNS
    assert table["seed"].tolist() == list(range(3, 11))
    run = trained()
    expected = scoring.score(CONFIG, SEEDS, run.losses, run.checkpoints, run.weights).table
    read = table.astype({"epochs_to_learn": "Int64"})
    expected = expected.astype({"state": read["state"].dtype})
    pd.testing.assert_frame_equal(read, expected, check_exact=True)


def test_undefined_cells_are_empty():
    text = make_record(by_hand(LEARNED, DEAD, BROKEN)).files["seeds.csv"].decode()
    header, learned, dead, broken = (line.split(",") for line in text.splitlines())
    assert header == COLUMNS
    assert "" not in learned
    assert [name for name, cell in zip(header, dead, strict=True) if not cell] == ["phi", "epochs_to_learn"]
    defined = [name for name, cell in zip(header, broken, strict=True) if cell]
    assert defined == ["seed", "state", "dead_at_init", "settled"]
    assert "nan" not in text.lower()
    assert "\r" not in text
    assert text.endswith("\n")


def test_curves_hold_every_seeds_loss_and_the_exemplars_weights():
    arrays = arrays_of(record(), "curves.npz")
    kept = curve_epochs(2000)
    np.testing.assert_array_equal(arrays["epochs"], kept)
    np.testing.assert_array_equal(arrays["loss"], trained().losses[:, kept - 1])
    np.testing.assert_array_equal(arrays["checkpoints"], checkpoints(2000))
    np.testing.assert_array_equal(arrays["gradient_rms"], trained().gradient_rms)
    assert arrays["exemplars"].tolist() == sorted(int(child.params["seed"]) for child in record().children)
    drawn = data.draw(arrays["exemplars"].tolist(), trained().config.distance, trained().config.samples)
    np.testing.assert_array_equal(arrays["exemplar_points"], drawn.numpy())
    for name, value in trained().weights.items():
        found = arrays[f"exemplar.{name}"]
        assert found.shape == (len(arrays["exemplars"]), len(checkpoints(2000)), *value.shape[2:])
        np.testing.assert_array_equal(found, value[arrays["exemplars"] - 3])
    assert len(arrays) == 6 + 4


def test_weights_are_the_final_ones_of_every_seed():
    (run,) = train([Config(hidden=(4, 3), epochs=2)], Seeds(0, 2), compiled=False)
    arrays = arrays_of(make_record(run), "weights.npz")
    assert arrays.keys() == run.weights.keys()
    assert [array.shape[1:] for array in arrays.values()] == [(4, 2), (4,), (3, 4), (3,), (1, 3), (1,)]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, run.weights[name][:, -1])


def test_dataset_names_what_was_drawn():
    dataset = record().dataset
    assert dataset.name == "qwerties d=4"
    assert dataset.profile == {"points": 200, "data": "clusters", "distance": 4.0, "seeds": "3-10"}
    assert 0 < len(dataset.digest) <= 36
    digests = {
        make_record(by_hand(LEARNED, config=config)).dataset.digest
        for config in (DEFAULT, Config(loss="mse"), Config(distance=2), Config(samples=5), Config(data="xor"))
    }
    assert len(digests) == 4  # the loss does not change the data
    xor = make_record(by_hand(LEARNED, config=Config(data="xor")))
    assert xor.dataset.name == "qwerties xor d=4"


def test_a_record_made_twice_is_the_same_byte_for_byte():
    config = dataclasses.replace(CONFIG, epochs=30)
    first, second = (make_record(train([config], SEEDS, compiled=False)[0]) for _ in range(2))
    assert first.children
    for one, other in zip([first, *first.children], [second, *second.children], strict=True):
        for field in ("name", "params", "metrics", "dataset", "tags", "files"):
            assert getattr(one, field) == getattr(other, field), field
        for name in one.series:
            np.testing.assert_array_equal(one.series[name].values, other.series[name].values)


# Exemplars


def test_exemplars_are_the_lowest_seed_of_each_state():
    made = make_record(by_hand(CONSTANT, DEAD, LEARNED, SLOW, LEARNED, SLOW, DEAD, BROKEN))
    shown = {child.tags["qwerties.state"]: child.params["seed"] for child in made.children}
    assert shown == {"learned": "2", "slow": "3", "constant": "0", "dead": "1"}
    assert arrays_of(made, "curves.npz")["exemplars"].tolist() == [0, 1, 2, 3]


def test_an_exemplar_has_its_own_curve_scores_and_plots():
    table = table_of(record())
    states = [child.tags["qwerties.state"] for child in record().children]
    assert states == [s for s in ("learned", "slow", "constant", "dead") if (table["state"] == s).any()]
    for child in record().children:
        seed = int(child.params["seed"])
        row = table.iloc[seed - 3]
        assert seed == table.loc[table["state"] == row["state"], "seed"].min()
        assert child.params == {**CONFIG.to_params(), "seed": str(seed)}
        assert child.name == f"seed {seed} · {row['state']} · {CONFIG.label()}"
        assert child.tags == {"qwerties.state": row["state"]}
        assert set(child.files) == {"plots/decision_boundary.png", "plots/loss_curve.png"}
        assert all(content.startswith(PNG) for content in child.files.values())
        assert set(child.series) == {"train_loss", "train_accuracy", "population_accuracy"}
        np.testing.assert_array_equal(child.series["train_loss"].steps, range(1, 2001))
        np.testing.assert_array_equal(
            child.series["train_loss"].values, trained().losses[seed - 3].astype(float)
        )
        assert child.series["train_accuracy"].values[-1] == row["train_accuracy"]
        assert set(child.metrics) == {"final_train_loss", "phi", "gain", "bce", "brier", "epochs_to_learn"}
        assert child.metrics["final_train_loss"] == row["train_loss"]
        for name in ("phi", "gain", "bce", "brier", "epochs_to_learn"):
            assert child.metrics[name] == (None if pd.isna(row[name]) else row[name])
        assert child.children == []


def test_all_networks_may_diverge():
    made = make_record(by_hand(BROKEN, BROKEN))
    assert made.children == []
    assert made.metrics["diverged_fraction"] == 1
    assert set(made.files) >= {"seeds.csv", "curves.npz", "weights.npz"}
    assert arrays_of(made, "curves.npz")["exemplars"].tolist() == []


def test_crossed_seeds_are_in_the_table():
    run = train([Config(epochs=3)], Seeds(0, 2, crossed=2), compiled=False)[0]
    made = make_record(run)
    assert made.params["seeds"] == "0-1 x 0-1"
    table = table_of(made)
    drawn = table[["seed", "data_seed", "weight_seed"]].to_numpy().tolist()
    assert drawn == [[0, 0, 0], [1, 0, 1], [2, 1, 0], [3, 1, 1]]


def test_train_records_makes_one_per_config_in_order():
    configs = [Config(epochs=4), Config(epochs=2), Config(epochs=4, hidden=(2,))]
    made = train_records(configs, Seeds(0, 2))
    assert [Config.from_params(one.params) for one in made] == configs
    assert [len(one.series["train_loss"].steps) for one in made] == [4, 2, 4]
    assert all("qwerties.device" in run.tags for one in made for run in (one, *one.children))
