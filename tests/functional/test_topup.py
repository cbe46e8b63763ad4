"""A sweep that goes on until its contrasts are decided: what it trains, that it may be stopped, and its dry run."""

import json
import re

import processes
import pytest
from factories import call, make_folder, make_study

from qwerties.tracking.store import Store
from qwerties.tracking.uri import default_uri

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
    pytest.mark.timeout(600),
]

CLOSE = """
from qwerties import Config, Contrast, Experiment, grid

CONFIGS = grid(Config(epochs=20), learning_rate=(0.01, 0.011))
experiment = Experiment("Rates", "Which?", CONFIGS, (Contrast(CONFIGS[1], CONFIGS[0]),))
"""
PRIMARY = CLOSE.replace("CONFIGS[0]),)", "CONFIGS[0], primary=True),)")
WIDTHS = """
from qwerties import Config, Contrast, Experiment, grid

CONFIGS = grid(Config(epochs=20), hidden=[(1,), (2,)])
experiment = Experiment("Widths", "Which?", CONFIGS, (Contrast(CONFIGS[1], CONFIGS[0]),))
"""
QUICK = ("--jobs", "1", "--no-report")


def finished(folder, name):
    store = Store(default_uri(folder))
    experiment_id, _ = store.experiments()[name]
    return store, [r for r in store.runs(experiment_id) if r.parent is None and r.status == "FINISHED"]


def blocks(folder, name="rates"):
    """Seeds of every finished run of an experiment, by learning rate."""
    found = {}
    for run in finished(folder, name)[1]:
        found.setdefault(run.params["learning_rate"], []).append(run.params["seeds"])
    return {rate: sorted(seeds, key=lambda block: int(block.split("-")[0])) for rate, seeds in found.items()}


def rows_of(folder, name="rates"):
    """Rows of every ``seeds.csv`` of an experiment, by learning rate."""
    store, runs = finished(folder, name)
    return sorted(
        (run.params["learning_rate"], row)
        for run in runs
        for row in store.read(run, "seeds.csv").decode().splitlines()[1:]
    )


def test_a_sweep_goes_on_until_its_primary_contrasts_are_decided(tmp_path):
    """Two rates that differ by next to nothing are open after 50 seeds; the widths beside them are left alone."""
    folder = make_study(tmp_path / "study", rates=PRIMARY, widths=WIDTHS)
    out, _ = call(folder, "sweep", "--seeds", "50", "--jobs", "1")
    assert "open contrasts: 1, 500 seeds (rates: lr 0.011 − lr 0.01)" in out
    assert "primary contrasts decided: 1" in out
    document = json.loads((folder / "reports" / "verdicts.json").read_text())
    by_name = {contrast["experiment"]: contrast for contrast in document["contrasts"]}
    assert by_name["rates"]["verdict"] == "equivalent"
    assert (by_name["rates"]["alpha"], by_name["widths"]["alpha"]) == (0.005, 0.05)
    assert by_name["widths"]["n"] == 50
    found = blocks(folder)
    assert found["0.01"] == found["0.011"]
    assert found["0.01"][:2] == ["0-49", "50-499"]
    assert by_name["rates"]["n"] == int(found["0.01"][-1].split("-")[1]) + 1
    again, _ = call(folder, "sweep", "--seeds", "50", "--jobs", "1")
    assert "nothing to do" in again
    assert "open contrasts" not in again
    assert blocks(folder) == found
    out, _ = call(folder, "report", "--check")
    assert out == "no verdict changed since the previous report\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study that one person swept, undisturbed; to be read only."""
    folder = make_study(tmp_path_factory.mktemp("whole") / "study", rates=PRIMARY)
    call(folder, "sweep", "--seeds", "50", *QUICK)
    return folder


def test_a_sweep_that_was_stopped_ends_with_the_same_store(whole, tmp_path, monkeypatch):
    """One arm's block of the first step is tracked when the sweep is stopped; another has looked further by hand."""
    stopped = make_study(tmp_path / "stopped", rates=PRIMARY)
    call(stopped, "sweep", "--seeds", "50", "--settle", "none", *QUICK)
    write = Store.write
    written = []

    def once(self, experiment_id, record, parent=None):
        if parent is None and written:
            raise KeyboardInterrupt
        run_id = write(self, experiment_id, record, parent)
        written.extend([run_id] if parent is None else [])
        return run_id

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", once)
        call(stopped, "sweep", "--seeds", "50", *QUICK, status=130)
    assert sorted(map(len, blocks(stopped).values())) == [1, 2]
    call(stopped, "sweep", "--seeds", "50", *QUICK)
    assert blocks(stopped) == blocks(whole)
    assert rows_of(stopped) == rows_of(whole)


