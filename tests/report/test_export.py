"""What can be taken away: numbers in full, text that is no formula, names that stay in their folder, no stray files."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import signal
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from factories import new_store
from pages import BCE, HOSTILE, MSE, SEEDS, TABLES, record, tags

from qwerties.errors import FailedError
from qwerties.execution import signals
from qwerties.report import export as exports
from qwerties.report.build import is_current, render, write_report
from qwerties.tracking.records import Record

EVIL = "../../=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def store(module_folder):
    made = new_store(module_folder)
    contrasts = [(BCE, MSE, True), (MSE, BCE, False)]
    pair = made.experiment("pair", tags([BCE, MSE], SEEDS, contrasts=contrasts, order="1"))
    for config in (BCE, MSE):
        made.write(pair, record(config, SEEDS, TABLES[config], metrics={"phi": 0.1 + 0.2}))
    evil = made.experiment(EVIL, tags([BCE], SEEDS, order="2", title=HOSTILE[:4000]))
    made.write(evil, record(BCE, SEEDS, TABLES[BCE], name=EVIL[6:]))
    loose = made.experiment("train", {"qwerties.title": "Single networks"})
    made.write(loose, Record("@SUM(1)", {**BCE.to_params(), "seed": "-7"}, {"train_accuracy": 1 / 3}))
    return made


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    """A folder with a report."""
    path = tmp_path_factory.mktemp("reports")
    write_report(store, path / "summary.html")
    return path


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_table_and_figure_is_there_by_its_number(folder):
    page = (folder / "summary.html").read_text()
    for kind, sub, ends in (("Table", "tables", (".csv",)), ("Figure", "figures", (".svg", ".png"))):
        shown = sorted(int(n) for n in re.findall(rf"<b>{kind} (\d+)\.", page))
        kept = sorted(int(p.name[:2]) for p in (folder / sub).iterdir() if p.suffix in ends)
        assert shown == kept
        assert shown


def test_numbers_are_in_full(folder):
    rows = pd.read_csv(folder / "tables" / "02-pair.csv")
    frame = TABLES[BCE]
    row = rows[rows["loss"] == "bce"].iloc[0]
    assert row["population_accuracy"] == pytest.approx(frame["population_accuracy"].mean(), rel=1e-15)
    assert row["learned"] == (frame["state"] == "learned").sum() / 60
    assert row["dead"] == (frame["state"] == "dead").sum()
    assert row["phi_undefined"] == frame["phi"].isna().sum()
    contrasts = pd.read_csv(folder / "tables" / "01-pair-contrasts.csv")
    d = frame["population_accuracy"].fillna(0.5) - TABLES[MSE]["population_accuracy"].fillna(0.5)
    assert contrasts["estimate"].tolist() == pytest.approx([d.mean(), -d.mean()], rel=1e-12)
    assert contrasts["interval.lo"][0] < contrasts["estimate"][0] < contrasts["interval.hi"][0]
    assert contrasts["verdict"].tolist() == ["open", "open"]


def test_every_run_is_listed(folder, store):
    runs = pd.read_csv(folder / "runs.csv")
    there = [run for id_, _ in store.experiments().values() for run in store.runs(id_)]
    assert set(runs["run_id"]) == {run.run_id for run in there}
    assert runs["metrics.phi"].dropna().eq(0.1 + 0.2).all()
    assert runs.set_index("experiment").loc["train", "metrics.train_accuracy"] == 1 / 3
    assert runs["params.loss"].isin(["bce", "mse"]).all()
    assert list(runs.columns[:6]) == ["experiment", "run_id", "parent", "name", "status", "seeds"]


def test_no_cell_is_a_formula(folder):
    for path in [*(folder / "tables").glob("*.csv"), folder / "runs.csv"]:
        for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))):
            for cell in row:
                assert not cell.startswith(exports.FORMULA) or exports.NUMBER.fullmatch(cell), (path, cell)
                assert "\n" not in cell
                assert len(cell) <= exports.MAX_CELL + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=1+1", "'=1+1"),
        ("-1-1", "'-1-1"),
        ("@x", "'@x"),
        ("+x", "'+x"),
        ("\t=x", "'=x"),
        ("＝x", "'＝x"),
        ("-0.5e-3", "-0.5e-3"),
        ("-٣", "'-٣"),
        ("bce", "bce"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (np.float64(0.1) + 0.2, "0.30000000000000004"),
        (float("nan"), ""),
        (float("-inf"), "-inf"),
        (None, ""),
        (True, "true"),
        (3, "3"),
        ('a "b", c', '"a ""b"", c"'),
    ],
)
def test_a_cell_is_a_number_or_harmless(value, text):
    assert exports.to_csv([{"x": value, "y": 1}]).decode() == f"x,y\n{text},1\n"


def test_names_stay_in_their_folder(folder):
    for name in files(folder):
        assert re.fullmatch(r"(summary\.html|verdicts\.json|runs\.csv|(tables|figures)/[a-z0-9.-]+)", name)


def test_latex_is_escaped(folder):
    nasty = r"a_b & 50% #1 ${x}$ \input{/etc/passwd} ~^[*] <δ> “ש"
    words = {"experiment": "[evil]", "a_minus_b": nasty, "where": "xor · hidden 8", "words": "*"}
    row = exports.findings_tex([{**words, "primary": True, "n": 3, "delta": 0.01}]).decode().splitlines()[-3]
    assert row == (
        r"{}[evil] & a\_b \& 50\% \#1 \$\{x\}\$ \textbackslash input\{/etc/passwd\} "
        r"\textasciitilde \textasciicircum [*] <delta> ?? at xor, hidden 8 & primary & 3 &  &  & 0.01 & * \\"
    )
    text = (folder / "tables" / "findings.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 3
    assert all(len(re.findall(r"(?<!\\)&", row)) == 7 for row in rows)
    assert text.index("& primary &") < text.index("& exploratory &")
    assert text.isascii()


def test_figures_are_pictures(folder):
    pictures = list((folder / "figures").glob("*.svg"))
    assert pictures
    for path in pictures:
        assert ET.fromstring(path.read_bytes()).tag.endswith("svg")


def test_the_same_store_gives_the_same_files(folder, store, tmp_path):
    path = tmp_path / "new" / "summary.html"
    write_report(store, path)
    there = files(folder)
    assert files(path.parent) == there
    assert is_current(store, path)
    page, rendered = there["summary.html"].decode(), render(store)
    links = r' <a class="download".*?</a>|<section aria-labelledby="downloads">.*?</section>'
    alone = re.sub(links, "", page, flags=re.DOTALL)
    assert alone.split() == rendered.split()
    assert 'href="./' not in rendered


def test_beside_another_page_they_have_its_name(store, tmp_path, undrawn):
    write_report(store, tmp_path / "a b&c.html")
    assert {path.name for path in tmp_path.iterdir()} == {
        "a b&c.html",
        *(f"a b&c-{name}" for name in ("verdicts.json", "tables", "figures", "runs.csv")),
    }
    assert 'href="./a%20b%26c-tables/02-pair.csv"' in (tmp_path / "a b&c.html").read_text()


def test_a_signal_whose_exception_was_lost_is_found_before_anything_is_written(
    store, tmp_path, monkeypatch, undrawn
):
    monkeypatch.setattr(signals, "_signals", [])
    page = tmp_path / "reports" / "summary.html"
    with signals.heeding_signals():
        signals._signals.append(signal.SIGINT)
        with pytest.raises(signals.Stopped):
            write_report(store, page)
    assert not page.parent.exists()


def test_only_what_was_written_here_is_removed(store, tmp_path, undrawn):
    page = tmp_path / "summary.html"
    write_report(store, page)
    listed = (
        "tables/90-gone.csv",
        "tables/91-edited.csv",
        "tables/../outside",
        "outside",
        "tables/\0",
        "..",
        "",
    )
    gone, edited, foreign, outside = (
        tmp_path / name for name in (*listed[:2], "tables/92-foreign.csv", "outside")
    )
    for path in (gone, edited, foreign, outside):
        path.write_text("x")
    document = json.loads((tmp_path / "verdicts.json").read_text())
    document["files"] |= dict.fromkeys(listed, hashlib.sha256(b"x").hexdigest())
    (tmp_path / "verdicts.json").write_text(json.dumps(document))
    edited.write_text("by hand")
    assert not is_current(store, page)
    write_report(store, page)
    assert not gone.exists()
    assert edited.read_text() == "by hand"
    assert foreign.exists()
    assert outside.exists()
    assert is_current(store, page)


def test_all_of_them_or_none(store, tmp_path, undrawn):
    page = tmp_path / "summary.html"
    page.write_text("old")
    (tmp_path / "runs.csv").write_text("old")
    (tmp_path / "figures").write_text("no folder")
    before = files(tmp_path)
    with pytest.raises(FailedError, match=r"figures/.+ cannot be written: File exists"):
        write_report(store, page)
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["summary.html", "runs.csv", "tables/02-pair.csv", "tables/findings.tex"])
def test_a_file_that_was_lost_or_altered_is_made_again(folder, store, tmp_path, name):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert is_current(store, tmp_path / "summary.html")
    (tmp_path / name).write_text("by hand")
    assert not is_current(store, tmp_path / "summary.html")
    (tmp_path / name).unlink()
    assert not is_current(store, tmp_path / "summary.html")


def test_files_are_as_private_as_the_umask_says(tmp_path):
    before = os.umask(0o077)
    try:
        exports.write_files({tmp_path / "page": b""})
    finally:
        os.umask(before)
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o600
