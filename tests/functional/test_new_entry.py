"""What the documentation promises of a new activation, loss, optimizer or arrangement: one entry, nowhere else."""

import logging

import factories
import numpy as np
import pytest
from references import ENTRIES

from qwerties.cli.main import main
from qwerties.config import Config, Seeds, parse_field
from qwerties.scoring import theory
from qwerties.scoring.score import score
from qwerties.training import data, native, networks, optimizers
from qwerties.training.trainer import train

pytestmark = pytest.mark.slow

SOURCE = """
from dataclasses import replace
from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

a, b = (replace(DEFAULT, activation=name, epochs=100) for name in ("relu", "softsign"))
c = replace(a, loss="fourth", optimizer="sign")
experiment = Experiment(
    title="Softsign",
    question="Does it learn?",
    configs=(a, b, replace(b, hidden=(2,)), replace(b, data="xor"), c),
    contrasts=(Contrast(a, b),),
    figures=(Figure("scores"), Figure("outcomes"), Figure("losses")),
)
"""


def test_new_entries_are_swept_scored_drawn_and_reported(tmp_path, monkeypatch, caplog):
    for table, name, entry in ENTRIES.values():
        monkeypatch.setitem(table, name, entry)
    native._load.cache_clear()
    native._warn.cache_clear()
    folder = factories.make_folder(tmp_path / "study", soft=SOURCE)
    monkeypatch.chdir(folder)
    with caplog.at_level(logging.WARNING, logger="qwerties.training"):
        assert main(["sweep", "--seeds", "4", "--jobs", "1"]) == 0
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("qwerties.training")]
    assert lines == [f"kernel.cpp has no {field} {ENTRIES[field][1]!r}: {native.SLOWER}" for field in ENTRIES]
    page = (folder / "reports" / "summary.html").read_text(encoding="utf-8")
    assert page.count("softsign") > 5
    assert page.count("fourth") > 3
    assert "could not be drawn" not in page
    monkeypatch.setattr("qwerties.cli.verify.cores", lambda: 1)  # another process would lack these entries
    assert main(["verify"]) == 0


@pytest.mark.parametrize(
    ("field", "table"),
    [
        ("data", data.ARRANGEMENTS),
        ("loss", networks.LOSSES),
        ("activation", networks.ACTIVATIONS),
        ("optimizer", optimizers.OPTIMIZERS),
    ],
)
def test_a_config_accepts_what_has_an_entry(field, table, monkeypatch):
    with pytest.raises(ValueError, match=f"{field} must be one of {', '.join(table)}, got 'another'"):
        Config(**{field: "another"})
    monkeypatch.setitem(table, "another", None)
    assert getattr(Config(**{field: parse_field(field, "another")}), field) == "another"


def test_an_arrangement_is_trained_and_scored(monkeypatch):
    """A class between two others: its best classifier is a strip, and every theory follows from the centres."""
    monkeypatch.setitem(data.ARRANGEMENTS, "between", (((0, 0), (2, 0)), ((1, 0),)))
    config = Config(data="between", hidden=(4,), learning_rate=0.3, epochs=1500, distance=5)
    (trained,) = train([config], Seeds(0, 4))
    table = score(config, trained.seeds, trained.losses, trained.checkpoints, trained.weights).table
    best = theory.bayes_accuracy(5.0, "between")
    assert best > theory.reference_accuracies(5.0, "between")["best line"] + 0.1
    assert table["population_accuracy"].max() == pytest.approx(best, abs=0.02)
    assert np.isnan(table["excess_loss"]).all()
