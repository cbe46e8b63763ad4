"""What the documentation promises of a new activation: one entry in plain torch, and all else follows."""

import logging

import factories

from qwerties import config as configs
from qwerties.cli.main import main
from qwerties.training import native, networks

SOURCE = """
from dataclasses import replace
from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

a, b = (replace(DEFAULT, activation=name, epochs=100) for name in ("relu", "softsign"))
experiment = Experiment(
    title="Softsign",
    question="Does it learn?",
    configs=(a, b, replace(b, hidden=(2,)), replace(b, data="xor")),
    contrasts=(Contrast(a, b),),
    figures=(Figure("scores"), Figure("outcomes")),
)
"""


def test_an_activation_is_swept_scored_drawn_and_reported(tmp_path, monkeypatch, caplog):
    names = (*configs.CHOICES["activation"], "softsign")
    monkeypatch.setitem(configs.CHOICES, "activation", names)
    monkeypatch.setitem(networks.ACTIVATIONS, "softsign", lambda u: u / (1 + u.abs()))
    native._load.cache_clear()
    native._warn.cache_clear()
    folder = factories.make_folder(tmp_path / "study", soft=SOURCE)
    monkeypatch.chdir(folder)
    with caplog.at_level(logging.WARNING, logger="qwerties.training"):
        assert main(["sweep", "--seeds", "4", "--jobs", "1"]) == 0
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("qwerties.training")]
    assert lines == [f"kernel.cpp has no activation 'softsign': {native.SLOWER}"]
    page = (folder / "reports" / "summary.html").read_text(encoding="utf-8")
    assert page.count("softsign") > 5
