"""What the panel's script is given: the study's own random numbers, limits, and distributions of tracked networks."""

import base64
import dataclasses
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pages import HOSTILE, experiment_result, seed_scores
from scipy.special import ndtr

from qwerties.config import CHOICES, DEFAULT, Config, Seeds
from qwerties.report import panel_seeds
from qwerties.report.elements import Section
from qwerties.report.results import Results
from qwerties.report.sections import panel
from qwerties.report.text import source
from qwerties.scoring import predict
from qwerties.scoring.theory import DEAD_PLATEAU

SEEDS = len(panel_seeds.SEEDS)
XOR = Config(data="xor", hidden=(8,), learning_rate=0.1)


def numbers(text, *shape):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(SEEDS, *shape)


@pytest.fixture(scope="module")
def data():
    return panel.script_data([])


def frame(*rows):
    """Scores from (state, population accuracy) of seeds 0, 1, ..."""
    table = pd.DataFrame(rows, columns=["state", "population_accuracy"])
    return table.assign(seed=range(len(table)))


# Random numbers


ROUNDING = {
    "rtol": 1e-5,
    "atol": 1e-6,
}  # torch's normal numbers differ in the last bits between kinds of processors


def test_the_packaged_numbers_are_drawn_anew():
    packaged, drawn = json.loads(panel_seeds.PATH.read_text()), json.loads(panel_seeds.draw_seeds())
    assert packaged["seeds"] == drawn["seeds"]
    for text, again in [
        (packaged["noise"], drawn["noise"]),
        *((packaged["weights"][width], drawn["weights"][width]) for width in drawn["weights"]),
    ]:
        np.testing.assert_allclose(numbers(text, -1), numbers(again, -1), **ROUNDING)


@pytest.mark.parametrize("seed", [0, 23])
@pytest.mark.parametrize("hidden", panel_seeds.WIDTHS)
def test_they_are_the_notebooks_own_draws(data, seed, hidden):
    import torch

    torch.manual_seed(2 * seed)
    ax, ay, bx, by = (torch.randn(100).numpy() for _ in range(4))
    noise = numbers(data["noise"], 2, 200)[seed]
    np.testing.assert_allclose(noise, [np.concatenate((ax, bx)), np.concatenate((ay, by))], **ROUNDING)
    torch.manual_seed(2 * seed + 1)
    layers = torch.nn.Linear(2, hidden), torch.nn.Linear(hidden, 1)
    weights = np.concatenate(
        [w.detach().numpy().ravel() for layer in layers for w in (layer.weight, layer.bias)]
    )
    np.testing.assert_allclose(numbers(data["weights"][str(hidden)], -1)[seed], weights, **ROUNDING)


def test_the_seeds_end_in_every_state():
    from qwerties.scoring.score import score
    from qwerties.training.trainer import train

    seeds = Seeds(panel_seeds.SEEDS.start, panel_seeds.SEEDS.stop)
    trained = train([DEFAULT], seeds)[0]
    table = score(DEFAULT, seeds, trained.losses, trained.checkpoints, trained.weights).table
    assert set(table["state"]) == {"learned", "slow", "constant", "dead"}


# Limits, names, presets


def test_limits_are_those_of_the_distribution(data):
    for distance in panel.OFFERED["distance"]:
        own = data["scenes"][f"clusters {distance:g}"]
        assert own["accuracy"] == pytest.approx(ndtr(distance / 2), abs=1e-6)
    notebook = data["scenes"]["clusters 4"]
    assert [notebook[name] for name in ("accuracy", "bce", "mse")] == pytest.approx(
        [0.97725, 0.060427, 0.017149], abs=1e-6
    )
    assert notebook["centres"] == [[[1, 1]], [[5, 1]]]
    xor = data["scenes"]["xor 4"]
    assert xor["accuracy"] == pytest.approx(ndtr(2) ** 2 + ndtr(-2) ** 2, abs=1e-6)
    assert xor["centres"] == [[[1, 1], [5, 5]], [[5, 1], [1, 5]]]
    assert data["plateau"] == {"bce": math.log(2), "mse": 0.25}


