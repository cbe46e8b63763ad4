"""The page's last part: counts as ``qwerties status`` has them, where numbers come from, and one made again."""

import contextlib
import html
import io
import re

import pytest
from pages import BCE, MSE, table, tags
from pages import CODE as PAGES_CODE
from pages import record as page_record
from trained import CODE, SEEDS, make_store, plan, record

from qwerties.analysis.contrasts import load_results
from qwerties.cli.status import read_status
from qwerties.config import DEFAULT, Config
from qwerties.report import report_archive
from qwerties.report.build import is_current, write_report
from qwerties.report.cache_key import LIBRARIES, store_digest
from qwerties.report.elements import Facts, Table, Text
from qwerties.report.results import Results
from qwerties.report.sections import provenance
from qwerties.scoring import score as scoring
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import REPORT
from qwerties.training.trainer import train


def blocks(store, kind):
    return [
        block
        for block in provenance.build(Results(store, load_results(store))).blocks
        if isinstance(block, kind)
    ]


def test_a_number_is_made_again_by_its_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config(loss="mse", activation="tanh", epochs=200)
    text, code = (str(block.html) for block in blocks(make_store(tmp_path, (config,)), Text))
    lines = html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", code, re.DOTALL)[1])
    assert "Config(loss='mse', activation='tanh', epochs=200)" in lines
    value = float(re.search(r"a training loss of ([\d.e-]+)\.", text)[1])
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(lines, {})
    assert float(said.getvalue()) == pytest.approx(value, rel=1e-4)


def test_it_counts_as_status_does(store):
    configs = (Config(epochs=20), Config(epochs=20, loss="mse"), Config(epochs=20, activation="tanh"))
    experiment_id = store.experiment("losses", plan(configs))
    [trained] = train(configs[:1], SEEDS, compiled=False)
    frame = scoring.score(trained.config, SEEDS, trained.losses, trained.checkpoints, trained.weights).table
    curves = {"epochs": trained.checkpoints}
    made = record(configs[0], SEEDS, frame, curves)
    store.write(experiment_id, made)
    store.write(experiment_id, record(configs[0], SEEDS, frame, curves, code="older"))
    store.write(experiment_id, record(DEFAULT, SEEDS, frame, curves))
    failed = store.write(experiment_id, record(configs[1], SEEDS, frame, curves))
    store._client.set_terminated(failed, "FAILED")
    [status] = read_status(store)["experiments"]
    [ledger] = blocks(store, Table)
    counts = {
        "Planned": 3,
        "Tracked": 1,
        "Missing": 1,
        "Failed": 1,
        "Stale": 1,
        "Superseded": 0,
        "No longer planned": 1,
    }
    assert ledger.headers == ("Experiment", "Seeds", *counts)
    assert [cell.main for cell in ledger.rows[0].cells.values()] == ["0–15", *map(str, counts.values())]
    assert ledger.rows[0].data["done"] == status["done"] == 1


def test_what_made_the_runs_is_told(store, tmp_path):
    experiment_id = store.experiment("losses", tags([BCE, MSE], SEEDS))
    tagged = {
        "qwerties.python": "3.99.1",
        "qwerties.torch": "9.9",
        "mlflow.source.git.commit": "f" * 40,
        "mlflow.source.git.dirty": "true",
    }
    for config, more in ((BCE, {}), (MSE, tagged)):
        run = page_record(config, SEEDS, table(SEEDS, config), tags={"qwerties.code": PAGES_CODE, **more})
        store.write(experiment_id, run)
    [block] = blocks(store, Facts)
    facts = block.items
    assert facts["Runs made with"] == "Python 3.99.1; PyTorch 9.9"
    assert facts["At the commit"] == f"{'f' * 12}; 1 of 2 runs with changes that were not committed"
    assert facts["Store"] == "sqlite:///mlflow.db"
    assert str(tmp_path) not in str(facts)


def test_the_store_is_named_without_a_password(store):
    store.file, store.uri = None, "https://me:secret@example.org/mlflow"
    assert "secret" not in provenance.public_address(store)
    assert Results(store, []).ui == "https://example.org/mlflow"


# The report as an artifact


def test_a_report_of_which_only_a_table_differs_is_kept_too(store):
    page = {"summary.html": b"x", "runs.csv": b"1"}
    for files in (page, {**page, "runs.csv": b"2"}, page):
        report_archive.keep(store, files)
    assert [store.read(run, "runs.csv") for run in kept_runs(store)] == [b"1", b"2"]


def test_what_is_linked_to_and_what_draws_are_part_of_the_digest(store, monkeypatch):
    before = store_digest(store)
    monkeypatch.setattr(store, "uri", "http://127.0.0.1:1")
    assert store_digest(store) != before
    assert {"contourpy", "matplotlib", "pillow", "markdown-it-py"} <= set(LIBRARIES)


def test_a_page_is_kept_once_and_counts_nowhere(store, tmp_path, undrawn):
    experiment_id = store.experiment("losses", tags([BCE], SEEDS))
    store.write(experiment_id, page_record(BCE, SEEDS, table(SEEDS, BCE)))
    page = tmp_path / "reports" / "summary.html"
    digest, experiments = store_digest(store), store.experiments()
    written = write_report(store, page)
    assert "no verdict changed since the previous report" not in written.text  # there was none
    assert "run " in report_archive.keep(store, written.files)
    again = write_report(store, page)
    assert again.files == written.files
    assert "no verdict changed since the previous report" in again.text
    assert "already" in report_archive.keep(store, again.files)
    assert store_digest(store) == digest
    assert store.experiments() == experiments
    assert is_current(store, page)
    [run] = kept_runs(store)
    assert store.read(run, "summary.html") == written.files["summary.html"]
    assert b'href="./' not in store.read(run, "summary.html")
    names = set(store.sizes(run))
    assert {"summary.html", "verdicts.json", "runs.csv", "tables/findings.tex"} < names
    assert not any(name.startswith("figures") for name in names)
    assert store.damaged(run) == []
    assert CODE in store.experiments()["losses"][1]["qwerties.plan"]


def kept_runs(store):
    experiment = store._client.get_experiment_by_name("qwerties/report")
    assert REPORT in experiment.tags
    return store.runs(experiment.experiment_id)


def test_the_last_pages_are_kept(store, monkeypatch):
    monkeypatch.setattr(report_archive, "MAX_REPORTS", 3)
    for i in range(5):
        report_archive.keep(store, {"summary.html": str(i).encode()})
    assert [store.read(run, "summary.html") for run in kept_runs(store)] == [b"2", b"3", b"4"]


def test_a_store_that_does_not_take_it_is_one_line(store, monkeypatch):
    def refuse(*_):
        raise OSError("[Errno 30] Read-only file system\nand more")

    monkeypatch.setattr(Store, "write", refuse)
    message = report_archive.keep(store, {"summary.html": b"x"})
    assert message == "the report is not kept in the store: [Errno 30] Read-only file system"


def test_a_question_of_that_name_is_not_mixed_with_the_reports(store):
    store.experiment("report", plan([DEFAULT]))
    assert "rename experiments/report.py" in report_archive.keep(store, {"summary.html": b"x"})
    assert list(store.experiments()) == ["report"]


def test_reports_are_not_mixed_with_a_question_of_that_name(store):
    report_archive.keep(store, {"summary.html": b"x"})
    with pytest.raises(StoreError, match=r"rename experiments/report\.py"):
        store.experiment("report", plan([DEFAULT]))
