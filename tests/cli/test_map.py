"""What `qwerties map` refuses: one line that names the option, the rule and the value, and nothing left behind."""

import pytest
from factories import make_folder, refusal

from qwerties.cli import main as cli
from qwerties.cli.map import spec_of
from qwerties.config import CHOICES, Config
from qwerties.maps.spec import RANGES, Axis, MapSpec

FIELDS, NAMES = ", ".join(RANGES), ", ".join(CHOICES["activation"])
SIZE = "--size must be a whole number from 1 to 1000, or two such as 120x80, got"

BAD = {
    "--x data": f"--x must be one of {FIELDS}, got 'data' (which is no number)",
    "--x lerning-rate": f"--x must be one of {FIELDS}, got 'lerning_rate' (did you mean learning_rate?)",
    "--y zzz": f"--y must be one of {FIELDS}, got 'zzz'",
    "--y learning-rate --x learning_rate": "x and y must be different fields, got learning_rate for both",
    "--y-range 3:3": "--y-range must go from a number to a larger one, got 3.0:3.0",
    "--x-range 0:1": "--x-range must be above 0 on a log scale, got 0.0:1.0; or --x-scale linear",
    "--y-range 0:1 --y-scale log": "--y-range must be above 0 on a log scale, got 0.0:1.0",
    "--x-range -1:1": "--x-range must be above 0 on a log scale, got -1.0:1.0; or --x-scale linear",
    "--x-range 1": "--x-range must be two numbers such as 0.001:10, got '1'",
    "--y-range a:b": "--y-range must be two numbers such as 0.001:10, got 'a:b'",
    "--x momentum --x-range 0:3": (
        "--x-range 0.0:3.0 reaches too far: momentum must be a number from 0 to below 1, got 2.985"
    ),
    "--size 0": f"{SIZE} '0'",
    "--size 1001": f"{SIZE} '1001'",
    "--size 10x": f"{SIZE} '10x'",
    "--size 10x10x10": f"{SIZE} '10x10x10'",
    "--size 1e2": f"{SIZE} '1e2'",
    "--seeds 1001": "--seeds must be a whole number from 1 to 1000, got '1001'",
    "--show gian": "--show must be one of gain, learned, constant, dead, diverged, got 'gian' (did you mean gain?)",
    "--distance 4": "--distance must not be given where --y is distance, got '4': see --y-range",
    "--loss bce,bce": "--loss must name each loss once, got 'bce,bce'",
    "--activation rely": f"--activation must be one of {NAMES}, got 'rely' (did you mean relu?)",
    "--activation ,": f"--activation must be one of {NAMES}, got ''",
    "--epochs 0": "epochs must be a whole number from 1 to 10000000, got 0",
    "--hidden two": "hidden must be widths such as 8 or 8x8, got 'two'",
    "--x momentum --optimizer adam": (
        "momentum must be 0 where optimizer is adam (it has its own), got 0.005"
    ),
    "--output map.svg": "--output must end in .png, got 'map.svg'",
    "--output .": "--output must be a file, got the folder {folder}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("map") / "home")


@pytest.mark.parametrize(("request_", "message"), BAD.items(), ids=BAD)
def test_a_bad_option(folder, request_, message):
    assert refusal(folder, "map", *request_.split()) == message.format(folder=folder)


def spec(*argv):
    return spec_of(cli.build_parser().parse_args(["map", *argv]))


def test_a_default_map():
    assert spec() == MapSpec(
        Axis("learning_rate", 1e-3, 10, "log", 100), Axis("distance", 0, 6, "linear", 100), seeds=2
    )


@pytest.mark.parametrize("argv", [("--x", "distance"), ("--y", "learning-rate"), ("--y", "learning_rate")])
def test_the_other_axis_gives_way(argv):
    made = spec(*argv)
    assert (made.x.field, made.y.field) == ("distance", "learning_rate")


def test_all_of_it_can_be_asked_for():
    made = spec(
        *("--x", "epochs", "--x-range", "10:90", "--x-scale", "linear", "--y", "output-scale"),
        *("--y-range", "-2:2", "--y-scale", "linear", "--size", "8x4", "--seeds", "5", "--loss", "mse"),
        *("--activation", "tanh,relu", "--hidden", "4x2", "--learning-rate", "0.5", "--optimizer", "adam"),
    )
    assert made == MapSpec(
        Axis("epochs", 10, 90, "linear", 8),
        Axis("output_scale", -2, 2, "linear", 4),
        ("mse",),
        ("tanh", "relu"),
        5,
        Config(hidden=(4, 2), learning_rate=0.5, optimizer="adam"),
    )


def test_the_help_is_short(capsys):
    with pytest.raises(SystemExit):
        cli.build_parser().parse_args(["map", "--help"])
    assert len(capsys.readouterr().out.splitlines()) < 60


def test_widths_over_xor_are_a_map():
    made = spec("--x", "hidden", "--data", "xor", "--size", "8x4", "--learning-rate", "0.1")
    assert (made.x, made.y.field) == (Axis("hidden", 1, 64, "log", 8), "distance")
    assert made.base == Config(data="xor", learning_rate=0.1)
