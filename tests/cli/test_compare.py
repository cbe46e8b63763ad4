"""``qwerties compare``: any two tables, one clear line where they are no good, and no heavy imports."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from qwerties.cli.main import main
from qwerties.stats.compare import compare


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tables():
    """Write new.csv and old.csv, 400 seeds of which 397 are shared; return both."""
    rng = np.random.default_rng(0)
    old = pd.DataFrame({"seed": range(400), "accuracy": rng.uniform(0.4, 0.8, 400), "note": "x"})
    new = old.assign(accuracy=old["accuracy"] + rng.uniform(0, 0.2, 400))
    new, old = new.drop(index=[5]), old.drop(index=[7, 8])
    new.to_csv("new.csv", index=False)
    old.to_csv("old.csv", index=False)
    return new, old


def expected(tables, **options):
    a, b = (table.set_index("seed")["accuracy"] for table in tables)
    return compare(a, b, **({"bounds": (0, 1), "margin": 0.01} | options))


@pytest.fixture
def run(capsys):
    def call(line):
        status = main(["compare", *line.split()])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def refused(run):
    """Call the command; return its one line, after making sure that nothing else happened."""

    def call(line):
        status, out, err = run(line)
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        return err.removeprefix("qwerties: error: ").rstrip("\n")

    return call


TWO = "new.csv old.csv --metric accuracy"


def test_says_the_verdict_and_what_it_rests_on(run, tables):
    result = expected(tables)
    status, out, err = run(TWO)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "new beats old by more than 0.01",
        f"accuracy, new - old: {result.estimate:+.4g}, 95% interval [{result.low:+.4g}, {result.high:+.4g}], "
        "valid wherever one stops",
        "397 paired seeds, margin 0.01, bounds 0:1 (assumed, as all values are within)",
        f"equivalent within any margin above {result.high:.4g}",
        "not compared, only in new: 7, 8",
        "not compared, only in old: 5",
    ]


def test_json_is_the_result(run, tables):
    status, out, _ = run(f"{TWO} --json --alpha 0.01 --margin 0.15 --bounds 0:2")
    assert status == 0
    result = expected(tables, alpha=0.01, margin=0.15, bounds=(0, 2))
    assert json.loads(out) == result.to_dict()
    assert json.loads(out)["unpaired"] == {"a": [7, 8], "b": [5]}
    assert result.needed is not None


def test_the_default_margin_is_a_hundredth_of_the_range(run, tables):
    _, out, _ = run(f"{TWO} --json --bounds -1:4")
    assert json.loads(out)["margin"] == 0.05


def test_markdown_is_the_result(run, tables):
    _, out, _ = run(f"{TWO} --markdown")
    assert out == expected(tables).to_markdown("new", "old", unit="seed")


def test_an_open_verdict_says_how_many_would_decide_it(run, tables):
    new, old = tables
    new.iloc[:60].to_csv("new.csv", index=False)
    old.iloc[:60].to_csv("old.csv", index=False)
    _, out, _ = run(f"{TWO} --margin 0.1")
    assert "open" in out.splitlines()[0]
    assert "seeds would decide it" in out.splitlines()[0]


def test_one_long_table_gives_the_same(run, tables):
    new, old = tables
    pd.concat([new.assign(model="1.5"), old.assign(model="2"), old.assign(model="3")]).to_csv(
        "long.csv", index=False
    )
    _, out, _ = run("long.csv --metric accuracy --arm model --arms 1.5 2 --json")
    assert json.loads(out) == expected(tables).to_dict()


def test_arms_and_units_may_be_named_as_missing_values_are(run, refused, tables):
    """The scheduler None, the country NA."""
    new, old = (table.assign(seed=table["seed"].map({0: "NA", 1: "None"}.get)).dropna() for table in tables)
    pd.concat([new.assign(model="None"), old.assign(model="cosine")]).to_csv("long.csv", index=False)
    _, out, _ = run("long.csv --metric accuracy --arm model --arms None cosine")
    assert out.startswith("open; ")
    assert "2 paired seeds" in out
    pd.concat([new.assign(model=None), old.assign(model="x")]).to_csv("long.csv", index=False)
    message = refused("long.csv --metric accuracy --arm model --arms y x")
    assert message == "--arms: 'model' in long.csv is never 'y'; it is nan, x"


def test_several_columns_make_a_unit(run, tables):
    for name in ("new", "old"):
        table = pd.read_csv(f"{name}.csv")
        table.assign(task=table["seed"] % 3, seed=table["seed"] // 3).to_csv(f"{name}.csv", index=False)
    _, out, _ = run(f"{TWO} --unit task,seed")
    assert "397 paired task and seed pairs" in out
    assert "only in old: 2, 1" in out


def test_parquet_gives_the_same(run, tables):
    pytest.importorskip("pyarrow")
    tables[0].to_parquet("new.parquet")
    _, out, _ = run("new.parquet old.csv --metric accuracy --json")
    assert json.loads(out) == expected(tables).to_dict()


def test_parquet_may_hold_the_unit_in_its_index(run, tables):
    pytest.importorskip("pyarrow")
    tables[0].set_index("seed").to_parquet("new.parquet")
    _, out, _ = run("new.parquet old.csv --metric accuracy --json")
    assert json.loads(out) == expected(tables).to_dict()


def test_parquet_with_lists_for_units_is_refused(refused, tables):
    pytest.importorskip("pyarrow")
    tables[0].assign(seed=[[seed] for seed in tables[0]["seed"]]).to_parquet("new.parquet")
    assert refused("new.parquet old.csv --metric accuracy") == (
        "'seed' must be numbers or text, new.parquet has '[0]'"
    )


def test_parquet_without_pyarrow_is_refused(refused, tables, monkeypatch):
    Path("new.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert refused("new.parquet old.csv --metric accuracy") == (
        "new.parquet is a Parquet file, which needs pyarrow: pip install pyarrow"
    )


def test_files_of_one_name_are_told_apart_by_their_folders(run, tables, folder):
    for name in ("new", "old"):
        (folder / name).mkdir()
        (folder / f"{name}.csv").rename(folder / name / "seeds.csv")
    _, out, _ = run("new/seeds.csv old/seeds.csv --metric accuracy")
    assert out.startswith("new/seeds.csv beats old/seeds.csv by more than 0.01\n")


@pytest.mark.parametrize(
    ("files", "expectation", "margin", "met"),
    [
        ("new.csv old.csv", "a_better", 0.01, True),
        ("new.csv old.csv", "b_better", 0.01, False),
        ("old.csv new.csv", "b_better", 0.01, True),
        ("new.csv old.csv", "not_worse", 0.01, True),
        ("old.csv new.csv", "not_worse", 0.01, False),
        ("old.csv new.csv", "not_worse", 0.3, True),
        ("old.csv new.csv", "equivalent", 0.3, True),
        ("old.csv new.csv", "equivalent", 0.05, False),
        ("new.csv new.csv", "equivalent", 0.01, True),
        ("new.csv new.csv", "not_worse", 0.01, True),
        ("new.csv new.csv", "a_better", 0.01, False),
    ],
)
def test_an_expectation_sets_the_exit_status(run, tables, files, expectation, margin, met):
    status, out, err = run(f"{files} --metric accuracy --margin {margin} --expect {expectation}")
    assert status == (0 if met else 1)
    assert out
    assert err.startswith("" if met else f"qwerties: expected {expectation}: not shown, ")
    assert bool(err) is not met


@pytest.mark.parametrize("name", ["evidence.svg", "evidence.png"])
def test_the_plot_is_written(run, tables, folder, name):
    status, _, _ = run(f"{TWO} --plot {name}")
    assert status == 0
    start = (folder / name).read_bytes()[:100]
    assert start.startswith(b"\x89PNG") or b"<?xml" in start


REQUESTS = {
    "new.csv --metric accuracy": "compare takes two files, or one with --arm COLUMN and --arms A B; got 1",
    "new.csv old.csv new.csv --metric accuracy": "compare takes two files, or one with --arm COLUMN and --arms A B; "
    "got 3",
    "new.csv old.csv": "the following arguments are required: --metric",
    "new.csv --metric accuracy --arm note": "--arm COLUMN and --arms A B go together",
    "new.csv --metric accuracy --arm note --arms x x": "--arms must name two different arms, got 'x' twice",
    "new.csv --metric accuracy --arm note --arms x y": "--arms: 'note' in new.csv is never 'y'; it is x",
    f"{TWO} --arm note --arms x y": "--arm compares within one table, got 2 files",
    f"{TWO} --unit accuracy": "--metric, --unit and --arm must name different columns, got 'accuracy' twice",
    f"{TWO} --unit a,,b": "--unit must be column names with commas between them, got 'a,,b'",
    f"{TWO} --unit task": "new.csv has no column 'task'; it has seed, accuracy, note",
    "new.csv old.csv --metric acuracy": "new.csv has no column 'acuracy'; it has seed, accuracy, note (did you mean "
    "accuracy?)",
    "new.csv old.csv --metrc accuracy": "unrecognized arguments: --metrc (did you mean --metric?)",
    "new.csv none.csv --metric accuracy": "none.csv cannot be read: No such file or directory",
    "new.csv none.parquet --metric accuracy": "none.parquet cannot be read: No such file or directory",
    ". old.csv --metric accuracy": ". cannot be read: Is a directory",
    f"{TWO} --bounds 1:0": "--bounds must be two finite numbers, the smaller one first, such as 0:1, got '1:0'",
    f"{TWO} --bounds 0:inf": "--bounds must be two finite numbers, the smaller one first, such as 0:1, got "
    "'0:inf'",
    f"{TWO} --bounds 1": "--bounds must be two numbers such as 0:1, got '1'",
    f"{TWO} --margin 0": "--margin must be a number above 0, got '0'",
    f"{TWO} --margin 2": "margin must be less than the range of the bounds, 1, got 2",
    f"{TWO} --expect better": "--expect must be one of a_better, b_better, equivalent, not_worse, got 'better'",
    f"{TWO} --margin nan": "--margin must be a number above 0, got 'nan'",
    f"{TWO} --alpha 1": "--alpha must be a number between 0 and 1, got '1'",
    f"{TWO} --expect worse": "--expect must be one of a_better, b_better, equivalent, not_worse, "
    "got 'worse' (did you mean not_worse?)",
    f"{TWO} --json --markdown": "--markdown: not allowed with argument --json",
    f"{TWO} --plot x.pdf": "--plot must end in .svg or .png, got 'x.pdf'",
    f"{TWO} --plot none/x.png": "--plot must be in a folder that exists, got {folder}/none",
}


@pytest.mark.parametrize("line", REQUESTS)
def test_a_wrong_request_is_one_clear_line(refused, tables, folder, line):
    assert refused(line) == REQUESTS[line].replace("{folder}", str(folder))


TABLES = {
    "seed,accuracy\n0,0.5\n1,high\n": "'accuracy' must be a number, bad.csv has 'high' at seed 1",
    "seed,accuracy\n0,0.5\n1,\n2,NaN\n": "'accuracy' has no value in bad.csv at seed 1, seed 2; a failed run "
    "counts too: give it the value of a guess, or remove the unit from both arms",
    "seed,accuracy\n0,0.5\n,0.6\n": "1 row of bad.csv without 'seed'",
    "seed,accuracy\n0,0.5\n0,0.6\n1,0.5\n": "each unit must occur once in bad; more often: 0. If other columns tell "
    "these rows apart, they belong to the unit too",
    "seed,accuracy\n900,0.5\n901,0.6\n": "the two arms share no unit: bad has 900, 901; old has 0, 1, 2, 3, 4 "
    "and 393 more",
    "seed,accuracy\n0,0.5\n901,0.6\n": "the two arms share one unit; a comparison needs at least two",
    "seed,accuracy\n": "bad.csv has no rows",
    "seed;accuracy\n0;0.5\n": "bad.csv must have commas between its columns, got 'seed;accuracy'",
    "seed\taccuracy\n0\t0.5\n": "bad.csv must have commas between its columns, got 'seed accuracy'",
    "": "bad.csv is not a table: No columns to parse from file",
    'seed,accuracy\n0,"0.5\n': "bad.csv is not a table: Error tokenizing data. C error: EOF inside string",
    "seed,accuracy\n0,0.5\n1,3\n": "--bounds LOW:HIGH is needed: 'accuracy' goes from 0.40012 to 3, and the interval "
    "rests on the smallest and the largest possible value, not on those that were seen; for a metric without bounds, "
    "such as a time or a loss, compare a bounded one made from it, such as 1 where a target is met and 0 elsewhere",
    "seed,accuracy\n0,0.5\n1,inf\n": "--bounds LOW:HIGH is needed: 'accuracy' goes from 0.40012 to inf",
}


@pytest.mark.parametrize("text", TABLES)
def test_a_bad_table_is_one_clear_line(refused, tables, folder, text):
    (folder / "bad.csv").write_text(text)
    assert refused("bad.csv old.csv --metric accuracy").startswith(TABLES[text])


def test_values_outside_the_bounds_are_named(refused, tables):
    new, _ = tables
    outside = new["accuracy"][new["accuracy"] > 0.95]
    assert refused(f"{TWO} --bounds 0:0.95") == (
        f"the metric must be from 0 to 0.95; outside in new: {outside.iloc[0]:g} at unit "
        f"{', '.join(str(new['seed'][i]) for i in outside.index)}"
    )


@pytest.mark.parametrize("name", ["gz", "bz2", "xz", "zip", "tar"])
def test_a_damaged_compressed_file_is_refused(refused, tables, folder, name):
    path = folder / f"bad.csv.{name}"
    tables[0].to_csv(path, index=False)
    path.write_bytes(path.read_bytes()[:300])
    assert refused(f"{path.name} old.csv --metric accuracy").startswith(f"{path.name} is not a table: ")


def test_a_file_is_never_an_address(run, tables):
    Path("new.csv").rename("http:new.csv")
    _, out, _ = run("http:new.csv old.csv --metric accuracy --json")
    assert json.loads(out) == expected(tables).to_dict()


def test_only_parquet_needs_pyarrow(refused, tables):
    Path("new.csv.zst").touch()
    assert "arrow" not in refused("new.csv.zst old.csv --metric accuracy")


def test_bytes_that_are_no_text_are_refused(refused, tables, folder):
    (folder / "bad.csv").write_bytes(b"\x89PNG\xff\x00\n")
    assert refused("bad.csv old.csv --metric accuracy").startswith("bad.csv is not a table: ")


def test_blanks_after_commas_do_not_matter(run, tables):
    Path("new.csv").write_text(Path("new.csv").read_text().replace(",", ", "))
    _, out, _ = run(f"{TWO} --json")
    assert json.loads(out) == expected(tables).to_dict()


def test_fields_beyond_the_header_move_no_column(run, tables):
    """pandas would take the first column for an index."""
    text = "".join(f"{seed},{accuracy},7\n" for seed, accuracy in tables[0][["seed", "accuracy"]].to_numpy())
    Path("new.csv").write_text("seed,accuracy\n" + text)
    _, out, _ = run(f"{TWO} --json")
    assert json.loads(out) == expected(tables).to_dict()


def test_the_guide_shows_what_happens(run):
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "own-numbers.md").read_text(encoding="utf-8")
    write_tables, from_python = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    exec(compile(write_tables + from_python, "guide", "exec"), names := {})
    _, out, _ = run("branch.csv main.csv --metric accuracy")
    assert f"$ qwerties compare branch.csv main.csv --metric accuracy\n{out}```" in guide
    assert names["result"].words("branch", "main") == out.splitlines()[0]
    (workflow,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (line,) = re.findall(r"qwerties compare (.*?)> verdict.md", workflow, re.DOTALL)
    status, out, _ = run(line.replace("\\\n", " "))
    assert status == 0
    assert f"\n\n{out}\n" in guide
    assert Path("evidence.svg").stat().st_size > 1000
    assert set(yaml.safe_load(workflow)["jobs"]["compare"]) == {"runs-on", "steps"}
