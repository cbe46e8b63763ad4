"""Config and Seeds: what is refused and how it is said, round trips, labels, fingerprints."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwerties.config import (
    CHOICES,
    DEFAULT,
    FIELDS,
    MAX_FLOAT32,
    MAX_NETWORKS,
    Config,
    Seeds,
    fingerprint,
    parse_field,
)

NO_NAMES = ("", "hinge", "BCE", None, 1, ("bce",), ["bce"])
NO_COUNTS = (0, -1, 1.0, 2.5, True, None, "100", math.nan)
NO_NUMBERS = (math.nan, math.inf, -math.inf, None, "1", True, (1.0,))
COUNT, NUMBER = "a whole number from 1 to", "a finite number"
WIDTHS = "one or more whole numbers from 1 to 1024, at most 64 layers"
NO_WIDTHS = ((), (0,), (8, 0), (1025,), (-1,), (1.0,), (True,), 8, "8", None, (1,) * 65)
ONE_OF = {name: f"one of {', '.join(names)}" for name, names in CHOICES.items()}
CASES = {  # of each field: its rule, a value that is not the default, values at the rule's edge, values beyond
    "data": (ONE_OF["data"], "xor", CHOICES["data"], (*NO_NAMES, "XOR")),
    "loss": (ONE_OF["loss"], "mse", CHOICES["loss"], NO_NAMES),
    "activation": (ONE_OF["activation"], "tanh", CHOICES["activation"], (*NO_NAMES, "gelu")),
    "hidden": (WIDTHS, (8, 8), ((1,), (1024,), (1,) * 64), NO_WIDTHS),
    "distance": (f"{NUMBER} from 0 to 100", 2.5, (0, 0.0, 100, 100.0), (*NO_NUMBERS, -0.001, 100.001, 101)),
    "samples": (f"{COUNT} 1000000", 50, (1, 1_000_000), (*NO_COUNTS, 1_000_001)),
    "epochs": (f"{COUNT} 10000000", 500, (1, 10_000_000), (*NO_COUNTS, 10_000_001)),
    "learning_rate": (f"{NUMBER} above 0", 0.02, (5e-324, 3.4e38, 1), (*NO_NUMBERS, 0, 0.0, -0.01)),
    "optimizer": (ONE_OF["optimizer"], "adam", CHOICES["optimizer"], (*NO_NAMES, "SGD")),
    "momentum": (
        *("a number from 0 to below 1", 0.9, (0, 0.0, math.nextafter(1, 0))),
        (*NO_NUMBERS, -0.001, 1, 1.0, 1.5),
    ),
    "output_scale": (NUMBER, 10.0, (-3.4e38, 0, 3.4e38), NO_NUMBERS),
    "init": (ONE_OF["init"], "he", CHOICES["init"], (*NO_NAMES, "He")),
}
RULES, OTHER, EDGES, BAD = ({name: case[k] for name, case in CASES.items()} for k in range(4))

counts = st.integers(1, 10_000_000)
settings_of = st.builds(
    Config,
    data=st.sampled_from(tuple(CHOICES["data"])),
    loss=st.sampled_from(tuple(CHOICES["loss"])),
    activation=st.sampled_from(tuple(CHOICES["activation"])),
    hidden=st.lists(st.integers(1, 1024), min_size=1, max_size=64).map(tuple),
    distance=st.floats(0, 100) | st.integers(0, 100),
    samples=st.integers(1, 1_000_000),
    epochs=counts,
    learning_rate=st.floats(0, MAX_FLOAT32, exclude_min=True) | st.integers(1, 10**6),
    momentum=st.floats(0, 1, exclude_max=True),
    output_scale=st.floats(-MAX_FLOAT32, MAX_FLOAT32),
    init=st.sampled_from(tuple(CHOICES["init"])),
) | st.builds(Config, optimizer=st.just("adam"), epochs=counts)


# Config: what is refused


def refusal(call, *arguments, **fields):
    """What a call says that is refused."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the whole message is compared
        call(*arguments, **fields)
    return str(caught.value)


