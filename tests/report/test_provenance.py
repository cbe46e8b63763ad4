"""The page's last part: counts as ``qwerties status`` has them, where numbers come from, and one made again."""

import contextlib
import html
import io
import os
import re

import pytest
from trained import CODE, CONFIGS, SEEDS, make_store, plan, record

from qwerties.cli.status import read_status
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.report import report_archive
from qwerties.report.build import is_current, render, write_report
from qwerties.report.cache_key import LIBRARIES, store_digest
from qwerties.report.elements import Table
from qwerties.report.results import make_results
from qwerties.report.sections import provenance
from qwerties.scoring import score as scoring
from qwerties.study import sweep
from qwerties.study.batches import MissingRun
from qwerties.tracking.records import Record
from qwerties.tracking.store import Store, StoreError
from qwerties.tracking.tags import REPORT
from qwerties.training.trainer import train


def part(store):
    page = render(store)
    return page[page.index('<section aria-labelledby="provenance"') :]


def test_a_number_is_made_again_by_its_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configs = (Config(loss="mse", activation="tanh", epochs=200), *CONFIGS[:1])
    text = part(make_store(tmp_path, configs))
    lines = html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)[1])
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
    table = scoring.score(trained.config, SEEDS, trained.losses, trained.checkpoints, trained.weights).table
    curves = {"epochs": trained.checkpoints}
    made = record(configs[0], SEEDS, table, curves)
    store.write(experiment_id, made)
    store.write(experiment_id, record(configs[0], SEEDS, table, curves, code="older"))
    store.write(experiment_id, record(DEFAULT, SEEDS, table, curves))
    failed = store.write(experiment_id, record(configs[1], SEEDS, table, curves))
    store._client.set_terminated(failed, "FAILED")
    [status] = read_status(store)["experiments"]
    blocks = provenance.build(make_results(store)).blocks
    [ledger] = [block for block in blocks if isinstance(block, Table)]
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
    assert [cell.main for cell in ledger.rows[0].cells] == ["0–15", *map(str, counts.values())]
    assert ledger.data[0]["done"] == status["done"] == 1


@pytest.mark.slow
def test_what_made_the_runs_is_told(store, tmp_path):
    text = part(make_store(tmp_path))
    assert "Runs made with" not in text  # these runs are not tagged
    experiment_id = store.experiments()["losses"][0]
    run = store.runs(experiment_id)[0]
    for key, value in {
        "qwerties.python": "3.99.1",
        "qwerties.torch": "9.9",
        "mlflow.source.git.commit": "f" * 40,
        "mlflow.source.git.dirty": "true",
    }.items():
        store.tag_run(run.run_id, key, value)
    text = part(store)
    assert "Python 3.99.1; PyTorch 9.9" in text
    assert "f" * 12 in text
    assert "f" * 13 not in text
    assert "1 of 4 runs with changes that were not committed" in text
    assert "<bdi>sqlite:///mlflow.db</bdi>" in text
    assert str(tmp_path) not in text


def test_runs_are_tagged_with_what_made_them():
    record = Record("x", {}, {}, children=[Record("y", {"seed": "1"}, {}, {"qwerties.state": "dead"})])
    made = sweep.described(record, MissingRun("loss", DEFAULT, Seeds(0, 2)), "a run")
    for one in (made, made.children[0]):
        assert set(one.tags) >= {
            f"qwerties.{name}" for name in ("version", "python", "torch", "numpy", "mlflow")
        }


def test_the_store_is_named_without_a_password(store):
    store.file, store.uri = None, "https://me:secret@example.org/mlflow"
    assert "secret" not in provenance.public_address(store)
    assert make_results(store, []).ui == "https://example.org/mlflow"


def test_an_empty_store_has_no_such_part(store):
    assert 'href="#provenance"' not in render(store)


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


def test_a_page_is_kept_once_and_counts_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path)
    page = tmp_path / "reports" / "summary.html"
    digest, experiments = store_digest(store), store.experiments()
    written = write_report(store, page)
    assert "run " in report_archive.keep(store, written.files)
    assert "already" in report_archive.keep(store, write_report(store, page).files)
    assert store_digest(store) == digest
    assert store.experiments() == experiments
    assert is_current(store, page)
    assert page.read_bytes() == write_report(store, page).page.read_bytes()
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
    told = report_archive.keep(store, {"summary.html": b"x"})
    assert told == "the report is not kept in the store: [Errno 30] Read-only file system"


def test_a_question_of_that_name_is_not_mixed_with_the_reports(store):
    store.experiment("report", plan([DEFAULT]))
    assert "rename experiments/report.py" in report_archive.keep(store, {"summary.html": b"x"})
    assert list(store.experiments()) == ["report"]


def test_reports_are_not_mixed_with_a_question_of_that_name(store):
    report_archive.keep(store, {"summary.html": b"x"})
    with pytest.raises(StoreError, match=r"rename experiments/report\.py"):
        store.experiment("report", plan([DEFAULT]))


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_store_that_can_only_be_read_is_read(store, tmp_path, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    with pytest.raises(StoreError, match="must be writable"):
        Store(store.uri)
    assert Store(store.uri, reads=True).experiments() == {}


def test_two_written_reports_are_equal(store, tmp_path):
    page = tmp_path / "summary.html"
    one, other = (write_report(store, page) for _ in range(2))
    assert (one.document, one.files) == (other.document, other.files)
    assert "no verdict changed since the previous report" not in one.text  # there was none
    assert "no verdict changed since the previous report" in other.text