def test_the_cap_and_settle_decide_what_is_trained(tmp_path):
    folder = make_study(tmp_path / "study", rates=PRIMARY, exploratory=CLOSE)
    call(folder, "sweep", "--seeds", "50", "--max-seeds", "50", *QUICK)
    call(folder, "sweep", "--seeds", "50", "--settle", "none", *QUICK)
    assert blocks(folder)["0.01"] == blocks(folder, "exploratory")["0.01"] == ["0-49"]
    out, _ = call(folder, "sweep", "--seeds", "50", "--max-seeds", "120", *QUICK)
    assert "primary contrasts open at the cap of 120 seeds: 1 (rates: lr 0.011 − lr 0.01)" in out
    assert blocks(folder)["0.01"] == ["0-49", "50-119"]
    assert blocks(folder, "exploratory")["0.01"] == ["0-49"]
    out, _ = call(
        folder, "sweep", "exploratory", "--seeds", "50", "--max-seeds", "70", "--settle", "all", *QUICK
    )
    assert "open contrasts: 1, 70 seeds (exploratory: lr 0.011 − lr 0.01)" in out
    assert blocks(folder, "exploratory")["0.01"] == ["0-49", "50-69"]


def test_open_contrasts_of_the_same_arms_are_told_apart(tmp_path):
    """Two contrasts have the same rates, at two distances."""
    pairs = "Contrast(CONFIGS[1], CONFIGS[0]), Contrast(CONFIGS[3], CONFIGS[2])"
    twice = CLOSE.replace("epochs=20), ", "epochs=20), distance=(3, 4), ")
    folder = make_folder(
        tmp_path / "study", rates=twice.replace("Contrast(CONFIGS[1], CONFIGS[0]),", f"{pairs},")
    )
    out, _ = call(folder, "sweep", "--seeds", "5", "--max-seeds", "6", "--settle", "all", *QUICK)
    assert "2, 6 seeds (rates: lr 0.011 − lr 0.01 (d=3); rates: lr 0.011 − lr 0.01 (d=4))" in out


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(tmp_path):
    folder = make_folder(tmp_path / "study", rates=PRIMARY, exploratory=CLOSE)

    def files():
        return {
            path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts
        }

    before = files()
    out, _ = call(folder, "sweep", "--dry-run", "--jobs", "2")
    rows = {line.split()[0]: line.split()[1:4] for line in out.splitlines()[:4]}
    assert rows["rates"] == rows["exploratory"] == ["2", "2", "1,000"]
    assert re.search(r"^in all +2 +4 +1,000 ", out, re.MULTILINE)  # what both share is trained once
    assert (
        "while contrasts are open (1), up to 4,000 seeds of their configs: at most 7,000 more networks" in out
    )
    assert "times are estimated from a default sweep" in out
    assert files() == before
    call(folder, "sweep", "rates", "--seeds", "50", "--max-seeds", "50", "--jobs", "1", "--no-report")
    before = files()
    out, _ = call(folder, "sweep", "--dry-run", "--seeds", "60", "--max-seeds", "100", "--jobs", "2")
    rows = {line.split()[0]: line.split()[1:4] for line in out.splitlines()[:4]}
    assert rows["rates"] == ["2", "2", "20"]
    assert rows["exploratory"] == ["2", "2", "120"]
    assert "at most 80 more networks" in out
    assert files() == before


def test_an_eleventh_primary_contrast_is_refused(tmp_path):
    many = """
from qwerties import Config, Contrast, Experiment, grid

CONFIGS = grid(Config(epochs=20), learning_rate=[0.01 * (i + 1) for i in range(%d)])
experiment = Experiment("Rates", "?", CONFIGS, tuple(Contrast(CONFIGS[0], c, primary=True) for c in CONFIGS[1:]))
"""
    folder = make_study(tmp_path / "study", many=many % 11)
    call(folder, "sweep", "--seeds", "2", "--max-seeds", "2", "--jobs", "1", "--no-report")  # ten are fine
    (folder / "experiments" / "one.py").write_text(PRIMARY)
    for argv in (("sweep",), ("sweep", "one"), ("sweep", "--dry-run")):
        before = {path.stat().st_mtime_ns for path in folder.rglob("*.db")}
        _, err = call(folder, *argv, status=2)
        assert err == (
            "qwerties: error: primary contrasts must be at most 10 in the whole study, one for each slot of its error "
            "budget, got 11: 10 in many, 1 in one\n"
        )
        assert {path.stat().st_mtime_ns for path in folder.rglob("*.db")} == before


def test_two_people_who_sweep_add_up(whole, tmp_path):
    """Both see that the contrast is open; what one trains, the other does not train again."""
    shared = make_study(tmp_path / "shared", rates=PRIMARY)
    command = ("sweep", "--seeds", "50", *QUICK)
    with processes.started(shared, *command) as one, processes.started(shared, *command) as other:
        ends = [one.wait(), other.wait()]
    assert [status for status, *_ in ends] == [0, 0], ends
    assert all("primary contrasts decided: 1" in out for _, out, _ in ends)
    assert blocks(shared) == blocks(whole)
    assert rows_of(shared) == rows_of(whole)