def test_the_table_of_these_tests_names_every_field():
    assert list(CASES) == list(FIELDS) == [field.name for field in dataclasses.fields(Config)]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_a_bad_value_is_refused_with_field_rule_and_value(name, value):
    shown = tuple(value) if isinstance(value, list) else value
    hint = " (did you mean relu?)" if value == "gelu" else ""
    assert refusal(Config, **{name: value}) == f"{name} must be {RULES[name]}, got {shown!r}{hint}"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("epochs", np.int64(0), "0"),
        ("epochs", np.float64(100), "100.0"),
        ("epochs", np.True_, "True"),
        ("samples", np.timedelta64(5, "s"), "np.timedelta64(5,'s')"),
        ("learning_rate", np.float32("nan"), "nan"),
        ("learning_rate", np.False_, "False"),
        ("distance", np.float64(101), "101.0"),
        ("distance", np.complex128(1), "np.complex128(1+0j)"),
        ("hidden", (np.float64(8),), "(8.0,)"),
        ("hidden", (np.True_,), "(True,)"),
        *((name, 10**400, str(10**400)) for name in ("distance", "learning_rate", "output_scale")),
    ],
)
def test_numbers_of_other_kinds_that_break_a_rule_are_refused_like_any_other(name, value, shown):
    assert refusal(Config, **{name: value}) == f"{name} must be {RULES[name]}, got {shown}"


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", 1e39), ("output_scale", -1e39), ("output_scale", 10**39)]
)
def test_a_number_beyond_float32_is_refused(name, value):
    rule = "at most 3.4e38 in size (training is float32)"
    assert refusal(Config, **{name: value}) == f"{name} must be {rule}, got {value!r}"


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in EDGES for value in EDGES[name]])
def test_the_values_at_a_rules_edge_are_taken(name, value):
    assert getattr(Config(**{name: value}), name) == value


def test_all_problems_are_named_at_once_and_innocent_fields_are_not():
    assert refusal(Config, loss="hinge", epochs=0, distance=math.nan) == (
        f"loss must be {ONE_OF['loss']}, got 'hinge'; "
        "distance must be a finite number from 0 to 100, got nan; "
        "epochs must be a whole number from 1 to 10000000, got 0"
    )


def test_momentum_belongs_to_sgd():
    said = "momentum must be 0 where optimizer is adam (it has its own), got 0.9"
    assert refusal(Config, optimizer="adam", momentum=0.9) == said
    assert Config(optimizer="adam", momentum=0).momentum == 0
    assert Config(optimizer="sgd", momentum=0.9).momentum == 0.9


def test_defaults_are_the_notebooks():
    assert repr(DEFAULT) == (
        "Config(data='clusters', loss='bce', activation='relu', hidden=(1,), distance=4.0, samples=100, epochs=2000, "
        "learning_rate=0.01, optimizer='sgd', momentum=0.0, output_scale=1.0, init='pytorch')"
    )
    assert Config() == DEFAULT == Config(**FIELDS)


def test_a_config_is_frozen_and_takes_keywords_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT.epochs = 1
    with pytest.raises(TypeError):
        Config("mse")


INTEGERS = (np.int8, np.uint8, np.int16, np.int64, np.uint64)
FLOATS = (np.float16, np.float32, np.float64, np.longdouble)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"hidden": [8, 8]}, {"hidden": (8, 8)}),
        ({"data": np.str_("xor")}, {"data": "xor"}),
        (
            {"distance": 4, "learning_rate": 4, "momentum": 0, "output_scale": 4},
            {"distance": 4.0, "learning_rate": 4.0, "momentum": 0.0, "output_scale": 4.0},
        ),
        *(
            ({"samples": kind(50), "hidden": [kind(8), 4]}, {"samples": 50, "hidden": (8, 4)})
            for kind in INTEGERS
        ),
        *(({"learning_rate": kind(0.1)}, {"learning_rate": float(kind(0.1))}) for kind in FLOATS),
    ],
)
def test_lists_whole_numbers_and_numpy_values_are_what_they_stand_for(given, plain):
    config, expected = Config(**given), Config(**plain)
    assert config == expected
    assert hash(config) == hash(expected)
    assert config.to_params() == expected.to_params()
    for name in given:
        assert type(getattr(config, name)) is type(getattr(expected, name))
    assert {type(width) for width in config.hidden} == {int}