def test_losses_and_activations_are_those_of_the_configs(data):
    for name in ("data", "loss", "activation"):
        assert tuple(data["offered"][name]) == tuple(CHOICES[name])


@pytest.mark.parametrize(("table", "names"), [("LOSSES", DEAD_PLATEAU), ("ACTIVATIONS", predict.ACTIVATIONS)])
def test_the_script_knows_what_the_page_draws_without_torch(table, names):
    entries = re.search(rf"const {table} = {{.*?\n  }};", source("panel.js"), re.DOTALL)[0]
    assert set(re.findall(r"^    (\w+): {", entries, re.MULTILINE)) == set(names)


def test_presets_can_be_set(data):
    assert panel.PRESETS[0].first == DEFAULT
    for preset, given in zip(panel.PRESETS, data["presets"], strict=True):
        first, second = given["networks"]
        for name in ("data", "distance", "epochs"):  # both networks share these
            assert first[name] == second[name]
        for network in given["networks"]:
            assert all(value in panel.OFFERED[name] for name, value in network.items())
        assert preset.first != preset.second
        assert given["seed"] in panel_seeds.SEEDS


# Tracked networks


def test_tracked_networks_are_counted_by_state_and_accuracy():
    table = frame(("learned", 0.97), ("learned", 0.9749), ("dead", 0.5), ("slow", 1.0), ("diverged", np.nan))
    learned, slow, _, dead, diverged = range(5)
    assert panel.tracked([(DEFAULT, table)]) == {
        "clusters 4 2000 bce relu 1 0.01": [
            [learned, 194, 2],
            [slow, 199, 1],
            [dead, 100, 1],
            [diverged, 100, 1],
        ]
    }


def test_the_largest_table_of_a_setting_counts():
    small, large = frame(("learned", 0.9)), frame(("slow", 0.6), ("slow", 0.6))
    for tables in ([small, large], [large, small]):
        assert panel.tracked((XOR, table) for table in tables) == {"xor 4 2000 bce relu 8 0.1": [[1, 120, 2]]}


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": (3,)},
        {"hidden": (8, 8)},
        {"momentum": 0.9},
        {"optimizer": "adam"},
        {"init": "he"},
        {"output_scale": 10.0},
        {"samples": 50},
        {"learning_rate": 0.0123},
        {"distance": 5.0},
    ],
)
def test_settings_that_the_panel_cannot_train_are_left_out(changes):
    assert panel.tracked([(dataclasses.replace(DEFAULT, **changes), frame(("slow", 0.6)))]) == {}


def test_crossed_layouts_and_unknown_states_are_left_out():
    crossed = frame(("slow", 0.6)).assign(weight_seed=0)
    assert panel.tracked([(DEFAULT, crossed)]) == {}
    assert panel.tracked([(XOR, frame((HOSTILE, 0.6)))]) == {}


# The section


def results(*experiments):
    return Results(SimpleNamespace(uri="sqlite://"), experiments)


def test_there_is_no_panel_before_anything_is_tracked():
    assert panel.build(results()) is None
    assert panel.build(results(experiment_result("empty", {}))) is None


def test_the_section_holds_its_data_and_its_ids_are_nobody_elses():
    section = panel.build(results(experiment_result("losses", {DEFAULT: seed_scores(0.9, n=30)})))
    assert isinstance(section, Section)
    html = str(section.blocks[0].html)
    embedded = re.search(r'<script type="application/json" id="panel_data">(.*?)</script>', html, re.DOTALL)[
        1
    ]
    assert sum(n for _, _, n in json.loads(embedded)["tracked"][panel.key(DEFAULT)]) == 30
    assert len(embedded) < 80_000
    assert not set("<>&") & set(embedded)
    assert "</script" not in section.script
    assert "<!--" not in section.script
    ids = re.findall(r'id="([^"]*)"', html)
    assert len(ids) == len(set(ids)) > 10
    assert all("_" in name for name in ids)  # which no experiment's anchor has
    for name in re.findall(r'find\("(\w+)"\)', section.script):
        assert f"panel_{name}" in ids
