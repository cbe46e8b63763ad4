"""The plan of a map: what its pixels stand for, what it refuses, its arrays as bytes that anybody may have written."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from map_files import DISTANCE, HOSTILE, RATE, made

from qwerties.config import CHOICES, FIELDS, Config
from qwerties.maps.spec import RANGES, Axis, MapError, MapSpec, from_bytes, to_bytes

LOSSES, ACTIVATIONS = (", ".join(CHOICES[name]) for name in ("loss", "activation"))


def test_every_numeric_field_can_be_an_axis_and_its_usual_range_is_one():
    numeric = {name for name, value in FIELDS.items() if isinstance(value, int | float)}
    assert set(RANGES) == {*numeric, "hidden"}
    for name, (low, high, scale) in RANGES.items():
        axis = Axis(name, low, high, scale, 100)
        assert len(axis.values) == 100
        assert low < axis.numbers[0] <= axis.numbers[-1] < high or not isinstance(FIELDS[name], float)


def test_pixels_are_trained_at_their_middles():
    assert DISTANCE.values == [1.0, 3.0, 5.0]
    assert RATE.values == pytest.approx([10**-1.5, 10**-0.5])
    assert Axis("epochs", 10, 30, "linear", 2).values == [15, 25]
    assert all(isinstance(value, int) for value in Axis("samples", 10, 30, "log", 7).values)


def test_a_map_can_be_cut_into_smaller_ones():
    whole = Axis("learning_rate", 1e-3, 10, "log", 8)
    middle = whole.at(0.5)
    halves = Axis("learning_rate", 1e-3, middle, "log", 4), Axis("learning_rate", middle, 10, "log", 4)
    assert [value for half in halves for value in half.values] == pytest.approx(whole.values)


@given(st.sampled_from([DISTANCE, RATE]), st.floats(0, 1))
def test_places_and_values_are_inverse(axis, share):
    assert axis.share(min(max(axis.at(share), axis.low), axis.high)) == pytest.approx(share, abs=1e-9)


def test_an_axis_of_widths_is_one_hidden_layer():
    axis = Axis("hidden", 1, 16, "log", 4)
    assert axis.numbers == [1, 3, 6, 11]
    assert axis.values == [(1,), (3,), (6,), (11,)]
    assert axis.number(Config(hidden=(6,))) == 6
    assert axis.share(axis.number(Config(hidden=(8, 8)))) is None
    spec = MapSpec(RATE, axis, base=Config(hidden=(2, 2), data="xor"))
    assert spec.base == Config(data="xor")
    assert spec.config((0, 0, 2, 0)).hidden == (6,)
    assert MapSpec.from_params(spec.to_params()) == spec
    assert spec.name.startswith("learning rate × hidden units · 2×4")


def test_what_is_off_the_axis_has_no_place():
    assert RATE.share(1.01) is None
    assert RATE.share(0.001) is None
    assert RATE.share(0.1) == pytest.approx(0.5)


BAD = {
    ("loss", 1, 2, "linear", 2): f"field must be one of {', '.join(RANGES)}, got 'loss'",
    ("hidden", 1, 2000, "linear", 2): (
        "range 1:2000 reaches too far: hidden must be one or more whole numbers from 1 to 1024, at most 64 layers, "
        "got (1500,)"
    ),
    ("distance", 1, 2, "cubic", 2): "scale must be one of log, linear, got 'cubic'",
    ("distance", 1, 2, "linear", 0): "size must be from 1 to 1000, got 0",
    ("distance", 1, 2, "linear", 1001): "size must be from 1 to 1000, got 1001",
    ("distance", 2.0, 1.0, "linear", 2): "range must go from a number to a larger one, got 2.0:1.0",
    ("distance", 2.0, 2.0, "linear", 2): "range must go from a number to a larger one, got 2.0:2.0",
    ("distance", 0.0, math.inf, "linear", 2): "range must be finite, got 0.0:inf",
    ("distance", math.nan, 1.0, "linear", 2): "range must be finite, got nan:1.0",
    ("distance", 0.0, 1.0, "log", 2): "range must be above 0 on a log scale, got 0.0:1.0",
    ("distance", -1.0, 1.0, "linear", 4): (
        "range -1.0:1.0 reaches too far: distance must be a finite number from 0 to 100, got -0.75"
    ),
    ("samples", 0.1, 3.0, "linear", 10): (
        "range 0.1:3.0 reaches too far: samples must be a whole number from 1 to 1000000, got 0"
    ),
    ("distance", 1.0, 1 + 2e-16, "linear", 9): (
        "range must be wide enough for 9 different numbers, got 1.0:1.0000000000000002"
    ),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.items(), ids=map(str, BAD))
def test_an_axis_that_cannot_be(arguments, message):
    with pytest.raises(MapError) as error:
        Axis(*arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": RATE}, "x and y must be different fields, got learning_rate for both"),
        ({"losses": ()}, f"loss must be different ones of {LOSSES}, got ''"),
        ({"losses": ("bce", "bce")}, f"loss must be different ones of {LOSSES}, got 'bce,bce'"),
        ({"activations": ("gelu",)}, f"activation must be different ones of {ACTIVATIONS}, got 'gelu'"),
        ({"seeds": 0}, "seeds must be from 1 to 1000, got 0"),
        ({"seeds": 1001}, "seeds must be from 1 to 1000, got 1001"),
        (
            {"x": Axis("momentum", 0, 1, "linear", 2), "base": Config(optimizer="adam")},
            "momentum must be 0 where optimizer is adam (it has its own), got 0.25",
        ),
    ],
    ids=str,
)
def test_a_map_that_cannot_be(changes, message):
    with pytest.raises(MapError) as error:
        MapSpec(**{"x": RATE, "y": DISTANCE, **changes})
    assert str(error.value) == message


def test_the_largest_and_the_smallest_that_can_be():
    assert Axis("distance", 0, 6, "linear", 1000).values[-1] == pytest.approx(5.997)
    assert MapSpec(Axis("distance", 0, 6, "linear", 1), RATE, seeds=1000).networks == 1 * 2 * 4 * 1000


def test_configs_are_those_of_their_pixels():
    spec = MapSpec(RATE, DISTANCE, base=Config(epochs=7, loss="mse", distance=2, learning_rate=3))
    assert spec.shape == (2, 2, 3, 2)
    assert spec.config((1, 0, 2, 1)) == Config(
        epochs=7, loss="mse", activation="relu", distance=5, learning_rate=RATE.values[1]
    )
    assert spec.base == Config(epochs=7)  # what pixels do not share means nothing


def test_params_tell_all_of_it():
    spec = MapSpec(
        Axis("epochs", 10, 300, "log", 5),
        Axis("output_scale", -2, 2, "linear", 4),
        ("mse",),
        ("tanh", "relu"),
        3,
        Config(hidden=(4, 2), optimizer="adam", init="he", distance=2.5),
    )
    params = spec.to_params()
    assert MapSpec.from_params(params) == spec
    assert (params["size"], params["seeds"], params["hidden"]) == ("5x4", "0-2", "4x2")
    assert not {"loss", "activation", "epochs", "output_scale"} & set(params)


def test_the_fingerprint_is_of_all_that_decides_numbers():
    one = MapSpec(RATE, DISTANCE)
    others = [
        MapSpec(RATE, DISTANCE, seeds=3),
        MapSpec(RATE, DISTANCE, base=Config(epochs=9)),
        MapSpec(RATE, Axis("distance", 0, 6, "linear", 4)),
        MapSpec(RATE, DISTANCE, losses=("mse", "bce")),
        MapSpec(DISTANCE, RATE),
    ]
    keys = {one.fingerprint("code"), one.fingerprint("other"), *(s.fingerprint("code") for s in others)}
    assert len(keys) == 7
    assert MapSpec(RATE, DISTANCE, base=Config(distance=1)).fingerprint("code") == one.fingerprint("code")


def test_names_say_what_differs_and_what_is_shared():
    assert MapSpec(RATE, DISTANCE).name == "learning rate × distance · 2×3 · 2 seeds"
    assert MapSpec(RATE, DISTANCE).setting == "2000 epochs"
    other = MapSpec(RATE, Axis("epochs", 1, 9, "log", 2), base=Config(optimizer="adam"))
    assert other.setting == "d=4 · adam"


@pytest.mark.parametrize("which", ["x", "y"])
def test_sizes_come_slowest_and_epochs_fastest(which):
    samples, epochs = Axis("samples", 1, 30, "log", 3), Axis("epochs", 1, 30, "log", 2)
    spec = MapSpec(samples, epochs) if which == "x" else MapSpec(epochs, samples)
    configs = [spec.config(place) for place in zip(*np.unravel_index(spec.order, spec.shape), strict=True)]
    assert [config.samples for config in configs] == sorted(config.samples for config in configs)
    assert [config.epochs for config in configs] == epochs.values * 12
    assert sorted(spec.order) == list(range(spec.pixels))


def test_arrays_come_back():
    spec = MapSpec(RATE, DISTANCE)
    arrays = made(spec)
    arrays["gain"][0, 1, 2, 0] = np.nan
    content = to_bytes(spec, arrays)
    for name, value in from_bytes(content, spec).items():
        np.testing.assert_array_equal(value, arrays[name])
    with np.load(io.BytesIO(content), allow_pickle=False) as plain:  # as anybody reads it
        assert plain["x"].tolist() == RATE.values
        assert plain["activations"].tolist() == ["relu", "linear"]
        assert plain["gain"].shape == spec.shape


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("what", list(HOSTILE))
def test_bytes_that_are_no_map(what):
    content, message = HOSTILE[what]
    with pytest.raises(ValueError, match=r"^it") as error:
        from_bytes(content, MapSpec(RATE, DISTANCE))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": "2x3x4"},
        {"size": "0x3"},
        {"size": "9999999x3"},
        {"size": "x"},
        {"size": "2"},
        {"x": "<b>"},
        {"x_range": "1"},
        {"x_range": "nan:1"},
        {"seeds": "5-9"},
        {"seeds": "0-4294967296"},
        {"losses": "bce,<script>"},
        {"epochs": "-1"},
        {"hidden": "9999999"},
        {"y": "learning_rate"},
    ],
    ids=str,
)
def test_params_that_tell_no_map(changes):
    with pytest.raises(ValueError, match=r"."):
        MapSpec.from_params({**MapSpec(RATE, DISTANCE).to_params(), **changes})
    with pytest.raises(KeyError):
        MapSpec.from_params({})