# Config: derived values


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("batch_key", {"data", "loss", "activation", "hidden", "samples", "optimizer"}),
        ("without_epochs", set(OTHER) - {"epochs"}),
        ("init_key", {"hidden", "init", "output_scale"}),
    ],
)
def test_a_key_changes_with_its_fields_and_with_no_other(key, fields):
    for name, value in OTHER.items():
        other = dataclasses.replace(DEFAULT, **{name: value})
        assert (getattr(other, key) != getattr(DEFAULT, key)) == (name in fields), name


# Params


@given(settings_of)
def test_params_round_trip(config):
    params = config.to_params()
    assert set(params) == set(FIELDS)
    assert all(isinstance(value, str) for value in params.values())
    assert Config.from_params(params) == config


def test_params_as_mlflow_shows_them():
    params = Config(hidden=(8, 4), learning_rate=1e-5, distance=4).to_params()
    shown = {"hidden": "8x4", "learning_rate": "1e-05", "distance": "4.0", "epochs": "2000", "loss": "bce"}
    assert params.items() >= shown.items()


def test_foreign_params_are_left_aside_and_missing_ones_take_the_default():
    assert Config.from_params({"seeds": "0-499", "color": "blue", "loss": "mse"}) == Config(loss="mse")
    assert Config.from_params({}) == DEFAULT


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("epochs", "many", "epochs must be a whole number, got 'many'"),
        ("epochs", "2.5", "epochs must be a whole number, got '2.5'"),
        ("samples", "", "samples must be a whole number, got ''"),
        ("distance", "far", "distance must be a number, got 'far'"),
        ("hidden", "wide", "hidden must be widths such as 8 or 8x8, got 'wide'"),
        ("hidden", "8x", "hidden must be widths such as 8 or 8x8, got '8x'"),
        ("hidden", "", "hidden must be widths such as 8 or 8x8, got ''"),
        ("epochs", "0", f"epochs must be {RULES['epochs']}, got 0"),
        ("distance", "nan", f"distance must be {RULES['distance']}, got nan"),
        ("learning_rate", "1e999", f"learning_rate must be {RULES['learning_rate']}, got inf"),
        ("loss", "hinge", f"loss must be {RULES['loss']}, got 'hinge'"),
        ("hidden", "0", f"hidden must be {WIDTHS}, got (0,)"),
    ],
)
def test_bad_params_say_what_is_wrong(name, text, message):
    assert refusal(Config.from_params, {name: text}) == message


@pytest.mark.parametrize("text", ["8x4", "8,4", "(8, 4)", "(8,4,)", "8, 4"])
def test_widths_are_read_however_they_are_written(text):
    assert parse_field("hidden", text) == (8, 4)
    assert parse_field("hidden", "8") == parse_field("hidden", "(8,)") == (8,)


# Labels


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "bce · relu · d=4 · 2000 epochs"),
        ({"loss": "mse", "distance": 0.5}, "mse · relu · d=0.5 · 2000 epochs"),
        ({"hidden": (8, 8)}, "bce · relu · 2 layers of 8 · d=4 · 2000 epochs"),
        ({"hidden": (8, 4)}, "bce · relu · hidden 8x4 · d=4 · 2000 epochs"),
        ({"learning_rate": 0.02}, "bce · relu · d=4 · 2000 epochs · lr 0.02"),
        ({"optimizer": "adam"}, "bce · relu · d=4 · 2000 epochs · adam"),
        ({"momentum": 0.9}, "bce · relu · d=4 · 2000 epochs · momentum 0.9"),
        ({"output_scale": 10}, "bce · relu · d=4 · 2000 epochs · output scale 10"),
        ({"samples": 50}, "bce · relu · d=4 · samples 50 · 2000 epochs"),
        ({"init": "he"}, "bce · relu · d=4 · 2000 epochs · He init"),
        ({"data": "xor", "hidden": (8,)}, "xor · bce · relu · hidden 8 · d=4 · 2000 epochs"),
    ],
)
def test_label_is_what_a_person_would_call_it(changes, label):
    assert Config(**changes).label() == label


def test_label_among_others_names_only_what_differs():
    he = Config(init="he", epochs=500)
    assert Config(epochs=500).label([Config(epochs=500), he]) == "PyTorch init"
    assert he.label([Config(epochs=500), he]) == "He init"
    assert DEFAULT.label([Config(loss="mse", distance=1)]) == "bce · d=4"
    assert DEFAULT.label([DEFAULT]) == ""
    assert DEFAULT.label(iter([Config(hidden=(8,))])) == "hidden 1"


# Fingerprints


def test_fingerprint_changes_with_every_field_with_the_seeds_and_with_the_code():
    prints = {
        fingerprint(config, seeds, code)
        for config in (DEFAULT, *(dataclasses.replace(DEFAULT, **{name: OTHER[name]}) for name in OTHER))
        for seeds in (Seeds(0, 500), Seeds(0, 499), Seeds(1, 500), Seeds(0, 500, crossed=1))
        for code in ("one", "two")
    }
    assert len(prints) == (1 + len(OTHER)) * 4 * 2
    assert all(len(found) == 16 and int(found, 16) >= 0 for found in prints)
    assert fingerprint(DEFAULT, Seeds(0, 500), "one") == fingerprint(Config(), Seeds(0, 500), "one") in prints


# Seeds


def blocks(size):
    """Sizes of a block with as many networks as may be: data seeds, and weight seeds where they are crossed."""
    return st.tuples(st.just(size), st.none() | st.integers(1, MAX_NETWORKS // size))


@given(st.integers(0, 2**31 - 1), st.integers(1, MAX_NETWORKS).flatmap(blocks))
def test_seeds_round_trip_through_text(start, sizes):
    size, crossed = sizes
    seeds = Seeds(start, min(start + size, 2**31), crossed)
    assert Seeds.parse(str(seeds)) == seeds


def test_seeds_as_text():
    assert str(Seeds(0, 500)) == "0-499"
    assert str(Seeds(7, 8)) == "7-7"
    assert str(Seeds(0, 30, crossed=20)) == "0-29 x 0-19"


@pytest.mark.parametrize(
    "text",
    ["", "500", "0 - 499", "-1-5", "0-499 ", "a-b", "0-29x0-29", "0-29 x 1-29", "0-12345678901", "1e3-2e3"],
)
def test_text_that_is_no_block_of_seeds_is_refused(text):
    assert refusal(Seeds.parse, text) == f"seeds must look like 0-499 or 0-29 x 0-29, got {text!r}"


@pytest.mark.parametrize("block", [(0, 0), (5, 3), (-1, 3), (0, 2**31 + 1)])
def test_an_empty_block_is_refused(block):
    said = "seeds must run from 0 or more up to a larger number, got {} to {}"
    assert refusal(Seeds, *block) == said.format(*block)
    assert refusal(Seeds, 0.0, "3", True) == (
        "start must be a whole number, got 0.0; stop must be a whole number, got '3'; "
        "crossed must be None or a whole number, got True"
    )
    assert str(Seeds(np.int64(0), np.int64(3))) == "0-2"
    assert refusal(Seeds, 0, 3, 0) == "crossed weight seeds must be 1 or more, got 0"


def test_a_block_gives_each_network_one_seed_for_data_and_weights():
    seeds = Seeds(3, 6)
    assert len(seeds) == 3
    for values in (seeds.data, seeds.weights, seeds.numbers):
        np.testing.assert_array_equal(values, [3, 4, 5])


def test_a_crossed_block_meets_every_data_seed_with_every_weight_seed():
    seeds = Seeds(2, 4, crossed=3)
    assert len(seeds) == 6
    np.testing.assert_array_equal(seeds.data, [2, 2, 2, 3, 3, 3])
    np.testing.assert_array_equal(seeds.weights, [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(seeds.numbers, range(6))
